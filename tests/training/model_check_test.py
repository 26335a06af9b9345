# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A network that the trainer cannot call is told what is asked of it."""

from flax import linen as nn
from flax import nnx
import jax
import jax.numpy as jnp
import optax
import pytest

from imbsam_jax import losses
from imbsam_jax import models
from imbsam_jax import training


class _Net(nn.Module):
  @nn.compact
  def __call__(self, x, deterministic=True):
    return nn.Dense(3)(x)


class _TrainNet(nn.Module):
  @nn.compact
  def __call__(self, x, *, train):
    return _Net()(x, deterministic=not train)


class _NnxNet(nnx.Module):
  def __init__(self, rngs):
    self.layer = nnx.Linear(4, 3, rngs=rngs)

  def __call__(self, x):
    return self.layer(x)


@pytest.mark.parametrize(
  'model, expected',
  [
    (_Net(), r'got _Net, which is called with \(x, deterministic\). Write def'),
    (
      nn.Sequential([nn.Dense(3), nn.relu]),
      'got Sequential, whose first layer takes no `train`. Write a module',
    ),
    (_TrainNet, r'got the class _TrainNet. Pass a module, such as _TrainNet\('),
    (
      _NnxNet(nnx.Rngs(0)),
      r'got _NnxNet, .*models.from_nnx\(lambda rngs: _NnxNet\(rngs=rngs\)\)',
    ),
    (lambda images: images, 'got function, which has no methods `init` and'),
  ],
)
def test_what_cannot_be_called(model, expected):
  tx, key = optax.sgd(0.1), jax.random.key(0)
  for call in (
    lambda: training.create_train_state(model, tx, key, jnp.ones((1, 4))),
    lambda: training.make_train_step(model, tx, losses.cross_entropy, abs),
    lambda: training.make_predict_step(model, abs),
    lambda: training.make_logit_step(model, abs),
  ):
    with pytest.raises(
      TypeError,
      match=r'`model` must be a Linen module called as model\(images, '
      f'train=...\\), {expected}',
    ):
      call()


@pytest.mark.parametrize(
  'model',
  [
    _TrainNet(),
    nn.Sequential([_TrainNet(), nn.relu]),
    models.from_nnx(lambda rngs: _NnxNet(rngs=rngs)),
    models.MLP(num_classes=3, widths=(4,)),
  ],
)
def test_what_the_messages_say_to_write(model):
  state = jax.eval_shape(
    lambda key: training.create_train_state(
      model, optax.sgd(0.1), key, jnp.ones((1, 4))
    ),
    jax.random.key(0),
  )
  assert state.params
