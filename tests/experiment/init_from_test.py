# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs that begin with a finished run."""

import json
import shutil

import chex
import jax
import numpy as np
from PIL import Image
import pytest

from imbsam_jax import experiment
from imbsam_jax import training
from tests.experiment import small_sources


def config(words, **fields):
  return experiment.config(
    'own',
    words,
    {
      'epochs': 2,
      'save_every': 1.0,
      'data.batch_size': 16,
      'model.name': 'mlp',
      'model.norm': 'batch',
      **fields,
    },
  )


def build(words, data=small_sources.SOURCES, **fields):
  return experiment.build(config(words, **fields), data=data)


@pytest.fixture(scope='module')
def base(tmp_path_factory):
  """A finished run, its folder and state."""
  folder = tmp_path_factory.mktemp('base') / 'run'
  result = experiment.run(build('imbsam'), workdir=folder)
  return folder, result.state


def test_begins_with_the_parameters_of_the_run(base):
  folder, state = base
  exp = build('sam', init_from=str(folder))
  chex.assert_trees_all_equal(exp.init(5).variables, state.variables)
  assert f'begin   {folder} (imbsam), step 6' in str(exp)
  best = json.loads((folder / 'config.json').read_text())
  assert best['init_from'] is None


def test_begins_with_a_checkpoint_by_name(base):
  folder, state = base
  with training.Checkpoints(
    folder / 'checkpoints', best_metric='balanced', read_only=True
  ) as checkpoints:
    step, best = checkpoints.variables(checkpoints.best_step)
  for name in ('best', str(step)):
    begin = build('sgd', init_from=f'{folder}:{name}').init(0).variables
    chex.assert_trees_all_equal(begin, best)
  with pytest.raises(training.CheckpointError, match='no checkpoint of step 5'):
    build('sgd', init_from=f'{folder}:5')


def test_a_moving_average_is_what_is_taken(tmp_path):
  exp = build('sgd', **{'optimizer.ema_decay': 0.9})
  state = experiment.run(exp, workdir=tmp_path).state
  begin = build('sgd', init_from=str(tmp_path)).init(0)
  chex.assert_trees_all_equal(begin.params, state.ema_params)
  again = build(
    'sgd', init_from=str(tmp_path), **{'optimizer.ema_decay': 0.9}
  ).init(0)
  chex.assert_trees_all_equal(again.ema_params, state.ema_params)


def test_the_folder_says_what_was_read(base, tmp_path):
  folder, state = base
  exp = build('sgd', init_from=str(folder))
  experiment.run(exp, workdir=tmp_path / 'run')
  saved = json.loads((tmp_path / 'run' / 'config.json').read_text())
  assert saved['init_from'] == str(folder)
  expected = training.params_sha256(jax.tree.map(np.asarray, state.variables))
  assert saved['init_from_sha256'] == expected
  # Complete: nothing is trained anew.
  again = experiment.run(exp, workdir=tmp_path / 'run')
  assert again.summary['step_programs'] == 0


def test_another_run_in_its_place_is_refused(base, tmp_path):
  folder = tmp_path / 'base'
  shutil.copytree(base[0], folder)
  exp = build('sgd', init_from=str(folder))
  experiment.run(exp, workdir=tmp_path / 'run')
  shutil.rmtree(folder)
  experiment.run(build('imbsam'), seed=1, workdir=folder)
  with pytest.raises(experiment.ConfigError, match='are not those that this'):
    experiment.restore(tmp_path / 'run', data=small_sources.SOURCES)
  with pytest.raises(experiment.ConfigError, match='another configuration'):
    experiment.run(
      build('sgd', init_from=str(folder)), workdir=tmp_path / 'run'
    )


def test_without_the_run_that_it_began_with(base, tmp_path):
  """A run that trained everything has all that it needs."""
  folder = tmp_path / 'base'
  shutil.copytree(base[0], folder)
  for words in ('sgd', 'head_only'):
    exp = build(words, init_from=str(folder), epochs=1)
    experiment.run(exp, workdir=tmp_path / words)
  shutil.rmtree(folder)
  _, state = experiment.restore(tmp_path / 'sgd', data=small_sources.SOURCES)
  assert int(state.step) == 3
  with pytest.raises(experiment.ConfigError, match='no run in .*base'):
    experiment.restore(tmp_path / 'head_only', data=small_sources.SOURCES)


def test_a_head_goes_on_bit_for_bit(base, tmp_path):
  folder, state = base
  exp = build('imbsam,crt', init_from=str(folder))
  whole = experiment.run(exp, workdir=tmp_path / 'whole')

  class _Stopped(Exception):
    pass

  def stop(records):
    if records[-1]['step'] == 6:
      raise _Stopped

  with pytest.raises(_Stopped):
    experiment.run(exp, workdir=tmp_path / 'run', progress=stop)
  again = experiment.run(exp, workdir=tmp_path / 'run')
  chex.assert_trees_all_equal(whole.state.variables, again.state.variables)
  # The trunk is that of the run, with its statistics; the head is new.
  assert set(whole.state.params) == {'classifier'}
  chex.assert_trees_all_equal(
    {**whole.state.frozen, **whole.state.model_state},
    {
      **{k: v for k, v in state.params.items() if k != 'classifier'},
      **state.model_state,
    },
  )
  kernels = [s.params['classifier']['kernel'] for s in (exp.init(0), state)]
  assert not np.allclose(*kernels, atol=0.01)
  restored, there = experiment.restore(
    tmp_path / 'run', data=small_sources.SOURCES
  )
  chex.assert_trees_all_equal(there.variables, whole.state.variables)
  assert 'of them trained' in str(restored)
  # What the checkpoint of a base does not hold is in that of its own base.
  second = build('head_only', init_from=str(tmp_path / 'whole'))
  chex.assert_trees_all_equal(second.init(3).variables, whole.state.variables)


def test_a_head_costs_a_forward_pass_under_any_rule(base):
  """In FLOPs: features do not depend on the head, whatever moves it."""
  folder, _ = base
  rows = 16 // len(jax.devices())  # FLOPs are those of a device.
  dims = (36, 128, 128, 3)
  forward = 2 * rows * sum(np.multiply(dims[:-1], dims[1:]))
  for words in ('crt', 'sam,crt'):
    exp = build(words, init_from=str(folder))
    assert exp.expected_cost() == pytest.approx(1 / 3)
    assert forward < _flops(exp) < 1.3 * forward


def _flops(exp):
  batch = exp.put(exp.batches(0)[0])
  lowered = exp.train_step(0).lower(exp.abstract_state, batch)
  return lowered.compile().cost_analysis()['flops']


def test_seeds_and_words_are_filled_in(tmp_path):
  fields = {'epochs': 0.5, 'save_every': 0.5}
  configs = {
    word: experiment.build(config(word, **fields), data=small_sources.SOURCES)
    for word in ('sgd', 'imbsam')
  }
  experiment.compare(configs, seeds=2, workdir=tmp_path / 'base')
  second = {
    word: experiment.build(
      experiment.replace(
        config(word, **fields),
        {'init_from': str(tmp_path / 'base' / first / 'seed_{seed}')},
      ),
      data=small_sources.SOURCES,
    )
    for word, first in (('crt', 'sgd'), ('imbsam+crt', 'imbsam'))
  }
  experiment.compare(second, seeds=2, workdir=tmp_path / 'crt')
  for word, first in (('crt', 'sgd'), ('imbsam+crt', 'imbsam')):
    for seed in (0, 1):
      there = experiment.restore(
        tmp_path / 'base' / first / f'seed_{seed}', data=small_sources.SOURCES
      )[1]
      here = experiment.restore(
        tmp_path / 'crt' / word / f'seed_{seed}', data=small_sources.SOURCES
      )[1]
      chex.assert_trees_all_equal(
        here.frozen,
        {k: v for k, v in there.params.items() if k != 'classifier'},
      )


@pytest.mark.parametrize(
  ('name', 'word'),
  [
    ('crt', 'sgd'),
    ('imbsam', 'imbsam'),
    ('imbsam+gcl+crt', 'imbsam+gcl'),
    ('imbsam+crt@0.1', 'imbsam'),
    ('sam+gcl_stage2', 'sam+gcl'),
    ('gcl_stage2', 'gcl'),
    ('whatever', 'whatever'),
  ],
)
def test_the_word_of_a_base(name, word):
  from imbsam_jax.experiment import _base_run

  given = config('sgd', init_from='runs/{word}/seed_{seed}')
  filled = _base_run.of_method(given, name).init_from
  assert filled == f'runs/{word}/seed_{{seed}}'


def test_another_network_is_named(base):
  folder, _ = base
  with pytest.raises(experiment.ConfigError) as caught:
    build('normface', init_from=str(folder))
  text = str(caught.value)
  assert 'params/classifier/kernel: [128, 3] there, none here' in text
  assert 'params/classifier/class_vectors: none there, [3, 128] here' in text
  with pytest.raises(experiment.ConfigError, match='dense1/bias: none there'):
    build('sgd', init_from=str(folder), **{'model.norm': 'none'})


def test_what_is_no_finished_run_is_refused(base, tmp_path):
  folder, _ = base
  with pytest.raises(experiment.ConfigError, match='no run in .* There is one'):
    build('sgd', init_from=str(folder.parent))
  unfinished = tmp_path / 'unfinished'
  shutil.copytree(folder, unfinished)
  (unfinished / 'summary.json').unlink()
  with pytest.raises(experiment.ConfigError, match='is not finished'):
    build('sgd', init_from=str(unfinished))
  with pytest.raises(experiment.ConfigError, match='`crt` begins with a fini'):
    build('crt')
  with pytest.raises(experiment.ConfigError, match='stands for nothing'):
    build('sgd', init_from='runs/{words}')
  with pytest.raises(experiment.ConfigError, match='by a comparison alone'):
    build('sgd', init_from='runs/{word}')
  configs = {'sgd': build('sgd', init_from=f'{folder}')}
  second = experiment.replace(
    config('sgd'), {'init_from': str(folder.parent / 'run{seed}')}
  )
  with pytest.raises(experiment.ConfigError, match='no run in .*run0'):
    experiment.compare({**configs, 'again': second}, seeds=2)


def test_a_run_that_has_seen_what_is_set_aside_is_refused(tmp_path):
  fields = {
    'epochs': 0.5,
    'data.batch_size': 64,
    'model.name': 'mlp',
    'model.norm': 'none',
  }
  seen = {**fields, 'data.validation_per_class': 0}
  first = experiment.build(experiment.config('digits_lt', 'sgd', seen))
  experiment.run(first, workdir=tmp_path)
  begun = {**fields, 'init_from': str(tmp_path)}
  with pytest.raises(experiment.ConfigError, match='was trained on .* of the '):
    experiment.build(experiment.config('digits_lt', 'sgd', begun))
  # Others that it has not seen are set aside in both: fewer training images.
  fewer = {**begun, 'data.validation_per_class': 0, 'data.max_count': 50}
  experiment.build(experiment.config('digits_lt', 'sgd', fewer))


def test_own_images_that_cannot_be_compared(base):
  folder, _ = base
  images, labels = small_sources.SOURCES.train
  fewer = small_sources.SOURCES._replace(train=(images[1:], labels[1:]))
  with pytest.raises(experiment.ConfigError, match='other images of your own'):
    build('sgd', data=fewer, init_from=str(folder))


def test_a_run_further_back_that_has_seen_them_is_refused(tmp_path):
  """And files are known again by their content, wherever they are."""
  rng = np.random.RandomState(0)
  for label in 'ab':
    folder = tmp_path / 'images' / 'train' / label
    folder.mkdir(parents=True)
    for number in range(8):
      pixels = rng.randint(0, 255, (8, 8, 3)).astype(np.uint8)
      Image.fromarray(pixels).save(folder / f'{number}.png')
  shutil.copytree(tmp_path / 'images' / 'train', tmp_path / 'images' / 'test')
  for path in (tmp_path / 'images' / 'test').glob('*/*.png'):
    Image.fromarray(rng.randint(0, 255, (8, 8, 3)).astype(np.uint8)).save(path)

  def folder_run(place, **fields):
    return experiment.build(
      experiment.config(
        'image_folder',
        'sgd',
        {
          'data.data_dir': str(tmp_path / place),
          'data.splits': ('train', None, 'test'),
          'data.image_size': 8,
          'data.batch_size': 8,
          'epochs': 1,
          'optimizer.warmup_epochs': 0.0,
          'model.name': 'small_conv_net',
          **fields,
        },
      )
    )

  experiment.run(folder_run('images'), workdir=tmp_path / 'first')
  # A run on other images than those, in between.
  fewer = {'data.class_counts': (1, 1), 'data.subset': 'first'}
  second = folder_run('images', init_from=str(tmp_path / 'first'), **fewer)
  experiment.run(second, workdir=tmp_path / 'second')
  shutil.move(tmp_path / 'images', tmp_path / 'moved')
  aside = {'data.validation_per_class': 2}
  for base in ('first', 'second'):
    with pytest.raises(experiment.ConfigError, match='first was trained on 4'):
      folder_run('moved', init_from=str(tmp_path / base), **aside)
  folder_run('moved', init_from=str(tmp_path / 'first'))


def test_a_trunk_that_was_trained_again_is_refused(tmp_path):
  experiment.run(build('sgd'), workdir=tmp_path / 'trunk')
  begun = build('head_only', init_from=str(tmp_path / 'trunk'))
  experiment.run(begun, workdir=tmp_path / 'head')
  shutil.rmtree(tmp_path / 'trunk')
  experiment.run(build('sgd'), seed=1, workdir=tmp_path / 'trunk')
  with pytest.raises(experiment.ConfigError, match='it was trained again'):
    build('sgd', init_from=str(tmp_path / 'head'))


def test_features_are_those_of_evaluation(base):
  """Statistics of BatchNorm are not those of the batch."""
  folder, _ = base
  exp = build('head_only', init_from=str(folder))
  state, batch = exp.init(0), exp.batches(0)[0]
  images = np.asarray(exp.data.train.images)[batch.rows['image']]
  _, logits = exp.feature_step(state.variables, images)
  logits = np.asarray(logits, np.float64)
  powers = np.exp(logits)
  own = powers[np.arange(16), batch.rows['label']] / powers.sum(axis=1)
  _, metrics = exp.train_step(0)(state, exp.put(batch))
  np.testing.assert_allclose(metrics['loss'], -np.log(own).mean(), rtol=1e-4)
