# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The files that say what a run is of, and their copies.

``config.json``, ``data.json`` and ``own.json`` are compared whenever a run goes
on. The manifest of each checkpoint keeps a copy of them, so that what a cut
file has said is still known.
"""

from collections.abc import Callable
from collections.abc import Mapping
import os
import pathlib
from typing import Any
from typing import NamedTuple
from typing import TypeVar
import warnings

from imbsam_jax import _errors
from imbsam_jax import training

Content = TypeVar('Content')
# From the object in a file to what it says; ValueError if it is another one.
Reader = Callable[[dict[str, Any]], Content]

_NO_COPY = (
  'No checkpoint has a copy of it. Put the file back, or pass another '
  '`workdir`, or remove this folder.'
)


class Mending(NamedTuple):
  """What is done about a file that cannot be read.

  Attributes:
    write: Whether it is written anew from its copy; else the copy is used.
    missing: Whether a missing file counts as such; else there is none.
    advice: What to do where there is no copy.
  """

  write: bool = False
  missing: bool = False
  advice: str = _NO_COPY


def read(
  path: pathlib.Path, reader: Reader[Content], mending: Mending
) -> Content | None:
  """What a file of a run says; of one that cannot be read, what its copy says.

  Args:
    path: The file.
    reader: Makes the content of the object in it.
    mending: What is done about a file that cannot be read.

  Returns:
    The content; None, if the file is missing and may be.

  Raises:
    ConfigError: If the file cannot be read, and there is no copy of it.
  """
  try:
    return reader(training.read_json(path))
  except ValueError as error:
    missing = not os.path.lexists(path)
    if missing and not mending.missing:
      return None
    step, copy = _copy(path)
    content = None
    if copy is not None:
      try:
        content = reader(copy)
      except ValueError:  # Of another version, as the file is.
        copy = None
    if copy is None:
      raise _errors.ConfigError(
        f'{path} is not a readable {path.name}: {error}. {mending.advice}'
      ) from error
    told = f'{path} is not a readable {path.name} ({error}).'
    if not mending.write:
      warnings.warn(
        f'{told} The copy at the checkpoint of step {step} is taken; the '
        'command that trained the run, called again, writes the file anew.',
        stacklevel=2,
      )
      return content
    if not missing:
      training.set_aside(path)
    training.write_json(path, copy)
    warnings.warn(
      f'{told} It was written anew from the copy at the checkpoint of step '
      f'{step}.',
      stacklevel=2,
    )
    return content


def has_copy(path: pathlib.Path) -> bool:
  """Whether a checkpoint has a copy of a file of its run.

  Args:
    path: The file.
  """
  return _copy(path)[1] is not None


def _copy(path: pathlib.Path) -> tuple[int, dict[str, Any] | None]:
  """What the manifest of the newest checkpoint has of a file, and its step."""
  try:
    reports = training.inspect_checkpoints(path.parent / 'checkpoints')
  except OSError:
    return 0, None
  for report in reversed(reports):
    copy = report.about.get(path.stem)
    if isinstance(copy, dict):
      return report.step, copy
  return 0, None


def texts(content: Mapping[str, Any]) -> dict[str, str]:
  """The content of a file that has a text by each name.

  Raises:
    ValueError: If it has anything else.
  """
  if not content or not all(type(text) is str for text in content.values()):
    raise ValueError('it has something else than a text by each name')
  return dict(content)
