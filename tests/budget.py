# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Counts compiled programs and started processes, where most time goes.

Seconds depend on the machine and on who else uses it; these numbers hardly do.
A program that the cache on disk has counts as one that is compiled, so that
they are the same the first time and later. `budget.toml` has the most that a
folder may need; a part of its tests needs less.
"""

import collections
from collections.abc import Iterator
from collections.abc import Mapping
import functools
import pathlib
import subprocess
import tomllib
from typing import Any

import jax
import pytest

_FILE = pathlib.Path(__file__).with_name('budget.toml')
_COMPILATION = '/jax/core/compile/backend_compile_duration'
_COLUMNS = ('programs', 'processes', 'seconds')
_ALL = 'together'

# Numbers by column, by file or folder.
Counts = Mapping[str, Mapping[str, float]]


def folder(path: str) -> str:
  """The row of a test file, or of a file with doctests."""
  parts = pathlib.PurePosixPath(path).parts
  return '/'.join(parts[:2] if len(parts) > 2 else parts[:1])


def limits(
  selection: str, budget: Mapping[str, Any]
) -> dict[str, dict[str, int]]:
  """What folders may need in a run of the tests that `-m` selects.

  Args:
    selection: The expression after `-m`; of any other than those of `make test`
      and `make test-all`, and of none, both are allowed together.
    budget: The tables of `budget.toml`.

  Returns:
    Per folder the greatest numbers of programs and of processes.
  """
  names = {'not extended': ('test',), 'extended': ('extended',)}
  found: dict[str, dict[str, int]] = {}
  for name in names.get(selection, ('test', 'extended')):
    for row, (programs, processes) in budget[name].items():
      cells = found.setdefault(row, {'programs': 0, 'processes': 0})
      cells['programs'] += programs
      cells['processes'] += processes
  return found


def rows(
  counts: Counts, *, by_file: bool = False
) -> dict[str, dict[str, float]]:
  """Sums of folders, or the numbers of files, and last those of all."""
  found: dict[str, dict[str, float]] = {}
  total = dict.fromkeys(_COLUMNS, 0.0)
  for file, numbers in sorted(counts.items()):
    row = found.setdefault(
      file if by_file else folder(file), dict.fromkeys(_COLUMNS, 0.0)
    )
    for column, number in numbers.items():
      row[column] += number
      total[column] += number
  return found | {_ALL: total}


def excesses(
  found: Counts, allowed: Mapping[str, Mapping[str, int]]
) -> list[str]:
  """A sentence for each number of a folder that is above its limit."""
  lines = []
  for name, numbers in found.items():
    if name == _ALL:
      continue
    limit = allowed.get(name, {'programs': 0, 'processes': 0})
    for column, most in limit.items():
      if numbers[column] > most:
        lines.append(
          f'{name}: {numbers[column]:.0f} {column}, but tests/budget.toml '
          f'allows {most}. Share what is compiled or started, mark tests '
          '`extended`, or say in the change why the budget grows.'
        )
  return lines


class Plugin:
  """Counts in every process that runs tests; the first one adds them up."""

  def __init__(self, config: pytest.Config) -> None:
    self._config = config
    self._file = ''  # That of the running test.
    # Of each file: numbers by column.
    self.counts: dict[str, dict[str, float]] = collections.defaultdict(
      lambda: dict.fromkeys(_COLUMNS, 0.0)
    )
    jax.monitoring.register_event_duration_secs_listener(self._on_duration)
    self._start = subprocess.Popen.__init__
    subprocess.Popen.__init__ = self._wrap_start()  # type: ignore[method-assign]

  def _on_duration(self, event: str, seconds: float, **_: Any) -> None:
    del seconds
    if event == _COMPILATION and self._file:
      self.counts[self._file]['programs'] += 1

  def _wrap_start(self) -> Any:
    start = self._start

    @functools.wraps(start)
    def counted(*arguments: Any, **options: Any) -> None:
      if self._file:
        self.counts[self._file]['processes'] += 1
      start(*arguments, **options)

    return counted

  @pytest.hookimpl(wrapper=True)
  def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
    """What fixtures need is that of the test that asks for them first."""
    self._file = item.nodeid.partition('::')[0]
    try:
      return (yield)
    finally:
      self._file = ''

  def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
    """Adds up seconds, where the reports of all workers arrive."""
    if not hasattr(self._config, 'workerinput'):
      file = report.nodeid.partition('::')[0]
      self.counts[file]['seconds'] += report.duration

  @pytest.hookimpl(optionalhook=True)
  def pytest_testnodedown(self, node: Any) -> None:
    """Takes over what a worker has counted."""
    counts = getattr(node, 'workeroutput', {}).get('budget', {})
    for file, numbers in counts.items():
      for column, number in numbers.items():
        self.counts[file][column] += number

  def pytest_sessionfinish(self, session: pytest.Session) -> None:
    """Sends the counts on, or judges them."""
    subprocess.Popen.__init__ = self._start  # type: ignore[method-assign]
    if hasattr(self._config, 'workerinput'):
      self._config.workeroutput['budget'] = dict(self.counts)
    elif self._excesses() and session.exitstatus == pytest.ExitCode.OK:
      session.exitstatus = pytest.ExitCode.TESTS_FAILED

  def pytest_terminal_summary(self, terminalreporter: Any) -> None:
    """Prints the table: folders, and with `-v` files."""
    if not self.counts:
      return
    table = rows(self.counts, by_file=self._config.option.verbose > 0)
    width = max(len(name) for name in table)
    terminalreporter.section('compiled programs and started processes')
    terminalreporter.write_line(
      ' '.join([' ' * width, *(f'{c:>9}' for c in _COLUMNS)])
    )
    for name, numbers in table.items():
      cells = [f'{numbers[column]:9.0f}' for column in _COLUMNS]
      terminalreporter.write_line(' '.join([name.ljust(width), *cells]))
    for line in self._excesses():
      terminalreporter.write_line(line, red=True)

  def _excesses(self) -> list[str]:
    budget = tomllib.loads(_FILE.read_text())
    return excesses(
      rows(self.counts), limits(self._config.option.markexpr, budget)
    )
