# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How each code names the tensors of a ViT."""

from typing import NamedTuple


class Spelling(NamedTuple):
  """How a code names the tensors; words of a block follow `block`.

  Attributes:
    name: Name of the format.
    clip: Whether it is CLIP's: a normalization before the blocks, no bias of
      the patches; None if the tensors tell.
    patch: Convolution of the patches.
    class_token: The class token.
    positions: The position embeddings.
    block: What the names of a block begin with, with the block's number in it.
    norm1: Normalization before the attention.
    fused: Kernel and bias of query, key and value in one; None if apart.
    query_key_value: The three, if apart.
    out: Last layer of the attention.
    norm2: Normalization before the MLP.
    fc1: First layer of the MLP.
    fc2: Second layer of the MLP.
    gains: LayerScale of attention and MLP; None if the code has none.
    norm: Last normalization.
    pre_norm: Normalization before the blocks.
    projection: Projection of the features, and whether it is `[in, out]`.
    axes: Axes of length 1 before those of class token and positions.
    dropped: Pattern of the keys that belong to no trunk.
  """

  name: str
  clip: bool | None
  patch: str
  class_token: str
  positions: str
  block: str
  norm1: str
  fused: tuple[str, str] | None
  query_key_value: tuple[str, str, str] | None
  out: str
  norm2: str
  fc1: str
  fc2: str
  gains: tuple[str, str] | None
  norm: str
  pre_norm: str | None
  projection: tuple[str, bool] | None
  axes: int
  dropped: str


TIMM = Spelling(
  name='timm ViT',
  clip=None,
  patch='patch_embed.proj',
  class_token='cls_token',
  positions='pos_embed',
  block='blocks.{}.',
  norm1='norm1',
  fused=('attn.qkv.weight', 'attn.qkv.bias'),
  query_key_value=None,
  out='attn.proj',
  norm2='norm2',
  fc1='mlp.fc1',
  fc2='mlp.fc2',
  gains=('ls1.gamma', 'ls2.gamma'),
  norm='norm',
  pre_norm='norm_pre',
  projection=('head.weight', False),
  axes=2,
  dropped=r'head\.(weight|bias)|pre_logits\..*|mask_token',
)
HF = Spelling(
  name='Hugging Face ViT',
  clip=False,
  patch='embeddings.patch_embeddings.projection',
  class_token='embeddings.cls_token',
  positions='embeddings.position_embeddings',
  block='encoder.layer.{}.',
  norm1='layernorm_before',
  fused=None,
  query_key_value=(
    'attention.attention.query',
    'attention.attention.key',
    'attention.attention.value',
  ),
  out='attention.output.dense',
  norm2='layernorm_after',
  fc1='intermediate.dense',
  fc2='output.dense',
  gains=None,
  norm='layernorm',
  pre_norm=None,
  projection=None,
  axes=2,
  dropped=r'pooler\..*|classifier\..*|embeddings\.mask_token',
)
HF_5 = HF._replace(
  block='layers.{}.',
  query_key_value=('attention.q_proj', 'attention.k_proj', 'attention.v_proj'),
  out='attention.o_proj',
  fc1='mlp.fc1',
  fc2='mlp.fc2',
)
DINO_V2 = HF._replace(
  name='Hugging Face DINOv2',
  norm1='norm1',
  norm2='norm2',
  fc1='mlp.fc1',
  fc2='mlp.fc2',
  gains=('layer_scale1.lambda1', 'layer_scale2.lambda1'),
)
OPENAI = Spelling(
  name='OpenAI CLIP',
  clip=True,
  patch='conv1',
  class_token='class_embedding',
  positions='positional_embedding',
  block='transformer.resblocks.{}.',
  norm1='ln_1',
  fused=('attn.in_proj_weight', 'attn.in_proj_bias'),
  query_key_value=None,
  out='attn.out_proj',
  norm2='ln_2',
  fc1='mlp.c_fc',
  fc2='mlp.c_proj',
  gains=('ls_1.gamma', 'ls_2.gamma'),
  norm='ln_post',
  pre_norm='ln_pre',
  projection=('proj', True),
  axes=0,
  dropped=r'(?!)',
)
HF_CLIP = Spelling(
  name='Hugging Face CLIP',
  clip=True,
  patch='embeddings.patch_embedding',
  class_token='embeddings.class_embedding',
  positions='embeddings.position_embedding.weight',
  block='encoder.layers.{}.',
  norm1='layer_norm1',
  fused=None,
  query_key_value=('self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj'),
  out='self_attn.out_proj',
  norm2='layer_norm2',
  fc1='mlp.fc1',
  fc2='mlp.fc2',
  gains=None,
  norm='post_layernorm',
  pre_norm='pre_layrnorm',  # Thus it is spelled there.
  projection=('visual_projection.weight', False),
  axes=0,
  dropped=r'embeddings\.position_ids',
)
# A file has the format whose marker it has; the prefix is what stands before.
MARKERS: tuple[tuple[str, tuple[str, ...], Spelling], ...] = (
  ('cls_token', ('',), TIMM),
  ('embeddings.cls_token', ('', 'vit.', 'dinov2.'), HF),
  ('class_embedding', ('visual.',), OPENAI),
  ('embeddings.class_embedding', ('', 'vision_model.'), HF_CLIP),
)
