# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every step program lowers for TPUs and GPUs, on a machine that has none."""

import jax
from jax import export
import pytest

from imbsam_jax import data
from imbsam_jax import experiment
from tests import own_words
from tests.experiment import kinds_test
from tests.experiment import systems_test

_PLATFORMS = ('tpu', 'cuda')
_WORDS = [
  'sgd',
  'sam',
  'imbsam',
  'sse_sam',
  'focal_sam',
  'rsam',
  'momentum_imbsam',
  'look_sam',
  'friendly_sam',
  'gsam',
  'imbsam,ldam_drw',
  'sam,cmo_drw',
  'absgd',
  'gcl_drw',
  'arb',
  'ppl_cri',
  *kinds_test.COSTS,
  *systems_test.WORDS,
]


first = systems_test.first


@pytest.fixture(autouse=True, scope='module')
def _words():
  with own_words.registered(*kinds_test.FILES):
    yield


def _assert_lowers(exp, jitted, *arguments):
  shapes = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), arguments
  )
  found = export.export(jitted, platforms=_PLATFORMS)(*shapes)
  assert found.platforms == _PLATFORMS
  # Donated state comes back as it was.
  state = shapes[0]
  out = jax.tree.unflatten(found.out_tree, found.out_avals)[0]
  assert [(x.shape, x.dtype) for x in jax.tree.leaves(out)] == [
    (x.shape, x.dtype) for x in jax.tree.leaves(state)
  ]


@pytest.mark.extended
@pytest.mark.parametrize('words', _WORDS)
def test_steps_lower(words, first):
  # CMO needs epochs to mix in.
  fields = {'optimizer.threshold': 20, 'epochs': 9}
  exp = kinds_test.build(words, 1, **first(words, fields))
  for program, step in exp.programs().items():
    batch = exp.put(exp.batches(0)[step])
    _assert_lowers(
      exp, exp.train_steps[program.kind], exp.abstract_state, batch
    )


@pytest.mark.extended
@pytest.mark.parametrize(
  'fields',
  [
    {'model.name': 'resnet20', 'model.norm': 'group'},
    {'model.name': 'resnet20', 'model.norm': 'batch'},
    {'model.name': 'resnet20', 'model.dtype': 'bfloat16'},
    {'model.name': 'small_conv_net', 'optimizer.num_microbatches': 2},
    {'model.name': 'mlp', 'optimizer.ema_decay': 0.9},
  ],
)
def test_networks_lower(fields):
  exp = kinds_test.build('imbsam', 1, **{'model.norm': 'group'} | fields)
  program, step = next(iter(exp.programs().items()))
  batch = exp.put(exp.batches(0)[step])
  _assert_lowers(exp, exp.train_steps[program.kind], exp.abstract_state, batch)


@pytest.mark.extended
def test_several_steps_and_stacked_runs_lower():
  exp = kinds_test.build('imbsam', 1)
  kind = exp.kind(0)
  chunk = data.stack_batches([exp.batches(0)[step] for step in range(2)])
  _assert_lowers(
    exp, exp.scanned_steps[kind], exp.abstract_state, exp.put_stacked(chunk)
  )
  states = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct((2, *x.shape), x.dtype), exp.abstract_state
  )
  rhos = jax.ShapeDtypeStruct((2,), 'float32')
  _assert_lowers(
    exp,
    exp.stacked_steps[kind],
    states,
    exp.put_stacked(chunk),
    rhos,
  )


def test_prediction_lowers():
  exp = kinds_test.build('sgd', 1)
  images = jax.ShapeDtypeStruct((8, 6, 6, 1), 'uint8')
  variables = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype),
    exp.abstract_state.variables,
  )
  for jitted in (exp.predict_step, exp.logit_step, exp.feature_step):
    found = export.export(jitted, platforms=_PLATFORMS)(variables, images)
    assert found.platforms == _PLATFORMS
  assert isinstance(exp, experiment.Experiment)
