# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The finished run that another run begins with."""

from collections.abc import Iterator
import dataclasses
import functools
import hashlib
import pathlib
from typing import Any
from typing import NamedTuple

from flax import traverse_util
import numpy as np

from imbsam_jax import _errors
from imbsam_jax import data as data_lib
from imbsam_jax import methods
from imbsam_jax import training
from imbsam_jax._runs import folder as folder_lib
from imbsam_jax.experiment import _chosen_checkpoint
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _data_sets
from imbsam_jax.experiment import _own


class BaseRun(NamedTuple):
  """What is known of a run that another one begins with.

  Attributes:
    folder: Its folder.
    step: Number of steps of the checkpoint that was read.
    variables: What it is evaluated with: parameters, or their moving average,
      and other variables of the model.
    sha256: Checksum of `variables`.
    config: Its configuration.
  """

  folder: pathlib.Path
  step: int
  variables: dict[str, Any]
  sha256: str
  config: _config.Config


class BaseRuns:
  """The runs that runs of a configuration begin with, one for each seed.

  Args:
    config: The configuration, with `init_from`.
    data: Examples of these runs.
  """

  def __init__(self, config: _config.Config, data: data_lib.LongTailedData):
    self.text: str = config.init_from or ''
    if '{word}' in self.text:
      raise _errors.ConfigError(
        f'`init_from={self.text}`: {{word}} is filled in by a comparison '
        'alone. Write the word.'
      )
    self._config = config
    self._data = data
    self._checked = functools.lru_cache(maxsize=2)(self._read)

  def of_seed(self, seed: int) -> BaseRun:
    """The run that a run of this seed begins with.

    Raises:
      ConfigError: If there is none, it is not finished or has changed, or it
        has seen images that are set aside here.
      CheckpointError: If its checkpoint cannot be read.
    """
    return self._checked(filled(self.text, seed=seed))

  def are_gone(self) -> bool:
    """Whether the folder of this configuration is not there any more."""
    folder, _ = _parts(filled(self.text, seed=self._config.seed))
    return not folder.exists()

  def config_of(self, seed: int) -> _config.Config:
    """The configuration of a run, for its ``config.json``."""
    return dataclasses.replace(
      self._config,
      seed=seed,
      init_from=filled(self.text, seed=seed),
      init_from_sha256=self.of_seed(seed).sha256,
    )

  def _read(self, text: str) -> BaseRun:
    base = read(text)
    known = self._config.init_from_sha256
    if known is not None and known != base.sha256:
      raise _errors.ConfigError(
        f'the parameters in {base.folder} are not those that this run began '
        f'with: their checksum is {base.sha256[:12]}, it was {known[:12]}. Put '
        'that run back, or begin a new run.'
      )
    check_unseen(base, self._data)
    return base


def of_method(config: _config.Config, name: str) -> _config.Config:
  """The configuration of a method of a comparison, with ``{word}`` filled in.

  Args:
    config: A configuration.
    name: Name of the method: its words, joined by plus signs, or any other.
  """
  if '{word}' not in (config.init_from or ''):
    return config
  words, _, _ = name.partition('@')  # What follows is a radius.
  known = methods.words()
  if all(word in known for word in words.split('+')):
    first = [w for w in words.split('+') if not methods.fine_tunes(w)]
    words = '+'.join(first) or 'sgd'
  return dataclasses.replace(
    config, init_from=filled(config.init_from or '', word=words)
  )


def check_seeds(config: _config.Config, num_seeds: int) -> None:
  """Refuses a comparison if some of its runs have none to begin with.

  Args:
    config: The configuration of a method.
    num_seeds: Number of seeds of the comparison.

  Raises:
    ConfigError: If one of these runs does not exist or is not finished.
  """
  if config.init_from is not None:
    for seed in range(num_seeds):
      check_there(filled(config.init_from, seed=seed))


def filled(text: str, **values: Any) -> str:
  """`init_from` with ``{seed}`` or ``{word}`` filled in."""
  for name, value in values.items():
    text = text.replace(f'{{{name}}}', str(value))
  return text


def check_there(text: str) -> pathlib.Path:
  """Refuses what is no folder of a finished run, and reads nothing of it.

  Args:
    text: `init_from`, filled in.

  Raises:
    ConfigError: If there is no run, or it is not finished.
  """
  folder, _ = _parts(text)
  if not (folder / 'config.json').exists():
    folder_lib.read_config(folder, _config.Config)  # Says what there is.
  if not (folder / 'summary.json').exists():
    raise _errors.ConfigError(
      f'`init_from={text}`: the run in {folder} is not finished, it has no '
      'summary.json. Finish it first, with the command that began it.'
    )
  return folder


def read(text: str) -> BaseRun:
  """Reads the parameters of a finished run.

  Args:
    text: `init_from`, filled in.

  Raises:
    ConfigError: If there is no run, it is not finished, or has no such
      checkpoint.
    CheckpointError: If its checkpoint cannot be read.
  """
  folder = check_there(text)
  config = folder_lib.read_config(folder, _config.Config)
  _, wanted = _parts(text)
  step, variables = _variables(folder, config, wanted)
  if config.init_from is not None:
    # What it did not train is in no checkpoint of its own.
    below = read(config.init_from).variables['params']
    variables['params'] = traverse_util.unflatten_dict(
      traverse_util.flatten_dict(below)
      | traverse_util.flatten_dict(variables['params'])
    )
  return BaseRun(
    folder, step, variables, training.params_sha256(variables), config
  )


def check_unseen(base: BaseRun, data: data_lib.LongTailedData) -> None:
  """Refuses a run that was trained on images which are now set aside.

  Args:
    base: The run that another one begins with.
    data: Examples of that other one.

  Raises:
    ConfigError: If images for validation or for the test were training images
      of `base`, or it cannot be told.
  """
  ours = data_lib.fingerprint(data)
  if folder_lib.read_fingerprint(base.folder).get('train') == ours['train']:
    return
  if base.config.data.name == _own.OWN:
    if data.validation is None:
      return
    raise _errors.ConfigError(
      f'the run in {base.folder} was trained on other images of your own, and '
      'perhaps on those that are now set aside for validation. Set the same '
      'images aside in both, or none.'
    )
  theirs = set(_keys(_data_sets.load(base.config.data).train))
  trained = set(_keys(data.train))
  for part, examples in (('validation', data.validation), ('test', data.test)):
    if examples is None:
      continue
    # An image that the data have twice is nobody's fault.
    seen = sum(key in theirs - trained for key in _keys(examples))
    if seen:
      raise _errors.ConfigError(
        f'the run in {base.folder} was trained on {seen} of the '
        f'{len(examples.labels)} images that are now set aside for '
        f'{part}: numbers on these would be too good. Begin with a run that '
        'has the same fields of `data`, such as '
        f'`data.validation_per_class={base.config.data.validation_per_class}`.'
      )


def _variables(
  folder: pathlib.Path, config: _config.Config, wanted: str | int
) -> tuple[int, dict[str, Any]]:
  """The step of a checkpoint, and what it is evaluated with."""
  _chosen_checkpoint.check_step(folder / 'checkpoints', wanted)
  with training.Checkpoints(
    folder / 'checkpoints',
    best_metric='top1' if config.best_on_test else 'balanced',
    read_only=True,
  ) as checkpoints:
    step = _chosen_checkpoint.chosen_step(checkpoints, wanted)
    return checkpoints.variables(step)


def _keys(examples: data_lib.Examples) -> Iterator[bytes]:
  """By what an image is known again."""
  if isinstance(examples.images, data_lib.EncodedImages):
    yield from (str(name).encode() for name in examples.images.names())
    return
  for image in examples.images:
    yield hashlib.sha256(np.ascontiguousarray(image).data).digest()


def _parts(text: str) -> tuple[pathlib.Path, str | int]:
  """Folder and checkpoint."""
  path, colon, checkpoint = text.rpartition(':')
  if colon and (checkpoint in ('last', 'best') or checkpoint.isdecimal()):
    return (
      pathlib.Path(path).expanduser(),
      _chosen_checkpoint.check_checkpoint(checkpoint),
    )
  return pathlib.Path(text).expanduser(), 'last'
