# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""By what a network or a loss of one's own is known again.

By what it computes, not by its source: a program that is run again has other
addresses, and a function may have moved. Arrays that a function holds are left
out, and so are the values of parameters. A method of one's own has many parts,
and is known by its source.
"""

import ast
from collections.abc import Callable
import dataclasses
import hashlib
import inspect
import re
import textwrap
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from imbsam_jax import training

_ADDRESS = re.compile(r' at 0x[0-9a-f]+')
# Fields of every Linen module.
_OF_LINEN = ('parent', 'name')


def trace(function: Callable[..., Any], *arguments: Any) -> tuple[str, Any]:
  """What a function computes as text, and what it gives, in shapes.

  Args:
    function: A function of arrays.
    *arguments: Shapes and dtypes of its arguments.
  """
  traced, outputs = jax.make_jaxpr(function, return_shape=True)(*arguments)
  # In a terminal and in a notebook it would be colored.
  text: Any = traced.jaxpr.pretty_print(use_color=False)
  return text, outputs


def of_model(model: Any, traces: list[str], variables: Any) -> dict[str, Any]:
  """A network, for ``own.json``.

  Args:
    model: The network that was passed to `build`.
    traces: Texts of `trace`, of all that is computed with it.
    variables: Shapes and dtypes of its variables.
  """
  leaves, _ = jax.tree_util.tree_flatten_with_path(variables)
  return _known(_shown(model), traces) | {
    'variables': {
      jax.tree_util.keystr(path, simple=True, separator='/'): (
        f'{x.dtype}{list(x.shape)}'
      )
      for path, x in leaves
    }
  }


def of_loss(loss: Callable[..., Any], num_classes: int) -> dict[str, Any]:
  """A loss, for ``own.json``.

  Args:
    loss: A loss of logits and labels.
    num_classes: Number of classes, C.
  """
  options = {'key': jax.random.key(0)} if training.takes_key(loss) else {}
  text, _ = trace(
    lambda z, y: loss(z, y, **options),
    jax.ShapeDtypeStruct((2, num_classes), jnp.float32),
    jax.ShapeDtypeStruct((2,), jnp.int32),
  )
  return _known(_shown(loss), [text])


def of_word(function: Callable[..., Any]) -> dict[str, Any] | None:
  """A method of one's own, for ``own.json``; None where its source is unknown.

  By its source without comments, and that of the functions and classes of its
  file that it names.

  Args:
    function: What was registered.
  """
  try:
    text = '\n'.join(_sources(function, {}).values())
  except (OSError, TypeError, SyntaxError):
    return None
  return {
    'about': _shown(function),
    'computes': hashlib.sha256(text.encode()).hexdigest(),
    'jax': '',  # Whatever the version.
  }


def _sources(part: Any, known: dict[str, str]) -> dict[str, str]:
  """Sources by name, without comments."""
  if inspect.isclass(part):
    # Of a file that was run, Python finds those of its functions alone.
    plain = {
      name: value
      for name, value in vars(part).items()
      if isinstance(value, int | float | str | tuple) and name[:2] != '__'
    }
    known[part.__qualname__] = f'{part.__name__} {plain}'
    for value in vars(part).values():
      if inspect.isfunction(value):
        _sources(value, known)
    return known
  function = inspect.unwrap(part)
  tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
  known[function.__qualname__] = ast.unparse(tree)
  names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
  for name in sorted(names):
    other = function.__globals__.get(name)
    is_code = inspect.isfunction(other) or inspect.isclass(other)
    if is_code and other.__module__ == function.__module__:
      if other.__qualname__ not in known:
        _sources(other, known)
  return known


def _known(about: str, traces: list[str]) -> dict[str, Any]:
  # JAX leaves addresses out itself.
  text = ' '.join('\n'.join(traces).split())
  return {
    'about': about,
    'computes': hashlib.sha256(text.encode()).hexdigest(),
    'jax': jax.__version__,
  }


def _shown(part: Any) -> str:
  """A network or loss as it shows itself, in a line without addresses."""
  if isinstance(part, nn.Module):
    values = ', '.join(
      f'{field.name}={_shown(getattr(part, field.name))}'
      for field in dataclasses.fields(part)  # pyrefly: ignore
      if field.name not in _OF_LINEN
    )
    text = f'{type(part).__name__}({values})'
  else:
    text = getattr(part, '__name__', None) or repr(part)
  return ' '.join(_ADDRESS.sub('', text).split())
