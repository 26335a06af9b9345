# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Docstrings, comments, messages and pages keep to one language.

The sources are read as text: nothing of the library is imported.
"""

import ast
from collections.abc import Iterator
import functools
import io
import pathlib
import re
import tokenize

import pytest

_ROOT = pathlib.Path(__file__).parents[1]
_FOLDERS = ('imbsam_jax', 'experiments')
_SOURCES = sorted(
  path for folder in _FOLDERS for path in (_ROOT / folder).rglob('*.py')
)
# Sources whose prose is read, tests too.
_PROSE = sorted(
  {*_SOURCES}
  | {
    path
    for folder in ('tests', 'results', 'colab', 'docs')
    for path in (_ROOT / folder).rglob('*.py')
  }
  - {pathlib.Path(__file__)}
)
_PAGES = sorted(
  path
  for pattern in ('*.md', 'docs/*.md', 'results/*.md', 'experiments/*.md')
  for path in _ROOT.glob(pattern)
)

# Verbs in -ise that are in -ize in American spelling, by their stems.
_ISE = (
  'author categor character cris custom discret emphas equal factor final '
  'general harmon initial local material maxim memor minim modern neutral '
  'normal optim organ parallel penal popular prior quant random rational real '
  'recogn regular serial special stabil standard summar symbol synchron '
  'synthes token util vector visual'
)
_BRITISH = re.compile(
  r'\b(?:(?:de|re|un|pre|non|over)-?)?(?:'
  rf'(?:{"|".join(_ISE.split())})'
  r'is(?:e[drs]?|es|ing|ers|able|ations?|ational)'
  r'|(?:behavi|col|fav|flav|harb|hon|hum|lab|neighb|rum|vig)our\w*'
  r'|cent(?:re[ds]?|ring)|(?:kilo|milli)?metres?|fibres?|theatres?'
  r'|(?:cancel|channel|label|level|model|signal|total|travel|tunnel)'
  r'l(?:ed|ers?|ing)'
  r'|(?:anal|catal|paral)ys(?:e|ed|ing)|catalogue[ds]?|analogues?'
  r'|grey(?:s|scale)?|whilst|amongst|learnt|spelt|burnt|programmes?|licences?'
  r'|artefacts?|judgements?|defences?|fulfil|skilful|ageing|practis(?:e[ds]?|ing)'
  r')\b',
  re.IGNORECASE,
)
# Names of things in code, and addresses, are not prose.
_CODE = re.compile(r'``.*?``|`[^`\s<>]*`|https?://\S+|\]\([^)]*\)', re.DOTALL)


@functools.cache
def _tree(path: pathlib.Path) -> ast.Module:
  return ast.parse(path.read_text(encoding='utf-8'))


def _docstrings(tree: ast.Module) -> Iterator[tuple[str, str]]:
  kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
  for node in ast.walk(tree):
    if isinstance(node, kinds):
      text = ast.get_docstring(node)
      if text:
        yield getattr(node, 'name', 'the module'), text


def _fields(text: str) -> Iterator[tuple[str, str, str]]:
  """Sections, names and first lines of the fields of a docstring."""
  section = ''
  for line in text.splitlines():
    if line and not line.startswith(' '):
      section = line
    entry = re.match(r'  ([*\w]+):\s*(.*)', line)
    if section in ('Args:', 'Attributes:', 'Raises:') and entry:
      yield section[:-1], entry[1], entry[2]


def _all_fields() -> Iterator[tuple[str, str, str]]:
  """Sections and first lines of all fields, and how a message shows each."""
  for path in _SOURCES:
    for name, docstring in _docstrings(_tree(path)):
      for section, field, text in _fields(docstring):
        shown = f'{path.relative_to(_ROOT)}: {name}: `{field}: {text}`'
        yield section, text, shown


def _variables(tree: ast.Module) -> Iterator[tuple[str, int]]:
  for node in ast.walk(tree):
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
      yield node.id, node.lineno
    elif isinstance(node, ast.arg):
      yield node.arg, node.lineno


def _prose(source: str) -> Iterator[tuple[int, str]]:
  """Comments, docstrings and sentences of a source, with their lines."""
  strings = (tokenize.STRING, getattr(tokenize, 'FSTRING_MIDDLE', -1))
  for token in tokenize.generate_tokens(io.StringIO(source).readline):
    is_sentence = token.type in strings and ' ' in token.string
    if token.type == tokenize.COMMENT or is_sentence:
      for offset, line in enumerate(_without_code(token.string).splitlines()):
        if not line.lstrip().startswith(('>>> ', '... ')):
          yield token.start[0] + offset, line


def _without_code(text: str) -> str:
  # As many lines as before, so that the number of a line stays right.
  return _CODE.sub(lambda match: '`' + '\n' * match[0].count('\n'), text)


def _page_prose(text: str) -> str:
  text = re.sub(
    r'^```.*?^```', lambda m: '\n' * m[0].count('\n'), text, flags=re.M | re.S
  )
  return _without_code(text)


def _british(path: pathlib.Path) -> list[str]:
  text = path.read_text(encoding='utf-8')
  if path.suffix == '.py':
    lines = list(_prose(text))
  else:
    lines = list(enumerate(_page_prose(text).splitlines(), start=1))
  return [
    f'{path.relative_to(_ROOT)}:{number}: {word}'
    for number, line in lines
    for word in _BRITISH.findall(line)
  ]


def test_no_field_begins_with_of():
  wrong = [shown for _, text, shown in _all_fields() if text.startswith('Of ')]
  assert not wrong, 'say what the field is, not of what:\n' + '\n'.join(wrong)


def test_fields_and_errors_are_sentences():
  wrong = [
    shown
    for section, text, shown in _all_fields()
    if (section == 'Raises' and not text.startswith('If '))
    or re.match(r'[a-z]+ ', text)
  ]
  assert not wrong, (
    '`features: Float array, shape ...`, `ValueError: If ...`:\n'
    + '\n'.join(wrong)
  )


def test_no_variable_is_called_found():
  wrong = [
    f'{path.relative_to(_ROOT)}:{line}'
    for path in _SOURCES
    for name, line in _variables(_tree(path))
    if name == 'found'
  ]
  assert not wrong, 'name what was found:\n' + '\n'.join(wrong)


def test_spelling_is_american():
  wrong = [line for path in [*_PROSE, *_PAGES] for line in _british(path)]
  assert not wrong, 'American spelling:\n' + '\n'.join(wrong)


@pytest.mark.parametrize(
  'text, count',
  [
    ('# Grey neighbours, normalised.\n', 3),
    ('"""A labelled centre.\n\n`centre`, ``grey``, see `grey_of`."""\n', 2),
    ("raise ValueError(f'{x} is not initialised.')\n", 1),
    ("key = 'labelled'\ncentre = grey\n", 0),
    ('# Precise exercises, otherwise optimistic analyses of realism.\n', 0),
  ],
)
def test_british_words_are_seen_in_prose_alone(text, count):
  words = [word for _, line in _prose(text) for word in _BRITISH.findall(line)]
  assert len(words) == count
