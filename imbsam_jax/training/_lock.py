# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""One process at a time writes into the folder of a run."""

import contextlib
import datetime
import errno
import json
import os
import pathlib
import socket
from typing import Any
import warnings

try:
  import fcntl
except ImportError:  # Windows.
  fcntl = None

from imbsam_jax import _errors
from imbsam_jax.training import _processes

# Errors of file systems that have no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class WorkdirLock:
  """Holds ``folder/lock`` for the time of a ``with`` block.

  The kernel gives the lock back when the process ends in whatever way, so that
  there is nothing to repair after ``kill -9``. The file says who holds it. Does
  nothing where there is no `fcntl` (Windows). Of several processes on the run,
  all enter it, and the first holds it for them.

  Args:
    folder: Folder of the run; made if there is none.
  """

  def __init__(self, folder: str | os.PathLike[str]):
    self._path = pathlib.Path(folder) / 'lock'
    self._file: int | None = None

  def __enter__(self) -> 'WorkdirLock':
    """Takes the lock.

    Raises:
      CheckpointError: If another process holds the lock, or there cannot be
        one.
    """
    _processes.in_first_process(self._take)
    return self

  def _take(self) -> None:
    self._path.parent.mkdir(parents=True, exist_ok=True)
    while fcntl is not None and self._file is None:
      try:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
      except OSError as error:
        raise _errors.CheckpointError(
          f'{self._path} cannot be opened: {error.strerror}. If no other '
          f'process writes into {self._path.parent}, remove it.'
        ) from error
      try:
        if self._lock(file):
          self._file = file
      finally:
        if self._file is None:
          os.close(file)
    if self._file is not None:
      os.ftruncate(self._file, 0)
      os.pwrite(self._file, _owner().encode(), 0)

  def __exit__(self, *exc_info: Any) -> None:
    if self._file is not None:
      # While it is held: nobody else can have made a file of this name.
      with contextlib.suppress(OSError):
        self._path.unlink()
      os.close(self._file)
      self._file = None

  def _lock(self, file: int) -> bool:
    """False if the file was removed in the meantime."""
    assert fcntl is not None
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
      if error.errno in _NO_LOCKS:
        warnings.warn(
          f'{self._path} cannot be locked ({error.strerror}): see to it that '
          'no other process writes into this folder.',
          stacklevel=3,
        )
        return True
      raise _errors.CheckpointError(
        f'{self._path.parent} is in use by {_describe(self._path)}. Wait for '
        'it to end, stop it, or pass another `workdir`.'
      ) from error
    # The one before may have removed the file between opening and locking.
    with contextlib.suppress(FileNotFoundError):
      return os.path.samestat(os.fstat(file), os.stat(self._path))
    return False


def _owner() -> str:
  start = datetime.datetime.now().astimezone().isoformat(timespec='seconds')
  owner = {'pid': os.getpid(), 'host': socket.gethostname(), 'start': start}
  return json.dumps(owner) + '\n'


def _describe(path: pathlib.Path) -> str:
  try:
    owner = json.loads(path.read_text())
    return f'process {owner["pid"]} on {owner["host"]}, since {owner["start"]}'
  except (OSError, ValueError, KeyError, TypeError, RecursionError):
    return 'another process'
