# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What steps cost: compiled FLOPs and times, two at a time in turns.

Ratios of times are medians over pairs of measurements that follow one another,
so that whatever else the machine does hits both.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent import futures
import os
import statistics
import time
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import imbsam_jax
from imbsam_jax import augment
from imbsam_jax import data as data_lib
from imbsam_jax import losses
from imbsam_jax import models
from imbsam_jax import training

_BATCH_SIZE = 64
# Of 64 rows: the share of the tail on CIFAR-100-LT with threshold 100.
_NUM_TAIL = 12
_NUM_CLASSES = 100
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


class Program:
  """A compiled step with a state and a batch of its own."""

  def __init__(self, step: Callable[..., Any], state: Any, batch: Any):
    lowered = jax.jit(step, donate_argnums=0).lower(state, batch)
    self._compiled = lowered.compile()
    # A copy: the program takes its state over.
    self._state = jax.tree.map(jnp.copy, state)
    self._batch = batch

  @property
  def flops(self) -> float:
    """FLOPs of the compiled step."""
    analysis: Any = self._compiled.cost_analysis()
    return (analysis[0] if isinstance(analysis, list) else analysis)['flops']

  def seconds(
    self, num_steps: int, next_batch: Callable[[int], Any] | None = None
  ) -> float:
    """Time of some steps, on its own batch or on those of a pipeline."""
    begin = time.perf_counter()
    for step in range(num_steps):
      batch = next_batch(step) if next_batch else self._batch
      self._state, _ = self._compiled(self._state, batch)
    jax.block_until_ready(self._state)
    return time.perf_counter() - begin


def ratio(one: Program, other: Program, *, pairs: int, num_steps: int) -> float:
  """Median ratio of the times of two programs, measured in turns."""
  for program in (one, other):
    program.seconds(1)
  found = [
    one.seconds(num_steps) / other.seconds(num_steps) for _ in range(pairs)
  ]
  return statistics.median(found)


class Workload:
  """Batches and steps of one network on images of 32x32.

  Args:
    model: Name of the network.
    norm: Its normalisation.
  """

  def __init__(self, model: str, norm: Any):
    self.class_counts = data_lib.long_tail_class_counts(_NUM_CLASSES, 500, 100)
    labels = np.repeat(np.arange(_NUM_CLASSES), self.class_counts)
    rng = np.random.RandomState(0)
    images = rng.randint(0, 256, (len(labels), 32, 32, 3)).astype(np.uint8)
    self.mesh = training.data_mesh()
    self.table = training.replicate(self.mesh, images)
    self.examples = data_lib.Examples(
      np.arange(len(labels), dtype=np.int32), labels.astype(np.int32)
    )
    chosen: Any = model
    self.model = models.create_model(
      chosen, num_classes=_NUM_CLASSES, norm=norm
    )

  def batches(
    self,
    method: training.Method,
    *,
    layout: data_lib.Layout,
    stratify_below: int | None = None,
    tail_sizes: Sequence[int] | None = None,
  ) -> Any:
    """Batches of a method, stratified or not."""
    if stratify_below is None:
      order = data_lib.shuffled_order(
        len(self.examples.labels), batch_size=_BATCH_SIZE, seed=0
      )
    else:
      order = data_lib.stratified_order(
        (self.class_counts < stratify_below)[self.examples.labels],
        batch_size=_BATCH_SIZE,
        seed=0,
      )
    arguments = (order, self.examples, method.class_weights)
    if layout == 'joint':
      return data_lib.joint_batches(*arguments)
    make = (
      data_lib.split_batches
      if layout == 'split'
      else data_lib.tail_only_batches
    )
    sizes = {'tail_sizes': tail_sizes, 'row_multiple': self.mesh.size}
    return make(*arguments, **sizes)

  def put(self, batch: Any) -> Any:
    """A batch on the devices."""
    return training.shard_batch(self.mesh, batch, table=self.table)

  def step(self, method: training.Method, *, stage: int = 0) -> Any:
    """The step of a method's stage, not jitted."""
    return training.make_train_step(
      self.model,
      self._optimizer(method, stage),
      losses.cross_entropy,
      training.Inputs(_preprocess, _crop_and_flip),
    )

  def state(self, method: training.Method, *, seed: int = 0) -> Any:
    """The initial state."""
    state = training.create_train_state(
      self.model,
      self._optimizer(method, 0),
      jax.random.key(seed),
      jnp.zeros((1, 32, 32, 3)),
    )
    return training.replicate(self.mesh, state)

  def program(
    self, method: training.Method, batch: Any, *, stage: int = 0
  ) -> Program:
    """A compiled step on a batch."""
    return Program(
      self.step(method, stage=stage), self.state(method), self.put(batch)
    )

  def _optimizer(self, method: training.Method, stage: int) -> Any:
    return training.make_optimizer(method.stages[stage].link, 0.01)


def step_rows(model: str, *, pairs: int, num_steps: int) -> Iterator[Row]:
  """Steps of the methods against steps of SGD, as they are measured."""
  group, batch = Workload(model, 'group'), Workload(model, 'batch')
  counts = group.class_counts
  methods = training.update_rules
  sgd, sam = methods.sgd(counts), methods.sam(counts, _RHO)
  rsam = methods.rsam(counts, 0.005, key=jax.random.key(0))
  imbsam = methods.imbsam(counts, _RHO, threshold=100)
  rare = methods.imbsam(counts, _RHO, threshold=20)
  sse = methods.sse_sam(counts, _RHO, _RHO, threshold=100, switch_step=7)
  joint = group.batches(sgd, layout='joint')[0]
  split = group.batches(
    imbsam,
    layout='split',
    stratify_below=100,
    tail_sizes=(_NUM_TAIL - 1, _NUM_TAIL),
  )[0]
  epoch, frequency = _epoch_of_rare_tails(group, rare)
  makers = {
    'sgd': lambda: group.program(sgd, joint),
    'sam': lambda: group.program(sam, joint),
    'rsam': lambda: group.program(rsam, joint),
    'imbsam': lambda: group.program(imbsam, split),
    'sse': lambda: group.program(sse, split),
    'sgd_bn': lambda: batch.program(sgd, joint),
    'imbsam_bn': lambda: batch.program(
      imbsam, batch.batches(imbsam, layout='joint')[0]
    ),
    'tail_only_bn': lambda: batch.program(
      imbsam,
      batch.batches(
        imbsam,
        layout='tail_only',
        stratify_below=100,
        tail_sizes=(_NUM_TAIL - 1, _NUM_TAIL),
      )[0],
    ),
    **{
      size: lambda one=one: group.program(rare, one)
      for size, one in epoch.items()
    },
  }
  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    made = list(pool.map(lambda make: make(), makers.values()))
  programs: dict[Any, Program] = dict(zip(makers, made, strict=True))

  def costs(name, base='sgd'):
    one, other = programs[name], programs[base]
    measured = ratio(one, other, pairs=pairs, num_steps=num_steps)
    return one.flops / other.flops, measured

  def mean(parts):
    found = [(weight, costs(name)) for name, weight in parts]
    return tuple(
      sum(weight * cost[k] for weight, cost in found) for k in (0, 1)
    )

  yield Row('SAM', *costs('sam'))
  imbsam_costs = costs('imbsam')
  yield Row(
    f'ImbSAM, split rows, tail {_NUM_TAIL}/{_BATCH_SIZE}',
    *imbsam_costs,
    target=1.30,
    note='GroupNorm',
  )
  yield Row(
    'ImbSAM, CIFAR-100-LT IF 100, threshold 20, an epoch',
    *mean(frequency.items()),
    target=1.12,
    note=f'{_BATCH_SIZE} rows, {len(epoch)} sizes, shuffled',
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
  workload: Workload, method: training.Method
) -> tuple[dict[Any, Any], dict[Any, float]]:
  """A batch of each size that an epoch has, and how often each comes."""
  joint = workload.batches(method, layout='joint')
  steps = range(-(-len(workload.examples.labels) // _BATCH_SIZE))
  num_tail = [int((joint[step].weights[1] != 0).sum()) for step in steps]
  batches = workload.batches(
    method,
    layout='split',
    tail_sizes=data_lib.choose_tail_sizes(
      num_tail, batch_size=_BATCH_SIZE, row_multiple=workload.mesh.size
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
  workload = Workload(model, 'group')
  sgd = training.update_rules.sgd(workload.class_counts)
  batch = workload.put(workload.batches(sgd, layout='joint')[0])
  params = workload.state(sgd).params

  def loss_fn(params, batch, weights):
    logits: Any = workload.model.apply(
      {'params': params},
      _preprocess(batch.table[batch.rows['image']]),
      train=True,
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

  one = Program(our_step, (params, ours.init(params)), batch)
  other = Program(their_step, (params, theirs.init(params)), batch)
  return Row(
    'SAM against optax.contrib.sam(opaque_mode=True)',
    one.flops / other.flops,
    ratio(one, other, pairs=pairs, num_steps=num_steps),
    target=1.02,
  )


def pipeline_row(model: str, *, pairs: int, num_steps: int) -> Row:
  """Steps on batches of the pipeline against steps on one batch."""
  workload = Workload(model, 'group')
  sgd = training.update_rules.sgd(workload.class_counts)
  batches = workload.batches(sgd, layout='joint')
  program = workload.program(sgd, batches[0])

  def next_batch(step):
    return workload.put(batches[step])

  program.seconds(1)
  found = [
    program.seconds(num_steps, next_batch) / program.seconds(num_steps)
    for _ in range(pairs)
  ]
  return Row(
    'input pipeline, images on the device',
    time=statistics.median(found),
    target=1.05,
    note='steps with it over steps on one batch',
  )


def side_by_side_row(*, pairs: int, num_steps: int, runs: int = 8) -> Row:
  """Several runs of a small net in one program against one run."""
  workload = Workload('strided_conv_net', 'group')
  sgd = training.update_rules.sgd(workload.class_counts)
  batch = workload.batches(sgd, layout='joint')[0]
  stacked = training.shard_batch(
    workload.mesh,
    data_lib.stack_batches([batch] * runs),
    table=workload.table,
    stacked=True,
  )
  states = jax.tree.map(
    lambda *leaves: jnp.stack(leaves),
    *(workload.state(sgd, seed=seed) for seed in range(runs)),
  )
  step = workload.step(sgd)
  many = Program(training.side_by_side(step), states, stacked)
  one = workload.program(sgd, batch)
  on_cpu = jax.default_backend() == 'cpu'
  return Row(
    f'{runs} seeds side by side, small net, against one',
    many.flops / one.flops,
    ratio(many, one, pairs=pairs, num_steps=num_steps),
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
  found = []
  for devices in (jax.devices()[:1], jax.devices()):
    workload = Workload('strided_conv_net', 'group')
    workload.mesh = training.data_mesh(devices)
    workload.table = training.replicate(
      workload.mesh, np.asarray(workload.table)
    )
    method = training.update_rules.imbsam(
      workload.class_counts, _RHO, threshold=100
    )
    batches = workload.batches(method, layout='split')
    step = jax.jit(workload.step(method), donate_argnums=0)
    state = workload.state(method)
    for k in range(num_steps):
      state, _ = step(state, workload.put(batches[k]))
    found.append(jax.device_get(state.params))
  differences = jax.tree.map(lambda x, y: np.abs(x - y).max(), *found)
  largest = max(jax.tree.leaves(differences))
  return Row(name, note=f'{largest:.1e} after {num_steps} steps (1e-5 at most)')


def _preprocess(images: jax.Array) -> jax.Array:
  return images.astype(jnp.float32) / 128 - 1


def _crop_and_flip(key: jax.Array, image: jax.Array) -> jax.Array:
  crop_key, flip_key = jax.random.split(key)
  return augment.random_flip(flip_key, augment.pad_crop(crop_key, image))
