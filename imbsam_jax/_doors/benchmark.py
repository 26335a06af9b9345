# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Measures what steps cost, in steps of SGD, on whatever device there is.

  python -m imbsam_jax benchmark --json=benchmark.json

Ratios only: each is the median over pairs of measurements in turns. With
XLA_FLAGS=--xla_force_host_platform_device_count=8 a CPU counts as eight
devices, for the row that compares devices.
"""

import datetime
import difflib
import json
import pathlib
from typing import Any

from absl import flags

from imbsam_jax._doors import calls

_ROWS = ('steps', 'optax', 'pipeline', 'side_by_side', 'devices')


def define(values: flags.FlagValues) -> None:
  """Defines the flags."""
  flags.DEFINE_string(
    'model', 'resnet32', 'Network for 32x32 images.', flag_values=values
  )
  flags.DEFINE_integer(
    'pairs', 5, 'Pairs of measurements.', 1, flag_values=values
  )
  flags.DEFINE_integer(
    'steps', 3, 'Steps of a measurement.', 1, flag_values=values
  )
  flags.DEFINE_string('json', None, 'File for the numbers.', flag_values=values)
  flags.DEFINE_list(
    'rows',
    list(_ROWS),
    'What to measure.',
    flag_values=values,
  )


def main(call: calls.Call) -> None:
  """Measures, prints the table, writes the file."""
  import jax

  from imbsam_jax import experiment as experiment_lib
  from imbsam_jax._runs import console
  from imbsam_jax.experiment import benchmarks

  given = call.flags
  _check(given)
  experiment_lib.cache_compilations()
  much = {'pairs': given.pairs, 'num_steps': given.steps}
  kinds = {
    'steps': lambda: benchmarks.step_rows(given.model, **much),
    'optax': lambda: [benchmarks.optax_row(given.model, **much)],
    'pipeline': lambda: [benchmarks.pipeline_row(given.model, **much)],
    'side_by_side': lambda: [benchmarks.side_by_side_row(**much)],
    'devices': lambda: [benchmarks.devices_row()],
  }
  rows = []
  for name in given.rows:
    for row in kinds[name]():
      rows.append(row)
      # At once: the rest may take minutes.
      print(f'{row.name}: {_number(row.time) or row.note}', flush=True)
  device = jax.devices()[0].device_kind
  print()
  print(
    console.markdown_table(
      ['in steps of SGD', 'FLOPs', 'time', 'aim, time', 'note'],
      [
        [
          row.name,
          _number(row.flops),
          _number(row.time),
          _number(row.target),
          row.note,
        ]
        for row in rows
      ],
    )
  )
  print(
    f'\n{given.model}, {jax.device_count()} x {device}, JAX '
    f'{jax.__version__}, {datetime.date.today().isoformat()}, '
    f'{given.pairs} pairs of {given.steps} steps'
  )
  if given.json:
    pathlib.Path(given.json).expanduser().write_text(
      json.dumps(
        {
          'device': device,
          'jax': jax.__version__,
          'date': datetime.date.today().isoformat(),
          'model': given.model,
          'rows': [row._asdict() for row in rows],
        },
        indent=2,
      )
      + '\n'
    )


def _check(given: Any) -> None:
  """Refuses what would only be seen after minutes, or not at all."""
  from imbsam_jax import _errors
  from imbsam_jax import models

  for flag, found, known in (
    ('rows', given.rows, _ROWS),
    ('model', [given.model], models.MODEL_NAMES),
  ):
    for name in found or ['']:
      if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f' Did you mean {near[0]!r}?' if near else ''
        raise _errors.ConfigError(
          f'--{flag} knows {", ".join(known)}, got {name!r}.{hint}'
        )
  path = pathlib.Path(given.json or '.').expanduser()
  if given.json and (path.is_dir() or not path.parent.is_dir()):
    raise _errors.ConfigError(
      f'--json={given.json} must be a file in a folder that there is.'
    )


def _number(value: float | None) -> str:
  return '' if value is None else f'{value:.3f}'
