# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What steps on a frozen trunk cost in forward passes, as the compiler counts.

A trunk of 65 tokens; 3 prompts are as many of them as 10 are of ViT-B/16's.
"""

import functools

from absl.testing import absltest
from absl.testing import parameterized
from flax import traverse_util
import jax
import jax.numpy as jnp
import optax
import pytest

import imbsam_jax
from imbsam_jax import models
from imbsam_jax.models import tuning

pytestmark = pytest.mark.optimized

_ROWS, _DEPTH = 4, 4
_IMAGES = jax.ShapeDtypeStruct((_ROWS, 32, 32, 3), jnp.float32)


def _model(method=None, **attributes):
  trunk = models.VisionTransformer(
    width=192, depth=_DEPTH, num_heads=3, mlp_width=768, patch_size=4,
    image_size=32, **attributes,
  )  # fmt: skip
  return models.TrunkClassifier(10, trunk=trunk, tuning=method)


def _params(model):
  shapes = jax.eval_shape(
    lambda x: model.init(jax.random.key(0), x, train=False), _IMAGES
  )
  return traverse_util.flatten_dict(shapes['params'])


def _flops(function, *arguments):
  analysis = jax.jit(function).lower(*arguments).compile().cost_analysis()
  if isinstance(analysis, list):  # One entry per device, in older JAX.
    (analysis,) = analysis
  return analysis['flops']


def _forward(model):
  return lambda params, images: model.apply(
    {'params': traverse_util.unflatten_dict(params)}, images, train=True
  )


@functools.cache
def _passes():
  model = _model()
  return _flops(_forward(model), _params(model), _IMAGES)


def _cost(method, link=None, **attributes):
  """The cost of a step, in forward passes of the trunk without additions."""
  model = _model(method, **attributes)
  params = _params(model)
  trained = {path: x for path, x in params.items() if model.trains(path)}
  frozen = {path: x for path, x in params.items() if path not in trained}
  optimizer = optax.chain(
    link or imbsam_jax.group_sam((None,)), optax.sgd(0.1, momentum=0.9)
  )

  def step(trained, state, frozen, images, labels, weights):
    def loss_fn(trained, images, weights):
      logits = _forward(model)({**trained, **frozen}, images)
      losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
      return (weights * losses).sum(), logits

    _, grads, grad_fn = imbsam_jax.gradient_oracle(
      loss_fn, trained, images, group_weights=weights
    )
    updates, state = optimizer.update(grads, state, trained, grad_fn=grad_fn)
    return optax.apply_updates(trained, updates), state, grad_fn.value

  flops = _flops(
    step,
    trained,
    jax.eval_shape(optimizer.init, trained),
    frozen,
    _IMAGES,
    jax.ShapeDtypeStruct((_ROWS,), jnp.int32),
    jax.ShapeDtypeStruct((1, _ROWS), jnp.float32),
  )
  return flops / _passes()


def _products(prompts, *, back=False):
  """Matrix products with prompts, in those of a forward pass without any.

  Dense layers have 12 width^2 for a token and attention 2 width for a pair of
  tokens; backwards, where both factors get a gradient, 4 width.
  """
  tokens = 65 + prompts
  of_pairs = (4 if back else 2) * tokens
  return tokens * (12 * 192 + of_pairs) / (65 * (12 * 192 + 2 * 65))


class FlopsTest(parameterized.TestCase):
  def test_the_count_is_of_the_whole_trunk(self):
    variables = traverse_util.unflatten_dict(_params(_model()))
    count = models.multiplications(
      lambda params, x: _model().apply({'params': params}, x, train=False),
      variables,
      _IMAGES,
    )
    # Beside the products: softmax, normalizations, activations.
    self.assertBetween(_passes() / (2 * count), 1.0, 1.1)

  @parameterized.parameters('sgd', 'sam')
  def test_of_the_head_alone(self, rule):
    # Both passes of SAM have the same features.
    link = imbsam_jax.sam(0.1) if rule == 'sam' else None
    self.assertBetween(_cost(tuning.Probe(), link), 0.99, 1.01)

  @parameterized.parameters(1, 2)
  def test_of_the_last_blocks(self, blocks):
    expected = 1 + 2 * blocks / _DEPTH
    cost = _cost(tuning.Partial(blocks))
    self.assertBetween(cost, 0.95 * expected, 1.05 * expected)

  def test_sam_of_the_last_blocks(self):
    # The frozen blocks are passed once.
    expected = 1 + 5 / _DEPTH
    cost = _cost(tuning.Partial(1), imbsam_jax.sam(0.1))
    self.assertBetween(cost, 0.95 * expected, 1.05 * expected)

  def test_of_prompts(self):
    # Once back through the trunk, without gradients of its kernels.
    expected = _products(3) + _products(3, back=True)
    self.assertLess(expected, 2.2)
    cost = _cost(tuning.VptDeep(prompts=3))
    self.assertBetween(cost, 0.95 * expected, 1.05 * expected)

  @parameterized.parameters(
    # Back to what the first block adds: its attention and MLP are constants.
    (tuning.AdaptFormer(bottleneck=4), 1.0),
    # Back to its queries and values, not to the tokens that these are made of.
    (tuning.Lora(rank=4), 3 / 12),
  )
  def test_of_additions(self, method, spared):
    expected = 1 + _products(0, back=True) * (1 - spared / _DEPTH)
    self.assertLess(expected, 2.1)
    cost = _cost(method)
    self.assertBetween(cost, 0.95 * expected, 1.05 * expected)

  def test_sam_of_prompts(self):
    expected = 2 * (_products(3) + _products(3, back=True))
    cost = _cost(tuning.VptDeep(prompts=3), imbsam_jax.sam(0.1))
    self.assertBetween(cost, 0.95 * expected, 1.05 * expected)

  def test_blocks_that_are_computed_again(self):
    # Once more forwards, up to the last layer of each block, whose outputs no
    # gradient asks for.
    last = 68 * 4 * 192 / (65 * (12 * 192 + 2 * 65))
    expected = 2 * _products(3) - last + _products(3, back=True)
    cost = _cost(tuning.VptDeep(prompts=3), remat=True)
    self.assertBetween(cost, 0.95 * expected, 1.05 * expected)


if __name__ == '__main__':
  absltest.main()
