# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""From a configuration to the parts of an experiment."""

from collections.abc import Callable
import dataclasses
import math
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import _errors
from imbsam_jax import data as data_lib
from imbsam_jax import methods
from imbsam_jax import models
from imbsam_jax import schedules
from imbsam_jax import training
from imbsam_jax._runs import compilation
from imbsam_jax._runs import fields
from imbsam_jax.experiment import _batches
from imbsam_jax.experiment import _compatibility
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _data_sets
from imbsam_jax.experiment import _experiment
from imbsam_jax.experiment import _field_checks
from imbsam_jax.experiment import _own
from imbsam_jax.experiment import _programs
from imbsam_jax.experiment import _update_rule

# On accelerators, of images that stay there.
_STEPS_PER_CALL = 10
# Larger sets stay on the host.
_MAX_TABLE_BYTES = 2**32


def check(config: _config.Config) -> None:
  """Refuses what can be refused without the data.

  Raises:
    ConfigError: A value of the configuration does not fit.
  """
  _field_checks.check(config)
  _compatibility.check(config)


def build(
  config: _config.Config,
  *,
  model: nn.Module | models.NnxModel | None = None,
  data: _data_sets.Sources | data_lib.LongTailedData | None = None,
  loss: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
  steps_per_call: int | None = None,
) -> _experiment.Experiment:
  """Builds an experiment; ``print(experiment)`` shows what it is about.

  What is not in the words of a configuration is passed beside it. The
  configuration then names it ``'own'``, and whoever restores the run passes it
  again. Data are told apart by their checksums; another network or loss of
  one's own needs another folder.

  Args:
    config: The configuration.
    model: A network of one's own instead of `config.model`: a Linen module
      called as ``model(images, train=...)`` or ``model(images)``, or
      `models.from_nnx` of an NNX one. It gives logits ``[B, C]``; that it gives
      cosines is declared by the field ``model.head='cosine'``. Where it has
      BatchNorm, rows are not split. It decides its own dtype.
    data: Examples of one's own: `Sources`, cut as `config.data` says; or a
      `data.LongTailedData`, taken as it is. None reads the data set that
      `config.data` names.
    loss: A loss of one's own instead of `config.objective.loss`: ``(logits
      [B, C], labels [B]) -> losses [B]``, each of its own row alone.
    steps_per_call: Steps in one call of the device; None is several for small
      images on accelerators, which wait for the call otherwise, and 1 on CPUs,
      where XLA runs convolutions within a loop ten times slower.

  Returns:
    The experiment.

  Raises:
    ConfigError: A value of the configuration does not fit; on GPUs also the
      field `deterministic` where JAX has begun without it.
    DataError: The data are missing or do not give what is asked for.
  """
  if not isinstance(config, _config.Config):
    raise _errors.ConfigError(
      '`config` must be a configuration, such as '
      f"experiment.config('digits_lt', 'imbsam'), got {type(config)}."
    )
  fields.check_types(config)
  config = _own.name_in(config, model=model, data=data, loss=loss)
  check(config)
  compilation.ask_for_same_bits(config.deterministic)
  try:
    if not isinstance(data, data_lib.LongTailedData):
      data = _data_sets.load(config.data, data)
    return _build(config, data, model, loss, steps_per_call)
  except data_lib.DataError:
    raise
  except (ValueError, TypeError) as error:
    raise _errors.ConfigError(str(error)) from error


def build_on(
  config: _config.Config, data: data_lib.LongTailedData
) -> _experiment.Experiment:
  """Builds an experiment on the data that its configuration names.

  Args:
    config: The configuration.
    data: What was read for it already.

  Raises:
    ConfigError: A value of the configuration does not fit.
  """
  check(config)
  compilation.ask_for_same_bits(config.deterministic)
  try:
    return _build(config, data, None, None, None)
  except data_lib.DataError:
    raise
  except (ValueError, TypeError) as error:
    raise _errors.ConfigError(str(error)) from error


def _build(
  config: _config.Config,
  data: data_lib.LongTailedData,
  own_model: Any,
  own_loss: Callable[[jax.Array, jax.Array], jax.Array] | None,
  steps_per_call: int | None,
) -> _experiment.Experiment:
  mesh = training.data_mesh()
  batch_size = config.data.batch_size
  num_parts = mesh.size * config.optimizer.num_microbatches
  if batch_size % num_parts:
    raise ValueError(
      f'`data.batch_size` must be a multiple of {num_parts}, the '
      f'devices times the micro-batches, got {batch_size}.'
    )
  time = schedules.Timeline(data.class_counts, config.epochs, batch_size)
  objective = methods.make_objective(
    own_loss or config.objective.loss,
    time,
    weights=config.objective.weights,
    penalty=config.objective.penalty,
  )
  images = data.train.images
  mixing = methods.make_mixing(
    config.objective.mixing, time, image_shape=images.shape[1:]
  )
  preprocess = data_lib.standardization(images)
  sample = jax.ShapeDtypeStruct((1, *images.shape[1:]), images.dtype)
  head: Any = methods.head_for(config.objective.loss, config.model.head)
  num_classes = len(data.class_names)
  if own_model is None:
    model: Any = _model(config.model, head, num_classes)
  else:
    model = _own.as_model(own_model)
    norm = _own.check_model(
      model, jax.eval_shape(preprocess, sample), num_classes
    )
    config = dataclasses.replace(
      config, model=dataclasses.replace(config.model, norm=norm)
    )
  num_train = len(data.train.labels)
  num_steps = max(_experiment.steps_in(config.epochs, num_train, batch_size), 1)
  # SSE-SAM counts whole epochs; the excess is rounding of the product.
  switch_epochs = math.ceil(config.optimizer.switch * config.epochs - 1e-9)

  def make_method(key, rho=None):
    return _update_rule.make_method(
      config.optimizer
      if rho is None
      else dataclasses.replace(config.optimizer, rho=rho),
      data.class_counts,
      _experiment.steps_in(switch_epochs, num_train, batch_size),
      num_steps,
      key,
    )

  method = make_method(jax.random.key(0))
  coupled = objective.coupled or mixing is not None
  layout = _batches.choose_layout(config, method, coupled)
  in_memory = isinstance(images, np.ndarray)
  if not in_memory and config.data.augment != 'none':
    raise ValueError(
      f'`data.augment={config.data.augment}` is for images in memory; '
      'with `data.image_size` they get random crops and flips as they '
      'are decoded. Leave one of the two out.'
    )
  augment = methods.make_augmentation(
    config.data.augment, image_shape=images.shape[1:], dtype=images.dtype
  )
  if config.optimizer.ascent == 'per_device' and coupled:
    raise ValueError(
      '`optimizer.ascent=per_device` is not possible where the loss of '
      'a row depends on others, as for arb, absgd and mixing. Leave '
      '`optimizer.ascent=global`.'
    )
  steps = _programs.Steps(
    config.optimizer,
    model,
    make_method,
    objective,
    preprocess,
    augment=augment,
    mixing=mixing,
    num_steps=num_steps,
    warmup_steps=_experiment.steps_in(
      config.optimizer.warmup_epochs, num_train, batch_size
    ),
    sample=sample,
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
  batches = _batches.Batches(
    config,
    _batches.indexed(data.train) if stay else data.train,
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
  return _experiment.Experiment(
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
    feature_step=jax.jit(training.make_feature_step(model, preprocess))
    if own_model is None or _own.tells_features(own_model)
    else None,
    logit_step=jax.jit(
      lambda variables, images: (
        model.apply(variables, preprocess(images), train=False),
      )
    ),
    init=lambda seed: training.replicate(
      mesh, steps.init(jax.random.key(seed))
    ),
    abstract_state=abstract_state,
    batches=batches,
    table=training.replicate(mesh, images) if stay else None,
  )


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


def _steps_per_call(mesh: jax.sharding.Mesh, stay: bool) -> int:
  on_cpu = mesh.devices.flat[0].platform == 'cpu'
  return _STEPS_PER_CALL if stay and not on_cpu else 1
