# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is the user's own beside the words: data, a network, a loss."""

import dataclasses
from typing import Any

from flax import linen as nn
import jax

from imbsam_jax import _errors
from imbsam_jax import _modes
from imbsam_jax import data as data_lib
from imbsam_jax import methods
from imbsam_jax import models
from imbsam_jax.experiment import _choices
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _data_sets
from imbsam_jax.experiment import _identity

OWN = methods.OWN


def name_in(
  config: _config.Config, *, model: Any, data: Any, loss: Any
) -> _config.Config:
  """The configuration with what is passed beside it named 'own'.

  Raises:
    ConfigError: If something that is 'own' was not passed, or does not fit.
  """
  parts = {
    'model': (config.model.name, model, 'model=module'),
    'data': (config.data.name, data, 'data=experiment.Sources(...)'),
    'loss': (config.objective.loss, loss, 'loss=function'),
  }
  for part, (name, given, argument) in parts.items():
    if name == OWN and given is None:
      raise _errors.ConfigError(
        f'the {part} of this configuration is {OWN!r}: pass it in Python, '
        f'experiment.build(config, {argument}) or experiment.restore(workdir, '
        f'{argument}).'
      )
  if isinstance(data, (_data_sets.Sources, data_lib.LongTailedData)):
    validation = None if data.validation is None else 'validation'
    splits = ('train', validation, 'test')
    changes: dict[str, Any] = {'name': OWN, 'splits': splits}
    if _takes_auxiliary(config, data):
      changes['auxiliary'] = OWN
    config = dataclasses.replace(
      config, data=dataclasses.replace(config.data, **changes)
    )
  elif data is not None:
    raise _errors.ConfigError(
      '`data` must be experiment.Sources(train=(images, labels), '
      f'test=(images, labels)) or a data.LongTailedData, got {type(data)}.'
    )
  if config.data.auxiliary == OWN and not _takes_auxiliary(config, data):
    raise _errors.ConfigError(
      "the auxiliary images of this configuration are 'own': pass them in "
      'Python, experiment.Sources(..., auxiliary=images).'
    )
  if loss is not None and not callable(loss):
    raise _errors.ConfigError(
      '`loss` must be a function (logits, labels) -> losses, got '
      f'{loss!r}. Losses by name are words: experiment.config(recipe, '
      "'ldam')."
    )
  if loss is not None:
    config = dataclasses.replace(
      config, objective=dataclasses.replace(config.objective, loss=OWN)
    )
  if model is not None:
    _check_trunk(config.model, model)
    if config.model.dtype != _config.Model().dtype:
      raise _errors.ConfigError(
        f'`model.dtype={config.model.dtype}` is for networks of this library; '
        'a network of your own decides its own dtype. Leave '
        f'`model.dtype={_config.Model().dtype}`.'
      )
    # Whether it gives cosines cannot be seen; that it does is to be said.
    head = 'linear' if config.model.head == 'auto' else config.model.head
    config = dataclasses.replace(
      config, model=dataclasses.replace(config.model, name=OWN, head=head)
    )
    if config.objective.penalty.startswith('zero_centroid'):
      raise _errors.ConfigError(
        'zero_centroid moves the class vectors of a cosine head of this '
        'library, which a network of your own has not. Leave it out.'
      )
  return config


def _check_trunk(config: _config.Model, model: Any) -> None:
  """Refuses what a run would not do with a network of one's own.

  Raises:
    ConfigError: If there is the file of a trunk besides, or a part of the
      network would be trained that is to stay as it is.
  """
  if config.trunk is not None:
    raise _errors.ConfigError(
      f'`model.trunk={config.trunk}` is the network of a file, and a network '
      'of your own was passed besides. Leave one of the two out.'
    )
  tuning = getattr(model, 'tuning', None)
  if isinstance(tuning, models.tuning.Tuning) and not isinstance(
    tuning, models.tuning.Full
  ):
    raise _errors.ConfigError(
      f'a run trains all of a network of your own, and yours has {tuning!r}. '
      'Save its trunk by `pretrained.save`, pass `model.trunk=FILE` and the '
      'word of the tuning; or leave the tuning out.'
    )


def _takes_auxiliary(config: _config.Config, data: Any) -> bool:
  """Whether auxiliary images of one's own are passed and taken."""
  return getattr(data, 'auxiliary', None) is not None and (
    methods.takes_auxiliary(_choices.choices_of(config))
  )


def check_table(model: _config.Model, row_shape: tuple[int, ...]) -> None:
  """Refuses a network for images where there are rows of a table.

  Args:
    model: Name of a network of this library.
    row_shape: Shape of an example.

  Raises:
    ConfigError: If the examples are rows of a table and the network takes
      images; the message names the network that takes a table.
  """
  if len(row_shape) == 1 and model.name != 'mlp':
    raise _errors.ConfigError(
      f'the examples are rows of a table, {row_shape[0]} numbers each, and '
      f'{model.name} takes images [height, width, channels]. For rows of '
      'tables pass `model.name=mlp` and `model.norm=none`.'
    )


def as_model(model: Any) -> Any:
  """A model with ``init`` and ``apply`` that take ``train=``.

  Raises:
    ConfigError: If `model` is no module that can be called so.
  """
  if isinstance(model, models.NnxModel):
    return model
  if not isinstance(model, nn.Module):
    raise _errors.ConfigError(
      f'`model` must be a Linen module, made, such as Net(), got {model!r}. '
      'Write models.from_nnx(lambda rngs: Net(rngs=rngs)) for an NNX module.'
    )
  if _modes.takes_train(model):
    return model
  parameters = _modes.call_parameters(model)
  known = [name for name in _MODES if name in parameters]
  return _Called(model, {name: _MODES[name] for name in known})


def tells_features(model: Any) -> bool:
  """Whether it has the methods of a `models.Classifier`."""
  return isinstance(model, models.Classifier)


def check_model(
  model: Any, images: jax.ShapeDtypeStruct, num_classes: int
) -> tuple[Any, dict[str, Any]]:
  """Traces a model once; says whether rows depend on each other.

  Args:
    model: The network that was passed to `build`.
    images: Shape and dtype of its input, ``[1, ...]``.
    num_classes: Number of classes, C.

  Returns:
    ``'batch'`` or ``'none'``, as the field `model.norm`; and by what the model
    is known again.

  Raises:
    ConfigError: If the model cannot be applied to the images, or gives no
      logits.
  """
  key = jax.eval_shape(lambda: jax.random.key(0))
  called = as_model(model)
  try:
    begin, variables = _identity.trace(
      lambda key, x: called.init(key, x, train=False), key, images
    )
    evaluation, logits = _identity.trace(
      lambda v, x: called.apply(v, x, train=False), variables, images
    )
    trained, _ = _identity.trace(
      lambda v, x, key: called.apply(
        v, x, train=True, mutable=['batch_stats'], rngs={'dropout': key}
      ),
      variables,
      images,
      key,
    )
  except Exception as error:  # Whatever a user's code raises.
    raise _errors.ConfigError(
      f'the model cannot be applied to images {list(images.shape)}: {error}'
    ) from error
  shape = getattr(logits, 'shape', None)
  if shape != (1, num_classes):
    raise _errors.ConfigError(
      f'the model must give logits [B, {num_classes}], one for each class; for '
      f'B = 1 it gave {shape or logits}.'
    )
  norm = 'batch' if 'batch_stats' in variables else 'none'
  traces = [begin, evaluation, trained]
  return norm, _identity.of_model(model, traces, variables)


# Other names that modules have for `train`, and its value that means training.
_MODES = {
  'training': True,
  'is_training': True,
  'deterministic': False,
  'use_running_average': False,
}


class _Called:
  """A Linen module that is told otherwise, or not, that it is trained."""

  def __init__(self, module: nn.Module, modes: dict[str, bool]):
    self._module = module
    self._modes = modes

  def init(self, key: jax.Array, images: jax.Array, *, train: bool) -> Any:
    return self._module.init(key, images, **self._told(train))

  def apply(
    self, variables: Any, images: jax.Array, *, train: bool, **options: Any
  ) -> Any:
    return self._module.apply(variables, images, **self._told(train), **options)

  def _told(self, train: bool) -> dict[str, Any]:
    return {name: train == value for name, value in self._modes.items()}
