# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Networks that are like ours, and are not: known by their keys."""

from collections.abc import Iterable
import re

# A pattern of keys, and why they cannot be read. What the text tower of a CLIP
# has is not looked at.
_REASONS = (
  (
    r'(.*\.)?(dist_token|distillation_token)|head_dist\..*',
    'a distilled DeiT, which has two class tokens. Take the DeiT of the same '
    'size without distillation',
  ),
  (
    r'(.*\.)?(reg_token|register_tokens)',
    'a ViT with registers, more tokens beside the class token. Take the one '
    'without registers',
  ),
  (
    r'(.*\.)?fc_norm\..*',
    'a ViT whose features are means of the patches (MAE, BEiT), and whose last '
    'normalization is of them. Take one with a class token',
  ),
  (
    r'.*relative_position_bias.*',
    'a BEiT or Swin Transformer, with relative positions in its attention. '
    'Take a ViT with position embeddings',
  ),
  (
    r'(.*[./])?(attn_pool|attnpool|MAPHead_0)([./].*)?|vision_model\.head\..*',
    'a SigLIP, or the ResNet of a CLIP, whose features are pooled by '
    'attention. Take the ViT of a CLIP',
  ),
  (
    r'(.*/)?(conv_root|block1/unit1)(/.*)?|(.*\.)?patch_embed\.backbone\..*',
    'a hybrid, whose patches come from a ResNet, or a ResNet of BiT. Take a '
    'ViT on patches of the image',
  ),
  (
    r'.*\.mlp\.(w12|w3|weights_in|weights_out)\..*',
    'a ViT with SwiGLU, another MLP. Take one with GELU',
  ),
  (
    r'.*\.attn\.(q_norm|k_norm|q_bias|v_bias)(\..*)?',
    'a ViT with another attention. Take one whose query, key and value have a '
    'bias and no normalization',
  ),
  (
    r'conv1\.0\.weight',
    "a ResNet with a stem of three convolutions ('resnet50d'). Take 'resnet50'",
  ),
  (
    r'layer[0-9]+\.[0-9]+\.se\..*',
    "a ResNet with squeeze-and-excitation. Take 'resnet50'",
  ),
)


def check(keys: Iterable[str], path: str) -> None:
  """Refuses files of networks that would be read wrongly.

  Args:
    keys: Keys of the file.
    path: Path of the file.

  Raises:
    ValueError: If one of the keys belongs to such a network.
  """
  keys = sorted(keys)
  for pattern, reason in _REASONS:
    for key in keys:
      if re.fullmatch(pattern, key):
        raise ValueError(f'{path} has {key!r}: it is {reason}.')


def check_timm(keys: frozenset[str], path: str) -> None:
  """Refuses a ViT of timm's whose attention has no bias.

  Args:
    keys: Keys of the file.
    path: Path of the file.

  Raises:
    ValueError: If no block has one.
  """
  kernels = [key for key in keys if key.endswith('.attn.qkv.weight')]
  if kernels and not any(key.endswith('.attn.qkv.bias') for key in keys):
    raise ValueError(
      f'{path} has {min(kernels)!r} and no blocks.0.attn.qkv.bias: it is a ViT '
      'with another attention. Take one whose query, key and value have a bias.'
    )


def check_bottleneck(keys: Iterable[str], path: str) -> None:
  """Refuses a ResNet of basic blocks, or without batch normalization.

  Args:
    keys: Keys of the file.
    path: Path of the file.

  Raises:
    ValueError: If the first block has two convolutions, or no statistics.
  """
  keys = set(keys)
  if 'layer1.0.conv3.weight' not in keys:
    raise ValueError(
      f'{path} lacks layer1.0.conv3.weight: it is a ResNet of basic blocks, '
      "ResNet-18 or ResNet-34. Take 'resnet50'."
    )
  if 'bn1.weight' in keys and 'bn1.running_mean' not in keys:
    raise ValueError(
      f"{path} lacks bn1.running_mean: it is a ResNet with norm='group'. Take "
      "'resnet50', with batch normalization; models.ResNet50 with norm='group' "
      'cannot have its weights.'
    )
