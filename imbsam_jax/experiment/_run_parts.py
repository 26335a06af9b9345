# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What `build` puts together: methods, network, inputs, numbers of steps."""

from collections.abc import Callable
from collections.abc import Sequence
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
from imbsam_jax.experiment import _foundation
from imbsam_jax.experiment import _identity
from imbsam_jax.experiment import _own
from imbsam_jax.experiment import _trunk

# On accelerators, of images that stay there.
_STEPS_PER_CALL = 10


def combined(
  config: _config.Config,
  data: data_lib.LongTailedData,
  *,
  loss: Callable[[jax.Array, jax.Array], jax.Array] | None,
  auxiliary: np.ndarray | None,
  inputs: training.Inputs,
) -> tuple[methods.Combined, data_lib.Examples | None]:
  """What the words of a run bring, and the auxiliary images if one takes some.

  Args:
    config: The configuration.
    data: Examples of the run.
    loss: A loss of one's own, or None.
    auxiliary: Auxiliary images of one's own, or None.
    inputs: How stored images become the inputs of the network.
  """
  choices = _choices.of_network(config)
  images = None
  if methods.takes_auxiliary(choices):
    images = _data_sets.load_auxiliary(config.data, data, auxiliary)
  setup = methods.Setup(
    schedules.Timeline(
      data.class_counts, config.epochs, config.data.batch_size
    ),
    jax.eval_shape(inputs.preprocess, sample_of(data)).shape[1:],
    data,
    images,
    inputs.preprocess,
  )
  return methods.combine(choices, setup, loss=loss), images


def sample_of(data: data_lib.LongTailedData) -> jax.ShapeDtypeStruct:
  """Shape and dtype of one stored image, with a first axis of 1."""
  images = data.train.images
  return jax.ShapeDtypeStruct((1, *images.shape[1:]), images.dtype)


def examples(
  config: _config.Config,
  data: data_lib.LongTailedData,
  mesh: jax.sharding.Mesh,
) -> tuple[
  _config.Config,
  data_lib.LongTailedData,
  training.Inputs,
  _foundation.Foundation | None,
]:
  """What a run is trained on, and how it becomes the inputs of its network.

  Args:
    config: The configuration.
    data: The examples that were read.
    mesh: The devices.

  Returns:
    The configuration, with the checksum of its trunk; the examples, of features
    if these are computed once; the inputs; and the trunk, or None.
  """
  if not _trunk.is_wanted(config.model):
    return config, data, inputs_of(config.data, data.train.images), None
  trunk = _trunk.read(config.model, _trunk.image_size(config))
  config = _trunk.written_down(config, trunk)
  inputs = inputs_of(
    config.data,
    data.train.images,
    **_trunk.input_options(config, trunk, data.train.images),
  )
  foundation = _foundation.Foundation(config, data, inputs, trunk, mesh)
  return config, foundation.data, foundation.inputs, foundation


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
  config: _config.Config,
  own_model: Any,
  inputs: Any,
  num_classes: int,
  foundation: _foundation.Foundation | None,
  tuning: models.tuning.Tuning | None,
) -> Network:
  """The network of a configuration, or one's own.

  Args:
    config: The configuration.
    own_model: The network that was passed to `build`, or None.
    inputs: Shape and dtype of its input.
    num_classes: Number of classes.
    foundation: The pre-trained trunk that it has, or None.
    tuning: How that is tuned.
  """
  head = methods.head_for(_choices.choices_of(config))
  if foundation is not None:
    module = foundation.network(head, tuning)
    return Network(module, module.norm, head, {})
  if own_model is None:
    _own.check_table(config.model, inputs.shape[1:])
    module = _model(config.model, head, num_classes, inputs.shape[1:3])
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
    # Of every epoch that begins before the end.
    starts = map(steps, range(max(math.ceil(config.epochs - 1e-9), 1)))
    self.epoch_starts = [start for start in starts if start < self.num_steps]


def inputs_of(
  config: _config.Data,
  images: Any,
  *,
  size: int | tuple[int, int] | None = None,
  mean: Sequence[float] | None = None,
  std: Sequence[float] | None = None,
  rgb: bool = False,
) -> training.Inputs:
  """How stored images become the inputs of the network.

  In training they are augmented as they are stored, and resized as a whole; in
  an evaluation the center is seen, see `data.Standardization`.

  Args:
    config: The examples.
    images: Training images.
    size: Height and width that the network takes, or one number for both; None
      is those of the images.
    mean: Mean of each channel by which a trained network was standardized; None
      is that of the images.
    std: Standard deviation of each channel, likewise.
    rgb: Whether the network takes three channels of gray images.

  Raises:
    ValueError: If choices do not fit the images, or have no effect.
  """
  if not isinstance(images, np.ndarray) and config.augment != 'none':
    raise ValueError(
      f'`data.augment={config.augment}` is for images in memory; '
      'with `data.image_size` they get random crops and flips as they '
      'are decoded. Leave one of the two out.'
    )
  method: Any = config.resize
  in_memory = isinstance(images, np.ndarray)
  if method != 'bilinear' and (size is None or not in_memory):
    raise ValueError(
      f'`data.resize={method}` has no effect: it is for images in memory and a '
      'network that takes another size. Leave it out.'
    )
  standardization = data_lib.standardization(
    images, size=size, method=method, mean=mean, std=std, rgb=rgb
  )
  return training.Inputs(
    standardization,
    methods.make_augmentation(
      config.augment,
      image_shape=images.shape[1:],
      dtype=images.dtype,
      size=standardization.size,
      method=method,
    ),
    None if size is None else standardization.center,
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


def _model(
  config: _config.Model,
  head: Any,
  num_classes: int,
  image_size: tuple[int, ...],
) -> nn.Module:
  name: Any = config.name
  norm: Any = config.norm
  return models.create_model(
    name,
    num_classes=num_classes,
    norm=norm,
    head=head,
    dtype=jnp.dtype(config.dtype),
    # Rows of tables have no such axes, and no network that reads it.
    image_size=image_size if len(image_size) == 2 else 32,
  )


def steps_per_call(
  mesh: jax.sharding.Mesh, stay: bool, *, of_head: bool
) -> int:
  """How many steps a call takes where nobody says so.

  Args:
    mesh: The devices.
    stay: Whether the training images stay there.
    of_head: Whether the network is a head alone, without convolutions, which
      CPUs are slow at within a loop.
  """
  on_cpu = mesh.devices.flat[0].platform == 'cpu'
  return _STEPS_PER_CALL if stay and (of_head or not on_cpu) else 1
