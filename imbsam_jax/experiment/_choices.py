# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The choices of methods in a configuration."""

from imbsam_jax import _errors
from imbsam_jax import methods
from imbsam_jax._runs import fields
from imbsam_jax.experiment import _config


def choices_of(config: _config.Config) -> dict[str, str]:
  """By axis the text of its field, see `methods.combine`."""
  flat = fields.flatten(config)
  return {
    name: flat[axis.field] for name, axis in methods.AXES.items() if axis.field
  }


def of_network(config: _config.Config) -> dict[str, str]:
  """The choices as the network has them, which is a head with a cache.

  A head on features that were computed before is trained as a whole.
  """
  choices = choices_of(config)
  if config.model.feature_cache is not None:
    choices['tuning'] = methods.AXES['tuning'].plain
  return choices


def describe(config: _config.Config) -> str:
  """What a configuration combines, in words: ``'imbsam ldam drw'``."""
  choices = choices_of(config)
  if config.model.name == methods.OWN:
    del choices['head']
  return methods.describe(choices)


def _check_own_head(choices: dict[str, str]) -> None:
  """Refuses what is made for cosines on a network that does not tell of any.

  Whether a network of one's own gives cosines cannot be seen.
  """
  if choices['head'] != 'linear':
    return
  for axis, text in choices.items():
    if axis == 'head' or (axis, text) == ('loss', methods.OWN):
      continue
    if methods.bind(axis, text).traits.head not in ('any', 'linear'):
      raise _errors.ConfigError(
        f'`{text}` is made for cosines. If your network gives cosines, declare '
        "it with {'model.head': 'cosine'}; otherwise use a loss for linear "
        'heads, such as balanced_softmax or vs.'
      )


def check(config: _config.Config) -> None:
  """Refuses combinations that cannot work or correct the same thing twice.

  Raises:
    ConfigError: If choices do not go together; the message names them, why, and
      what to do instead.
  """
  choices = choices_of(config)
  if config.model.name == methods.OWN:
    _check_own_head(choices)
  methods.check(choices)
  if config.init_from is None:
    for axis, text in choices.items():
      own = (axis, text) == ('loss', methods.OWN)
      if not own and methods.bind(axis, text).traits.fine_tunes:
        raise _errors.ConfigError(
          f'`{methods.typed(axis, text)}` begins with a finished run: pass its '
          'folder, `init_from=FOLDER`.'
        )
  fixes_counts = methods.fixes_counts(choices)
  if fixes_counts is not None and config.data.stratify:
    raise _errors.ConfigError(
      f'`{fixes_counts}` decides itself how many tail rows a batch has. Pass '
      '`data.stratify=False`.'
    )
  needs_batch = methods.needs_batch(choices)
  if needs_batch is None:
    return
  optimizer = config.optimizer
  for field, value, plain in (
    ('rows', optimizer.rows, ('auto', 'joint')),
    ('num_microbatches', optimizer.num_microbatches, (1,)),
    ('ascent', optimizer.ascent, ('global',)),
  ):
    if value not in plain:
      raise _errors.ConfigError(
        f'`{needs_batch}` looks at the whole batch, which '
        f'`optimizer.{field}={value}` would cut. Leave '
        f'`optimizer.{field}={plain[0]}`.'
      )
