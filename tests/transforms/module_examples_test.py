# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The examples of `docs/` with modules of Flax NNX and of Equinox."""

import pathlib
import runpy

from flax import nnx
import jax
import numpy as np
import optax
import pytest

import imbsam_jax

_EXAMPLES = pathlib.Path(__file__).parents[2] / 'docs' / 'examples'


def _batch():
  rng = np.random.default_rng(0)
  labels = np.array([0, 0, 1, 1, 2, 0, 1, 2])
  images = rng.standard_normal((8, 4)) + 3 * np.eye(3, 4)[labels]
  return {'x': images.astype(np.float32), 'y': labels.astype(np.int32)}


def _nnx_parts(model):
  params, stats, _ = nnx.state(model, nnx.Param, nnx.BatchStat, ...)
  return params, stats


def _equinox_parts(trained):
  import equinox as eqx

  model, state = trained
  return eqx.filter((model, state), eqx.is_inexact_array)


@pytest.mark.parametrize(
  'name, parts', [('nnx_net', _nnx_parts), ('equinox_net', _equinox_parts)]
)
def test_trains_with_the_statistics_of_the_clean_pass(name, parts):
  if name == 'equinox_net':
    pytest.importorskip(
      'equinox', reason='pip install equinox; the library does not need it'
    )
  example = runpy.run_path(str(_EXAMPLES / f'{name}.py'))
  with jax.numpy_dtype_promotion('standard'):
    start, _ = example['train']([])
    plain, (plain_loss,) = example['train']([_batch()], rho=0.0)
    moved, (moved_loss,) = example['train']([_batch()], rho=2.0)
    _, losses = example['train']([_batch()] * 6, rho=0.2)
  assert losses[-1] < 0.7 * losses[0]
  np.testing.assert_allclose(plain_loss, moved_loss, rtol=1e-6)
  (plain_params, plain_stats), (moved_params, moved_stats) = map(
    parts, (plain, moved)
  )
  assert optax.tree.norm(optax.tree.sub(plain_params, moved_params)) > 1e-3
  # Other programs round otherwise.
  for one, other in zip(
    *map(jax.tree.leaves, (plain_stats, moved_stats)), strict=True
  ):
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
  _, start_stats = parts(start)
  assert optax.tree.norm(optax.tree.sub(plain_stats, start_stats)) > 1e-3


def test_an_equinox_module_as_it_is():
  eqx = pytest.importorskip(
    'equinox', reason='pip install equinox; the library does not need it'
  )
  module = eqx.nn.MLP(2, 2, 2, 1, key=jax.random.key(0))
  with pytest.raises(
    TypeError,
    match=r'got .* at \.activation of the whole module MLP.*eqx.partition',
  ):
    imbsam_jax.gradient_oracle(
      lambda *a: (0.0, None),
      module,
      None,
      group_weights=np.ones((1, 6), np.float32),
    )
