# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`load_run`: a trained run as a function of images, without its data."""

from collections.abc import Mapping
import os
import pathlib
from typing import Any

from flax import traverse_util
import jax
import numpy as np

from imbsam_jax import _checks
from imbsam_jax import _errors
from imbsam_jax import data as data_lib
from imbsam_jax import losses
from imbsam_jax import methods
from imbsam_jax import schedules
from imbsam_jax import training
from imbsam_jax._runs import fields
from imbsam_jax._runs import folder
from imbsam_jax._runs import own as own_lib
from imbsam_jax.experiment import _base_run
from imbsam_jax.experiment import _choices
from imbsam_jax.experiment import _chosen_checkpoint
from imbsam_jax.experiment import _classifier
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _correction
from imbsam_jax.experiment import _export_folder
from imbsam_jax.experiment import _export_weights
from imbsam_jax.experiment import _model_file
from imbsam_jax.experiment import _own
from imbsam_jax.experiment import _run_correction
from imbsam_jax.experiment import _run_parts
from imbsam_jax.experiment import _test_views
from imbsam_jax.experiment import _trunk
from imbsam_jax.experiment import _trunk_features
from imbsam_jax.experiment import _tuned_network


def load_run(
  path: str | os.PathLike[str],
  *,
  checkpoint: str | int = 'last',
  batch_size: int = 256,
  verify: bool = True,
  module: Any = None,
  resize: bool = False,
  trunk: str | os.PathLike[str] | None = None,
  calibration: str = 'selected',
  target_prior: Any = None,
) -> _classifier.Classifier:
  """A trained run as a function of images: ``load_run(path)(images)``.

  It needs the folder of the run, with ``config.json``, ``model.json`` and a
  checkpoint, and nothing of its data. Nothing in the folder is run as code: a
  network or words of your own are passed or imported as they were for training.

  The folder of an export with ``model.safetensors`` is a run, too, of that
  checkpoint and with the correction that was exported.

  Args:
    path: Folder of the run; it may have been moved.
    checkpoint: 'last', 'best' on validation (on the test set with the field
      `best_on_test`), or a number of steps.
    batch_size: Images that go through the network together; all calls compile
      one program of that size.
    verify: Whether the parameters are compared with the checksums that the run
      wrote at its end, where these are of this checkpoint. The files of a
      checkpoint are always compared with its manifest.
    module: The network that was passed to `build`, if it is one's own.
    resize: Whether arrays of another size are resized, and files where the run
      does not resize any.
    trunk: File of the pre-trained network, if it was moved.
    calibration: What `calibrate` has fitted for the checkpoint: 'selected' is
      the best of its methods, and 'none' where the run was not calibrated; a
      method, such as 'crt'; 'temperature', the logits of the network over the
      fitted temperature; or 'none', the probabilities of the run's evaluation.
    target_prior: Prior of the images to come, to which the logits of a run of
      plain cross entropy are corrected, z - log pi_train + log pi_target:
      'uniform', 'train', a share for each class, in order or by its name, or
      the path of a JSON file of such. None corrects nothing.

  Returns:
    The classifier.

  Raises:
    ConfigError: If the folder holds no run, or one of an earlier version, the
      network is not that of the run, the file of the trunk is missing or
      another one, there is no such calibration or it is of another checkpoint,
      or a prior would be corrected twice.
    CheckpointError: If the checkpoint or the calibration is missing, damaged or
      not that of the run.
  """
  wanted = _chosen_checkpoint.check_checkpoint(checkpoint)
  _checks.integer('batch_size', batch_size, error=_errors.ConfigError)
  workdir = pathlib.Path(path).expanduser()
  config, written = folder.read_config_as_written(workdir, _config.Config)
  content = _model_file.read(workdir)
  checksum = content.get('config_sha256')
  # A copy may be of a later version than the file.
  own = [
    _model_file.config_sha256(x) for x in (written, fields.to_json(config))
  ]
  if verify and checksum not in (None, *own):
    raise _errors.ConfigError(
      f'{workdir / "config.json"} is not the configuration that '
      f'{_model_file.NAME} was written with: its checksum is another one. Put '
      'the files of that run back; `verify=False` takes it as it is.'
    )
  if trunk is not None:
    config = fields.replace(config, {'model.trunk': str(trunk)})
  archive = None
  if _export_folder.is_export(workdir):
    archive = _export_weights.opened(workdir, content, wanted, verify=verify)
    step, saved = archive.step, archive.variables
  else:
    step, saved = _chosen_checkpoint.variables(workdir, config, wanted)
  try:
    network, programs = _network(workdir, config, content, module)
  except KeyError as error:
    raise _errors.ConfigError(
      f'{workdir / _model_file.NAME} lacks {error}. Call the command that '
      'trained the run again, which writes it anew.'
    ) from error
  variables = _completed(saved, config, content['variables'])
  if verify and content['step'] == step:
    _verify(variables, content['variables'], workdir)
  _check_network(network, programs, content, variables)
  if archive is not None:
    calibrated, correction = archive.calibration(calibration)
  else:
    calibrated, correction = _run_correction.calibration(
      workdir, content, variables, step=step, wanted=calibration, verify=verify
    )
  if target_prior is not None:
    correction = _run_correction.target_prior(
      config, content, target_prior, calibrated
    )
  _check_correction(programs, content, variables, correction, workdir)
  return _classifier.Classifier(
    content,
    config,
    step=step,
    module=network,
    variables=variables,
    programs=programs,
    reader=_model_file.reader(content['input'], resize=resize),
    batch_size=batch_size,
    correction=correction,
    calibration=calibrated,
  )


def _network(
  workdir: pathlib.Path,
  config: _config.Config,
  content: Mapping[str, Any],
  own: Any,
) -> tuple[Any, _classifier.Programs]:
  """The network as it was trained, and the functions that it is used by."""
  stored = content['input']
  images = np.zeros((1, *stored['shape']), stored['dtype'])
  how = _model_file.standardization(stored)
  view = None if how.size is None else how.center
  inputs = training.Inputs(how, view=view)
  rows: Any = _unchanged
  of_trunk: Any = None
  of_network, sample = inputs, images
  trunk = None
  if config.model.trunk is not None:
    trunk = _trunk.read(config.model, _trunk.image_size(config))
  is_cached = trunk is not None and config.model.feature_cache is not None
  if is_cached:
    extract = _trunk_features.make_step(config, trunk, inputs)
    on_devices = training.replicate(training.data_mesh(), trunk.variables)
    of_trunk = lambda trunk, images: extract(trunk, images)[0]  # noqa: E731
    rows = lambda images: of_trunk(on_devices, images)  # noqa: E731
    of_network = training.Inputs(_unchanged)
    sample = jax.eval_shape(extract, trunk.variables, images)[0]
  combined = _combined(config, content, of_network, sample)
  module = _module(
    workdir, config, content, trunk, combined, of_network, sample, own
  )
  network = combined.model(module)
  score = training.make_score_step(
    network,
    of_network.evaluated,
    objective=combined.objective,
    logit_scale=content['logit_scale'],
    flip=config.flip_test,
    views=_test_views.make(config.test_views, of_network, sample)
    if not is_cached
    else None,
  )
  features = None
  if _own.tells_features(network):
    features = jax.jit(
      training.make_feature_step(network, of_network.evaluated)
    )
  return network, _classifier.Programs(
    rows,
    jax.jit(score),
    features,
    jax.jit(inputs.evaluated),
    trunk.variables if trunk is not None and is_cached else None,
    of_trunk,
  )


def _module(
  workdir: pathlib.Path,
  config: _config.Config,
  content: Mapping[str, Any],
  trunk: _trunk.Trunk | None,
  combined: methods.Combined,
  inputs: training.Inputs,
  sample: Any,
  own: Any,
) -> Any:
  """The network before method words change it."""
  num_classes = len(content['class_names'])
  head: Any = methods.head_for(_choices.choices_of(config))
  if config.model.name == _own.OWN and own is None:
    raise _errors.ConfigError(
      'the network of this run is your own: pass it, load_run(path, '
      'module=Net()).'
    )
  if config.model.name != _own.OWN and own is not None:
    raise _errors.ConfigError(
      f'the network of this run is {config.model.name}, of this library. Leave '
      '`module` out.'
    )
  if trunk is not None:
    return _tuned_network.network(
      config.model,
      trunk,
      combined.tuning,
      head=head,
      num_classes=num_classes,
    )
  standardized = jax.eval_shape(inputs.preprocess, sample)
  network = _run_parts.network(
    config, own, standardized, num_classes, None, combined.tuning
  )
  own_lib.check(workdir, network.own, 'pass what that run was trained with')
  return network.module


def _combined(
  config: _config.Config,
  content: Mapping[str, Any],
  inputs: training.Inputs,
  sample: Any,
) -> methods.Combined:
  """What the words of the run make of its network and its logits.

  Raises:
    ConfigError: If a word of one's own needs the data of the run.
  """
  choices = _choices.of_network(config)
  counts = np.asarray(content['class_counts'], np.int64)
  setup = methods.Setup(
    schedules.Timeline(counts, config.epochs, config.data.batch_size),
    jax.eval_shape(inputs.preprocess, sample).shape[1:],
    inputs=inputs.preprocess,
  )
  # Only its scale matters here, and that is written down.
  loss = losses.cross_entropy if choices['loss'] == methods.OWN else None
  try:
    return methods.combine(choices, setup, loss=loss)
  except (_errors.ConfigError, ValueError, AttributeError) as error:
    strangers = [
      text
      for axis, text in choices.items()
      if text != methods.OWN
      and not methods.is_of_library(methods.bind(axis, text).function)
    ]
    if strangers:
      raise _errors.ConfigError(
        f'the method {", ".join(strangers)} of this run cannot be made without '
        f'its data ({error}). Load it with them, experiment.restore(path).'
      ) from error
  # Words of the library that need data take them for training alone.
  examples = _stand_in(counts, sample)
  return methods.combine(
    choices,
    setup._replace(data=examples, auxiliary_examples=examples.train),
    loss=loss,
  )


def _stand_in(counts: np.ndarray, sample: Any) -> data_lib.LongTailedData:
  """Examples that have the counts of the run, and show nothing."""
  labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
  empty = np.zeros((1, *sample.shape[1:]), sample.dtype)

  def examples(labels):
    images = np.broadcast_to(empty, (len(labels), *empty.shape[1:]))
    return data_lib.Examples(images, labels)

  one_each = examples(np.arange(len(counts), dtype=np.int32))
  return data_lib.LongTailedData(
    train=examples(labels),
    validation=one_each,
    test=one_each,
    class_counts=counts,
    class_names=tuple(map(str, range(len(counts)))),
  )


def _completed(
  saved: dict[str, Any], config: _config.Config, table: Mapping[str, Any]
) -> dict[str, Any]:
  """Variables with the parameters that were not trained, from their files.

  Raises:
    ConfigError: If some are in no file.
    CheckpointError: If the checkpoint has others than the run, or of another
      shape.
  """
  variables = saved
  if _missing(variables, table) and config.init_from is not None:
    params = _base_run.completed(variables['params'], config)
    variables = _known({**variables, 'params': params}, table)
  if _missing(variables, table) and config.model.trunk is not None:
    variables = _known(_base_run.with_trunk(variables, config), table)
  missing = _missing(variables, table)
  if missing:
    source = f', {config.init_from},' if config.init_from else ''
    raise _errors.ConfigError(
      f'parameters that this run did not train are missing, such as '
      f'{missing[0]} ({len(missing)} in all). They are in the run{source} that '
      'it began with: put that back.'
    )
  leaves = _model_file.leaves(variables)
  for path, x in leaves.items():
    there = table.get(path, {}).get('shape')
    if there != list(np.shape(x)):
      raise training.CheckpointError(
        f'the checkpoint has {path} as {list(np.shape(x))}, and '
        f'{_model_file.NAME} as {there}: they are not of one run. Put both '
        'back, or train again.'
      )
  # What is not trained may be kept in fewer bits than its file has.
  return jax.tree.map_with_path(
    lambda path, x: np.asarray(x).astype(
      jax.numpy.dtype(
        table[jax.tree_util.keystr(path, simple=True, separator='/')]['dtype']
      ),
      copy=False,
    ),
    variables,
  )


def _missing(variables: Any, table: Mapping[str, Any]) -> list[str]:
  leaves = _model_file.leaves(variables)
  return [path for path in table if path not in leaves]


def _known(variables: dict[str, Any], table: Mapping[str, Any]) -> Any:
  """The parameters that the run has, of others that a file may hold."""
  flat: dict[Any, Any] = traverse_util.flatten_dict(variables['params'])
  return {
    **variables,
    'params': traverse_util.unflatten_dict(
      {
        path: x
        for path, x in flat.items()
        if '/'.join(('params', *map(str, path))) in table
      }
    ),
  }


def _verify(
  variables: Any, table: Mapping[str, Any], workdir: pathlib.Path
) -> None:
  for path, x in _model_file.leaves(variables).items():
    known = table[path].get('sha256')
    if known is not None and training.params_sha256(x) != known:
      raise training.CheckpointError(
        f'{path} in the checkpoint of {workdir} is not what the run reported: '
        f'its checksum is another one than in {_model_file.NAME}. Put the '
        'files of that run back; `verify=False` takes it as it is.'
      )


def _check_network(
  network: Any,
  programs: _classifier.Programs,
  content: Mapping[str, Any],
  variables: Any,
) -> None:
  """Refuses a network that does not fit the variables, before it is run."""
  stored = content['input']
  images = jax.ShapeDtypeStruct((1, *stored['shape']), stored['dtype'])
  try:
    rows = jax.eval_shape(programs.rows, images)
    assert programs.score is not None
    logits, _ = jax.eval_shape(programs.score, variables, rows)
  except Exception as error:  # Whatever a user's code raises.
    raise _errors.ConfigError(
      f'the network {type(network).__name__} cannot be applied to the '
      f'variables of this run: {error}. Pass the network that it was trained '
      'with.'
    ) from error
  expected = (1, len(content['class_names']))
  if logits.shape != expected:
    raise _errors.ConfigError(
      f'the network gives logits {list(logits.shape)} for one image, and this '
      f'run has {list(expected)}. Pass the network that it was trained with.'
    )


def _check_correction(
  programs: _classifier.Programs,
  content: Mapping[str, Any],
  variables: Any,
  correction: _correction.Correction,
  workdir: pathlib.Path,
) -> None:
  """Refuses arrays that do not fit the network, before they are used."""
  if correction.is_none:
    return
  stored = content['input']
  images = jax.ShapeDtypeStruct((1, *stored['shape']), stored['dtype'])
  expected = (1, len(content['class_names']))
  try:
    rows = jax.eval_shape(programs.rows, images)
    assert programs.score is not None
    logits, _ = jax.eval_shape(programs.score, variables, rows, correction)
    if logits.shape != expected:
      raise ValueError(f'logits {logits.shape}, expected {expected}')
  except Exception as error:  # Whatever shapes and names make of it.
    raise training.CheckpointError(
      f'the arrays of the calibration of {workdir} do not fit its network: '
      f'{error}. Calibrate again, or pass `calibration=none`.'
    ) from error


def _unchanged(images: Any) -> Any:
  return images
