# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Folders of runs: whose they are, and whether they are complete."""

from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
import json
import os
import pathlib
import tempfile
from typing import Any
from typing import TypeVar
import warnings

from imbsam_jax import _errors
from imbsam_jax import _specs
from imbsam_jax import data
from imbsam_jax import training
from imbsam_jax._runs import fields
from imbsam_jax._runs import own as own_lib
from imbsam_jax._runs import run_files

Kind = TypeVar('Kind')

# Fields of which nothing that is trained depends.
_BESIDE = ('log',)
_SAME_DATA = 'If the data are the same, remove the file.'
_OTHER_FOLDER = 'pass another `workdir`, or remove this folder'
# Where data lie, and what is done about files that are none of them: checksums
# tell whether the examples are the same.
_PLACES = ('data.data_dir', 'data.bad_images')


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


def as_begun(
  workdir: pathlib.Path, config: Kind, given: Collection[str]
) -> Kind:
  """The configuration with which the run of a folder goes on.

  Args:
    workdir: Folder of a run, which perhaps an earlier version began.
    config: What was asked for.
    given: Fields that were set by hand, which stay as they are.

  Returns:
    `config`, with what that version did where it lacked a field.
  """
  if not _has_begun(workdir):
    return config
  path = workdir / 'config.json'
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # `claim` mends the file, and says so.
    added = run_files.read(
      path,
      fields.added_since,
      run_files.Mending(missing=run_files.has_copy(path)),
    )
  if added is None:
    return config
  return fields.replace(
    config,
    {name: value for name, value in added.items() if name not in given},
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


def about(
  config: Any,
  fingerprint: Mapping[str, str] | None = None,
  own: own_lib.Own | None = None,
) -> dict[str, Any]:
  """What the checkpoints of a run keep of its files, see `run_files`.

  Args:
    config: Its configuration.
    fingerprint: Checksums of its data.
    own: What is one's own in it.
  """
  told = {'config': fields.to_json(config)}
  if fingerprint is not None:
    told['data'] = dict(fingerprint)
  if own:
    told['own'] = json.loads(json.dumps(own))
  return told


def _claim(
  workdir: pathlib.Path,
  config: Any,
  fingerprint: Mapping[str, str] | None,
  own: own_lib.Own | None,
) -> None:
  path, data_path = workdir / 'config.json', workdir / 'data.json'
  if not _has_begun(workdir):
    workdir.mkdir(parents=True, exist_ok=True)
    training.write_json(path, fields.to_json(config))
    if fingerprint is not None:
      training.write_json(data_path, dict(fingerprint))
    own_lib.write(workdir, own)
    return
  their_config = run_files.read(
    path,
    lambda nested: fields.from_nested(nested, type(config)),
    run_files.Mending(write=True, missing=True),
  )
  theirs = None
  if fingerprint is not None:
    # Folders of earlier versions have none.
    theirs = run_files.read(
      data_path,
      run_files.texts,
      run_files.Mending(
        write=True, missing=run_files.has_copy(data_path), advice=_SAME_DATA
      ),
    )
  ours = None if theirs is None else _as_written(fingerprint, theirs)
  # Fields and shapes follow from a network, and its shapes from the data.
  if theirs in (None, ours):
    own_lib.check(workdir, own, _OTHER_FOLDER, mend=True)
  _compare(
    _texts(their_config, theirs),
    _texts(config, ours),
    ('there', 'now'),
    f'{workdir} holds a run of another {{}}',
    _advice(workdir, their_config, config, fingerprint, theirs),
  )
  if theirs is not None:
    _note_places(workdir, their_config, config)
    if fingerprint != theirs:  # In the form of this version.
      training.write_json(data_path, dict(fingerprint or {}))


def _as_written(
  fingerprint: Mapping[str, str] | None, theirs: Mapping[str, str]
) -> Mapping[str, str] | None:
  """Checksums in the form of the version that wrote others."""
  if isinstance(fingerprint, data.Fingerprint):
    return fingerprint.as_written(theirs)
  return fingerprint


def _advice(
  workdir: pathlib.Path,
  their_config: Any,
  config: Any,
  fingerprint: Mapping[str, str] | None,
  theirs: Mapping[str, str] | None,
) -> str:
  """What to do about a folder of another run."""
  advice = f'P{_OTHER_FOLDER[1:]}.'
  ours, before = fields.flatten(config), fields.flatten(their_config)
  changed = [
    name for name in _specs.ADDED if ours.get(name) != before.get(name)
  ]
  if changed:
    listed = ', '.join(f'`{name}={before[name]!r}`' for name in changed)
    return (
      f'To go on with it, pass {listed}, as runs of an earlier version were '
      f'made. Or {_OTHER_FOLDER}.'
    )
  is_earlier = isinstance(
    fingerprint, data.Fingerprint
  ) and fingerprint.knows_places(theirs or {})
  if is_earlier:
    place = before.get('data.data_dir')
    advice = (
      'The run is of an earlier version, which knew files by the folder that '
      f'they were in, {place}: it goes on where that has the same files. '
      'Or ' + _OTHER_FOLDER + '.'
    )
  return advice


def _note_places(workdir: pathlib.Path, before: Any, now: Any) -> None:
  """Says where the data of a run are now, and writes it down."""
  old, new = fields.flatten(before), fields.flatten(now)
  if old == new:
    return
  for name in ('data.data_dir', 'data.splits'):
    if old.get(name) != new.get(name):
      warnings.warn(
        f'the data of the run in {workdir} were in {old.get(name)} and are now '
        f'read from {new.get(name)}; they are the same by their checksums.',
        stacklevel=2,
      )
  # Only what changed: what a file of an earlier version lacks, it goes on to.
  nested = training.read_json(workdir / 'config.json')
  for name, value in old.items():
    if value != new[name]:
      part, _, field = name.rpartition('.')
      inner = nested.setdefault(part, {}) if part else nested
      inner[field] = new[name]
  training.write_json(workdir / 'config.json', nested)


def _has_begun(workdir: pathlib.Path) -> bool:
  """Whether there is anything that another run would spoil."""
  if os.path.lexists(workdir / 'summary.json'):
    return True
  try:
    reports = training.inspect_checkpoints(workdir / 'checkpoints')
  except OSError:
    return False
  return any(report.status != 'incomplete' for report in reports)


def _texts(
  config: Any, fingerprint: Mapping[str, str] | None
) -> tuple[dict[str, str], dict[str, str]]:
  """What a run is of, to be compared and shown."""
  values = {} if config is None else fields.flatten(config)
  if fingerprint is not None:
    values = {k: v for k, v in values.items() if k not in _PLACES}
    values |= _without_lists(values)
    # Of images in memory the pixels are compared, as they were turned or not.
    if values.get('data.image_size') is None:
      values.pop('data.exif_orientation', None)
  return (
    {
      name: repr(value)
      for name, value in values.items()
      # A file or folder is known by its content, wherever it was moved.
      if values.get(f'{name}_sha256') is None and name not in _BESIDE
    },
    {
      part: sha.rpartition(':')[2][:12]
      for part, sha in (fingerprint or {}).items()
    },
  )


def _without_lists(values: Mapping[str, Any]) -> dict[str, Any]:
  """Splits by what they are, without the paths of lists of examples."""
  splits = values.get('data.splits')
  if splits is None:
    return {}
  if values.get('data.name') == 'image_list':
    return {'data.splits': tuple(x and 'list' for x in splits)}
  # SPLIT@LIST
  return {'data.splits': tuple(x and x.partition('@')[0] for x in splits)}


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
  return read_config_as_written(workdir, kind)[0]


def read_config_as_written(
  workdir: pathlib.Path, kind: type[Kind]
) -> tuple[Kind, dict[str, Any]]:
  """The configuration of the run of a folder, and the content of its file.

  Args:
    workdir: Folder of the run.
    kind: Class of the configuration.

  Raises:
    ConfigError: If the folder holds no run, or its ``config.json`` cannot be
      read.
  """
  path = workdir / 'config.json'
  if not os.path.lexists(path) and not run_files.has_copy(path):
    others = sorted(workdir.glob('*/config.json'))
    others += sorted(workdir.glob('*/*/config.json'))
    raise _errors.ConfigError(
      f'there is no run in {workdir}, which has no config.json.'
      + (f' There is one in {others[0].parent}.' if others else '')
    )
  configuration = run_files.read(
    path,
    lambda nested: (fields.from_nested(nested, kind), nested),
    run_files.Mending(missing=True),
  )
  assert configuration is not None
  return configuration


def read_fingerprint(workdir: pathlib.Path) -> dict[str, str]:
  """Checksums of the data of the run of a folder; of earlier versions none.

  Args:
    workdir: Folder of the run.

  Raises:
    ConfigError: If they cannot be read, and there is no copy of them.
  """
  path = workdir / 'data.json'
  mending = run_files.Mending(
    missing=run_files.has_copy(path), advice=_SAME_DATA
  )
  return run_files.read(path, run_files.texts, mending) or {}


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
    advice = 'Pass the data of that run.'
    if isinstance(fingerprint, data.Fingerprint) and fingerprint.knows_places(
      there
    ):
      advice = (
        'Pass the data of that run, from where they were: it is of an earlier '
        'version, which knew files by their folder. The command that trained '
        'it, with the data there, writes it anew.'
      )
    _compare(
      _texts(None, there),
      _texts(None, _as_written(fingerprint, there)),
      ('there', 'now'),
      f'{workdir} holds a run of another {{}}',
      advice,
    )


def read_summary(
  workdir: pathlib.Path,
  config: Any,
  fingerprint: Mapping[str, str] | None = None,
  own: own_lib.Own | None = None,
) -> dict[str, Any] | None:
  """The summary of a complete run of this configuration, or None.

  None is also what a file gives that cannot be read: the run is to be called
  again, and makes no step.

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
  path = workdir / 'summary.json'
  if not os.path.lexists(path):
    return None
  claim(workdir, config, fingerprint, own)
  try:
    return training.read_json(path)
  except training.TornFileError as error:
    warnings.warn(
      f'{path} is not a readable summary.json ({error}); it is written anew.',
      stacklevel=2,
    )
    return None
