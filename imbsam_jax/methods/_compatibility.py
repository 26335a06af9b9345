# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks, by their traits, that words can be combined."""

from collections.abc import Mapping
import itertools
from typing import Any
from typing import NamedTuple

from imbsam_jax import _errors
from imbsam_jax import _specs
from imbsam_jax.methods import _combine
from imbsam_jax.methods import _part
from imbsam_jax.methods import _registry


class _Chosen(NamedTuple):
  axis: str
  word: str
  name: str
  traits: _part.Traits
  corrects_prior: bool


def check(choices: Mapping[str, str]) -> None:
  """Refuses words that cannot work together or correct the same thing twice.

  Args:
    choices: Choices by axis, such as ``{'loss': 'ldam', 'sampler': 'drs'}``.

  Raises:
    ConfigError: If two words cannot be combined (the message says which, why,
      and what to do instead), or a name or parameter is unknown.
  """
  chosen = {
    axis: _chosen(axis, text)
    for axis, text in choices.items()
    if (axis, text) != ('loss', _combine.OWN)
  }
  _check_head(choices, chosen)
  _check_loss(choices, chosen)
  # Before what also speaks of the sampler that such a word brings.
  _check_pairs(list(chosen.values()))
  _check_prior(list(chosen.values()))
  _check_streams(chosen)
  _check_perturbations(list(chosen.values()))


def needs_batch(choices: Mapping[str, str]) -> str | None:
  """The word by which the loss of a row depends on others, if there is one."""
  for axis, text in choices.items():
    if (axis, text) != ('loss', _combine.OWN):
      chosen = _chosen(axis, text)
      if chosen.traits.needs_batch:
        return chosen.word
  return None


def needs_images(choices: Mapping[str, str]) -> str | None:
  """The word that mixes or makes images or changes them, if there is one."""
  for axis, text in choices.items():
    if (axis, text) != ('loss', _combine.OWN):
      chosen = _chosen(axis, text)
      own = chosen.traits
      if own.pairs or own.unmixed or own.auxiliary:
        return chosen.word
  return None


def takes_auxiliary(choices: Mapping[str, str]) -> bool:
  """Whether a word takes auxiliary images."""
  return any(
    _chosen(axis, text).traits.auxiliary
    for axis, text in choices.items()
    if (axis, text) != ('loss', _combine.OWN)
  )


def fixes_counts(choices: Mapping[str, str]) -> str | None:
  """The word that decides how many rows of a class a batch has, if any."""
  chosen = _chosen('sampler', choices['sampler'])
  return chosen.word if chosen.traits.fixes_counts else None


def head_for(choices: Mapping[str, str]) -> str:
  """The head of a model: 'auto' is what the loss needs."""
  head = _specs.name(choices['head'])
  if head != 'auto':
    return head
  if choices['loss'] == _combine.OWN:
    return 'linear'
  cosine = _chosen('loss', choices['loss']).traits.head == 'cosine'
  return 'cosine' if cosine else 'linear'


def _chosen(axis: str, text: str) -> _Chosen:
  traits = _registry.bind(axis, text).traits
  name, parameters = _specs.parse(text)
  corrects: Any = traits.corrects_prior
  return _Chosen(
    axis,
    _registry.typed(axis, text),
    name,
    traits,
    corrects(parameters) if callable(corrects) else corrects,
  )


def _check_head(
  choices: Mapping[str, str], chosen: Mapping[str, _Chosen]
) -> None:
  head = head_for(choices)
  has = _registry.bind('head', head).traits.head
  # What is more than a loss first: of that the advice is about the whole.
  for axis, one in sorted(chosen.items(), key=lambda pair: pair[0] == 'loss'):
    needs = one.traits.head
    if axis == 'head' or needs in ('any', has):
      continue
    if has == 'scaled' and (needs != 'linear' or axis == 'loss'):
      continue
    if needs == 'linear' and axis != 'loss':
      advice = (
        'Leave `model.head=auto`, with a loss for linear heads, such as '
        'cross_entropy or vs.'
        if _specs.name(choices['head']) == 'auto'
        else f'Leave `{_registry.typed("head", choices["head"])}` out.'
      )
      raise _errors.ConfigError(
        f'`{one.word}` is made for a linear head, and the {head} head gives '
        f'cosines. {advice}'
      )
    if needs == 'linear':
      raise _errors.ConfigError(
        f'`{one.word}` cannot be fitted to the cosines of the {head} head, '
        'which lie in [-1, 1]. Use the word normface, the cross entropy that '
        "holds a scale (`objective.loss='cosface(margin=0.0)'`), or another "
        'loss on cosines.'
      )
    if has == 'linear':
      raise _errors.ConfigError(
        f'`{one.word}` is made for cosines; on the unbounded logits of a '
        'linear head its margins and its scale mean nothing. Leave '
        '`model.head=auto` with a loss on cosines, such as normface.'
      )
    if needs == 'class_vectors':
      raise _errors.ConfigError(
        f'`{one.word}` moves learned class vectors, which the {head} head has '
        'not. Use a loss on cosines, such as normface, with '
        '`model.head=auto`.'
      )


def _check_loss(
  choices: Mapping[str, str], chosen: Mapping[str, _Chosen]
) -> None:
  for one in chosen.values():
    if one.traits.own_loss and choices['loss'] != _registry.AXES['loss'].plain:
      loss = _registry.typed('loss', choices['loss'])
      raise _errors.ConfigError(
        f'`{one.word}` has a loss of its own, and the loss of this run is '
        f'{loss!r}. Leave one of them out.'
      )


def _check_prior(chosen: list[_Chosen]) -> None:
  correcting = [one for one in chosen if one.corrects_prior]
  for one, other in itertools.combinations(correcting, 2):
    if other.name in one.traits.published_with:
      continue
    if one.name in other.traits.published_with:
      continue
    # The histogram of a batch is that of the sampler's stream.
    if one.traits.counts_batch and other.axis == 'sampler':
      continue
    raise _errors.ConfigError(
      f'{_named(one, chosen)} and {_named(other, chosen)} both correct for the '
      'class counts: rare classes would be favored twice. Leave one of them '
      'out.'
    )


def _named(one: _Chosen, chosen: list[_Chosen]) -> str:
  """A word, and which other one has brought it, if it was not typed."""
  axis = _registry.AXES[one.axis]
  for other in chosen:
    entry = _registry.AXES[other.axis].words.get(other.word)
    sets = (
      {} if entry is None or other is one else {**entry.suggests, **entry.sets}
    )
    if axis.field in sets:
      if _specs.name(sets[axis.field]) == one.name:
        return f'`{one.word}`, which `{other.word}` brings,'
  return f'`{one.word}`'


def _check_streams(chosen: Mapping[str, _Chosen]) -> None:
  for own in chosen.values():
    if not own.traits.own_stream:
      continue
    for axis, other in chosen.items():
      if other.traits.counts_batch:
        raise _errors.ConfigError(
          f'`{other.word}` counts the classes of the batch, but `{own.word}` '
          'takes rows from another stream. Use balanced_softmax, which counts '
          'the training set.'
        )
      if axis == 'sampler' and other.corrects_prior:
        raise _errors.ConfigError(
          f'`{own.word}` sets the natural stream beside a re-balanced one, and '
          f'`{other.word}` would re-balance both. Leave one of them out.'
        )


def _check_pairs(chosen: list[_Chosen]) -> None:
  for one, other in itertools.product(chosen, chosen):
    if one.traits.unmixed and other.traits.pairs:
      raise _errors.ConfigError(
        f'`{one.word}` needs images of one example each, and `{other.word}` '
        'mixes two. Leave one of them out.'
      )
  pairing = [one.word for one in chosen if one.traits.pairs]
  if len(pairing) > 1:
    raise _errors.ConfigError(
      f'`{pairing[0]}` and `{pairing[1]}` both give every row a partner, and '
      'there is one. Leave one of them out.'
    )


def _check_perturbations(chosen: list[_Chosen]) -> None:
  perturbing = [one for one in chosen if one.traits.perturbs]
  if len(perturbing) > 1:
    rule, other = perturbing[0].word, perturbing[1].word
    raise _errors.ConfigError(
      f'`{rule}` and `{other}` both perturb parameters, one at the point of '
      f'the other. Leave one of them out: the update rule of `{other}` is sgd.'
    )
