# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""NNX modules where a Linen module is expected.

NNX is imported where it is used: it doubles the time that Flax takes to import.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
  from flax import nnx


class NnxModel:
  """An NNX module with the ``init`` and ``apply`` of a Linen module."""

  def __init__(self, make: Callable[[nnx.Rngs], nnx.Module]):
    from flax import nnx

    self._make = make
    abstract = nnx.eval_shape(lambda: make(nnx.Rngs(0)))
    self._name = type(abstract).__name__
    self._graph, self._params, self._stats, self._random, others = nnx.split(
      abstract, nnx.Param, nnx.BatchStat, nnx.RngState, ...
    )
    if jax.tree.leaves(others):
      raise ValueError(
        'an NNX module may have nnx.Param and nnx.BatchStat variables, which '
        f'are trained and saved, got others: {nnx.to_pure_dict(others)}.'
      )

  def __repr__(self) -> str:
    return f'from_nnx({self._name})'

  def init(
    self, key: jax.Array, images: jax.Array, *, train: bool
  ) -> dict[str, Any]:
    """Parameters and BatchNorm statistics, in the collections of Linen."""
    from flax import nnx

    del images, train  # NNX modules know their shapes.
    module = self._make(nnx.Rngs(key))
    params, stats, _ = nnx.state(module, nnx.Param, nnx.BatchStat, ...)
    variables = {'params': nnx.to_pure_dict(params)}
    if jax.tree.leaves(stats):
      variables['batch_stats'] = nnx.to_pure_dict(stats)
    return variables

  def apply(
    self,
    variables: dict[str, Any],
    images: jax.Array,
    *,
    train: bool,
    mutable: Any = False,
    rngs: dict[str, jax.Array] | None = None,
  ) -> Any:
    """The output; with `mutable` also the new statistics, as Linen does."""
    from flax import nnx

    module = nnx.merge(
      self._graph,
      _filled(self._params, variables['params']),
      _filled(self._stats, variables.get('batch_stats', {})),
      self._keys((rngs or {}).get('dropout', jax.random.key(0))),
    )
    if train:
      module.train()
    else:
      module.eval()
    call: Any = module
    outputs = call(images)
    if mutable is False:
      return outputs
    stats = nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))
    return outputs, {'batch_stats': stats} if stats else {}

  def _keys(self, key: jax.Array) -> Any:
    """The streams of random numbers, all from one key."""
    leaves, structure = jax.tree.flatten(self._random)
    filled = [
      jax.random.fold_in(key, place)
      if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
      else jnp.zeros(leaf.shape, leaf.dtype)
      for place, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(structure, filled)


def from_nnx(make: Callable[[nnx.Rngs], nnx.Module]) -> NnxModel:
  """An NNX module for the trainer.

  ``module(images)`` gives logits. In training ``module.train()`` comes before,
  in evaluation ``module.eval()``, which is what Dropout and BatchNorm heed; the
  key of Dropout is that of the step.

  >>> from flax import nnx
  >>> from imbsam_jax import models
  >>> net = models.from_nnx(lambda rngs: nnx.Linear(4, 3, rngs=rngs))
  >>> variables = net.init(jax.random.key(0), jnp.zeros((1, 4)), train=False)
  >>> net.apply(variables, jnp.zeros((2, 4)), train=True).shape
  (2, 3)

  Args:
    make: Makes the module from ``nnx.Rngs``, ``lambda rngs: Net(rngs=rngs)``.

  Returns:
    A model that `training.make_train_step`, `training.create_train_state` and
    `experiment.build` take in the place of a Linen module.

  Raises:
    ValueError: If the module has variables that are neither `nnx.Param` nor
      `nnx.BatchStat`.
  """
  return NnxModel(make)


def _filled(template: Any, values: dict[str, Any]) -> Any:
  """A state of the structure of `template` with the arrays of a dictionary."""
  from flax import nnx

  structure = jax.tree.structure(template)
  filled = jax.tree.map(lambda x: x, template)
  nnx.replace_by_pure_dict(filled, values)
  if jax.tree.structure(filled) != structure:
    raise ValueError(f'the variables do not fit the module: {values}.')
  return filled
