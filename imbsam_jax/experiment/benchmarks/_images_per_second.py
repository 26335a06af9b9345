# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Images a second of whole steps, beside steps of PyTorch in turns."""

from collections.abc import Iterator
from collections.abc import Mapping
from concurrent import futures
import os
import resource
import statistics
from typing import NamedTuple

import jax

from imbsam_jax import data as data_lib
from imbsam_jax import training
from imbsam_jax._runs import console
from imbsam_jax.experiment.benchmarks import _compiled_step
from imbsam_jax.experiment.benchmarks import _pytorch
from imbsam_jax.experiment.benchmarks import _workload

_MODEL = 'resnet32'
_BATCH_SIZE = 128
_RHO = 0.05


class Throughput(NamedTuple):
  """Images a second of one kind of step.

  Attributes:
    method: 'sgd', 'sam' or 'imbsam'.
    norm: 'group' or 'batch'.
    steps_per_call: Steps in one call of the device.
    images_per_second: Speed of our step, the median over the turns.
    pytorch: Those of PyTorch by mode, 'eager' or 'compiled'; empty without it.
    ratios: Ours over those of PyTorch by mode, medians over pairs of turns.
    page_faults: Pages that the kernel had to make for a step.
    kernel_share: Share of the time on the processor that the kernel took.
  """

  method: str
  norm: str
  steps_per_call: int
  images_per_second: float
  pytorch: Mapping[str, float]
  ratios: Mapping[str, float]
  page_faults: float
  kernel_share: float


def throughputs(
  pytorch: _pytorch.PyTorch | None,
  *,
  pairs: int,
  num_steps: int,
  say: console.Say,
) -> Iterator[Throughput]:
  """Steps of a ResNet-32 on 128 images, of which 24 are of tail classes.

  With GroupNorm ImbSAM's rows are split; with BatchNorm they stay together,
  which is what the released code computes.

  Args:
    pytorch: The process beside, or None.
    pairs: Turns of each kind of step.
    num_steps: Steps of a turn.
    say: Called with a line on what is compiled.

  Yields:
    One kind of step at a time, as it is measured.
  """
  accelerated = jax.default_backend() != 'cpu'
  kinds = [
    (method, norm, per_call)
    for norm, methods in (
      ('group', ('sgd', 'sam', 'imbsam')),
      ('batch', ('sgd', 'imbsam')),
    )
    for method in methods
    for per_call in ((1, 10) if accelerated and norm == 'group' else (1,))
  ]
  say(f'compiling {len(kinds)} programs ...')
  if pytorch is not None:
    # It compiles too, meanwhile.
    pytorch.warm_up([(method, norm) for method, norm, _ in kinds])
  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    made = list(pool.map(lambda kind: _make(*kind), kinds))
  if pytorch is not None:
    pytorch.wait()
  for kind, compiled in zip(kinds, made, strict=True):
    yield _measure(compiled, *kind, pytorch, pairs, num_steps)


def _make(method: str, norm: str, per_call: int) -> _compiled_step.CompiledStep:
  workload = _workload.Workload(_MODEL, norm, batch_size=_BATCH_SIZE)
  rules, counts = training.update_rules, workload.class_counts
  rule = {
    'sgd': lambda: rules.sgd(counts),
    'sam': lambda: rules.sam(counts, _RHO),
    'imbsam': lambda: rules.imbsam(counts, _RHO, threshold=100),
  }[method]()
  if method == 'imbsam' and norm == 'group':
    batch = workload.stratified(rule, 'split')[0]
  else:
    batch = workload.batches(rule, layout='joint')[0]
  if per_call == 1:
    return workload.compiled_step(rule, batch)
  return workload.compiled_scan(
    rule, data_lib.stack_batches([batch] * per_call)
  )


def _measure(
  compiled: _compiled_step.CompiledStep,
  method: str,
  norm: str,
  per_call: int,
  pytorch: _pytorch.PyTorch | None,
  pairs: int,
  num_steps: int,
) -> Throughput:
  num_calls = -(-num_steps // per_call)
  modes = () if pytorch is None else pytorch.modes
  images = num_calls * per_call * _BATCH_SIZE
  compiled.seconds(1)
  ours: list[float] = []
  theirs: dict[str, list[float]] = {mode: [] for mode in modes}
  faults, kernel, busy = 0, 0.0, 0.0
  for _ in range(pairs):
    before = resource.getrusage(resource.RUSAGE_SELF)
    ours.append(images / compiled.seconds(num_calls))
    after = resource.getrusage(resource.RUSAGE_SELF)
    faults += after.ru_minflt - before.ru_minflt
    kernel += after.ru_stime - before.ru_stime
    busy += after.ru_utime - before.ru_utime
    for mode in modes:
      assert pytorch is not None
      seconds = pytorch.seconds(method, norm, mode, num_steps)
      theirs[mode].append(num_steps * _BATCH_SIZE / seconds)
  return Throughput(
    method=method,
    norm=norm,
    steps_per_call=per_call,
    images_per_second=statistics.median(ours),
    pytorch={mode: statistics.median(rates) for mode, rates in theirs.items()},
    ratios={
      mode: statistics.median(
        one / other for one, other in zip(ours, rates, strict=True)
      )
      for mode, rates in theirs.items()
    },
    page_faults=faults / (pairs * num_calls * per_call),
    kernel_share=kernel / max(kernel + busy, 1e-9),
  )
