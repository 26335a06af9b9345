# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Repeats a run from the ``config.json`` that it wrote.

python -m imbsam_jax train --workdir=runs/again \
    --config=from_json:runs/imbsam/config.json
"""

import pathlib

from imbsam_jax._runs import fields
from imbsam_jax.experiment import _config


def get_config(path: str) -> _config.Config:
  """The configuration in the file at `path`."""
  return fields.from_json(pathlib.Path(path).expanduser(), _config.Config)
