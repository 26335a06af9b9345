# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The convolution of the networks: the same numbers, and its input kept."""

from absl.testing import absltest
from absl.testing import parameterized
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import models

_LAYOUT = dict(
  window_strides=(1, 1),
  padding='SAME',
  dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
)


def _gradients(convolution):
  def loss(inputs, kernel):
    return jnp.tanh(convolution(nn.relu(inputs), kernel, **_LAYOUT)).sum()

  return jax.grad(loss, (0, 1))


def _arguments():
  rng = np.random.default_rng(0)
  inputs = rng.normal(size=(3, 6, 5, 4)).astype(np.float32)
  return inputs, rng.normal(size=(3, 3, 4, 2)).astype(np.float32)


class ConvolutionTest(parameterized.TestCase):
  def test_values_and_gradients_are_those_of_jax(self):
    arguments = _arguments()
    for ours, expected in zip(
      jax.jit(_gradients(models.convolution))(*arguments),
      jax.jit(_gradients(jax.lax.conv_general_dilated))(*arguments),
      strict=True,
    ):
      np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)

  @parameterized.parameters(('cpu', True), ('cuda', False), ('tpu', False))
  def test_input_is_kept_on_cpus_alone(self, platform, kept):
    step = jax.jit(_gradients(models.convolution))
    exported = jax.export.export(step, platforms=[platform])(*_arguments())
    self.assertEqual('optimization_barrier' in exported.mlir_module(), kept)

  @parameterized.parameters('small_conv_net', 'resnet20', 'resnet50')
  def test_every_convolution_of_a_network_has_it(self, name):
    model = models.create_model(name, num_classes=3)
    images = jnp.zeros((1, 32, 32, 3))
    variables = jax.eval_shape(
      lambda: model.init(jax.random.key(0), images, train=False)
    )
    text = str(
      jax.make_jaxpr(lambda v: model.apply(v, images, train=False))(variables)
    )
    number = text.count('conv_general_dilated[')
    self.assertGreater(number, 0)
    self.assertEqual(text.count('platform_index['), number)


if __name__ == '__main__':
  absltest.main()
