# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`Correction`: what is made of the logits of a trained network."""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from flax import struct
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np

from imbsam_jax import _cosine
from imbsam_jax import calibration

# Those that look at the features, and not at the logits.
_ON_FEATURES = ('tau_normalization', 'ncm', 'crt')


@struct.dataclass
class Correction:
  """A function from what a network gives to the logits of its classes.

  ``softmax(correction(features, logits))`` are the probabilities. It is a
  pytree of its numbers, which a jitted function takes as an argument:
  corrections of one method share a compiled program.

  Attributes:
    method: 'none', a method of `calibrate`, or 'target_prior', which adds an
      offset to the logit of each class.
    arrays: What the method has fitted, float32: 'logit_adjustment' has 'tau'
      and 'log_prior' ``[C]``, -inf of classes without examples;
      'tau_normalization' a 'kernel' ``[D, C]``; 'ncm' the 'means' ``[C, D]``;
      'lws' a 'scale' ``[C]``; 'marc' a 'scale' and a 'shift' ``[C]``; 'crt' a
      'kernel' and a 'bias'; 'target_prior' an 'offset' ``[C]``.
    temperature: What the corrected logits are divided by, above 0.
    metric: How 'ncm' measures closeness, 'euclidean' or 'cosine'; else None.
  """

  method: str = struct.field(pytree_node=False)
  arrays: Mapping[str, Any]
  temperature: Any = 1.0
  metric: Any = struct.field(pytree_node=False, default=None)

  def __call__(
    self, features: ArrayLike | None, logits: ArrayLike
  ) -> jax.Array:
    """Corrected logits over the temperature, float32 ``[B, C]``.

    Args:
      features: Float array, shape ``[B, D]``, what the head of the network
        reads; None is enough where `needs_features` is False.
      logits: Float array, shape ``[B, C]``, with the scale of the loss.

    Raises:
      ValueError: If the method needs features and they are None, or a shape is
        another one than that of the arrays.
    """
    if features is None and self.needs_features:
      raise ValueError(
        f'the correction {self.method!r} needs `features`, got None.'
      )
    corrected = _APPLIED[self.method](self, features, logits)
    return corrected / self.temperature

  @property
  def needs_features(self) -> bool:
    """Whether the method reads features."""
    return self.method in _ON_FEATURES

  @property
  def is_none(self) -> bool:
    """Whether it leaves logits as they are; the temperature is concrete."""
    return self.method == 'none' and float(self.temperature) == 1.0

  def excluded(self, num_classes: int) -> np.ndarray:
    """Classes whose logit it makes -inf, bool ``[C]``.

    Args:
      num_classes: Number of classes.
    """
    for name in ('log_prior', 'offset'):
      if name in self.arrays:
        return np.isneginf(np.asarray(self.arrays[name]))
    return np.zeros(num_classes, bool)


NONE = Correction('none', {})


def _none(correction: Correction, features: Any, logits: Any) -> jax.Array:
  del correction, features
  return jnp.asarray(logits, jnp.float32)


def _logit_adjustment(
  correction: Correction, features: Any, logits: Any
) -> jax.Array:
  del features
  arrays = correction.arrays
  log_prior = jnp.asarray(arrays['log_prior'])
  seen = log_prior > -jnp.inf
  # Where nothing was seen, 0 times -inf is not a number.
  shift = arrays['tau'] * jnp.where(seen, log_prior, 0.0)
  return jnp.where(seen[None], logits - shift[None], -jnp.inf)


def _linear(correction: Correction, features: Any, logits: Any) -> jax.Array:
  del logits
  kernel = correction.arrays['kernel']
  products = jnp.matmul(features, kernel, precision=_cosine.PRECISION)
  bias = correction.arrays.get('bias')
  return products if bias is None else products + jnp.asarray(bias)[None]


def _ncm(correction: Correction, features: Any, logits: Any) -> jax.Array:
  del logits
  return calibration.nearest_class_mean(
    features, correction.arrays['means'], metric=correction.metric
  )


def _lws(correction: Correction, features: Any, logits: Any) -> jax.Array:
  del features
  return calibration.lws_logits(logits, correction.arrays['scale'])


def _marc(correction: Correction, features: Any, logits: Any) -> jax.Array:
  scaled = _lws(correction, features, logits)
  return scaled + jnp.asarray(correction.arrays['shift'])[None]


def _target_prior(
  correction: Correction, features: Any, logits: Any
) -> jax.Array:
  del features
  return logits + jnp.asarray(correction.arrays['offset'])[None]


_APPLIED: dict[str, Callable[[Correction, Any, Any], Any]] = {
  'none': _none,
  'logit_adjustment': _logit_adjustment,
  'tau_normalization': _linear,
  'ncm': _ncm,
  'lws': _lws,
  'marc': _marc,
  'crt': _linear,
  'target_prior': _target_prior,
}
