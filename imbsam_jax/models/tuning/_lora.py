# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`Lora`: a product of two thin matrices beside those of queries and values."""

import dataclasses
import math
from typing import ClassVar

from flax import linen as nn
import jax
import jax.numpy as jnp

from imbsam_jax import _checks
from imbsam_jax import _initializers
from imbsam_jax.models.tuning import _tuning

_SITES = ('query', 'value')


class _LowRank(nn.Module):
  """``scale (Y A) B``."""

  rank: int
  scale: float
  bound: float
  shape: tuple[int, ...]

  @nn.compact
  def __call__(self, tokens: jax.Array) -> jax.Array:
    down = self.param(
      'down',
      _initializers.uniform(self.bound),
      (tokens.shape[-1], self.rank),
      jnp.float32,
    ).astype(tokens.dtype)
    up = self.param(
      'up',
      nn.initializers.zeros_init(),
      (self.rank, *self.shape),
      jnp.float32,
    ).astype(tokens.dtype)
    return self.scale * jnp.tensordot(tokens @ down, up, 1)


@dataclasses.dataclass(frozen=True)
class Lora(_tuning.Tuning):
  """Products of low rank are added to the maps of queries and of values.

  ``Q <- Q + s (Y A_q) B_q`` and the same of V, where Y are the normalized
  tokens that both read: as if ``W_q`` were ``W_q + s A_q B_q``. Hu et al.,
  `LoRA: Low-Rank Adaptation of Large Language Models
  <https://arxiv.org/abs/2106.09685>`_, ICLR 2022. B starts at 0, so that the
  trunk starts as it was.

  Leaves of the trunk: `block{l}/attention/lora_query` and `lora_value` with
  `down` ``[width, rank]`` and `up` ``[rank, num_heads, width / num_heads]``,
  together ``4 D r L`` numbers.

  Attributes:
    rank: Number r of columns of A.
    scale: Factor s; None is ``1 / rank``, that of LIFT. The authors have
      ``alpha / rank`` with an alpha of their choice.
    init: How A starts, uniform between -b and b: `'inputs'` has b = 1 /
      sqrt(width), as the authors; `'rank'` has b = 1 / sqrt(rank), as LIFT,
      whose code passes its matrix as PyTorch would have the transposed one: 14
      times as much in ViT-B/16 with rank 4.
  """

  needs: ClassVar[_tuning.Needs] = 'blocks'

  rank: int = 4
  scale: float | None = None
  init: str = 'inputs'

  def __post_init__(self) -> None:
    """Checks the attributes."""
    _checks.integer('rank', self.rank, hint='Pass rank=4, for example.')
    if self.scale is not None:
      _checks.number(
        'scale', self.scale, above=0, hint='Pass None for 1 / rank.'
      )
    if self.init not in ('inputs', 'rank'):
      raise ValueError(
        f"`init` must be 'inputs' or 'rank', got {self.init!r}. Use "
        "init='inputs', or 'rank' for that of LIFT."
      )

  def trains(self, path: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    """See `Tuning.trains`."""
    del parts
    return path[2:3] in tuple((f'lora_{site}',) for site in _SITES)

  def adjust(
    self, site: str, inputs: jax.Array, outputs: jax.Array
  ) -> jax.Array:
    """See `Tuning.adjust`."""
    if site not in _SITES:
      return outputs
    fan = inputs.shape[-1] if self.init == 'inputs' else self.rank
    return outputs + _LowRank(
      self.rank,
      1 / self.rank if self.scale is None else self.scale,
      1 / math.sqrt(fan),
      outputs.shape[2:],
      name=f'lora_{site}',
    )(inputs)
