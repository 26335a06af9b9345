# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`Classifier`, the base of all models: features, then a head."""

from collections.abc import Sequence
from typing import Any
from typing import ClassVar

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jax.typing import DTypeLike

from imbsam_jax import _checks
from imbsam_jax.models import _heads
from imbsam_jax.models import _normalization
from imbsam_jax.models import _residual


def check_dtype(dtype: DTypeLike) -> None:
  """Refuses a computation dtype that is not a float dtype.

  Args:
    dtype: A dtype or its name.

  Raises:
    TypeError: If `dtype` is not a float dtype.
  """
  try:
    is_float = jnp.issubdtype(jnp.dtype(dtype), jnp.floating)
  except TypeError:  # Not a dtype at all.
    is_float = False
  if not is_float:
    raise TypeError(
      f'`dtype` must be a float dtype, got {dtype!r}. Pass dtype=jnp.float32 '
      'or dtype=jnp.bfloat16.'
    )


def as_floats(x: ArrayLike, dtype: DTypeLike) -> jax.Array:
  """The input of a model, cast to its computation dtype.

  Args:
    x: Float array, shape ``[batch, ...]``.
    dtype: Dtype of the result.

  Returns:
    `x` as an array of dtype `dtype`.

  Raises:
    TypeError: If `x` is not a float array.
    ValueError: If `x` does not have a batch axis and an axis after it.
  """
  x = jnp.asarray(x)
  if not jnp.issubdtype(x.dtype, jnp.floating):
    raise TypeError(
      f'`x` must be a float array, normalized, got dtype {x.dtype}. Scale it '
      'first: (x.astype(jnp.float32) / 255 - mean) / std for uint8 images.'
    )
  if x.ndim < 2:
    raise ValueError(
      f'`x` must have shape [batch, ...], got shape {x.shape}. Pass x[None] '
      'for a single example.'
    )
  return x.astype(dtype)


def as_images(x: ArrayLike, dtype: DTypeLike) -> jax.Array:
  """The input of a convolutional model, cast to its computation dtype.

  Args:
    x: Float array, shape ``[batch, height, width, channels]``.
    dtype: Dtype of the result.

  Returns:
    `x` as an array of dtype `dtype`.

  Raises:
    TypeError: If `x` is not a float array.
    ValueError: If `x` does not have four axes.
  """
  x = as_floats(x, dtype)
  if x.ndim != 4:
    raise ValueError(
      '`x` must have shape [batch, height, width, channels], got shape '
      f'{x.shape}. Pass x[..., None] for gray images without a channel axis, '
      'x[None] for a single image.'
    )
  return x


def average_pool(x: jax.Array) -> jax.Array:
  """Mean over height and width, in float32.

  Args:
    x: Float array, shape ``[batch, height, width, channels]``.

  Returns:
    Float32 array, shape ``[batch, channels]``.
  """
  return jnp.mean(x.astype(jnp.float32), axis=(1, 2))


class Classifier(nn.Module):
  """Base of the models: `features`, then the submodule `classifier`.

  A subclass writes `branches`, or `features` if there is no need for two
  branches (`TwoBranches`). The head's parameters are
  ``params['classifier']``, so re-training or replacing a classifier touches one
  key, and a head runs on stored features by itself:
  ``LinearHead(num_classes).apply({'params': params['classifier']}, features)``.

  Attributes:
    num_classes: Number of classes.
    norm: `'batch'`, `'dar_batch'`, `'group'` or `'none'`, see `Normalization`.
    head: `'linear'`, `'cosine'`, `'scaled_cosine'`, `'etf'` or `'prototypes'`,
      see `create_model`. `'cosine'`, `'etf'` and `'prototypes'` return raw
      cosines; the loss holds the scale, see `cosine_logits`.
    head_scale: Factor of the cosines of `'scaled_cosine'`.
    dtype: Dtype of the computation up to the features. Parameters, statistics,
      features and logits are float32.
  """

  allowed_norms: ClassVar[tuple[str, ...]] = _normalization.NORMS

  num_classes: int
  norm: _normalization.NormName = 'group'
  head: _heads.HeadName = 'linear'
  dtype: DTypeLike = jnp.float32
  head_scale: float = 1.0

  def __post_init__(self) -> None:
    """Checks the attributes when the model is made, not at its first call."""
    _checks.integer(
      'num_classes', self.num_classes, hint='Pass num_classes=10, for example.'
    )
    _normalization.check_norm(self.norm, self.allowed_norms)
    _heads.check_head(self.head)
    _checks.number('head_scale', self.head_scale, above=0)
    check_dtype(self.dtype)
    super().__post_init__()

  def setup(self) -> None:
    """Makes the head."""
    self.classifier = _heads.make_head(
      self.head, self.num_classes, scale=self.head_scale
    )

  def features(self, x: ArrayLike, *, train: bool) -> jax.Array:
    """Features that the head reads: ``apply(..., method='features')``.

    Args:
      x: Float array, normalized, shape ``[batch, height, width, channels]``.
      train: Whether batch normalization uses and updates batch statistics.

    Returns:
      Float32 array, shape ``[batch, dim]``.
    """
    (features,) = self.branches(x, train=train)
    return features

  def branches(
    self,
    x: ArrayLike,
    *,
    train: bool,
    suffixes: Sequence[str] = ('',),
    own: _residual.Own = 'stage',
  ) -> tuple[jax.Array, ...]:
    """Features of branches that have their last layers each for itself.

    The layers before them are shared, and see the rows once.

    Args:
      x: Float array, normalized, shape ``[batch, height, width, channels]``.
      train: Whether batch normalization uses and updates batch statistics.
      suffixes: For each branch what is added to the names of its own layers;
        those of ``''`` are the layers of `features`.
      own: Which layers these are: the last residual `'stage'`, or the last
        residual `'block'`. In networks without stages both are the last layer.

    Returns:
      For each suffix a float32 array, shape ``[batch, dim]``.
    """
    raise NotImplementedError(type(self).__name__)

  def features_and_logits(
    self, x: ArrayLike, *, train: bool
  ) -> tuple[jax.Array, jax.Array]:
    """Both: ``apply(..., method='features_and_logits')``.

    Args:
      x: Float array, normalized, shape ``[batch, height, width, channels]``.
      train: Whether batch normalization uses and updates batch statistics.

    Returns:
      Float32 arrays, shapes ``[batch, dim]`` and ``[batch, num_classes]``.
    """
    features = self.features(x, train=train)
    return features, self.classifier(features)

  def logits_of(self, features: ArrayLike, *, train: bool) -> jax.Array:
    """Logits of features: ``apply(..., method='logits_of')``.

    Args:
      features: Float array, shape ``[batch, dim]``, from `features`.
      train: Not read: heads are the same in training.

    Returns:
      Float32 array, shape ``[batch, num_classes]``.
    """
    del train
    return self.classifier(features)

  def __call__(
    self,
    x: ArrayLike,
    *,
    train: bool,
    noise_mask: jax.Array | None = None,
  ) -> jax.Array:
    """Logits of a batch.

    Args:
      x: Float array, normalized, shape ``[batch, height, width, channels]``.
      train: Whether batch normalization uses and updates batch statistics; then
        call ``apply`` with ``mutable=['batch_stats']``. Of the rest only
        dropout reads it.
      noise_mask: Bool array, shape ``[batch]``: rows that are noise, from
        `augment.pure_noise`. With ``norm='dar_batch'`` they have statistics of
        their own in training. With ``norm='batch'`` they count as all rows do,
        the ablation of the paper. `'group'` and `'none'` have no statistics
        across rows, so that nothing is to be kept apart.

    Returns:
      Float32 array, shape ``[batch, num_classes]``.

    Raises:
      TypeError: If `x` is not a float array, or `noise_mask` not bool.
      ValueError: If `x` has a wrong number of axes, or `noise_mask` not a bool
        for each row.
    """
    if noise_mask is not None:
      num_rows = jnp.atleast_1d(x).shape[0]
      noise_mask = _checks.row_mask('noise_mask', noise_mask, num_rows)
    with _normalization.noise_rows(noise_mask):
      features = self.features(x, train=train)
    return self.classifier(features)


# What a model around a network has from it.
OF_NETWORK = ('num_classes', 'norm', 'head', 'dtype', 'head_scale')


def checked_network(network: Any, *, maker: str, writes: str) -> Classifier:
  """A network that another model is made of.

  Args:
    network: What was passed as the attribute `network`.
    maker: Name of the other model, for the message.
    writes: Method that it calls.

  Raises:
    TypeError: If it is no `Classifier`.
  """
  if not isinstance(network, Classifier):
    raise TypeError(
      f'{maker} is made of a models.Classifier, which tells its features from '
      f'its head, got {type(network).__name__}. Make yours a subclass: class '
      f'Net(models.Classifier), with a method `{writes}`.'
    )
  return network
