# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How many multiplications a function takes, without compiling it."""

from collections.abc import Callable
import math
from typing import Any

import jax


def multiplications(function: Callable[..., Any], *arguments: Any) -> int:
  """Number of multiplications in the matrix products and convolutions.

  What a network costs beside another one: half of the FLOPs of its compiled
  forward pass, less all that goes entry by entry.

  >>> import jax, jax.numpy as jnp
  >>> weights = jnp.ones([3, 4])
  >>> multiplications(lambda x: x @ weights, jnp.ones([2, 3]))
  24

  Args:
    function: Function of arrays; loops in it count once.
    *arguments: Arrays or `jax.ShapeDtypeStruct`.
  """
  return _of_jaxpr(jax.make_jaxpr(function)(*arguments).jaxpr)


def _of_jaxpr(jaxpr: Any) -> int:
  return sum(map(_of_equation, jaxpr.eqns))


def _of_equation(equation: Any) -> int:
  if equation.primitive.name == 'dot_general':
    left, _ = (variable.aval.shape for variable in equation.invars)
    (contracted, _), _ = equation.params['dimension_numbers']
    return _size(equation) * math.prod(left[axis] for axis in contracted)
  if equation.primitive.name == 'conv_general_dilated':
    kernel = equation.invars[1].aval.shape
    features = kernel[equation.params['dimension_numbers'].rhs_spec[0]]
    return _size(equation) * math.prod(kernel) // features
  inner = jax.tree.leaves(
    list(equation.params.values()), is_leaf=lambda x: hasattr(x, 'eqns')
  )
  inside = [_of_jaxpr(x) for x in map(_opened, inner) if hasattr(x, 'eqns')]
  # Branches of a condition: the dearest one.
  return max(inside, default=0)


def _opened(value: Any) -> Any:
  """The jaxpr of a closed one; else the value."""
  return getattr(value, 'jaxpr', value)


def _size(equation: Any) -> int:
  return math.prod(equation.outvars[0].aval.shape)
