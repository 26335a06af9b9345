# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A small scheme of each kind that an objective can be; see kinds_test."""

import jax
import jax.numpy as jnp
import optax

from imbsam_jax import data
from imbsam_jax import losses
from imbsam_jax import methods
from imbsam_jax import training
from tests.experiment import trunks

QUEUE_SIZE = 3
EPSILON = 0.1
INNER_RATE = 0.1
EVERY = 3


class ClassQueue(training.WrappedObjective):
  """Features near those that a queue for each class remembers."""

  def __init__(self, base, num_classes):
    super().__init__(base)
    self.coupled = True  # What is remembered depends on the rows' order.
    self.num_classes = num_classes

  def init(self, key, variables):
    dim = variables['params']['classifier']['kernel'].shape[0]
    return jnp.zeros((self.num_classes, QUEUE_SIZE, dim))

  def __call__(self, ctx, apply, rows):
    features, logits = apply(rows['image'], method='features_and_logits')
    remembered = ctx.state.mean(axis=1)[rows['label']]
    near = jnp.mean((features - remembered) ** 2, axis=1)
    found = losses.cross_entropy(logits, rows['label']) + 0.1 * near
    return training.Outcome(
      found, logits, rows['label'], record=(features, rows['label'])
    )

  def after(self, ctx, record):
    def push(queue, row):
      features, label = row
      own = jnp.roll(queue[label], 1, axis=0).at[0].set(features)
      return queue.at[label].set(own), None

    queue, _ = jax.lax.scan(push, ctx.state, jax.lax.stop_gradient(record))
    return queue


@methods.word(
  'class_queue', axis='scheme', about='a test: own state', needs_batch=True
)
def class_queue(setup):
  return methods.Part(
    objective=lambda base: ClassQueue(base, len(setup.class_counts))
  )


class TwoViews(training.WrappedObjective):
  """The mean of the losses of two augmentations of each image."""

  def __init__(self, base):
    super().__init__(base)
    self.num_views = 2
    self.pass_cost = 2.0

  def __call__(self, ctx, apply, rows):
    one, two = (
      self.base(ctx, apply, {**rows, 'image': view}) for view in rows['views']
    )
    return one._replace(losses=(one.losses + two.losses) / 2)


@methods.word('two_views', axis='scheme', about='a test: two views')
def two_views(setup):
  del setup
  return methods.Part(objective=TwoViews)


class Adversaries(training.WrappedObjective):
  """Images a step against the model at w, once for all passes of a step."""

  prepare_cost_of_images = 2 / 3  # A forward pass, and half of a backward one.

  def __init__(self, base):
    super().__init__(base)
    self.prepare_cost = self.prepare_cost_of_images

  def prepare(self, ctx, rows):
    rows = self.base.prepare(ctx, rows)

    def loss(images):
      logits = ctx.clean(images, train=False)
      labels = rows.get('mixed', rows['label'])
      return losses.cross_entropy(logits, labels).sum()

    ascent = jnp.sign(jax.grad(loss)(rows['image']))
    return {**rows, 'image': rows['image'] + EPSILON * ascent}


@methods.word('adversaries', axis='scheme', about='a test: the model at w')
def adversaries(setup):
  del setup
  return methods.Part(objective=Adversaries)


class OuterOffsets(training.WrappedObjective):
  """Offsets of the logits, learned on validation images by SGD."""

  def __init__(self, base, num_classes):
    super().__init__(base)
    self.coupled = True
    self.num_classes = num_classes
    self.tx = optax.sgd(0.5, momentum=0.9)
    # A backward pass of the batch, whose forward pass is that of the step, and
    # both of the validation rows.
    self.outer = training.Outer(
      self.update, every=EVERY, stream='validation', start=1, cost=5 / 3
    )

  def init(self, key, variables):
    offsets = jnp.zeros(self.num_classes)
    return offsets, self.tx.init(offsets)

  def __call__(self, ctx, apply, rows):
    offsets, _ = ctx.state
    logits = apply(rows['image'])
    found = losses.cross_entropy(logits + offsets[None], rows['label'])
    return training.Outcome(found, logits, rows['label'])

  def update(self, ctx, apply_at, params, rows):
    offsets, opt_state = ctx.state

    def train_loss(params, offsets):
      state = ctx._replace(state=(offsets, opt_state))
      return self(state, apply_at(params), rows).losses.mean()

    def validation_loss(offsets):
      gradient = jax.grad(train_loss)(params, offsets)
      moved = jax.tree.map(lambda p, g: p - INNER_RATE * g, params, gradient)
      held_out = ctx.streams['validation']
      logits = apply_at(moved)(held_out['image'])
      return losses.cross_entropy(logits, held_out['label']).mean()

    gradient = jax.grad(validation_loss)(offsets)
    updates, opt_state = self.tx.update(gradient, opt_state)
    return offsets + updates, opt_state


@methods.word(
  'outer_offsets', axis='scheme', about='a test: outer step', needs_batch=True
)
def outer_offsets(setup):
  def validation(seed):
    held_out = setup.validation
    order = data.shuffled_order(
      len(held_out.labels), batch_size=setup.time.batch_size, seed=seed
    )
    return data.Stream(order, held_out)

  return methods.Part(
    objective=lambda base: OuterOffsets(base, len(setup.class_counts)),
    streams={'validation': validation},
  )


@methods.word('frozen_trunk', axis='scheme', about='a test: loaded and frozen')
def frozen_trunk(setup):
  del setup

  def load(variables):
    params = dict(variables['params'])
    for number, name in enumerate(sorted(params)):
      if name != 'classifier':
        params[name] = jax.tree.map(
          lambda x, number=number: trunks.leaf(number, x.shape), params[name]
        )
    return {**variables, 'params': params}

  plan = training.ParamPlan(load, lambda path: path[0] == 'classifier')
  return methods.Part(params=plan)
