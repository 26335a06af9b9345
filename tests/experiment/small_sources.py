# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Images of 6x6 pixels in three classes, each with a bright bar of its own."""

import numpy as np

from imbsam_jax import experiment

COUNTS = (30, 12, 6)


def _images(counts, seed):
  rng = np.random.RandomState(seed)
  labels = np.repeat(np.arange(3), counts)
  images = rng.randint(0, 120, (len(labels), 6, 6, 1))
  for label in range(3):
    images[labels == label, 2 * label : 2 * label + 2] += 100
  return images.astype(np.uint8), labels


SOURCES = experiment.Sources(
  train=_images(COUNTS, 0),
  validation=_images((8, 8, 8), 1),
  test=_images((10, 10, 10), 2),
)
