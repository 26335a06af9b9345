# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Batches and steps of one network, made of numbers that mean nothing."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import augment
from imbsam_jax import data as data_lib
from imbsam_jax import losses
from imbsam_jax import models
from imbsam_jax import training
from imbsam_jax.experiment.benchmarks import _compiled_step

_NUM_CLASSES = 100
# Of 64 rows: the share of the tail on CIFAR-100-LT with threshold 100.
_TAIL_OF_64 = 12


class Workload:
  """Batches and steps of one network on images of 32x32.

  Args:
    model: Name of the network.
    norm: Its normalization.
    batch_size: Rows of a batch; 12 of 64 are of tail classes.
  """

  def __init__(self, model: str, norm: Any, *, batch_size: int = 64):
    self.batch_size = batch_size
    self.num_tail = batch_size * _TAIL_OF_64 // 64
    self.class_counts = data_lib.long_tail_class_counts(_NUM_CLASSES, 500, 100)
    labels = np.repeat(np.arange(_NUM_CLASSES), self.class_counts)
    rng = np.random.RandomState(0)
    images = rng.randint(0, 256, (len(labels), 32, 32, 3)).astype(np.uint8)
    self.mesh = training.data_mesh()
    self.resident_images = training.replicate(self.mesh, images)
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
        len(self.examples.labels), batch_size=self.batch_size, seed=0
      )
    else:
      order = data_lib.stratified_order(
        (self.class_counts < stratify_below)[self.examples.labels],
        batch_size=self.batch_size,
        seed=0,
      )
    arguments = (order, self.examples, method.group_weights_by_class)
    if layout == 'joint':
      return data_lib.joint_batches(*arguments)
    make = (
      data_lib.split_batches
      if layout == 'split'
      else data_lib.tail_only_batches
    )
    sizes = {'tail_sizes': tail_sizes, 'row_multiple': self.mesh.size}
    return make(*arguments, **sizes)

  def stratified(self, method: training.Method, layout: data_lib.Layout) -> Any:
    """Batches with the same number of tail rows, or one less, in each."""
    return self.batches(
      method,
      layout=layout,
      stratify_below=100,
      tail_sizes=(self.num_tail - 1, self.num_tail),
    )

  def put(self, batch: Any, *, stacked: bool = False) -> Any:
    """A batch, or several that are stacked, on the devices."""
    return training.shard_batch(
      self.mesh, batch, resident_images=self.resident_images, stacked=stacked
    )

  def step(self, method: training.Method, *, stage: int = 0) -> Any:
    """The step of a method's stage, not jitted."""
    return training.make_train_step(
      self.model,
      self._optimizer(method, stage),
      losses.cross_entropy,
      training.Inputs(preprocess, _crop_and_flip),
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

  def compiled_step(
    self, method: training.Method, batch: Any, *, stage: int = 0
  ) -> _compiled_step.CompiledStep:
    """A compiled step on a batch."""
    return _compiled_step.CompiledStep(
      self.step(method, stage=stage), self.state(method), self.put(batch)
    )

  def compiled_scan(
    self, method: training.Method, batches: Any
  ) -> _compiled_step.CompiledStep:
    """Steps one after the other in one call, on stacked batches."""
    return _compiled_step.CompiledStep(
      training.scan_steps(self.step(method)),
      self.state(method),
      self.put(batches, stacked=True),
    )

  def _optimizer(self, method: training.Method, stage: int) -> Any:
    return training.make_optimizer(method.stages[stage].link, 0.01)


def preprocess(images: jax.Array) -> jax.Array:
  return images.astype(jnp.float32) / 128 - 1


def _crop_and_flip(key: jax.Array, image: jax.Array) -> jax.Array:
  crop_key, flip_key = jax.random.split(key)
  return augment.random_flip(flip_key, augment.pad_crop(crop_key, image))
