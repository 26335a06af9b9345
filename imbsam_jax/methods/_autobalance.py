# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""AutoBalance: Li et al., NeurIPS 2021."""

from collections.abc import Mapping
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from imbsam_jax import _checks
from imbsam_jax import data as data_lib
from imbsam_jax import losses as losses_lib
from imbsam_jax import oracles
from imbsam_jax import training
from imbsam_jax import weights as weights_lib
from imbsam_jax.methods import _part
from imbsam_jax.methods import _registry

_VALIDATION, _TRAIN = 'validation', 'train'
# The last term of a series that converges is shorter than the first, but for
# directions along which the loss is concave.
_MOST_GROWTH = 2.0
# Of 300 epochs the outer learning rate falls at 220 and 260.
_DROPS = (220 / 300, 260 / 300)


class LearnedLoss(training.WrappedObjective):
  r"""The cross entropy of :math:`\sigma(d) z + l` with given d and l.

  The state has them, for the classes in the order of their frequency; see
  `losses.autobalance_loss`.
  """

  def __init__(self, base: training.Objective, class_counts: np.ndarray):
    super().__init__(base)
    # Neighbors share their terms, so the most frequent classes come first.
    self._order = np.argsort(-class_counts, kind='stable')
    self._rank = np.argsort(self._order)
    self.group_size = 1

  @property
  def num_groups(self) -> int:
    """Number of values that d has, and l."""
    return len(self._order) // self.group_size

  def init(self, key, variables):
    """As a search begins: d = 1, l = 0."""
    del key, variables
    return _parameters(self.num_groups)

  def __call__(self, ctx, apply, rows):
    """A pass over the rows."""
    outcome = self.base(ctx, apply, rows)
    return outcome._replace(
      losses=training.mixed_losses(
        lambda y: self.losses(ctx.state, outcome.logits, y), outcome.labels
      )
    )

  def losses(
    self, state: Mapping[str, jax.Array], logits: jax.Array, labels: jax.Array
  ) -> jax.Array:
    """Losses ``[B]`` with d and l of a state."""
    return losses_lib.autobalance_loss(
      logits[:, self._order],
      jnp.asarray(self._rank, jnp.int32)[labels],
      state['multiplier_logits'],
      state['offsets'],
      group_size=self.group_size,
    )


class Search(LearnedLoss):
  """Learns d and l on held-out images while the network learns by them.

  An outer step whose series diverges is left out, and counted.
  """

  def __init__(
    self,
    base: training.Objective,
    class_counts: np.ndarray,
    validation_counts: np.ndarray,
    *,
    group_size: int,
    outer: training.Outer,
    num_steps: int,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    num_terms: int,
    step_size: float,
  ):
    super().__init__(base, class_counts)
    self.coupled = True
    self.group_size = group_size
    self.outer = outer._replace(update=self._update)
    self._num_terms = num_terms
    self._step_size = step_size
    # However many validation images classes have, in their loss all are alike.
    self.class_weights = weights_lib.normalize_weights(
      validation_counts.sum() / np.maximum(validation_counts, 1), norm='l2'
    )
    self._learning_rate = learning_rate
    self._drops = [
      math.ceil((share * num_steps - outer.start) / outer.every)
      for share in _DROPS
    ]
    self._tx = optax.chain(
      optax.add_decayed_weights(weight_decay),
      optax.sgd(self.rate, momentum=momentum),
    )

  def rate(self, count: jax.typing.ArrayLike) -> jax.Array:
    """Learning rate of an outer step, by its number."""
    number = jnp.sum(jnp.asarray(count) >= jnp.array(self._drops))
    return self._learning_rate * jnp.power(0.1, number.astype(jnp.float32))

  def init(self, key, variables):
    """As `LearnedLoss`, with the state of the outer optimizer."""
    parameters = super().init(key, variables)
    return {
      **parameters,
      'optimizer': self._tx.init(parameters),
      'counts': jnp.zeros(2),  # Of outer steps, and of those left out.
    }

  def _update(self, ctx, apply_at, params, rows):
    del rows  # Not one batch, but the rows of a stream of many.
    parameters = {k: ctx.state[k] for k in _parameters(1)}
    streams = ctx.gathered({k: ctx.streams[k] for k in (_TRAIN, _VALIDATION)})

    def train_loss(params, parameters, batch):
      logits = apply_at(params)(batch['image'])
      return jnp.mean(self.losses(parameters, logits, batch['label']))

    def validation_loss(params, batch):
      return losses_lib.class_weighted_loss(
        losses_lib.cross_entropy,
        apply_at(params)(batch['image']),
        batch['label'],
        self.class_weights,
      )

    gradient, growth = oracles.hypergradient_and_growth(
      train_loss,
      validation_loss,
      params,
      parameters,
      streams[_TRAIN],
      streams[_VALIDATION],
      num_terms=self._num_terms,
      step_size=self._step_size,
    )
    updates, optimizer = self._tx.update(
      gradient, ctx.state['optimizer'], parameters
    )
    parameters: Any = optax.apply_updates(parameters, updates)
    new = {**parameters, 'optimizer': optimizer, 'counts': ctx.state['counts']}
    # NaN is no convergence either.
    converges = growth <= _MOST_GROWTH
    kept = jax.tree.map(
      lambda n, old: jnp.where(converges, n, old), new, dict(ctx.state)
    )
    both = jnp.stack([jnp.ones([]), 1.0 - converges.astype(jnp.float32)])
    return {**kept, 'counts': ctx.state['counts'] + both}


@_registry.word(
  'autobalance',
  axis='scheme',
  about='a loss that is searched for first (NeurIPS 2021)',
  sets={'objective.loss': 'cross_entropy'},
  head='linear',
  corrects_prior=True,
  own_loss=True,
)
def autobalance(
  setup: _part.Setup,
  *,
  group_size: int | None = None,
  epochs: float = 1.5,
  start: float = 0.4,
  every: int = 20,
  batches: int = 10,
  step_size: float = 0.05,
  outer_learning_rate: float = 0.1,
  hold_out: float = 0.2,
) -> _part.Part:
  """Training by the loss that a search before it has found.

  The search is a run of its own, in the folder ``search`` of the run: `epochs`
  times as long, with the same update rule, on the images but those for
  validation; where none are set aside, on all but the share `hold_out` of each
  class. Its other parameters are those of `autobalance_search`.
  """
  _checks.number('epochs', epochs, above=0)
  _checks.number('hold_out', hold_out, above=0, below=1)
  size = _group_size(group_size, len(setup.class_counts))
  text = (
    f'autobalance_search(group_size={size}, start={start}, every={every}, '
    f'batches={batches}, step_size={step_size}, '
    f'outer_learning_rate={outer_learning_rate})'
  )
  return _part.Part(
    objective=lambda base: LearnedLoss(base, setup.class_counts),
    search=_part.Search(
      {'objective.scheme': text, 'epochs': epochs * setup.time.num_epochs},
      hold_out,
      lambda state: _of_classes(state, len(setup.class_counts), step_size),
    ),
  )


@_registry.choice(
  'autobalance_search',
  axis='scheme',
  head='linear',
  corrects_prior=True,
  own_loss=True,
  needs_batch=True,
)
def autobalance_search(
  setup: _part.Setup,
  *,
  group_size: int | None = None,
  start: float = 0.4,
  every: int = 20,
  outer_learning_rate: float = 0.1,
  outer_momentum: float = 0.9,
  outer_weight_decay: float = 1e-4,
  batches: int = 10,
  num_terms: int = 5,
  step_size: float = 0.05,
) -> _part.Part:
  """The search alone: d and l change every so many steps, from `start` on.

  Neighbors by frequency, `group_size` of them, share their terms; None is 1
  below 100 classes, about 10 below 1,000 and about 20 from there on.

  A change takes gradients of `batches` batches of both kinds, so that it costs
  `batches` times 13 SGD steps with 5 terms, as the authors have them.

  The series of the hypergradient has a step of 0.05: it diverges where the
  largest eigenvalue of the Hessian is above 2 / step, and SGD with rate 0.1 and
  momentum 0.9 goes up to 38. The authors' step is 1, with which d and l were
  lost in ten epochs of digits-LT.

  The authors' outer learning rate is 0.01 on CIFAR-10, 0.1 on CIFAR-100, with
  gradients that are up to 20 times as long; that it grows in the first epochs,
  before it is used, is left out.
  """
  _checks.number('outer_learning_rate', outer_learning_rate, low=0)
  _checks.number('outer_momentum', outer_momentum, low=0, high=1)
  _checks.number('outer_weight_decay', outer_weight_decay, low=0)
  _checks.number('step_size', step_size, above=0)
  _checks.integer('num_terms', num_terms, low=0)
  _checks.integer('every', every)
  _checks.integer('batches', batches)
  counts, time = setup.class_counts, setup.time
  size = _group_size(group_size, len(counts))
  num_steps = max(round(time.num_epochs * counts.sum() / time.batch_size), 1)
  first = round(time.at(start) / time.num_epochs * num_steps)
  if first >= num_steps:
    raise ValueError(
      f'with start={start:g} none of the {num_steps} steps of the search would '
      'change the loss. Pass an earlier start, such as 0.4.'
    )

  outer = training.Outer(
    lambda *unused: None,  # That of the objective takes its place.
    every=every,
    stream=_VALIDATION,
    start=first,
    # A gradient of the validation loss, and products with second derivatives of
    # the training loss, each about twice the price of its gradient.
    cost=batches * (1 + 2 * (num_terms + 1)),
  )

  def rows_of(examples, seed):
    # Whole batches, which devices share alike, and no more than there are.
    number = min(batches, math.ceil(len(examples.labels) / time.batch_size))
    order = data_lib.shuffled_order(
      len(examples.labels), batch_size=number * time.batch_size, seed=seed
    )
    return data_lib.Stream(order, examples, outer.at)

  def objective(base):
    return Search(
      base,
      counts,
      np.bincount(setup.validation.labels, minlength=len(counts)),
      group_size=size,
      outer=outer,
      num_steps=num_steps,
      learning_rate=outer_learning_rate,
      momentum=outer_momentum,
      weight_decay=outer_weight_decay,
      num_terms=num_terms,
      step_size=step_size,
    )

  return _part.Part(
    objective=objective,
    streams={
      _VALIDATION: lambda seed: rows_of(setup.validation, seed),
      _TRAIN: lambda seed: rows_of(setup.training, seed),
    },
  )


def _parameters(number: int) -> dict[str, jax.Array]:
  return {
    'multiplier_logits': jnp.ones(number),
    'offsets': jnp.zeros(number),
  }


def _of_classes(
  state: Mapping[str, Any], num_classes: int, step_size: float
) -> dict[str, Any]:
  """What a search has learned, for each class.

  Raises:
    DivergedError: If most of its outer steps diverged.
  """
  steps, left_out = (int(x) for x in state['counts'])
  if 2 * left_out > steps:
    raise training.DivergedError(
      f'the series of the hypergradient diverged in {left_out} of {steps} '
      f'outer steps of the search, with step_size={step_size:g}. Pass a '
      'smaller one, '
      f"`objective.scheme='autobalance(step_size={step_size / 10:g})'`."
    )
  return {
    name: losses_lib.interpolate_groups(state[name], num_classes=num_classes)
    for name in _parameters(1)
  }


def _group_size(given: int | None, num_classes: int) -> int:
  """The size of a group, one that divides the number of classes."""
  if given is not None:
    given = _checks.integer('group_size', given)
    if num_classes % given:
      raise ValueError(
        f'`group_size` must divide the number of classes, {num_classes}, got '
        f'{given}.'
      )
    return given
  wanted = 1 if num_classes < 100 else 10 if num_classes < 1000 else 20
  return max(n for n in range(1, wanted + 1) if num_classes % n == 0)
