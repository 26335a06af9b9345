# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Memory for a tensor that is soon copied."""

import math
import mmap

import numpy as np


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
  """An array whose memory the system has back when it is dropped.

  Tensors of all sizes that are made and freed in turn, between those of the
  tree that stay, leave holes in the memory of malloc: a fifth of a ViT-B/16.

  Args:
    shape: Its shape.
    dtype: Its dtype.
  """
  count = math.prod(shape)
  if not count:
    return np.empty(shape, dtype)
  pages = mmap.mmap(-1, count * dtype.itemsize)
  return np.frombuffer(pages, dtype, count).reshape(shape)
