# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`load_export`: an exported run as a function of images."""

from collections.abc import Mapping
import datetime
import os
import pathlib
from typing import Any
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import _checks
from imbsam_jax import _errors
from imbsam_jax import data as data_lib
from imbsam_jax._runs import fields
from imbsam_jax.experiment import _classifier
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _correction
from imbsam_jax.experiment import _export_folder
from imbsam_jax.experiment import _export_golden
from imbsam_jax.experiment import _export_stablehlo
from imbsam_jax.experiment import _export_weights
from imbsam_jax.experiment import _model_file


def load_export(
  path: str | os.PathLike[str],
  *,
  batch_size: int = 256,
  verify: bool = True,
  resize: bool = False,
) -> _classifier.Classifier:
  """An exported run as a function of images: ``load_export(path)(images)``.

  It needs the folder of the export alone, with ``model.jaxexport``: neither the
  run, nor its network, its trunk or words of one's own. All files are compared
  with their checksums before they are read; then eight images are given to the
  function, and what it gives is compared with what the run gave.

  An export gives one thing, probabilities unless another was chosen. The calls
  of the classifier that need another raise a `ConfigError`. An export of
  logits gives those whose softmax are the probabilities.

  Args:
    path: Folder of the export; it may have been moved.
    batch_size: Images that go through the network together.
    verify: Whether checksums and the eight images are compared. Where they
      were computed on hardware of another kind, or in bfloat16, they may
      differ by 0.02, else by 0.00001.
    resize: Whether images of another size are resized, see `load_run`.

  Returns:
    The classifier. Its `module` is None, and it has no variables.

  Raises:
    ConfigError: If the folder holds no export, or one without
      ``model.jaxexport``, or flatbuffers is not installed.
    CheckpointError: If a file is missing or damaged, this version of JAX does
      not read it, or it gives other numbers than the run.
  """
  _checks.integer('batch_size', batch_size, error=_errors.ConfigError)
  folder = pathlib.Path(path).expanduser()
  content = _export_folder.read(folder, verify=verify)
  if _export_folder.STABLEHLO not in content['files']:
    raise _errors.ConfigError(
      f'{folder} has no {_export_folder.STABLEHLO}. load_run reads '
      f'{_export_folder.WEIGHTS}; export the run again with '
      '`format=stablehlo` for a file that needs no network.'
    )
  _export_stablehlo.check()
  model = _export_folder.read_json(folder / _export_folder.MODEL)
  config = fields.from_json(folder / _export_folder.CONFIG, _config.Config)
  file = folder / _export_folder.STABLEHLO
  function = _export_stablehlo.read(file, content)
  classifier = _classifier.Classifier(
    model,
    config,
    step=model['step'],
    module=None,
    variables={},
    programs=_programs(function, content),
    reader=_model_file.reader(model['input'], resize=resize),
    batch_size=batch_size,
    correction=_recorded(model),
    calibration=model['correction']['calibration'],
  )
  _warn_if_old(folder, content)
  if verify:
    _compare(classifier, content, file)
  return classifier


def _programs(
  function: Any, content: Mapping[str, Any]
) -> _classifier.Programs:
  """The functions of a classifier that the exported one makes possible."""
  outputs, dtype = content['outputs'], content['input']['dtype']
  of_bytes = content['input']['stored'] == 'uint8'

  def rows(images):
    if dtype == 'uint8' and images.dtype != np.uint8:
      raise data_lib.DataError(
        f'this export takes bytes (uint8), got {images.dtype}. Pass such '
        'images, or export the run again with `input=float32`.'
      )
    return images

  def call(images):
    if dtype == 'float32':
      images = images.astype(jnp.float32)
      if of_bytes:  # As they are stored, in [0, 255].
        images = images / 255
    return function(images)

  def score(variables, images, correction):
    del variables, correction  # They are inside.
    numbers = call(images)
    if outputs == 'logits':
      return numbers, jax.nn.softmax(numbers)
    return numbers, numbers

  def features(variables, images):
    del variables
    return (call(images),)

  return _classifier.Programs(
    rows,
    None if outputs == 'features' else jax.jit(score),
    jax.jit(features) if outputs == 'features' else None,
    None,
    exported=outputs,
  )


def _recorded(model: Mapping[str, Any]) -> _correction.Correction:
  """What is known of the correction that the function has inside."""
  entry = model['correction']
  arrays = {}
  if entry['excluded']:
    offset = np.zeros(len(model['class_names']), np.float32)
    offset[entry['excluded']] = -np.inf
    arrays = {'offset': offset}
  return _export_weights.correction_of(entry, arrays)


def _warn_if_old(folder: pathlib.Path, content: Mapping[str, Any]) -> None:
  today = datetime.datetime.now(datetime.UTC).date().isoformat()
  if today > content['expires_after']:
    warnings.warn(
      f'{folder} was exported on {content["created"][:10]}, and JAX promises '
      'to read its exports for six months. This one still reads it; export '
      'the run again before you take another.',
      stacklevel=3,
    )


def _compare(
  classifier: _classifier.Classifier,
  content: Mapping[str, Any],
  file: pathlib.Path,
) -> None:
  """Refuses a function that gives other numbers than the run."""
  golden = content['golden']
  images = _export_golden.images(
    classifier.row_shape, content['input']['dtype'], golden['range']
  )
  try:
    numbers = _export_golden.outputs_of(classifier, content['outputs'], images)
  except (_errors.ConfigError, _errors.DivergedError, data_lib.DataError):
    raise
  except Exception as error:  # Of a StableHLO that XLA does not take any more.
    raise _export_stablehlo.unreadable(file, content, error) from error
  difference, allowed = _export_golden.difference(numbers, golden)
  if not difference <= allowed:
    raise _errors.CheckpointError(
      f'{file} gives other numbers than the run on {golden["platform"]}: they '
      f'differ by {difference:.2g}, and {allowed:g} is expected at most. '
      'Export the run again here; `verify=False` takes it as it is.'
    )
