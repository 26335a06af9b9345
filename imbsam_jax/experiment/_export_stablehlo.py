# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""``model.jaxexport``: the function of a run as StableHLO."""

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import pathlib
from typing import Any

import jax
from jax import export as jax_export
import jaxlib

from imbsam_jax import _errors
from imbsam_jax import _extras
from imbsam_jax.experiment import _export_folder
from imbsam_jax.experiment import _export_function

PLATFORMS = ('cpu', 'cuda', 'rocm', 'tpu')
# A file holds its parameters, and JAX's format ends at 2 GB.
_MOST_BYTES = 2**30


def check(function: _export_function.Function | None = None) -> None:
  """Refuses what cannot be written or read.

  Args:
    function: What is to be written; None is before anything is read.

  Raises:
    ConfigError: If the package flatbuffers is not installed, or the parameters
      are too large.
  """
  advice = _extras.lacking('export')
  if advice:
    raise _errors.ConfigError(f'files of jax.export need {advice}')
  if function is not None and function.num_bytes > _MOST_BYTES:
    raise _errors.ConfigError(
      f'the parameters have {function.num_bytes / 2**30:.1f} GB, and '
      f'{_export_folder.STABLEHLO} holds at most 1 GB. Pass '
      '`format=safetensors` (formats=["safetensors"] in Python), and read it '
      'by load_run.'
    )


def write(
  function: _export_function.Function, path: pathlib.Path
) -> dict[str, str]:
  """Writes the function for any number of images, for all platforms.

  Args:
    function: The function.
    path: Path of the file.

  Returns:
    Versions that decide who can read it.

  Raises:
    ConfigError: If the network cannot be traced for any number of images.
  """
  images = any_number(function)
  with _without_places():
    try:
      exported = jax_export.export(
        jax.jit(function.call), platforms=list(PLATFORMS)
      )(images)
    except Exception as error:  # Whatever a user's code raises.
      raise _errors.ConfigError(
        'the network cannot be exported for any number of images: '
        f'{str(error)[:300]} Where it asks for their number, write '
        'images.shape[0] for len(images), and nothing that needs its value. '
        '`format=safetensors` exports the arrays alone.'
      ) from error
    path.write_bytes(exported.serialize())
  return {
    'jax': jax.__version__,
    'jaxlib': jaxlib.__version__,
    'calling_convention': str(exported.calling_convention_version),
    'stablehlo': _stablehlo_version(),
  }


def any_number(function: _export_function.Function) -> jax.ShapeDtypeStruct:
  """What the function takes, with a symbol for the number of images.

  Args:
    function: The function.
  """
  (batch,) = jax_export.symbolic_shape('b')
  return jax.ShapeDtypeStruct((batch, *function.row_shape), function.dtype)


def read(path: pathlib.Path, content: Mapping[str, Any]) -> Any:
  """The exported function, ``call(images)``.

  Args:
    path: Path of the file.
    content: The content of ``export.json``.

  Raises:
    CheckpointError: If this version of JAX does not read it.
  """
  try:
    # Whatever is wrong in it, JAX raises all sorts.
    return jax_export.deserialize(bytearray(path.read_bytes())).call
  except Exception as error:
    raise unreadable(path, content, error) from error


def unreadable(
  path: pathlib.Path, content: Mapping[str, Any], error: Exception
) -> _errors.CheckpointError:
  """What to do about a file that this JAX does not take.

  Args:
    path: Path of the file.
    content: The content of ``export.json``.
    error: What JAX says.
  """
  version = content.get('versions', {}).get('jax')
  beside = ''
  if _export_folder.WEIGHTS in content.get('files', {}):
    beside = (
      f', or load {_export_folder.WEIGHTS} beside it, which does not expire, '
      'by load_run of the folder'
    )
  return _errors.CheckpointError(
    f'JAX {jax.__version__} cannot use {path}, which JAX {version} wrote on '
    f'{str(content.get("created"))[:10]}; JAX promises to read its exports '
    f'for six months ({str(error)[:200]}). Export the run again{beside}.'
  )


@contextlib.contextmanager
def _without_places() -> Iterator[None]:
  """Leaves paths of source files out: the same run gives the same bytes."""
  name = 'jax_traceback_in_locations_limit'
  before = getattr(jax.config, name)
  jax.config.update(name, 0)
  try:
    yield
  finally:
    jax.config.update(name, before)


def _stablehlo_version() -> str:
  try:
    from jaxlib.mlir.dialects import stablehlo

    return stablehlo.get_current_version()
  except (ImportError, AttributeError):
    return 'unknown'
