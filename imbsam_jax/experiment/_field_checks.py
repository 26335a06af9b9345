# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Values of a configuration that no program could run with."""

from imbsam_jax import _errors
from imbsam_jax import data as data_lib
from imbsam_jax import methods
from imbsam_jax._runs import fields as fields_lib
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _test_views
from imbsam_jax.experiment import _update_rule

_CHOICES = {
  'data.bad_images': ('fail', 'skip', 'unchecked'),
  'data.profile': ('exp', 'step', 'natural'),
  'data.resize': ('bilinear', 'bicubic'),
  'data.subset': ('shuffled', 'first'),
  'model.dtype': ('float32', 'bfloat16'),
  'model.norm': ('group', 'batch', 'dar_batch', 'none'),
  'model.pool': ('class', 'class_and_prompts'),
  'optimizer.rows': ('auto', 'split', 'joint', 'tail_only'),
  'optimizer.perturb': ('all', 'tuned', 'head'),
  'optimizer.ascent': ('global', 'per_device'),
  'optimizer.decay': ('kernels', 'all'),
  'final_split': ('test', 'validation'),
  'log': ('none', 'tensorboard'),
}

_ALMOST_ONE = 1 - 1e-9
_RANGES = {
  'data.batch_size': (1, 2**31),
  'data.image_size': (1, 2**14),
  'data.test_share': (1e-6, 0.9),
  'data.split_seed': (0, 2**32 - 1),
  'data.workers': (1, 2**10),
  'data.validation_per_class': (0, 2**31),
  'model.num_heads': (1, 2**14),
  'model.image_size': (1, 2**14),
  'model.feature_dropout': (0, _ALMOST_ONE),
  'optimizer.rho': (0, 1e6),
  'optimizer.head_rho': (0, 1e6),
  'optimizer.tail_weight': (0, 1e6),
  'optimizer.switch': (0, 1),
  'optimizer.focal_gamma': (0, 1e6),
  'optimizer.focal_lam': (0, 1e6),
  'optimizer.num_microbatches': (1, 2**31),
  'optimizer.learning_rate': (0, 1e30),
  'optimizer.warmup_epochs': (0, 1e6),
  'optimizer.momentum': (0, _ALMOST_ONE),
  'optimizer.weight_decay': (0, 1e6),
  'optimizer.clip_norm': (1e-30, 1e30),
  'optimizer.layer_decay': (1e-6, 1),
  'optimizer.ema_decay': (0, _ALMOST_ONE),
  'epochs': (1e-6, 1e6),
  'save_every': (1e-6, 1e6),
  'seed': (0, 2**32 - 1),
}


def check(config: _config.Config) -> None:
  """Refuses values that no program could run with.

  Raises:
    ConfigError: If a value does not fit; the message names the field, the
      value, and what it can be.
  """
  fields_lib.check_types(config)
  fields = fields_lib.flatten(config)
  if len(config.data.splits) != 3:
    raise _errors.ConfigError(
      "`data.splits` must be like ('train', None, 'test'), got "
      f'{config.data.splits!r}.'
    )
  for name, choices in _CHOICES.items():
    if fields[name] not in choices:
      raise _errors.ConfigError(
        f'`{name}` must be one of {", ".join(choices)}, got {fields[name]!r}.'
      )
  if config.data.auxiliary != methods.OWN:
    data_lib.check_auxiliary(config.data.auxiliary)
  for name, (low, high) in _RANGES.items():
    value = fields[name]
    if value is not None and not low <= value <= high:
      raise _errors.ConfigError(
        f'`{name}` must be from {low:g} to {high:g}, got {value!r}.'
      )
  _test_views.parse(config.test_views)
  _update_rule.optimizer_of(config.optimizer.name)
  _update_rule.schedule_parameters(config.optimizer.schedule)
  if config.many_above < config.few_below:
    raise _errors.ConfigError(
      '`many_above` must be at least `few_below`, got '
      f'{config.many_above} and {config.few_below}.'
    )
  if (
    config.final_split == 'validation'
    and not config.data.validation_per_class
    and not config.data.splits[1]
  ):
    raise _errors.ConfigError(
      '`final_split=validation` needs images to be set aside: pass '
      '`data.validation_per_class=20` as well.'
    )
  if config.best_on_test and config.final_split != 'test':
    raise _errors.ConfigError(
      '`best_on_test` reports the test set. Leave `final_split=test`.'
    )
