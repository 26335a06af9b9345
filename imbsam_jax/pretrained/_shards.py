# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The index of a folder in which the tensors are spread over several files."""

import json
import pathlib
from typing import Any

SUFFIX = '.safetensors.index.json'
# Parsed, JSON takes ten times as much memory.
_MAX_BYTES = 8 << 20


def read_index(path: pathlib.Path) -> dict[str, str]:
  """Name of the file in the same folder that holds each tensor.

  Args:
    path: Path of ``model.safetensors.index.json``.

  Raises:
    ValueError: If it is no such index, or names files elsewhere.
  """
  if path.stat().st_size > _MAX_BYTES:
    raise ValueError(
      f'{path} has {path.stat().st_size} bytes, more than an index can have.'
    )
  content = _parsed(path)
  weight_map = content.get('weight_map')
  if not isinstance(weight_map, dict) or not weight_map:
    raise ValueError(
      f"{path} has no 'weight_map' from keys to files. Pass the path of the "
      'file of weights itself.'
    )
  for key, name in weight_map.items():
    if (
      not isinstance(name, str)
      or not name.endswith('.safetensors')
      or name != pathlib.PurePosixPath(name).name
      or '\\' in name
      or '\0' in name
    ):
      raise ValueError(
        f'{path}: {key!r} must be in a .safetensors file of the same folder, '
        f'and is said to be in {name!r}.'
      )
  return weight_map


def _parsed(path: pathlib.Path) -> dict[str, Any]:
  try:
    content = json.loads(path.read_bytes().decode())
  except (ValueError, RecursionError, MemoryError) as error:
    raise ValueError(
      f'{path} is not JSON: {str(error)[:200]}. Download it again.'
    ) from error
  if not isinstance(content, dict):
    raise ValueError(f'{path} is no object of JSON. Download it again.')
  return content
