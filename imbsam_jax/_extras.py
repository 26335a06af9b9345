# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks that what an extra brings is installed, with one message."""

import importlib.util
import sys

_DATA = ('grain', 'PIL')
_TRAINING = ('flax', *_DATA, 'orbax')
_EXPERIMENT = (*_TRAINING, 'tqdm')
_PROGRAMS = (*_EXPERIMENT, 'absl', 'ml_collections')
# For each sub-package that needs more than jax, optax and numpy: its extra, and
# the modules that it imports at once, by name of the module.
_NEEDS = {
  'anomaly': ('train', (*_EXPERIMENT, 'sklearn')),
  'data': ('data', _DATA),
  'experiment': ('train', _EXPERIMENT),
  'methods': ('train', _EXPERIMENT),
  'models': ('models', ('flax',)),
  'pretrained': ('pretrained', ('flax', 'safetensors')),
  'training': ('train', _TRAINING),
}

# By extra, what is imported where a field asks for it.
_LATE = {
  'export': ('flatbuffers', 'safetensors'),
  'log': ('tensorboard',),
  'onnx': ('jax2onnx', 'onnx', 'onnxruntime'),
}


def is_there(package: str) -> bool:
  """Whether what a sub-package needs is installed."""
  return package not in _NEEDS or not _absent(_NEEDS[package][1])


def check(package: str) -> None:
  """Refuses to import a sub-package without what it needs.

  Args:
    package: Name of the sub-package, such as 'data'.

  Raises:
    ImportError: If a package is missing; the message names it, and the command
      that installs it.
  """
  extra, modules = _NEEDS[package]
  absent = _absent(modules)
  if absent:
    raise ImportError(
      f'imbsam_jax.{package} needs {_advice(extra, absent)}',
      name=absent[0],
    )


def lacking(extra: str) -> str:
  """What to install for something that is imported when it is asked for.

  Args:
    extra: Name of the extra.

  Returns:
    The extra and the command; '' if nothing is missing.
  """
  absent = _absent(_LATE[extra])
  return _advice(extra, absent) if absent else ''


def check_programs() -> None:
  """Ends a program with exit code 2 where the extra `train` is missing."""
  absent = _absent(_PROGRAMS)
  if absent:
    print(
      f'error: the programs need {_advice("train", absent)}', file=sys.stderr
    )
    sys.exit(2)


def _absent(modules: tuple[str, ...]) -> list[str]:
  return [name for name in modules if importlib.util.find_spec(name) is None]


def _advice(extra: str, absent: list[str]) -> str:
  return (
    f"the extra `{extra}`: pip install 'imbsam_jax[{extra}]', in a clone pip "
    f"install '.[{extra}]'. Missing: {', '.join(absent)}."
  )
