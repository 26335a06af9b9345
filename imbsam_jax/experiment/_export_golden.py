# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Eight images that are the same everywhere, by which an export is checked."""

from collections.abc import Mapping
from collections.abc import Sequence
import hashlib
import math
from typing import Any

import jax
import numpy as np

from imbsam_jax.experiment import _classifier
from imbsam_jax.experiment import _export_function

_COUNT = 8
# Of a multiplicative hash (Knuth, The Art of Computer Programming, 6.4).
_FACTOR = 2654435761
_TOLERANCE = 1e-5
# GPUs multiply float32 in fewer bits, and bfloat16 rounds where a compiler
# likes.
_COARSE = 2e-2


def entry(
  classifier: _classifier.Classifier, function: _export_function.Function
) -> dict[str, Any]:
  """Eight images by their recipe, and what the run gives for them.

  Args:
    classifier: What `load_run` gave.
    function: What is exported of it.
  """
  low_high = value_range(function, classifier.content['input'])
  golden = images(function.row_shape, function.dtype, low_high)
  numbers = outputs_of(classifier, function.outputs, golden)
  return {
    'recipe': (
      'number k of the 8 images in C order, from 0 on, is the byte '
      'floor(((k + 1) * 2654435761 mod 2^32) / 2^24); for float32 it is '
      'low + (high - low) * byte / 255, computed in float64, with the two '
      'numbers of "range"'
    ),
    'range': low_high,
    'inputs_sha256': _sha256(golden),
    'platform': jax.default_backend(),
    'dtype': classifier.config.model.dtype,
    'tolerance': _TOLERANCE,
    # JSON has no infinity, the logit of a class that is left out.
    'outputs': [
      [None if np.isneginf(x) else float(str(x)) for x in row]
      for row in numbers
    ],
  }


def images(
  shape: tuple[int, ...], dtype: str, low_high: Sequence[float]
) -> np.ndarray:
  """Eight images that are the same everywhere, ``[8, ...]``.

  The number k in C order, from 0 on, is the byte
  ``floor(((k + 1) * 2654435761 mod 2^32) / 2^24)``; floats are
  ``low + (high - low) * byte / 255``.

  Args:
    shape: Shape of an image.
    dtype: 'uint8' or 'float32'.
    low_high: What the bytes 0 and 255 become, low and high.
  """
  count = _COUNT * math.prod(shape)
  numbers = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_FACTOR)
  values = ((numbers & np.uint64(2**32 - 1)) >> np.uint64(24)).astype(np.uint8)
  values = values.reshape(_COUNT, *shape)
  if dtype == 'uint8':
    return values
  low, high = low_high
  return (low + (high - low) * values.astype(np.float64) / 255).astype(dtype)


def value_range(
  function: _export_function.Function, stored: Mapping[str, Any]
) -> list[float]:
  """What the bytes 0 and 255 become in golden images of floats.

  Args:
    function: What is exported.
    stored: The entry 'input' of ``model.json``.
  """
  if function.dtype == 'uint8':
    return [0.0, 255.0]
  if stored['dtype'] == 'uint8' or stored['range'] is None:
    return [0.0, 1.0]
  return [float(x) for x in stored['range']]


def outputs_of(
  classifier: _classifier.Classifier, outputs: str, images: np.ndarray
) -> np.ndarray:
  """What a classifier gives for images, as the exported function does.

  Args:
    classifier: A run, or an export of it.
    outputs: 'probabilities', 'logits' or 'features'.
    images: The images.
  """
  if outputs == 'features':
    return classifier.features(images)
  if outputs == 'probabilities':
    return classifier(images)
  logits = classifier.logits(images)
  is_scaled = classifier.programs.exported or not classifier.correction.is_none
  scale = 1.0 if is_scaled else classifier.content['logit_scale']
  return np.float32(scale) * logits


def _sha256(array: np.ndarray) -> str:
  """Checksum of the bytes of an array in C order, little-endian."""
  array = np.ascontiguousarray(array, array.dtype.newbyteorder('<'))
  return hashlib.sha256(array.tobytes()).hexdigest()


def difference(
  numbers: np.ndarray, golden: Mapping[str, Any]
) -> tuple[float, float]:
  """The largest difference of outputs, and what is allowed.

  Of numbers above 1 it is that of their size.

  Args:
    numbers: Outputs for the golden images.
    golden: The entry of ``export.json``.
  """
  expected = np.array(
    [[-np.inf if x is None else x for x in row] for row in golden['outputs']],
    np.float32,
  )
  if numbers.shape != expected.shape:
    return np.inf, 0.0
  same = numbers == expected  # Infinities too.
  with np.errstate(invalid='ignore'):
    error = np.abs(numbers - expected) / np.maximum(1, np.abs(expected))
  same_kind = golden['platform'] == jax.default_backend()
  is_exact = same_kind and golden['dtype'] == 'float32'
  allowed = golden['tolerance'] if is_exact else _COARSE
  return float(np.where(same, 0.0, error).max()), allowed
