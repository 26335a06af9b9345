# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints, on Orbax: the only module that knows it."""

from collections.abc import Mapping
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from orbax.checkpoint import v1 as ocp

from imbsam_jax.training import _errors
from imbsam_jax.training import _state


class Checkpoints:
  """Checkpoints of one run, ``directory/<step>/``; the last and the best stay.

  Saving is asynchronous; `close`, or the end of a ``with`` block, waits.

  Args:
    directory: Folder of the checkpoints.
    best_metric: Name of the metric, of those given to `save`, whose largest
      value marks the best checkpoint. None keeps the last one only.
    read_only: For whoever only restores: what another process is just saving
      is left alone.

  Raises:
    CheckpointError: There is no such folder to read from.
  """

  def __init__(
    self,
    directory: Any,
    *,
    best_metric: str | None = None,
    read_only: bool = False,
  ):
    self.directory = pathlib.Path(directory).resolve()
    if read_only and not self.directory.is_dir():
      raise _errors.CheckpointError(f'there is no folder {self.directory}.')
    self._best_metric = best_metric
    policies = ocp.training.preservation_policies
    keep: list[Any] = [policies.LatestN(1)]
    if best_metric is not None:
      keep.append(
        policies.BestN(
          get_metric_fn=lambda metrics: metrics[best_metric],
          n=1,
          keep_checkpoints_without_metrics=False,
        )
      )
    keep_any: Any = policies.AnyPreservationPolicy(keep)
    self._checkpointer: Any = ocp.training.Checkpointer(
      str(self.directory),
      preservation_policy=keep_any,
      cleanup_tmp_directories=not read_only,
    )

  def __enter__(self) -> 'Checkpoints':
    return self

  def __exit__(self, *exc_info: Any) -> None:
    self.close()

  @property
  def latest_step(self) -> int | None:
    """Step of the newest checkpoint."""
    steps = self._steps()
    return steps[-1].step if steps else None

  @property
  def best_step(self) -> int | None:
    """Step of the checkpoint with the largest `best_metric`."""
    scored = [c for c in self._steps() if c.metrics]
    if self._best_metric is None or not scored:
      return None
    return max(scored, key=lambda c: c.metrics[self._best_metric]).step

  def save(
    self,
    state: _state.TrainState,
    *,
    metrics: Mapping[str, float] | None = None,
    seconds: float = 0.0,
  ) -> None:
    """Saves `state` under its step, in the background.

    Args:
      state: The state to save.
      metrics: Validation metrics to judge it by.
      seconds: Training time so far, to go on counting from.

    Raises:
      CheckpointError: A parameter is not finite; nothing is written.
    """
    step = int(state.step)
    if step == self.latest_step:
      return
    if not _all_finite((state.params, state.model_state, state.ema_params)):
      raise _errors.CheckpointError(
        f'parameters at step {step} are not finite; they were not saved.'
      )
    self._checkpointer.save_async(
      step,
      state,
      force=True,
      metrics=None if metrics is None else dict(metrics),
      custom_metadata={'seconds': seconds},
    )

  def restore(
    self, like: _state.TrainState, step: int | None = None
  ) -> tuple[_state.TrainState, float]:
    """The state of a checkpoint, and the training time up to it.

    Args:
      like: A state of the same run: shapes, dtypes and shardings.
      step: Which checkpoint; None is the newest.

    Raises:
      CheckpointError: There is none, or it is unreadable or of another model.
    """
    step = self.latest_step if step is None else step
    if step is None or step not in [c.step for c in self._steps()]:
      raise _errors.CheckpointError(
        f'there is no checkpoint{"" if step is None else f" of step {step}"} '
        f'in {self.directory}.'
      )
    abstract = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
      like,
    )
    try:
      state = self._checkpointer.load(step, abstract)
      metadata = self._checkpointer.metadata(step).custom_metadata
    except Exception as error:
      raise _errors.CheckpointError(
        f'the checkpoint of step {step} in {self.directory} cannot be read: '
        f'{error}'
      ) from error
    return state, float((metadata or {}).get('seconds', 0.0))

  def close(self) -> None:
    """Waits for what is being saved."""
    self._checkpointer.close()

  def _steps(self) -> Any:
    return self._checkpointer.checkpoints


def _all_finite(tree: Any) -> bool:
  leaves = [
    x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)
  ]
  return all(bool(jnp.isfinite(x).all()) for x in leaves)
