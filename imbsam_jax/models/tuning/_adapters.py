# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`AdaptFormer` and `Adapter`: a small network beside or behind the MLP."""

import dataclasses
import math
from typing import ClassVar
from typing import Self

from flax import linen as nn
import jax
import jax.numpy as jnp

from imbsam_jax import _checks
from imbsam_jax import _initializers
from imbsam_jax.models import _layer_norm
from imbsam_jax.models.tuning import _tuning

# Its own, that of PyTorch, whatever the trunk has.
_EPSILON = 1e-5


class _Bottleneck(nn.Module):
  """``relu(LN(X) W_d + b_d) W_u + b_u``, times a learned scalar or not."""

  width: int
  scaled: bool

  @nn.compact
  def __call__(self, tokens: jax.Array) -> jax.Array:
    dtype, size = tokens.dtype, tokens.shape[-1]

    def dense(width, name, kernel_init):
      return nn.Dense(width, dtype=dtype, kernel_init=kernel_init, name=name)

    normed = _layer_norm.LayerNorm(_EPSILON, dtype, name='norm')(tokens)
    # Of variance 1 / (3 width), as the uniform kernels of PyTorch.
    down = dense(
      self.width, 'down', _initializers.scaled_normal(1 / 3, 'fan_in')
    )
    up = dense(size, 'up', nn.initializers.zeros_init())
    outputs = up(nn.relu(down(normed.astype(dtype))))
    if not self.scaled:
      return outputs
    scale = self.param('scale', nn.initializers.ones_init(), (), jnp.float32)
    return scale.astype(dtype) * outputs


@dataclasses.dataclass(frozen=True)
class _Adapters(_tuning.Tuning):
  needs: ClassVar[_tuning.Needs] = 'blocks'

  bottleneck: int | None = None

  def __post_init__(self) -> None:
    """Checks the number."""
    if self.bottleneck is not None:
      _checks.integer(
        'bottleneck',
        self.bottleneck,
        hint='Pass bottleneck=4, for example, or None for that of LIFT.',
      )

  def resolved(self, *, num_classes: int, depth: int) -> Self:
    """The description with a number for the bottleneck, `lift_bottleneck`."""
    if self.bottleneck is not None:
      return self
    return dataclasses.replace(
      self, bottleneck=lift_bottleneck(num_classes, depth)
    )

  def check_resolved(self) -> None:
    """Refuses a bottleneck that follows from the number of classes."""
    if self.bottleneck is None:
      raise ValueError(
        '`bottleneck` follows from the number of classes, which a trunk by '
        f'itself does not know. Pass {type(self).__name__}(bottleneck=4), or '
        'give the tuning to models.TrunkClassifier.'
      )


class AdaptFormer(_Adapters):
  r"""A bottleneck beside the MLP of each block.

  .. math::
    X_{l+1} = U + \mathrm{MLP}(\mathrm{LN}(U)) + s\, (\mathrm{relu}(
      \mathrm{LN}_a(U) W_d + b_d) W_u + b_u)

  Chen et al., `AdaptFormer: Adapting Vision Transformers for Scalable Visual
  Recognition <https://arxiv.org/abs/2205.13535>`_, NeurIPS 2022, as LIFT (Shi
  et al., `Long-Tail Learning with Foundation Model: Heavy Fine-Tuning Hurts
  <https://arxiv.org/abs/2309.10019>`_, ICML 2024) trains it: with a
  normalization of its own (epsilon 1e-5) and a learned scalar s. W_u and the
  biases start at 0, so that the trunk starts as it was; W_d is normal of
  variance 1 / (3 width), s is 1.

  Leaves of the trunk: `block{l}/adaptformer` with `norm`, `down`, `up` and
  `scale`, ``L (2 D + 2 D r + r + D + 1)`` numbers.

  .. note::
    The authors of AdaptFormer have s = 0.1 fixed, a bottleneck of 64 and no
    normalization.

  Attributes:
    bottleneck: Number r of hidden units; None is LIFT's for the number of
      classes, `lift_bottleneck`.
  """

  def trains(self, path: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    """See `Tuning.trains`."""
    del parts
    return path[1:2] == ('adaptformer',)

  def adjust(
    self, site: str, inputs: jax.Array, outputs: jax.Array
  ) -> jax.Array:
    """See `Tuning.adjust`."""
    if site != 'mlp':
      return outputs
    bottleneck = _Bottleneck(
      self.bottleneck or 1, scaled=True, name='adaptformer'
    )
    return outputs + bottleneck(inputs)


class Adapter(_Adapters):
  """A bottleneck behind the MLP of each block: m + A(m) for its output m.

  ``A(m) = relu(LN_a(m) W_d + b_d) W_u + b_u``, as LIFT has it. Houlsby et al.,
  `Parameter-Efficient Transfer Learning for NLP
  <https://arxiv.org/abs/1902.00751>`_, ICML 2019. It starts as `AdaptFormer`,
  without a scalar. Leaves of the trunk: `block{l}/adapter` with `norm`, `down`
  and `up`.

  Attributes:
    bottleneck: See `AdaptFormer`.
  """

  def trains(self, path: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    """See `Tuning.trains`."""
    del parts
    return path[1:2] == ('adapter',)

  def adjust(
    self, site: str, inputs: jax.Array, outputs: jax.Array
  ) -> jax.Array:
    """See `Tuning.adjust`."""
    del inputs
    if site != 'mlp':
      return outputs
    bottleneck = _Bottleneck(self.bottleneck or 1, scaled=False, name='adapter')
    return outputs + bottleneck(outputs)


def lift_bottleneck(num_classes: int, depth: int) -> int:
  """LIFT's width of a bottleneck: ``2^floor(log2(C / (2 L)))``, at least 1.

  >>> lift_bottleneck(100, depth=12), lift_bottleneck(8142, depth=12)
  (4, 256)

  Args:
    num_classes: Number C of classes.
    depth: Number L of blocks.
  """
  return 2 ** max(0, math.floor(math.log2(num_classes / (2 * depth))))
