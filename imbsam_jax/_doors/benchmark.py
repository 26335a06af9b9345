# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Measures what steps cost, on whatever device there is.

  python -m imbsam_jax benchmark --json=benchmark.json
  python -m imbsam_jax benchmark --rows=images --torch_python=env/bin/python

Costs are in steps of SGD: each is the median over pairs of measurements in
turns. With --rows=images also images a second, and beside them those of PyTorch
in an environment of its own. With
XLA_FLAGS=--xla_force_host_platform_device_count=8 a CPU counts as eight
devices, for the row that compares devices.
"""

import datetime
import difflib
import json
import pathlib
from typing import Any

from absl import flags

from imbsam_jax import _memory
from imbsam_jax._doors import calls

STOPPED = 'stopped; no file was written, and the same command begins anew.'
_ROWS = ('steps', 'optax', 'pipeline', 'side_by_side', 'devices', 'images')


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
    f'What to measure, of {", ".join(_ROWS)}.',
    flag_values=values,
  )
  flags.DEFINE_string(
    'torch_python',
    None,
    'Python of an environment with PyTorch, which takes the same steps in '
    'turns; for --rows=images.',
    flag_values=values,
  )


def main(call: calls.Call) -> None:
  """Measures, prints the table, writes the file."""
  import jax

  from imbsam_jax import experiment as experiment_lib
  from imbsam_jax.experiment import benchmarks

  given = call.flags
  _check(given)
  # First: whether it starts is seen in seconds, and the rest takes minutes.
  pytorch = (
    benchmarks.PyTorch(given.torch_python) if given.torch_python else None
  )
  experiment_lib.cache_compilations()
  device = jax.devices()[0].device_kind
  print(
    f'{given.model} on {jax.device_count()} x {device}, {given.pairs} pairs of '
    f'{given.steps} steps; each program is compiled first',
    flush=True,
  )
  much = {'pairs': given.pairs, 'num_steps': given.steps}
  kinds = {
    'steps': lambda: benchmarks.step_rows(given.model, say=_say, **much),
    'optax': lambda: [benchmarks.optax_row(given.model, **much)],
    'pipeline': lambda: [benchmarks.pipeline_row(given.model, **much)],
    'side_by_side': lambda: [benchmarks.stacked_row(**much)],
    'devices': lambda: [benchmarks.devices_row()],
  }
  rows = []
  for name in filter(kinds.get, given.rows):
    _say(f'measuring {name} ...')
    for row in kinds[name]():
      rows.append(row)
      # At once: the rest may take minutes.
      print(f'{row.name}: {_number(row.time) or row.note}', flush=True)
  throughputs = _throughputs(pytorch, **much) if 'images' in given.rows else []
  peak_memory = 1e-9 * _memory.peak()
  if rows:
    print()
    print(_table_of_costs(rows))
  if throughputs:
    print()
    print(_table_of_throughputs(throughputs))
  today = datetime.date.today().isoformat()
  versions = f'JAX {jax.__version__}' + (
    f', PyTorch {pytorch.version}' if pytorch else ''
  )
  print(
    f'\n{given.model}, {jax.device_count()} x {device}, {versions}, {today}, '
    f'{given.pairs} pairs of {given.steps} steps, at most '
    f'{peak_memory:.1f} GB of memory'
    + (', kept between steps' if _memory.is_kept() else '')
  )
  if given.json:
    pathlib.Path(given.json).expanduser().write_text(
      json.dumps(
        {
          'device': device,
          'jax': jax.__version__,
          'peak_memory_gb': peak_memory,
          'memory_kept': _memory.is_kept(),
          'pytorch': pytorch.version if pytorch else None,
          'date': today,
          'model': given.model,
          'rows': [row._asdict() for row in rows],
          'images_per_second': [one._asdict() for one in throughputs],
        },
        indent=2,
      )
      + '\n'
    )


def _throughputs(pytorch: Any, **much: int) -> list[Any]:
  """What was measured; the process of PyTorch ends."""
  from imbsam_jax.experiment import benchmarks

  measured = []
  _say('measuring images ...')
  try:
    for one in benchmarks.throughputs(pytorch, say=_say, **much):
      measured.append(one)
      beside = ''.join(
        f', PyTorch {mode} {rate:,.0f}' for mode, rate in one.pytorch.items()
      )
      print(
        f'{_kind(one)}: {one.images_per_second:,.0f} images/s{beside}',
        flush=True,
      )
  finally:
    if pytorch is not None:
      pytorch.close()
  return measured


def _table_of_costs(rows: list[Any]) -> str:
  from imbsam_jax._runs import console

  return console.markdown_table(
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


def _table_of_throughputs(throughputs: list[Any]) -> str:
  from imbsam_jax._runs import console

  modes = list(throughputs[0].pytorch)
  return console.markdown_table(
    [
      'ResNet-32, 128 images',
      'images/s',
      *(f'PyTorch {mode}' for mode in modes),
      *(f'ratio to {mode}' for mode in modes),
      'page faults a step',
      'time in the kernel, %',
    ],
    [
      [
        _kind(one),
        f'{one.images_per_second:,.0f}',
        *(f'{one.pytorch[mode]:,.0f}' for mode in modes),
        *(f'{one.ratios[mode]:.2f}' for mode in modes),
        f'{one.page_faults:,.0f}',
        f'{100 * one.kernel_share:.0f}',
      ]
      for one in throughputs
    ],
  )


def _kind(one: Any) -> str:
  """'imbsam, GroupNorm, 10 steps a call', as the tables name it."""
  norm = {'group': 'GroupNorm', 'batch': 'BatchNorm'}[one.norm]
  several = one.steps_per_call
  return f'{one.method}, {norm}' + (
    f', {several} steps a call' if several > 1 else ''
  )


def _check(given: Any) -> None:
  """Refuses what would only be seen after minutes, or not at all."""
  from imbsam_jax import _errors
  from imbsam_jax import models

  for flag, given_names, known in (
    ('rows', given.rows, _ROWS),
    ('model', [given.model], models.MODEL_NAMES),
  ):
    for name in given_names or ['']:
      if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f' Did you mean {near[0]!r}?' if near else ''
        raise _errors.ConfigError(
          f'--{flag} knows {", ".join(known)}, got {name!r}.{hint}'
        )
  if given.torch_python and 'images' not in given.rows:
    raise _errors.ConfigError(
      '--torch_python takes part in the rows `images` alone, and --rows has '
      f'{", ".join(given.rows)}. Add images to --rows, or leave it out.'
    )
  path = pathlib.Path(given.json or '.').expanduser()
  if given.json and (path.is_dir() or not path.parent.is_dir()):
    raise _errors.ConfigError(
      f'--json={given.json} must be a file in a folder that there is.'
    )


def _say(text: str) -> None:
  print(text, flush=True)


def _number(value: float | None) -> str:
  return '' if value is None else f'{value:.3f}'
