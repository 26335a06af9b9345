# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Corrections of logits against their equations, written out."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from imbsam_jax.experiment import _correction

_RNG = np.random.RandomState(0)
_FEATURES = _RNG.randn(6, 4).astype(np.float32)
_LOGITS = (3 * _RNG.randn(6, 3)).astype(np.float32)
_KERNEL = _RNG.randn(4, 3).astype(np.float32)
_BIAS = np.array([1.0, -2.0, 0.5], np.float32)
_MEANS = _RNG.randn(3, 4).astype(np.float32)
_SCALE = np.array([0.5, 1.0, 3.0], np.float32)


def _lengths(rows):
  return np.sqrt((rows.astype(np.float64) ** 2).sum(axis=1))


_CASES = {
  'none': ({}, None, _LOGITS),
  'logit_adjustment': (
    {'tau': np.float32(1.5), 'log_prior': _BIAS},
    None,
    _LOGITS - 1.5 * _BIAS,
  ),
  'tau_normalization': ({'kernel': _KERNEL}, None, _FEATURES @ _KERNEL),
  'crt': (
    {'kernel': _KERNEL, 'bias': _BIAS},
    None,
    _FEATURES @ _KERNEL + _BIAS,
  ),
  'ncm': (
    {'means': _MEANS},
    'euclidean',
    -((_FEATURES[:, None] - _MEANS) ** 2).sum(axis=2),
  ),
  'ncm of angles': (
    {'means': _MEANS},
    'cosine',
    (_FEATURES @ _MEANS.T)
    / _lengths(_FEATURES)[:, None]
    / _lengths(_MEANS)[None],
  ),
  'lws': ({'scale': _SCALE}, None, _LOGITS * _SCALE),
  'marc': (
    {'scale': _SCALE, 'shift': _BIAS},
    None,
    _LOGITS * _SCALE + _BIAS,
  ),
  'target_prior': ({'offset': _BIAS}, None, _LOGITS + _BIAS),
}


class CorrectionTest(parameterized.TestCase):
  @parameterized.parameters(*_CASES)
  def test_equations(self, name):
    arrays, metric, expected = _CASES[name]
    correction = _correction.Correction(name.split()[0], arrays, 2.5, metric)
    found = jax.jit(lambda c, f, z: c(f, z))(correction, _FEATURES, _LOGITS)
    self.assertEqual(found.dtype, np.float32)
    np.testing.assert_allclose(found, expected / 2.5, rtol=2e-5, atol=1e-5)
    self.assertEqual(
      correction.needs_features, name.startswith(('tau', 'ncm', 'crt'))
    )
    if correction.needs_features:
      with self.assertRaisesRegex(ValueError, 'needs `features`, got None'):
        correction(None, _LOGITS)
    else:
      np.testing.assert_array_equal(correction(None, _LOGITS), found)
    self.assertFalse(correction.is_none)

  def test_none_leaves_logits(self):
    np.testing.assert_array_equal(_correction.NONE(None, _LOGITS), _LOGITS)
    self.assertTrue(_correction.NONE.is_none)
    self.assertFalse(_correction.NONE.excluded(3).any())

  @parameterized.parameters('log_prior', 'offset')
  def test_classes_that_cannot_be(self, name):
    row = np.array([0.0, -np.inf, -1.0], np.float32)
    for tau in (0.0, 1.0):
      correction = (
        _correction.Correction('target_prior', {'offset': row})
        if name == 'offset'
        else _correction.Correction(
          'logit_adjustment', {'tau': np.float32(tau), 'log_prior': row}
        )
      )
      found = np.asarray(correction(None, _LOGITS))
      self.assertTrue(np.isneginf(found[:, 1]).all())
      self.assertTrue(np.isfinite(found[:, [0, 2]]).all())
      self.assertEqual(correction.excluded(3).tolist(), [False, True, False])

  def test_one_program_of_all_numbers(self):
    step = jax.jit(lambda c, z: c(None, z))
    for tau in (0.0, 0.5, 1.0):
      arrays = {'tau': np.float32(tau), 'log_prior': _BIAS}
      step(_correction.Correction('logit_adjustment', arrays, tau + 1), _LOGITS)
    self.assertEqual(step._cache_size(), 1)


if __name__ == '__main__':
  absltest.main()
