# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes the generated blocks of README.md, CONTRIBUTING.md, docs/, results/.

  python -m results.render

A block lies between a comment that says what it is and ``<!-- end -->``; what
stands between them is replaced:

  <!-- table: digits_lt.json -->             the table that `compare` prints
  <!-- table: words.json links=sgd,imbsam --> methods in rows, one column a link
  <!-- finding: digits_lt.json -->           the sentence under it
  <!-- radii: momentum.json -->              balanced accuracy by word, radius
  <!-- anomalies: tables.json -->            AUPRC by share of labels and table
  <!-- file: docs/examples/my_methods.py --> a Python file
  <!-- words: loss -->                       the method words of an axis
  <!-- address: badge -->                    empty while pyproject.toml has no
  <!-- address: install -->                  address in [tool.imbsam_jax]

The JSON files are in ``results/data/``: each is a ``comparison.json``, as
`compare` writes it, or `compare_anomaly` (``anomalies``).
"""

from collections.abc import Mapping
from collections.abc import Sequence
import json
import pathlib
import re
import statistics
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
    elif block['kind'] == 'radii':
      content = _radii(json.loads((data / name).read_text()))
    elif block['kind'] == 'anomalies':
      content = _anomalies(json.loads((data / name).read_text()))
    elif block['kind'] in ('table', 'finding'):
      comparison_json = json.loads((data / name).read_text())
      links = block['links'].split(',') if block['links'] else []
      content = _comparison(block['kind'], comparison_json, links)
    else:
      raise ValueError(
        'a block is a table, a finding, radii, anomalies, words, a file or '
        'an address, got '
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


def _radii(content: Mapping[str, Any]) -> str:
  """Balanced accuracy of words ``<word>@<radius>``, on validation images."""
  rows: dict[str, dict[str, float]] = {}
  for name, metrics in content['methods'].items():
    word, _, rho = name.rpartition('@')
    rows.setdefault(word, {})[rho] = metrics['balanced']['mean']
  columns = list(dict.fromkeys(rho for row in rows.values() for rho in row))
  return _markdown(
    ['balanced accuracy, %, at radius', *columns],
    [
      [f'`{word}`', *(f'{100 * row[rho]:.1f}' for rho in columns)]
      for word, row in rows.items()
    ],
  )


def _anomalies(content: Mapping[str, Any]) -> str:
  """AUPRC in per cent; methods by share of labels in rows."""
  tables = content['tables']
  ratios = list(next(iter(tables.values())))
  rows = []
  for ratio in ratios:
    cells = [table[ratio]['methods'] for table in tables.values()]
    for word in cells[0]:
      found = [cell[word]['auprc'] for cell in cells]
      mean = statistics.fmean(one['mean'] for one in found)
      rows.append(
        [
          f'{word}, {ratio} labeled',
          *(f'{100 * x["mean"]:.1f} +- {100 * x["std"]:.1f}' for x in found),
          f'{100 * mean:.1f}',
        ]
      )
  names = [name.partition('_')[2] or name for name in tables]
  return _markdown(['AUPRC, %', *names, 'mean'], rows)


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  lines = [columns, [':---', *('---:' for _ in columns[1:])], *rows]
  return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


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
