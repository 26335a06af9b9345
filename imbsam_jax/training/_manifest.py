# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the files of a checkpoint were when it was complete.

Beside the folder ``<step>/`` of a checkpoint, ``<step>.manifest.json`` has the
size and the SHA-256 of each of its files. It is written last, and deleted
first: a step without it was interrupted, in its making or in its deletion.
Nothing here knows what the files hold.
"""

from collections.abc import Iterable
from collections.abc import Mapping
import contextlib
import hashlib
import json
import math
import os
import pathlib
import shutil
from typing import Any
from typing import Literal
from typing import NamedTuple

_FORMAT = 1
# No manifest is as large.
_MAX_BYTES = 2**26
_SUFFIX = '.manifest.json'
_ORBAX_TEMPORARY = '.orbax-checkpoint-tmp'
# Orbax writes it last, before it gives a folder its final name.
_COMMITTED = '_CHECKPOINT_METADATA'

Status = Literal['good', 'damaged', 'incomplete', 'unchecked']


class StepReport(NamedTuple):
  """What is on disk of one step.

  Attributes:
    step: Number of the step.
    status: 'good'; 'damaged'; 'incomplete', interrupted before it was complete;
      'unchecked', where no step has a manifest: written by an earlier version.
    problem: What is wrong, the file first.
    size: Bytes on disk.
    metrics: Validation metrics it was saved with.
    seconds: Training time up to it.
    files: Size and SHA-256 of each file.
    about: What the run is of, as `Checkpoints` was told.
  """

  step: int
  status: Status
  problem: str = ''
  size: int = 0
  metrics: Mapping[str, float] = {}
  seconds: float = 0.0
  files: Mapping[str, tuple[int, str]] = {}
  about: Mapping[str, Any] = {}


def inspect_checkpoints(
  directory: str | os.PathLike[str], *, contents: bool = False
) -> list[StepReport]:
  """What is on disk of each step, in order.

  Args:
    directory: Folder of the checkpoints.
    contents: Whether to compare the checksums too, not only sizes; reads all.
  """
  directory = pathlib.Path(directory)
  names = {path.name for path in directory.iterdir()}
  manifests = {n.removesuffix(_SUFFIX) for n in names if n.endswith(_SUFFIX)}
  reports = []
  for step in sorted(int(n) for n in names | manifests if _is_step(n)):
    if str(step) in manifests:
      report = _with_manifest(directory, step, contents)
      if report is None:  # Its writer has just deleted it.
        continue
    elif manifests or not (directory / str(step) / _COMMITTED).exists():
      report = StepReport(step, 'incomplete', 'it has no manifest')
    else:
      report = StepReport(step, 'unchecked', 'it has no checksums')
    reports.append(report._replace(size=_size(directory / str(step))))
  return reports


def damage(
  directory: pathlib.Path, report: StepReport, *, contents: bool
) -> str | None:
  """What is wrong with the files of a step; sizes first, they cost nothing."""
  folder = directory / str(report.step)
  if not folder.is_dir():
    return f'{folder.name}/ is missing'
  for name, (size, _) in report.files.items():
    try:
      size_now = (folder / name).stat().st_size
    except OSError as error:
      return _unreadable(name, error)
    if size_now < size:
      return f'{name} is truncated ({size_now} of {size} bytes)'
    if size_now > size:
      return f'{name} is longer than it was ({size_now} for {size} bytes)'
  for name, (_, digest) in report.files.items() if contents else ():
    try:
      if _sha256(folder / name) != digest:
        return f'{name} is changed (its checksum is another one)'
    except OSError as error:
      return _unreadable(name, error)
  return None


def signature(directory: pathlib.Path, report: StepReport) -> tuple[Any, ...]:
  """Changes when a file of a step is written."""
  signature_parts: list[Any] = [report.step]
  for name, entry in report.files.items():
    with contextlib.suppress(OSError):
      stat = (directory / str(report.step) / name).stat()
      signature_parts.append(
        (name, entry, stat.st_size, stat.st_mtime_ns, stat.st_ino)
      )
  return tuple(signature_parts)


def exists(directory: pathlib.Path, step: int) -> bool:
  """Whether a step has a manifest."""
  return _path(directory, step).exists()


def best_checkpoints(
  reports: Iterable[StepReport], metric: str | None
) -> list[StepReport]:
  """Those that have a metric, the best first, of equal ones the earliest."""
  scored = [
    (report.metrics[metric], report)
    for report in reports
    if metric is not None
    and math.isfinite(report.metrics.get(metric, math.nan))
  ]
  return [report for _, report in sorted(scored, key=lambda pair: -pair[0])]


def write(
  directory: pathlib.Path,
  step: int,
  *,
  metrics: Mapping[str, float],
  seconds: float,
  about: Mapping[str, Any] | None = None,
) -> None:
  """Makes a step complete; its files are safe on disk before it is."""
  folder = directory / str(step)
  parts = sorted(folder.rglob('*'))
  files = {}
  for part in parts:
    if part.is_file():
      name = part.relative_to(folder).as_posix()
      files[name] = {
        'size': part.stat().st_size,
        'sha256': _sha256(part, to_disk=True),
      }
  for part in (*parts, folder, directory):
    if part.is_dir():
      _folder_to_disk(part)
  content = {
    'format': _FORMAT,
    'step': step,
    'seconds': seconds,
    'metrics': dict(metrics),
    'files': files,
  }
  if about:
    content['about'] = dict(about)
  path = _path(directory, step)
  temporary = path.with_name(path.name + '.tmp')
  with temporary.open('w') as file:
    file.write(_render(content))
    file.flush()
    os.fsync(file.fileno())
  os.replace(temporary, path)
  _folder_to_disk(directory)


def remove(directory: pathlib.Path, step: int) -> None:
  """Deletes a step; one that is deleted in part is not taken for a good one."""
  _path(directory, step).unlink(missing_ok=True)
  folder, deleted = directory / str(step), directory / f'{step}.deleted'
  if folder.exists():
    _remove_tree(deleted)
    os.rename(folder, deleted)
    shutil.rmtree(deleted)


def set_aside(
  directory: pathlib.Path, step: int, ending: str = 'damaged'
) -> None:
  """Renames a damaged step to ``<step>.damaged``."""
  folder, aside = directory / str(step), directory / f'{step}.{ending}'
  path = _path(directory, step)
  if folder.exists():
    _remove_tree(aside)
    # The manifest goes last: without one, the step would count as 'unchecked'.
    os.rename(folder, aside)
    if path.exists():
      os.replace(path, aside / 'manifest.json')
  path.unlink(missing_ok=True)


def sweep(directory: pathlib.Path) -> None:
  """Removes what processes that were killed have left."""
  for path in directory.iterdir():
    step, _, rest = path.name.partition('.')
    rest = '.' + rest
    if not _is_step(step):
      continue
    if rest == '.deleted' or rest.startswith(_ORBAX_TEMPORARY):
      shutil.rmtree(path, ignore_errors=True)
    elif rest == _SUFFIX + '.tmp':
      with contextlib.suppress(OSError):
        path.unlink()


def _with_manifest(
  directory: pathlib.Path, step: int, contents: bool
) -> StepReport | None:
  path = _path(directory, step)
  try:
    if path.stat().st_size > _MAX_BYTES:
      raise ValueError('it would fill the memory')
    text = path.read_bytes().decode()
    content = json.loads(text)
    if content['format'] > _FORMAT:
      problem = f'{path.name} is of a newer version of imbsam_jax'
      return StepReport(step, 'damaged', problem)
    stored = content.pop('sha256')
    if _render(content) != text or content['step'] != step:
      raise ValueError(f'its checksum is {stored}')
    report = StepReport(
      step,
      'good',
      metrics=content['metrics'],
      seconds=content['seconds'],
      files={k: (v['size'], v['sha256']) for k, v in content['files'].items()},
      about=content.get('about', {}),
    )
  except FileNotFoundError:
    return None
  except OSError as error:
    return StepReport(step, 'damaged', _unreadable(path.name, error))
  except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
    return StepReport(step, 'damaged', f'{path.name} is changed')
  problem = damage(directory, report, contents=contents)
  if problem is None:
    return report
  if not path.exists():
    return None
  return report._replace(status='damaged', problem=problem)


def _render(content: Mapping[str, Any]) -> str:
  """The text of a manifest: with a checksum of its own."""
  digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
  return json.dumps({**content, 'sha256': digest}, indent=2) + '\n'


def _path(directory: pathlib.Path, step: int) -> pathlib.Path:
  return directory / f'{step}{_SUFFIX}'


def _is_step(name: str) -> bool:
  return name.isdecimal() and name.isascii() and name == str(int(name))


def _size(folder: pathlib.Path) -> int:
  size = 0
  for part in folder.rglob('*') if folder.is_dir() else ():
    with contextlib.suppress(OSError):
      size += part.stat().st_size if part.is_file() else 0
  return size


def _sha256(path: pathlib.Path, *, to_disk: bool = False) -> str:
  with path.open('rb') as file:
    if to_disk and os.name == 'posix':
      os.fsync(file.fileno())
    return hashlib.file_digest(file, 'sha256').hexdigest()


def _folder_to_disk(folder: pathlib.Path) -> None:
  # Not every system can open a folder.
  with contextlib.suppress(OSError):
    descriptor = os.open(folder, os.O_RDONLY)
    try:
      os.fsync(descriptor)
    finally:
      os.close(descriptor)


def _remove_tree(folder: pathlib.Path) -> None:
  if folder.exists():
    shutil.rmtree(folder)


def _unreadable(name: str, error: OSError) -> str:
  if isinstance(error, FileNotFoundError):
    return f'{name} is missing'
  return f'{name} cannot be read ({error.strerror})'
