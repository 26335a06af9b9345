# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`export`: a trained run as files that need neither it nor its network."""

from collections.abc import Mapping
from collections.abc import Sequence
import datetime
import os
import pathlib
from typing import Any
from typing import NamedTuple

import imbsam_jax
from imbsam_jax import _errors
from imbsam_jax.experiment import _classifier
from imbsam_jax.experiment import _export_folder
from imbsam_jax.experiment import _export_function
from imbsam_jax.experiment import _export_golden
from imbsam_jax.experiment import _export_onnx
from imbsam_jax.experiment import _export_stablehlo
from imbsam_jax.experiment import _export_weights
from imbsam_jax.experiment import _load_export
from imbsam_jax.experiment import _load_run

FORMATS = ('stablehlo', 'safetensors', 'onnx')
# What JAX promises.
_DAYS = 183


class Export(NamedTuple):
  """What `export` wrote; ``str`` is a text about it.

  Attributes:
    folder: The folder.
    files: Bytes of each file, by its name.
    content: The content of ``export.json``.
  """

  folder: pathlib.Path
  files: dict[str, int]
  content: dict[str, Any]

  def __str__(self) -> str:
    width = max(map(len, self.files))
    lines = [
      f'  {name:<{width}}  {number:>12,} bytes'
      for name, number in self.files.items()
    ]
    shape, dtype = (self.content['input'][x] for x in ('shape', 'dtype'))
    takes = f'{dtype} [{", ".join(map(str, shape))}]'
    return '\n'.join(
      [
        f'{self.folder}: {takes} -> {self.content["outputs"]} '
        f'[b, {self.content["output"]["shape"][1]}]',
        *lines,
      ]
    )


def export(
  source: _classifier.Classifier | str | os.PathLike[str],
  output: str | os.PathLike[str],
  *,
  formats: Sequence[str] = ('stablehlo', 'safetensors'),
  outputs: str = 'probabilities',
  input: str | None = None,
) -> Export:
  """Writes a trained run into a folder from which it is served or kept.

  The exported function takes any number of images as they are stored, and has
  all inside that an evaluation of the run does: preprocessing, views, flips,
  scale of the logits, the correction and the temperature. The folder has

  - ``model.jaxexport`` ('stablehlo'), the function as StableHLO with its
    parameters, for CPUs, CUDA, ROCm and TPUs. JAX and flatbuffers read it,
    ``jax.export.deserialize(bytearray(content)).call(images)``, for six months;
  - ``model.safetensors`` ('safetensors'), the arrays by name, for ever; that of
    a trunk, of parameters that were not trained and of the correction too;
  - ``model.onnx`` ('onnx'), the function as ONNX, by the package jax2onnx;
  - ``model.json`` and ``config.json``, which say what the arrays are;
  - ``export.json``, with the checksums of all files, the class names, shapes,
    versions, and eight images with the outputs of the run.

  It gets its name when it is whole, after what was written has given the same
  outputs as the run. The same run gives the same bytes, the date in
  ``export.json`` aside.

  Args:
    source: What `load_run` gave, or the folder of a run.
    output: Folder to write; nothing may be there.
    formats: Some of 'stablehlo', 'safetensors' and 'onnx'.
    outputs: 'probabilities' float32 ``[b, C]``, 'logits', whose softmax these
      are, or 'features' ``[b, D]``, what the head of the network reads.
    input: 'uint8', or 'float32', where the run stores bytes as pixels in
      [0, 1]; None is 'uint8' of such a run and 'float32' of another.

  Returns:
    Names and sizes of the files.

  Raises:
    ConfigError: If a package is missing, the folder is there already, the run
      does not give such outputs, or the parameters have more than 1 GB and a
      format has them inside.
    CheckpointError: If what was written gives other outputs than the run.
  """
  folder = pathlib.Path(output).expanduser()
  formats = _checked(formats)
  _export_folder.check_free(folder)
  if not isinstance(source, _classifier.Classifier):
    source = _load_run.load_run(source)
  function = _export_function.make(source, outputs, input)
  _check_formats(formats, function)
  golden = _export_golden.entry(source, function)
  content: dict[str, Any] = {
    **_description(source, function),
    'output': {
      'shape': ['b', len(golden['outputs'][0])],
      'dtype': 'float32',
    },
    'golden': golden,
  }
  with _export_folder.written(folder) as unfinished:
    _export_weights.write_texts(source, unfinished)
    if 'safetensors' in formats:
      _export_weights.write(source, unfinished / _export_folder.WEIGHTS)
    versions: dict[str, str] = {'imbsam_jax': imbsam_jax.__version__}
    if 'stablehlo' in formats:
      versions |= _export_stablehlo.write(
        function, unfinished / _export_folder.STABLEHLO
      )
    if 'onnx' in formats:
      versions |= _export_onnx.write(
        function, unfinished / _export_folder.ONNX, golden
      )
    content['versions'] = versions
    _export_folder.write(unfinished, content)
    if 'stablehlo' in formats:
      _load_export.load_export(unfinished, batch_size=source.batch_size)
    files = {
      path.name: path.stat().st_size for path in sorted(unfinished.iterdir())
    }
  return Export(folder, files, content)


def _checked(formats: Sequence[str]) -> list[str]:
  wanted = [formats] if isinstance(formats, str) else list(formats)
  for name in wanted:
    if name not in FORMATS:
      raise _errors.ConfigError(
        f'`format` must be of {", ".join(FORMATS)}, got {name!r}.'
      )
  if not wanted:
    raise _errors.ConfigError(
      f'pass a `format`, of {", ".join(FORMATS)}; got none.'
    )
  return wanted


def _check_formats(
  formats: Sequence[str], function: _export_function.Function
) -> None:
  """Refuses what will not work before anything is computed."""
  if 'safetensors' in formats:
    _export_weights.check()
  if 'stablehlo' in formats:
    _export_stablehlo.check(function)
  if 'onnx' in formats:
    _export_onnx.check(function)


def _description(
  classifier: _classifier.Classifier, function: _export_function.Function
) -> dict[str, Any]:
  """What does not depend on formats, all but the golden outputs."""
  now = datetime.datetime.now(datetime.UTC)
  stored, config = classifier.content['input'], classifier.config
  return {
    'created': now.strftime('%Y-%m-%dT%H:%M:%SZ'),
    'expires_after': (now + datetime.timedelta(_DAYS)).date().isoformat(),
    'class_names': list(classifier.class_names),
    'outputs': function.outputs,
    'input': {
      'shape': ['b', *function.row_shape],
      'dtype': function.dtype,
      'stored': stored['dtype'],
      'color': stored['color'],
      'about': _about(function, stored),
    },
    'step': classifier.step,
    'flip_test': config.flip_test,
    'test_views': config.test_views,
    'correction': _export_weights.correction_entry(classifier),
    'platforms': list(_export_stablehlo.PLATFORMS),
  }


def _about(
  function: _export_function.Function, stored: Mapping[str, Any]
) -> str:
  if function.dtype == 'uint8':
    return 'bytes, from 0 to 255, of rows, columns and channels'
  if stored['dtype'] == 'uint8':
    return 'pixels in [0, 1], the bytes of the training images over 255'
  return 'numbers in the scale of the training examples'
