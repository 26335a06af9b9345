# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Turns the screws for the whole suite."""

from collections.abc import Iterator
import pathlib

import chex
import jax
import pytest

from imbsam_jax.data import _facts_cache
from tests import budget
from tests import programs

# Eight fake devices: what is sharded must equal what is not. Two would save a
# seventh of the tests that build experiments and nothing of the others, which
# is less than a run of its own for those that want eight.
jax.config.update('jax_num_cpu_devices', 8)
# Silent promotions are how bf16 and float64 surprises begin.
jax.config.update('jax_numpy_rank_promotion', 'raise')
jax.config.update('jax_numpy_dtype_promotion', 'strict')
# Nearly all programs here run once or a few times: compiling them well is a
# waste. Tests marked `optimized` say otherwise.
jax.config.update('jax_disable_most_optimizations', True)
# Programs that were compiled before, by another worker or yesterday, are read.
jax.config.update('jax_compilation_cache_dir', programs.CACHE)
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
# Labels of the data sets of tests are not kept at home.
_facts_cache.FOLDER = f'{programs.CACHE}/facts'


# Folders of tests that nearly all train.
_TRAINING = ('anomaly', 'experiment', 'training')
_folders: list[pathlib.Path] = []  # Of which tests have run in this process.


def pytest_configure(config: pytest.Config) -> None:
  """Counts what costs time."""
  config.pluginmanager.register(budget.Plugin(config), 'budget')


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
  """Marks what `make quick` leaves out: who asks for data sets, and folders."""
  for item in items:
    if (
      'tfds_dir' in getattr(item, 'fixturenames', ())
      or item.path.parent.name in _TRAINING
    ):
      item.add_marker('trains')


@pytest.fixture(autouse=True)
def _optimization(request: pytest.FixtureRequest) -> Iterator[None]:
  """Compiles as users do where a test is marked `optimized`.

  A program that another test, or a fixture of the module, has compiled before
  stays as it is.
  """
  if request.node.get_closest_marker('optimized') is None:
    yield
    return
  jax.config.update('jax_disable_most_optimizations', False)
  yield
  jax.config.update('jax_disable_most_optimizations', True)


@pytest.fixture(autouse=True)
def _traces() -> None:
  """`chex.assert_max_traces` takes functions for one that look alike."""
  chex.clear_trace_counter()


@pytest.fixture(autouse=True, scope='module')
def _memory(request: pytest.FixtureRequest) -> None:
  """Programs of one folder are of no use to the next, but of some size.

  A worker grew to 4.5 GB otherwise. What folders share is in the cache on disk,
  and they count the same whatever ran before.
  """
  if _folders[-1:] != [request.path.parent]:
    jax.clear_caches()
    _folders.append(request.path.parent)


@pytest.fixture(scope='session')
def tfds_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
  """A folder for prepared data sets, empty at first."""
  return str(tmp_path_factory.mktemp('tfds'))
