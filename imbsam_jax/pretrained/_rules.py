# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rules: which tensor of a file a leaf of our tree is, and how it is turned."""

from collections.abc import Callable
from collections.abc import Sequence
import math
from typing import NamedTuple

import numpy as np

Turn = Callable[[np.ndarray], np.ndarray]


class Rule(NamedTuple):
  """Where a leaf comes from.

  Attributes:
    leaf: Collection and path in our tree.
    key: Key of the tensor in the file.
    shape: Shape that the tensor must have.
    turn: Makes the leaf of the tensor; of shapes and views alone, so that it
      works on a tensor that holds no memory.
    gain: Key of a tensor that the last axis of the leaf is multiplied by,
      LayerScale; None if there is none.
  """

  leaf: tuple[str, ...]
  key: str
  shape: tuple[int, ...]
  turn: Turn
  gain: str | None = None


class Dims(NamedTuple):
  """Sizes of a ViT.

  Attributes:
    width: Entries of a token, D.
    depth: Number of blocks.
    mlp_width: Width of the hidden layer of a block.
    patch_size: Height and width of a patch.
    num_rows: Rows of the position embeddings, with that of the class token.
    num_heads: Number of attention heads.
    embedding: Columns of the projection; 0 without one.
  """

  width: int
  depth: int
  mlp_width: int
  patch_size: int
  num_rows: int
  num_heads: int
  embedding: int = 0


def as_it_is(array: np.ndarray) -> np.ndarray:
  """The tensor itself."""
  return array


def transposed(array: np.ndarray) -> np.ndarray:
  """``[out, in]`` to ``[in, out]``."""
  return array.T


def convolution(array: np.ndarray) -> np.ndarray:
  """``[out, in, height, width]`` to ``[height, width, in, out]``."""
  return array.transpose(2, 3, 1, 0)


def reshaped(*shape: int) -> Turn:
  """Another shape, in C order."""
  return lambda array: array.reshape(shape)


def heads_in(num_heads: int, part: int = 0, parts: int = 1) -> Turn:
  """Part `part` of `parts` of ``[parts D, D]`` or ``[parts D]``, by heads.

  ``[D, D]``, out and in, becomes ``[D, heads, D / heads]``, and a bias ``[D]``
  becomes ``[heads, D / heads]``.
  """

  def turn(array: np.ndarray) -> np.ndarray:
    width = array.shape[0] // parts
    array = array[part * width : (part + 1) * width].T
    return array.reshape(*array.shape[:-1], num_heads, width // num_heads)

  return turn


def heads_out(num_heads: int) -> Turn:
  """``[D, D]``, out and in, to ``[heads, D / heads, D]``."""

  def turn(array: np.ndarray) -> np.ndarray:
    width = array.shape[0]
    return array.T.reshape(num_heads, width // num_heads, width)

  return turn


def shape_of(rule: Rule) -> tuple[int, ...]:
  """Shape of the leaf, for a tensor that has the shape of the rule."""
  # All entries are one and the same: no memory is taken, whatever the shape.
  return rule.turn(np.broadcast_to(np.float32(0), rule.shape)).shape


def size_of(rules: Sequence[Rule]) -> int:
  """Number of parameters of leaves."""
  return sum(math.prod(shape_of(rule)) for rule in rules)
