# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Measures what steps cost, in steps of SGD, on whatever device there is.

  python -m imbsam_jax benchmark --json=benchmark.json

Ratios only: each is the median over pairs of measurements in turns. With
XLA_FLAGS=--xla_force_host_platform_device_count=8 a CPU counts as eight
devices, for the row that compares devices.
"""

import datetime
import json
import pathlib

from absl import flags

from imbsam_jax._doors import calls


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
    ['steps', 'optax', 'pipeline', 'side_by_side', 'devices'],
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
  experiment_lib.cache_compilations()
  much = {'pairs': given.pairs, 'num_steps': given.steps}
  kinds = {
    'steps': lambda: benchmarks.step_rows(given.model, **much),
    'optax': lambda: [benchmarks.optax_row(given.model, **much)],
    'pipeline': lambda: [benchmarks.pipeline_row(given.model, **much)],
    'side_by_side': lambda: [benchmarks.side_by_side_row(**much)],
    'devices': lambda: [benchmarks.devices_row()],
  }
  unknown = [name for name in given.rows if name not in kinds]
  if unknown:
    raise experiment_lib.ConfigError(
      f'--rows knows {", ".join(kinds)}, got {", ".join(unknown)}.'
    )
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
    pathlib.Path(given.json).write_text(
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


def _number(value: float | None) -> str:
  return '' if value is None else f'{value:.3f}'
