# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What stands for the file of a trained network."""

import numpy as np


def leaf(number: int, shape: tuple[int, ...]) -> np.ndarray:
  """One of its arrays."""
  rng = np.random.RandomState(number)
  return (0.2 * rng.randn(*shape)).astype(np.float32)
