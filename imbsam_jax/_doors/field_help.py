# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The fields of a configuration, for --help.

Read from the source of the dataclasses, because to import them is to import
JAX, and --help must not wait for it.
"""

import ast
import pathlib
import re
import textwrap
from typing import NamedTuple

import imbsam_jax

_WIDTH = 80
_HEAD = (
  'fields, with their types and defaults; a recipe and method words set other '
  'values, and what is typed here counts more than both:'
)


class Field(NamedTuple):
  """A field as it is written.

  Attributes:
    type: Its annotation.
    default: Its value.
    about: The first sentence of its documentation, or nothing.
  """

  type: str
  default: str
  about: str


def text(recipes: str) -> str:
  """The fields of a program's configurations, two lines or more each.

  Args:
    recipes: Name of the package of its recipes.
  """
  lines = textwrap.wrap(_HEAD, _WIDTH)
  for name, field in fields(recipes).items():
    lines.append(f'  --config.{name}  {field.type}  {field.default}')
    lines += textwrap.wrap(
      field.about,
      _WIDTH,
      initial_indent=' ' * 4,
      subsequent_indent=' ' * 4,
      break_on_hyphens=False,
    )
  return '\n'.join(lines)


def fields(recipes: str) -> dict[str, Field]:
  """The fields by dotted name, in the order of their dataclasses.

  Args:
    recipes: Name of the package of its recipes.
  """
  _, *folders = recipes.split('.')[:-1]
  root = pathlib.Path(imbsam_jax.__file__).parent
  tree = ast.parse(root.joinpath(*folders, '_config.py').read_text())
  classes = {n.name: n for n in tree.body if isinstance(n, ast.ClassDef)}
  return _fields_of(classes['Config'], classes)


def _fields_of(
  config: ast.ClassDef, classes: dict[str, ast.ClassDef]
) -> dict[str, Field]:
  about = _sentences(ast.get_docstring(config) or '')
  listed: dict[str, Field] = {}
  for node in config.body:
    if not isinstance(node, ast.AnnAssign) or node.value is None:
      continue
    name, kind = ast.unparse(node.target), ast.unparse(node.annotation)
    if kind in classes:
      part = _fields_of(classes[kind], classes)
      listed |= {f'{name}.{inner}': field for inner, field in part.items()}
    else:
      default = repr(ast.literal_eval(node.value))
      listed[name] = Field(kind, default, about.get(name, ''))
  return listed


def _sentences(docstring: str) -> dict[str, str]:
  """By name the first sentence on an attribute."""
  _, _, attributes = docstring.partition('\nAttributes:\n')
  # An entry goes on in lines that are indented further.
  entries = re.findall(r'(?m)^  (\w+): (.*(?:\n    .*)*)', attributes)
  return {
    name: re.split(r'(?<=[.])\s', ' '.join(about.split()))[0]
    for name, about in entries
  }
