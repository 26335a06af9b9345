# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Position embeddings on the grid of another image size."""

from collections.abc import Callable
import math
from typing import get_args
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

PositionRule = Literal[
  'bicubic_antialias',
  'bicubic',
  'bilinear',
  'bilinear_antialias',
  'bilinear_align_corners',
]
POSITION_RULES: tuple[PositionRule, ...] = get_args(PositionRule)

# Rules that `jax.image.resize` has: its method, and whether it averages over
# the support of a smaller grid.
_OF_JAX = {
  'bicubic_antialias': ('cubic', True),
  'bilinear': ('linear', False),
  'bilinear_antialias': ('linear', True),
}
# The sharpness a of the cubic kernel in PyTorch; JAX, and PyTorch with
# antialias, have -0.5.
_SHARPNESS = -0.75


def resize_positions(
  positions: jax.Array | np.ndarray,
  grid: tuple[int, int],
  *,
  old_grid: tuple[int, int] | None = None,
  rule: PositionRule = 'bicubic_antialias',
) -> jax.Array:
  """Position embeddings interpolated to another grid of patches.

  Row 0 belongs to the class token and stays as it is. The others are a grid in
  row-major order; each axis of it is multiplied by a matrix of weights. With
  ``s = old / new`` and half-pixel centers, entry i lies at ``s (i + 1/2) -
  1/2`` of the old axis:

  - `'bicubic_antialias'`: cubic kernel, a = -1/2, as wide as s where the grid
    shrinks, weights renormalized at the edge. timm for its own weight files,
    open_clip; PyTorch's ``interpolate(mode='bicubic', antialias=True)``.
  - `'bicubic'`: 4 taps, a = -3/4, the border repeated. Hugging Face with
    ``interpolate_pos_encoding=True``, DINOv2; PyTorch without antialias.
  - `'bilinear'`: 2 taps, the border repeated. timm for ``.npz`` files.
  - `'bilinear_antialias'`: triangle as wide as s where the grid shrinks.
  - `'bilinear_align_corners'`: 2 taps at ``i (old - 1) / (new - 1)``, corners
    on corners. Google's vision_transformer and big_vision, by
    ``scipy.ndimage.zoom(order=1)``, for square grids only.

  .. note::
    The rules disagree by more than rounding: a DINOv2 trunk of 518 pixels gave
    features that were 0.36 apart at 224. Take the rule of the code whose
    numbers you compare with.

  >>> import numpy as np
  >>> from imbsam_jax import pretrained
  >>> pretrained.resize_positions(np.ones((1 + 4 * 4, 8)), (3, 5)).shape
  (16, 8)

  Args:
    positions: Float array, shape ``[1 + rows * columns, width]``.
    grid: Rows and columns of the new grid.
    old_grid: Rows and columns of the old grid; None if it is square.
    rule: One of `POSITION_RULES`.

  Returns:
    Float32 array, shape ``[1 + grid[0] * grid[1], width]``; `positions` itself,
    as float32, if the grid is the old one.

  Raises:
    ValueError: If the rule is not known, a grid has no rows or columns, or the
      rows of `positions` are not one more than the old grid has.
  """
  check_rule(rule)
  if min(grid) < 1:
    raise ValueError(
      f'`grid` must have a row and a column at least, got {grid}. An image of '
      '224 pixels with patches of 16 has (14, 14).'
    )
  if old_grid is None:
    old_grid = square_grid(positions.shape[0], '`positions`')
  if positions.shape[0] != 1 + old_grid[0] * old_grid[1]:
    raise ValueError(
      f'`positions` must have 1 + {old_grid[0]} * {old_grid[1]} rows, got '
      f'{positions.shape[0]}. The first is that of the class token.'
    )
  positions = jnp.asarray(positions, jnp.float32)
  if tuple(grid) == tuple(old_grid):
    return positions
  width = positions.shape[1]
  patches = positions[1:].reshape(*old_grid, width)
  if rule in _OF_JAX:
    method, antialias = _OF_JAX[rule]
    patches = jax.image.resize(
      patches,
      (*grid, width),
      method=method,
      antialias=antialias,
      precision=jax.lax.Precision.HIGHEST,
    )
  else:
    taps = _cubic_taps if rule == 'bicubic' else _corner_taps
    rows, columns = (
      _matrix(old, new, taps) for old, new in zip(old_grid, grid, strict=True)
    )
    patches = np.einsum(
      'ai,bj,ijd->abd', rows, columns, np.asarray(patches), optimize=True
    )
    patches = jnp.asarray(patches, jnp.float32)
  return jnp.concatenate([positions[:1], patches.reshape(-1, width)])


def check_rule(rule: str) -> None:
  """Refuses a rule that is not known.

  Args:
    rule: Word to check.

  Raises:
    ValueError: If it is not one of `POSITION_RULES`.
  """
  if rule not in POSITION_RULES:
    words = ', '.join(repr(word) for word in POSITION_RULES)
    raise ValueError(
      f'The rule for `positions` must be one of {words}, got {rule!r}. Take '
      "'bicubic_antialias', which is timm's, if in doubt."
    )


def square_grid(num_rows: int, name: str) -> tuple[int, int]:
  """Rows and columns of the square grid behind position embeddings.

  Args:
    num_rows: Rows of the embeddings, that of the class token among them.
    name: Whose they are, for the message.

  Raises:
    ValueError: If it is not one more than a square.
  """
  side = math.isqrt(max(num_rows - 1, 0))
  if side < 1 or side * side != num_rows - 1:
    raise ValueError(
      f'{name} must have a row for the class token and a square of patches, '
      f'got {num_rows} rows. 1 + 14 * 14 = 197 rows are a 224 px image with '
      'patches of 16.'
    )
  return side, side


def _matrix(
  old: int,
  new: int,
  taps: Callable[[int, int], tuple[np.ndarray, np.ndarray]],
) -> np.ndarray:
  """Weights, shape ``[new, old]``, from those of a few neighbors of a place."""
  places, weights = taps(old, new)
  matrix = np.zeros((new, old))
  rows = np.arange(new)[:, None]
  np.add.at(matrix, (rows, np.clip(places, 0, old - 1)), weights)
  return matrix


def _cubic_taps(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
  """Four neighbors and the weights of Keys' kernel, half-pixel centers."""
  center = (np.arange(new) + 0.5) * old / new - 0.5
  places = np.floor(center).astype(int)[:, None] + np.arange(-1, 3)
  x, a = np.abs(center[:, None] - places), _SHARPNESS
  near = (a + 2) * x**3 - (a + 3) * x**2 + 1
  far = a * (x**3 - 5 * x**2 + 8 * x - 4)
  return places, np.where(x <= 1, near, far)


def _corner_taps(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
  """Two neighbors and their weights, corners on corners."""
  center = np.arange(new) * ((old - 1) / max(new - 1, 1))
  # The last one is the corner itself, whatever rounding says.
  left = np.minimum(np.floor(center).astype(int), max(old - 2, 0))
  share = center - left
  return (
    np.stack([left, left + 1], axis=1),
    np.stack([1 - share, share], axis=1),
  )
