# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""OPeN, oversampling with pure noise: Zada et al., ICML 2022."""

import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import _checks
from imbsam_jax import augment
from imbsam_jax import schedules
from imbsam_jax import training
from imbsam_jax.methods import _part
from imbsam_jax.methods import _registry

# What is folded into the key of a step; up to 2 are taken.
_NOISE = 3


class PureNoise(training.WrappedObjective):
  """The base on rows of which some images are noise, see `augment.pure_noise`.

  A row draws by its place in the batch, the same however rows are cut.

  Args:
    base: The objective of the rows.
    time: Class counts and epochs of the run.
    delta: Largest probability of noise.
    start: Epoch from which on there is noise.
  """

  def __init__(
    self,
    base: training.Objective,
    time: schedules.Timeline,
    *,
    delta: float,
    start: float,
  ):
    super().__init__(base)
    self.time = time
    self.delta = delta
    self.start = start

  def prepare(self, ctx, rows):
    rows = self.base.prepare(ctx, rows)
    late = self.time.traced_epoch(ctx.step) >= self.start
    delta = jnp.where(late, self.delta, 0.0)
    counts = np.asarray(self.time.class_counts)
    key = jax.random.fold_in(ctx.key, _NOISE)

    def draw(place, image, label):
      images, is_noise = augment.pure_noise(
        jax.random.fold_in(key, place),
        (image[None], label[None]),
        counts,
        delta=delta,
      )
      return images[0], is_noise[0]

    images, is_noise = jax.vmap(draw)(
      rows['place'], rows['image'], rows['label']
    )
    return {**rows, 'image': images, 'noise_mask': is_noise}

  def __call__(self, ctx, apply, rows):
    if not apply.takes('noise_mask'):
      return self.base(ctx, apply, rows)
    apply = apply.with_options(noise_mask=rows['noise_mask'])
    return self.base(ctx, apply, rows)


@_registry.word(
  'pure_noise',
  axis='scheme',
  about='noise for images of rare classes, late (OPeN, ICML 2022)',
  sets={'data.sampler': 'drs'},
  suggests={'model.norm': 'dar_batch'},
  unmixed=True,
)
def pure_noise(
  setup: _part.Setup, *, delta: float = 1 / 3, start: float = 0.8
) -> _part.Part:
  """See `PureNoise`: from a share of the run on, of class-balanced rows.

  The word sets the sampler `drs`, which over-samples from the same share of the
  run on. Another start is one of both, ``objective.scheme=
  pure_noise(start=0.5)`` and ``data.sampler=drs(start=0.5)``.

  The noise is N(0, 1) in each channel of the model's input, so it has the mean
  and standard deviation of the training images, by which these are
  standardized; of images that are decoded when a batch needs them, it has those
  of ImageNet.

  The norm `dar_batch` keeps rows of noise apart, and makes all rows go through
  the network together. Other norms are let be: BatchNorm then mixes the
  statistics of both, as in the ablation of the paper; with GroupNorm or none,
  where rows have no statistics in common, images of noise train like any other,
  and rows may still be split. A network of one's own gets the argument
  ``noise_mask``, bool ``[B]``, if its call has one.
  """
  _checks.number('delta', delta, low=0, high=1)
  epoch = setup.time.at(start)
  return _part.Part(
    objective=lambda base: PureNoise(base, setup.time, delta=delta, start=epoch)
  )
