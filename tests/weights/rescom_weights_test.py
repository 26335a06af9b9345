# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The class weights of ResCom."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import weights

COUNTS = (5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50)


class RescomWeightsTest(parameterized.TestCase):
  @parameterized.parameters(0.0, 0.9, 0.999, 0.9999, 1.0)
  def test_values(self, beta):
    # An example counts beta times what the one before it did.
    numbers = [sum(beta**i for i in range(n)) for n in COUNTS]
    expected = [sum(numbers) / len(numbers) / number for number in numbers]
    found = weights.rescom_weights(COUNTS, beta=beta)
    self.assertEqual(found.dtype, jnp.float32)
    np.testing.assert_allclose(found, expected, rtol=1e-6)

  def test_default(self):
    np.testing.assert_array_equal(
      weights.rescom_weights(COUNTS), weights.rescom_weights(COUNTS, beta=0.999)
    )

  def test_zero_is_exactly_ones(self):
    np.testing.assert_array_equal(
      weights.rescom_weights(COUNTS, beta=0.0), np.ones(10)
    )

  def test_mean_is_not_one(self):
    found = np.asarray(weights.rescom_weights(COUNTS))
    self.assertGreater(found.mean(), 2.0)
    np.testing.assert_allclose(
      found / found.mean(),
      weights.class_balanced_weights(COUNTS, beta=0.999),
      rtol=1e-6,
    )

  def test_misuse(self):
    with self.assertRaisesRegex(ValueError, 'got 0 for class 1'):
      weights.rescom_weights([3, 0])
    with self.assertRaisesRegex(TypeError, 'must be concrete'):
      jax.jit(weights.rescom_weights)(jnp.ones(2))
    for beta in (-0.1, 1.1):
      with self.assertRaisesRegex(ValueError, '`beta` must be finite and from'):
        weights.rescom_weights(COUNTS, beta=beta)


if __name__ == '__main__':
  absltest.main()
