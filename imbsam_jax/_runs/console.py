# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is printed: fields, tables, progress."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import sys
import time
from typing import Any

import tqdm

from imbsam_jax import _errors
from imbsam_jax import training

# Called with the records of new steps.
Report = Callable[[list[dict[str, Any]]], None]

# Called with a line of text.
Say = Callable[[str], Any]

# Seconds between lines in a file.
_BETWEEN_LINES = 30.0
# What a line of 80 columns leaves to the bar: ten or more of them.
_BAR = '{desc} |{bar}| {n_fmt}/{total_fmt}, {remaining} left{postfix}'
_LONGEST_TITLE = 20


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


def counted(number: int, one: str, many: str | None = None) -> str:
  """A number of things: ``'1 class'``, ``'2 classes'``.

  Args:
    number: Number of things.
    one: The name of one.
    many: The name of several, if it does not end in an s alone.
  """
  return f'{number} {one if number == 1 else many or one + "s"}'


def duration(seconds: float) -> str:
  """A time to wait: seconds, and minutes from two on."""
  if seconds < 120:
    return f'{seconds:.0f} s'
  return f'{seconds / 60:.0f} min'


def percent(value: float | None) -> str:
  """A fraction as a percentage; n/a for None."""
  return 'n/a' if value is None else f'{100 * value:.1f}'


class Progress:
  """One line over the steps with the time left.

  Where it is neither in a terminal nor in a notebook, such as in a file of
  logs, it is a line about every 30 seconds.

  Args:
    total: Number of steps.
    title: What the line begins with.
    unit: What a step is called.
  """

  def __init__(self, total: int, title: str, unit: str = 'step'):
    # A notebook shows it, and is no terminal.
    disable = False if 'ipykernel' in sys.modules else None
    self._bar = tqdm.tqdm(
      total=total,
      desc=_shortened(title),
      bar_format=_BAR,
      dynamic_ncols=True,
      disable=disable,
    )
    self._title, self._total, self._unit = title, total, unit
    self._said = time.monotonic()
    # A resumed run does not begin at 0.
    self._first: tuple[int, float] | None = None

  def __call__(self, records: list[dict[str, Any]]) -> None:
    """Moves on by the records of new steps."""
    last = records[-1]
    if self._bar.disable:
      self._say(last)
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

  def _say(self, record: dict[str, Any]) -> None:
    """Prints where the run is, if the last line was a while ago."""
    now, step = time.monotonic(), record['step']
    if self._first is None:
      self._first = step, now
    if now - self._said < _BETWEEN_LINES:
      return
    self._said = now
    text = f'{self._title}: {self._unit} {step} of {self._total}'
    if record['loss'] is not None:
      text += f', loss {record["loss"]:.3f}'
      text += f', accuracy {record["train_accuracy"]:.0%}'
    first, begin = self._first
    if step > first:
      left = (now - begin) / (step - first) * (self._total - step)
      text += f', {duration(left)} left'
    print(text, file=sys.stderr, flush=True)


def _shortened(title: str) -> str:
  if len(title) <= _LONGEST_TITLE:
    return title
  return title[: _LONGEST_TITLE - 2] + '..'


def check_progress(progress: Any) -> None:
  """Refuses what `shown` does not take.

  Raises:
    ConfigError: If `progress` is none of True, False, None and a function.
  """
  # A class would be called for its instances.
  if isinstance(progress, bool | None):
    return
  if not callable(progress) or isinstance(progress, type):
    raise _errors.ConfigError(
      '`progress` must be True for a line on the screen, or a function that is '
      f'called with the records of new steps, got {progress!r}.'
    )


@contextlib.contextmanager
def shown(
  progress: bool | Report | None, total: int, title: str, **origin: Any
) -> Iterator[Report | None]:
  """What is told of the records of a run while it goes on.

  Args:
    progress: True is a `Progress`, for the first of several processes;
      a function is called; False and None are nothing.
    total: Number of steps.
    title: What the line begins with.
    **origin: What a function finds in the records besides.

  Yields:
    A function of records, or None.
  """
  if progress is True:
    if not training.is_first_process():
      yield None
      return
    line = Progress(total, title)
    with contextlib.closing(line):
      yield line
  elif not progress:
    yield None
  elif not origin:
    yield progress
  else:
    report = progress
    yield lambda records: report([{**record, **origin} for record in records])
