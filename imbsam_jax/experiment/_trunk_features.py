# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Features of a trunk that nothing changes, computed once and kept."""

import contextlib
import hashlib
import os
import pathlib
from typing import Any
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import _errors
from imbsam_jax import _npz
from imbsam_jax import data as data_lib
from imbsam_jax import training
from imbsam_jax._runs import console
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _trunk

# Batches after which a line of progress moves on.
_BATCHES = 4


class Extractor:
  """Features of images as they are seen in evaluation.

  Attributes:
    size: Height and width to which images are brought, or None.

  Args:
    config: The configuration.
    trunk: What was read from the file of the trunk.
    inputs: How stored images become its inputs.
    mesh: The devices.
  """

  def __init__(
    self,
    config: _config.Config,
    trunk: _trunk.Trunk,
    inputs: training.Inputs,
    mesh: jax.sharding.Mesh,
  ):
    self._config = config
    self._trunk = trunk
    self._mesh = mesh
    self.size = getattr(inputs.preprocess, 'size', None)
    self._step = make_step(config, trunk, inputs)

  def __call__(self, examples: data_lib.Examples, title: str) -> np.ndarray:
    """Features of examples.

    Args:
      examples: N examples.
      title: What the line of progress begins with.

    Returns:
      Float32 array ``[N, D]``.
    """
    variables = training.replicate(self._mesh, self._trunk.variables)
    batch_size = self._config.data.batch_size
    in_memory = isinstance(examples.images, np.ndarray)
    number, rows = len(examples.labels), _BATCHES * batch_size
    parts = []
    with self._line(number, title) as report:
      for start in range(0, number, rows):
        indices = np.arange(start, min(start + rows, number))
        parts += training.over_examples(
          self._step,
          variables,
          examples.at(indices),
          batch_size=batch_size,
          mesh=self._mesh,
          num_threads=0 if in_memory else self._config.data.workers,
        )
        if report is not None:
          done = {'step': int(indices[-1]) + 1}
          report([{**done, 'loss': None, 'train_accuracy': None}])
    return np.concatenate(parts)

  def _line(self, number: int, title: str) -> Any:
    """A line of progress, of one process alone."""
    if not training.is_first_process():
      return contextlib.nullcontext()
    return contextlib.closing(console.Progress(number, title, unit='image'))


def make_step(
  config: _config.Config, trunk: _trunk.Trunk, inputs: training.Inputs
) -> Any:
  """The jitted ``step(variables, images) -> (features [B, D],)`` of a trunk.

  Args:
    config: The configuration.
    trunk: What was read from the file of the trunk.
    inputs: How stored images become its inputs.
  """
  module = trunk.module.clone(dtype=jnp.dtype(config.model.dtype))

  def step(variables, images):
    features: Any = module.apply(variables, inputs.evaluated(images))
    return (features.astype(jnp.float32),)

  return jax.jit(step)


def cached(
  config: _config.Config,
  data: data_lib.LongTailedData,
  trunk: _trunk.Trunk,
  extract: Extractor,
) -> data_lib.LongTailedData:
  """Examples with features for images, from the folder of earlier ones.

  Each part of the data is a file there, whose name is a checksum of all that
  the features depend on: the trunk's file, its preset, size and dtype, and the
  examples.

  Args:
    config: The configuration, whose `model.feature_cache` is the folder.
    data: The examples.
    trunk: What was read from the file of the trunk.
    extract: Computes those that are not there.
  """
  fingerprint = _fingerprint(data)
  folder = pathlib.Path(config.model.feature_cache or '').expanduser()

  def features(part, examples):
    name = _name(config, trunk, extract.size, fingerprint[part])
    path = folder / f'{name}.npz'
    array = _kept(path, len(examples.labels))
    # All processes compute together, or none.
    if not all(training.from_each_process(array is not None)):
      array = extract(examples, f'features, {part}')
      training.in_first_process(lambda: _keep(path, array))
    return examples._replace(images=array)

  return data._replace(
    train=features('train', data.train),
    validation=None
    if data.validation is None
    else features('validation', data.validation),
    test=features('test', data.test),
  )


def _fingerprint(data: data_lib.LongTailedData) -> dict[str, str]:
  """Checksums of the examples, of encoded images by their content."""
  sums = data_lib.fingerprint(data)
  for part in ('train', 'validation', 'test'):
    examples = getattr(data, part)
    images = None if examples is None else examples.images
    if isinstance(images, data_lib.EncodedImages):
      digest = hashlib.sha256(examples.labels.tobytes())
      digest.update(images.content_sha256.encode())
      digest.update(b' turned' * images.exif_orientation)
      sums[part] = digest.hexdigest()
  return sums


def _name(
  config: _config.Config, trunk: _trunk.Trunk, size: Any, fingerprint: str
) -> str:
  parts = (
    trunk.sha256, trunk.preset, size, config.model.dtype, config.data.resize,
    fingerprint,
  )  # fmt: skip
  return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _kept(path: pathlib.Path, number: int) -> np.ndarray | None:
  """Features of an earlier run, or None.

  Raises:
    ConfigError: If the file is none of such features.
  """
  if not path.exists():
    return None
  advice = f'Remove {path}: the features are computed again.'
  try:
    features = _npz.read(path, ['features'])['features']
  except ValueError as error:
    raise _errors.ConfigError(f'{error} {advice}') from error
  if features.dtype != np.float32 or features.shape[:1] != (number,):
    raise _errors.ConfigError(
      f'{path} does not hold the features of {number} examples. {advice}'
    )
  return features


def _keep(path: pathlib.Path, features: np.ndarray) -> None:
  """Writes features, whole or not at all."""
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f'.{os.getpid()}.tmp')
    with contextlib.ExitStack() as stack:
      stack.callback(unfinished.unlink, missing_ok=True)
      with unfinished.open('wb') as file:
        np.savez(file, features=features)
      unfinished.replace(path)
  except OSError as error:
    warnings.warn(
      f'features are not kept, since {path.parent} cannot be written: '
      f'{error.strerror}.',
      stacklevel=2,
    )
