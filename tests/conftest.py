# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Turns the screws for the whole suite."""

import chex
import jax
import pytest

# Eight fake devices: what is sharded must equal what is not.
jax.config.update('jax_num_cpu_devices', 8)
# Silent promotions are how bf16 and float64 surprises begin.
jax.config.update('jax_numpy_rank_promotion', 'raise')
jax.config.update('jax_numpy_dtype_promotion', 'strict')


@pytest.fixture(autouse=True)
def _traces() -> None:
  """`chex.assert_max_traces` takes functions for one that look alike."""
  chex.clear_trace_counter()


@pytest.fixture(scope='session')
def tfds_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
  """A folder for prepared data sets, empty at first."""
  return str(tmp_path_factory.mktemp('tfds'))
