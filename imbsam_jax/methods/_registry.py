# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The registry of words: a method is a file here, and a line that imports it.

A choice is what a field of the configuration can be set to, ``'ldam'`` or
``'ldam(max_margin=0.3)'``; a word is what is typed, and sets such fields.
"""

from collections.abc import Callable
from collections.abc import Mapping
import difflib
import functools
import inspect
import traceback
from typing import Any
from typing import NamedTuple

from imbsam_jax import _errors
from imbsam_jax import _specs
from imbsam_jax.methods import _part

# Scale for the probabilities of cosines whose loss has none.
_PLAIN_SCALE = 30.0


class Choice(NamedTuple):
  """What a field of the configuration can be set to.

  Attributes:
    make: Function that makes its `Part`, ``make(setup, **parameters)``.
    function: Function whose keyword-only parameters can be set.
    traits: Traits that say what it can be combined with.
  """

  make: Callable[..., Any]
  function: Callable[..., Any]
  traits: _part.Traits


class Word(NamedTuple):
  """One word.

  Attributes:
    about: Description of the word, with its source.
    sets: Fields that it is for, with their values, by dotted name.
    suggests: Fields that it sets where no other word does, with their values.
    means: Words that it stands for, instead of fields of its own.
    follows: Word of the run that it begins with, where that needs one.
  """

  about: str
  sets: Mapping[str, Any] = {}
  suggests: Mapping[str, Any] = {}
  means: tuple[str, ...] = ()
  follows: str | None = None


class Axis(NamedTuple):
  """A field whose choices are methods: one word of each axis can be chosen.

  Attributes:
    field: Dotted name of the field.
    plain: Name of the choice that is no method.
    choices: Choices by name.
    words: Words by name.
  """

  field: str
  plain: str
  choices: dict[str, Choice]
  words: dict[str, Word]


def _axis(field: str, plain: str) -> Axis:
  return Axis(field, plain, {}, {})


AXES: dict[str, Axis] = {
  'update rule': _axis('optimizer.method', ''),
  'loss': _axis('objective.loss', 'cross_entropy'),
  'weights': _axis('objective.weights', 'none'),
  'sampler': _axis('data.sampler', 'shuffle'),
  'mixing': _axis('objective.mixing', 'none'),
  'scheme': _axis('objective.scheme', 'none'),
  'head': _axis('model.head', 'auto'),
  'penalty': _axis('objective.penalty', 'none'),
  'tuning': _axis('model.tuning', 'full'),
  'combination': _axis('', ''),
}


def choice(
  name: str, *, axis: str, **traits: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
  """Registers a function as what a field can be set to; a decorator.

  The function is called as ``function(setup, **parameters)`` with a `Setup` and
  gives a `Part`; its keyword-only parameters can be set in the text of the
  choice. On the axis 'loss' it is the loss itself, ``(logits [B, C], labels
  [B], *, parameters) -> losses [B]``; it may take ``class_counts`` and ``key``
  too. On the axis 'update rule' it gives a `training.Method`, see `RuleSetup`.

  Args:
    name: Text that the field is set to.
    axis: A key of `AXES`.
    **traits: Fields of `Traits`.

  Raises:
    ValueError: If there is no such axis or trait, or the name is taken by
      another function.
  """
  if axis not in AXES:
    raise ValueError(f'`axis` must be one of {", ".join(AXES)}, got {axis!r}.')
  for trait in traits:
    if trait not in _part.Traits._fields:
      near = difflib.get_close_matches(trait, _part.Traits._fields, n=1)
      hint = f' Did you mean {near[0]!r}?' if near else ''
      raise ValueError(
        f'{name} has no trait {trait!r}.{hint} Traits are '
        f'{", ".join(_part.Traits._fields)}.'
      )
  own = _part.Traits(**traits)
  if own.head not in _part.HEADS:
    raise ValueError(
      f'`head` of {name} must be one of {", ".join(_part.HEADS)}, got '
      f'{own.head!r}.'
    )
  if axis == 'mixing' and name != AXES[axis].plain:
    own = own._replace(pairs=True)
  if own.pairs:
    own = own._replace(needs_batch=True)  # Partners stay in the batch.

  def register(function):
    make = function
    if axis == 'loss':
      make = functools.partial(_loss_part, function, own)
    _put(AXES[axis].choices, name, Choice(make, function, own))
    return function

  return register


def word(
  name: str,
  *,
  axis: str,
  about: str,
  choice_name: str | None = None,
  sets: Mapping[str, Any] | None = None,
  suggests: Mapping[str, Any] | None = None,
  **traits: Any,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
  """Registers a function as `choice`, and the word that chooses it.

  Args:
    name: Word to register.
    axis: A key of `AXES`; of several words of an axis only one can be chosen.
    about: A line for the list of words: what it is, and its source.
    choice_name: Name of the choice where it is not that of the word.
    sets: Further fields that it sets.
    suggests: Fields that it sets where no other word does, with their values.
    **traits: Fields of `Traits`.
  """
  chosen = choice_name or name

  def register(function):
    field = AXES[axis].field if axis in AXES else ''
    _check_word(axis, name, {field: chosen, **(sets or {})})
    choice(chosen, axis=axis, **traits)(function)
    alias(name, chosen, axis=axis, about=about, sets=sets, suggests=suggests)
    return function

  return register


def alias(
  name: str,
  chosen: str,
  *,
  axis: str,
  about: str,
  sets: Mapping[str, Any] | None = None,
  suggests: Mapping[str, Any] | None = None,
  follows: str | None = None,
) -> None:
  """Registers a further word for a choice, such as one with parameters.

  Args:
    name: Word to register.
    chosen: Text of the choice, such as ``'cosface(margin=0.0)'``.
    axis: A key of `AXES`; of several words of an axis only one can be chosen.
    about: A line for the list of words: what it is, and its source.
    sets: Further fields that it sets.
    suggests: Fields that it sets where no other word does, with their values.
    follows: Word of the run that it begins with, where that needs one.
  """
  entry = Word(
    about,
    {AXES[axis].field: chosen, **(sets or {})},
    suggests or {},
    follows=follows,
  )
  _put_word(axis, name, entry)


def combination(name: str, *words: str, about: str) -> None:
  """Registers a word that stands for several."""
  _put_word('combination', name, Word(about, means=words))


def words() -> dict[str, Word]:
  """All words, by axis and then by name."""
  return {
    name: axis.words[name]
    for axis in AXES.values()
    for name in sorted(axis.words)
  }


def fine_tunes(word: str) -> bool:
  """Whether a word needs a finished run to begin with."""
  entry = words()[word]
  if entry.means:
    return any(map(fine_tunes, entry.means))
  by_field = {axis.field: name for name, axis in AXES.items() if axis.field}
  return any(
    bind(by_field[field], text).traits.fine_tunes
    for field, text in entry.sets.items()
    if field in by_field and isinstance(text, str)
  )


def make_part(axis: str, text: str, setup: Any) -> Any:
  """What a choice brings to a run.

  Raises:
    ConfigError: If the name or a parameter is unknown, or a value is out of
      range.
  """
  chosen = bind(axis, text)
  _, parameters = _specs.parse(text)
  if is_of_library(chosen.function):
    return chosen.make(setup, **parameters)
  try:
    part = chosen.make(setup, **parameters)
  except (_errors.ConfigError, ValueError):
    raise
  except Exception as error:  # Whatever a user's code raises.
    raise _errors.ConfigError(
      f'{typed(axis, text)} ({_place(error, chosen.function)}): '
      f'{type(error).__name__}: {error}'
    ) from error
  if not isinstance(part, _part.Part):
    raise _errors.ConfigError(
      f'the function of {typed(axis, text)} must return a methods.Part, got '
      f'{part!r}.'
    )
  return part


def is_of_library(function: Callable[..., Any]) -> bool:
  """Whether a function is one of this library, not of one's own."""
  module = getattr(function, '__module__', None) or ''
  return module.split('.')[0] == __name__.split('.')[0]


def bind(axis: str, text: str) -> Choice:
  """The choice of a text, whose parameters it has.

  Raises:
    ConfigError: If the name or a parameter is unknown; the message lists those
      that exist.
  """
  known = AXES[axis]
  names = sorted(known.choices, key=lambda name: (name != known.plain, name))
  table = {name: known.choices[name].function for name in names}
  name = _specs.name(text)
  new = _specs.new_name(known.field, name)
  if new is not None:
    raise _errors.ConfigError(
      f'`{known.field}={name}` is called {new} now: the word {name} is the '
      f'whole method. Pass `{known.field}={_specs.renewed(known.field, text)}`.'
    )
  if name not in table and not difflib.get_close_matches(name, table):
    raise _errors.ConfigError(
      f'`{known.field}` must be one of {", ".join(table)}, got {name!r}. A '
      'method of your own is known once its file is imported.'
    )
  _specs.bind(known.field, text, table)
  return known.choices[name]


def typed(axis: str, text: str) -> str:
  """The word that chooses a text, or the text."""
  field = AXES[axis].field
  for name, entry in AXES[axis].words.items():
    if entry.sets.get(field) == text:
      return name
  return text


def _loss_part(
  function: _part.ExampleLoss,
  traits: _part.Traits,
  setup: _part.Setup,
  **parameters: Any,
) -> _part.Part:
  given = inspect.signature(function).parameters
  # A loss whose counts may be left out takes those of its batch.
  wants = 'class_counts' in given and not _has_default(given['class_counts'])
  counts = {'class_counts': setup.class_counts} if wants else {}
  plain = _PLAIN_SCALE if traits.head == 'cosine' else 1.0
  defaults = _specs.parameters_of(function)
  scale = parameters.get('scale', defaults.get('scale', plain))
  return _part.Part(
    loss=functools.partial(function, **counts, **parameters),
    logit_scale=float(scale),
  )


def _has_default(parameter: inspect.Parameter) -> bool:
  return parameter.default is not inspect.Parameter.empty


def _put(table: dict[str, Choice], name: str, choice: Choice) -> None:
  before = table.get(name)
  # A module that is loaded again, in a notebook, replaces what is its own.
  if before is not None and not _same(before.function, choice.function):
    raise ValueError(
      f'there is a choice {name!r} already, {before.function}. Take another '
      'name.'
    )
  table[name] = choice


def _same(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
  return _origin(one) == _origin(other)


def _origin(function: Callable[..., Any]) -> tuple[str, str]:
  code = getattr(function, '__code__', None)
  file = code.co_filename if code else function.__module__
  return file, function.__qualname__


def _place(error: Exception, function: Callable[..., Any]) -> str:
  """The last line of an error that is in the file of a function."""
  file, _ = _origin(function)
  lines = [
    frame.lineno
    for frame in traceback.extract_tb(error.__traceback__)
    if frame.filename == file
  ]
  return f'{file}:{lines[-1]}' if lines else file


def _put_word(axis: str, name: str, entry: Word) -> None:
  _check_word(axis, name, entry.sets, entry.means)
  AXES[axis].words[name] = entry


def _check_word(
  axis: str,
  name: str,
  sets: Mapping[str, Any],
  means: tuple[str, ...] = (),
) -> None:
  """Refuses a name that is none, or that is taken by another word."""
  for other, known in AXES.items():
    before = known.words.get(name)
    if before is not None and (other, before.sets, before.means) != (
      axis,
      sets,
      means,
    ):
      raise ValueError(
        f'there is a word {name!r} already: {before.about}. Take another name.'
      )
  if not name.isidentifier():
    raise _errors.ConfigError(
      f'a word must be a Python name, such as my_loss, got {name!r}.'
    )
