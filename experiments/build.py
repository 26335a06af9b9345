# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""From a configuration to the parts of an experiment."""

import dataclasses
import functools
import math
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np

from experiments import app
from experiments import class_weights
from experiments import compatibility
from experiments import config as config_lib
from experiments import mixing as mixing_lib
from experiments import objective as objective_lib
from experiments import samplers
from experiments import timeline
from experiments import update_rule
from imbsam_jax import data as data_lib
from imbsam_jax import models
from imbsam_jax import training


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
  """All of a run but its seed: runs of other seeds share compiled programs.

  Attributes:
    config: The configuration that it was built from.
    data: Examples and class counts.
    method: Class groups and update rules.
    objective: What is minimised.
    head: The head of the model.
    split: Whether head and tail rows go through passes of their own.
    num_steps: Steps of a run.
    mesh: The devices.
    train_steps: One jitted step per stage of the method.
    predict_step: The jitted prediction of one batch.
    feature_step: The jitted features and logits of one batch.
    init: ``init(seed)`` is the state at step 0.
    batches: ``batches(seed)[step]`` is a batch.
  """

  config: config_lib.Config
  data: data_lib.LongTailedData
  method: training.Method
  objective: objective_lib.Objective
  head: str
  split: bool
  num_steps: int
  mesh: jax.sharding.Mesh
  train_steps: tuple[Any, ...]
  predict_step: Any
  feature_step: Any
  init: Any
  batches: Any

  @property
  def num_train(self) -> int:
    """Number of training images."""
    return len(self.data.train.labels)

  def steps(self, epochs: float) -> int:
    """Number of steps in so many epochs, at least 1."""
    batch_size = self.config.data.batch_size
    return max(_steps(epochs, self.num_train, batch_size), 1)

  def train_step(self, step: int) -> Any:
    """The jitted step of a stage, by the number of the step."""
    stage = self.method.stages.index(self.method.stage(step))
    return self.train_steps[stage]

  def compile_ahead(self, *, samples: int = 200) -> None:
    """Compiles what a run needs into the compilation cache.

    Batches of other shapes than those of `samples` steps spread over the run
    are compiled when they come.
    """
    state, batches = self.init(0), self.batches(0)
    done = set()
    for step in np.unique(
      np.linspace(0, self.num_steps - 1, samples).astype(int)
    ):
      train_step, batch = self.train_step(int(step)), batches[int(step)]
      shapes = tuple(x.shape for x in jax.tree.leaves(batch))
      if (train_step, shapes) not in done:
        done.add((train_step, shapes))
        batch = training.shard_batch(self.mesh, batch)
        train_step.lower(state, batch).compile()


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
  config: config_lib.Config, *, data: data_lib.LongTailedData | None = None
) -> Experiment:
  """Builds an experiment.

  Args:
    config: The configuration.
    data: What `load_data` gave for it; None reads it.

  Returns:
    The experiment.

  Raises:
    UsageError: A value of the configuration does not fit.
    DataError: The data are missing or do not give what is asked for.
  """
  check(config)
  try:
    return _build(config, load_data(config.data) if data is None else data)
  except data_lib.DataError:
    raise
  except (ValueError, TypeError) as error:
    raise app.UsageError(str(error)) from error


def load_data(config: Any) -> data_lib.LongTailedData:
  """Reads the data set and cuts the long-tailed subset out of it."""
  source = functools.partial(
    data_lib.TfdsSource, config.name, data_dir=config.data_dir
  )
  natural = config.profile == 'natural' or config.class_counts
  return data_lib.long_tailed(
    source(split='train'),
    source(split='test'),
    imbalance_factor=None if natural else config.imbalance_factor,
    profile=config.profile,
    max_count=config.max_count,
    class_counts=config.class_counts,
    validation_per_class=config.validation_per_class,
    seed=config.subset_seed if config.subset == 'shuffled' else None,
  )


def _build(
  config: config_lib.Config, data: data_lib.LongTailedData
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
  )
  num_train = len(data.train.labels)
  num_steps = max(_steps(config.epochs, num_train, batch_size), 1)
  # SSE-SAM counts whole epochs; the excess is rounding of the product.
  switch_epochs = math.ceil(config.optimizer.switch * config.epochs - 1e-9)
  make_method = functools.partial(
    update_rule.make_method,
    config.optimizer,
    data.class_counts,
    _steps(switch_epochs, num_train, batch_size),
    num_steps,
  )
  method = make_method(jax.random.key(0))
  coupled = objective.coupled or mixing is not None
  split = _splits_rows(config, method, coupled)
  preprocess = _standardization(data.train.images)
  make_tx = functools.partial(
    update_rule.make_chain,
    config.optimizer,
    num_steps,
    _steps(config.optimizer.warmup_epochs, num_train, batch_size),
  )
  train_steps = tuple(
    jax.jit(
      training.make_train_step(
        model,
        make_tx(stage.link),
        objective.example_loss,
        preprocess,
        loss_takes_key=objective.takes_key,
        mix=None if mixing is None else mixing.mix,
        example_weights=objective.example_weights,
        penalty=objective.penalty,
        ema_decay=config.optimizer.ema_decay,
        num_microbatches=config.optimizer.num_microbatches,
      ),
      donate_argnums=0,
    )
    for stage in method.stages
  )

  @jax.jit
  def init_state(key):
    init_key, noise_key = jax.random.split(key)
    first = make_method(noise_key).stages[0]
    sample = preprocess(jnp.asarray(data.train.images[:1]))
    return training.create_train_state(
      model,
      make_tx(first.link),
      init_key,
      sample,
      ema=config.optimizer.ema_decay is not None,
      loss_state=objective.state,
    )

  def batches(seed):
    return _batches(config, data, time, method, mixing, split, num_parts, seed)

  # Here, so that what does not fit is said at once.
  batches(config.seed)[0]
  jax.eval_shape(init_state, jax.random.key(0))
  return Experiment(
    config=config,
    data=data,
    method=method,
    objective=objective,
    head=head,
    split=split,
    num_steps=num_steps,
    mesh=mesh,
    train_steps=train_steps,
    predict_step=jax.jit(
      training.make_predict_step(
        model, preprocess, logit_scale=objective.logit_scale
      )
    ),
    feature_step=jax.jit(training.make_feature_step(model, preprocess)),
    init=lambda seed: training.replicate(
      mesh, init_state(jax.random.key(seed))
    ),
    batches=batches,
  )


def _steps(epochs: float, num_train: int, batch_size: int) -> int:
  """Steps that see every training image `epochs` times."""
  return math.ceil(epochs * num_train / batch_size)


def _batches(
  config: config_lib.Config,
  data: data_lib.LongTailedData,
  time: timeline.Timeline,
  method: training.Method,
  mixing: mixing_lib.Mixing | None,
  split: bool,
  row_multiple: int,
  seed: int,
) -> grain.MapDataset:
  labels = data.train.labels
  is_tail = data.class_counts < config.optimizer.threshold
  order = samplers.make_order(
    config.data.sampler,
    time,
    labels,
    is_tail=is_tail if config.data.stratify else None,
    seed=seed,
  )
  reweighting = class_weights.make_reweighting(config.objective.weights, time)
  shared = {'reweighting': reweighting}
  if mixing is not None:
    partners = mixing_lib.make_partner_order(
      mixing, order, time, labels, seed=seed
    )
    return data_lib.paired_batches(
      order, partners, data.train, method.class_weights, **shared
    )
  if not split:
    return data_lib.joint_batches(
      order, data.train, method.class_weights, **shared
    )
  return data_lib.split_batches(
    order,
    data.train,
    method.class_weights,
    pad=not config.data.stratify,
    row_multiple=row_multiple,
    **shared,
  )


def _splits_rows(
  config: config_lib.Config, method: training.Method, coupled: bool
) -> bool:
  """Whether head and tail rows go through passes of their own."""
  batch_norm = config.model.norm == 'batch'
  rows = config.optimizer.rows
  if batch_norm and config.optimizer.num_microbatches > 1:
    raise ValueError(
      '--config.optimizer.num_microbatches would change what BatchNorm sees. '
      'Pass --config.model.norm=group, or leave it.'
    )
  if rows == 'split' and not method.exclusive:
    raise ValueError(
      '--config.optimizer.rows=split needs the groups head and tail, which '
      f'{config.optimizer.method} has not. Use imbsam or sse_sam, or leave it.'
    )
  if rows == 'split' and batch_norm:
    raise ValueError(
      '--config.optimizer.rows=split is not exact with BatchNorm, whose '
      'statistics tie the rows of a batch together. Pass '
      '--config.model.norm=group, or leave it.'
    )
  if rows == 'split' and coupled:
    raise ValueError(
      '--config.optimizer.rows=split is not exact where the loss of a row '
      'depends on others, as for arb, absgd and mixing. Leave '
      '--config.optimizer.rows=auto.'
    )
  if coupled and config.optimizer.num_microbatches > 1:
    raise ValueError(
      '--config.optimizer.num_microbatches would change what a loss sees that '
      'looks at the whole batch, such as arb and absgd. Leave it at 1.'
    )
  return rows != 'joint' and method.exclusive and not batch_norm and not coupled


def _standardization(images: np.ndarray) -> Any:
  """Zero mean and unit variance per channel of the training images."""
  scale = 255.0 if images.dtype == np.uint8 else 1.0
  axes = tuple(range(images.ndim - 1))
  mean = images.mean(axis=axes, dtype=np.float64, keepdims=True) / scale
  std = images.std(axis=axes, dtype=np.float64, keepdims=True) / scale
  mean = jnp.asarray(mean, jnp.float32)
  std = jnp.asarray(np.where(std > 0, std, 1.0), jnp.float32)

  def preprocess(batch):
    return (batch.astype(jnp.float32) / scale - mean) / std

  return preprocess
