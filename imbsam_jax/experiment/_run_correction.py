# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which correction a loaded run has: a calibration, or another prior."""

from collections.abc import Mapping
import json
import os
import pathlib
from typing import Any

import numpy as np

from imbsam_jax import _errors
from imbsam_jax import _specs
from imbsam_jax import training
from imbsam_jax.experiment import _calibration_file
from imbsam_jax.experiment import _calibration_methods
from imbsam_jax.experiment import _choices
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _correction
from imbsam_jax.experiment import _model_file

# The logits of 'none' over its temperature: 'none' leaves all as it is.
TEMPERATURE = 'temperature'
# Choices by which the softmax is the posterior under the training prior.
_PLAIN = {
  'loss': ('cross_entropy',),
  'weights': ('none',),
  'sampler': ('shuffle', 'instance'),
  'mixing': ('none', 'mixup'),
  'scheme': ('none',),
  'penalty': ('none',),
}


def calibration(
  workdir: pathlib.Path,
  content: Mapping[str, Any],
  variables: Any,
  *,
  step: int,
  wanted: str,
  verify: bool = True,
) -> tuple[str, _correction.Correction]:
  """The name of the calibration of a run that is used, and what it is.

  Args:
    workdir: Folder of the run.
    content: The content of ``model.json``.
    variables: The variables of the checkpoint.
    step: Its number of steps.
    wanted: 'selected', 'none', 'temperature', or a method of `calibrate`.
    verify: Whether the checksum of the parameters is compared.

  Raises:
    ConfigError: If there is no such calibration, or it is of another
      checkpoint.
    CheckpointError: If its files cannot be read, or it was fitted to other
      parameters.
  """
  if wanted == 'none':
    return 'none', _correction.NONE
  written = _calibration_file.read(workdir)
  if written is None:
    if wanted == 'selected':
      return 'none', _correction.NONE
    raise _errors.ConfigError(
      f'`calibration={wanted}`: {workdir} has no calibration with arrays. '
      f'Write one with the program calibrate, `workdir={workdir}`, or pass '
      '`calibration=none`.'
    )
  known = [
    TEMPERATURE if name == 'none' else name
    for name, one in written['methods'].items()
    if one is not None
  ]
  method = written['selected'] if wanted == 'selected' else wanted
  if wanted == 'selected' and method == 'none':
    method = TEMPERATURE
  if method is None:
    return 'none', _correction.NONE
  if method not in known:
    raise _errors.ConfigError(
      f'`calibration={wanted}`: {workdir / _calibration_file.NAME} has '
      f'{", ".join(known) or "none"}. Pass one of these, `calibration=selected`'
      ' or `calibration=none`.'
    )
  if written['step'] != step:
    raise _errors.ConfigError(
      f'{workdir / _calibration_file.NAME} is of the checkpoint of step '
      f'{written["step"]}, and this is that of step {step}. Pass '
      f'`checkpoint={written["step"]}` or `calibration=none`, or calibrate '
      f'this one with the program calibrate, `workdir={workdir}` '
      f'`checkpoint={step}`.'
    )
  if verify:
    checksum = _model_file.trained_sha256(variables, content['variables'])
    if checksum != written['params_sha256']:
      raise training.CheckpointError(
        f'{workdir / _calibration_file.NAME} was fitted to other parameters '
        f'than those of step {step}: their checksum is another one. Calibrate '
        'again, or pass `calibration=none`.'
      )
  stored = 'none' if method == TEMPERATURE else method
  return method, _calibration_file.correction(workdir, written, stored)


def target_prior(
  config: _config.Config,
  content: Mapping[str, Any],
  wanted: Any,
  calibrated: str,
) -> _correction.Correction:
  r"""Logits for test data of another prior, z - log pi_train + log pi_target.

  Args:
    config: The configuration of the run.
    content: The content of ``model.json``.
    wanted: 'uniform', 'train', the path of a JSON file, or a share or number
      for each class, in order or by its name.
    calibrated: The calibration that is used, which must be 'none'.

  Raises:
    ConfigError: If the logits were adjusted already, or these are no shares of
      the classes.
  """
  if calibrated != 'none':
    raise _errors.ConfigError(
      f'`target_prior` corrects the logits as the network gives them, and the '
      f'calibration {calibrated!r} of this run has adjusted them: it would '
      'correct twice. Pass `calibration=none`.'
    )
  for axis, text in _choices.choices_of(config).items():
    plain = _PLAIN.get(axis)
    if plain is not None and _specs.name(text) not in plain:
      raise _errors.ConfigError(
        f'`target_prior` is for a run that was trained by plain cross entropy '
        f'on the data as they come, and the {axis} of this one is {text!r}: it '
        'would correct twice. Leave `target_prior` out.'
      )
  counts = np.asarray(content['class_counts'], np.float64)
  shares = _shares(wanted, counts, content['class_names'])
  offset = _calibration_methods.log_shares(
    shares
  ) - _calibration_methods.log_shares(np.where(counts > 0, counts, 1))
  # A class without training images was never learned.
  offset = np.where(counts > 0, offset, -np.inf)
  return _correction.Correction(
    'target_prior', {'offset': offset.astype(np.float32)}
  )


def _shares(wanted: Any, counts: np.ndarray, names: Any) -> np.ndarray:
  """What is wanted as numbers of the classes, which need not sum to 1."""
  if isinstance(wanted, str) and wanted == 'uniform':
    return np.ones(len(counts))
  if isinstance(wanted, str) and wanted == 'train':
    return counts
  where = '`target_prior`'
  if isinstance(wanted, (str, os.PathLike)):
    path = pathlib.Path(wanted).expanduser()
    where = f'`target_prior={wanted}`'
    try:
      wanted = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError) as error:
      raise _errors.ConfigError(
        f"{where} must be 'uniform', 'train' or a JSON file with a share of "
        f'each class: {getattr(error, "strerror", None) or error}.'
      ) from error
  if isinstance(wanted, Mapping):
    unknown = [name for name in wanted if name not in names]
    missing = [name for name in names if name not in wanted]
    if unknown or missing:
      raise _errors.ConfigError(
        f'{where} must have a share of each class by its name; '
        + (
          f'{unknown[0]!r} is none of them.'
          if unknown
          else f'{missing[0]!r} is missing.'
        )
      )
    wanted = [wanted[name] for name in names]
  try:
    shares = np.asarray(wanted, np.float64)
  except (TypeError, ValueError) as error:
    raise _errors.ConfigError(
      f'{where} must be numbers of the classes: {error}.'
    ) from error
  good = (
    shares.shape == counts.shape
    and np.isfinite(shares).all()
    and (shares >= 0).all()
    and shares[counts > 0].any()
  )
  if not good:
    raise _errors.ConfigError(
      f'{where} must be {len(counts)} numbers of 0 or more, one for each class,'
      f' and not all 0; got {np.array2string(shares, threshold=8)}.'
    )
  return shares
