# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the tests may compile and start, and that it is counted."""

import subprocess
import sys

import jax
import pytest

from tests import budget

_BUDGET = {
  'test': {'tests/a': [10, 1], 'tests/b': [5, 0]},
  'extended': {'tests/a': [100, 20]},
}


@pytest.mark.parametrize(
  ('path', 'folder'),
  [
    ('tests/losses/values_test.py', 'tests/losses'),
    ('tests/budget_test.py', 'tests'),
    ('imbsam_jax/losses/_ldam.py', 'imbsam_jax/losses'),
    ('README.md', 'README.md'),
  ],
)
def test_folder(path, folder):
  assert budget.folder(path) == folder


@pytest.mark.parametrize(
  ('selection', 'programs', 'processes'),
  [
    ('not extended', 10, 1),
    ('extended', 100, 20),
    # A file by itself, `make faults`: any of both.
    ('', 110, 21),
    ('faults', 110, 21),
  ],
)
def test_limits(selection, programs, processes):
  found = budget.limits(selection, _BUDGET)
  assert found['tests/a'] == {'programs': programs, 'processes': processes}


def test_excesses():
  counts = {
    'tests/a/one_test.py': {'programs': 6, 'processes': 1, 'seconds': 1.5},
    'tests/a/two_test.py': {'programs': 5, 'processes': 0, 'seconds': 2.0},
    'tests/b/test.py': {'programs': 5, 'processes': 0, 'seconds': 1.0},
    'tests/new/test.py': {'programs': 0, 'processes': 1, 'seconds': 0.0},
  }
  found = budget.rows(counts)
  assert found['together'] == {'programs': 16, 'processes': 2, 'seconds': 4.5}
  lines = budget.excesses(found, budget.limits('not extended', _BUDGET))
  assert [line.partition(', but')[0] for line in lines] == [
    'tests/a: 11 programs', 'tests/new: 1 processes',
  ]  # fmt: skip
  assert budget.rows(counts, by_file=True)['tests/a/two_test.py'] == {
    'programs': 5, 'processes': 0, 'seconds': 2.0,
  }  # fmt: skip


def test_programs_and_processes_are_counted(request):
  plugin = request.config.pluginmanager.get_plugin('budget')
  file = request.node.nodeid.partition('::')[0]
  before = dict(plugin.counts[file])
  for _ in range(2):  # The second one is in the cache on disk, and counts.
    jax.jit(lambda x: 3 * x - 1)(1.0)
  assert plugin.counts[file]['programs'] == before['programs'] + 2
  subprocess.run([sys.executable, '-S', '-c', ''], check=True)
  assert plugin.counts[file]['processes'] == before['processes'] + 1
