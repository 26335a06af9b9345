# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""ResCom, contrasts of two views with a queue: Zhong et al., arXiv 2022."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import _checks
from imbsam_jax import losses
from imbsam_jax import models
from imbsam_jax import training
from imbsam_jax import weights
from imbsam_jax.methods import _model_cost
from imbsam_jax.methods import _part
from imbsam_jax.methods import _registry

_METHOD = 'logits_and_projections'


class ResCom(training.WrappedObjective):
  """The loss of both views of a row, and a contrastive one of all of them.

  It remembers the state of its base, and a `losses.ClassQueue` of projections
  of first views, which is the same in all passes of a step.

  Args:
    base: The loss of a view.
    class_weights: Weights of the contrastive losses, ``[C]``.
    weight: Factor of their mean.
    size: Number of keys of a class in the queue.
    dim: Number of entries of a projection.
    **options: Keyword arguments of `losses.rescom_loss`.
  """

  base: Any  # A `training.Supervised`.

  def __init__(
    self,
    base: training.Supervised,
    class_weights: np.ndarray,
    *,
    weight: float,
    size: int,
    dim: int,
    **options: Any,
  ):
    super().__init__(base)
    self.coupled = True
    self.num_views = 2
    self.pass_cost = 2.0  # Of a network so large that nothing else counts.
    self._class_weights = class_weights
    self._weight = weight
    self._size = size
    self._dim = dim
    self._options = options
    # Refuses options here, not within the first step.
    rows = jnp.zeros([2, dim]), jnp.zeros([2], jnp.int32)
    jax.eval_shape(
      lambda key: self._losses(*rows, self._queue(key)), jax.random.key(0)
    )

  def init(self, key, variables):
    return self.base.init(key, variables), self._queue(key)

  def prepare(self, ctx, rows):
    return self.base.prepare(self._of_base(ctx), rows)

  def __call__(self, ctx, apply, rows):
    labels = rows['label']
    # Views of an image side by side, so that sharded rows stay where they are.
    images = jnp.stack(rows['views'], axis=1)
    images = images.reshape(-1, *images.shape[2:])
    logits, projections = apply(images, method=_METHOD)
    logits = logits.reshape(len(labels), 2, -1)
    projections = projections.reshape(len(labels), 2, -1)
    base_ctx = self._of_base(ctx)
    one, two = (
      self.base.outcome(base_ctx, apply.params, rows, logits[:, view])
      for view in range(2)
    )
    contrast = self._contrast(ctx, projections, labels)
    return one._replace(
      losses=(one.losses + two.losses) / 2,
      record=(projections[:, 0], labels),
    ).plus(self._weight * contrast)

  def weigh(self, ctx, losses):
    weighed = self.base.weigh(self._of_base(ctx), losses)
    if weighed is None:
      return None
    factors, state = weighed
    return factors, (state, ctx.state[1])

  def after(self, ctx, record):
    state, queue = ctx.state
    return state, losses.enqueue(queue, *record)

  def _of_base(self, ctx):
    return ctx._replace(state=ctx.state[0])

  def _contrast(self, ctx, projections, labels):
    """The mean over the views of the rows of all devices."""
    projections, labels = ctx.gathered((projections, labels))
    rows = projections.reshape(-1, self._dim)
    return jnp.mean(self._losses(rows, jnp.repeat(labels, 2), ctx.state[1]))

  def _losses(self, projections, labels, queue):
    return losses.rescom_loss(
      projections, labels, queue, self._class_weights, **self._options
    )

  def _queue(self, key):
    return losses.init_class_queue(
      jax.random.fold_in(key, 0),
      num_classes=len(self._class_weights),
      size=self._size,
      dim=self._dim,
    )


def _by_class(parameters: Mapping[str, Any]) -> bool:
  # With beta = 0 all classes have the weight 1.
  return parameters.get('beta') != 0


@_registry.word(
  'rescom',
  axis='scheme',
  about='contrasts of two views with a class queue (2022)',
  sets={'objective.loss': 'balanced_softmax'},
  corrects_prior=_by_class,
  published_with=frozenset({'balanced_softmax'}),
  needs_batch=True,
  unmixed=True,
)
def rescom(
  setup: _part.Setup,
  *,
  weight: float = 1.0,
  beta: float = 0.999,
  size: int = 8,
  num_positives: int | None = None,
  num_negatives: int | None = None,
  temperature: float = 1.0,
  dim: int = 128,
) -> _part.Part:
  """The loss on two views, and `losses.rescom_loss` of their projections.

  How many keys of the queue a row is compared with is in configurations that
  were not released: None is half of those of its class, the least alike, and as
  many of the others for each of them, the most alike of all.
  """
  _checks.number('weight', weight, low=0)
  num_classes = len(setup.class_counts)
  if num_positives is None:
    num_positives = (size + 1) // 2
  if num_negatives is None:
    num_negatives = num_positives * (num_classes - 1)

  def projected(network):
    return models.Projected(network=network, dim=dim)

  def pass_cost(network, image):
    views = 2 * setup.time.batch_size
    images = jax.ShapeDtypeStruct((views, *image.shape[1:]), image.dtype)
    similarities = views * (views + num_classes * size) * dim
    return 2 * _model_cost.ratio(
      projected(network), network, images, beside=similarities, method=_METHOD
    )

  return _part.Part(
    objective=lambda base: ResCom(
      base,
      np.asarray(weights.rescom_weights(setup.class_counts, beta=beta)),
      weight=weight,
      size=size,
      dim=dim,
      num_positives=num_positives,
      num_negatives=num_negatives,
      temperature=temperature,
    ),
    model=projected,
    pass_cost=pass_cost,
  )
