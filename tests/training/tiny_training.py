# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A training set-up small enough to run many times in a test."""

import tempfile

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import data
from imbsam_jax import losses
from imbsam_jax import training

COUNTS = (24, 12, 5, 3)
BATCH_SIZE = 16


class TinyNet(nn.Module):
  """Two layers; with `batch_norm`, statistics between them."""

  batch_norm: bool = False

  @nn.compact
  def __call__(self, images, *, train):
    x = nn.Dense(8)(images)
    if self.batch_norm:
      x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
    return nn.Dense(len(COUNTS))(nn.tanh(x))


def examples(seed=0):
  rng = np.random.RandomState(seed)
  labels = np.repeat(np.arange(len(COUNTS)), COUNTS).astype(np.int32)
  images = rng.randn(len(labels), 6).astype(np.float32)
  images[:, : len(COUNTS)] += 2 * np.eye(len(COUNTS))[labels]
  return data.Examples(images, labels)


def batches(method, *, split, seed=0, row_multiple=1):
  order = data.shuffled_order(sum(COUNTS), batch_size=BATCH_SIZE, seed=seed)
  if split:
    return data.split_batches(
      order,
      examples(),
      method.group_weights_by_class,
      row_multiple=row_multiple,
    )
  return data.joint_batches(order, examples(), method.group_weights_by_class)


def make(method, *, batch_norm=False, ema_decay=None, key=0, **options):
  """Initial state and jitted step of each stage."""
  model = TinyNet(batch_norm)
  learning_rate = options.pop('learning_rate', 0.1)
  microbatches = options.pop('num_microbatches', 1)
  chains = [
    training.make_optimizer(stage.link, learning_rate, **options)
    for stage in method.stages
  ]
  state = training.create_train_state(
    model,
    chains[0],
    jax.random.key(key),
    jnp.zeros((1, 6)),
    ema=ema_decay is not None,
  )
  steps = [
    jax.jit(
      training.make_train_step(
        model,
        chain,
        losses.cross_entropy,
        lambda images: images,
        ema_decay=ema_decay,
        num_microbatches=microbatches,
      )
    )
    for chain in chains
  ]

  def train_step(step):
    return steps[method.stages.index(method.stage(step))]

  return state, train_step


def folder(test):
  """A folder for the time of a test."""
  return test.enterContext(tempfile.TemporaryDirectory())


def leaves(tree):
  return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
