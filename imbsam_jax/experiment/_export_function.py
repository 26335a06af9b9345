# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The function of images that is exported."""

from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import _errors
from imbsam_jax.experiment import _classifier

OUTPUTS = ('probabilities', 'logits', 'features')
INPUTS = ('uint8', 'float32')


class Function(NamedTuple):
  """What is exported.

  Attributes:
    call: ``call(images) -> outputs``, float32, of any number of images.
    row_shape: Shape of an image.
    dtype: Its dtype, 'uint8' or 'float32'.
    outputs: 'probabilities', 'logits' or 'features'.
    num_bytes: Bytes of the parameters within.
  """

  call: Callable[[Any], Any]
  row_shape: tuple[int, ...]
  dtype: str
  outputs: str
  num_bytes: int


def make(
  classifier: _classifier.Classifier, outputs: str, input_dtype: str | None
) -> Function:
  """The function of images that a classifier is, with its parameters inside.

  Args:
    classifier: What `load_run` gave.
    outputs: 'probabilities'; 'logits', whose softmax these are; or 'features',
      of the images alone where an evaluation looks at several views.
    input_dtype: 'uint8' or 'float32', pixels in [0, 1] where the run stores
      bytes; None is what is nearer to the run's examples.

  Raises:
    ConfigError: If the run does not have such outputs or inputs.
  """
  programs, stored = classifier.programs, classifier.content['input']
  if outputs not in OUTPUTS:
    raise _errors.ConfigError(
      f'`outputs` must be {_or(OUTPUTS)}, got {outputs!r}.'
    )
  of_bytes = stored['dtype'] == 'uint8'
  dtype = input_dtype or ('uint8' if of_bytes else 'float32')
  if dtype not in INPUTS:
    raise _errors.ConfigError(f'`input` must be {_or(INPUTS)}, got {dtype!r}.')
  if dtype == 'uint8' and not of_bytes:
    raise _errors.ConfigError(
      f'this run was trained on {stored["dtype"]}, so it cannot take bytes. '
      'Pass `input=float32`.'
    )
  if programs.exported is not None:
    raise _errors.ConfigError(
      'this classifier is an export itself. Load the run that it is of, by '
      'load_run.'
    )
  step = programs.features
  if outputs == 'features' and step is None:
    raise _errors.ConfigError(
      'this network does not tell its features. Derive it from '
      'models.Classifier.'
    )
  none = classifier.correction.is_none
  # Arrays of NumPy, which are on no device: they become constants.
  variables, correction, trunk = jax.tree.map(
    np.asarray,
    (classifier.variables, classifier.correction, programs.trunk),
  )
  correction = None if none else correction
  scale = classifier.content['logit_scale'] if none else 1.0

  def call(images):
    if of_bytes and dtype == 'float32':
      images = np.float32(255) * images
    elif not of_bytes:
      images = images.astype(jax.dtypes.canonicalize_dtype(stored['dtype']))
    if programs.of_trunk is None:
      rows = programs.rows(images)
    else:
      rows = programs.of_trunk(trunk, images)
    if outputs == 'features':
      assert step is not None
      return step(variables, rows)[0].astype(jnp.float32)
    assert programs.score is not None
    logits, probabilities = programs.score(variables, rows, correction)
    if outputs == 'probabilities':
      return probabilities
    return scale * logits.astype(jnp.float32)

  call.__name__ = outputs
  leaves = jax.tree.leaves((variables, correction, trunk))
  num_bytes = sum(x.nbytes for x in leaves)
  return Function(call, classifier.row_shape, dtype, outputs, num_bytes)


def _or(names: tuple[str, ...]) -> str:
  return ' or '.join(map(repr, names))
