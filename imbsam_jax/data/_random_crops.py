# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`RandomCrops`: encoded images, of which training sees random crops."""

from typing import NamedTuple

import numpy as np

from imbsam_jax.data import _encoded_images


class RandomCrops(NamedTuple):
  """Stands for `Examples.images` in training batches: a new crop every time.

  The crop of a row is a pure function of (seed, step, place in the batch),
  whoever decodes it and however the rows are cut.

  Attributes:
    images: Encoded images.
    seed: Seed of the crops, >= 0.
  """

  images: _encoded_images.EncodedImages
  seed: int

  @property
  def shape(self) -> tuple[int, ...]:
    return self.images.shape

  @property
  def dtype(self) -> np.dtype:
    return self.images.dtype

  def rows(
    self, indices: np.ndarray, *, step: int, places: np.ndarray
  ) -> np.ndarray:
    """Decoded crops, uint8 ``[B, size, size, 3]``.

    Args:
      indices: Int ``[B]``, which images.
      step: Number of the step.
      places: Int ``[B]``, places of the rows in the batch.
    """
    seeds = np.empty((len(places), 3), np.int64)
    seeds[:] = self.seed, step, 0
    seeds[:, 2] = places
    return self.images.random_crops(indices, seeds)
