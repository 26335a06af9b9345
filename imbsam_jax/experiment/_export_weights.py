# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""``model.safetensors`` and ``model.json``: a run as arrays and words."""

from collections.abc import Mapping
import pathlib
from typing import Any
from typing import NamedTuple

import numpy as np

from imbsam_jax import _errors
from imbsam_jax import _extras
from imbsam_jax import training
from imbsam_jax._runs import fields
from imbsam_jax.experiment import _classifier
from imbsam_jax.experiment import _correction
from imbsam_jax.experiment import _export_folder
from imbsam_jax.experiment import _model_file

# First parts of names that are no variables of the network.
_CORRECTION, _TRUNK = 'correction', 'trunk'


class Archive(NamedTuple):
  """What an export keeps of a run.

  Attributes:
    step: Number of steps of the checkpoint.
    variables: Variables of the network.
    calibrated: Name of the calibration that was exported.
    correction: What is made of its logits.
  """

  step: int
  variables: dict[str, Any]
  calibrated: str
  correction: _correction.Correction

  def calibration(self, wanted: str) -> tuple[str, _correction.Correction]:
    """The name of the calibration that is used, and what it is.

    Args:
      wanted: 'selected', 'none', or the name of that in the export.

    Raises:
      ConfigError: If it is another one.
    """
    if wanted == 'none':
      return 'none', _correction.NONE
    if wanted not in ('selected', self.calibrated):
      raise _errors.ConfigError(
        f'`calibration={wanted}`: this export has {self.calibrated!r}. Pass '
        '`calibration=selected` or `calibration=none`, or load the run.'
      )
    return self.calibrated, self.correction


def check() -> None:
  """Refuses to write or read without the package.

  Raises:
    ConfigError: If safetensors is not installed.
  """
  advice = _extras.lacking('export')
  if advice:
    raise _errors.ConfigError(f'{_export_folder.WEIGHTS} needs {advice}')


def write(classifier: _classifier.Classifier, path: pathlib.Path) -> None:
  """Writes all arrays, the trunk and what was not trained too.

  Names are paths, 'params/classifier/kernel'; those of a trunk whose features
  are computed once begin with 'trunk/', those of the correction with
  'correction/'.

  Args:
    classifier: What `load_run` gave.
    path: Path of the file.
  """
  from safetensors import numpy as safetensors_numpy

  arrays = _model_file.leaves(classifier.variables)
  if classifier.programs.trunk is not None:
    arrays |= _model_file.leaves({_TRUNK: classifier.programs.trunk})
  arrays |= _model_file.leaves(
    {_CORRECTION: dict(classifier.correction.arrays)}
  )
  # The library writes the memory of an array, whatever its order.
  arrays = {name: np.array(x, order='C') for name, x in arrays.items()}
  # Its own file could be read by its owner alone.
  path.write_bytes(safetensors_numpy.save(arrays))


def opened(
  folder: pathlib.Path,
  model: Mapping[str, Any],
  wanted: str | int,
  *,
  verify: bool,
) -> Archive:
  """What an export keeps of a run.

  Args:
    folder: Folder of the export.
    model: The content of ``model.json``.
    wanted: From `check_checkpoint`.
    verify: Whether all files are compared with their checksums.

  Raises:
    ConfigError: If safetensors is not installed, the arrays were not exported,
      or another checkpoint is wanted.
    CheckpointError: If a file is missing or damaged.
  """
  check()
  content = _export_folder.read(folder, verify=verify)
  if _export_folder.WEIGHTS not in content['files']:
    raise _errors.ConfigError(
      f'{folder} has no {_export_folder.WEIGHTS}. Read it by load_export, or '
      'export the run again with `format=safetensors`.'
    )
  if wanted not in ('last', model['step']):
    raise _errors.ConfigError(
      f'`checkpoint={wanted}`: an export has one checkpoint, that of step '
      f'{model["step"]}. Leave it out.'
    )
  tree = _tree(folder / _export_folder.WEIGHTS)
  arrays = tree.pop(_CORRECTION, {})
  tree.pop(_TRUNK, None)
  entry = model['correction']
  correction = correction_of(entry, arrays)
  return Archive(model['step'], tree, entry['calibration'], correction)


def _tree(path: pathlib.Path) -> dict[str, Any]:
  from safetensors import numpy as safetensors_numpy

  try:
    arrays = safetensors_numpy.load_file(path)
  except Exception as error:  # The library has an error of its own.
    raise _errors.CheckpointError(
      f'{path} cannot be read: {str(error)[:200]}. Copy the folder again, or '
      'export the run again.'
    ) from error
  tree: dict[str, Any] = {}
  for name, x in arrays.items():
    *parents, last = name.split('/')
    node = tree
    for parent in parents:
      node = node.setdefault(parent, {})
    node[last] = x
  return tree


def write_texts(
  classifier: _classifier.Classifier, folder: pathlib.Path
) -> None:
  """Writes ``model.json`` and ``config.json`` as a run has them.

  Args:
    classifier: What `load_run` gave.
    folder: Folder of the export.
  """
  content = classifier.content
  arrays = _model_file.leaves(classifier.variables)
  table = {
    path: {**entry, 'sha256': training.params_sha256(arrays[path])}
    for path, entry in content['variables'].items()
  }
  config = fields.to_json(classifier.config)
  training.write_json(
    folder / _export_folder.MODEL,
    {
      **content,
      'config_sha256': _model_file.config_sha256(config),
      'step': classifier.step,
      'params_sha256': training.params_sha256(classifier.variables['params']),
      'variables': table,
      'correction': correction_entry(classifier),
    },
  )
  training.write_json(folder / _export_folder.CONFIG, config)


def correction_entry(classifier: _classifier.Classifier) -> dict[str, Any]:
  """What is said of a correction beside its arrays.

  Args:
    classifier: What `load_run` gave.
  """
  correction = classifier.correction
  num_classes = len(classifier.class_names)
  excluded = np.flatnonzero(correction.excluded(num_classes))
  return {
    'calibration': classifier.calibration,
    'method': correction.method,
    'metric': correction.metric,
    'temperature': float(correction.temperature),
    'excluded': excluded.tolist(),
  }


def correction_of(
  entry: Mapping[str, Any], arrays: Mapping[str, Any]
) -> _correction.Correction:
  """The correction of an entry of ``model.json`` and its arrays.

  Args:
    entry: From `correction_entry`.
    arrays: Its arrays by name.
  """
  return _correction.Correction(
    entry['method'],
    dict(arrays),
    entry['temperature'],
    entry['metric'],
  )
