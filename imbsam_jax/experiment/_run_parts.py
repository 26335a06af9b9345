# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What `build` puts together: methods, network, inputs, numbers of steps."""

from collections.abc import Callable
import math
from typing import Any
from typing import NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import data as data_lib
from imbsam_jax import methods
from imbsam_jax import models
from imbsam_jax import schedules
from imbsam_jax import training
from imbsam_jax.experiment import _choices
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _data_sets
from imbsam_jax.experiment import _experiment
from imbsam_jax.experiment import _identity
from imbsam_jax.experiment import _own

# On accelerators, of images that stay there.
_STEPS_PER_CALL = 10


def combined(
  config: _config.Config,
  data: data_lib.LongTailedData,
  *,
  loss: Callable[[jax.Array, jax.Array], jax.Array] | None,
  auxiliary: np.ndarray | None,
) -> tuple[methods.Combined, data_lib.Examples | None]:
  """What the words of a run bring, and the auxiliary images if one takes some.

  Args:
    config: The configuration.
    data: Examples of the run.
    loss: A loss of one's own, or None.
    auxiliary: Auxiliary images of one's own, or None.
  """
  choices = _choices.choices_of(config)
  images = None
  if methods.takes_auxiliary(choices):
    images = _data_sets.load_auxiliary(config.data, data, auxiliary)
  setup = methods.Setup(
    schedules.Timeline(
      data.class_counts, config.epochs, config.data.batch_size
    ),
    data.train.images.shape[1:],
    data,
    images,
  )
  return methods.combine(choices, setup, loss=loss), images


class Network(NamedTuple):
  """The network of a run, before methods change it.

  Attributes:
    module: The network.
    norm: Its normalization, as the field `model.norm`.
    head: Its head.
    own: By what it is known again, if it is one's own.
  """

  module: Any
  norm: str
  head: str
  own: dict[str, Any]


def network(
  config: _config.Config, own_model: Any, inputs: Any, num_classes: int
) -> Network:
  """The network of a configuration, or one's own.

  Args:
    config: The configuration.
    own_model: The network that was passed to `build`, or None.
    inputs: Shape and dtype of its input.
    num_classes: Number of classes.
  """
  head = methods.head_for(_choices.choices_of(config))
  if own_model is None:
    _own.check_table(config.model, inputs.shape[1:])
    module = _model(config.model, head, num_classes)
    return Network(module, config.model.norm, head, {})
  norm, own = _own.check_model(own_model, inputs, num_classes)
  return Network(_own.as_model(own_model), norm, head, {'network': own})


def own_words(choices: dict[str, str]) -> dict[str, Any]:
  """What is known of methods of one's own, for ``own.json``."""
  own = {}
  for axis, text in choices.items():
    if text != methods.OWN:
      function = methods.bind(axis, text).function
      if not methods.is_of_library(function):
        known = _identity.of_word(function)
        own |= {f'method {text}': known} if known else {}
  return own


class Lengths:
  """Numbers of steps of a run."""

  def __init__(self, config: _config.Config, num_train: int):
    def steps(epochs):
      return _experiment.steps_in(epochs, num_train, config.data.batch_size)

    self.num_steps = max(steps(config.epochs), 1)
    # SSE-SAM counts whole epochs; the excess is rounding of the product.
    self.switch_step = steps(
      math.ceil(config.optimizer.switch * config.epochs - 1e-9)
    )
    self.warmup_steps = steps(config.optimizer.warmup_epochs)


def inputs_of(config: _config.Data, images: Any) -> training.Inputs:
  """How stored images become the inputs of the network."""
  if not isinstance(images, np.ndarray) and config.augment != 'none':
    raise ValueError(
      f'`data.augment={config.augment}` is for images in memory; '
      'with `data.image_size` they get random crops and flips as they '
      'are decoded. Leave one of the two out.'
    )
  return training.Inputs(
    data_lib.standardization(images),
    methods.make_augmentation(
      config.augment, image_shape=images.shape[1:], dtype=images.dtype
    ),
  )


def row_multiple(config: _config.Config, mesh: jax.sharding.Mesh) -> int:
  """What every group of rows is a multiple of."""
  batch_size = config.data.batch_size
  multiple = mesh.size * config.optimizer.num_microbatches
  if batch_size % multiple:
    raise ValueError(
      f'`data.batch_size` must be a multiple of {multiple}, the '
      f'devices times the micro-batches, got {batch_size}.'
    )
  return multiple


def _model(config: _config.Model, head: Any, num_classes: int) -> nn.Module:
  name: Any = config.name
  norm: Any = config.norm
  return models.create_model(
    name,
    num_classes=num_classes,
    norm=norm,
    head=head,
    dtype=jnp.dtype(config.dtype),
  )


def steps_per_call(mesh: jax.sharding.Mesh, stay: bool) -> int:
  """How many steps a call takes where nobody says so."""
  on_cpu = mesh.devices.flat[0].platform == 'cpu'
  return _STEPS_PER_CALL if stay and not on_cpu else 1
