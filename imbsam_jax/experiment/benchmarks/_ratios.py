# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What steps cost: compiled FLOPs and times, two at a time in turns.

Ratios of times are medians over pairs of measurements that follow one another,
so that whatever else the machine does hits both.
"""

from collections.abc import Iterator
from concurrent import futures
import os
import statistics
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import imbsam_jax
from imbsam_jax import data as data_lib
from imbsam_jax import losses
from imbsam_jax import training
from imbsam_jax._runs import console
from imbsam_jax.experiment.benchmarks import _compiled_step
from imbsam_jax.experiment.benchmarks import _workload

_RHO = 0.05


class Row(NamedTuple):
  """One line of the table; ratios are those to a step of SGD.

  Attributes:
    name: What was measured.
    flops: Ratio of compiled FLOPs, or None.
    time: Ratio of times, or None.
    target: What the time is to reach, or None.
    note: What else there is to know.
  """

  name: str
  flops: float | None = None
  time: float | None = None
  target: float | None = None
  note: str = ''


def step_rows(
  model: str, *, pairs: int, num_steps: int, say: console.Say
) -> Iterator[Row]:
  """Steps of the methods against steps of SGD, as they are measured."""
  group, batch = (
    _workload.Workload(model, 'group'),
    _workload.Workload(model, 'batch'),
  )
  counts = group.class_counts
  methods = training.update_rules
  sgd, sam = methods.sgd(counts), methods.sam(counts, _RHO)
  rsam = methods.rsam(counts, 0.005, key=jax.random.key(0))
  imbsam = methods.imbsam(counts, _RHO, threshold=100)
  rare = methods.imbsam(counts, _RHO, threshold=20)
  sse = methods.sse_sam(counts, _RHO, _RHO, threshold=100, switch_step=7)
  joint = group.batches(sgd, layout='joint')[0]
  split = group.stratified(imbsam, 'split')[0]
  epoch, frequency = _epoch_of_rare_tails(group, rare)
  makers = {
    'sgd': lambda: group.compiled_step(sgd, joint),
    'sam': lambda: group.compiled_step(sam, joint),
    'rsam': lambda: group.compiled_step(rsam, joint),
    'imbsam': lambda: group.compiled_step(imbsam, split),
    'sse': lambda: group.compiled_step(sse, split),
    'sgd_bn': lambda: batch.compiled_step(sgd, joint),
    'imbsam_bn': lambda: batch.compiled_step(
      imbsam, batch.batches(imbsam, layout='joint')[0]
    ),
    'tail_only_bn': lambda: batch.compiled_step(
      imbsam, batch.stratified(imbsam, 'tail_only')[0]
    ),
    **{
      size: lambda one=one: group.compiled_step(rare, one)
      for size, one in epoch.items()
    },
  }
  say(f'compiling {len(makers)} programs ...')
  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    made = list(pool.map(lambda make: make(), makers.values()))
  compiled_steps: dict[Any, _compiled_step.CompiledStep] = dict(
    zip(makers, made, strict=True)
  )

  def costs(name, base='sgd'):
    one, other = compiled_steps[name], compiled_steps[base]
    measured = _compiled_step.ratio(
      one, other, pairs=pairs, num_steps=num_steps
    )
    return one.flops / other.flops, measured

  def mean(parts):
    weighted_costs = [(weight, costs(name)) for name, weight in parts]
    return tuple(
      sum(weight * cost[k] for weight, cost in weighted_costs) for k in (0, 1)
    )

  yield Row('SAM', *costs('sam'))
  imbsam_costs = costs('imbsam')
  yield Row(
    f'ImbSAM, split rows, tail {group.num_tail}/{group.batch_size}',
    *imbsam_costs,
    target=1.30,
    note='GroupNorm',
  )
  yield Row(
    'ImbSAM, CIFAR-100-LT IF 100, threshold 20, an epoch',
    *mean(frequency.items()),
    target=1.12,
    note=f'{group.batch_size} rows, {len(epoch)} sizes, shuffled',
  )
  pairs_of_costs = zip(costs('sse'), imbsam_costs, strict=True)
  yield Row(
    'SSE-SAM, threshold 100, switch at 0.7, a run',
    *(0.7 * first + 0.3 * second for first, second in pairs_of_costs),
    target=1.85,
    note='stratified; released code: 4.0',
  )
  yield Row('RSAM', *costs('rsam'), target=1.05)
  yield Row(
    'ImbSAM, exact BatchNorm',
    *costs('imbsam_bn', 'sgd_bn'),
    target=2.7,
    note='released code: 2.67',
  )
  yield Row(
    'ImbSAM, BatchNorm, tail_only (approximation)',
    *costs('tail_only_bn', 'sgd_bn'),
  )


def _epoch_of_rare_tails(
  workload: _workload.Workload, method: training.Method
) -> tuple[dict[Any, Any], dict[Any, float]]:
  """A batch of each size that an epoch has, and how often each comes."""
  joint = workload.batches(method, layout='joint')
  steps = range(-(-len(workload.examples.labels) // workload.batch_size))
  num_tail = [int((joint[step].weights[1] != 0).sum()) for step in steps]
  batches = workload.batches(
    method,
    layout='split',
    tail_sizes=data_lib.choose_tail_sizes(
      num_tail, batch_size=workload.batch_size, row_multiple=workload.mesh.size
    ),
  )
  epoch: dict[Any, Any] = {}
  frequency: dict[Any, float] = {}
  for step in steps:
    sizes = tuple(map(len, batches[step].weights))
    epoch.setdefault(sizes, batches[step])
    frequency[sizes] = frequency.get(sizes, 0.0) + 1 / len(steps)
  return epoch, frequency


def optax_row(model: str, *, pairs: int, num_steps: int) -> Row:
  """`sam` against `optax.contrib.sam`, both bare."""
  workload = _workload.Workload(model, 'group')
  sgd = training.update_rules.sgd(workload.class_counts)
  batch = workload.put(workload.batches(sgd, layout='joint')[0])
  params = workload.state(sgd).params
  dropout_key = jax.random.key(0)

  def loss_fn(params, batch, weights):
    logits: Any = workload.model.apply(
      {'params': params},
      _workload.preprocess(batch.resident_images[batch.rows['image']]),
      train=True,
      rngs={'dropout': dropout_key},
    )
    return (
      weights * losses.cross_entropy(logits, batch.rows['label'])
    ).sum(), 0

  ours = optax.chain(imbsam_jax.sam(_RHO), optax.sgd(0.01, momentum=0.9))
  theirs: Any = optax.contrib.sam(
    optax.sgd(0.01, momentum=0.9),
    optax.chain(optax.contrib.normalize(), optax.sgd(_RHO)),
    opaque_mode=True,
  )

  def our_step(state, batch):
    params, opt_state = state
    _, grads, grad_fn = imbsam_jax.gradient_oracle(
      loss_fn, params, batch, group_weights=batch.weights
    )
    update: Any = ours.update
    updates, opt_state = update(grads, opt_state, params, grad_fn=grad_fn)
    return (optax.apply_updates(params, updates), opt_state), ()

  def their_step(state, batch):
    params, opt_state = state

    def gradient(params, _):
      return jax.grad(lambda p: loss_fn(p, batch, batch.weights[0])[0])(params)

    updates, opt_state = theirs.update(
      gradient(params, 0), opt_state, params, grad_fn=gradient
    )
    return (optax.apply_updates(params, updates), opt_state), ()

  one = _compiled_step.CompiledStep(
    our_step, (params, ours.init(params)), batch
  )
  other = _compiled_step.CompiledStep(
    their_step, (params, theirs.init(params)), batch
  )
  return Row(
    'SAM against optax.contrib.sam(opaque_mode=True)',
    one.flops / other.flops,
    _compiled_step.ratio(one, other, pairs=pairs, num_steps=num_steps),
    target=1.02,
  )


def pipeline_row(model: str, *, pairs: int, num_steps: int) -> Row:
  """Steps on batches of the pipeline against steps on one batch."""
  workload = _workload.Workload(model, 'group')
  sgd = training.update_rules.sgd(workload.class_counts)
  batches = workload.batches(sgd, layout='joint')
  compiled = workload.compiled_step(sgd, batches[0])

  def next_batch(step):
    return workload.put(batches[step])

  compiled.seconds(1)
  ratios = [
    compiled.seconds(num_steps, next_batch) / compiled.seconds(num_steps)
    for _ in range(pairs)
  ]
  return Row(
    'input pipeline, images on the device',
    time=statistics.median(ratios),
    target=1.05,
    note='steps with it over steps on one batch',
  )


def stacked_row(*, pairs: int, num_steps: int, runs: int = 8) -> Row:
  """Several runs of a small net in one program against one run."""
  workload = _workload.Workload('strided_conv_net', 'group')
  sgd = training.update_rules.sgd(workload.class_counts)
  batch = workload.batches(sgd, layout='joint')[0]
  stacked = workload.put(data_lib.stack_batches([batch] * runs), stacked=True)
  states = jax.tree.map(
    lambda *leaves: jnp.stack(leaves),
    *(workload.state(sgd, seed=seed) for seed in range(runs)),
  )
  step = workload.step(sgd)
  many = _compiled_step.CompiledStep(training.stack_runs(step), states, stacked)
  one = workload.compiled_step(sgd, batch)
  on_cpu = jax.default_backend() == 'cpu'
  return Row(
    f'{runs} seeds side by side, small net, against one',
    many.flops / one.flops,
    _compiled_step.ratio(many, one, pairs=pairs, num_steps=num_steps),
    target=None if on_cpu else 3.0,
    note='pays on accelerators only' if on_cpu else '',
  )


def devices_row(num_steps: int = 5) -> Row:
  """Parameters after steps on one device and on all of them."""
  name = 'all devices against one: largest difference of parameters'
  if len(jax.devices()) == 1:
    return Row(
      name,
      note='one device; XLA_FLAGS=--xla_force_host_platform_device_count=8 '
      'makes eight of a CPU',
    )
  final_params = []
  for devices in (jax.devices()[:1], jax.devices()):
    workload = _workload.Workload('strided_conv_net', 'group')
    workload.mesh = training.data_mesh(devices)
    workload.resident_images = training.replicate(
      workload.mesh, np.asarray(workload.resident_images)
    )
    method = training.update_rules.imbsam(
      workload.class_counts, _RHO, threshold=100
    )
    batches = workload.batches(method, layout='split')
    step = jax.jit(workload.step(method), donate_argnums=0)
    state = workload.state(method)
    for k in range(num_steps):
      state, _ = step(state, workload.put(batches[k]))
    final_params.append(jax.device_get(state.params))
  differences = jax.tree.map(lambda x, y: np.abs(x - y).max(), *final_params)
  largest = max(jax.tree.leaves(differences))
  return Row(name, note=f'{largest:.1e} after {num_steps} steps (1e-5 at most)')
