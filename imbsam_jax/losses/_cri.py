# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The class-rebalancing loss with a correction term."""

import math
from typing import Any
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax.losses import _cross_entropy
from imbsam_jax.losses import _ldam
from imbsam_jax.losses import _mixed

_MODES = ('zero', 'fix', 'decrease')


def cri_loss(
  logits: ArrayLike,
  labels: Any,
  class_counts: ArrayLike,
  *,
  max_margin: float = 0.1,
  scale: float = 30.0,
  gamma: float = 1.0,
  cutoff: float | None = None,
  mode: Literal['zero', 'fix', 'decrease'] = 'zero',
) -> jax.Array:
  r"""CRI: a focal LDAM that lets go of examples it cannot learn.

  Xu et al., `Phased Progressive Learning with Coupling-Regulation-Imbalance
  Loss for Imbalanced Data Classification <https://arxiv.org/abs/2205.12117>`_,
  arXiv 2022. With :math:`\ell` the loss of LDAM and :math:`p = e^{-\ell}`, it
  is :math:`f = (1 - p)^\gamma \ell`, and above :math:`f_T = -(1 - T)^\gamma
  \log T`, where p < T, it becomes 0 ('zero'), f_T ('fix') or :math:`f_T \,
  e^{-f} / T` ('decrease').

  Args:
    logits: Float array of cosines, shape ``[B, C]``, see `models.CosineHead`.
    labels: Int array, shape ``[B]``, values in ``[0, C)``, or `MixedLabels`.
    class_counts: Numbers, shape ``[C]``; only their ratios count. A class with
      0 leaves the denominator.
    max_margin: Margin of the rarest class, >= 0.
    scale: Scale s > 0.
    gamma: Focal exponent >= 0; 0 without cutoff is LDAM. The defaults are the
      authors' for CIFAR-10; CIFAR-100 has margin 0.2, scale 10, gamma 1.5.
    cutoff: Probability T in (0, 1); None cuts nothing.
    mode: Loss of examples below the cutoff: 'zero', 'fix' or 'decrease'.

  Returns:
    Float32 array, shape ``[B]``, not reduced.

  Raises:
    ValueError: If `gamma` is negative, `cutoff` is outside (0, 1), or `mode` is
      unknown.

  .. note::
    The authors' code cuts the mean over the batch, at T = 1e-50, which the loss
    cannot reach; here the cut acts per example.
  """
  _checks.number('gamma', gamma, low=0)
  if cutoff is not None:
    _checks.number('cutoff', cutoff, above=0, below=1)
  if mode not in _MODES:
    raise ValueError(
      f'`mode` must be one of {", ".join(map(repr, _MODES))}, got {mode!r}.'
    )
  logits = _checks.float_logits(logits)
  labels = _mixed.check_labels(labels, logits)

  def loss_of(labels):
    loss = _ldam.ldam_loss(
      logits, labels, class_counts, max_margin=max_margin, scale=scale
    )
    focal = _cross_entropy.modulator(loss, gamma) * loss
    return focal if cutoff is None else _cut(focal, gamma, cutoff, mode)

  return _mixed.mixed(loss_of, labels)


def _cut(
  focal: jax.Array, gamma: ArrayLike, cutoff: ArrayLike, mode: str
) -> jax.Array:
  # A concrete T on the host: 1e-50 is a number there.
  on_host = isinstance(cutoff, int | float)
  log_cutoff: Any = math.log(cutoff) if on_host else jnp.log(cutoff)
  limit = -((1.0 - cutoff) ** gamma) * log_cutoff
  match mode:
    case 'zero':
      instead: Any = 0.0
    case 'fix':
      instead = limit
    case _:
      # The loss above the limit, masked where it could overflow unused.
      beyond = jnp.maximum(focal, limit)
      instead = limit * jnp.exp(-beyond - log_cutoff)
  return jnp.where(focal <= limit, focal, instead)
