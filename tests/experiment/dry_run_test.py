# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a rehearsal says of memory, and of a run before the run."""

import math
import re
from unittest import mock

import pytest

from imbsam_jax import experiment
from imbsam_jax.experiment import _dry_run
from tests.experiment import small_sources


def _build(words, scheme):
  config = experiment.config(
    'own',
    words,
    {
      'epochs': 2,
      'data.batch_size': 16,
      'model.name': 'mlp',
      'model.norm': 'none',
      'objective.scheme': scheme,
    },
  )
  return experiment.build(config, data=small_sources.SOURCES)


def test_a_queue_that_does_not_fit_is_refused_before_it_is_made():
  # Of 3 classes, 1,000,000 keys of 128 numbers each.
  exp = _build(
    'rescom',
    'rescom(size=1000000, num_positives=1, num_negatives=1)',
  )
  with (
    mock.patch.object(_dry_run, '_free_memory', lambda: 2**30),
    pytest.raises(experiment.ConfigError) as caught,
  ):
    experiment.dry_run(exp)
  queue = 3 * 1_000_000 * 128 * 4 / 2**30
  text = str(caught.value)
  assert f'{queue:.1f} GiB of it what the method remembers, and 1.0 GiB' in text
  assert 'a queue of a smaller `size`' in text


def test_memory_that_is_free():
  number = _dry_run._free_memory()
  assert number is None or 2**20 < number < 2**50
  with mock.patch.object(_dry_run.pathlib.Path, 'exists', lambda path: False):
    assert _dry_run._free_memory() is None


def test_what_is_remembered_and_the_search_are_told():
  text = experiment.dry_run(
    _build('rescom', 'rescom(size=1000, num_positives=1, num_negatives=1)')
  )
  mebibytes = 3 * 1000 * 128 * 4 / 2**20
  assert f'{mebibytes:.1f} MiB of the state is what the method' in text
  exp = _build('autobalance', 'autobalance(every=2, batches=1)')
  text = experiment.dry_run(exp)
  assert 'for 6 steps and the search before' in text
  assert 'remembers' not in text
  work = exp.expected_work()
  assert work > 9 + 6 and math.isfinite(work)
  assert re.search(r'time +[0-9.]+ ms per step, about', text)
