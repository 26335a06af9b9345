# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The PyTorch process that takes its turns beside our own programs."""

from collections.abc import Iterable
import contextlib
import json
import pathlib
import subprocess
import tempfile
from typing import Any
from typing import NoReturn

from imbsam_jax import _errors

_SCRIPT = pathlib.Path(__file__).with_name('pytorch_step.py')


class PyTorch:
  """Steps of `pytorch_step.py` in a process of its own.

  Args:
    python: The interpreter of an environment with PyTorch.

  Raises:
    ConfigError: If it does not start or has no PyTorch.

  Attributes:
    version: The version of PyTorch.
    modes: 'eager', and on accelerators 'compiled'.
  """

  def __init__(self, python: str):
    self._python = str(pathlib.Path(python).expanduser())
    # A pipe that nobody reads would fill up.
    self._printed = tempfile.TemporaryFile('w+')
    try:
      self._process = subprocess.Popen(
        [self._python, str(_SCRIPT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=self._printed,
        text=True,
      )
    except OSError as error:
      self._printed.close()
      raise _errors.ConfigError(
        f'`torch_python={python}` does not start: {error.strerror}. Give the '
        'path of a Python that has PyTorch, as in '
        '`torch_python=torch-env/bin/python`.'
      ) from error
    self._num_waiting = 0
    hello = self._answer()
    self.version = hello['torch']
    self.modes = (
      ('eager', 'compiled') if hello['device'] != 'cpu' else ('eager',)
    )

  def warm_up(self, kinds: Iterable[tuple[str, str]]) -> None:
    """Begins the first steps of kinds, (method, norm), until `wait`."""
    for method, norm in dict.fromkeys(kinds):
      for mode in self.modes:
        self._ask(method, norm, mode, 0)
        self._num_waiting += 1

  def wait(self) -> None:
    """Waits for what `warm_up` began."""
    for _ in range(self._num_waiting):
      self._answer()
    self._num_waiting = 0

  def seconds(self, method: str, norm: str, mode: str, num_steps: int) -> float:
    """Time of some steps; the first call of a kind warms up before it."""
    self._ask(method, norm, mode, num_steps)
    return self._answer()['seconds']

  def close(self) -> None:
    """Ends the process."""
    self._process.kill()
    self._process.communicate()
    self._printed.close()

  def _ask(self, method: str, norm: str, mode: str, num_steps: int) -> None:
    asked = {'method': method, 'norm': norm, 'mode': mode, 'steps': num_steps}
    assert self._process.stdin is not None
    try:
      print(json.dumps(asked), file=self._process.stdin, flush=True)
    except BrokenPipeError:
      self._refuse()

  def _answer(self) -> Any:
    assert self._process.stdout is not None
    line = self._process.stdout.readline()
    try:
      return json.loads(line)
    except ValueError:
      self._refuse(line)

  def _refuse(self, said: str = '') -> NoReturn:
    """Ends the process that ended, or says what nobody expects."""
    self._process.kill()
    self._process.wait()
    self._printed.seek(0)
    lines = [*self._printed.read().split('\n'), said]
    last = [line.strip() for line in lines if line.strip()]
    with contextlib.suppress(BrokenPipeError):
      self.close()
    raise _errors.ConfigError(
      f'the Python of `torch_python={self._python}` ended, or is not one with '
      f'PyTorch; its last line was: {last[-1] if last else "nothing"}'
    )
