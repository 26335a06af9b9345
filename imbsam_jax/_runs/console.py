# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is printed: fields, tables, progress."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import tqdm


def fields(entries: Mapping[str, str]) -> str:
  """One ``name  text`` line each, texts aligned."""
  width = max(map(len, entries))
  return '\n'.join(f'{name:<{width}}  {text}' for name, text in entries.items())


def markdown_table(
  columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> str:
  """A Markdown table that is aligned for reading as it is."""
  widths = [
    max(len(line[i]) for line in [columns, *rows]) for i in range(len(columns))
  ]

  def line(cells):
    first, *rest = zip(cells, widths, strict=True)
    padded = [f'{first[0]:<{first[1]}}', *(f'{c:>{w}}' for c, w in rest)]
    return '| ' + ' | '.join(padded) + ' |'

  rule = [':' + '-' * (widths[0] - 1)]
  rule += ['-' * (width - 1) + ':' for width in widths[1:]]
  return '\n'.join([line(columns), line(rule), *map(line, rows)])


def percent(value: float | None) -> str:
  """A fraction as a percentage; n/a for None."""
  return 'n/a' if value is None else f'{100 * value:.1f}'


class Progress:
  """One line over the steps with the time left; silent if no terminal."""

  def __init__(self, total: int, title: str):
    self._bar = tqdm.tqdm(total=total, desc=title, unit='step', disable=None)

  def __call__(self, records: list[dict[str, Any]]) -> None:
    """Moves on by the records of new steps."""
    last = records[-1]
    # Not the number of records: a resumed run does not begin at 0.
    self._bar.update(last['step'] - self._bar.n)
    if last['loss'] is not None:
      self._bar.set_postfix_str(
        f'loss {last["loss"]:.3f}, accuracy {last["train_accuracy"]:.0%}'
      )
    for record in records:
      if record.get('skipped'):
        self._bar.write(
          f'step {record["step"]}: the update was not finite and was skipped'
        )

  def close(self) -> None:
    """Ends the line."""
    self._bar.close()
