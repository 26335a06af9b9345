# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is minimised: losses by name, ABSGD, penalties."""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import _checks
from imbsam_jax import _errors
from imbsam_jax import _specs
from imbsam_jax import losses
from imbsam_jax import schedules
from imbsam_jax import training
from imbsam_jax import weights as weights_lib
from imbsam_jax.methods import _class_weights


def distribution_balanced(
  logits: jax.Array,
  labels: jax.Array,
  class_counts: np.ndarray,
  *,
  alpha: float = 0.1,
  beta: float = 10.0,
  mu: float = 0.3,
  bias_scale: float = 0.05,
  negative_scale: float = 5.0,
  gamma: float = 2.0,
  balance: float = 2.0,
) -> jax.Array:
  """The multi-label loss on examples of one label, summed over classes."""
  targets = labels[:, None] == jnp.arange(logits.shape[1])[None]
  return jnp.sum(
    losses.distribution_balanced_loss(
      logits,
      targets.astype(jnp.float32),
      class_counts,
      int(class_counts.sum()),
      alpha=alpha,
      beta=beta,
      mu=mu,
      bias_scale=bias_scale,
      negative_scale=negative_scale,
      gamma=gamma,
      balance=balance,
    ),
    axis=1,
  )


# On a linear head.
_LINEAR = {
  'cross_entropy': losses.cross_entropy,
  'focal': losses.focal_loss,
  'sigmoid_focal': losses.sigmoid_focal_loss,
  'balanced_softmax': losses.balanced_softmax,
  'logit_adjustment': losses.logit_adjusted_cross_entropy,
  'cdt': losses.cdt_loss,
  'vs': losses.vs_loss,
  'arb': losses.arb_loss,
  'distribution_balanced': distribution_balanced,
}
# On cosines.
_COSINE = {
  'ldam': losses.ldam_loss,
  'mm': losses.mm_loss,
  'mm_ldam': losses.mm_ldam_loss,
  'gcl': losses.gcl_loss,
  'cri': losses.cri_loss,
  'cosface': losses.cosface_loss,
  'lm_softmax': losses.lm_softmax,
  'gm_softmax': losses.gm_softmax,
  'sample_margin': losses.sample_margin_loss,
}
LOSSES: dict[str, Callable[..., jax.Array]] = _LINEAR | _COSINE

# Of cosines whose loss has no scale, for probabilities.
_PLAIN_SCALE = 30.0

# They correct for the class prior.
CORRECT_PRIOR = (
  'balanced_softmax',
  'logit_adjustment',
  'cdt',
  'vs',
  'arb',
  'distribution_balanced',
)
# They look at the whole batch, so that its rows cannot be split.
_COUPLED = ('arb',)
_COUNTS = (
  'balanced_softmax',
  'logit_adjustment',
  'cdt',
  'vs',
  'ldam',
  'mm_ldam',
  'gcl',
  'cri',
  'distribution_balanced',
)


# The name of a loss that is a function of one's own.
OWN = 'own'
ExampleLoss = Callable[..., jax.Array]


def head_for(loss: str, head: str) -> str:
  """The head of a model: 'auto' is what the loss, a choice, needs."""
  if head != 'auto':
    return head
  return 'cosine' if _specs.name(loss) in _COSINE else 'linear'


def needs_cosines(loss: str) -> bool:
  """Whether a loss is made for the cosines of a normalised head."""
  return loss in _COSINE


def make_objective(
  loss: str | ExampleLoss,
  time: schedules.Timeline,
  *,
  weights: str = 'none',
  penalty: str = 'none',
  mix: Any = None,
) -> training.Objective:
  """From choices to functions.

  Args:
    loss: A choice of `LOSSES`; or a function of one's own, ``(logits [B, C],
      labels [B]) -> losses [B]``, each of its own row alone.
    time: Where a run is.
    weights: A choice of `WEIGHTS`; here only ABSGD counts, whose weights come
      from the losses of a batch.
    penalty: A choice of `PENALTIES`.

  Raises:
    ConfigError: An unknown name or parameter, a value out of range, or a
      function that does not give a loss for each row.
  """
  if callable(loss):
    try:
      _try(loss, False, len(time.class_counts))
    except _errors.ConfigError:
      raise
    except Exception as error:  # Whatever a user's code raises.
      raise _errors.ConfigError(
        f'the loss cannot be applied to logits [B, C] and labels [B]: {error}'
      ) from error
    return _make(loss, OWN, {}, time, weights=weights, penalty=penalty, mix=mix)
  name, parameters = _specs.parse(loss)
  bound = _specs.bind('objective.loss', loss, LOSSES)
  return _make(
    bound, name, parameters, time, weights=weights, penalty=penalty, mix=mix
  )


def _make(
  bound: ExampleLoss,
  loss: str,
  parameters: Mapping[str, Any],
  time: schedules.Timeline,
  *,
  weights: str,
  penalty: str,
  mix: Any,
) -> training.Objective:
  takes_key = loss == 'gcl'
  # A term of logits and labels, and one of parameters.
  per_example, of_params = _specs.bind(
    'objective.penalty', penalty, PENALTIES
  )()

  counts = (time.class_counts,) if loss in _COUNTS else ()
  if takes_key:

    def example_loss(logits, labels, *, key):
      return bound(logits, labels, *counts, key=key) + per_example(
        logits, labels
      )
  else:

    def example_loss(logits, labels):
      return bound(logits, labels, *counts) + per_example(logits, labels)

  _try(example_loss, takes_key, len(time.class_counts))
  defaults = {} if loss == OWN else _specs.parameters_of(LOSSES[loss])
  plain = _PLAIN_SCALE if loss in _COSINE else 1.0
  scale = parameters.get('scale', defaults.get('scale', plain))
  absgd = _specs.name(weights) == 'absgd'
  example_weights = _absgd(weights, time) if absgd else None
  state = weights_lib.absgd_init() if absgd else ()
  if example_weights is not None:
    floats = jax.ShapeDtypeStruct((2,), jnp.float32)
    step = jax.ShapeDtypeStruct((), jnp.int32)
    jax.eval_shape(example_weights, floats, step, state)
  return training.Supervised(
    example_loss,
    mix=mix,
    weigh=example_weights,
    weigh_state=state,
    penalty=of_params,
    logit_scale=float(scale),
    coupled=loss in _COUPLED,
  )


def _try(
  example_loss: Callable[..., jax.Array], takes_key: bool, num_classes: int
) -> None:
  """Refuses parameters here, not within the first step."""
  options = {'key': jax.random.key(0)} if takes_key else {}
  found = jax.eval_shape(
    lambda z, y: example_loss(z, y, **options),
    jax.ShapeDtypeStruct((2, num_classes), jnp.float32),
    jax.ShapeDtypeStruct((2,), jnp.int32),
  )
  if getattr(found, 'shape', None) != (2,) or not jnp.issubdtype(
    found.dtype, jnp.floating
  ):
    raise _errors.ConfigError(
      'the loss must give one number for each row, float [B] for logits '
      f'[B, C] and labels [B]; for B = 2 it gave {found}. Leave out its mean '
      'or sum: rows are weighted and added here.'
    )


def _absgd(text: str, time: schedules.Timeline) -> Callable[..., Any]:
  """ABSGD from a share of the run on; weights of one before."""
  _, parameters = _specs.parse(text)
  defaults = _specs.parameters_of(_class_weights.absgd)
  start = parameters.get('start', defaults['start'])
  options = {
    name: parameters.get(name, defaults[name])
    for name in ('lam', 'gamma', 'alpha')
  }

  def example_weights(example_losses, step, state):
    found, new_state = weights_lib.absgd_weights(
      example_losses, state, **options
    )
    begun = time.traced_epoch(step) >= time.at(start)
    return (
      jnp.where(begun, found * len(example_losses), 1.0),
      jax.tree.map(lambda n, o: jnp.where(begun, n, o), new_state, state),
    )

  return example_weights


def _nothing(logits: jax.Array, labels: jax.Array) -> float:
  del logits, labels
  return 0.0


def _sample_margin(*, weight: float = 0.5):
  _checks.number('weight', weight, low=0)

  def term(logits, labels):
    return weight * losses.sample_margin_loss(logits, labels)

  return term, None


def _zero_centroid(*, weight: float = 5.0, mean: bool = True):
  """The paper's mean with the coefficient of the code, which has the sum."""
  _checks.number('weight', weight, low=0)

  def penalty(params):
    vectors = params['classifier']['class_vectors']
    return weight * losses.zero_centroid_penalty(vectors, mean=mean)

  return _nothing, penalty


PENALTIES: dict[str, Callable[..., Any]] = {
  'none': lambda: (_nothing, None),
  'zero_centroid': _zero_centroid,
  'sample_margin': _sample_margin,
}
