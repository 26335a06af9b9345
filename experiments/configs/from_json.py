# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Repeats a run from the ``config.json`` that it wrote.

python -m experiments.train --workdir=runs/again \
    --config=experiments/configs/from_json.py:runs/imbsam/config.json
"""

import pathlib

from experiments import config as config_lib


def get_config(path: str) -> config_lib.Config:
  """The configuration in the file at `path`."""
  return config_lib.from_json(pathlib.Path(path))
