# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Guiding adversarial examples: Zhang et al., ICIP 2022."""

import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import _checks
from imbsam_jax import augment
from imbsam_jax import data as data_lib
from imbsam_jax import training
from imbsam_jax.methods import _part
from imbsam_jax.methods import _registry

_KEY = 3  # Of the objective's own draws.


class GuidingAdversaries(training.WrappedObjective):
  r"""Adversaries of tail rows that cross the boundary, learned as their class.

  .. math::
    \frac1B \sum_i \ell(x_i, y_i) + \frac1K \sum_{i \text{ kept}}
    \ell(x_i + \delta_i, y_i)

  with the base's loss and K the number of adversaries that are kept. They are
  made at w, with the model as in evaluation, so all passes of a step have the
  same ones; each belongs to its row, and so to the class group of that.
  """

  def __init__(
    self,
    base: training.Objective,
    is_tail: np.ndarray,
    standardization: data_lib.Standardization,
    *,
    epsilon: float,
    num_steps: int,
  ):
    super().__init__(base)
    self.coupled = True  # K is that of the batch.
    self.pass_cost = 2 * base.pass_cost
    # A forward pass, and the backward pass of the images alone.
    self.prepare_cost = base.prepare_cost + num_steps * 2 / 3
    self._is_tail = is_tail
    self._standardization = standardization
    self._epsilon = epsilon
    self._num_steps = num_steps

  def prepare(self, ctx, rows):
    """The rows of the base, with an adversary of each and which are kept."""
    rows = self.base.prepare(ctx, rows)
    key = jax.random.fold_in(ctx.key, _KEY)
    inputs = self._standardization

    def logits(pixels):
      return ctx.clean(inputs.of_pixels(pixels), train=False)

    def adversary(place, pixels, label):
      images, keep = augment.guiding_adversaries(
        jax.random.fold_in(key, place),
        logits,
        pixels[None],
        label[None],
        jnp.asarray(self._is_tail)[label][None],
        epsilon=self._epsilon,
        num_steps=self._num_steps,
      )
      return images[0], keep[0]

    # A row at a time, as it draws by its place; compiled, all go together.
    pixels = jnp.clip(inputs.pixels(rows['image']), 0.0, 1.0)
    images, keep = jax.vmap(adversary)(rows['place'], pixels, rows['label'])
    keep = keep.astype(jnp.float32)
    number = ctx.summed(jnp.sum(keep))
    return {
      **rows,
      'adversary': jax.lax.stop_gradient(inputs.of_pixels(images)),
      'kept_share': keep / jnp.maximum(number, 1.0),
    }

  def __call__(self, ctx, apply, rows):
    """A pass over the rows, and one over their adversaries."""
    outcome = self.base(ctx, apply, rows)
    adversaries = self.base(ctx, apply, {**rows, 'image': rows['adversary']})
    # Rows of a batch are divided by their number, adversaries by that of those
    # that are kept.
    num_rows = len(rows['label']) * ctx.num_devices
    factors = num_rows * rows['kept_share']
    return outcome._replace(
      losses=outcome.losses + factors * adversaries.losses
    )


@_registry.word(
  'gae',
  axis='scheme',
  about='adversaries of rare classes, on a finished run (ICIP 2022)',
  suggests={'optimizer.learning_rate': 0.001},
  needs_batch=True,
  fine_tunes=True,
  unmixed=True,
)
def gae(
  setup: _part.Setup,
  *,
  epsilon: float = 1 / 255,
  num_steps: int = 8,
  share: float = 0.5,
) -> _part.Part:
  """Projected gradient ascent on rows of the rarer classes.

  `share` is the part of the classes, the rarest, that have adversaries; in the
  paper classes 5 to 9 of 10. Epsilon is in pixels of [0, 1].
  """
  _checks.number('epsilon', epsilon, low=0)
  _checks.number('share', share, low=0, high=1)
  _checks.integer('num_steps', num_steps)
  if setup.data is not None and setup.training.images.dtype != np.uint8:
    raise ValueError(
      '`gae` moves pixels of bytes by at most 1, and these examples are '
      f'{setup.training.images.dtype}. Pass uint8 images.'
    )
  counts = setup.class_counts
  rarest = np.argsort(counts, kind='stable')[: int(len(counts) * share)]
  is_tail = np.isin(np.arange(len(counts)), rarest)

  def objective(base):
    return GuidingAdversaries(
      base,
      is_tail,
      # That of the run may have constants of a trained network.
      setup.inputs
      if isinstance(setup.inputs, data_lib.Standardization)
      else data_lib.standardization(setup.training.images),
      epsilon=epsilon,
      num_steps=num_steps,
    )

  return _part.Part(objective=objective)
