# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Pages are short where they should be, and their links lead somewhere."""

import pathlib
import re

import pytest

_ROOT = pathlib.Path(__file__).parents[1]
_PAGES = sorted(
  path
  for pattern in ('*.md', 'docs/*.md', 'experiments/*.md', 'results/*.md')
  for path in _ROOT.glob(pattern)
)


def _anchors(page):
  """The names that a page's headings have in links."""
  text = re.sub(r'^```.*?^```', '', page.read_text(), flags=re.M | re.S)
  headings = re.findall(r'^#+ (.*)$', text, re.MULTILINE)
  return {
    re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')
    for heading in headings
  }


@pytest.mark.parametrize(
  'page', _PAGES, ids=lambda p: str(p.relative_to(_ROOT))
)
def test_links_lead_somewhere(page):
  text = re.sub(r'^```.*?^```', '', page.read_text(), flags=re.M | re.S)
  for target in re.findall(r'\]\(([^)]+)\)', text):
    if target.startswith('https://'):
      continue
    name, _, anchor = target.partition('#')
    path = (page.parent / name).resolve() if name else page
    assert path.exists(), f'{page.name} links to {target}, which is not there'
    if anchor:
      assert anchor in _anchors(path), f'{target} has no such heading'


def test_readme_is_short():
  assert len((_ROOT / 'README.md').read_text().splitlines()) <= 200
