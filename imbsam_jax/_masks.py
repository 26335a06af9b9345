# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Masks of parameter trees: some leaves, and not others."""

from collections.abc import Callable
from typing import Any

import jax
import optax

Mask = Any | Callable[[optax.Params], Any]


def resolve_mask(name: str, mask: Mask, params: optax.Params) -> Any:
  """A tree of Python bools like `params`, from a mask, a prefix or a rule.

  Raises:
    ValueError: If the mask has another structure than the parameters.
  """
  tree = mask(params) if callable(mask) else mask
  try:
    return jax.tree.map(
      lambda flag, subtree: jax.tree.map(lambda _: bool(flag), subtree),
      tree,
      params,
    )
  except ValueError as error:
    raise ValueError(
      f'`{name}` must be a tree of bools with the structure of the parameters '
      '(or a prefix of it), or a function from parameters to such a tree, got '
      f'{jax.tree.structure(tree)} for parameters of '
      f'{jax.tree.structure(params)}.'
    ) from error
