# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints, on Orbax: the only module that knows it."""

from collections.abc import Callable
from collections.abc import Mapping
import concurrent.futures
import contextlib
import dataclasses
from typing import Any
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from orbax.checkpoint import v1 as ocp

from imbsam_jax import _checks
from imbsam_jax import _errors
from imbsam_jax.training import _checkpoint_folder
from imbsam_jax.training import _processes
from imbsam_jax.training import _state

# Seconds in which a checkpoint is on disk, or has failed.
_TIMEOUT = 300

# Parts of a state that are read to evaluate it.
_EVALUATED = ('params', 'ema_params', 'model_state')

# Typed for more than the trees of this package.
_save_async: Any = ocp.save_async
_load: Any = ocp.load
_metadata: Any = ocp.metadata


class Checkpoints:
  """Checkpoints of one run, ``directory/<step>/``; the last and the best stay.

  Each has the checksums of its files beside it, ``<step>.manifest.json``,
  written when all else is on disk. A step without them was interrupted and is
  not offered, one that does not match them is damaged. Only in a folder without
  any manifest, of an earlier version or interrupted in its first save, steps
  are accepted as they are, with a warning; resuming gives them manifests.

  Saving is asynchronous; `close`, or the end of a ``with`` block, waits. What
  goes wrong meanwhile is raised by the next call. An older step is deleted when
  a newer one is complete, so that a good one is on disk at every moment.

  Of several processes, all make the same calls, and `directory` is one that all
  of them see; the first looks at it, and takes care of it.

  Args:
    directory: Folder of the checkpoints.
    best_metric: Name of the metric, of those given to `save`, whose largest
      value marks the best checkpoint. None keeps the last ones only.
    keep_last: Number of the newest checkpoints that stay. With 2, a damaged one
      can be replaced by the one before it.
    read_only: For whoever only restores: what another process is just saving
      is left alone.
    about: What the run is of, by name things that JSON has. A manifest keeps
      it, see `StepReport.about`.

  Raises:
    CheckpointError: If there is no such folder to read from, or it cannot be
      made.
  """

  def __init__(
    self,
    directory: Any,
    *,
    best_metric: str | None = None,
    keep_last: int = 1,
    read_only: bool = False,
    about: Mapping[str, Any] | None = None,
  ):
    keep_last = _checks.integer('keep_last', keep_last)
    self._folder = _checkpoint_folder.CheckpointFolder(
      directory,
      best_metric=best_metric,
      keep_last=keep_last,
      read_only=read_only,
      about=about,
    )
    self.directory = self._folder.path
    _processes.in_first_process(self._folder.open)
    self._worker = concurrent.futures.ThreadPoolExecutor(1, 'checkpoints')
    self._pending: concurrent.futures.Future[None] | None = None

  def __enter__(self) -> 'Checkpoints':
    return self

  def __exit__(self, kind: Any, *exc_info: Any) -> None:
    regular = kind is None or issubclass(kind, _errors.PreemptedError)
    try:
      # Only this process may have failed. Do not run a collective then: the
      # other processes would never reach it.
      self._close(self._wait if regular else self._wait_here)
    except _errors.CheckpointError as error:
      # Keep the error that ends the block; but if the run was stopped, a failed
      # save must be reported.
      if regular:
        raise
      warnings.warn(str(error), stacklevel=2)

  @property
  def latest_step(self) -> int | None:
    """Step of the newest good checkpoint; None if nothing was saved.

    Raises:
      CheckpointError: If there are checkpoints, but none is good: starting
        again must not be an accident.
    """
    self._wait()
    return _processes.in_first_process(self._folder.latest_step)

  @property
  def best_step(self) -> int | None:
    """Step of the good checkpoint with the largest `best_metric`.

    Warns if a better one is damaged.
    """
    self._wait()
    return _processes.in_first_process(self._folder.best_step)

  def save(
    self,
    state: _state.TrainState,
    *,
    metrics: Mapping[str, float] | None = None,
    seconds: float = 0.0,
  ) -> None:
    """Saves `state` under its step, in the background.

    A step that is there already, and good, is not saved again.

    Args:
      state: The state to save, all but `TrainState.frozen`.
      metrics: Validation metrics to judge it by.
      seconds: Training time so far, to go on counting from.

    Raises:
      CheckpointError: If a parameter is not finite (nothing is written), the
        folder has a newer checkpoint, or the last save failed, or this one.
    """
    self._wait()
    step = int(state.step)
    if _processes.in_first_process(lambda: not self._folder.make_place(step)):
      # Whoever saved it may have been killed before it deleted older ones.
      self._pending = self._worker.submit(self._delete_old, step)
      return
    if not _all_finite((state.params, state.model_state, state.ema_params)):
      raise _errors.CheckpointError(
        f'parameters at step {step} are not finite; they were not saved.'
      )
    notes = {
      'metrics': {name: float(v) for name, v in (metrics or {}).items()},
      'seconds': float(seconds),
    }
    context = ocp.Context()
    # In the background, Orbax's threads would wait minutes for a folder that
    # could not be made.
    context.async_options.create_directories_asynchronously = False
    # If one process cannot write, the others learn it by not waiting longer.
    context.async_options.timeout_secs = _TIMEOUT
    try:
      with context:
        response = _save_async(
          str(self.directory / str(step)),
          _saved(state),
          custom_metadata=notes,
        )
    except Exception as error:
      raise self._failed(step, error) from error
    self._pending = self._worker.submit(self._complete, response, step, notes)

  def restore(
    self, like: _state.TrainState, step: int | None = None
  ) -> tuple[_state.TrainState, float]:
    """The state of a checkpoint, and the training time up to it.

    Args:
      like: A state of the same run: shapes, dtypes and shardings, and the
        parameters that are frozen.
      step: Which checkpoint; None is the newest good one. Newer ones that are
        damaged are named in a warning, and renamed unless `read_only`.

    Raises:
      CheckpointError: If there is no checkpoint, or it is damaged, unreadable
        or of another model.
    """
    self._wait()
    chosen, seconds = _processes.in_first_process(
      lambda: self._folder.choose(step)
    )
    abstract = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
      _saved(like),
    )
    try:
      saved = _load(str(self.directory / str(chosen)), abstract)
    except Exception as error:
      raise self._unreadable(chosen, error) from error
    if _processes.is_first_process():
      with contextlib.suppress(OSError):  # The next save tries again.
        self._folder.adopt()
    return like.replace(**saved), seconds

  def go_back(self, step: int) -> bool:
    """Makes the newest good checkpoint up to a step the newest one.

    For a run that is to make later steps again. Newer ones are renamed to
    ``<step>.later``.

    Args:
      step: Number of steps.

    Returns:
      False, and nothing is changed, if there is no such checkpoint.
    """
    self._wait()
    return _processes.in_first_process(lambda: self._folder.go_back(step))

  def variables(self, step: int | None = None) -> tuple[int, dict[str, Any]]:
    """What a checkpoint is evaluated with, whatever model it is of.

    Args:
      step: Which checkpoint; None is the newest good one, as in `restore`.

    Returns:
      Its step, and parameters, or their moving average where there is one, with
      the other variables of the model, as NumPy arrays. Frozen parameters are
      in no checkpoint.

    Raises:
      CheckpointError: If there is no checkpoint, or it is damaged or
        unreadable.
    """
    self._wait()
    chosen, _ = _processes.in_first_process(lambda: self._folder.choose(step))
    path = str(self.directory / str(chosen))
    try:
      abstract = {
        name: jax.tree.map(_as_array if name in _EVALUATED else _left_out, tree)
        for name, tree in _metadata(path).metadata.items()
      }
      saved = _load(path, abstract)
    except Exception as error:
      raise self._unreadable(chosen, error) from error
    params = saved['ema_params']
    return chosen, {
      'params': saved['params'] if params is None else params,
      **saved['model_state'],
    }

  def close(self) -> None:
    """Waits for what is being saved.

    Raises:
      CheckpointError: If the checkpoint could not be saved.
    """
    self._close(self._wait)

  def _close(self, wait: Callable[[], None]) -> None:
    try:
      wait()
    finally:
      self._worker.shutdown()

  def _wait(self) -> None:
    """Waits for what all processes are saving, and for its errors."""
    if self._pending is None:
      return
    own = None
    try:
      self._wait_here()
    except _errors.CheckpointError as error:
      own = error
    texts = _processes.from_each_process(own and str(own))
    if own is not None:
      raise own
    others = [text for text in texts if text]
    if others:
      raise _errors.CheckpointError(others[0])

  def _wait_here(self) -> None:
    pending, self._pending = self._pending, None
    if pending is not None:
      pending.result()

  def _complete(self, response: Any, step: int, notes: Any) -> None:
    """What is done in the background."""
    try:
      response.result()
      if _processes.is_first_process():
        self._folder.complete(step, **notes)
    except Exception as error:
      raise self._failed(step, error) from error
    self._delete_old(step)

  def _delete_old(self, step: int) -> None:
    if _processes.is_first_process():
      self._folder.delete_old(step)

  def _unreadable(self, step: int, error: Exception) -> Exception:
    return _errors.CheckpointError(
      f'the checkpoint of step {step} in {self.directory} cannot be read: '
      f'{error}'
    )

  def _failed(self, step: int, error: Exception) -> _errors.CheckpointError:
    if _processes.is_first_process():
      self._folder.discard()
    return self._folder.not_saved(step, error)


def _as_array(x: Any) -> np.ndarray:
  return np.empty(x.shape, x.dtype)


def _left_out(x: Any) -> Any:
  del x
  return ocp.PLACEHOLDER


def _saved(state: _state.TrainState) -> dict[str, Any]:
  """What a checkpoint holds."""
  return {
    field.name: getattr(state, field.name)
    for field in dataclasses.fields(state)
    if field.name != 'frozen'
  }


def _all_finite(tree: Any) -> bool:
  leaves = [
    x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)
  ]
  return all(bool(jnp.isfinite(x).all()) for x in leaves)
