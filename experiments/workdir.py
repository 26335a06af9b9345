# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Folders of runs: whose they are, and whether they are complete."""

import json
import pathlib
from typing import Any

from experiments import app
from experiments import config as config_lib
from imbsam_jax import training


def claim(workdir: pathlib.Path, config: Any) -> None:
  """Writes ``config.json``, or checks that the one there is the same.

  Raises:
    UsageError: The folder holds a run of another configuration.
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
    return
  workdir.mkdir(parents=True, exist_ok=True)
  training.write_json(path, config_lib.to_json(config))


def read_summary(workdir: pathlib.Path, config: Any) -> dict[str, Any] | None:
  """The summary of a complete run of this configuration, or None."""
  if not (workdir / 'summary.json').exists():
    return None
  claim(workdir, config)
  return json.loads((workdir / 'summary.json').read_text())
