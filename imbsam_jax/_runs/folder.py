# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Folders of runs: whose they are, and whether they are complete."""

from collections.abc import Mapping
from collections.abc import Sequence
import json
import os
import pathlib
import tempfile
from typing import Any
from typing import TypeVar

from imbsam_jax import _errors
from imbsam_jax import data
from imbsam_jax import training
from imbsam_jax._runs import fields
from imbsam_jax._runs import own as own_lib

Kind = TypeVar('Kind')

_OTHER_FOLDER = 'pass another `workdir`, or remove this folder'


def claim(
  workdir: pathlib.Path,
  config: Any,
  fingerprint: Mapping[str, str] | None = None,
  own: own_lib.Own | None = None,
) -> None:
  """Writes ``config.json``, or checks that the one there is the same.

  Of several processes, the first does so, and all are to have the same.

  Args:
    workdir: Folder of the run.
    config: Its configuration.
    fingerprint: Checksums of its data, for ``data.json``, likewise.
    own: What is one's own in it, for ``own.json``, likewise.

  Raises:
    ConfigError: If the folder holds a run of another configuration, network or
      loss.
    DataError: If the run in the folder was made from other data.
  """
  compare_processes(config, fingerprint)
  training.in_first_process(lambda: _claim(workdir, config, fingerprint, own))
  path = workdir / 'config.json'
  # On another disk, a config.json that an earlier run left has another mtime.
  first, *others = training.from_each_process(
    path.stat().st_mtime_ns if path.exists() else None
  )
  for number, other in enumerate(others, 1):
    if other != first:
      raise _errors.ConfigError(
        f'process {number} does not see the {workdir} of process 0. Pass a '
        '`workdir` on a disk that all processes share.'
      )


def check_writable(workdir: pathlib.Path) -> None:
  """Refuses a folder that could not be made or written into, and makes none.

  Args:
    workdir: Folder of runs that are to come.

  Raises:
    ConfigError: If nothing can be written there; the message names the place.
  """
  place = workdir.absolute()
  while not os.path.lexists(place):
    place = place.parent
  try:
    # Rights alone do not tell: a disk may be full or read-only.
    with tempfile.TemporaryFile(dir=place):
      pass
  except OSError as error:
    raise _errors.ConfigError(
      f'`workdir={workdir}` cannot be written: {place}: {error.strerror}. '
      'Pass another `workdir`.'
    ) from error


def compare_processes(
  config: Any, fingerprint: Mapping[str, str] | None
) -> None:
  """Refuses processes on one run that have another configuration or other data.

  Args:
    config: The configuration of this process.
    fingerprint: Checksums of its data.
  """
  ours = _texts(config, fingerprint)
  first, *others = training.from_each_process(ours)
  for number, theirs in enumerate(others, 1):
    _compare(
      first,
      theirs,
      ('in process 0', f'in process {number}'),
      'process 0 of this run has another {}',
      'Start all processes with the same configuration, on the same data.',
    )


def _claim(
  workdir: pathlib.Path,
  config: Any,
  fingerprint: Mapping[str, str] | None,
  own: own_lib.Own | None,
) -> None:
  path, data_path = workdir / 'config.json', workdir / 'data.json'
  begun = (workdir / 'summary.json', workdir / 'checkpoints')
  if not path.exists() or not any(part.exists() for part in begun):
    workdir.mkdir(parents=True, exist_ok=True)
    training.write_json(path, fields.to_json(config))
    if fingerprint is not None:
      training.write_json(data_path, dict(fingerprint))
    own_lib.write(workdir, own)
    return
  their_config = fields.from_json(path, type(config))
  theirs = None
  # Folders of earlier versions have none.
  if fingerprint is not None and data_path.exists():
    theirs = json.loads(data_path.read_text())
  # Fields and shapes follow from a network, and its shapes from the data.
  if theirs in (None, fingerprint):
    own_lib.check(workdir, own, _OTHER_FOLDER)
  _compare(
    _texts(their_config, theirs),
    _texts(config, fingerprint if theirs is not None else None),
    ('there', 'now'),
    f'{workdir} holds a run of another {{}}',
    f'P{_OTHER_FOLDER[1:]}.',
  )


def _texts(
  config: Any, fingerprint: Mapping[str, str] | None
) -> tuple[dict[str, str], dict[str, str]]:
  """What a run is of, to be compared and shown."""
  values = {} if config is None else fields.flatten(config)
  return (
    {
      name: repr(value)
      for name, value in values.items()
      # A file or folder is known by its content, wherever it was moved.
      if values.get(f'{name}_sha256') is None
    },
    {part: sha[:12] for part, sha in (fingerprint or {}).items()},
  )


def _compare(
  ones: Sequence[Mapping[str, str]],
  others: Sequence[Mapping[str, str]],
  places: tuple[str, str],
  message: str,
  advice: str,
) -> None:
  """Refuses another configuration, or other data."""
  reasons = (
    (_errors.ConfigError, 'configuration', ''),
    (
      data.DataError,
      'data set, by its checksums',
      'A file was changed or removed, labels are others, or it is another '
      'version of the data set. ',
    ),
  )
  for one, other, (kind, what, why) in zip(ones, others, reasons, strict=True):
    lines = [
      f'  {name}: {one.get(name, "none")} {places[0]}, '
      f'{other.get(name, "none")} {places[1]}'
      for name in dict.fromkeys([*one, *other])
      if one.get(name) != other.get(name)
    ]
    if lines:
      raise kind('\n'.join([f'{message.format(what)}:', *lines, why + advice]))


def read_config(workdir: pathlib.Path, kind: type[Kind]) -> Kind:
  """The configuration of the run of a folder.

  Args:
    workdir: Folder of the run.
    kind: Class of the configuration.

  Raises:
    ConfigError: If the folder holds no run, or its ``config.json`` cannot be
      read.
  """
  path = workdir / 'config.json'
  if not path.exists():
    others = sorted(workdir.glob('*/config.json'))
    others += sorted(workdir.glob('*/*/config.json'))
    raise _errors.ConfigError(
      f'there is no run in {workdir}, which has no config.json.'
      + (f' There is one in {others[0].parent}.' if others else '')
    )
  return fields.from_json(path, kind)


def read_fingerprint(workdir: pathlib.Path) -> dict[str, str]:
  """Checksums of the data of the run of a folder; of earlier versions none."""
  path = workdir / 'data.json'
  return json.loads(path.read_text()) if path.exists() else {}


def check_data(workdir: pathlib.Path, fingerprint: Mapping[str, str]) -> None:
  """Refuses other data than those that a run was made from.

  Args:
    workdir: Folder of the run; those of earlier versions do not tell.
    fingerprint: Checksums of the data.

  Raises:
    DataError: If the data differ; the message names the parts.
  """
  there = read_fingerprint(workdir)
  if there:
    _compare(
      _texts(None, there),
      _texts(None, fingerprint),
      ('there', 'now'),
      f'{workdir} holds a run of another {{}}',
      'Pass the data of that run.',
    )


def read_summary(
  workdir: pathlib.Path,
  config: Any,
  fingerprint: Mapping[str, str] | None = None,
  own: own_lib.Own | None = None,
) -> dict[str, Any] | None:
  """The summary of a complete run of this configuration, or None.

  Args:
    workdir: Folder of the run.
    config: Its configuration.
    fingerprint: Checksums of its data.
    own: What is one's own in it.

  Raises:
    ConfigError: If the folder holds a run of another configuration, network or
      loss.
    DataError: If the run in the folder was made from other data.
  """
  if not (workdir / 'summary.json').exists():
    return None
  claim(workdir, config, fingerprint, own)
  return json.loads((workdir / 'summary.json').read_text())
