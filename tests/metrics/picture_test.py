# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Notebooks show the figures of this library without pyplot."""

import io

from IPython.core.formatters import DisplayFormatter
import numpy as np
from PIL import Image

from imbsam_jax import metrics


def test_a_notebook_shows_the_picture_that_is_written(tmp_path):
  path = tmp_path / 'accuracy.png'
  figure = metrics.plot_accuracy_by_frequency(
    path, [100, 10, 5], {'sgd': [0.9, 0.6, 0.2]}
  )
  data, metadata = DisplayFormatter().format(figure)
  written = Image.open(path).convert('L')
  shown = Image.open(io.BytesIO(data['image/png'])).convert('L')
  width, height = shown.size
  assert written.size == (width, height)
  # Texts may move by a pixel when a figure is laid out again.
  difference = np.abs(np.asarray(written, int) - np.asarray(shown, int))
  assert difference.mean() < 2.55
  # Half of the pixels: sharp where the screen is.
  size = metadata['image/png']
  assert (size['width'], size['height']) == (width // 2, height // 2)
