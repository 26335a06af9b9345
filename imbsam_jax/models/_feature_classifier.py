# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`FeatureClassifier`, a head on features that were computed before."""

from collections.abc import Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax.models import _classifier
from imbsam_jax.models import _normalization
from imbsam_jax.models import _residual


class FeatureClassifier(_classifier.Classifier):
  """A head alone: its inputs are features, such as those of a frozen trunk.

  Its parameters are `classifier`, those of the head. Features stay as they are,
  whatever `dtype` is.
  """

  allowed_norms: ClassVar[tuple[str, ...]] = ('none',)

  norm: _normalization.NormName = 'none'

  def branches(
    self,
    x: ArrayLike,
    *,
    train: bool,
    suffixes: Sequence[str] = ('',),
    own: _residual.Own = 'stage',
  ) -> tuple[jax.Array, ...]:
    """The features, see `Classifier.branches`."""
    del train, own
    if tuple(suffixes) != ('',):
      raise ValueError(
        'features that were computed before have no last layers, of which '
        'branches would have their own. Train the network that made them, '
        'without a cache of features.'
      )
    return (_classifier.as_floats(x, jnp.float32),)
