# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The share of BBN's conventional branch."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import schedules

_bbn_alpha = jax.jit(schedules.bbn_alpha)


class BbnAlphaTest(parameterized.TestCase):
  @parameterized.parameters(1, 7, 200, 12.5)
  def test_closed_form(self, num_epochs):
    epochs = np.arange(16) * num_epochs // 8
    found = _bbn_alpha(epochs, num_epochs=num_epochs)
    expected = np.maximum(1 - (epochs / num_epochs) ** 2, 0)
    self.assertEqual(found.dtype, jnp.float32)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-7)

  def test_first_and_last(self):
    self.assertEqual(_bbn_alpha(0, num_epochs=200), 1.0)
    # The last of 200 epochs still has a share, and the one after it none.
    last = _bbn_alpha(199, num_epochs=200)
    np.testing.assert_allclose(last, 0.009975, rtol=1e-4)
    self.assertEqual(_bbn_alpha(200, num_epochs=200), 0.0)

  def test_one_program_for_all_epochs(self):
    before = _bbn_alpha._cache_size()
    for epoch in (np.int16(0), np.int16(3), np.int16(9)):
      found = _bbn_alpha(epoch, num_epochs=10)
      expected = schedules.bbn_alpha(int(epoch), num_epochs=10)
      np.testing.assert_allclose(found, 1 - (epoch / 10) ** 2, rtol=1e-6)
      np.testing.assert_allclose(found, expected, rtol=1e-6)
    self.assertEqual(_bbn_alpha._cache_size(), before + 1)

  @parameterized.parameters(
    (0, ValueError), ('9', TypeError), (True, TypeError)
  )
  def test_errors(self, num_epochs, error):
    with self.assertRaisesRegex(error, '`num_epochs` must be'):
      schedules.bbn_alpha(0, num_epochs=num_epochs)
    with self.assertRaisesRegex(TypeError, '`step`'):
      schedules.bbn_alpha(True, num_epochs=3)


if __name__ == '__main__':
  absltest.main()
