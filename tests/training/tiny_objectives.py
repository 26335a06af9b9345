# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Objectives of every kind, small enough to write their gradients out."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from imbsam_jax import data
from imbsam_jax import training
from tests.training import tiny_training as tiny

NUM_CLASSES = len(tiny.COUNTS)
WIDTH = 5
QUEUE_SIZE = 3
INNER_RATE = 0.5
EPSILON = 0.4


class Net(nn.Module):
  """A trunk and a classifier; `dropout` and `batch_norm` between them."""

  dropout: float = 0.0
  batch_norm: bool = False

  def setup(self):
    self.trunk = nn.Dense(WIDTH)
    self.classifier = nn.Dense(NUM_CLASSES)
    self.drop = nn.Dropout(self.dropout)
    if self.batch_norm:
      self.norm = nn.BatchNorm(momentum=0.9)

  def both(self, images, *, train):
    features = nn.tanh(self.trunk(images))
    if self.batch_norm:
      features = self.norm(features, use_running_average=not train)
    features = self.drop(features, deterministic=not train)
    return features, self.classifier(features)

  def __call__(self, images, *, train):
    return self.both(images, train=train)[1]


def features(params, images):
  """Of `Net`, written out."""
  trunk = params['trunk']
  return jnp.tanh(images @ trunk['kernel'] + trunk['bias'][None])


def logits(params, images):
  """Of `Net`, written out."""
  head = params['classifier']
  return features(params, images) @ head['kernel'] + head['bias'][None]


def cross_entropy(params, images, labels):
  """Losses [B] of `Net`, written out."""
  found = logits(params, images)
  own = jnp.take_along_axis(found, labels[:, None], axis=1)[:, 0]
  return jax.nn.logsumexp(found, axis=1) - own


class Queue(training.Objective):
  """Pulls features to the last ones of their class; none at first."""

  coupled = True

  def init(self, key, variables):
    return {
      'rows': jnp.zeros((NUM_CLASSES, QUEUE_SIZE, WIDTH)),
      'number': jnp.zeros([NUM_CLASSES], jnp.int32),
    }

  def __call__(self, ctx, apply, rows):
    found, outputs = apply(rows['image'], method='both')
    labels = rows['label']
    filled = jnp.arange(QUEUE_SIZE)[None] < ctx.state['number'][:, None]
    apart = jnp.sum((found[:, None] - ctx.state['rows'][labels]) ** 2, axis=-1)
    pull = jnp.sum(jnp.where(filled[labels], apart, 0.0), axis=-1)
    losses = optax.softmax_cross_entropy_with_integer_labels(outputs, labels)
    return training.Outcome(
      losses + pull, outputs, labels, record=(found, labels)
    )

  def after(self, ctx, record):
    def push(queue, row):
      feature, label = row
      place = queue['number'][label] % QUEUE_SIZE
      return {
        'rows': queue['rows'].at[label, place].set(feature),
        'number': queue['number'].at[label].add(1),
      }, None

    return jax.lax.scan(push, ctx.state, record)[0]


class Auxiliary(training.Objective):
  """Two more streams, if they are there: the mean of one, thrice the other."""

  def __call__(self, ctx, apply, rows):
    shared = jnp.zeros([])
    for name, factor in (('out', 1.0), ('again', 3.0)):
      if name in ctx.streams:
        shared += factor * jnp.mean(_losses(apply, ctx.streams[name])[0])
    return training.Outcome(*_losses(apply, rows), rows['label'], shared=shared)


class Views(training.Objective):
  """Two views give the same; remembers what it saw."""

  coupled = True
  num_views = 2

  def init(self, key, variables):
    return tuple(jnp.zeros((tiny.BATCH_SIZE, 6)) for _ in range(2))

  def __call__(self, ctx, apply, rows):
    one, two = (apply(view) for view in rows['views'])
    losses = optax.softmax_cross_entropy_with_integer_labels(one, rows['label'])
    apart = jnp.sum((one - two) ** 2, axis=-1)
    return training.Outcome(
      losses + apart, one, rows['label'], record=rows['views']
    )

  def after(self, ctx, record):
    return record


class Adversary(training.Objective):
  """Rows moved up the loss of the model at w."""

  def prepare(self, ctx, rows):
    slope = jax.grad(
      lambda images: jnp.sum(_losses(ctx.clean, rows | {'image': images})[0])
    )(rows['image'])
    return {**rows, 'image': rows['image'] + EPSILON * jnp.sign(slope)}

  def __call__(self, ctx, apply, rows):
    return training.Outcome(*_losses(apply, rows), rows['label'])


class Weighted(training.Objective):
  """Class weights exp(a), which an outer step fits to other rows."""

  coupled = True
  tx = optax.sgd(0.4, momentum=0.5)

  def __init__(self, every=2, start=1):
    self.outer = training.Outer(self._update, every, 'validation', start)

  def init(self, key, variables):
    logs = jnp.zeros(NUM_CLASSES)
    return logs, self.tx.init(logs)

  def __call__(self, ctx, apply, rows):
    losses, outputs = _losses(apply, rows)
    factors = jnp.exp(ctx.state[0])[rows['label']]
    return training.Outcome(factors * losses, outputs, rows['label'])

  def _update(self, ctx, apply_at, params, rows):
    logs, opt_state = ctx.state
    other = ctx.streams['validation']

    def mean(tree):
      if ctx.axis_name is None:
        return tree
      return jax.lax.pmean(tree, ctx.axis_name)

    def slope(logs):
      return jax.grad(
        lambda p: jnp.mean(
          jnp.exp(logs)[rows['label']] * _losses(apply_at(p), rows)[0]
        )
      )(params)

    inner = mean(slope(logs))
    moved = jax.tree.map(lambda p, g: p - INNER_RATE * g, params, inner)
    wanted = mean(
      jax.grad(lambda p: jnp.mean(_losses(apply_at(p), other)[0]))(moved)
    )
    hyper = mean(
      jax.grad(lambda a: -INNER_RATE * optax.tree.vdot(slope(a), wanted))(logs)
    )
    updates, opt_state = self.tx.update(hyper, opt_state)
    return optax.apply_updates(logs, updates), opt_state


def _losses(apply, rows):
  outputs = apply(rows['image'])
  return optax.softmax_cross_entropy_with_integer_labels(
    outputs, rows['label']
  ), outputs


def noise(key, image):
  """An augmentation that draws."""
  return image + 0.5 * jax.random.normal(key, image.shape)


HEAD_ALONE = training.ParamPlan(trains=lambda path: path[0] == 'classifier')


def make(
  objective,
  method=None,
  *,
  net=None,
  augment=None,
  outer=False,
  plan=None,
  jit=True,
  wrap_link=lambda link: link,
  ema=False,
  **options,
):
  """State and step of plain descent: updates are minus gradients."""
  net = Net() if net is None else net
  method = method or training.update_rules.sgd(tiny.COUNTS)
  tx = training.make_optimizer(
    wrap_link(method.stages[0].link), 1.0, momentum=0.0
  )
  state = training.create_train_state(
    net,
    tx,
    jax.random.key(0),
    jnp.zeros((1, 6)),
    ema=ema,
    objective=objective if isinstance(objective, training.Objective) else None,
    **({} if plan is None else {'plan': plan}),
  )
  step = training.make_train_step(
    net,
    tx,
    objective,
    training.Inputs(lambda images: images, augment),
    outer=outer,
    **options,
  )
  return state, jax.jit(step) if jit else step


def gradient(state, after):
  return jax.tree.map(lambda p, q: p - q, state.params, after.params)


def other_examples():
  """Not those that are trained on."""
  rng = np.random.RandomState(7)
  labels = rng.randint(0, NUM_CLASSES, 24).astype(np.int32)
  return data.Examples(rng.randn(24, 6).astype(np.float32), labels)


def stream(*, at=None, examples=None, seed=5):
  """Eight rows a step."""
  examples = other_examples() if examples is None else examples
  order = data.shuffled_order(len(examples.labels), batch_size=8, seed=seed)
  return data.Stream(order, examples, at)


def indexed_examples():
  """Training examples with their places for images."""
  examples = tiny.examples()
  places = np.arange(len(examples.labels), dtype=np.int32)
  return examples._replace(images=places)


def batches(
  method=None,
  layout='joint',
  *,
  indexed=False,
  seed=0,
  reweighting=None,
  **streams,
):
  method = method or training.update_rules.sgd(tiny.COUNTS)
  order = data.shuffled_order(
    sum(tiny.COUNTS), batch_size=tiny.BATCH_SIZE, seed=seed
  )
  examples = indexed_examples() if indexed else tiny.examples()
  make_batches = getattr(data, f'{layout}_batches')
  return data.with_streams(
    make_batches(
      order, examples, method.group_weights_by_class, reweighting=reweighting
    ),
    streams,
  )


def with_nan(batch):
  """The batch with an image that is not finite."""
  images = np.array(batch.rows['image'])
  images[3, 2] = np.nan
  return data.TrainBatch(
    {**batch.rows, 'image': images}, batch.weights, streams=batch.streams
  )
