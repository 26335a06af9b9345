# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Class weights that are powers of the counts."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np

from imbsam_jax import _checks
from imbsam_jax.weights import _normalize


def power_weights(class_counts: ArrayLike, *, power: float = 1.0) -> jax.Array:
  r"""Class weights :math:`w_c \propto n_c^{-power}`, with sum C.

  >>> print(power_weights([1, 3]))
  [1.5 0.5]

  Args:
    class_counts: Positive numbers, shape ``[C]``, concrete; only their ratios
      count.
    power: Exponent: 1 is inverse frequency; 1.2 is generalized re-weighting,
      with which MARC is fitted (Wang et al., ACML 2022); 0 gives ones. From 0
      to 1 over the epochs is PPW, `schedules.progressive_weights`.

  Returns:
    Float32 array, shape ``[C]``, computed in float64 on the host.

  Raises:
    TypeError: If an argument is traced or not a number.
    ValueError: If `power` is not finite, or a count is not positive.
  """
  counts = _checks.host_counts(class_counts)
  power = _checks.host_number('power', power)
  logs = -power * np.log(counts)
  weights = np.exp(logs - logs.max())
  return jnp.asarray(_normalize.host_normalized(weights), jnp.float32)
