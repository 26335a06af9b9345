# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Files of text features, and what becomes of them."""

import json
import pathlib

import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy

from imbsam_jax import pretrained

_GOLDEN = pathlib.Path(__file__).parent / 'golden' / 'text_features.safetensors'
_RNG = np.random.RandomState(0)
_ROWS = _RNG.randn(3, 4)
_NAMES = ['Snow_Leopard', 'red panda', 'okapi']


def _npz(path, **arrays):
  np.savez(path, **arrays)
  return path


def _unit(rows):
  return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_rows_go_by_name_not_by_place(tmp_path):
  file = _npz(tmp_path / 'a.npz', text_features=_ROWS, classes=_NAMES)
  texts = pretrained.read_text_features(file)
  assert texts.classes == tuple(_NAMES)
  found = texts.of_classes(['okapi', 'snow leopard', 'Red_Panda'])
  np.testing.assert_allclose(found, _unit(_ROWS)[[2, 0, 1]], atol=1e-6)


def test_both_formats_and_templates(tmp_path):
  templates = _RNG.randn(5, 3, 4)
  safe = tmp_path / 'a.safetensors'
  safetensors_numpy.save_file(
    {'text_features': templates.astype(np.float32)},
    safe,
    metadata={'classes': json.dumps(_NAMES), 'model': 'tiny'},
  )
  file = _npz(
    tmp_path / 'a.npz',
    text_features=templates.astype(np.float16),
    classes=np.array(_NAMES),
  )
  expected = _unit(_unit(templates).mean(axis=0))
  for path, tolerance in ((safe, 1e-6), (file, 1e-3)):
    vectors = pretrained.read_text_features(path).vectors
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, atol=tolerance)


def test_the_file_of_the_specification():
  texts = pretrained.read_text_features(_GOLDEN)
  assert texts.vectors.shape == (5, 16)
  np.testing.assert_allclose(
    np.linalg.norm(texts.vectors, axis=1), 1, rtol=1e-6
  )


def test_pulled_back_and_zero_shot():
  """By NumPy in float64; a text is near the images that are near its row."""
  projection, features = _RNG.randn(6, 4), _RNG.randn(7, 6)
  rows = pretrained.pulled_back(_ROWS, projection)
  np.testing.assert_allclose(
    rows, _unit(_unit(_ROWS) @ projection.T), rtol=1e-5
  )
  logits = pretrained.zero_shot_logits(features, projection, _ROWS)
  expected = 100 * _unit(features @ projection) @ _unit(_ROWS).T
  np.testing.assert_allclose(logits, expected, rtol=1e-5)
  # With an orthogonal projection both are the same cosines.
  square = np.linalg.qr(_RNG.randn(4, 4))[0]
  found = pretrained.zero_shot_logits(features[:, :4], square, _ROWS)
  cosines = _unit(features[:, :4]) @ pretrained.pulled_back(_ROWS, square).T
  np.testing.assert_allclose(found, 100 * cosines, atol=1e-4)


@pytest.mark.parametrize(
  ('arrays', 'message'),
  [
    ({'features': _ROWS, 'classes': _NAMES}, "no `text_features`, but 'featur"),
    ({'text_features': _ROWS}, 'does not name its classes'),
    ({'text_features': _ROWS[0], 'classes': _NAMES}, r'must be \[C, E\] or'),
    ({'text_features': _ROWS, 'classes': _NAMES[:2]}, '3 rows .* and 2 names'),
    (
      {'text_features': _ROWS * [[1], [0], [1]], 'classes': _NAMES},
      "of 'red panda' is zero or not finite",
    ),
    (
      {'text_features': _ROWS * [[1], [1], [np.nan]], 'classes': _NAMES},
      "of 'okapi' is zero or not finite",
    ),
    ({'text_features': _ROWS, 'classes': np.arange(3)}, 'a list of names'),
  ],
)
def test_files_that_are_refused(arrays, message, tmp_path):
  file = _npz(tmp_path / 'a.npz', **arrays)
  with pytest.raises(ValueError, match=message):
    pretrained.read_text_features(file)


def test_classes_and_widths_that_differ(tmp_path):
  file = _npz(tmp_path / 'a.npz', text_features=_ROWS, classes=_NAMES)
  texts = pretrained.read_text_features(file)
  with pytest.raises(
    ValueError, match="1 of the 2 classes: 'okapy'.*'okapi' is"
  ):
    texts.of_classes(['red panda', 'okapy'])
  twice = _npz(
    tmp_path / 'b.npz',
    text_features=_ROWS,
    classes=['red panda', 'Red_Panda', 'okapi'],
  )
  with pytest.raises(ValueError, match='more than once'):
    pretrained.read_text_features(twice).of_classes(['red panda'])
  with pytest.raises(
    ValueError, match='4 entries, .* gives 5: .* another model'
  ):
    pretrained.pulled_back(_ROWS, np.ones((6, 5)))
  with pytest.raises(ValueError, match='.npz or .safetensors'):
    pretrained.read_text_features(tmp_path / 'missing.npz')
