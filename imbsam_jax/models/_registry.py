# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Models by name, for configuration files."""

from typing import Literal

import jax.numpy as jnp
from jax.typing import DTypeLike

from imbsam_jax.models import _cifar_resnet
from imbsam_jax.models import _classifier
from imbsam_jax.models import _conv_net
from imbsam_jax.models import _heads
from imbsam_jax.models import _mlp
from imbsam_jax.models import _normalization
from imbsam_jax.models import _resnet50
from imbsam_jax.models import _wide_resnet

ModelName = Literal[
  'mlp',
  'small_conv_net',
  'strided_conv_net',
  'resnet20',
  'resnet32',
  'resnet34',
  'wide_resnet28_10',
  'resnet50',
  'resnext50',
]

_MODELS: dict[str, type[_classifier.Classifier]] = {
  'mlp': _mlp.MLP,
  'small_conv_net': _conv_net.SmallConvNet,
  'strided_conv_net': _conv_net.StridedConvNet,
  'resnet20': _cifar_resnet.ResNet20,
  'resnet32': _cifar_resnet.ResNet32,
  'resnet34': _cifar_resnet.CifarResNet34,
  'wide_resnet28_10': _wide_resnet.WideResNet28x10,
  'resnet50': _resnet50.ResNet50,
  'resnext50': _resnet50.ResNeXt50,
}

MODEL_NAMES: tuple[str, ...] = tuple(_MODELS)


def create_model(
  name: ModelName,
  *,
  num_classes: int,
  norm: _normalization.NormName | None = None,
  head: _heads.HeadName = 'linear',
  dtype: DTypeLike = jnp.float32,
) -> _classifier.Classifier:
  """Model of a name, with its default widths.

  Args:
    name: `'mlp'`, `'small_conv_net'`, `'strided_conv_net'`, `'resnet20'`,
      `'resnet32'`, `'resnet34'` or `'wide_resnet28_10'`; for images of about
      224x224 `'resnet50'` or `'resnext50'`.
    num_classes: Number of classes.
    norm: `'batch'`, `'dar_batch'`, `'group'` or `'none'` (not for the ResNets),
      see `Normalization`. None is the model's own: `'none'` for the MLP,
      `'group'` for the small network, `'batch'` for the ResNets.
    head: `'linear'` or `'cosine'`; `'etf'` or `'prototypes'` for directions
      that are not learned (`EtfHead`, `PrototypeHead`), after a learned affine
      map that ReLU features need to reach them. All but `'linear'` need a loss
      with a scale. `'etf'` needs features of at least `num_classes` - 1
      entries.
    dtype: Dtype of the computation up to the features. Parameters and logits
      are float32.

  Returns:
    A Flax module: ``model.apply(variables, x, train=...)`` takes normalized
    float images ``[batch, height, width, channels]`` to float32 logits
    ``[batch, num_classes]``.

  Raises:
    ValueError: If `name`, `norm` or `head` is unknown, the model does not have
      this `norm`, or `num_classes` is below 1.
    TypeError: If `dtype` is not a float dtype.

  Examples:
    >>> from imbsam_jax import models
    >>> model = models.create_model('resnet32', num_classes=100, norm='group')
    >>> model.norm, model.stage_sizes
    ('group', (5, 5, 5))
  """
  if name not in _MODELS:
    words = ', '.join(repr(word) for word in MODEL_NAMES)
    raise ValueError(
      f'`name` must be one of {words}, got {name!r}. Use '
      "name='small_conv_net' to start with; other networks are Flax modules "
      'of your own.'
    )
  model = _MODELS[name]
  if norm is None:
    return model(num_classes, head=head, dtype=dtype)
  return model(num_classes, norm=norm, head=head, dtype=dtype)
