# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training of some leaves, with the others frozen."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from imbsam_jax import _masks


def train_only(
  tx: optax.GradientTransformation, trainable: _masks.Mask
) -> optax.GradientTransformationExtraArgs:
  """Runs a whole chain on some leaves; the others stay as they are.

  For second stages: cRT, LWS and MARC (Kang et al., `Decoupling Representation
  and Classifier for Long-Tailed Recognition
  <https://arxiv.org/abs/1910.09217>`_, ICLR 2020; Wang et al., `Margin
  Calibration for Long-Tailed Visual Recognition
  <https://arxiv.org/abs/2112.07225>`_, ACML 2022) train a classifier on a
  frozen network.

  `tx` sees trees from which the frozen leaves are gone (None stands in their
  place). So they have no optimizer state and no weight decay, do not count in
  the norms of clipping, and are not perturbed by the library's links, whose
  radius goes to the trainable leaves alone:

  >>> import jax.numpy as jnp, optax
  >>> from imbsam_jax import sam
  >>> params = {'backbone': jnp.ones(3), 'head': jnp.ones(2)}
  >>> tx = train_only(
  ...   optax.chain(sam(0.05), optax.add_decayed_weights(5e-4),
  ...               optax.sgd(0.1, momentum=0.9)),
  ...   {'backbone': False, 'head': True})
  >>> def grad_fn(params, group):
  ...   return params  # Gradient of half the squared norm.
  >>> updates, state = tx.update(
  ...   grad_fn(params, 0), tx.init(params), params, grad_fn=grad_fn)
  >>> print(updates['head'].round(4), abs(updates['backbone']))
  [-0.1036 -0.1036] [0. 0. 0.]

  Args:
    tx: Any chain, also one that begins with `sam` or another link of this
      library. Masks within it may be trees like all of the parameters, or
      functions, which get the tree without frozen leaves.
    trainable: Tree of bools like the parameters (or a prefix of it), or a
      function from parameters to one. True is trained.

  Returns:
    An `optax.GradientTransformationExtraArgs` for whole trees. Frozen leaves
    get the update -0.0, which changes no number, not even -0.0. Its state is
    that of `tx` on the trainable leaves.

    Its ``grad_fn`` is that of the whole tree, such as `gradient_oracle` makes
    it; `tx` gets one that fills in the frozen leaves. Other extra arguments are
    passed on as they are.

  Raises:
    TypeError: If `trainable` holds something else than bools.
    ValueError: If `trainable` does not fit the parameters, or none is
      trainable.

  .. note::
    Only parameters are frozen. Batch statistics are no parameters: apply the
    model with ``train=False``, or the frozen network changes all the same.

  .. note::
    Under `jax.jit` gradients of frozen leaves are dead code where nothing but
    this link reads them: the backward pass stops at the lowest trainable leaf.
  """
  chain = optax.with_extra_args_support(tx)

  def init_fn(params: optax.Params) -> optax.OptState:
    return chain.init(_keep(params, _flags(trainable, params)))

  def update_fn(
    updates: optax.Updates,
    state: Any,
    params: Any = None,
    *,
    grad_fn: Any = None,
    **extra_args: Any,
  ) -> tuple[optax.Updates, optax.OptState]:
    flags = _flags(trainable, updates if params is None else params)
    part = None if params is None else _keep(params, flags)
    if callable(grad_fn) and params is not None:
      grad_fn = _TrainableGradients(grad_fn, params, flags)
    if grad_fn is not None:
      extra_args['grad_fn'] = grad_fn
    new_updates, state = chain.update(
      _keep(updates, flags), state, part, **extra_args
    )
    zeros = jax.tree.map(lambda u: jnp.full_like(u, -0.0), updates)
    return _fill(new_updates, zeros, flags), state

  return optax.GradientTransformationExtraArgs(init_fn, update_fn)


class _TrainableGradients:
  """A gradient oracle of the whole tree, as one of the trainable leaves.

  What else the oracle has, such as `num_groups` and `value`, it has too, and
  nothing that the oracle has not.
  """

  def __init__(self, grad_fn: Any, params: Any, flags: Sequence[bool]):
    self._grad_fn = grad_fn
    self._params = params
    self._flags = flags

  def __call__(self, part: Any, group: int) -> Any:
    # The very arrays go through, so that oracles know their own parameters.
    return _keep(self._grad_fn(self._whole(part), group), self._flags)

  def __getattr__(self, name: str) -> Any:
    attribute = getattr(self._grad_fn, name)
    if name == 'total':
      return lambda part: _keep(attribute(self._whole(part)), self._flags)
    if name == 'apart':
      return lambda parts: [
        _keep(one, self._flags)
        for one in attribute([self._whole(part) for part in parts])
      ]
    return attribute

  def _whole(self, part: Any) -> Any:
    return _fill(part, self._params, self._flags)


def _flags(trainable: _masks.Mask, params: Any) -> list[bool]:
  """Whether each leaf of `params` is trained."""
  tree = trainable(params) if callable(trainable) else trainable
  for flag in jax.tree.leaves(tree):
    if not isinstance(flag, (bool, np.bool_)):
      raise TypeError(
        f'`trainable` must hold bools, got {flag!r}. Pass True for leaves that '
        'are trained and False for frozen ones.'
      )
  flags = jax.tree.leaves(_masks.resolve_mask('trainable', tree, params))
  if not any(flags):
    raise ValueError(
      '`trainable` must be True for at least one leaf, got none. Leave the '
      'optimizer out to train nothing.'
    )
  return flags


def _keep(tree: Any, flags: Sequence[bool]) -> Any:
  """`tree` with None in the place of frozen leaves."""
  leaves, structure = jax.tree.flatten(tree)
  if len(leaves) != len(flags):
    raise ValueError(
      '`train_only` needs updates and gradients with the structure of the '
      f'parameters, got {len(leaves)} leaves for {len(flags)} parameters.'
    )
  return structure.unflatten(
    [x if flag else None for x, flag in zip(leaves, flags, strict=True)]
  )


def _fill(part: Any, whole: Any, flags: Sequence[bool]) -> Any:
  """`whole` with its trainable leaves replaced by those of `part`."""
  leaves, structure = jax.tree.flatten(whole)
  trained = iter(jax.tree.leaves(part))
  return structure.unflatten(
    [
      next(trained) if flag else x
      for x, flag in zip(leaves, flags, strict=True)
    ]
  )
