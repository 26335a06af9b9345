# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Folders of runs: whose they are, and whether they are complete."""

from collections.abc import Mapping
import json
import pathlib
from typing import Any

from experiments import app
from experiments import config as config_lib
from imbsam_jax import data
from imbsam_jax import training


def claim(
  workdir: pathlib.Path,
  config: Any,
  fingerprint: Mapping[str, str] | None = None,
) -> None:
  """Writes ``config.json``, or checks that the one there is the same.

  Args:
    workdir: Folder of the run.
    config: Its configuration.
    fingerprint: Checksums of its data, for ``data.json``, likewise.

  Raises:
    UsageError: The folder holds a run of another configuration.
    DataError: It was made from other data.
  """
  path = workdir / 'config.json'
  begun = (workdir / 'summary.json', workdir / 'checkpoints')
  if path.exists() and any(part.exists() for part in begun):
    try:
      theirs = config_lib.flatten(config_lib.from_json(path, type(config)))
    except ValueError as error:
      raise app.UsageError(str(error)) from error
    ours = config_lib.flatten(config)
    lines = [
      f'  {name}: {theirs[name]!r} there, {ours[name]!r} now'
      for name in ours
      if ours[name] != theirs[name]
    ]
    if lines:
      raise app.UsageError(
        f'{workdir} holds a run of another configuration:\n'
        + '\n'.join(lines)
        + '\nPass another --workdir, or remove this folder.'
      )
    if fingerprint is not None:
      _check_data(workdir, fingerprint)
    return
  workdir.mkdir(parents=True, exist_ok=True)
  training.write_json(path, config_lib.to_json(config))
  if fingerprint is not None:
    training.write_json(workdir / 'data.json', dict(fingerprint))


def _check_data(workdir: pathlib.Path, fingerprint: Mapping[str, str]) -> None:
  path = workdir / 'data.json'
  if not path.exists():  # Of an earlier version.
    return
  theirs = json.loads(path.read_text())
  lines = [
    f'  {part}: {theirs.get(part, "none")[:12]} there, '
    f'{fingerprint.get(part, "none")[:12]} now'
    for part in sorted({*theirs, *fingerprint})
    if theirs.get(part) != fingerprint.get(part)
  ]
  if lines:
    raise data.DataError(
      f'{workdir} holds a run on other data, by their checksums:\n'
      + '\n'.join(lines)
      + '\nA file was changed or removed, labels are others, or it is another '
      'version of the data set. Put the data back, or pass another --workdir.'
    )


def read_summary(workdir: pathlib.Path, config: Any) -> dict[str, Any] | None:
  """The summary of a complete run of this configuration, or None."""
  if not (workdir / 'summary.json').exists():
    return None
  claim(workdir, config)
  return json.loads((workdir / 'summary.json').read_text())
