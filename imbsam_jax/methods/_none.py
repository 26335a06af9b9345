# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The choice `none` of several fields, which is no method."""

from imbsam_jax.methods import _part
from imbsam_jax.methods import _registry


def none(setup: _part.Setup) -> _part.Part:
  """Nothing."""
  del setup
  return _part.Part()


for _axis in ('weights', 'mixing', 'scheme', 'penalty'):
  _registry.choice('none', axis=_axis)(none)
