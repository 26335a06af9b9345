# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""``calibration.json`` and ``calibration.npz``: what `calibrate` has fitted.

The arrays of a method are called 'method/array'. The JSON file is written last,
and has the checksum of the other one.
"""

from collections.abc import Mapping
import hashlib
import io
import json
import os
import pathlib
from typing import Any

import numpy as np

from imbsam_jax import _npz
from imbsam_jax import training
from imbsam_jax.experiment import _correction

NAME = 'calibration.json'
ARRAYS = 'calibration.npz'
_FORMAT = 2
_AGAIN = 'Call the program that wrote it, `calibrate`, again.'


def write(
  workdir: pathlib.Path,
  content: Mapping[str, Any],
  corrections: Mapping[str, _correction.Correction],
) -> None:
  """Writes both files, each of which is the old or the new one.

  Args:
    workdir: Folder of the run.
    content: What `Calibration.content` is.
    corrections: The correction of each method that the network admits.
  """
  buffer = io.BytesIO()
  arrays = {
    f'{method}/{name}': np.asarray(x)
    for method, correction in corrections.items()
    for name, x in correction.arrays.items()
  }
  np.savez(buffer, allow_pickle=False, **arrays)
  path = workdir / ARRAYS
  temporary = path.with_name(path.name + '.tmp')
  temporary.write_bytes(buffer.getvalue())
  os.replace(temporary, path)
  training.write_json(
    workdir / NAME,
    {
      'format': _FORMAT,
      **content,
      'arrays_sha256': hashlib.sha256(buffer.getvalue()).hexdigest(),
    },
  )


def read(workdir: pathlib.Path) -> dict[str, Any] | None:
  """The content of ``calibration.json``; None if there is none with arrays.

  Args:
    workdir: Folder of the run.

  Raises:
    CheckpointError: If it cannot be read.
  """
  path = workdir / NAME
  if not path.exists():
    return None
  try:
    content = json.loads(path.read_text(encoding='utf-8'))
    version = content.get('format')
    # Earlier versions wrote metrics alone.
    if version is None and 'methods' in content:
      return None
    if version != _FORMAT:
      raise ValueError(f'format {version!r}, expected {_FORMAT}')
    # What the others need.
    for name in ('step', 'params_sha256', 'arrays_sha256', 'selected'):
      content[name]
    for one in content['methods'].values():
      if one is not None and not float(one['temperature']) > 0:
        raise ValueError(f'temperature {one["temperature"]!r}')
  except (OSError, ValueError, KeyError, TypeError, AttributeError,
          RecursionError) as error:  # fmt: skip
    raise training.CheckpointError(
      f'{path} cannot be read: {error!r}. {_AGAIN}'
    ) from error
  return content


def correction(
  workdir: pathlib.Path, content: Mapping[str, Any], method: str
) -> _correction.Correction:
  """The correction of a method.

  Args:
    workdir: Folder of the run.
    content: From `read`.
    method: A method that has an entry there.

  Raises:
    CheckpointError: If the arrays cannot be read, or are not those that were
      written with ``calibration.json``.
  """
  path = workdir / ARRAYS
  try:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != content['arrays_sha256']:
      raise ValueError(f'its checksum is another one than in {NAME}')
    names = _npz.names_of(path)
    prefix = f'{method}/'
    names = [name for name in names if name.startswith(prefix)]
    arrays = _npz.read(path, names)
  except (OSError, ValueError) as error:
    raise training.CheckpointError(
      f'{path} cannot be read: {error}. {_AGAIN}'
    ) from error
  one = content['methods'][method]
  return _correction.Correction(
    method,
    {name.removeprefix(prefix): x for name, x in arrays.items()},
    float(one['temperature']),
    one['chosen'].get('metric'),
  )
