# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Schemes whose rows are on eight devices, each of which sees its own alone."""

import dataclasses
from unittest import mock

import chex
import jax
import numpy as np
import pytest

from imbsam_jax import experiment
from imbsam_jax import methods
from imbsam_jax import training
from tests.experiment import small_sources

# Fields by word; those that begin with a run have one of `_FIRST`.
_SEARCH = 'autobalance_search(every=2, start=0.0, batches=1)'
SCHEMES = {
  'gae': {'objective.scheme': 'gae(epsilon=0.05)'},
  'ot': {'objective.scheme': 'ot(num_iterations=20)'},
  'autobalance': {'objective.scheme': _SEARCH},
  'dbn_mix': {},
  'head_only': {},
  'open_sampling': {},
  'pure_noise': {
    'objective.scheme': 'pure_noise(delta=1.0, start=0.0)',
    'data.sampler': 'drs(start=0.0)',
  },
  'cc_sam': {'objective.scheme': 'cc_sam(noise_ratio=0.1)'},
}


def _build(words, num_devices, **fields):
  config = experiment.config(
    'own',
    words,
    {
      'epochs': 1,
      'data.batch_size': 16,
      'model.name': 'mlp',
      'model.norm': 'none',
      **fields,
    },
  )
  mesh = training.data_mesh(jax.devices()[:num_devices])
  with (
    mock.patch.object(training, 'data_mesh', lambda: mesh),
    # Words whose rows belong together are refused, where ascent is by device:
    # with SGD, which does not ascend, it is the same step in another form.
    mock.patch.object(methods, 'needs_batch', lambda choices: None),
  ):
    return experiment.build(config, data=small_sources.SOURCES)


@pytest.fixture(scope='module')
def first(tmp_path_factory):
  folder = tmp_path_factory.mktemp('first')
  experiment.run(_build('sgd', 1), workdir=folder)
  return folder


def _fields(word, first):
  fields = dict(SCHEMES[word])
  if methods.fine_tunes(word):
    fields['init_from'] = str(first)
  return fields


@pytest.mark.extended
@pytest.mark.parametrize('word', SCHEMES)
def test_eight_devices_are_one(first, word):
  fields = _fields(word, first)
  one = experiment.run(_build(word, 1, **fields))
  eight = _build(word, 8, **fields, **{'optimizer.ascent': 'per_device'})
  assert eight.mesh.size == 8
  spread = experiment.run(eight)
  chex.assert_trees_all_close(
    *((r.state.params, r.state.loss_state) for r in (one, spread)),
    rtol=1e-5,
    atol=1e-5,
  )
  np.testing.assert_allclose(
    *([r['loss'] for r in x.history if 'loss' in r] for x in (one, spread)),
    rtol=1e-5,
  )


@pytest.mark.extended
@pytest.mark.parametrize('word', SCHEMES)
def test_pmap(first, word):
  fields = _fields(word, first)
  one = _build(word, 1, **fields)
  with mock.patch.object(training, 'per_device', lambda step, mesh: step):
    eight = _build(word, 8, **fields, **{'optimizer.ascent': 'per_device'})
  images = np.asarray(one.data.train.images)

  def cut(x, axis=0):
    """Rows along an axis; a few that cannot be shared are on each device."""
    pieces = [x] * 8 if x.shape[axis] % 8 else np.split(x, 8, axis=axis)
    return np.stack(pieces)

  states = [exp.init(0) for exp in (one, eight)]
  for number in range(3):
    batch = eight.batches(0)[number]
    step = jax.pmap(
      eight.train_step(number),
      axis_name='data',
      in_axes=(None, 0),
      out_axes=None,
    )
    states[1], metrics = step(
      states[1],
      dataclasses.replace(
        batch,
        rows=jax.tree.map(cut, batch.rows),
        weights=cut(batch.weights, axis=1),
        streams=jax.tree.map(cut, dict(batch.streams)),
        resident_images=np.stack([images] * 8),
      ),
    )
    states[0], expected = one.train_step(number)(states[0], one.put(batch))
    np.testing.assert_allclose(metrics['loss'], expected['loss'], rtol=1e-5)
  chex.assert_trees_all_close(
    *(jax.device_get((s.params, s.loss_state)) for s in states),
    rtol=1e-5,
    atol=1e-5,
  )
