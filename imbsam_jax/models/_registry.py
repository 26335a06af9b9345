# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Models by name, for configuration files."""

from typing import Any
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
from imbsam_jax.models import _trunk_classifier
from imbsam_jax.models import _vision_transformer
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
  'vit_tiny_patch4',
  'vit_small_patch4',
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

# Width and heads of DeiT's two small ones; all have 12 blocks.
_TRANSFORMERS = {'vit_tiny_patch4': (192, 3), 'vit_small_patch4': (384, 6)}

MODEL_NAMES: tuple[str, ...] = (*_MODELS, *_TRANSFORMERS)


def create_model(
  name: ModelName,
  *,
  num_classes: int,
  norm: _normalization.NormName | None = None,
  head: _heads.HeadName = 'linear',
  head_scale: float = 1.0,
  dtype: DTypeLike = jnp.float32,
  image_size: int | tuple[int, int] = 32,
) -> _classifier.Classifier:
  """Model of a name, with its default widths.

  Args:
    name: `'mlp'`, `'small_conv_net'`, `'strided_conv_net'`, `'resnet20'`,
      `'resnet32'`, `'resnet34'` or `'wide_resnet28_10'`; for images of about
      224x224 `'resnet50'` or `'resnext50'`; `'vit_tiny_patch4'` or
      `'vit_small_patch4'`, Vision Transformers for images of about 32x32 with
      the width, depth and heads of DeiT-Ti (192, 12, 3) and DeiT-S (384, 12, 6)
      of `Touvron et al. <https://arxiv.org/abs/2012.12877>`_, ICML 2021, on
      patches of 4x4: 5,362,762 and 21,342,346 parameters with 10
      classes, 0.37 and 1.42 billion multiplications for an image.
    num_classes: Number of classes.
    norm: `'batch'`, `'dar_batch'`, `'group'` or `'none'` (not for the ResNets),
      see `Normalization`. None is the model's own: `'none'` for the MLP
      and the transformers, which have no other, `'group'` for the small
      networks, `'batch'` for the ResNets.
    head: `'linear'`, `'cosine'` or `'scaled_cosine'`; `'etf'` or `'prototypes'`
      for directions that are not learned (`EtfHead`, `PrototypeHead`), after a
      learned affine map that ReLU features need to reach them. All but
      `'linear'` and `'scaled_cosine'` need a loss with a scale. `'etf'` needs
      features of at least `num_classes` - 1 entries.
    head_scale: Factor of the cosines of `'scaled_cosine'`, such as 25.
    dtype: Dtype of the computation up to the features. Parameters and logits
      are float32.
    image_size: Size of the images, an integer or height and width. Transformers
      alone read it, whose positions are for one size.

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
  if name not in MODEL_NAMES:
    words = ', '.join(repr(word) for word in MODEL_NAMES)
    raise ValueError(
      f'`name` must be one of {words}, got {name!r}. Use '
      "name='small_conv_net' to start with; other networks are Flax modules "
      'of your own.'
    )
  if name in _TRANSFORMERS:
    width, num_heads = _TRANSFORMERS[name]
    trunk = _vision_transformer.VisionTransformer(
      width=width,
      depth=12,
      num_heads=num_heads,
      mlp_width=4 * width,
      patch_size=4,
      image_size=image_size,
      dtype=dtype,
    )
    return _trunk_classifier.TrunkClassifier(
      num_classes, norm=norm, head=head, head_scale=head_scale, trunk=trunk
    )
  model = _MODELS[name]
  options: dict[str, Any] = {'head': head, 'head_scale': head_scale}
  if norm is not None:
    options['norm'] = norm
  return model(num_classes, dtype=dtype, **options)
