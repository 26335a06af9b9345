# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What an evaluation sees of each image, by name."""

from collections.abc import Callable
from collections.abc import Sequence
import functools
from typing import Any

import jax
import numpy as np

from imbsam_jax import _checks
from imbsam_jax import _errors
from imbsam_jax import _specs
from imbsam_jax import training

# Stored images as each view shows them.
Views = Callable[[jax.Array], Sequence[jax.Array]]


def parse(text: str) -> tuple[str, dict[str, Any]]:
  """Name and parameters of the field `test_views`.

  Raises:
    ConfigError: If the name or a parameter is unknown or out of range.
  """
  table = {'none': lambda: {}, 'five_crop': _five_crop}
  return _specs.name(text), _specs.bind('test_views', text, table)()


def make(text: str, inputs: training.Inputs, images: Any) -> Views | None:
  """The views of a choice; flips are none of them.

  Args:
    text: 'none', or 'five_crop(margin=24)'.
    inputs: How stored images become the inputs of the network.
    images: Training images.

  Returns:
    ``views(images) -> images of each view``, which an evaluation of the inputs
    takes; None if it takes stored images alone.

  Raises:
    ValueError: If the views mean nothing for such images.
  """
  name, parameters = parse(text)
  if name == 'none':
    view = inputs.view
    return None if view is None else lambda images: (view(images),)
  if images.ndim != 4:
    raise ValueError(
      f'`test_views={text}` cuts images, and the examples have the shape '
      f'{images.shape[1:]}. Leave `test_views=none`.'
    )
  if not isinstance(images, np.ndarray):
    raise ValueError(
      f'`test_views={text}` cuts larger images than the network takes, and '
      'those that are decoded when a batch needs them come as their center, at '
      'its size. Leave `test_views=none`, or keep all in memory with '
      '`data.image_size=None`.'
    )
  standardization: Any = inputs.preprocess
  return functools.partial(standardization.five_crops, **parameters)


def about(text: str, *, flip: bool) -> str:
  """What an evaluation sees, if not each image alone; '' then."""
  seen = 'test images'
  if parse(text)[0] == 'five_crop':
    seen = 'five crops of test images'
  elif not flip:
    return ''
  return f'{seen} and their mirror images' if flip else seen


def _five_crop(*, margin: int | None = None) -> dict[str, Any]:
  if margin is not None:
    _checks.integer('test_views: margin', margin, error=_errors.ConfigError)
  return {'margin': margin}
