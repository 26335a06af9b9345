# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`Tuning`, what all ways of tuning a trunk have."""

from collections.abc import Callable
import dataclasses
from typing import Any
from typing import ClassVar
from typing import Literal
from typing import Self

import jax

# Makes a parameter of the module that is being called: `nn.Module.param`.
Param = Callable[..., Any]

Needs = Literal['blocks', 'parts', 'nothing']


@dataclasses.dataclass(frozen=True)
class Tuning:
  """Which leaves of a trunk are trained, and which are added to it.

  A description without arrays, to compare and to hash. A Vision Transformer
  calls its hooks, which change nothing here; a method overrides those of the
  places where it does.

  Attributes:
    needs: What it tunes of a trunk: `'blocks'` of a transformer; `'parts'`,
      which are those blocks or the stages of a residual network; or
      `'nothing'` in particular, for any trunk.
    num_prompts: Number of tokens that are added.
  """

  needs: ClassVar[Needs] = 'nothing'

  @property
  def num_prompts(self) -> int:
    """Number of tokens that are added."""
    return 0

  def trains(self, path: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    """Whether a leaf of the trunk is trained.

    Args:
      path: Names of the leaf within the parameters of the trunk, such as
        ``('block0', 'mlp', 'fc1', 'bias')``.
      parts: Names of the blocks of the trunk, or of its stages, from the
        images on.
    """
    raise NotImplementedError(type(self).__name__)

  def resolved(self, *, num_classes: int, depth: int) -> Self:
    """The description with all that depends on the task filled in.

    Args:
      num_classes: Number of classes.
      depth: Number of blocks of the trunk.
    """
    del num_classes, depth
    return self

  def check_resolved(self) -> None:
    """Refuses a description in which something is to be filled in.

    Raises:
      ValueError: If the method depends on the task and does not say how.
    """

  def before_blocks(
    self, tokens: jax.Array, *, param: Param, patch_size: int
  ) -> jax.Array:
    """Hook: tokens that enter the first block.

    Args:
      tokens: Float array, shape ``[batch, tokens, width]``.
      param: Makes a parameter of the trunk.
      patch_size: Side of a patch in pixels.
    """
    del param, patch_size
    return tokens

  def before_block(
    self, tokens: jax.Array, *, param: Param, patch_size: int, num_tokens: int
  ) -> jax.Array:
    """Hook: tokens that enter a block.

    Args:
      tokens: Float array, shape ``[batch, tokens, width]``.
      param: Makes a parameter of the block.
      patch_size: Side of a patch in pixels.
      num_tokens: Number of tokens that are the trunk's own, the first ones.
    """
    del param, patch_size, num_tokens
    return tokens

  def adjust(
    self, site: str, inputs: jax.Array, outputs: jax.Array
  ) -> jax.Array:
    """Hook: what an operation within a block gives.

    It is called in the scope of the module that has the operation, of which
    modules made here become parts.

    Args:
      site: Name of the operation: `'norm1'`, `'query'`, `'key'`, `'value'`,
        `'out'`, `'norm2'`, `'fc1'`, `'fc2'` or `'mlp'`, which is the whole of
        the second half of a block without its shortcut.
      inputs: Float array that the operation has read, ``[batch, tokens, ...]``.
      outputs: Float array that it has given.

    Returns:
      An array of the shape and dtype of `outputs`.
    """
    del site, inputs
    return outputs


def in_parts(path: tuple[str, ...], parts: tuple[str, ...]) -> bool:
  """Whether a leaf belongs to one of some blocks or stages.

  Args:
    path: Names of the leaf within the parameters of the trunk.
    parts: Names of blocks, or of stages, whose blocks are ``stage1_block1``.
  """
  return any(
    path[0] == part or path[0].startswith(f'{part}_') for part in parts
  )
