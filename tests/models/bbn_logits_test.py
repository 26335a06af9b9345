# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The classifier of a bilateral-branch network."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import losses
from imbsam_jax import models
from imbsam_jax import schedules

RNG = np.random.default_rng(0)
CONVENTIONAL, REBALANCING = RNG.normal(size=(2, 5, 3)).astype(np.float32)
KERNEL = RNG.normal(size=(6, 4)).astype(np.float32)
BIAS = RNG.normal(size=4).astype(np.float32)


def _call(alpha, **changes):
  arguments = dict(
    conventional=CONVENTIONAL,
    rebalancing=REBALANCING,
    kernel=KERNEL,
    bias=BIAS,
  )
  return models.bbn_logits(**(arguments | changes), alpha=alpha)


def _witness(alphas):
  z = np.zeros((5, 4))
  for b in range(5):
    for c in range(4):
      z[b, c] = BIAS[c]
      for d in range(3):
        z[b, c] += 2 * alphas[b] * CONVENTIONAL[b, d] * KERNEL[d, c]
        z[b, c] += 2 * (1 - alphas[b]) * REBALANCING[b, d] * KERNEL[3 + d, c]
  return z


class BbnLogitsTest(parameterized.TestCase):
  @parameterized.parameters(0.0, 0.3, 1.0, None)
  def test_equals_the_witness(self, alpha):
    alphas = np.linspace(0, 1, 5) if alpha is None else np.full(5, alpha)
    logits = _call(alphas if alpha is None else alpha)
    self.assertEqual(logits.dtype, jnp.float32)
    np.testing.assert_allclose(logits, _witness(alphas), rtol=1e-5, atol=1e-6)

  def test_ends_and_middle(self):
    # Shares of 1 and 0 see one branch, and 0.5 is the plain concatenation.
    other = REBALANCING + 1.0
    np.testing.assert_array_equal(_call(1.0), _call(1.0, rebalancing=other))
    np.testing.assert_array_equal(_call(0.0), _call(0.0, conventional=other))
    both = np.concatenate([CONVENTIONAL, REBALANCING], axis=1)
    np.testing.assert_allclose(
      _call(0.5), both @ KERNEL + BIAS, rtol=1e-5, atol=1e-6
    )

  def test_branches_are_alike(self):
    swapped = _call(
      0.75,
      conventional=REBALANCING,
      rebalancing=CONVENTIONAL,
      kernel=np.concatenate([KERNEL[3:], KERNEL[:3]]),
    )
    np.testing.assert_allclose(_call(0.25), swapped, rtol=1e-5, atol=1e-6)

  def test_epochs_share_a_program_and_their_labels(self):
    first, second = np.array([0, 1, 2, 3, 0]), np.array([3, 3, 2, 1, 1])

    @jax.jit
    def loss_and_gradient(epoch, conventional):
      def loss(conventional):
        alpha = schedules.bbn_alpha(epoch, num_epochs=4)
        labels = losses.MixedLabels(first, second, alpha)
        z = _call(alpha, conventional=conventional)
        return losses.cross_entropy(z, labels).mean()

      return jax.value_and_grad(loss)(conventional)

    for epoch, alpha in ((0, 1.0), (3, 0.4375), (4, 0.0)):
      z = _witness(np.full(5, alpha))
      log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
      rows = np.arange(5)
      terms = alpha * log_p[rows, first] + (1 - alpha) * log_p[rows, second]
      loss, gradient = loss_and_gradient(epoch, CONVENTIONAL)
      np.testing.assert_allclose(loss, -terms.mean(), rtol=1e-5)
      self.assertEqual(bool((gradient == 0).all()), alpha == 0)
    self.assertEqual(loss_and_gradient._cache_size(), 1)

  @parameterized.parameters(
    (dict(rebalancing=np.ones((4, 3), 'f')), ValueError, 'must have one shape'),
    (dict(kernel=KERNEL.T), ValueError, r'shape \[6, C\].*pass kernel\.T'),
    (dict(bias=np.ones(3, 'f')), ValueError, r'`bias` must have shape \[4\]'),
    (dict(alpha=1.5), ValueError, '`alpha` must be finite and from 0 to 1'),
    (dict(alpha=np.ones(4)), ValueError, r'`alpha` must be .* shape \[5\]'),
    (dict(kernel=np.ones((6, 4), int)), TypeError, '`kernel` must be a float'),
  )
  def test_errors(self, changes, error, message):
    with self.assertRaisesRegex(error, message):
      _call(**({'alpha': 0.5} | changes))


if __name__ == '__main__':
  absltest.main()
