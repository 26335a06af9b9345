# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Fields of runs on a pre-trained trunk, and their comparison on features."""

import chex
import jax
import numpy as np
import pytest

from imbsam_jax import experiment
from tests import programs
from tests.experiment import small_sources
from tests.experiment import trunk_files


@pytest.fixture(scope='module', name='file')
def _file(tmp_path_factory):
  return trunk_files.write(tmp_path_factory.mktemp('trunk') / 'vit.safetensors')


def _step(exp):
  """Parameters before and after a step, and its metrics."""
  begin = exp.init(0)
  batch = exp.put(exp.batches(0)[0])
  after, metrics = exp.train_step(0)(exp.init(0), batch)
  return begin, after, jax.device_get(metrics)


def test_frozen_kernels_in_bfloat16(file):
  exps = [
    trunk_files.build('sgd,adaptformer', file, **{'model.dtype': dtype})
    for dtype in ('bfloat16', 'float32')
  ]
  (_, state, half), (_, _, single) = map(_step, exps)
  for path, leaf in jax.tree.leaves_with_path(state.frozen):
    kernel = path[-1].key == 'kernel'
    assert leaf.dtype == ('bfloat16' if kernel else 'float32'), path
  assert {str(x.dtype) for x in jax.tree.leaves(state.params)} == {'float32'}
  np.testing.assert_allclose(half['loss'], single['loss'], rtol=2e-2)


def test_dropout_of_features_is_for_training_alone(file):
  plain, dropped = (
    trunk_files.build('sgd,vpt_deep', file, **{'model.feature_dropout': share})
    for share in (0.0, 0.5)
  )
  losses = [float(_step(exp)[2]['loss']) for exp in (plain, dropped)]
  assert abs(losses[0] - losses[1]) > 1e-3
  state = plain.init(0)
  scores = [experiment.evaluate(exp, state).scores for exp in (plain, dropped)]
  assert scores[0] == scores[1]


def test_layers_near_the_images_learn_less(file):
  exp = trunk_files.build(
    'sgd,full',
    file,
    **{
      'optimizer.name': 'adamw(eps=1e-30)',
      'optimizer.layer_decay': 0.5,
      'optimizer.weight_decay': 0.0,
      'optimizer.schedule': 'constant',
      'optimizer.learning_rate': 1e-3,
      'optimizer.momentum': 0.9,
    },
  )
  begin, after, _ = _step(exp)
  # Adam's first step is the learning rate in every entry that has a gradient.
  moved = jax.tree.map(
    lambda old, new: float(abs(new - old).max()), begin.params, after.params
  )
  trunk = moved['trunk']
  found = [moved['classifier']['kernel']]
  found += [trunk[f'block{k}']['mlp']['fc2']['bias'] for k in (2, 1, 0)]
  found.append(trunk['patch_embed']['bias'])
  np.testing.assert_allclose(found, 1e-3 * 0.5 ** np.arange(5), rtol=0.02)


def test_images_of_another_size(file):
  exp = trunk_files.build(
    'sgd,vpt_deep', file, **{'model.image_size': 16, 'data.resize': 'bicubic'}
  )
  positions = exp.init(0).variables['params']['trunk']['position_embedding']
  assert positions.shape[0] == 1 + 16
  assert 'positions from 2x2 to 4x4 by bicubic_antialias' in str(exp)
  exp = trunk_files.build('sgd,vpt_deep', file, test_views='five_crop')
  result = experiment.run(exp)
  assert 'five crops' in result.summary['reporting']


def test_features_are_compared_in_few_programs(file, tmp_path):
  """Seeds of a word go through one program; the table has all of them."""
  exps = {
    word: trunk_files.build(
      word.replace('+', ','),
      file,
      **{
        'model.tuning': 'probe',
        'model.head': 'scaled_cosine',
        'model.feature_cache': str(tmp_path / 'features'),
      },
    )
    for word in ('sgd', 'imbsam+ldam_drw', 'balanced_softmax')
  }
  comparison = experiment.compare(exps, seeds=3, workdir=tmp_path / 'runs')
  for word, summaries in comparison.summaries.items():
    assert [s['seed'] for s in summaries] == [0, 1, 2], word
    assert all(s['side_by_side'] == 3 for s in summaries)
    alone = experiment.run(exps[word], seed=1).summary
    assert alone['top1'] == summaries[1]['top1']
  restored, state = experiment.restore(
    tmp_path / 'runs' / 'sgd' / 'seed_0', data=small_sources.SOURCES
  )
  assert (
    experiment.evaluate(restored, state).scores['top1']
    == (comparison.summaries['sgd'][0]['top1'])
  )


def test_a_run_with_all_of_a_trunk_is_a_base(file, tmp_path):
  first = trunk_files.build('sgd,full', file, epochs=1)
  state = experiment.run(first, workdir=tmp_path).state
  exp = trunk_files.build('sgd,full', file, init_from=str(tmp_path))
  chex.assert_trees_all_equal(exp.init(3).variables, state.variables)


def test_a_program_without_a_file_says_what_to_type(tmp_path):
  """Before it looks for the data."""
  for fields, message in (
    ([], 'pass its path, --config.model.trunk=FILE.safetensors'),
    (['--config.model.trunk=x.pth'], 'there is no such file'),
  ):
    found = programs.call(
      'train',
      '--config=cifar100_lt_vit:vpt_deep',
      f'--workdir={tmp_path}',
      f'--config.data.data_dir={tmp_path}',
      *fields,
    )
    assert found.returncode == 2
    assert message in ' '.join(found.stderr.split())
