# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs that differ in seed and radius, stacked in one program."""

from collections.abc import Sequence
import contextlib
import dataclasses
import pathlib
from typing import NamedTuple

import jax.numpy as jnp

from imbsam_jax import training
from imbsam_jax._runs import console
from imbsam_jax._runs import folder
from imbsam_jax.experiment import _evaluate
from imbsam_jax.experiment import _event_files
from imbsam_jax.experiment import _experiment
from imbsam_jax.experiment import _own
from imbsam_jax.experiment import _run
from imbsam_jax.experiment import _summary


class Member(NamedTuple):
  """One of the runs.

  Attributes:
    experiment: Its experiment; those of members differ in the radius only.
    seed: Seed of the initial parameters, the order of the images and the noise.
    workdir: Folder of the run.
  """

  experiment: _experiment.Experiment
  seed: int
  workdir: pathlib.Path


def fits(one: _experiment.Experiment, other: _experiment.Experiment) -> bool:
  """Whether runs of two experiments can go side by side."""
  first, second = one.config, other.config
  if one is other:
    return True
  if _own.OWN in (first.data.name, first.model.name, first.objective.loss):
    return False  # Alike in name only.
  radii = (first.optimizer.rho, second.optimizer.rho)
  optimizer = dataclasses.replace(second.optimizer, rho=radii[0])
  # A constant radius of 0 leaves out a pass.
  return min(radii) > 0 and first == dataclasses.replace(
    second, optimizer=optimizer
  )


def run_stacked(
  members: Sequence[Member],
  *,
  progress: console.Report | None = None,
) -> list[_summary.Result]:
  """Trains runs from their beginning, and leaves their folders.

  Args:
    members: Runs whose experiments fit together, none of them begun.
    progress: Called with the records of new steps of the first.

  Returns:
    Each of them; the `seconds` of a summary are a run's share.
  """
  with contextlib.ExitStack() as locks:
    for member in members:
      locks.enter_context(training.WorkdirLock(member.workdir))
    return _run_stacked(members, progress)


def _run_stacked(
  members: Sequence[Member],
  progress: console.Report | None,
) -> list[_summary.Result]:
  first = members[0].experiment
  if any(member.experiment.search is not None for member in members):
    raise ValueError('runs that search before they train are not stacked.')
  chooser = _evaluate.choose_by(first)
  marks = _run.evaluation_marks(first)
  for member in members:
    folder.claim(
      member.workdir,
      member.experiment.config_of(member.seed),
      first.fingerprint,
      member.experiment.own,
    )
    _run.write_model_file(member.experiment, member.workdir)
    _run.write_file_report(member.experiment, member.workdir)
  with contextlib.ExitStack() as stack:
    events = [
      stack.enter_context(_event_files.opened(first, member.workdir))
      for member in members
    ]
    return _train_stacked(members, progress, chooser, marks, events)


def _train_stacked(
  members: Sequence[Member],
  progress: console.Report | None,
  chooser: _evaluate.Chooser | None,
  marks: set[int],
  events: Sequence[_event_files.EventFiles],
) -> list[_summary.Result]:
  first = members[0].experiment
  histories = [
    training.History(member.workdir / 'metrics.jsonl', also=files.add)
    for member, files in zip(members, events, strict=True)
  ]
  with contextlib.ExitStack() as stack:
    checkpoints = [
      stack.enter_context(
        training.Checkpoints(
          member.workdir / 'checkpoints',
          best_metric=chooser.metric if chooser else None,
          keep_last=_run.KEEP_LAST,
          about=folder.about(
            member.experiment.config_of(member.seed),
            first.fingerprint,
            member.experiment.own,
          ),
        )
      )
      for member in members
    ]
    states, seconds = training.fit_stacked(
      [member.experiment.init(member.seed) for member in members],
      lambda step: first.stacked_steps[first.kind(step)],
      [member.experiment.batches(member.seed) for member in members],
      num_steps=first.num_steps,
      put_batches=first.put_stacked,
      parameters=(
        jnp.array([m.experiment.config.optimizer.rho for m in members]),
      ),
      describe=lambda step, batch: {'cost': first.cost(step, batch)},
      evaluate=chooser.evaluate if chooser else None,
      evaluate_at=marks,
      checkpoints=checkpoints,
      checkpoint_at=marks,
      histories=histories,
      on_progress=progress,
    )
  reported = []
  for member, state in zip(members, states, strict=True):
    state = _run.state_to_report(member.experiment, state, member.workdir)
    _run.write_model_file(member.experiment, member.workdir, state)
    reported.append(state)
  results = [
    _summary.finish(
      member.experiment,
      state,
      history.records,
      member.workdir,
      seed=member.seed,
      seconds=seconds / len(members),
      extra={'side_by_side': len(members)},
    )
    for member, state, history in zip(members, reported, histories, strict=True)
  ]
  for files, result in zip(events, results, strict=True):
    files.finish(result.summary)
  return results
