# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`Ssf`: scales and shifts behind the operations of a block."""

from collections.abc import Sequence
import dataclasses
from typing import ClassVar

from flax import linen as nn
import jax
import jax.numpy as jnp

from imbsam_jax import _initializers
from imbsam_jax.models.tuning import _tuning

_SITES = {
  'attention': ('query', 'key', 'value', 'out'),
  'mlp': ('fc1', 'fc2'),
  'norms': ('norm1', 'norm2'),
}


class _ScaleAndShift(nn.Module):
  """``y g + b``, entry by entry of a token."""

  @nn.compact
  def __call__(self, outputs: jax.Array) -> jax.Array:
    shape = outputs.shape[2:]
    noise = _initializers.normal(0.02)

    def around_one(key, shape, dtype):
      return 1 + noise(key, shape, dtype)

    scale = self.param('scale', around_one, shape, jnp.float32)
    shift = self.param('shift', noise, shape, jnp.float32)
    scale, shift = (x.astype(outputs.dtype)[None, None] for x in (scale, shift))
    return outputs * scale + shift


@dataclasses.dataclass(frozen=True)
class Ssf(_tuning.Tuning):
  """What operations give is scaled and shifted: ``y <- y g + b``.

  Lian et al., `Scaling & Shifting Your Features: A New Baseline for Efficient
  Model Tuning <https://arxiv.org/abs/2210.08823>`_, NeurIPS 2022. g starts as
  normal of mean 1 and deviation 0.02, b of mean 0: the trunk does **not** start
  as it was.

  Leaves of the trunk: `scale` and `shift` in `block{l}/attention/ssf_query`,
  `ssf_key`, `ssf_value` and `ssf_out`, `block{l}/mlp/ssf_fc1` and `ssf_fc2`,
  `block{l}/ssf_norm1` and `ssf_norm2`; for each block ``8 D``, ``2 (M + D)``
  and ``4 D`` numbers.

  Attributes:
    where: Which operations: of `'attention'` the maps to queries, keys and
      values and the last one, of the `'mlp'` both, and both `'norms'`.
  """

  needs: ClassVar[_tuning.Needs] = 'blocks'

  where: Sequence[str] = ('attention', 'mlp', 'norms')

  def __post_init__(self) -> None:
    """Checks the words."""
    where = (self.where,) if isinstance(self.where, str) else tuple(self.where)
    unknown = [word for word in where if word not in _SITES]
    if unknown or not where:
      raise ValueError(
        f'`where` must name some of {", ".join(map(repr, _SITES))}, got '
        f"{self.where!r}. Pass where=('attention', 'mlp', 'norms')."
      )
    # A tuple in this order: descriptions are compared, and hashed.
    object.__setattr__(
      self, 'where', tuple(word for word in _SITES if word in where)
    )

  def trains(self, path: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    """See `Tuning.trains`."""
    del parts
    return any(name.startswith('ssf_') for name in path)

  def adjust(
    self, site: str, inputs: jax.Array, outputs: jax.Array
  ) -> jax.Array:
    """See `Tuning.adjust`."""
    del inputs
    if not any(site in _SITES[word] for word in self.where):
      return outputs
    return _ScaleAndShift(name=f'ssf_{site}')(outputs)
