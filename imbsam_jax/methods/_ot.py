# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Re-weighting by optimal transport: Guo et al., NeurIPS 2022."""

import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import _checks
from imbsam_jax import data as data_lib
from imbsam_jax import losses as losses_lib
from imbsam_jax import training
from imbsam_jax import weights as weights_lib
from imbsam_jax.methods import _head_only
from imbsam_jax.methods import _part
from imbsam_jax.methods import _registry

_META = 'meta'


class OptimalTransport(_head_only.HeadOnly):
  r"""A weight for every example, learned from a balanced set of few.

  .. math::
    \frac1B \Big( \sum_i v_i \ell(x_i, y_i) + \lambda\,
    \operatorname{mean}_{meta} \ell(x, y) \Big)

  Before each step the weights v of its rows take one step down the cost of
  transporting the meta set to the rows, see `weights.ot_weight_step`. The state
  are the weights of all examples, float32 ``[N]``.

  .. note::
    The released code has the sum over the batch, here is the mean: a learning
    rate there is B times as large here.
  """

  def __init__(
    self,
    base: training.Objective,
    initial: np.ndarray,
    num_meta: int,
    batch_size: int,
    *,
    num_classes: int,
    meta_weight: float,
    epsilon: float,
    num_iterations: int,
    learning_rate: float,
    weight_decay: float,
  ):
    super().__init__(base)
    self.coupled = True
    # Features of the meta set too.
    self.prepare_cost += num_meta / batch_size / 3
    self._initial = initial
    self._meta_weight = meta_weight
    self._options = {
      'num_classes': num_classes,
      'epsilon': epsilon,
      'num_iterations': num_iterations,
      'learning_rate': learning_rate,
      'weight_decay': weight_decay,
    }

  def init(self, key, variables):
    """Class-balanced weights, one for each example."""
    del key, variables
    return jnp.asarray(self._initial)

  def prepare(self, ctx, rows):
    """Features of the rows and of the meta set, and the new weights."""
    rows = super().prepare(ctx, rows)
    stream = ctx.streams[_META]
    meta = (_head_only.features(ctx, stream['image']), stream['label'])
    before = ctx.state[rows['example']]
    batch = (before, rows['image'], rows['label'])
    # The rows compete with those of all devices.
    batch, meta_set = ctx.gathered((batch, meta))
    after = ctx.own(
      weights_lib.ot_weight_step(*batch, *meta_set, **self._options)
    )
    return {
      **rows,
      'row_weight': jax.lax.stop_gradient(after),
      'meta': meta,
    }

  def __call__(self, ctx, apply, rows):
    """A pass of the head over the rows and the meta set."""
    outcome = super().__call__(ctx, apply, rows)
    features, labels = rows['meta']
    logits = _head_only.head_of(apply)(features)
    meta = losses_lib.cross_entropy(self.base.logit_scale * logits, labels)
    num_rows = len(rows['label']) * ctx.num_devices
    return outcome._replace(
      losses=rows['row_weight'] * outcome.losses,
      record=(rows['example'], rows['row_weight']),
    ).plus(self._meta_weight / num_rows * jnp.mean(meta))

  def after(self, ctx, record):
    """The weights of the examples of the batch; of one twice, their mean."""
    examples, new = record
    number = jnp.zeros_like(ctx.state).at[examples].add(1.0)
    total = jnp.zeros_like(ctx.state).at[examples].add(new)
    return jnp.where(number > 0, total / jnp.maximum(number, 1.0), ctx.state)


@_registry.word(
  'ot',
  axis='scheme',
  about='weights by optimal transport, on a finished run (NeurIPS 2022)',
  suggests={'optimizer.learning_rate': 0.001},
  corrects_prior=True,
  needs_batch=True,
  fine_tunes=True,
  unmixed=True,
)
def ot(
  setup: _part.Setup,
  *,
  meta: str = 'prototype',
  per_class: int | None = None,
  meta_weight: float = 10.0,
  beta: float = 0.9999,
  epsilon: float = 0.1,
  num_iterations: int = 200,
  weight_learning_rate: float = 0.01,
  weight_decay: float = 5e-4,
) -> _part.Part:
  """The head of a finished run, on rows with learned weights.

  The meta set is balanced, of `per_class` training images of each class: their
  mean image ('prototype'), or all of them ('whole'). None is 10 as in the
  paper, or as many as the rarest class has.
  """
  rarest = int(setup.class_counts.min())
  if per_class is None:
    per_class = min(10, rarest)
  _checks.integer('per_class', per_class)
  if per_class > rarest:
    raise ValueError(
      f'the rarest class has {rarest} training images, and '
      f'per_class={per_class} asks for more of each. Pass as many or fewer.'
    )
  _checks.number('meta_weight', meta_weight, low=0)
  if meta not in ('prototype', 'whole'):
    raise ValueError(f"`meta` must be 'prototype' or 'whole', got {meta!r}.")
  num_classes = len(setup.class_counts)
  num_meta = num_classes * (per_class if meta == 'whole' else 1)

  def objective(base):
    by_class = weights_lib.class_balanced_weights(setup.class_counts, beta=beta)
    return OptimalTransport(
      base,
      np.asarray(by_class, np.float32)[setup.training.labels],
      num_meta,
      setup.time.batch_size,
      num_classes=num_classes,
      meta_weight=meta_weight,
      epsilon=epsilon,
      num_iterations=num_iterations,
      learning_rate=weight_learning_rate,
      weight_decay=weight_decay,
    )

  def stream(seed):
    del seed  # The same set for all seeds, and all steps.
    examples = balanced_set(
      setup.training, num_classes, per_class, mean=meta == 'prototype'
    )
    return data_lib.Stream(data_lib.whole_order(num_meta), examples)

  return _part.Part(
    objective=objective,
    streams={_META: stream},
    model=_head_only.with_features('ot'),
    params=_head_only.plan(anew=False),
  )


def balanced_set(
  examples: data_lib.Examples, num_classes: int, per_class: int, *, mean: bool
) -> data_lib.Examples:
  """As many examples of each class, the first ones in a fixed random order.

  Args:
    examples: Training examples.
    num_classes: Number of classes.
    per_class: Examples of a class, which each has.
    mean: Whether their mean image stands for them, rounded if these are bytes.
  """
  chosen = []
  for label in range(num_classes):
    own = np.flatnonzero(examples.labels == label)
    own = np.random.RandomState(label).permutation(own)
    chosen.append(own[:per_class])
  indices = np.concatenate(chosen)
  if not mean:
    return examples.at(indices)
  images = np.asarray(examples.images[indices], np.float64)
  images = images.reshape(num_classes, per_class, *images.shape[1:]).mean(1)
  if examples.images.dtype == np.uint8:
    images = np.rint(images)
  return data_lib.Examples(
    images.astype(examples.images.dtype),
    np.arange(num_classes, dtype=examples.labels.dtype),
  )
