# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Files that register words, for the time of a test."""

from collections.abc import Iterator
import contextlib
import importlib.util
import pathlib
from typing import Any

from imbsam_jax import methods

ROOT = pathlib.Path(__file__).resolve().parents[1]


@contextlib.contextmanager
def registered(*paths: str) -> Iterator[list[Any]]:
  """Runs files of the repository; forgets their words afterwards."""
  tables = [table for axis in methods.AXES.values() for table in axis[2:]]
  before = [dict(table) for table in tables]
  try:
    yield [run(path) for path in paths]
  finally:
    for table, old in zip(tables, before, strict=True):
      table.clear()
      table.update(old)


def run(path: str) -> Any:
  """Runs a file of the repository as a module of its own."""
  name = pathlib.Path(path).stem
  spec: Any = importlib.util.spec_from_file_location(name, ROOT / path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module
