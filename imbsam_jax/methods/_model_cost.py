# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a pass of a network costs that was made of another one."""

from typing import Any

from flax import linen as nn
import jax

from imbsam_jax import models


def ratio(
  model: nn.Module,
  network: nn.Module,
  images: jax.ShapeDtypeStruct,
  *,
  beside: float = 0.0,
  **options: Any,
) -> float:
  """Multiplications of a pass of `model`, in passes of `network`.

  Args:
    model: What is trained.
    network: What it was made of.
    images: Shape and dtype of its input, ``[rows, ...]``.
    beside: Number of further multiplications for these rows.
    **options: Further arguments of a call of `model`, such as ``method=``.
  """
  whole = _of_pass(model, images, **options) + beside
  return whole / max(_of_pass(network, images), 1)


def _of_pass(
  model: nn.Module, images: jax.ShapeDtypeStruct, **options: Any
) -> int:
  key = jax.eval_shape(lambda: jax.random.key(0))
  variables = jax.eval_shape(
    lambda key, x: model.init(key, x, train=False), key, images
  )
  return models.multiplications(
    lambda variables, x: model.apply(variables, x, train=False, **options),
    variables,
    images,
  )
