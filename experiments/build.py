# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""From a configuration to the parts of an experiment."""

from collections.abc import Sequence
from concurrent import futures
import dataclasses
import functools
import math
import os
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import app
from experiments import augmentation
from experiments import batches as batches_lib
from experiments import compatibility
from experiments import config as config_lib
from experiments import datasets
from experiments import mixing as mixing_lib
from experiments import objective as objective_lib
from experiments import preprocessing
from experiments import steps as steps_lib
from experiments import timeline
from experiments import update_rule
from imbsam_jax import data as data_lib
from imbsam_jax import models
from imbsam_jax import training

# On accelerators, of images that stay there.
_STEPS_PER_CALL = 10
# Larger sets stay on the host.
_MAX_TABLE_BYTES = 2**32


class Program(NamedTuple):
  """What a compiled step is for.

  Attributes:
    stage: Number of the method's stage.
    shapes: Of the weights of its batch.
  """

  stage: int
  shapes: tuple[tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
  """All of a run but its seed: runs of other seeds share compiled programs.

  Attributes:
    config: The configuration that it was built from.
    data: Examples and class counts.
    method: Class groups and update rules.
    objective: What is minimised.
    head: The head of the model.
    layout: Which rows go through the model together.
    num_steps: Steps of a run.
    mesh: The devices.
    train_steps: One jitted step per stage of the method.
    several_steps: The same for several steps in one call.
    side_by_side_steps: The same for a step of several runs, with their radii.
    steps_per_call: Steps in one call where nothing comes between them.
    predict_step: The jitted prediction of one batch.
    feature_step: The jitted features and logits of one batch.
    init: ``init(seed)`` is the state at step 0.
    abstract_state: Shapes, dtypes and shardings of a state.
    batches: ``batches(seed)[step]`` is a batch, see `batches.Batches`.
    table: Training images on the devices, if they stay there.
  """

  config: config_lib.Config
  data: data_lib.LongTailedData
  method: training.Method
  objective: objective_lib.Objective
  head: str
  layout: data_lib.Layout
  num_steps: int
  mesh: jax.sharding.Mesh
  train_steps: tuple[Any, ...]
  several_steps: tuple[Any, ...]
  side_by_side_steps: tuple[Any, ...]
  steps_per_call: int
  predict_step: Any
  feature_step: Any
  init: Any
  abstract_state: training.TrainState
  batches: Any
  table: Any

  @functools.cached_property
  def fingerprint(self) -> dict[str, str]:
    """Checksums of the data, made once for the runs of all seeds."""
    return data_lib.fingerprint(self.data)

  @property
  def num_train(self) -> int:
    """Number of training images."""
    return len(self.data.train.labels)

  def steps(self, epochs: float) -> int:
    """Number of steps in so many epochs, at least 1."""
    batch_size = self.config.data.batch_size
    return max(_steps(epochs, self.num_train, batch_size), 1)

  def stage(self, step: int) -> int:
    """The number of a step's stage."""
    return self.method.stages.index(self.method.stage(step))

  def train_step(self, step: int) -> Any:
    """The jitted step of a stage, by the number of the step."""
    return self.train_steps[self.stage(step)]

  @property
  def several(self) -> training.SeveralSteps | None:
    """Several steps in one call, on devices where that pays."""
    if self.steps_per_call == 1:
      return None
    return training.SeveralSteps(
      self.steps_per_call,
      lambda step: self.several_steps[self.stage(step)],
      self.put_stacked,
    )

  @property
  def num_threads(self) -> int:
    """Threads that decode images."""
    in_memory = isinstance(self.data.train.images, np.ndarray)
    return 0 if in_memory else self.config.data.workers

  def put(self, batch: data_lib.TrainBatch) -> data_lib.TrainBatch:
    """A batch on the devices."""
    return training.shard_batch(self.mesh, batch, table=self.table)

  def put_stacked(self, batches: data_lib.TrainBatch) -> data_lib.TrainBatch:
    """Batches from `data.stack_batches` on the devices."""
    return training.shard_batch(
      self.mesh, batches, table=self.table, stacked=True
    )

  def program(self, step: int, batch: data_lib.TrainBatch) -> Program:
    """What steps have in common that share a compiled program."""
    return Program(self.stage(step), _shapes(batch))

  def programs(self) -> dict[Program, int]:
    """The programs of a run, each with a step of seed 0 that has its rows.

    A batch with more tail rows than any that was looked at is one more.
    """
    batches = self.batches(0, decode=False)
    shapes = {_shapes(batches[step]): step for step in self.batches.one_of_each}
    return {
      Program(stage, shape): step
      for stage in range(len(self.method.stages))
      for shape, step in shapes.items()
    }


def compile_ahead(experiments: Sequence[Experiment]) -> None:
  """Compiles the programs of runs into the compilation cache.

  XLA compiles a program on one core, so several at once.
  """

  def compile_one(experiment, program, step):
    batch = experiment.put(experiment.batches(0)[step])
    train_step = experiment.train_steps[program.stage]
    train_step.lower(experiment.abstract_state, batch).compile()

  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    waiting = [pool.submit(experiment.init, 0) for experiment in experiments]
    waiting += [
      pool.submit(compile_one, experiment, program, step)
      for experiment in experiments
      for program, step in experiment.programs().items()
    ]
    for one in waiting:
      one.result()


def check(config: config_lib.Config) -> None:
  """Refuses what can be refused without the data.

  Raises:
    UsageError: A value of the configuration does not fit.
  """
  try:
    config_lib.check(config)
    compatibility.check(config)
  except ValueError as error:
    raise app.UsageError(str(error)) from error


def build(
  config: config_lib.Config,
  *,
  data: data_lib.LongTailedData | None = None,
  steps_per_call: int | None = None,
) -> Experiment:
  """Builds an experiment.

  Args:
    config: The configuration.
    data: What `datasets.load` gave for it; None reads it.
    steps_per_call: Steps in one call of the device; None is several for small
      images on accelerators, which wait for the call otherwise, and 1 on CPUs,
      where XLA runs convolutions within a loop ten times slower.

  Returns:
    The experiment.

  Raises:
    UsageError: A value of the configuration does not fit.
    DataError: The data are missing or do not give what is asked for.
  """
  check(config)
  try:
    data = datasets.load(config.data) if data is None else data
    return _build(config, data, steps_per_call)
  except data_lib.DataError:
    raise
  except (ValueError, TypeError) as error:
    raise app.UsageError(str(error)) from error


def _build(
  config: config_lib.Config,
  data: data_lib.LongTailedData,
  steps_per_call: int | None,
) -> Experiment:
  mesh = training.data_mesh()
  batch_size = config.data.batch_size
  num_parts = mesh.size * config.optimizer.num_microbatches
  if batch_size % num_parts:
    raise ValueError(
      f'--config.data.batch_size must be a multiple of {num_parts}, the '
      f'devices times the micro-batches, got {batch_size}.'
    )
  time = timeline.Timeline(data.class_counts, config.epochs, batch_size)
  objective = objective_lib.make_objective(config.objective, time)
  mixing = mixing_lib.make_mixing(
    config.objective.mixing, time, image_shape=data.train.images.shape[1:]
  )
  chosen: Any = config.model
  head: Any = objective_lib.head_of(config)
  model = models.create_model(
    chosen.name,
    num_classes=len(data.class_names),
    norm=chosen.norm,
    head=head,
    dtype=jnp.dtype(chosen.dtype),
  )
  num_train = len(data.train.labels)
  num_steps = max(_steps(config.epochs, num_train, batch_size), 1)
  # SSE-SAM counts whole epochs; the excess is rounding of the product.
  switch_epochs = math.ceil(config.optimizer.switch * config.epochs - 1e-9)

  def make_method(key, rho=None):
    return update_rule.make_method(
      config.optimizer
      if rho is None
      else dataclasses.replace(config.optimizer, rho=rho),
      data.class_counts,
      _steps(switch_epochs, num_train, batch_size),
      num_steps,
      key,
    )

  method = make_method(jax.random.key(0))
  coupled = objective.coupled or mixing is not None
  layout = batches_lib.choose_layout(config, method, coupled)
  images = data.train.images
  in_memory = isinstance(images, np.ndarray)
  if not in_memory and config.data.augment != 'none':
    raise ValueError(
      f'--config.data.augment={config.data.augment} is for images in memory; '
      'with --config.data.image_size they get random crops and flips as they '
      'are decoded. Leave one of the two out.'
    )
  augment = augmentation.make_augmentation(
    config.data.augment, image_shape=images.shape[1:], dtype=images.dtype
  )
  preprocess = preprocessing.standardization(images)

  if config.optimizer.ascent == 'per_device' and coupled:
    raise ValueError(
      '--config.optimizer.ascent=per_device is not possible where the loss of '
      'a row depends on others, as for arb, absgd and mixing. Leave '
      '--config.optimizer.ascent=global.'
    )
  steps = steps_lib.Steps(
    config.optimizer,
    model,
    make_method,
    objective,
    preprocess,
    augment=augment,
    mixing=mixing,
    num_steps=num_steps,
    warmup_steps=_steps(config.optimizer.warmup_epochs, num_train, batch_size),
    sample=jax.ShapeDtypeStruct((1, *images.shape[1:]), images.dtype),
    mesh=mesh,
  )
  # Batches of images that stay on the devices say which.
  stay = in_memory and images.nbytes <= _MAX_TABLE_BYTES
  if steps_per_call is None:
    steps_per_call = _steps_per_call(mesh, stay)
  if steps_per_call > 1 and mesh.is_multi_process and not stay:
    raise ValueError(
      'several processes make several steps in one call only of images that '
      'stay on the devices; leave steps_per_call=1.'
    )
  batches = batches_lib.Batches(
    config,
    batches_lib.indexed(data.train) if stay else data.train,
    time,
    method,
    mixing,
    layout=layout,
    num_steps=num_steps,
    row_multiple=num_parts,
    # Indices cost nothing, and are stacked for several steps in one call.
    part=data_lib.WHOLE if stay else training.part_of(mesh),
  )
  # Here, so that what does not fit is said at once.
  batches(config.seed, decode=False)[0]
  abstract_state = jax.eval_shape(steps.init, jax.random.key(0))
  sharding = jax.sharding.NamedSharding(mesh, jax.P())
  abstract_state = jax.tree.map(
    lambda x: x.update(sharding=sharding), abstract_state
  )
  stages = range(len(method.stages))
  return Experiment(
    config=config,
    data=data,
    method=method,
    objective=objective,
    head=head,
    layout=layout,
    num_steps=num_steps,
    mesh=mesh,
    train_steps=tuple(steps.train(k) for k in stages),
    several_steps=tuple(steps.several(k) for k in stages),
    side_by_side_steps=tuple(steps.side_by_side(k) for k in stages),
    steps_per_call=steps_per_call,
    predict_step=jax.jit(
      training.make_predict_step(
        model,
        preprocess,
        logit_scale=objective.logit_scale,
        flip=config.flip_test,
      )
    ),
    feature_step=jax.jit(training.make_feature_step(model, preprocess)),
    init=lambda seed: training.replicate(
      mesh, steps.init(jax.random.key(seed))
    ),
    abstract_state=abstract_state,
    batches=batches,
    table=training.replicate(mesh, images) if stay else None,
  )


def _shapes(batch: data_lib.TrainBatch) -> tuple[tuple[int, ...], ...]:
  return tuple(np.shape(x) for x in jax.tree.leaves(batch.weights))


def _steps_per_call(mesh: jax.sharding.Mesh, stay: bool) -> int:
  on_cpu = mesh.devices.flat[0].platform == 'cpu'
  return _STEPS_PER_CALL if stay and not on_cpu else 1


def _steps(epochs: float, num_train: int, batch_size: int) -> int:
  """Steps that see every training image `epochs` times."""
  return math.ceil(epochs * num_train / batch_size)
