# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes the generated blocks of README.md, CONTRIBUTING.md, docs/, results/.

  python -m results.render

A block lies between a comment that says what it is and ``<!-- end -->``; what
stands between them is replaced:

  <!-- table: digits_lt.json -->             the table that `compare` prints
  <!-- table: words.json links=sgd,imbsam --> methods in rows, one column a link
  <!-- finding: digits_lt.json -->           the sentence under it
  <!-- file: docs/examples/my_methods.py --> a Python file
  <!-- words: loss -->                       the method words of an axis
  <!-- address: badge -->                    empty while pyproject.toml has no
  <!-- address: install -->                  address in [tool.imbsam_jax]

The JSON files are in ``results/data/``: each is a ``comparison.json``, as
`compare` writes it.
"""

from collections.abc import Mapping
import json
import pathlib
import re
import tomllib
from typing import Any

from imbsam_jax import experiment
from imbsam_jax import methods

ROOT = pathlib.Path(__file__).resolve().parents[1]

_BLOCK = re.compile(
  r'(?P<start><!-- (?P<kind>\w+): (?P<name>\S+)'
  r'(?: links=(?P<links>\S+))? -->\n)'
  r'(?:(?!<!-- ).)*'
  r'(?P<end><!-- end -->)',
  re.DOTALL,
)


def main() -> None:
  """Writes the pages that are not up to date, and names them."""
  for path, text in pages(ROOT).items():
    if path.read_text() != text:
      path.write_text(text)
      print(path.relative_to(ROOT))


def pages(root: pathlib.Path) -> dict[pathlib.Path, str]:
  """What the pages of a source tree should contain.

  Args:
    root: The folder with ``pyproject.toml``, ``README.md`` and ``results/``.

  Returns:
    The text of each page, by path.
  """
  project = tomllib.loads((root / 'pyproject.toml').read_text())
  address = project['tool']['imbsam_jax']['address']
  paths = [
    *sorted(root.glob('*.md')),
    *sorted((root / 'docs').glob('*.md')),
    *sorted((root / 'results').glob('*.md')),
  ]
  return {
    path: render(path.read_text(), root / 'results' / 'data', address, root)
    for path in paths
  }


def render(
  text: str, data: pathlib.Path, address: str, root: pathlib.Path = ROOT
) -> str:
  """Replaces the content of every generated block of a page.

  Args:
    text: The page.
    data: The folder of the JSON files.
    address: The address of the project; may be empty.
    root: The folder that files are named from.

  Returns:
    The page with up-to-date blocks.

  Raises:
    ValueError: A comment is neither the start of a block of a known kind nor
      its end, so that the block would silently stay as it is.
  """

  def replace(block: re.Match[str]) -> str:
    name = block['name']
    if block['kind'] == 'address':
      content = _address(name, address)
    elif block['kind'] == 'words':
      content = methods.words_table(name)
    elif block['kind'] == 'file':
      content = f'```python\n{(root / name).read_text()}```'
    elif block['kind'] in ('table', 'finding'):
      comparison_json = json.loads((data / name).read_text())
      links = block['links'].split(',') if block['links'] else []
      content = _comparison(block['kind'], comparison_json, links)
    else:
      raise ValueError(
        'a block is a table, a finding, words, a file or an address, got '
        f'{block["start"]!r}.'
      )
    return block['start'] + (content and f'\n{content}\n\n') + block['end']

  left_over = re.search(r'<!--.*', _BLOCK.sub('', text))
  if left_over:
    raise ValueError(
      f'{left_over[0]!r} is not a block with an <!-- end --> of its own; '
      'results/render.py says what blocks look like.'
    )
  return _BLOCK.sub(replace, text)


def _comparison(kind: str, content: Mapping[str, Any], links: list[str]) -> str:
  if kind == 'finding':
    return experiment.finding(content)
  if links:
    return experiment.comparison_table_by_link(content, links)
  return experiment.comparison_table(content)


def _address(name: str, address: str) -> str:
  """The text that depends on the address of the project."""
  texts = {
    'badge': '[![tests]({0}/actions/workflows/tests.yml/badge.svg)]'
    '({0}/actions/workflows/tests.yml)',
    'install': 'Without a clone, the package and everything that its programs '
    "need:\n\n```\npip install 'imbsam_jax[train] @ git+{0}'\n```",
  }
  if name not in texts:
    raise ValueError(
      f'an address is shown as {" or ".join(texts)}, got {name!r}.'
    )
  return texts[name].format(address.rstrip('/')) if address else ''


if __name__ == '__main__':
  main()
