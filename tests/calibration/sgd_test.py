# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The optimizer of the fits, by number."""

from absl.testing import absltest
import jax.numpy as jnp
import numpy as np

from imbsam_jax.calibration import _sgd


def _minimise(draws, *, start=0.0, rate=1.0, decay=0.0):
  """Of ``draw * p``, so that draws are gradients."""
  return _sgd.minimise(
    lambda p, draw: draw * p,
    jnp.float32(start),
    jnp.asarray(draws, jnp.float32),
    num_steps=len(draws),
    learning_rate=jnp.float32(rate),
    weight_decay=jnp.float32(decay),
  )


class MinimiseTest(absltest.TestCase):
  def test_momentum_and_cosine(self):
    # Two steps at rates 1 and 1/2: -1, then -(0.9 + 1) / 2.
    np.testing.assert_allclose(_minimise([1, 1]), -1.95, rtol=1e-6)
    np.testing.assert_allclose(_minimise([1]), -1.0, rtol=1e-6)

  def test_draws_rate_and_decay(self):
    # Rates 0.2 times 1, 3/4, 1/4; decay 0.1 of the parameter before the step.
    p, trace = 3.0, 0.0
    for draw, share in zip([1, -2, 4], [1, 0.75, 0.25], strict=True):
      trace = 0.9 * trace + draw + 0.1 * p
      p -= 0.2 * share * trace
    found = _minimise([1, -2, 4], start=3.0, rate=0.2, decay=0.1)
    np.testing.assert_allclose(found, p, rtol=1e-6)


if __name__ == '__main__':
  absltest.main()
