# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A run on a pre-trained trunk: what it puts in the place of a new network."""

import functools
from typing import Any

import jax
import numpy as np

from imbsam_jax import _errors
from imbsam_jax import _specs
from imbsam_jax import data as data_lib
from imbsam_jax import methods
from imbsam_jax import models
from imbsam_jax import training
from imbsam_jax._runs import fields
from imbsam_jax.experiment import _choices
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _head_init
from imbsam_jax.experiment import _trunk
from imbsam_jax.experiment import _trunk_features
from imbsam_jax.experiment import _tuned_network

# What would change features that were computed before, and its plain value.
_CHANGES = {
  'data.augment': 'none',
  'test_views': 'none',
  'flip_test': False,
  'model.pool': 'class',
  'model.remat': False,
}


class Foundation:
  """The trunk of a run, and with a cache its features in place of images.

  Args:
    config: The configuration, with `model.trunk`.
    data: Examples of the run.
    inputs: How images become the inputs of the trunk.
    trunk: What was read from its file.
    mesh: The devices.

  Attributes:
    data: Examples of which the run is trained.
    inputs: How they become the inputs of the network.
    is_cached: Whether they are features.
    image_inputs: How images become the inputs of the trunk.
  """

  def __init__(
    self,
    config: _config.Config,
    data: data_lib.LongTailedData,
    inputs: training.Inputs,
    trunk: _trunk.Trunk,
    mesh: jax.sharding.Mesh,
  ):
    self._config = config
    self._trunk = trunk
    self._extract = _trunk_features.Extractor(config, trunk, inputs, mesh)
    self.is_cached = config.model.feature_cache is not None
    self.data, self.inputs, self.image_inputs = data, inputs, inputs
    if self.is_cached:
      self.inputs = training.Inputs(_unchanged)
      self.data = _trunk_features.cached(config, data, trunk, self._extract)

  @property
  def about(self) -> str:
    """A line about the trunk, for what a run says of itself."""
    if self.is_cached:
      return f'{self._trunk.summary}; its features, computed once'
    return self._trunk.summary

  def network(
    self, head: Any, tuning: models.tuning.Tuning | None
  ) -> models.Classifier:
    """The network of the run, before methods change it.

    Args:
      head: Name of its head.
      tuning: How the trunk is tuned; None trains all of it.
    """
    return _tuned_network.network(
      self._config.model,
      self._trunk,
      tuning,
      head=head,
      num_classes=len(self.data.class_names),
    )

  def plan(
    self, scheme: training.ParamPlan, network: Any, *, begins: bool
  ) -> training.ParamPlan:
    """Which parameters are loaded, and which are trained.

    Args:
      scheme: The plan of the words of the run.
      network: What `network` gave.
      begins: Whether the run begins with these, and not with those of another
        run or of a checkpoint.
    """
    vectors = None
    if begins:
      vectors = _head_init.class_vectors(
        self._config.model.head_init,
        network.head,
        self.data,
        self._trunk,
        self.features,
      )
    vectors = vectors and functools.cache(vectors)
    if self.is_cached and vectors is None:
      return scheme
    whole = self.is_cached or isinstance(network.tuning, models.tuning.Full)
    return _tuned_network.plan(
      scheme,
      trunk=None if self.is_cached else self._trunk,
      trains=None if whole else network.trains,
      class_vectors=vectors,
      frozen_dtype=self._config.model.dtype,
    )

  def count_cost(self, objective: training.Objective, network: Any) -> None:
    """Sets what an objective costs, in SGD steps that train the whole network.

    Args:
      objective: That of the run.
      network: What `network` gave.
    """
    if not self.is_cached:
      _tuned_network.count_cost(objective, network)

  @property
  def projection(self) -> np.ndarray | None:
    """Kernel ``[D, E]`` of CLIP's projection, if the file has one."""
    return self._trunk.projection

  def features(self, examples: data_lib.Examples) -> np.ndarray:
    """Features ``[N, D]`` of examples of the run, before any tuning."""
    if self.is_cached:
      return examples.images
    return self._extract(examples, 'features')


def check(config: _config.Config) -> None:
  """Refuses fields of a trunk that have no effect, and a file that is missing.

  So does it what would change features that are computed once.

  Raises:
    ConfigError: If there is no file, none is asked for, or with a cache the
      trunk is trained, or images are changed or mixed.
  """
  if not _trunk.is_wanted(config.model):
    return
  _trunk.check_there(config.model)
  probe = _specs.name(config.model.tuning) == 'probe'
  if probe and config.model.feature_dropout:
    raise _errors.ConfigError(
      f'`model.feature_dropout={config.model.feature_dropout}` has no effect '
      'on a probe, whose features are those of an evaluation. Leave '
      '`model.feature_dropout=0`.'
    )
  if config.model.feature_cache is None:
    return
  if not probe:
    raise _errors.ConfigError(
      '`model.feature_cache` keeps the features of a trunk that nothing '
      f'changes, and `model.tuning={config.model.tuning}` trains it. Add the '
      'word probe, or leave `model.feature_cache=None`.'
    )
  word = methods.needs_images(_choices.choices_of(config))
  if word is not None:
    raise _errors.ConfigError(
      f'`{word}` mixes, makes or changes images, and `model.feature_cache` has '
      'features in their place. Leave it out, or leave '
      '`model.feature_cache=None`.'
    )
  flat = fields.flatten(config)
  for name, plain in _CHANGES.items():
    if flat[name] != plain:
      raise _errors.ConfigError(
        f'`{name}={flat[name]}` is about images or the network that sees them, '
        'and `model.feature_cache` has features in their place. Pass '
        f'`{name}={plain}`, or leave `model.feature_cache=None`.'
      )


def _unchanged(features: jax.Array) -> jax.Array:
  return features
