# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checksums by which a run that goes on recognizes its data."""

import hashlib

import numpy as np

from imbsam_jax.data import _encoded_images
from imbsam_jax.data import _sources
from imbsam_jax.data import _splits


def fingerprint(
  data: _splits.LongTailedData, auxiliary: _sources.Examples | None = None
) -> dict[str, str]:
  """Checksums of the data of a run, to be compared when it goes on.

  Args:
    data: The training, validation and test examples of the run.
    auxiliary: Its auxiliary examples, if it has some.

  Returns:
    SHA-256, as hexadecimal digits, of 'classes' (their names), 'train',
    'validation', 'test' and 'auxiliary': labels and the images' bytes and
    order. Of images that stay encoded it is their names, not their content,
    that count: reading all files would take longer than many a run.
  """
  parts = {'train': data.train, 'validation': data.validation}
  parts |= {'test': data.test, 'auxiliary': auxiliary}
  names = '\n'.join(map(str, data.class_names)).encode()
  digests = {'classes': hashlib.sha256(names).hexdigest()}
  for part, examples in parts.items():
    if examples is not None:
      digests[part] = _of_examples(examples)
  return digests


def _of_examples(examples: _sources.Examples) -> str:
  digest = hashlib.sha256(np.ascontiguousarray(examples.labels).tobytes())
  images = examples.images
  digest.update(f'{images.dtype} {images.shape}'.encode())
  if isinstance(images, _encoded_images.EncodedImages):
    for name in images.names():
      digest.update(f'{name}\n'.encode())
  else:
    digest.update(np.ascontiguousarray(images).data)
  return digest.hexdigest()
