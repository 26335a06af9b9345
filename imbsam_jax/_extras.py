# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Packages that an extra brings: what is missing is said in one message."""

import importlib.util
import sys

# What is imported at once, by name of the module.
_TRAIN = ('flax', 'grain', 'orbax', 'tqdm')
_PROGRAMS = (*_TRAIN, 'absl', 'ml_collections')


def check_train() -> None:
  """Refuses to import what needs the extra `train` without it.

  Raises:
    ImportError: Names what is missing, and what to type.
  """
  message = _missing('imbsam_jax.experiment', _TRAIN)
  if message:
    raise ImportError(message)


def check_programs() -> None:
  """Ends a program with exit code 2 where the extra `train` is missing."""
  message = _missing('the programs', _PROGRAMS)
  if message:
    print(f'error: {message}', file=sys.stderr)
    sys.exit(2)


def _missing(what: str, modules: tuple[str, ...]) -> str:
  absent = [m for m in modules if importlib.util.find_spec(m) is None]
  if not absent:
    return ''
  verb = 'needs' if what.startswith('imbsam_jax') else 'need'
  return (
    f"{what} {verb} the extra `train`: pip install 'imbsam_jax[train]', in a "
    f"clone pip install '.[train]'. Missing: {', '.join(absent)}."
  )
