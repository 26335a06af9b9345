# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""TFDS builder of scikit-learn's handwritten digits: needs no download."""

from collections.abc import Iterator
import io
from typing import Any

import numpy as np
from PIL import Image
from sklearn import datasets
import tensorflow_datasets as tfds

_TEST_PER_CLASS = 50


def _load() -> Any:
  return datasets.load_digits()


class Digits(tfds.core.GeneratorBasedBuilder):
  """1,797 handwritten digits of 8 x 8 pixels, with a balanced test split.

  The test set of the UCI optical digits (Alpaydin and Kaynak, 1998), as it
  comes with scikit-learn. Its 17 gray levels are spread over 0 to 255. `test`
  holds 50 random images of each class, `train` the other 1,297. The same
  writers occur in both.
  """

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'A balanced test split of 50 images per class.'}

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description=self.__class__.__doc__,
      features=tfds.features.FeaturesDict(
        {
          'image': tfds.features.Image(
            shape=(8, 8, 1), dtype=np.uint8, encoding_format='png'
          ),
          'label': tfds.features.ClassLabel(num_classes=10),
        }
      ),
      supervised_keys=('image', 'label'),
      homepage='https://archive.ics.uci.edu/dataset/80',
    )

  def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
    del dl_manager
    labels = _load().target
    rng = np.random.RandomState(0)
    is_test = np.zeros(len(labels), bool)
    for label in range(10):
      rows = np.flatnonzero(labels == label)
      is_test[rng.permutation(rows)[:_TEST_PER_CLASS]] = True
    return {
      'train': self._generate_examples(np.flatnonzero(~is_test)),
      'test': self._generate_examples(np.flatnonzero(is_test)),
    }

  def _generate_examples(
    self, rows: np.ndarray
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    digits = _load()
    for row in rows:
      pixels = np.round(digits.images[row] * (255 / 16)).astype(np.uint8)
      png = io.BytesIO()
      Image.fromarray(pixels).save(png, 'PNG')
      yield (
        int(row),
        {'image': png.getvalue(), 'label': int(digits.target[row])},
      )
