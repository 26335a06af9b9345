# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""cRT, LWS and MARC against the same steps in NumPy, on the same draws."""

import inspect

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from imbsam_jax import calibration
from imbsam_jax import sampling

_KEY = jax.random.key(3)
_STEPS, _ROWS = 3, 4
# Class 2 of four has no rows.
_LABELS = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 3])
_INPUTS = np.random.RandomState(0).normal(size=(10, 4)).astype(np.float32)
_ARGUMENTS = dict(
  num_steps=_STEPS, batch_size=_ROWS, learning_rate=0.3, weight_decay=0.05
)


def _error(logits, labels):
  """Gradient of the cross entropy of each row."""
  powers = np.exp(logits - logits.max(axis=1, keepdims=True))
  return powers / powers.sum(axis=1, keepdims=True) - np.eye(4)[labels]


def _descend(gradient_fn, params, draws):
  """SGD with momentum 0.9, weight decay 0.05, rate 0.3 and a cosine to 0."""
  params = [np.asarray(p, np.float64) for p in params]
  traces = [np.zeros_like(p) for p in params]
  for step, draw in enumerate(draws):
    rate = 0.3 * (1 + np.cos(np.pi * step / _STEPS)) / 2
    gradients = gradient_fn(params, draw)
    for k, gradient in enumerate(gradients):
      traces[k] = 0.9 * traces[k] + gradient + 0.05 * params[k]
    params = [p - rate * trace for p, trace in zip(params, traces, strict=True)]
  return params


class CrtTest(absltest.TestCase):
  def test_initial_kernel_has_the_variance_of_one_over_dim(self):
    kernel, bias = calibration.fit_crt(
      _KEY,
      np.ones((2, 400), np.float32),
      [0, 1],
      num_classes=4,
      num_steps=1,
      batch_size=1,
      learning_rate=0.0,
    )
    np.testing.assert_allclose(np.std(kernel), 0.05, rtol=0.06)
    np.testing.assert_allclose(np.mean(kernel), 0.0, atol=0.005)
    np.testing.assert_array_equal(bias, np.zeros(4))

  def test_steps(self):
    kernel_key, batch_key = jax.random.split(_KEY)
    draws = sampling.class_aware_indices(
      batch_key,
      sampling.class_table(_LABELS, num_classes=4),
      num_samples=_STEPS * _ROWS,
      samples_per_class=2,
    )

    def gradients(params, rows):
      kernel, bias = params
      inputs = _INPUTS[rows]
      error = _error(inputs @ kernel + bias, _LABELS[rows]) / _ROWS
      return inputs.T @ error, error.sum(axis=0)

    expected = _descend(
      gradients,
      [np.asarray(jax.random.normal(kernel_key, (4, 4))) / 2, np.zeros(4)],
      np.asarray(draws).reshape(_STEPS, _ROWS),
    )
    found = calibration.fit_crt(
      _KEY, _INPUTS, _LABELS, num_classes=4, samples_per_class=2, **_ARGUMENTS
    )
    for one, other in zip(found, expected, strict=True):
      np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


class LwsTest(absltest.TestCase):
  def test_steps(self):
    table = sampling.class_table(_LABELS, num_classes=4)
    # The same chance for each class with rows, whatever its count.
    chances = np.array([1, 1, 0, 1], np.float32) / 3
    draws = [
      np.asarray(
        sampling.sample_indices(key, table, chances, num_samples=_ROWS)
      )
      for key in jax.random.split(_KEY, _STEPS)
    ]

    def gradients(params, rows):
      (delta,) = params
      error = _error(_INPUTS[rows] * (1 + delta), _LABELS[rows])
      return ((error * _INPUTS[rows]).mean(axis=0),)

    (delta,) = _descend(gradients, [np.zeros(4)], draws)
    found = calibration.fit_lws(
      _KEY, _INPUTS, _LABELS, [600, 30, 2, 1], **_ARGUMENTS
    )
    np.testing.assert_allclose(found, 1 + delta, rtol=1e-4)

  def test_a_class_of_count_0_is_not_drawn(self):
    # All rows that can be drawn are of class 1, and known: nothing to learn.
    logits = np.where(np.arange(4) == 1, 99.0, 0.0)[None] * np.ones((10, 1))
    found = calibration.fit_lws(
      _KEY, logits, _LABELS, [0, 3, 3, 0], **_ARGUMENTS
    )
    np.testing.assert_array_equal(found, np.ones(4))


class MarcTest(parameterized.TestCase):
  @parameterized.parameters((dict(), 1.2), (dict(power=0.5), 0.5))
  def test_steps(self, arguments, power):
    counts, norms = np.array([60, 30, 2, 10]), np.array([2, 1, 0.5, 3])
    draws = [
      np.asarray(jax.random.randint(key, (_ROWS,), 0, 10))
      for key in jax.random.split(_KEY, _STEPS)
    ]

    def gradients(params, rows):
      delta, offset = params
      logits = _INPUTS[rows] * (1 + delta) + offset * norms
      weights = counts[_LABELS[rows]] ** -power
      error = _error(logits, _LABELS[rows])
      error *= (weights / weights.sum())[:, None]
      return (error * _INPUTS[rows]).sum(axis=0), error.sum(axis=0) * norms

    delta, offset = _descend(gradients, [np.zeros(4), np.zeros(4)], draws)
    found = calibration.fit_marc(
      _KEY, _INPUTS, _LABELS, norms, counts, **_ARGUMENTS, **arguments
    )
    np.testing.assert_allclose(found[0], 1 + delta, rtol=1e-4)
    np.testing.assert_allclose(found[1], offset, rtol=1e-4, atol=1e-6)


class DefaultsTest(parameterized.TestCase):
  # Those of the authors' second stages.
  @parameterized.parameters(
    ('crt', dict(learning_rate=0.2, samples_per_class=4)),
    ('lws', dict(learning_rate=0.2)),
    ('marc', dict(learning_rate=0.05, power=1.2)),
  )
  def test_defaults(self, name, expected):
    parameters = inspect.signature(
      getattr(calibration, f'fit_{name}')
    ).parameters
    found = {
      key: parameter.default
      for key, parameter in parameters.items()
      if parameter.default is not inspect.Parameter.empty
    }
    shared = dict(num_steps=2000, batch_size=512, weight_decay=5e-4)
    self.assertEqual(found, shared | expected)


if __name__ == '__main__':
  absltest.main()
