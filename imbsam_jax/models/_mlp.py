# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Multi-layer perceptron, on flattened inputs of any shape."""

from collections.abc import Sequence

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax import _initializers
from imbsam_jax.models import _classifier
from imbsam_jax.models import _normalization
from imbsam_jax.models import _residual


class MLP(_classifier.Classifier):
  """Fully connected layers with ReLU, on flattened inputs of any shape.

  Each layer is dense (He normal kernel), normalization, ReLU. A layer followed
  by a normalization has no bias.

  Attributes:
    num_classes: Number of classes.
    norm: `'none'`, `'batch'`, `'dar_batch'` or `'group'`, see `Normalization`.
    head: `'linear'` or `'cosine'`.
    dtype: Dtype of the computation up to the features.
    widths: Numbers of hidden units, a layer each; the last is the width of the
      features. Empty: the head reads the input.

  Examples:
    >>> import jax, jax.numpy as jnp
    >>> from imbsam_jax import models
    >>> model = models.MLP(num_classes=3, widths=(16,))
    >>> x = jnp.ones([5, 4])
    >>> variables = model.init(jax.random.key(0), x, train=False)
    >>> model.apply(variables, x, train=False).shape
    (5, 3)
    >>> model.apply(variables, x, train=False, method='features').shape
    (5, 16)
  """

  norm: _normalization.NormName = 'none'
  widths: Sequence[int] = (128, 128)

  def __post_init__(self) -> None:
    """Checks the attributes when the model is made, not at its first call."""
    # A tuple, because Flax modules are hashed when they are static arguments.
    self.widths = tuple(self.widths)
    for width in self.widths:
      _checks.integer(
        'widths', width, hint='Pass widths=(128, 128), for example.'
      )
    super().__post_init__()

  @nn.compact
  def branches(
    self,
    x: ArrayLike,
    *,
    train: bool,
    suffixes: Sequence[str] = ('',),
    own: _residual.Own = 'stage',
  ) -> tuple[jax.Array, ...]:
    """Activations of the last hidden layer.

    Args:
      x: Float array, normalized, shape ``[batch, ...]``.
      train: Whether batch normalization uses and updates batch statistics.
      suffixes: See `Classifier.branches`.
      own: Not read: a branch has its last layer for itself.

    Returns:
      For each suffix a float32 array, shape ``[batch, widths[-1]]``.

    Raises:
      TypeError: If `x` is not a float array.
      ValueError: If `x` has no axis after the batch, or there are two branches
        and no layer.
    """
    del own
    x = _classifier.as_floats(x, self.dtype)
    x = x.reshape(x.shape[0], -1)
    if not self.widths and len(suffixes) > 1:
      raise ValueError(
        'without layers an MLP has none that two branches could have each for '
        'itself. Pass widths=(128, 128), for example.'
      )

    def apply(x, layers, suffix):
      for i, width in layers:
        x = nn.Dense(
          width,
          use_bias=self.norm == 'none',
          kernel_init=_initializers.he_normal(),
          dtype=self.dtype,
          name=f'dense{i}{suffix}',
        )(x)
        x = _normalization.Normalization(
          self.norm, dtype=self.dtype, name=f'norm{i}{suffix}'
        )(x, train=train)
        x = nn.relu(x)
      return x

    layers = list(enumerate(self.widths, start=1))
    trunk = apply(x, layers[:-1], '')
    return tuple(
      apply(trunk, layers[-1:], suffix).astype(jnp.float32)
      for suffix in suffixes
    )
