# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Measures what steps cost, in steps of SGD, on whatever device there is.

  python -m experiments.benchmark --json=benchmark.json

Ratios only: each is the median over pairs of measurements in turns. With
XLA_FLAGS=--xla_force_host_platform_device_count=8 a CPU counts as eight
devices, for the row that compares devices.
"""

from collections.abc import Sequence
import datetime
import json
import pathlib

from absl import flags

from experiments import app

_MODEL = flags.DEFINE_string('model', 'resnet32', 'Network for 32x32 images.')
_PAIRS = flags.DEFINE_integer('pairs', 5, 'Pairs of measurements.', 1)
_STEPS = flags.DEFINE_integer('steps', 3, 'Steps of a measurement.', 1)
_JSON = flags.DEFINE_string('json', None, 'File for the numbers.')
_ROWS = flags.DEFINE_list(
  'rows',
  ['steps', 'optax', 'pipeline', 'side_by_side', 'devices'],
  'What to measure.',
)


def main(argv: Sequence[str]) -> None:
  """Measures, prints the table, writes the file."""
  del argv
  # Imported here: --help must not wait for JAX.
  import jax

  from experiments import benchmarks
  from experiments import console

  app.cache_compilations()
  much = {'pairs': _PAIRS.value, 'num_steps': _STEPS.value}
  kinds = {
    'steps': lambda: benchmarks.step_rows(_MODEL.value, **much),
    'optax': lambda: [benchmarks.optax_row(_MODEL.value, **much)],
    'pipeline': lambda: [benchmarks.pipeline_row(_MODEL.value, **much)],
    'side_by_side': lambda: [benchmarks.side_by_side_row(**much)],
    'devices': lambda: [benchmarks.devices_row()],
  }
  unknown = [name for name in _ROWS.value if name not in kinds]
  if unknown:
    raise app.UsageError(
      f'--rows knows {", ".join(kinds)}, got {", ".join(unknown)}.'
    )
  rows = []
  for name in _ROWS.value:
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
    f'\n{_MODEL.value}, {jax.device_count()} x {device}, JAX '
    f'{jax.__version__}, {datetime.date.today().isoformat()}, '
    f'{_PAIRS.value} pairs of {_STEPS.value} steps'
  )
  if _JSON.value:
    pathlib.Path(_JSON.value).write_text(
      json.dumps(
        {
          'device': device,
          'jax': jax.__version__,
          'date': datetime.date.today().isoformat(),
          'model': _MODEL.value,
          'rows': [row._asdict() for row in rows],
        },
        indent=2,
      )
      + '\n'
    )


def _number(value: float | None) -> str:
  return '' if value is None else f'{value:.3f}'


if __name__ == '__main__':
  app.run(main)
