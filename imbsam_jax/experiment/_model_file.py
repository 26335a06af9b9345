# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""``model.json``: what a run's network is, and what it takes.

With ``config.json`` and a checkpoint it is all that a classifier needs: no data
and no statistics of them are looked up again. It is written when a run begins,
and at its end with the checksums of the parameters that are reported.
"""

from collections.abc import Mapping
import json
import pathlib
from typing import Any

import jax
import numpy as np

from imbsam_jax import _errors
from imbsam_jax import data as data_lib
from imbsam_jax import training
from imbsam_jax.experiment import _experiment
from imbsam_jax.experiment import _own

FORMAT = 1
NAME = 'model.json'


def write(
  workdir: pathlib.Path,
  experiment: _experiment.Experiment,
  versions: Mapping[str, str],
  state: training.TrainState | None = None,
) -> None:
  """Writes ``model.json``.

  Args:
    workdir: Folder of the run.
    experiment: The experiment of the run.
    versions: Versions of what it is trained with.
    state: The state that is reported, or None before there is one.
  """
  training.write_json(
    workdir / NAME, content(experiment, state) | {'versions': dict(versions)}
  )


def content(
  experiment: _experiment.Experiment, state: training.TrainState | None = None
) -> dict[str, Any]:
  """What ``model.json`` holds, all but versions.

  Args:
    experiment: The experiment of a run.
    state: The state that is reported, or None before there is one.
  """
  config, data = experiment.config, experiment.data
  return {
    'format': FORMAT,
    'class_names': [str(name) for name in data.class_names],
    'class_counts': [int(count) for count in data.class_counts],
    'model': {
      'name': config.model.name,
      'own': config.model.name == _own.OWN,
      'norm': config.model.norm,
      'head': experiment.head,
      'head_choice': config.model.head,
      'scheme': config.objective.scheme,
      'dtype': config.model.dtype,
    },
    'trunk': _trunk(experiment),
    'input': _input(experiment),
    'logit_scale': float(experiment.objective.logit_scale),
    'threshold': config.optimizer.threshold,
    'many_above': config.many_above,
    'few_below': config.few_below,
    'flip_test': config.flip_test,
    'test_views': config.test_views,
    # A checkpoint is named by the number of steps that were completed.
    'num_steps': experiment.num_steps,
    'step': None if state is None else int(state.step),
    'params_sha256': (
      None if state is None else training.params_sha256(state.params)
    ),
    'variables': _variables(experiment, state),
  }


def read(workdir: pathlib.Path) -> dict[str, Any]:
  """The content of ``model.json``.

  Args:
    workdir: Folder of the run.

  Raises:
    ConfigError: If there is none, it cannot be read, or it was written by a
      later version.
  """
  path = workdir / NAME
  if not path.exists():
    raise _errors.ConfigError(
      f'{workdir} has no {NAME}, which a run of an earlier version did not '
      'write. Call the command that trained it again: it trains nothing more, '
      'and writes the file. experiment.restore reads such a run with its data.'
    )
  try:
    content = json.loads(path.read_text(encoding='utf-8'))
    version = int(content['format'])
  except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
    raise _errors.ConfigError(
      f'{path} is not a readable {NAME}: {error!r}. Call the command that '
      'trained the run again, which writes it anew.'
    ) from error
  if version != FORMAT:
    raise _errors.ConfigError(
      f'{path} has format {version}, and this version of imbsam_jax reads '
      f'{FORMAT}. Install the version that wrote it, which it names under '
      '"versions".'
    )
  return content


def leaves(variables: Any) -> dict[str, Any]:
  """Arrays by how ``model.json`` calls them: 'params/classifier/kernel'."""
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): x
    for path, x in jax.tree.leaves_with_path(variables)
  }


def standardization(stored: Mapping[str, Any]) -> data_lib.Standardization:
  """The function from stored images to the input of the network, as it was.

  Args:
    stored: The entry 'input' of ``model.json``.
  """
  axes = (1,) * len(stored['shape'])

  def constants(numbers):
    return jax.numpy.asarray(
      np.array(numbers, np.float32).reshape(*axes, len(numbers))
    )

  size = stored['size']
  return data_lib.Standardization(
    stored['scale'],
    constants(stored['mean']),
    constants(stored['std']),
    None if size is None else (size[0], size[1]),
    stored['method'],
    stored['rgb'],
  )


def _input(experiment: _experiment.Experiment) -> dict[str, Any]:
  """What is stored of an image, and what becomes of it."""
  images, inputs = experiment.source.train.images, experiment.image_inputs
  assert inputs is not None
  how: Any = inputs.preprocess
  in_memory = isinstance(images, np.ndarray)
  channels = {1: 'L', 3: 'RGB'}
  is_float = in_memory and np.issubdtype(images.dtype, np.floating)
  return {
    'shape': list(images.shape[1:]),
    'dtype': str(images.dtype),
    'color': (
      channels.get(images.shape[-1], 'other') if images.ndim == 4 else 'table'
    ),
    # Of files: the size that they are cut to, by the rule of `evaluation`.
    'image_size': experiment.config.data.image_size,
    'evaluation': (
      'as they are'
      if in_memory
      else 'the shorter side becomes round(image_size / 0.875), and the center '
      'is cut out'
    ),
    'range': _range(images) if is_float else None,
    'scale': float(how.scale),
    'mean': _numbers(how.mean),
    'std': _numbers(how.std),
    'size': None if how.size is None else list(how.size),
    'method': how.method,
    'rgb': bool(how.rgb),
  }


def _range(images: np.ndarray) -> list[float] | None:
  """Smallest and largest value, if both are numbers."""
  extremes = [float(images.min()), float(images.max())]
  return extremes if np.isfinite(extremes).all() else None


def _trunk(experiment: _experiment.Experiment) -> dict[str, Any] | None:
  """The file that the network begins with."""
  if experiment.foundation is None:
    return None
  model = experiment.config.model
  return {
    'file': model.trunk,
    'sha256': model.trunk_sha256,
    'preset': model.preset,
    'num_heads': model.num_heads,
    'image_size': model.image_size,
    'tuning': model.tuning,
    'pool': model.pool,
    'features_once': experiment.foundation.is_cached,
  }


def _variables(
  experiment: _experiment.Experiment, state: training.TrainState | None
) -> dict[str, Any]:
  """Shapes and dtypes of all variables, and whether a checkpoint has them."""
  abstract = experiment.abstract_state
  frozen = leaves({'params': abstract.frozen})
  arrays = {} if state is None else leaves(state.variables)
  entries = {}
  for path, x in leaves(abstract.variables).items():
    entries[path] = {
      'shape': list(x.shape),
      'dtype': str(x.dtype),
      'trained': path not in frozen,
    }
    if path in arrays and path not in frozen:
      entries[path]['sha256'] = training.params_sha256(arrays[path])
  return entries


def _numbers(x: Any) -> list[float]:
  """Float32 numbers by their shortest texts, which give the same bits again."""
  return [float(str(number)) for number in np.asarray(x, np.float32).ravel()]
