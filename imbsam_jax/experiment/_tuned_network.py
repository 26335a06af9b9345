# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A trunk and a head: what is loaded and trained of them, and what it costs."""

from collections.abc import Callable
from typing import Any

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import _errors
from imbsam_jax import models
from imbsam_jax import training
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _trunk

_HEAD = 'classifier'
# A step of a network that is trained as a whole takes three times its forward
# pass: one forward, and twice as much for the gradient.
_FORWARD = 1 / 3


def network(
  config: _config.Model,
  trunk: _trunk.Trunk,
  tuning: models.tuning.Tuning | None,
  *,
  head: Any,
  num_classes: int,
) -> models.Classifier:
  """The network of a run: the trunk as it is tuned, and a head.

  With a cache of features it is the head alone.

  Args:
    config: The network.
    trunk: What was read.
    tuning: How it is tuned; None trains all of it.
    head: Name of the head.
    num_classes: Number of classes.

  Raises:
    ConfigError: If the trunk has no such pooling, or cannot be tuned so.
  """
  if config.feature_cache is not None:
    return models.FeatureClassifier(num_classes, head=head)
  tuning = tuning or models.tuning.Full()
  options: dict[str, Any] = {'dtype': jnp.dtype(config.dtype)}
  if isinstance(trunk.module, models.VisionTransformer):
    # Together with the pooling, which has a meaning with prompts alone.
    tuning = tuning.resolved(num_classes=num_classes, depth=trunk.module.depth)
    options |= {'tuning': tuning, 'pool': config.pool, 'remat': config.remat}
  elif config.pool != 'class' or config.remat:
    raise _errors.ConfigError(
      '`model.pool` and `model.remat` are about Vision Transformers, and '
      f'{trunk.summary} is none. Leave both out.'
    )
  return models.TrunkClassifier(
    num_classes,
    head=head,
    trunk=trunk.module.clone(**options),
    tuning=tuning,
    feature_dropout=config.feature_dropout,
    freeze_statistics=not isinstance(tuning, models.tuning.Full),
  )


def plan(
  scheme: training.ParamPlan,
  *,
  trunk: _trunk.Trunk | None,
  trains: Callable[[tuple[str, ...]], bool] | None,
  class_vectors: Callable[[], np.ndarray] | None,
  frozen_dtype: str,
) -> training.ParamPlan:
  """Which parameters are loaded, and which are trained.

  Args:
    scheme: The plan of the words of the run. What both train is trained.
    trunk: What was read, or None where the network has no trunk.
    trains: Whether the parameter of a path is trained; None trains all.
    class_vectors: What the class vectors of the head begin with, ``[C, D]``, or
      None.
    frozen_dtype: Dtype of the kernels that are not trained.
  """

  def load(initial):
    initial = initial if scheme.load is None else scheme.load(initial)
    if _is_traced(initial):  # Of shapes nothing is read.
      return initial
    given = {} if trunk is None else trunk.variables
    loaded = {
      name: _put(tree, {_trunk.NAME: given.get(name, {})})
      for name, tree in initial.items()
    }
    if class_vectors is not None:
      head = {_HEAD: {'class_vectors': class_vectors()}}
      loaded['params'] = _put(loaded['params'], head)
    return loaded

  def both(path):
    return all(one(path) for one in (trains, scheme.trains) if one is not None)

  if trains is None and scheme.trains is None:
    return scheme._replace(load=load)
  return scheme._replace(load=load, trains=both, frozen_dtype=frozen_dtype)


def count_cost(objective: training.Objective, model: Any) -> None:
  """Sets what an objective costs, in SGD steps that train all of a trunk.

  A pass takes a forward pass, and of what lies above the lowest leaf that is
  trained a backward pass: twice as much where kernels are trained, as much
  where they are not. What lies below is computed once a step for all passes.

  Args:
    objective: That of the run.
    model: The network, a `models.TrunkClassifier`.
  """
  if not objective.pass_cost:  # The head alone is trained.
    return
  tuning, trunk = model.tuning, model.trunk
  match tuning:
    case models.tuning.Full() | models.tuning.Probe():
      return
    case models.tuning.Partial():
      above = tuning.blocks / _num_parts(trunk)
      shared, each = _FORWARD * (1 - above), above
    case models.tuning.AdaptFormer() | models.tuning.Adapter():
      # What the first block has beside its bottleneck is below all of them.
      above = 1 - 1 / trunk.depth
      shared, each = _FORWARD * (1 - above), 2 * _FORWARD * above
    case _:
      tokens = getattr(trunk, 'num_tokens', 1)
      shared = 0.0
      each = 2 * _FORWARD * (1 + tuning.num_prompts / tokens)
  objective.prepare_cost += shared
  objective.pass_cost *= each


def _num_parts(trunk: Any) -> int:
  """Number of blocks of a transformer, of stages of a residual network."""
  if isinstance(trunk, models.VisionTransformer):
    return trunk.depth
  return len(trunk.stage_sizes)


def _put(tree: Any, part: Any) -> Any:
  """A tree with some of its leaves replaced.

  Raises:
    ValueError: If it lacks one of these, or has it of another shape.
  """
  flat: dict[Any, Any] = traverse_util.flatten_dict(tree)
  new: dict[Any, Any] = traverse_util.flatten_dict(part)
  for path, leaf in new.items():
    there = list(np.shape(flat[path])) if path in flat else 'nothing'
    if there != list(np.shape(leaf)):
      raise ValueError(
        f'{"/".join(path)} is {list(np.shape(leaf))} in the file, and the '
        f'network has {there} there.'
      )
  return traverse_util.unflatten_dict(flat | new)


def _is_traced(tree: Any) -> bool:
  return any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(tree))
