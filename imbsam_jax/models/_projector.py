# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`Projected`, a network with a second, contrastive head."""

import typing

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jax.typing import DTypeLike

from imbsam_jax import _checks
from imbsam_jax import _cosine
from imbsam_jax import _initializers
from imbsam_jax.models import _classifier
from imbsam_jax.models import _normalization


class Projector(nn.Module):
  """Two dense layers to rows of length 1: dense, norm, ReLU, dense.

  Kernels are He normal, then normal of variance 1 / width; the first layer has
  a bias only without a normalization.

  Attributes:
    dim: Number of entries of a row.
    norm: See `Normalization`.
    dtype: Dtype of the computation; the result is float32.
  """

  dim: int
  norm: _normalization.NormName = 'batch'
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, features: jax.Array, *, train: bool) -> jax.Array:
    """Projections of a batch of features.

    Args:
      features: Float array, shape ``[batch, width]``.
      train: Whether batch normalization uses and updates batch statistics.

    Returns:
      Float32 array, shape ``[batch, dim]``, rows of length 1; a row that would
      be zero stays zero.
    """
    x = nn.Dense(
      features.shape[-1],
      use_bias=self.norm == 'none',
      kernel_init=_initializers.he_normal(),
      dtype=self.dtype,
      name='dense1',
    )(features)
    x = _normalization.Normalization(self.norm, dtype=self.dtype, name='norm1')(
      x, train=train
    )
    x = nn.Dense(
      self.dim,
      kernel_init=_initializers.scaled_normal(1.0, 'fan_in'),
      dtype=self.dtype,
      name='dense2',
    )(nn.relu(x))
    return _cosine.unit_rows(x.astype(jnp.float32))


class Projected(_classifier.Classifier):
  """A network, and beside its classifier a projector for contrastive losses.

  Features and logits are those of the network. The projector, a `Projector` on
  the features, is for training alone. Parameters: ``params['network']``,
  ``params['projector']`` and, as ever, ``params['classifier']``.

  Attributes:
    network: Network whose features are projected. Its head is not used;
      `num_classes`, `norm`, `head` and `dtype` are what it has.
    dim: Number of entries of a projection.

  Examples:
    >>> import jax, jax.numpy as jnp
    >>> from imbsam_jax import models
    >>> network = models.MLP(num_classes=3, widths=(4,))
    >>> model = models.Projected(network=network)
    >>> x = jnp.ones([2, 5])
    >>> variables = model.init(jax.random.key(0), x, train=False)
    >>> logits, projections = model.apply(
    ...   variables, x, train=False, method='logits_and_projections'
    ... )
    >>> logits.shape, projections.shape
    ((2, 3), (2, 128))
  """

  num_classes: int = 0
  network: nn.Module | None = None
  dim: int = 128

  def __post_init__(self) -> None:
    """Checks the attributes when the model is made, not at its first call."""
    network = _classifier.checked_network(
      self.network, maker='a network with a projector', writes='features'
    )
    _checks.integer('dim', self.dim, hint='Pass dim=128, for example.')
    for name in _classifier.OF_NETWORK:
      setattr(self, name, getattr(network, name))
    super().__post_init__()

  def setup(self) -> None:
    """Makes the head and the projector."""
    super().setup()
    self.projector = Projector(self.dim, norm=self.norm, dtype=self.dtype)

  def features(self, x: ArrayLike, *, train: bool) -> jax.Array:
    """Features of the network.

    Args:
      x: Float array, normalized, shape ``[batch, height, width, channels]``.
      train: Whether batch normalization uses and updates batch statistics.

    Returns:
      Float32 array, shape ``[batch, dim of the network]``.
    """
    network = typing.cast(_classifier.Classifier, self.network)
    features = network.features(x, train=train)
    if self.is_initializing():
      self.projector(features, train=train)
    return features

  def logits_and_projections(
    self, x: ArrayLike, *, train: bool
  ) -> tuple[jax.Array, jax.Array]:
    """Both: ``apply(..., method='logits_and_projections')``.

    Args:
      x: Float array, normalized, shape ``[batch, height, width, channels]``.
      train: Whether batch normalization uses and updates batch statistics.

    Returns:
      Float32 arrays, shapes ``[batch, num_classes]`` and ``[batch, dim]``, the
      latter with rows of length 1.
    """
    features = self.features(x, train=train)
    return self.classifier(features), self.projector(features, train=train)
