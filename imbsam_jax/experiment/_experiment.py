# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""An experiment: all of a run but its seed."""

import collections
from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import functools
import math
from typing import Any
from typing import NamedTuple

import jax
import numpy as np

from imbsam_jax import data as data_lib
from imbsam_jax import training
from imbsam_jax.experiment import _base_run
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _foundation
from imbsam_jax.experiment import _header
from imbsam_jax.experiment import _test_views

# Batches whose costs are looked at.
_COST_SAMPLES = 50


class StepKind(NamedTuple):
  """What the jitted steps of a run differ by.

  Attributes:
    stage: Number of the method's stage.
    outer: Whether the outer step of the objective comes before.
  """

  stage: int
  outer: bool = False


class Program(NamedTuple):
  """The jitted step and the batch that a compiled step is made for.

  Attributes:
    kind: The jitted step that is compiled.
    shapes: Shapes of the weights of its batch.
  """

  kind: StepKind
  shapes: tuple[tuple[int, ...], ...]


class SearchRun(NamedTuple):
  """A run that comes before a run, and finds what that begins with.

  Attributes:
    experiment: Its experiment.
    begin: ``begin(found) -> state``, see `methods.Search`.
  """

  experiment: Any
  begin: Callable[[Any], Any]


# At a prompt it shows itself as `print` does, not all its arrays.
@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Experiment:
  """All of a run but its seed: runs of other seeds share compiled programs.

  Attributes:
    config: The configuration that it was built from.
    data: Examples and class counts.
    source: The examples as they were read: with a cache of features `data` has
      features in place of images.
    method: Class groups and update rules.
    objective: The objective that is minimized.
    head: The head of the model.
    layout: Which rows go through the model together.
    num_steps: Steps of a run.
    mesh: The devices.
    train_steps: By kind the jitted steps of the method.
    scanned_steps: The same for several steps in one call.
    stacked_steps: The same for a step of several runs, with their radii.
    steps_per_call: Steps in one call where nothing comes between them.
    predict_step: The jitted prediction of one batch: classes, confidences, the
      most probable classes, their probabilities, and logits if these are few.
    feature_step: The jitted features and logits of one batch; None of a
      network of one's own that does not tell its features.
    logit_step: The jitted logits of one batch, alone in a tuple.
    init: ``init(seed)`` is the state at step 0.
    abstract_state: Shapes, dtypes and shardings of a state.
    batches: ``batches(seed)[step]`` is a batch, see `_batches.Batches`.
    resident_images: Training images on the devices, if they stay there.
    auxiliary: Images of other things than the classes, if a method takes some.
    own: By what a network and a loss of one's own are known again, or None.
    foundation: The pre-trained trunk of the network, or None.
    bases: The runs that runs begin with, or None.
    search: The run that comes before each run, or None.
    views: ``views(images)`` is what an evaluation sees of stored images, in
      several ways; None is the images.
    network: The network that is trained, as the method words have it.
    learning_rate: ``learning_rate(step)`` is that of a step, from 0 on.
    image_inputs: How images become inputs, those of the trunk where `data` has
      its features in place of images.
  """

  config: _config.Config
  data: data_lib.LongTailedData
  source: data_lib.LongTailedData
  method: training.Method
  objective: training.Objective
  head: str
  layout: data_lib.Layout
  num_steps: int
  mesh: jax.sharding.Mesh
  train_steps: Mapping[StepKind, Any]
  scanned_steps: Mapping[StepKind, Any]
  stacked_steps: Mapping[StepKind, Any]
  steps_per_call: int
  predict_step: Any
  feature_step: Any
  logit_step: Any
  init: Any
  abstract_state: training.TrainState
  batches: Any
  resident_images: Any
  auxiliary: data_lib.Examples | None = None
  own: Mapping[str, Mapping[str, Any]] | None = None
  foundation: _foundation.Foundation | None = None
  bases: _base_run.BaseRuns | None = None
  search: SearchRun | None = None
  views: _test_views.Views | None = None
  network: Any = None
  image_inputs: training.Inputs | None = None
  learning_rate: Any = None

  def __str__(self) -> str:
    return _header.header(self)

  __repr__ = __str__

  def config_of(self, seed: int) -> _config.Config:
    """The configuration of the run of a seed, for its ``config.json``."""
    if self.bases is None:
      return dataclasses.replace(self.config, seed=seed)
    return self.bases.config_of(seed)

  @functools.cached_property
  def fingerprint(self) -> dict[str, str]:
    """Checksums of the data, made once for the runs of all seeds."""
    return data_lib.fingerprint(self.source, self.auxiliary)

  @property
  def num_train(self) -> int:
    """Number of training images."""
    return len(self.data.train.labels)

  def steps(self, epochs: float) -> int:
    """Number of steps in so many epochs, at least 1."""
    batch_size = self.config.data.batch_size
    return max(steps_in(epochs, self.num_train, batch_size), 1)

  def kind(self, step: int) -> StepKind:
    """What the jitted step of a step is, by its number."""
    outer = self.objective.outer
    return StepKind(
      self.method.stages.index(self.method.stage(step)),
      outer is not None and outer.at(step),
    )

  def train_step(self, step: int) -> Any:
    """The jitted step of a step, by its number."""
    return self.train_steps[self.kind(step)]

  @property
  def scanned(self) -> training.ScannedSteps | None:
    """Several steps in one call, on devices where that pays."""
    if self.steps_per_call == 1:
      return None
    return training.ScannedSteps(
      self.steps_per_call,
      lambda step: self.scanned_steps[self.kind(step)],
      self.put_stacked,
    )

  @property
  def num_threads(self) -> int:
    """Threads that decode images."""
    in_memory = isinstance(self.data.train.images, np.ndarray)
    return 0 if in_memory else self.config.data.workers

  def put(self, batch: data_lib.TrainBatch) -> data_lib.TrainBatch:
    """A batch on the devices."""
    return training.shard_batch(
      self.mesh, batch, resident_images=self.resident_images
    )

  def put_stacked(self, batches: data_lib.TrainBatch) -> data_lib.TrainBatch:
    """Batches from `data.stack_batches` on the devices."""
    return training.shard_batch(
      self.mesh, batches, resident_images=self.resident_images, stacked=True
    )

  def program(self, step: int, batch: data_lib.TrainBatch) -> Program:
    """What steps have in common that share a compiled program."""
    return Program(self.kind(step), _shapes(batch))

  def programs(self) -> dict[Program, int]:
    """The programs of a run, each with a step of seed 0 that has its rows.

    A batch with more tail rows than any that was looked at is one more.
    """
    batches = self.batches(0, decode=False)
    return {
      Program(kind._replace(stage=stage), _shapes(batches[step])): step
      for stage in range(len(self.method.stages))
      for step in self.batches.one_of_each
      for kind in [self.kind(step)]
    }

  def cost(self, step: int, batch: data_lib.TrainBatch) -> float:
    """Cost of one step in SGD steps."""
    outer = self.objective.outer
    before = outer.cost if outer is not None and outer.at(step) else 0.0
    return self._cost_of_passes(self.method.stage(step), batch) + before

  def expected_cost(self) -> float:
    """Mean cost of a step of the run, from batches spread over it."""
    batches = self.batches(0, decode=False)
    steps = np.unique(
      np.linspace(0, self.num_steps - 1, _COST_SAMPLES).astype(int)
    )
    cost = float(
      np.mean([self._cost_around(int(s), batches[int(s)]) for s in steps])
    )
    outer = self.objective.outer
    if outer is None:
      return cost
    # Outer steps are counted, not sampled: samples would miss some of them.
    number = len(range(outer.start, self.num_steps, outer.every))
    return cost + outer.cost * number / self.num_steps

  def expected_work(self) -> float:
    """SGD steps that a run takes the time of, with the run before it."""
    before = self.search.experiment.expected_work() if self.search else 0.0
    return before + self.num_steps * self.expected_cost()

  def _cost_around(self, step: int, batch: data_lib.TrainBatch) -> float:
    """Mean cost of a batch at a step and those after, which take turns."""
    turns = max(
      stage.every for stage in self.method.stages if stage.start <= step
    )
    stages = collections.Counter(
      self.method.stages.index(self.method.stage(step + k))
      for k in range(turns)
    )
    return sum(
      number / turns * self._cost_of_passes(self.method.stages[stage], batch)
      for stage, number in stages.items()
    )

  def _cost_of_passes(
    self, stage: training.Stage, batch: data_lib.TrainBatch
  ) -> float:
    objective = self.objective
    cost = training.step_cost(
      stage, batch, batch_size=self.config.data.batch_size
    )
    return objective.pass_cost * cost + objective.prepare_cost


def _shapes(batch: data_lib.TrainBatch) -> tuple[tuple[int, ...], ...]:
  return tuple(np.shape(x) for x in jax.tree.leaves(batch.weights))


def steps_in(epochs: float, num_train: int, batch_size: int) -> int:
  """Steps that see every training image `epochs` times."""
  return math.ceil(epochs * num_train / batch_size)
