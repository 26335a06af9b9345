# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Repeats a run from the ``config.json`` that it wrote.

python -m imbsam_jax train --workdir=runs/again \
    --config=from_json:runs/imbsam/config.json
"""

import pathlib

from imbsam_jax import _errors
from imbsam_jax._runs import fields
from imbsam_jax.experiment import _config


def get_config(path: str = '') -> _config.Config:
  """The configuration in the file at `path`."""
  if not path:
    raise _errors.ConfigError(
      'from_json takes the path of the config.json of a run in the place of '
      'words, such as from_json:runs/imbsam/config.json.'
    )
  return fields.from_json(pathlib.Path(path).expanduser(), _config.Config)
