# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`VisionTransformer`, the trunk: from images to features."""

import typing
from typing import Literal

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jax.typing import DTypeLike

from imbsam_jax import _checks
from imbsam_jax import _initializers
from imbsam_jax.models import _classifier
from imbsam_jax.models import _layer_norm
from imbsam_jax.models import _transformer_block
from imbsam_jax.models import tuning as tuning_lib

PoolName = Literal['class', 'class_and_prompts']

# An example of each size, those of ViT-B/16.
_SIZES = {'width': 768, 'depth': 12, 'num_heads': 12, 'mlp_width': 3072}


class VisionTransformer(nn.Module, kw_only=True):
  r"""Vision Transformer (ViT), without a head: from images to features.

  .. math::
    X_0 &= [c;\ \mathrm{patches}(x)\, W + b] + E \\
    U_l &= X_l + \mathrm{Attention}(\mathrm{LN}(X_l)) \\
    X_{l+1} &= U_l + \mathrm{MLP}(\mathrm{LN}(U_l)) \\
    f &= \mathrm{LN}(X_L)_0

  Dosovitskiy et al., `An Image is Worth 16x16 Words
  <https://arxiv.org/abs/2010.11929>`_, ICLR 2021; with `pre_norm`, without
  `patch_bias` and with ``activation='quick_gelu'`` and ``epsilon=1e-5`` the
  image encoder of CLIP (Radford et al., `Learning Transferable Visual Models
  From Natural Language Supervision <https://arxiv.org/abs/2103.00020>`_, ICML
  2021), which normalizes :math:`X_0` before the first block. No row of a batch
  depends on another one, and nothing is drawn.

  Parameters: `patch_embed`, `class_token` ``[width]``, `position_embedding`
  ``[1 + patches, width]``, whose first row is that of the class token,
  `pre_norm`, and for each block l `block{l}` with `norm1`, `attention`
  (`query`, `key`, `value`, `out`), `norm2` and `mlp` (`fc1`, `fc2`); then
  `norm`. Kernels of attention have an axis of heads, ``[width, num_heads,
  width / num_heads]``. With the sizes of ViT-B/16 (width 768, depth 12, 12
  heads, MLP 3072, patches of 16 at 224x224) these are 85,798,656 numbers, and
  an image takes 17.56 billion multiplications.

  They start for training from nothing: kernels and positions truncated normal
  (at two deviations) of 0.02, the kernel of the patches normal of variance
  1 / inputs, the class token normal of 1e-6, biases 0. Those that are read from
  a file need a file's own `epsilon` and `activation`, which no file names.

  .. note::
    Google's code has uniform kernels (Xavier's) and a class token of zeros;
    timm has the above. The GELU of Google's code is the approximation by tanh,
    that of timm the exact one: 2e-4 apart in the logits of a small network.

  Matrix products, and the tokens between them, are of dtype `dtype`;
  normalizations, softmax and features are float32. Parameters are float32 where
  they are made, and may be bfloat16 where a frozen trunk was cast. With a
  `dtype` of float64 all is float64.

  Attributes:
    width: Number D of entries of a token, a multiple of `num_heads`.
    depth: Number L of blocks.
    num_heads: Number of heads of the attention.
    mlp_width: Number of hidden units between the two dense layers.
    patch_size: Side of a patch in pixels.
    image_size: Height and width of the images in pixels, one integer for both
      or a pair. Both are multiples of `patch_size`.
    pre_norm: Whether tokens are normalized before the first block, as in CLIP.
    patch_bias: Whether patches have a bias.
    activation: `'gelu'`, `'gelu_tanh'` or `'quick_gelu'`, which is ``x
      sigmoid(1.702 x)``.
    epsilon: Summand of the variance of all normalizations: 1e-6 in ViT, 1e-5 in
      CLIP, 1e-12 in Hugging Face's ViT.
    tuning: How the trunk is tuned, see `models.tuning`; None adds nothing.
    pool: `'class'` for the class token, or `'class_and_prompts'` for GNM-PT's
      ``(LN(X_L)_0 + mean of the prompts of X_L) / 2``, where prompts are not
      normalized.
    dtype: Dtype of the matrix products.
    remat: Whether blocks are computed again in the gradient, from their inputs,
      instead of remembered: less memory, for 0.7 forward passes more.

  Examples:
    >>> import jax, jax.numpy as jnp
    >>> from imbsam_jax import models
    >>> trunk = models.VisionTransformer(
    ...   width=8, depth=2, num_heads=2, mlp_width=16, patch_size=4,
    ...   image_size=8,
    ... )
    >>> images = jnp.ones([3, 8, 8, 3])
    >>> variables = trunk.init(jax.random.key(0), images)
    >>> trunk.apply(variables, images).shape
    (3, 8)
  """

  width: int
  depth: int
  num_heads: int
  mlp_width: int
  patch_size: int
  image_size: int | tuple[int, int]
  pre_norm: bool = False
  patch_bias: bool = True
  activation: _transformer_block.ActivationName = 'gelu'
  epsilon: float = 1e-6
  tuning: tuning_lib.Tuning | None = None
  pool: PoolName = 'class'
  dtype: DTypeLike = jnp.float32
  remat: bool = False

  def __post_init__(self) -> None:
    """Checks the attributes when the model is made, not at its first call."""
    for name, example in _SIZES.items():
      _checks.integer(
        name, getattr(self, name), hint=f'Pass {name}={example}, for example.'
      )
    if self.width % self.num_heads:
      raise ValueError(
        f'`width` must be a multiple of `num_heads`, got width={self.width} '
        f'and num_heads={self.num_heads}. ViT-B has width=768 and num_heads=12.'
      )
    # A tuple, because Flax modules are hashed when they are static arguments.
    self.image_size = checked_image_size(self.image_size, self.patch_size)
    _one_of('activation', self.activation, _transformer_block.ACTIVATIONS)
    _one_of('pool', self.pool, typing.get_args(PoolName))
    _checks.number(
      'epsilon', self.epsilon, above=0, hint='Pass epsilon=1e-6, for example.'
    )
    _classifier.check_dtype(self.dtype)
    _check_tuning(self.tuning, self.pool)
    super().__post_init__()

  @property
  def block_names(self) -> tuple[str, ...]:
    """Names of the blocks in the parameters, from the images on."""
    return tuple(f'block{i}' for i in range(self.depth))

  @property
  def num_tokens(self) -> int:
    """Number of tokens of an image: the class token and the patches."""
    height, width = typing.cast(tuple[int, int], self.image_size)
    return 1 + (height // self.patch_size) * (width // self.patch_size)

  @nn.compact
  def __call__(self, images: ArrayLike, *, train: bool = False) -> jax.Array:
    """Features of images.

    Args:
      images: Float array, normalized, shape ``[batch, height, width,
        channels]``.
      train: Not read: the trunk is the same in training.

    Returns:
      Float32 array, shape ``[batch, self.width]``.

    Raises:
      TypeError: If `images` is not a float array.
      ValueError: If `images` does not have four axes, or is of another size.
    """
    del train
    tuning = self.tuning or tuning_lib.Tuning()
    tokens = self._embedded(_classifier.as_images(images, self.dtype))
    tokens = tuning.before_blocks(
      tokens, param=self.param, patch_size=self.patch_size
    )
    block = _transformer_block.Block
    if self.remat:
      block = nn.remat(block)
    for name in self.block_names:
      tokens = block(
        num_heads=self.num_heads,
        mlp_width=self.mlp_width,
        patch_size=self.patch_size,
        num_tokens=self.num_tokens,
        activation=self.activation,
        epsilon=self.epsilon,
        tuning=tuning,
        dtype=self.dtype,
        name=name,
      )(tokens)
    # Each token is normalized by itself: that of the class alone is enough.
    features = self._norm('norm')(tokens[:, 0])
    if self.pool == 'class_and_prompts':
      prompts = tokens[:, self.num_tokens :].astype(features.dtype)
      features = (features + prompts.mean(1)) / 2
    return features

  def _norm(self, name: str) -> _layer_norm.LayerNorm:
    return _layer_norm.LayerNorm(self.epsilon, self.dtype, name=name)

  def _embedded(self, images: jax.Array) -> jax.Array:
    """Tokens of images, with their positions."""
    if images.shape[1:3] != self.image_size:
      height, width = images.shape[1:3]
      raise ValueError(
        f'images must be of {_size_text(self.image_size)} pixels, for which '
        f'this trunk has positions, got {height}x{width}. Resize them, or pass '
        f'image_size={(height, width)} to the trunk.'
      )
    patches = PatchEmbed(
      self.width,
      self.patch_size,
      self.patch_bias,
      self.dtype,
      name='patch_embed',
    )(images)
    class_token = self.param(
      'class_token', _initializers.normal(1e-6), (self.width,), jnp.float32
    ).astype(self.dtype)
    positions = self.param(
      'position_embedding',
      _initializers.truncated_normal(0.02),
      (self.num_tokens, self.width),
      jnp.float32,
    ).astype(self.dtype)
    first = jnp.broadcast_to(class_token, (images.shape[0], 1, self.width))
    tokens = jnp.concatenate([first, patches], axis=1) + positions[None]
    if self.pre_norm:
      tokens = self._norm('pre_norm')(tokens).astype(self.dtype)
    return tokens


class PatchEmbed(nn.Module):
  """An affine map of each patch: a convolution with stride the patch's side.

  Parameters: `kernel`, float32 ``[size, size, channels, width]``, and `bias`.

  Attributes:
    width: Number of entries of a token.
    size: Side of a patch in pixels.
    use_bias: Whether there is a bias.
    dtype: Dtype of the product.
  """

  width: int
  size: int
  use_bias: bool
  dtype: DTypeLike

  @nn.compact
  def __call__(self, images: jax.Array) -> jax.Array:
    """Tokens of the patches, row by row.

    Args:
      images: Array of dtype `dtype`, shape ``[batch, height, width,
        channels]``.

    Returns:
      Array of the same dtype, shape ``[batch, patches, self.width]``.
    """
    batch, height, width, channels = images.shape
    size = self.size
    kernel = self.param(
      'kernel',
      _initializers.scaled_normal(1.0, 'fan_in'),
      (size, size, channels, self.width),
      jnp.float32,
    ).astype(self.dtype)
    # One matrix product, where XLA's convolutions on CPUs are slow.
    patches = images.reshape(
      batch, height // size, size, width // size, size, channels
    ).transpose(0, 1, 3, 2, 4, 5)
    tokens = patches.reshape(
      batch, -1, size * size * channels
    ) @ kernel.reshape(-1, self.width)
    if self.use_bias:
      bias = self.param(
        'bias', nn.initializers.zeros_init(), (self.width,), jnp.float32
      )
      tokens = tokens + bias.astype(self.dtype)[None, None]
    return tokens


def checked_image_size(image_size: object, patch_size: int) -> tuple[int, int]:
  """Height and width that patches divide.

  Args:
    image_size: An integer, or a pair of height and width.
    patch_size: Side of a patch.

  Raises:
    TypeError: If a size is not an integer.
    ValueError: If a size is below 1, there are not one or two, or the patches
      do not divide them.
  """
  _checks.integer(
    'patch_size', patch_size, hint='Pass patch_size=16, for example.'
  )
  sizes = (
    tuple(image_size)
    if isinstance(image_size, (tuple, list))
    else (image_size, image_size)
  )
  if len(sizes) != 2:
    raise ValueError(
      '`image_size` must be an integer or (height, width), got '
      f'{image_size!r}. Pass image_size=224, for example.'
    )
  hint = 'Pass image_size=224, for example.'
  height, width = (_checks.integer('image_size', x, hint=hint) for x in sizes)
  if height % patch_size or width % patch_size:
    larger = [-(-x // patch_size) * patch_size for x in (height, width)]
    raise ValueError(
      f'`image_size` must be a multiple of `patch_size`, got {height}x{width} '
      f'for patches of {patch_size}, which would cut off a border. Resize '
      f'images to {larger[0]}x{larger[1]} and pass '
      f'image_size={tuple(larger)}.'
    )
  return height, width


def _check_tuning(tuning: object, pool: str) -> None:
  if tuning is not None:
    if not isinstance(tuning, tuning_lib.Tuning):
      raise TypeError(
        '`tuning` must be a description from models.tuning, got '
        f'{tuning!r}. Pass tuning=models.tuning.VptDeep(prompts=10), for '
        'example.'
      )
    tuning.check_resolved()
  if pool == 'class_and_prompts' and not (tuning and tuning.num_prompts):
    raise ValueError(
      "pool='class_and_prompts' averages prompts, and there are none with "
      f'tuning={tuning!r}. Pass tuning=models.tuning.VptDeep(prompts=10), or '
      "pool='class'."
    )


def _one_of(name: str, value: object, words: typing.Iterable[str]) -> None:
  words = tuple(words)
  if value not in words:
    raise ValueError(
      f'`{name}` must be one of {", ".join(map(repr, words))}, got {value!r}. '
      f'Use {name}={words[0]!r}.'
    )


def _size_text(size: object) -> str:
  height, width = typing.cast(tuple[int, int], size)
  return f'{height}x{width}'
