# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The run that comes before a run and finds what that begins with."""

import pathlib
from typing import Any
import warnings

import jax
import numpy as np

from imbsam_jax import data as data_lib
from imbsam_jax import methods
from imbsam_jax import training
from imbsam_jax._runs import fields
from imbsam_jax.experiment import _config

FOLDER = 'search'


def config_of(config: _config.Config, search: methods.Search) -> _config.Config:
  """The configuration of the search of a run.

  It is reported on validation images: the test images are for the run.
  """
  whole = {
    'final_split': 'validation',
    'best_on_test': False,
    # Images that are held out here were training images there.
    'init_from': None,
    'init_from_sha256': None,
  }
  return fields.replace(config, {**search.fields, **whole})


def data_of(
  data: data_lib.LongTailedData, search: methods.Search
) -> data_lib.LongTailedData:
  """The examples of the search of a run."""
  if data.validation is not None:
    return data
  return data_lib.hold_out(data, search.hold_out)


def is_over(workdir: pathlib.Path) -> bool:
  """Whether a run can go on from a checkpoint, so that its search is over."""
  checkpoints = workdir / 'checkpoints'
  # All processes go the same way, whatever each sees of a shared disk.
  return training.in_first_process(
    lambda: (
      checkpoints.exists()
      and any(
        report.status != 'incomplete'
        for report in training.inspect_checkpoints(checkpoints)
      )
    )
  )


def write(workdir: pathlib.Path, begin: Any) -> None:
  """Writes what a search has given, for whoever wants to look at it."""
  values = jax.tree.map(lambda x: np.asarray(x).tolist(), begin)
  training.in_first_process(
    lambda: training.write_json(workdir / 'found.json', values)
  )


def summary(workdir: pathlib.Path) -> dict[str, Any]:
  """What the search of a run has cost, for the summary of the run."""
  path = workdir / FOLDER / 'summary.json'
  if not path.exists():  # Somebody has removed the folder.
    return {}
  names = ('steps', 'seconds', 'cost_sgd_steps')
  try:
    there = training.read_json(path)
    if not all(type(there.get(name)) in (int, float) for name in names):
      raise training.TornFileError(f'it lacks one of {", ".join(names)}')
  except training.TornFileError as error:
    warnings.warn(
      f'{path} is not a readable summary.json ({error}); what the search took '
      'is not counted.',
      stacklevel=2,
    )
    return {}
  return {f'search_{name}': there[name] for name in names}
