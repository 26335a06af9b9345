# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""``model.onnx``: the function of a run as ONNX, by jax2onnx."""

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import importlib
import importlib.metadata
import io
import logging
import pathlib
from typing import Any

import jax

from imbsam_jax import _errors
from imbsam_jax import _extras
from imbsam_jax.experiment import _export_function
from imbsam_jax.experiment import _export_golden
from imbsam_jax.experiment import _export_stablehlo

# Files of ONNX end at 2 GB.
_MOST_BYTES = 2**30


def check(function: _export_function.Function) -> None:
  """Refuses what cannot be converted.

  Args:
    function: What is to be written.

  Raises:
    ConfigError: If a package is not installed, or the parameters are too large.
  """
  if _extras.lacking('onnx'):
    raise _errors.ConfigError(
      'the package jax2onnx, which makes ONNX of a function, is not installed '
      'here. It needs JAX below 0.11, so give it an environment of its own, in '
      "a clone: python -m venv .venv-onnx; .venv-onnx/bin/pip install '.[train,"
      "onnx]'; and call this in it, .venv-onnx/bin/python."
    )
  if function.num_bytes > _MOST_BYTES:
    raise _errors.ConfigError(
      f'the parameters have {function.num_bytes / 2**30:.1f} GB, and a file of '
      'ONNX holds at most 2 GB. Pass `format=safetensors`.'
    )


def write(
  function: _export_function.Function,
  path: pathlib.Path,
  golden: Mapping[str, Any],
) -> dict[str, str]:
  """Writes the function for any number of images, and runs it once.

  Args:
    function: The function.
    path: Path of the file.
    golden: The entry of ``export.json``.

  Returns:
    Versions of what made it.

  Raises:
    ConfigError: If jax2onnx cannot convert the network, or the file gives other
      numbers than the run.
  """
  onnxruntime: Any = importlib.import_module('onnxruntime')
  # It prints what it does.
  with _silenced():
    try:
      jax2onnx: Any = importlib.import_module('jax2onnx')
      model: Any = jax2onnx.to_onnx(
        function.call,
        inputs=[_export_stablehlo.any_number(function)],
        model_name=function.outputs,
        input_names=['images'],
        output_names=[function.outputs],
      )
    except Exception as error:  # Whatever an operation that it lacks raises.
      raise _errors.ConfigError(
        f'jax2onnx {_version("jax2onnx")} with JAX {jax.__version__} cannot '
        f'convert this network: {str(error)[:300]!r}. Leave `format=onnx` out, '
        "or take an environment with the versions of the extra 'onnx': pip "
        "install '.[train,onnx]' in a clone."
      ) from error
  content = model.SerializeToString(deterministic=True)
  golden_images = _export_golden.images(
    function.row_shape, function.dtype, golden['range']
  )
  options = onnxruntime.SessionOptions()
  options.log_severity_level = 3  # It warns of shapes that it corrects.
  try:
    session = onnxruntime.InferenceSession(content, options)
    (numbers,) = session.run(None, {'images': golden_images})
  except Exception as error:  # The library has errors of its own.
    raise _errors.ConfigError(
      f'onnxruntime {_version("onnxruntime")} cannot run what jax2onnx made of '
      f'this network: {str(error)[:300]!r}. It knows little of bfloat16; leave '
      '`format=onnx` out.'
    ) from error
  difference, allowed = _export_golden.difference(numbers, golden)
  if not difference <= allowed:
    raise _errors.ConfigError(
      f'the ONNX of jax2onnx {_version("jax2onnx")} gives other numbers than '
      f'the run: they differ by {difference:.2g}, and {allowed:g} is expected '
      'at most. Leave `format=onnx` out.'
    )
  path.write_bytes(content)
  return {
    'jax2onnx': _version('jax2onnx'),
    'opset': str(model.opset_import[0].version),
  }


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
  loggers = [logging.getLogger(name) for name in ('jax2onnx', 'onnx_ir')]
  before = [logger.level for logger in loggers]
  for logger in loggers:
    logger.setLevel(logging.CRITICAL)
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      yield
  finally:
    for logger, level in zip(loggers, before, strict=True):
      logger.setLevel(level)


def _version(package: str) -> str:
  return importlib.metadata.version(package)
