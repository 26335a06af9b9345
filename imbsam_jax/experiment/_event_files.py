# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""``tensorboard/``: the metrics of a run as TensorBoard reads them.

What is true is ``metrics.jsonl``. Whenever a run begins or goes on, the event
files are written anew from it, so that no point is there twice or missing. They
are written by the package `tensorboard`, which needs no TensorFlow.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import importlib
import pathlib
import time
from typing import Any
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import _errors
from imbsam_jax import _extras
from imbsam_jax import training
from imbsam_jax._runs import fields
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _experiment
from imbsam_jax.experiment import _scores

TENSORBOARD = 'tensorboard'
FOLDER = 'tensorboard'
_PATTERN = 'events.out.tfevents.*'
# Of a record of a step: what is no metric, and what is called otherwise.
_NO_METRICS = ('step', 'skipped', 'validation')
_NAMES = {'train_accuracy': 'accuracy'}


def check(config: _config.Config) -> None:
  """Refuses a field `log` without the package that it needs.

  Args:
    config: The configuration of a run that is to be trained.

  Raises:
    ConfigError: If the package is not installed; the message has the command.
  """
  if config.log == TENSORBOARD and (advice := _extras.lacking('log')):
    raise _errors.ConfigError(f'`log={config.log}` needs {advice}')


class EventFiles:
  """The event files of a run; those of an earlier part go with the first call.

  Args:
    workdir: Folder of the run.
    config: Its configuration, which is shown as a text.
    learning_rates: Learning rate of each step that is not skipped, ``[steps]``;
      None writes no files.
  """

  def __init__(
    self,
    workdir: pathlib.Path,
    config: _config.Config,
    learning_rates: np.ndarray | None,
  ):
    self._folder = workdir / FOLDER
    self._config = config
    self._learning_rates = learning_rates
    self._skipped = 0
    self._writer: Any = None

  def add(self, records: Sequence[Mapping[str, Any]]) -> None:
    """Writes records of steps and validations, as ``metrics.jsonl`` has them.

    Args:
      records: The records, each of them once, in order.
    """
    if self._learning_rates is None:
      return
    with self._told():
      if self._writer is None:
        self._begin()
      assert self._writer is not None
      for record in records:
        step = record['step']
        if 'validation' in record:
          self._scalars(step, 'validation', record['validation'])
          continue
        values = {
          _NAMES.get(name, name): value
          for name, value in record.items()
          if name not in _NO_METRICS
        }
        rate = self._learning_rates[step - 1 - self._skipped]
        self._scalars(step, 'train', values | {'learning_rate': float(rate)})
        # Its update was not made, nor counted.
        self._skipped += bool(record.get('skipped'))
      self._writer.flush()

  def finish(self, summary: Mapping[str, Any]) -> None:
    """Writes the metrics at the end.

    Args:
      summary: The content of ``summary.json``.
    """
    if self._writer is None:
      return
    values = {name: summary[name] for name in _scores.COLUMNS}
    with self._told():
      self._scalars(
        summary['reported_step'], f'final_{summary["split"]}', values
      )

  def close(self) -> None:
    """Ends the file."""
    if self._writer is not None:
      with self._told():
        self._writer.close()

  def _begin(self) -> None:
    if self._folder.exists() and not self._folder.is_dir():
      training.set_aside(self._folder)
    for path in self._folder.glob(_PATTERN):
      path.unlink()
    files: Any = _module('tensorboard.summary.writer.event_file_writer')
    self._writer = files.EventFileWriter(str(self._folder))
    # Whoever is looking forgets what was there before.
    log = _module('tensorboard.compat.proto.event_pb2').SessionLog
    self._write(0, session_log=log(status=log.START))
    text = _module('tensorboard.plugins.text.summary_v2')
    self._write(0, summary=text.text_pb('config', _table(self._config)))

  def _scalars(
    self, step: int, group: str, values: Mapping[str, float | None]
  ) -> None:
    kind = _module('tensorboard.compat.proto.summary_pb2').Summary
    entries = [
      kind.Value(tag=f'{group}/{name}', simple_value=value)
      for name, value in values.items()
      if value is not None
    ]
    self._write(step, summary=kind(value=entries))

  def _write(self, step: int, **content: Any) -> None:
    event = _module('tensorboard.compat.proto.event_pb2').Event
    self._writer.add_event(event(step=step, wall_time=time.time(), **content))

  @contextlib.contextmanager
  def _told(self) -> Iterator[None]:
    """Files that cannot be written end no run."""
    try:
      yield
    except OSError as error:
      self._writer = self._learning_rates = None
      warnings.warn(
        f'{self._folder} cannot be written ({error.strerror or error}); '
        'metrics.jsonl has all that it would. The same command again writes '
        'it.',
        stacklevel=2,
      )


@contextlib.contextmanager
def opened(
  experiment: _experiment.Experiment, workdir: pathlib.Path
) -> Iterator[EventFiles]:
  """The event files of a run, for the time of a ``with`` block.

  Args:
    experiment: Its experiment.
    workdir: Its folder.

  Yields:
    The files; they write nothing, where none are asked for, or another process
    writes them.
  """
  config, rates = experiment.config, None
  check(config)
  if config.log == TENSORBOARD and training.is_first_process():
    steps = jnp.arange(experiment.num_steps)
    rates = np.asarray(jax.jit(jax.vmap(experiment.learning_rate))(steps))
  with contextlib.closing(EventFiles(workdir, config, rates)) as files:
    yield files


def _table(config: _config.Config) -> str:
  """The fields as a Markdown table, which TensorBoard shows."""
  rows = [
    f'| {name} | `{value!r}` |'
    for name, value in fields.flatten(config).items()
  ]
  return '\n'.join(['| field | value |', '| :--- | :--- |', *rows])


def _module(name: str) -> Any:
  """Imported late: it comes with an extra."""
  return importlib.import_module(name)
