# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Joins the choices of a run to an objective, a model and orders of rows."""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

from flax import linen as nn
import grain
import jax
import jax.numpy as jnp

from imbsam_jax import _errors
from imbsam_jax import data as data_lib
from imbsam_jax import losses as losses_lib
from imbsam_jax import models
from imbsam_jax import training
from imbsam_jax.methods import _part
from imbsam_jax.methods import _registry

# Name of the choice of a loss that is a function of the user.
OWN = 'own'

# Update rules are made later, from steps; combinations are no field.
# A scheme comes last: it may bring what others bring too.
_AXES = (
  'loss', 'weights', 'sampler', 'mixing', 'head', 'penalty', 'tuning', 'scheme',
)  # fmt: skip


class Combined(NamedTuple):
  """What the words of a run bring together.

  Attributes:
    objective: Objective that is minimized, a `training.Supervised`.
    order: ``order(labels, is_tail, seed)``, see `Part`.
    partners: ``partners(order, labels, seed)`` of mixed rows, or None.
    reweighting: Class weights of the loss, or None.
    streams: Functions ``stream(seed)`` of further streams of rows, by name.
    model: ``model(network)`` is the network that is trained.
    params: Which parameters are loaded, and which are trained.
    tuning: How a pre-trained trunk is tuned, or None where it is trained as a
      whole.
    search: A run that comes before, or None.
    pass_cost: See `Part`, or None where the objective knows it.
  """

  objective: training.Objective
  order: Callable[..., grain.MapDataset]
  partners: Callable[..., grain.MapDataset] | None
  reweighting: data_lib.Reweighting | None
  streams: Mapping[str, Callable[[int], data_lib.Stream]]
  model: Callable[[nn.Module], nn.Module]
  params: training.ParamPlan
  tuning: models.tuning.Tuning | None
  search: _part.Search | None
  pass_cost: Callable[[nn.Module, jax.ShapeDtypeStruct], float] | None = None


def combine(
  choices: Mapping[str, str],
  setup: _part.Setup,
  *,
  loss: _part.ExampleLoss | None = None,
) -> Combined:
  """Makes and joins the parts of a run, and tries them on shapes.

  Args:
    choices: Choices by axis, such as ``{'loss': 'ldam', 'weights': 'drw'}``; an
      axis that is left out has its plain choice.
    setup: Sizes, class counts and data that words may depend on.
    loss: A function of one's own instead of the choice of a loss, ``(logits
      [B, C], labels [B]) -> losses [B]``, each of its own row alone.

  Raises:
    ConfigError: If a name or parameter is unknown, a value is out of range, or
      `loss` does not give a loss for each row.
    ValueError: If images of this shape cannot be mixed.
  """
  if loss is not None:
    _try_own(loss, len(setup.class_counts))
  chosen = {
    axis: choices.get(axis, _registry.AXES[axis].plain) for axis in _AXES
  }
  parts = {
    axis: _part.Part(loss=loss)
    if axis == 'loss' and loss is not None
    else _registry.make_part(axis, text, setup)
    for axis, text in chosen.items()
  }
  # A head is a part of the network, which another word may wrap. Its scale is
  # that of losses that have none.
  head = None if _has_scale(loss, chosen['loss']) else parts['head'].model
  parts['head'] = parts['head']._replace(model=None)
  whole = _joined(
    {_registry.typed(axis, chosen[axis]): part for axis, part in parts.items()}
  )
  supervised = training.Supervised(
    _whole_loss(whole.loss, whole.term),
    mix=whole.mix,
    weigh=whole.weigh,
    weigh_state=() if whole.weigh_state is None else whole.weigh_state,
    penalty=whole.penalty,
    logit_scale=whole.logit_scale or 1.0,
    coupled=loss is None
    and _registry.bind('loss', chosen['loss']).traits.needs_batch,
  )
  _try(supervised, setup, whole.mix)
  objective: training.Objective = supervised
  if whole.objective is not None:
    objective = whole.objective(supervised)
    _check_states(objective, supervised, chosen)
  if objective.coupled and loss is None:
    _check_trait(chosen)
  return Combined(
    objective=objective,
    order=whole.order or _sampled(setup, whole.probabilities),
    partners=whole.partners,
    reweighting=whole.reweighting,
    streams=whole.streams,
    model=_composed(head, whole.model),
    params=whole.params or training.ParamPlan(),
    tuning=whole.tuning,
    search=whole.search,
    pass_cost=whole.pass_cost,
  )


def _has_scale(loss: _part.ExampleLoss | None, text: str) -> bool:
  """Whether a loss is one on raw cosines."""
  return loss is None and _registry.bind('loss', text).traits.head == 'cosine'


def _composed(
  *functions: Callable[[nn.Module], nn.Module] | None,
) -> Callable[[nn.Module], nn.Module]:
  """Functions one after the other, those that are None left out."""

  def composed(network):
    for function in functions:
      network = network if function is None else function(network)
    return network

  return composed


def _joined(parts: Mapping[str, _part.Part]) -> _part.Part:
  """What the parts of words bring together.

  Raises:
    ConfigError: If two of them bring the same; the message names both.
  """
  whole = _part.Part()
  bringers: dict[str, str] = {}
  for word, part in parts.items():
    brought = {k: v for k, v in part._asdict().items() if v is not None}
    names = [*brought.pop('streams'), *brought]
    # Draws are an order.
    names = ['order' if name == 'probabilities' else name for name in names]
    for name in names:
      if name in bringers:
        raise _errors.ConfigError(
          f'`{bringers[name]}` and `{word}` cannot be combined: both bring '
          f'`{name}`, of which a run has one. Leave one of them out.'
        )
      bringers[name] = word
    whole = whole._replace(**brought, streams={**whole.streams, **part.streams})
  return whole


def _sampled(
  setup: _part.Setup, probabilities: Any
) -> Callable[..., grain.MapDataset]:
  def order(labels, is_tail, seed):
    return data_lib.sampled_order(
      labels,
      probabilities,
      batch_size=setup.time.batch_size,
      seed=seed,
      is_tail=is_tail,
    )

  return order


def _check_states(
  objective: training.Objective,
  supervised: training.Supervised,
  chosen: Mapping[str, str],
) -> None:
  """Refuses a scheme that would lose what the weights remember."""
  kind = type(objective)
  base = training.WrappedObjective
  remembers = kind.init is not base.init and kind.weigh is base.weigh
  if remembers and jax.tree.leaves(supervised.init(jax.random.key(0), {})):
    one, other = (
      _registry.typed(axis, chosen[axis]) for axis in ('weights', 'scheme')
    )
    raise _errors.ConfigError(
      f'`{one}` and `{other}` cannot be combined: each remembers something '
      'from step to step, and the one knows nothing of the other. Leave one of '
      'them out.'
    )


def _check_trait(chosen: Mapping[str, str]) -> None:
  """Refuses words that do not say what their objective needs."""
  traits = [_registry.bind(axis, text).traits for axis, text in chosen.items()]
  if not any(one.needs_batch for one in traits):
    words = ', '.join(
      _registry.typed(axis, text)
      for axis, text in chosen.items()
      if text != _registry.AXES[axis].plain
    )
    raise ValueError(
      f'the objective of {words} is `coupled`, so register the word with '
      'needs_batch=True.'
    )


def _whole_loss(loss: Any, term: _part.ExampleLoss | None) -> _part.ExampleLoss:
  if term is None:
    return loss
  if training.takes_key(loss):
    return lambda logits, labels, *, key: (
      loss(logits, labels, key=key) + term(logits, labels)
    )
  return lambda logits, labels: loss(logits, labels) + term(logits, labels)


def _try(supervised: training.Supervised, setup: _part.Setup, mix: Any) -> None:
  """Refuses parameters here, not within the first step."""
  _try_loss(supervised.loss, len(setup.class_counts))
  step = jax.ShapeDtypeStruct((), jnp.int32)
  floats = jax.ShapeDtypeStruct((2,), jnp.float32)
  state = supervised.init(jax.random.key(0), {})
  ctx: Any = training.Context(step, None, state, {}, None)  # pyrefly: ignore
  jax.eval_shape(
    lambda losses, step: supervised.weigh(ctx._replace(step=step), losses),
    floats,
    step,
  )
  if mix is not None:
    rows = (
      jax.ShapeDtypeStruct((2, *setup.image_shape), jnp.float32),
      jax.ShapeDtypeStruct((2,), jnp.int32),
    )
    mixed = jax.eval_shape(
      lambda batch, partner: mix(
        jax.random.key(0), jnp.zeros([], jnp.int32), batch, partner
      ),
      rows,
      rows,
    )
    _check_mixed(mixed, rows[0].shape)


def _check_mixed(mixed: Any, shape: tuple[int, ...]) -> None:
  pair = isinstance(mixed, tuple) and len(mixed) == 2
  if not pair or not isinstance(mixed[1], losses_lib.MixedLabels):
    raise _errors.ConfigError(
      'a mixing must give (images, losses.MixedLabels(first, second, lam)), '
      f'got {mixed}.'
    )
  images, labels = mixed
  shapes = [getattr(x, 'shape', None) for x in (images, *labels)]
  rows = shape[:1]
  if shapes[:3] != [shape, rows, rows] or shapes[3] not in (rows, ()):
    raise _errors.ConfigError(
      'a mixing must give an image and labels for each pair: of images '
      f'{list(shape)} and their partners, images of that shape and [2] of '
      f'each entry of MixedLabels, got {shapes}.'
    )


def _try_loss(loss: _part.ExampleLoss, num_classes: int) -> None:
  options = {'key': jax.random.key(0)} if training.takes_key(loss) else {}
  result = jax.eval_shape(
    lambda z, y: loss(z, y, **options),
    jax.ShapeDtypeStruct((2, num_classes), jnp.float32),
    jax.ShapeDtypeStruct((2,), jnp.int32),
  )
  if getattr(result, 'shape', None) != (2,) or not jnp.issubdtype(
    result.dtype, jnp.floating
  ):
    raise _errors.ConfigError(
      'the loss must give one number for each row, float [B] for logits '
      f'[B, C] and labels [B]; for B = 2 it gave {result}. Leave out its mean '
      'or sum: rows are weighted and added here.'
    )


def _try_own(loss: _part.ExampleLoss, num_classes: int) -> None:
  try:
    _try_loss(loss, num_classes)
  except _errors.ConfigError:
    raise
  except Exception as error:  # Whatever a user's code raises.
    raise _errors.ConfigError(
      f'the loss cannot be applied to logits [B, C] and labels [B]: {error}'
    ) from error
