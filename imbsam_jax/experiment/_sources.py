# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`Sources`: where the examples of a run come from."""

from typing import NamedTuple

import numpy as np

from imbsam_jax import data as data_lib

# Arrays in memory count as one: (images [N, ...], labels [N]).
Source = data_lib.Source | tuple[np.ndarray, np.ndarray]


class Sources(NamedTuple):
  """Examples of one's own, before anything is cut out of them.

  Attributes:
    train: A `data.Source`, or a pair of arrays: images ``[N, ...]``, uint8 (0
      to 255) or floats, and int labels ``[N]`` from 0.
    test: The same of test examples; all are used.
    validation: The same of validation examples, or None: then
      ``data.validation_per_class`` takes some of the training examples.
    auxiliary: Images of other things than the classes, an array ``[N, ...]`` of
      the shape and dtype of the training images, for methods that take some; or
      None: then ``data.auxiliary`` says which they are.
  """

  train: Source
  test: Source
  validation: Source | None = None
  auxiliary: np.ndarray | None = None
