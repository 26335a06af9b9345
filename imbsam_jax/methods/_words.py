# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Method words, such as ``imbsam,ldam_drw``: what they mean and set."""

from collections.abc import Mapping
import difflib
import re
from typing import Any

from imbsam_jax import _errors
from imbsam_jax import _specs
from imbsam_jax._runs import console
from imbsam_jax.methods import _registry

_UPDATE_RULE = 'update rule'


def split(words: str) -> tuple[str, ...]:
  """The single words of ``'imbsam,ldam_drw'`` or ``'imbsam+ldam_drw'``.

  Raises:
    ConfigError: If a word is unknown; the message names the nearest one.
  """
  known = _registry.words()
  single: list[str] = []
  for word in map(str.strip, re.split('[,+]', words)):
    if '(' in word:
      field, example = _with_parameters(word)
      raise _errors.ConfigError(
        f'parameters are no part of a word: {word!r}. Set the field of its '
        f'axis instead, {{{field!r}: {example!r}}} or `{field}={example!r}`.'
      )
    if word not in known:
      near = difflib.get_close_matches(word, known, n=1)
      hint = (
        f' Did you mean {near[0]!r}?'
        if near
        else ' A word of your own is known once its file is imported.'
      )
      raise _errors.ConfigError(
        f'unknown method word {word!r}.{hint} Words, explained by '
        f'`experiment.words()`:\n{_all_words()}'
      )
    single += known[word].means or (word,)
  return tuple(dict.fromkeys(single))


def _with_parameters(word: str) -> tuple[str, str]:
  """The field of a word that was typed with parameters, and its value."""
  name, _, parameters = word.partition('(')
  for axis in _registry.AXES.values():
    entry = axis.words.get(name)
    if entry is not None and axis.field and ')' in parameters:
      chosen = _specs.name(str(entry.sets[axis.field]))
      return axis.field, f'{chosen}({parameters}'
  return 'objective.loss', 'ldam(max_margin=0.3)'


def field_values(
  words: str, presets: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
  """The fields of a configuration that method words set, by dotted name.

  Args:
    words: Method words, joined by commas or plus signs.
    presets: Fields that were chosen for a word or several on a data set, by
      word or words. Of several that fit, the one of more words counts.

  Raises:
    ConfigError: If a word is unknown, or two words set the same field.
  """
  known = _registry.words()
  chosen = split(words)
  changes: dict[str, Any] = {}
  setter: dict[str, str] = {}
  for word in chosen:
    for field, value in known[word].sets.items():
      if changes.get(field, value) != value:
        raise _errors.ConfigError(
          f'{setter[field]!r} and {word!r} cannot be combined: both choose '
          f'{field} ({changes[field]} and {value}). Leave one of them out.'
        )
      changes[field], setter[field] = value, word
  for word in chosen:
    changes = dict(known[word].suggests) | changes
  fitting = [key for key in presets if {*split(key)} <= {*chosen}]
  for key in sorted(fitting, key=lambda key: len(split(key))):
    changes |= presets[key]
  return changes


def combinations(words: str, links: str) -> list[str]:
  """Words of a comparison: each of `words` under each update rule.

  >>> combinations('ce,ldam_drw', 'sgd,sam')
  ['sgd', 'sam', 'sgd+ldam_drw', 'sam+ldam_drw']

  Args:
    words: Words joined by commas, those of one method by plus signs; 'all' is
      every word but the update rules and those that need a finished run.
    links: Update rules, joined by commas; empty takes `words` as they are.

  Raises:
    ConfigError: If a word is unknown.
  """
  rules = sorted(_registry.AXES[_UPDATE_RULE].words)
  # What the others are compared with comes first.
  others = [w for w in _registry.words() if w not in (*rules, 'ce')]
  known = ['ce', *(w for w in others if not _registry.fine_tunes(w))]
  for link in links.split(',') if links else ():
    if link not in rules:
      raise _errors.ConfigError(
        f'{link!r} is no update rule; there are {", ".join(rules)}.'
      )
  listed = known if words == 'all' else words.split(',')
  combined = []
  for word in listed:
    split(word)
    for link in links.split(',') if links else ('',):
      parts = [part for part in (link, word) if part and part != 'ce']
      combined.append('+'.join(parts) or 'sgd')
  return combined


def describe(choices: Mapping[str, str]) -> str:
  """What a run combines, in words: ``'imbsam ldam drw'``.

  Args:
    choices: Choices by axis, see `combine`.
  """
  return ' '.join(
    choices[axis]
    for axis, entry in _registry.AXES.items()
    if axis in choices and choices[axis] != entry.plain
  )


def _all_words() -> str:
  return '\n'.join(
    f'  {axis}: {", ".join(sorted(entry.words))}'
    for axis, entry in _registry.AXES.items()
    if entry.words
  )


def words_table(axis: str) -> str:
  """The words of an axis with what they mean, as a Markdown table.

  Args:
    axis: A key of `AXES`.

  Raises:
    ValueError: If there is no such axis.
  """
  if axis not in _registry.AXES:
    raise ValueError(
      f'`axis` must be one of {", ".join(_registry.AXES)}, got {axis!r}.'
    )
  chosen = _registry.AXES[axis]
  # Words of other axes take those of the functions that they are named after.
  columns = ['word', 'what it is', 'sets']
  columns += ['parameters'] if axis == 'scheme' else []
  lines = [_row(columns), _row([':---'] * len(columns))]
  for name, word in sorted(chosen.words.items()):
    sets = [f'`{field}={value}`' for field, value in word.sets.items()]
    sets += [
      f'`{k}={v}` if nothing else does' for k, v in word.suggests.items()
    ]
    means = [f'`{one}`' for one in word.means]
    cells = [f'`{name}`', word.about, ', '.join(means or sets)]
    if axis == 'scheme':
      function = _registry.bind(axis, word.sets[chosen.field]).function
      known = _specs.parameters_of(function)
      cells.append(', '.join(f'`{k}={_short(v)}`' for k, v in known.items()))
    lines.append(_row(cells))
  return '\n'.join(lines)


def _row(cells: list[str]) -> str:
  return f'| {" | ".join(cells)} |'


def _short(value: Any) -> str:
  return f'{value:.4g}' if isinstance(value, float) else repr(value)


def help_text() -> str:
  """All words with what they mean, by axis."""
  parts = []
  for axis, entry in _registry.AXES.items():
    lines = {
      '  ' + word: meaning.about
      + (f' = {"+".join(meaning.means)}' if meaning.means else '')
      for word, meaning in sorted(entry.words.items())
    }
    if lines:
      parts.append(f'{axis}\n{console.fields(lines)}')
  return (
    '\n\n'.join(parts)
    + '\n\nWords of different axes combine: imbsam,ldam_drw. The head follows '
    'the loss. After\ntraining, calibrate corrects the classifier (cRT, LWS, '
    'MARC, tau-normalization,\nNCM, logit adjustment).'
  )
