# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""SIGTERM and SIGINT: the step is finished and saved, a second one leaves."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import os
import signal
import sys
import threading
from typing import Any

EXIT_CODE = 143

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
  """Holds a first signal back, for as long as there is something to save.

  Yields:
    Whether a signal has come. A second one ends the process at once, with exit
    code 1: whether the save was complete is not known then.
  """
  with _handled(_Request()) as request:
    yield request.made


@contextlib.contextmanager
def leaving(message: str) -> Iterator[None]:
  """Leaves at once with exit code 143, where nothing has to be saved.

  Args:
    message: What to say.
  """

  def leave(number: int, frame: Any) -> None:
    del frame
    _say(f'{signal.Signals(number).name}: {message}')
    os._exit(EXIT_CODE)

  with _handled(leave):
    yield


def ignore() -> None:
  """From now on, for a process that is about to end."""
  for number in _SIGNALS:
    signal.signal(number, signal.SIG_IGN)


class _Request:
  """The first signal is noted, the second ends the process."""

  def __init__(self):
    self._made = False

  def made(self) -> bool:
    return self._made

  def __call__(self, number: int, frame: Any) -> None:
    del frame
    name = signal.Signals(number).name
    if self._made:
      _say(f'{name} again: leaving at once.')
      os._exit(1)
    self._made = True
    _say(f'{name}: finishing the step and saving; once more leaves at once.')


@contextlib.contextmanager
def _handled(handler: Any) -> Iterator[Any]:
  if threading.current_thread() is not threading.main_thread():
    yield handler  # Python delivers signals to the main thread only.
    return
  before = {number: signal.signal(number, handler) for number in _SIGNALS}
  try:
    yield handler
  finally:
    for number, old in before.items():
      signal.signal(number, old)


def _say(text: str) -> None:
  file = sys.stderr.fileno()
  # A terminal may show a line of progress and ^C, which give way.
  begin = '\r\x1b[K' if os.isatty(file) else ''
  # Not print: the signal may have come in the middle of one.
  os.write(file, f'{begin}{text}\n'.encode())
