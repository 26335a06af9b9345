# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What no weight file says: activation, epsilon, heads, normalization."""

from typing import Literal
from typing import NamedTuple

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_CLIP = (
  (0.48145466, 0.4578275, 0.40821073),
  (0.26862954, 0.26130258, 0.27577711),
)

Kind = Literal['vit', 'clip', 'resnet']
Activation = Literal['gelu', 'gelu_tanh', 'quick_gelu']
ACTIVATIONS: tuple[Activation, ...] = ('gelu', 'gelu_tanh', 'quick_gelu')


class Preset(NamedTuple):
  """How the weights of a trunk are to be used.

  A field that is None is not fixed: it comes from the file, or is not checked.

  Attributes:
    name: Name of the preset.
    kind: `'vit'`, `'clip'` (a ViT with a normalization before its blocks), or
      `'resnet'`.
    mean: Mean of each channel that images of values in [0, 1] are normalized
      by.
    std: Standard deviation of each channel, likewise.
    activation: `'gelu'` (the exact one), `'gelu_tanh'` or `'quick_gelu'`; None
      for a ResNet.
    epsilon: What layer normalization adds to the variance; None for a ResNet.
    num_heads: Number of attention heads; None is `width` / 64.
    image_size: Height and width of images in pre-training.
    patch_size: Height and width of a patch.
    width: Entries of a token.
    depth: Number of blocks.
  """

  name: str
  kind: Kind
  mean: tuple[float, float, float]
  std: tuple[float, float, float]
  activation: Activation | None = None
  epsilon: float | None = None
  num_heads: int | None = None
  image_size: int | None = None
  patch_size: int | None = None
  width: int | None = None
  depth: int | None = None


_B16 = dict(num_heads=12, image_size=224, patch_size=16, width=768, depth=12)

# By name. 'vit_b16_in21k' is AugReg's, without fine-tuning on ImageNet-1k;
# 'clip_vit_b16' OpenAI's; 'resnet50' torchvision's and timm's. The others fix
# no sizes: 'vit' is the default of Google's, timm's and Hugging Face's names,
# 'dinov2' of those with LayerScale, 'clip' of CLIP's; 'open_clip' is for
# weights of LAION, which have the exact GELU.
PRESETS: dict[str, Preset] = {
  preset.name: preset
  for preset in (
    Preset('vit', 'vit', *_HALVES, 'gelu', 1e-6),
    Preset('vit_b16_in21k', 'vit', *_HALVES, 'gelu', 1e-6, **_B16),
    Preset('dinov2', 'vit', *_IMAGENET, 'gelu', 1e-6),
    Preset('clip', 'clip', *_CLIP, 'quick_gelu', 1e-5),
    Preset('clip_vit_b16', 'clip', *_CLIP, 'quick_gelu', 1e-5, **_B16),
    Preset('open_clip', 'clip', *_CLIP, 'gelu', 1e-5),
    Preset('resnet50', 'resnet', *_IMAGENET, image_size=224),
  )
}


def preset_of(preset: str | Preset | None, default: str) -> Preset:
  """The preset that is meant.

  Args:
    preset: A name, a preset, or None for the default.
    default: Name of the preset that files of the format have.

  Raises:
    ValueError: If there is none of this name.
  """
  if isinstance(preset, Preset):
    return preset
  name = default if preset is None else preset
  if name not in PRESETS:
    words = ', '.join(repr(word) for word in PRESETS)
    raise ValueError(
      f'`preset` must be a pretrained.Preset or one of {words}, got {name!r}. '
      f'Leave it out for {default!r}, which goes with the names in the file.'
    )
  return PRESETS[name]
