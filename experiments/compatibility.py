# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which choices cannot be combined, and why."""

from experiments import class_weights
from experiments import config as config_lib
from experiments import mixing as mixing_lib
from experiments import objective
from experiments import samplers
from experiments import specs


def check(config: config_lib.Config) -> None:
  """Refuses combinations that cannot work or correct the same thing twice.

  Raises:
    ValueError: Says which, why, and what to do instead.
  """
  for field, text, table in (
    ('objective.loss', config.objective.loss, objective.LOSSES),
    ('objective.weights', config.objective.weights, class_weights.WEIGHTS),
    ('objective.mixing', config.objective.mixing, mixing_lib.MIXING),
    ('objective.penalty', config.objective.penalty, objective.PENALTIES),
    ('data.sampler', config.data.sampler, samplers.SAMPLERS),
  ):
    specs.bind(field, text, table)
  loss = specs.name(config.objective.loss)
  weights, parameters = specs.parse(config.objective.weights)
  if weights == 'absgd' and parameters.get('beta') == 0:
    weights = 'none'  # Of classes; beta = 0 are ones.
  sampler = specs.name(config.data.sampler)
  mixing = specs.name(config.objective.mixing)
  penalty = specs.name(config.objective.penalty)
  _check_head(config, loss, penalty)
  _check_prior(loss, weights, sampler)
  _check_streams(loss, weights, sampler, mixing)
  if mixing != 'none' and config.optimizer.rows == 'split':
    raise ValueError(
      f'{mixing} mixes head rows with tail rows, so that they cannot go '
      'through passes of their own. Leave --config.optimizer.rows=auto.'
    )
  if mixing != 'none' and config.optimizer.num_microbatches > 1:
    raise ValueError(
      f'{mixing} draws once for a batch, micro-batches would draw alike. Leave '
      '--config.optimizer.num_microbatches=1.'
    )
  if sampler == 'class_aware' and config.data.stratify:
    raise ValueError(
      'class_aware sampling decides itself how many tail rows a batch has. '
      'Pass --config.data.stratify=False.'
    )


def _check_streams(loss: str, weights: str, sampler: str, mixing: str) -> None:
  if mixing not in ('cmo', 'dbn_mix'):
    return
  if loss == 'arb':
    raise ValueError(
      f'arb counts the classes of the batch, but {mixing} takes partners from '
      'another stream. Use balanced_softmax, which counts the training set.'
    )
  if sampler not in samplers.NATURAL_SAMPLERS:
    raise ValueError(
      f'{mixing} mixes the natural stream with a re-balanced one, and the '
      f'sampler {sampler} would re-balance both. Leave the sampler out.'
    )
  # Of half its labels the reversed stream decides.
  again = loss if loss in objective.CORRECT_PRIOR and loss != 'cdt' else weights
  if mixing == 'dbn_mix' and again != 'none':
    raise ValueError(
      f'dbn_mix re-balances the labels, and {again} would do it again. Leave '
      'one of them out.'
    )


def _check_head(config: config_lib.Config, loss: str, penalty: str) -> None:
  head = objective.head_of(config)
  cosines = head != 'linear'
  if objective.needs_cosines(loss) and not cosines:
    raise ValueError(
      f'{loss} is made for cosines; on the unbounded logits of a linear head '
      'its margins and its scale mean nothing. Leave --config.model.head=auto, '
      'or pass cosine.'
    )
  if cosines and not objective.needs_cosines(loss):
    raise ValueError(
      f'{loss} cannot be fitted to the cosines of the {head} head, which lie '
      'in [-1, 1]. Use the word normface, the cross entropy that holds a scale '
      "(--config.objective.loss='cosface(margin=0.0)'), or another loss on "
      'cosines.'
    )
  if penalty == 'zero_centroid' and head != 'cosine':
    raise ValueError(
      f'zero_centroid moves learned class vectors, which the {head} head has '
      'not. Use a loss on cosines, such as normface, with '
      '--config.model.head=auto.'
    )
  if penalty == 'sample_margin' and not cosines:
    raise ValueError(
      'the penalty sample_margin is made for cosines. Use a loss on cosines, '
      'such as normface.'
    )


def _check_prior(loss: str, weights: str, sampler: str) -> None:
  by_class = weights != 'none'
  resampled = sampler not in samplers.NATURAL_SAMPLERS
  corrects = loss in objective.CORRECT_PRIOR
  if corrects and by_class:
    raise ValueError(
      f'{loss} corrects the class prior, and the weights {weights} would '
      'correct it again. Leave one of them out.'
    )
  # The histogram of a batch is that of the stream; the multi-label loss was
  # published with its sampler.
  published = loss == 'arb' or (
    (loss, sampler) == ('distribution_balanced', 'class_aware')
  )
  if corrects and resampled and not published:
    raise ValueError(
      f'{loss} corrects the class prior of the training set, and the sampler '
      f'{sampler} would correct it again. Leave one of them out.'
    )
  # Published together: PPL.
  if by_class and resampled and (weights, sampler) != ('ppw', 'pps'):
    raise ValueError(
      f'the weights {weights} and the sampler {sampler} both favour rare '
      'classes, which corrects twice. Leave one of them out.'
    )
