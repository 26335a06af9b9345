# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which choices cannot be combined, and why."""

from imbsam_jax import _errors
from imbsam_jax import _specs
from imbsam_jax import methods
from imbsam_jax.experiment import _config


def check(config: _config.Config) -> None:
  """Refuses combinations that cannot work or correct the same thing twice.

  Raises:
    ConfigError: Says which, why, and what to do instead.
  """
  losses = methods.LOSSES | {methods.OWN: lambda logits, labels: None}
  for field, text, table in (
    ('objective.loss', config.objective.loss, losses),
    ('objective.weights', config.objective.weights, methods.WEIGHTS),
    ('objective.mixing', config.objective.mixing, methods.MIXING),
    ('objective.penalty', config.objective.penalty, methods.PENALTIES),
    ('data.sampler', config.data.sampler, methods.SAMPLERS),
  ):
    _specs.bind(field, text, table)
  loss = _specs.name(config.objective.loss)
  weights, parameters = _specs.parse(config.objective.weights)
  if weights == 'absgd' and parameters.get('beta') == 0:
    weights = 'none'  # Of classes; beta = 0 are ones.
  sampler = _specs.name(config.data.sampler)
  mixing = _specs.name(config.objective.mixing)
  penalty = _specs.name(config.objective.penalty)
  _check_head(config, loss, penalty)
  _check_prior(loss, weights, sampler)
  _check_streams(loss, weights, sampler, mixing)
  if mixing != 'none' and config.optimizer.rows == 'split':
    raise _errors.ConfigError(
      f'{mixing} mixes head rows with tail rows, so that they cannot go '
      'through passes of their own. Leave `optimizer.rows=auto`.'
    )
  if mixing != 'none' and config.optimizer.num_microbatches > 1:
    raise _errors.ConfigError(
      f'{mixing} draws once for a batch, micro-batches would draw alike. Leave '
      '`optimizer.num_microbatches=1`.'
    )
  if sampler == 'class_aware' and config.data.stratify:
    raise _errors.ConfigError(
      'class_aware sampling decides itself how many tail rows a batch has. '
      'Pass `data.stratify=False`.'
    )


def _check_streams(loss: str, weights: str, sampler: str, mixing: str) -> None:
  if mixing not in ('cmo', 'dbn_mix'):
    return
  if loss == 'arb':
    raise _errors.ConfigError(
      f'arb counts the classes of the batch, but {mixing} takes partners from '
      'another stream. Use balanced_softmax, which counts the training set.'
    )
  if sampler not in methods.NATURAL_SAMPLERS:
    raise _errors.ConfigError(
      f'{mixing} mixes the natural stream with a re-balanced one, and the '
      f'sampler {sampler} would re-balance both. Leave the sampler out.'
    )
  # Of half its labels the reversed stream decides.
  again = loss if loss in methods.CORRECT_PRIOR and loss != 'cdt' else weights
  if mixing == 'dbn_mix' and again != 'none':
    raise _errors.ConfigError(
      f'dbn_mix re-balances the labels, and {again} would do it again. Leave '
      'one of them out.'
    )


def _check_head(config: _config.Config, loss: str, penalty: str) -> None:
  head = methods.head_for(loss, config.model.head)
  cosines = head != 'linear'
  if methods.needs_cosines(loss) and not cosines:
    raise _errors.ConfigError(
      f'{loss} is made for cosines; on the unbounded logits of a linear head '
      'its margins and its scale mean nothing. Leave `model.head=auto`, '
      'or pass cosine.'
    )
  if cosines and not methods.needs_cosines(loss):
    raise _errors.ConfigError(
      f'{loss} cannot be fitted to the cosines of the {head} head, which lie '
      'in [-1, 1]. Use the word normface, the cross entropy that holds a scale '
      "(`objective.loss='cosface(margin=0.0)'`), or another loss on "
      'cosines.'
    )
  if penalty == 'zero_centroid' and head != 'cosine':
    raise _errors.ConfigError(
      f'zero_centroid moves learned class vectors, which the {head} head has '
      'not. Use a loss on cosines, such as normface, with '
      '`model.head=auto`.'
    )
  if penalty == 'sample_margin' and not cosines:
    raise _errors.ConfigError(
      'the penalty sample_margin is made for cosines. Use a loss on cosines, '
      'such as normface.'
    )


def _check_prior(loss: str, weights: str, sampler: str) -> None:
  by_class = weights != 'none'
  resampled = sampler not in methods.NATURAL_SAMPLERS
  corrects = loss in methods.CORRECT_PRIOR
  if corrects and by_class:
    raise _errors.ConfigError(
      f'{loss} corrects the class prior, and the weights {weights} would '
      'correct it again. Leave one of them out.'
    )
  # The histogram of a batch is that of the stream; the multi-label loss was
  # published with its sampler.
  published = loss == 'arb' or (
    (loss, sampler) == ('distribution_balanced', 'class_aware')
  )
  if corrects and resampled and not published:
    raise _errors.ConfigError(
      f'{loss} corrects the class prior of the training set, and the sampler '
      f'{sampler} would correct it again. Leave one of them out.'
    )
  # Published together: PPL.
  if by_class and resampled and (weights, sampler) != ('ppw', 'pps'):
    raise _errors.ConfigError(
      f'the weights {weights} and the sampler {sampler} both favour rare '
      'classes, which corrects twice. Leave one of them out.'
    )
