# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every rule against its closed form on quadratic losses."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

import imbsam_jax
from tests import numpy_witness


def _quadratic_loss(params, batch, weights):
  products = jnp.einsum('i,bij,j->b', params, batch, params)
  return (weights.astype(products.dtype) * 0.5 * products).sum(), None


class QuadraticTest(parameterized.TestCase):
  """Rows are quadratic losses: matrix 0 is head, matrix 1 is tail."""

  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(0)
    matrices = rng.standard_normal((2, 4, 4))
    self.matrices = (matrices + matrices.transpose(0, 2, 1)) / 2  # Indefinite.
    self.w = rng.standard_normal(4)

  def _gradient(self, link, weights):
    with jax.enable_x64(True):
      w = jnp.asarray(self.w)
      _, grads, grad_fn = imbsam_jax.gradient_oracle(
        _quadratic_loss, w, jnp.asarray(self.matrices), group_weights=weights
      )
      return link.update(grads, link.init(w), w, grad_fn=grad_fn)[0]

  def _assert_close(self, actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-12)

  def test_sgd(self):
    self._assert_close(
      self._gradient(imbsam_jax.group_sam((None, None)), np.eye(2)),
      numpy_witness.quadratic_sgd_gradient(self.matrices.sum(0), self.w),
    )

  def test_sam(self):
    self._assert_close(
      self._gradient(imbsam_jax.sam(0.5, eps=0.0), np.ones((1, 2))),
      numpy_witness.quadratic_sam_gradient(self.matrices.sum(0), self.w, 0.5),
    )

  def test_asam(self):
    self._assert_close(
      self._gradient(
        imbsam_jax.sam(0.5, adaptive=True, eps=0.0), np.ones((1, 2))
      ),
      numpy_witness.quadratic_asam_gradient(self.matrices.sum(0), self.w, 0.5),
    )

  @parameterized.parameters(1.0, 2.0)
  def test_imbsam(self, tail_weight):
    head, tail = self.matrices
    self._assert_close(
      self._gradient(
        imbsam_jax.imbsam(0.5, eps=0.0), np.diag([1.0, tail_weight])
      ),
      numpy_witness.quadratic_imbsam_gradient(
        head, tail_weight * tail, self.w, 0.5
      ),
    )

  def test_sse_sam(self):
    head, tail = self.matrices
    self._assert_close(
      self._gradient(imbsam_jax.sse_sam(0.3, 0.5, eps=0.0), np.eye(2)),
      numpy_witness.quadratic_sse_sam_gradient(head, tail, self.w, 0.3, 0.5),
    )

  def test_focal_sam(self):
    omega, lam = np.array([0.2, 0.9]), 0.8
    self._assert_close(
      self._gradient(
        imbsam_jax.focal_sam(0.5, eps=0.0),
        np.stack([1 - lam * omega, lam * omega]),
      ),
      numpy_witness.quadratic_focal_sam_gradient(
        self.matrices.sum(0),
        np.tensordot(omega, self.matrices, 1),
        self.w,
        0.5,
        lam,
      ),
    )


if __name__ == '__main__':
  absltest.main()
