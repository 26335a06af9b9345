# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`Inputs`: how stored images become the inputs of a model."""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
from typing import Any

import jax

Rows = Mapping[str, Any]

# Beyond every place of a row, by which the first view is drawn.
_FIRST_VIEW = 3 * 2**30


@dataclasses.dataclass(frozen=True)
class Inputs:
  """How stored images become the inputs of the model.

  Attributes:
    preprocess: Function from images ``[B, ...]`` to the model's input.
    augment: ``augment(key, image [...]) -> image`` of one image as it is
      stored, before `preprocess`, such as `augment.pad_crop`. Drawn by (seed,
      step, place of the row in the batch): all passes of a step see the same
      images, however the rows are cut and spread over devices. It may change
      the size of an image.
    view: ``view(images [B, ...]) -> images``, what an evaluation sees of stored
      images, before `preprocess`, such as `data.Standardization.center`; None
      is all of them.
  """

  preprocess: Callable[[jax.Array], jax.Array]
  augment: Callable[[jax.Array, jax.Array], jax.Array] | None = None
  view: Callable[[jax.Array], jax.Array] | None = None

  def evaluated(self, images: jax.Array) -> jax.Array:
    """The input of the model, of stored images in an evaluation."""
    return self.preprocess(images if self.view is None else self.view(images))

  def look_up(
    self,
    rows: Rows,
    resident_images: jax.Array | None,
    key: jax.Array,
    *,
    num_views: int = 1,
  ) -> Rows:
    """Rows with images as the model takes them.

    Args:
      rows: The rows of a batch, see `data.TrainBatch`.
      resident_images: All images, if the rows say which of them theirs are.
      key: The key of the step and stream.
      num_views: See `Objective`.
    """
    images = rows['image']
    if resident_images is not None and images.ndim == 1:
      images = resident_images[images]
    views = tuple(
      self.preprocess(self._augmented(images, rows, key, view))
      for view in range(num_views)
    )
    looked_up = {**rows, 'image': views[0]}
    return looked_up if num_views == 1 else {**looked_up, 'views': views}

  def _augmented(self, images, rows, key, view):
    if self.augment is None:
      return images
    if view:
      key = jax.random.fold_in(key, _FIRST_VIEW + view)
    keys = jax.vmap(lambda place: jax.random.fold_in(key, place))(rows['place'])
    return jax.vmap(self.augment)(keys, images)


def as_inputs(inputs: Inputs | Callable[[jax.Array], jax.Array]) -> Inputs:
  """Inputs; a function is what comes between stored images and the model."""
  return inputs if isinstance(inputs, Inputs) else Inputs(inputs)
