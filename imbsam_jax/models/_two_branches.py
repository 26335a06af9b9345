# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`TwoBranches`, a network whose last stage is there twice."""

import typing

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax.models import _bbn
from imbsam_jax.models import _classifier
from imbsam_jax.models import _residual

_SUFFIXES = ('', '_second')


class TwoBranches(_classifier.Classifier):
  """A network with two branches, and one classifier on the features of both.

  The network of BBN (Zhou et al., `BBN: Bilateral-Branch Network with
  Cumulative Learning for Long-Tailed Visual Recognition
  <https://arxiv.org/abs/1912.02413>`_, CVPR 2020) and of DBN-Mix. Its features
  are those of the conventional and of the re-balancing branch, one after the
  other, and its logits those of `bbn_logits` at ``alpha=0.5``: BBN's inference,
  in which one image passes through both.

  The parameters of the trunk and of both branches are ``params['network']``,
  where the layers of the second branch end in ``_second``.

  .. note::
    BBN shares all but the last residual block, as ``own='block'`` does. The
    default is the last stage, a third of a CIFAR ResNet; in ResNet-32 a block
    is a fifteenth.

  Attributes:
    network: Network whose last layers are doubled. Its head is not used;
      `num_classes`, `norm`, `head` and `dtype` are what it has.
    own: What each branch has for itself, `'stage'` or `'block'`, see
      `Classifier.branches`.

  Examples:
    >>> import jax, jax.numpy as jnp
    >>> from imbsam_jax import models
    >>> network = models.MLP(num_classes=3, widths=(8, 4))
    >>> model = models.TwoBranches(network=network)
    >>> x = jnp.ones([2, 5])
    >>> variables = model.init(jax.random.key(0), x, train=False)
    >>> sorted(variables['params']['network'])
    ['dense1', 'dense2', 'dense2_second']
    >>> model.apply(variables, x, x, 0.9, train=False, method='fused').shape
    (2, 3)
  """

  num_classes: int = 0
  network: nn.Module | None = None
  own: _residual.Own = 'stage'

  def __post_init__(self) -> None:
    """Checks the attributes when the model is made, not at its first call."""
    network = _classifier.checked_network(
      self.network, maker='a network of two branches', writes='branches'
    )
    kind = type(network)
    if (
      kind.branches is _classifier.Classifier.branches
      or kind.features is not _classifier.Classifier.features
    ):
      raise TypeError(
        f'{kind.__name__} writes `features`, which does not say where its last '
        'stage begins. Write `branches` instead, as models.SmallConvNet does.'
      )
    if self.own not in typing.get_args(_residual.Own):
      raise ValueError(
        f"`own` must be 'stage' or 'block', got {self.own!r}. Use "
        "own='block' for branches as small as those of BBN."
      )
    for name in _classifier.OF_NETWORK:
      setattr(self, name, getattr(network, name))
    super().__post_init__()

  def features(self, x: ArrayLike, *, train: bool) -> jax.Array:
    """Features of both branches: the trunk is passed once.

    Args:
      x: Float array, normalized, shape ``[batch, height, width, channels]``.
      train: Whether batch normalization uses and updates batch statistics.

    Returns:
      Float32 array, shape ``[batch, 2 * dim]``.
    """
    return jnp.concatenate(self._branches(x, _SUFFIXES, train=train), axis=1)

  def fused(
    self,
    conventional: ArrayLike,
    rebalancing: ArrayLike,
    alpha: ArrayLike,
    *,
    train: bool,
  ) -> jax.Array:
    """Logits of pairs, one of each stream: ``apply(..., method='fused')``.

    Each half passes the trunk by itself, and then its own branch. Batch
    normalization of the trunk sees the conventional rows first and the others
    then: its running statistics are those of both.

    Args:
      conventional: Float array, normalized, shape ``[batch, height, width,
        channels]``: rows of the natural stream.
      rebalancing: Float array of that shape: rows of the reversed stream.
      alpha: Share in [0, 1] of the conventional branch, a scalar or one per
        pair; may be traced.
      train: Whether batch normalization uses and updates batch statistics.

    Returns:
      Float32 array, shape ``[batch, num_classes]``, see `bbn_logits`.

    Raises:
      TypeError: If an argument is not a float array.
      ValueError: If shapes do not fit, or `alpha` is outside of [0, 1].
    """
    first, second = (
      self._branches(x, (suffix,), train=train)[0]
      for x, suffix in zip((conventional, rebalancing), _SUFFIXES, strict=True)
    )
    return self.classifier(_bbn.fused_features(first, second, alpha))

  @nn.nowrap
  def _branches(
    self, x: ArrayLike, suffixes: tuple[str, ...], *, train: bool
  ) -> tuple[jax.Array, ...]:
    network = typing.cast(_classifier.Classifier, self.network)
    return network.branches(x, train=train, suffixes=suffixes, own=self.own)
