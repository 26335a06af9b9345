# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""One image: what every augmentation of a single image begins with."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np


def check_image(image: ArrayLike, name: str) -> jax.Array:
  """The array of one image, or an error.

  Args:
    image: Float or uint8 array, shape ``[H, W, C]``.
    name: Name of the function that augments, for the error.

  Raises:
    TypeError: If `image` is neither floating point nor uint8.
    ValueError: If `image` does not have three axes, or has no pixel.
  """
  image = jnp.asarray(image)
  if image.dtype != jnp.uint8 and not jnp.issubdtype(image.dtype, jnp.floating):
    raise TypeError(
      f'`image` must be floating point or uint8, got {image.dtype}. Pass '
      'image.astype(jnp.uint8) for values from 0 to 255.'
    )
  if image.ndim == 3 and image.size:
    return image
  hint = {
    2: ' Pass image[..., None] for a gray image without a channel axis.',
    4: f' Map over a batch: jax.vmap({name})(keys, images), a key per image.',
  }
  raise ValueError(
    f'`image` must be one image [H, W, C] with pixels, got {image.shape}.'
    + hint.get(image.ndim, '')
  )


def fill_pixel(fill: ArrayLike, image: jax.Array) -> jax.Array:
  """One pixel ``[1, 1, C]`` of the color `fill`, in the image's dtype.

  Raises:
    ValueError: If `fill` is neither a scalar nor of shape ``[C]``, or is a
      concrete color that uint8 does not hold.
  """
  num_channels = image.shape[-1]
  if image.dtype == jnp.uint8 and not isinstance(fill, jax.core.Tracer):
    values = np.asarray(fill).astype(np.float64)
    if not np.all((values >= 0) & (values <= 255) & (values % 1 == 0)):
      raise ValueError(
        '`fill` must be whole numbers from 0 to 255 for a uint8 image, got '
        f'{fill!r}.'
      )
  pixel = jnp.asarray(fill).astype(image.dtype)
  if pixel.shape not in ((), (num_channels,)):
    raise ValueError(
      f'`fill` must be a scalar or a color [{num_channels}], got shape '
      f'{pixel.shape}.'
    )
  return jnp.broadcast_to(pixel, (num_channels,)).reshape(1, 1, num_channels)
