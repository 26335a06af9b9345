# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Small runs on the digits, and when two of them are the same."""

from collections.abc import Mapping
import json
import pathlib
from typing import Any

import numpy as np
import pytest

from imbsam_jax import experiment as experiment_lib
from imbsam_jax import training
from imbsam_jax.experiment.recipes import digits_lt

# Of a summary: what is of the process that finished the run.
_OWN = ('seconds', 'images_per_second', 'step_programs')


def small_config(
  tfds_dir: str, word: str = 'imbsam', *, epochs: float, **changes: Any
) -> experiment_lib.Config:
  """A configuration that trains in seconds; ``data__name`` is data.name."""
  small = {
    'model.name': 'mlp',
    'epochs': epochs,
    'save_every': 1.0,
    'data.batch_size': 32,
    'data.data_dir': tfds_dir,
  }
  changes = {name.replace('__', '.'): value for name, value in changes.items()}
  return experiment_lib.replace(digits_lt.get_config(word), small | changes)


def read_summary(folder: pathlib.Path) -> dict[str, Any]:
  """What a complete run says of itself."""
  return json.loads((folder / 'summary.json').read_text())


def assert_same_summary(
  found: Mapping[str, Any], expected: Mapping[str, Any]
) -> None:
  """All but times, to the last bit."""
  for name, value in expected.items():
    assert name in _OWN or found[name] == value, name


def assert_same_files(folder: pathlib.Path, other: pathlib.Path) -> None:
  """Files that do not depend on when a run was interrupted."""
  for name in ('metrics.jsonl', 'per_class.csv'):
    assert (folder / name).read_bytes() == (other / name).read_bytes(), name


def assert_close(folder: pathlib.Path, other: pathlib.Path) -> None:
  """The same to float accuracy: losses, validation and test metrics."""
  ours, theirs = (
    training.read_history(f / 'metrics.jsonl') for f in (folder, other)
  )
  assert [r['step'] for r in ours] == [r['step'] for r in theirs]
  for one, two in zip(ours, theirs, strict=True):
    if 'loss' in one:
      np.testing.assert_allclose(one['loss'], two['loss'], rtol=1e-5)
    else:
      assert one['validation'] == pytest.approx(two['validation'], rel=1e-5)
  one, two = read_summary(folder), read_summary(other)
  for name in ('top1', 'balanced', 'tail', 'ece', 'g_mean', 'macro_f1'):
    assert one[name] == pytest.approx(two[name], rel=1e-5), name
