# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""``model.json``: what a run's network is, and what it takes.

With ``config.json`` and a checkpoint it is all that a classifier needs: no data
and no statistics of them are looked up again. It is written when a run begins,
and at its end with the checksums of the parameters that are reported.
"""

from collections.abc import Mapping
import hashlib
import json
import math
import os
import pathlib
from typing import Any

import jax
import numpy as np

from imbsam_jax import _errors
from imbsam_jax import data as data_lib
from imbsam_jax import training
from imbsam_jax._runs import fields
from imbsam_jax.experiment import _experiment
from imbsam_jax.experiment import _own

FORMAT = 1
NAME = 'model.json'
# Fields in which runs of one experiment differ, and what may be moved.
_OF_ONE_RUN = (
  'seed',
  'init_from',
  'init_from_sha256',
  'data.bad_images',
  'data.data_dir',
  'data.splits',
  'log',
  'model.trunk',
)


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
  written = training.read_json(workdir / 'config.json')
  training.write_json(
    workdir / NAME,
    content(experiment, state)
    | {'config_sha256': config_sha256(written), 'versions': dict(versions)},
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
    'config_sha256': config_sha256(fields.to_json(config)),
    # A checkpoint is named by the number of steps that were completed.
    'num_steps': experiment.num_steps,
    'step': None if state is None else int(state.step),
    'params_sha256': (
      None if state is None else training.params_sha256(state.params)
    ),
    'variables': variable_table(experiment, state),
  }


def config_sha256(nested: Mapping[str, Any]) -> str:
  """Checksum of a configuration, without its seed and where its files are.

  Args:
    nested: The content of a ``config.json``, as it is: later versions may have
      further fields.
  """
  kept = {}
  for name, value in nested.items():
    inner = value if isinstance(value, dict) else {None: value}
    for part, x in inner.items():
      full = name if part is None else f'{name}.{part}'
      if full not in _OF_ONE_RUN:
        kept[full] = x
  text = json.dumps(kept, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()


def read(workdir: pathlib.Path) -> dict[str, Any]:
  """The content of ``model.json``.

  Args:
    workdir: Folder of the run.

  Raises:
    ConfigError: If there is none, it cannot be read, or it was written by a
      later version.
  """
  path = workdir / NAME
  if not os.path.lexists(path):
    raise _errors.ConfigError(
      f'{workdir} has no {NAME}, which a run of an earlier version did not '
      'write. Call the command that trained it again: it trains nothing more, '
      'and writes the file. experiment.restore reads such a run with its data.'
    )
  try:
    content = training.read_json(path)
    version = content.get('format')
    if type(version) is not int:
      raise training.TornFileError('it has no format')
    if version == FORMAT:
      _check_content(content)
  except training.TornFileError as error:
    raise _errors.ConfigError(
      f'{path} is not a readable {NAME}: {error}. Call the command that '
      'trained the run again, which writes it anew.'
    ) from error
  if version != FORMAT:
    raise _errors.ConfigError(
      f'{path} has format {version}, and this version of imbsam_jax reads '
      f'{FORMAT}. Install the version that wrote it, which it names under '
      '"versions".'
    )
  return content


def _check_content(content: Mapping[str, Any]) -> None:
  """Refuses what `write` does not write, so that readers need not look.

  Raises:
    TornFileError: If an entry is missing or of another kind.
  """
  entries = dict(content)
  for part in ('model', 'input'):
    inner = content.get(part)
    if not isinstance(inner, dict):
      raise training.TornFileError(f'{part!r} is {inner!r:.40}')
    entries |= {f'{part}.{name}': value for name, value in inner.items()}
  for name, fits in _KINDS.items():
    if name not in entries or not fits(entries[name]):
      raise training.TornFileError(f'{name!r} is {entries.get(name)!r:.40}')
  variables = entries['variables']
  for path, entry in variables.items() if _is_dict(variables) else ():
    if not _is_dict(entry) or not all(
      name in entry and fits(entry[name])
      for name, fits in _VARIABLE_KINDS.items()
    ):
      raise training.TornFileError(f'{path!r} is {entry!r:.40}')
  if len(entries['class_names']) != len(entries['class_counts']):
    raise training.TornFileError('it has other class names than class counts')


def _is_dict(value: Any) -> bool:
  return isinstance(value, dict)


def _is_text(value: Any) -> bool:
  return type(value) is str


def _is_bool(value: Any) -> bool:
  return type(value) is bool


def _is_number(value: Any) -> bool:
  return type(value) in (int, float)


def _is_count(value: Any) -> bool:
  return type(value) is int and 0 <= value < 2**63


def _is_shape(value: Any) -> bool:
  sizes = _all(_is_count)
  return sizes(value) and math.prod(max(size, 1) for size in value) < 2**40


def _is_dtype(value: Any) -> bool:
  try:
    return _is_text(value) and jax.numpy.dtype(value).kind in 'biufV'
  except TypeError:
    return False


def _all(fits: Any) -> Any:
  return lambda value: isinstance(value, list) and all(map(fits, value))


def _or_none(fits: Any) -> Any:
  return lambda value: value is None or fits(value)


def _some(fits: Any) -> Any:
  return lambda value: _all(fits)(value) and len(value) > 0


def _pair(fits: Any) -> Any:
  return lambda value: _all(fits)(value) and len(value) == 2


_VARIABLE_KINDS: Mapping[str, Any] = {
  'shape': _is_shape,
  'dtype': _is_dtype,
  'trained': _is_bool,
}
# What readers take for granted, by dotted name.
_KINDS: Mapping[str, Any] = {
  'class_names': _some(_is_text),
  'class_counts': _some(_is_count),
  'model.name': _is_text,
  'input.shape': lambda value: _is_shape(value) and len(value) in (1, 3),
  'input.dtype': _is_dtype,
  'input.color': _is_text,
  'input.image_size': _or_none(_is_count),
  'input.range': _or_none(_pair(_is_number)),
  'input.scale': lambda value: _is_number(value) and value != 0,
  'input.mean': _some(_is_number),
  'input.std': lambda value: _some(_is_number)(value) and 0 not in value,
  'input.size': _or_none(_pair(lambda size: _is_count(size) and size > 0)),
  'input.method': lambda value: value in ('bilinear', 'bicubic'),
  'input.rgb': _is_bool,
  'trunk': _or_none(_is_dict),
  'logit_scale': _is_number,
  'many_above': _is_count,
  'few_below': _is_count,
  'num_steps': _is_count,
  'step': _or_none(_is_count),
  'variables': _is_dict,
}


def leaves(variables: Any) -> dict[str, Any]:
  """Arrays by how ``model.json`` calls them: 'params/classifier/kernel'."""
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): x
    for path, x in jax.tree.leaves_with_path(variables)
  }


def trained_sha256(variables: Any, table: Mapping[str, Any]) -> str:
  """Checksum of the parameters that a run has trained.

  Those that it has from a file stay out, which may keep them in other dtypes.

  Args:
    variables: The variables that are evaluated.
    table: The entry 'variables' of ``model.json``.
  """
  return training.params_sha256(
    {
      path: x
      for path, x in leaves(variables).items()
      if path.startswith('params/') and table[path]['trained']
    }
  )


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


def reader(stored: Mapping[str, Any], *, resize: bool) -> data_lib.ImageReader:
  """What makes new images into examples as the run stores them.

  Args:
    stored: The entry 'input' of ``model.json``.
    resize: Whether images of another size are resized.
  """
  return data_lib.ImageReader(
    stored['shape'],
    stored['dtype'],
    is_encoded=stored['image_size'] is not None,
    resize=resize,
    value_range=stored['range'],
    # Earlier versions did not heed it.
    exif_orientation=stored.get('exif_orientation', False),
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
    'exif_orientation': experiment.config.data.exif_orientation,
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


def variable_table(
  experiment: _experiment.Experiment, state: training.TrainState | None = None
) -> dict[str, Any]:
  """Shapes and dtypes of all variables, and whether a checkpoint has them.

  Args:
    experiment: The experiment of a run.
    state: The state whose checksums are added, or None.
  """
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
