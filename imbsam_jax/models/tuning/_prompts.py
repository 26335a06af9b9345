# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`VptShallow` and `VptDeep`: prompts, tokens that are learned."""

from collections.abc import Callable
import dataclasses
import math
import typing
from typing import ClassVar
from typing import Literal

import jax
import jax.numpy as jnp

from imbsam_jax import _checks
from imbsam_jax import _initializers
from imbsam_jax.models.tuning import _tuning

InitName = Literal['uniform', 'normal']


@dataclasses.dataclass(frozen=True)
class _Prompts(_tuning.Tuning):
  needs: ClassVar[_tuning.Needs] = 'blocks'

  prompts: int = 10
  init: InitName = 'uniform'

  def __post_init__(self) -> None:
    """Checks the attributes."""
    _checks.integer(
      'prompts', self.prompts, low=0, hint='Pass prompts=10, for example.'
    )
    if self.init not in typing.get_args(InitName):
      raise ValueError(
        f"`init` must be 'uniform' or 'normal', got {self.init!r}. Use "
        "init='uniform', or 'normal' for that of GNM-PT."
      )

  @property
  def num_prompts(self) -> int:
    """Number of tokens that are added."""
    return self.prompts

  def trains(self, path: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    """See `Tuning.trains`."""
    del parts
    return path[-1] == 'prompts'

  def _appended(
    self, tokens: jax.Array, param: _tuning.Param, patch_size: int
  ) -> jax.Array:
    """The tokens, and prompts behind them."""
    if not self.prompts:
      return tokens
    batch, _, width = tokens.shape
    prompts = param(
      'prompts', self._initializer(patch_size, width), (self.prompts, width)
    ).astype(tokens.dtype)
    rows = jnp.broadcast_to(prompts, (batch, *prompts.shape))
    return jnp.concatenate([tokens, rows], axis=1)

  def _initializer(
    self, patch_size: int, width: int
  ) -> Callable[..., jax.Array]:
    if self.init == 'normal':
      return _initializers.truncated_normal(0.02)
    return _initializers.uniform(math.sqrt(6 / (3 * patch_size**2 + width)))


class VptShallow(_Prompts):
  """Prompts behind the tokens of the image, before the first block.

  ``X_0 <- [X_0; P]``: P learned tokens, which see and are seen in every block.
  Jia et al., `Visual Prompt Tuning <https://arxiv.org/abs/2203.12119>`_, ECCV
  2022. Leaf of the trunk: `prompts`, ``[P, width]``, 7,680 numbers in ViT-B/16.

  .. note::
    The authors put prompts between the class token and the patches, LIFT and
    GNM-PT behind both. Prompts have no positions: the features are the same.

  Attributes:
    prompts: Number P of prompts.
    init: `'uniform'`, between -b and b with ``b^2 = 6 / (3 patch_size^2 +
      width)``, as the authors and LIFT have it; or `'normal'`, truncated, of
      0.02, that of GNM-PT.
  """

  def before_blocks(
    self, tokens: jax.Array, *, param: _tuning.Param, patch_size: int
  ) -> jax.Array:
    """See `Tuning.before_blocks`."""
    return self._appended(tokens, param, patch_size)


class VptDeep(_Prompts):
  """Prompts of its own for each block, in the place of those before.

  ``X_l <- [X_l without prompts; P_l]`` for every block l. Jia et al., `Visual
  Prompt Tuning <https://arxiv.org/abs/2203.12119>`_, ECCV 2022; what GNM-PT
  trains. Leaves of the trunk: `block{l}/prompts`, ``[P, width]``, together
  92,160 numbers in ViT-B/16. See `VptShallow` for where they are put.

  A step costs about 2.2 forward passes.

  Attributes:
    prompts: Number P of prompts of a block.
    init: See `VptShallow`.
  """

  def before_block(
    self,
    tokens: jax.Array,
    *,
    param: _tuning.Param,
    patch_size: int,
    num_tokens: int,
  ) -> jax.Array:
    """See `Tuning.before_block`."""
    return self._appended(tokens[:, :num_tokens], param, patch_size)
