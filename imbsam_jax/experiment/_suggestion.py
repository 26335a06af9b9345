# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A configuration to start from, by the facts on a data set."""

import math
from typing import Any
from typing import NamedTuple

import numpy as np

from imbsam_jax import _memory
from imbsam_jax import data as data_lib
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _configure

# Classes with fewer training images are tail by the recipes.
_USUAL = 20
_ROUND = (5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
# What is a tail: some of the classes, and not many of the images.
_MOST_CLASSES = 0.8
_MOST_IMAGES = 0.4
# Imbalance factors from which a perturbation of the tail, and a correction of
# the loss, have something to work on.
_IMBALANCED = 1.5
_FEW_STEPS = 500


class Suggestion(NamedTuple):
  """A configuration to start from.

  Attributes:
    recipe: Its recipe.
    words: Method words.
    fields: Fields by dotted name that differ from the recipe.
    reasons: Why, by what it is about.
  """

  recipe: str
  words: str
  fields: dict[str, Any]
  reasons: dict[str, str]

  @property
  def config(self) -> _config.Config:
    """The configuration."""
    return _configure.config(self.recipe, self.words, self.fields)

  def code(self) -> str:
    """What trains with it, in Python."""
    lines = [f'  {name!r}: {value!r},' for name, value in self.fields.items()]
    return '\n'.join(
      [
        f'config = experiment.config({self.recipe!r}, {self.words!r}, {{',
        *lines,
        '})',
        "experiment.run(experiment.build(config), workdir='runs/first')",
      ]
    )


def fitting_threshold(counts: np.ndarray) -> tuple[int | None, str]:
  """The number of images below which a class is best called tail.

  Args:
    counts: Int ``[C]``, training images of each class.

  Returns:
    The threshold, and why it is that; None if there is no tail.
  """
  counts = counts[counts > 0]
  if not len(counts) or counts.max() < _IMBALANCED * counts.min():
    return None, 'the classes are about equally frequent: there is no tail'

  def about(threshold):
    tail = counts < threshold
    return tail.mean(), counts[tail].sum() / counts.sum()

  def fits(threshold):
    classes, images = about(threshold)
    return 0 < classes <= _MOST_CLASSES and images <= _MOST_IMAGES

  if fits(_USUAL):
    chosen = _USUAL
  else:
    fitting = [threshold for threshold in _ROUND if fits(threshold)]
    if fitting:
      chosen = min(fitting, key=lambda t: (abs(about(t)[0] - 0.5), t))
    else:
      # No round number falls between the counts.
      chosen = int(np.unique(counts)[1 : max(len(counts) // 2, 2)][-1])
  classes, images = about(chosen)
  return chosen, (
    f'{round(classes * len(counts))} of {len(counts)} classes with '
    f'{images:.1%} of the training images are below it'
  )


def suggest(
  facts: data_lib.DataFacts, data: _config.Data, *, on_cpu: bool | None = None
) -> Suggestion:
  """A configuration to start from.

  Args:
    facts: The facts on the data set.
    data: What names it: the fields `name`, `data_dir` and `splits`.
    on_cpu: Whether it is for a CPU; None is what this machine has.
  """
  on_cpu = _memory.pays() if on_cpu is None else on_cpu
  train = facts.splits['train']
  counts = train.counts[train.counts > 0]
  number = int(counts.sum())
  threshold, why = fitting_threshold(counts)
  factor = counts.max() / counts.min() if len(counts) else 1.0
  reasons = {'threshold': why}
  words = 'imbsam'
  if data.name == 'digits':
    reasons['method'] = 'the recipe cuts a long tail out of the data set'
  elif threshold is None:
    words = 'sgd'
    reasons['method'] = 'no class is rare enough for a correction'
    if data.name not in ('image_folder', 'image_list', 'npz'):
      reasons['method'] += '; `data.profile=exp` cuts a long tail'
  else:
    reasons['method'] = (
      f'imbalance factor {factor:.4g}: the tail is perturbed, which costs '
      'little; compare with losses such as ldam_drw next'
    )
  fields: dict[str, Any] = {}
  recipe = {'npz': 'npz_lt', 'digits': 'digits_lt'}.get(data.name, 'tfds_lt')
  if data.name in ('image_folder', 'image_list'):
    recipe = 'image_folder'
  usual = _configure.config(recipe, words)
  if data.name != usual.data.name:
    fields['data.name'] = data.name
  if data.data_dir is not None:
    fields['data.data_dir'] = data.data_dir
  if data.splits != usual.data.splits:
    fields['data.splits'] = data.splits
  if recipe == 'tfds_lt':
    fields['data.profile'] = 'natural'
  fields |= _network(facts, recipe, on_cpu, reasons)
  batch_size = fields.get('data.batch_size', usual.data.batch_size)
  while batch_size > 8 and 4 * batch_size > number:
    batch_size //= 2
  if batch_size != usual.data.batch_size:
    fields['data.batch_size'] = batch_size
  epochs = fields.pop('epochs', usual.epochs)
  steps = math.ceil(number / batch_size)
  if on_cpu and steps * epochs < _FEW_STEPS:
    epochs = float(min(max(epochs, math.ceil(_FEW_STEPS / max(steps, 1))), 100))
  if epochs != usual.epochs:
    fields['epochs'] = epochs
  warmup = min(usual.optimizer.warmup_epochs, epochs / 10)
  if warmup != usual.optimizer.warmup_epochs:
    fields['optimizer.warmup_epochs'] = warmup
  if threshold is not None and threshold != usual.optimizer.threshold:
    fields['optimizer.threshold'] = threshold
    fields['few_below'] = threshold
    fields['many_above'] = 5 * threshold
  return Suggestion(recipe, words, fields, reasons)


def _network(
  facts: data_lib.DataFacts,
  recipe: str,
  on_cpu: bool,
  reasons: dict[str, str],
) -> dict[str, Any]:
  """The network, and the size to which images are brought."""
  train = facts.splits['train']
  if recipe == 'npz_lt':
    shape = train.array.shape if train.array is not None else ()
    if len(shape) == 1:
      return {'model.name': 'mlp', 'model.norm': 'none'}
    return {}
  if recipe != 'image_folder':
    if recipe == 'tfds_lt' and on_cpu:
      reasons['network'] = 'small, for a CPU'
      return {
        'model.name': 'small_conv_net',
        'model.norm': 'group',
        'epochs': 20.0,
        'data.batch_size': 64,
      }
    return {}
  shorter = [min(image.width, image.height) for image in train.images.values()]
  median = float(np.median(shorter)) if shorter else 0.0
  if not on_cpu and median >= 112:
    reasons['network'] = 'photographs, on an accelerator: as in the recipe'
    return {}
  size = 64 if median >= 48 else 32
  reasons['network'] = (
    f'images of {size}x{size} and a small network'
    + (', for a CPU' if on_cpu else '')
    + f'; the median of the shorter sides is {median:.0f}'
  )
  return {
    'data.image_size': size,
    'model.name': 'strided_conv_net',
    'optimizer.learning_rate': 0.1,
    'epochs': 20.0 if on_cpu else 100.0,
  }
