# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A run that comes before a run and finds the loss that it begins with."""

import json
import shutil

import chex
import numpy as np
import pytest

from imbsam_jax import data as data_lib
from imbsam_jax import experiment
from imbsam_jax import training
from tests.experiment import small_sources

_SCHEME = 'autobalance(every=2, batches=1, epochs=1.0, outer_learning_rate=1.0)'


def build(validation=True, **fields):
  config = experiment.config(
    'own',
    'sgd',
    {
      'epochs': 2,
      'save_every': 1.0,
      'data.batch_size': 16,
      'model.name': 'mlp',
      'model.norm': 'none',
      'objective.scheme': _SCHEME,
      **fields,
    },
  )
  sources = small_sources.SOURCES
  if not validation:
    sources = sources._replace(validation=None)
  return experiment.build(config, data=sources)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  folder = tmp_path_factory.mktemp('whole')
  exp = build()
  return exp, experiment.run(exp, workdir=folder)


def test_the_run_trains_with_what_its_search_gave(whole):
  exp, result = whole
  found = json.loads((result.workdir / 'found.json').read_text())
  for name, values in found.items():
    np.testing.assert_array_equal(result.state.loss_state[name], values)
  assert np.any(np.array(found['offsets']) != 0)
  search = json.loads((result.workdir / 'search' / 'summary.json').read_text())
  assert search['split'] == 'validation'
  assert result.summary['split'] == 'test'
  for name in ('steps', 'seconds', 'cost_sgd_steps'):
    assert result.summary[f'search_{name}'] == search[name]
  # The search and the run begin with the same parameters, of its seed.
  first = exp.search.experiment.init(0)
  chex.assert_trees_all_equal(first.params, exp.init(0).params)


def test_header_and_work(whole):
  exp, _ = whole
  first = exp.search.experiment
  assert (
    'search  2 epochs, 6 steps, before the run: 48 training and 24 ' in str(exp)
  )
  assert first.num_steps == 6 and first.config.epochs == 2
  # Of six steps those from the second on, every second: two of them.
  assert [first.objective.outer.at(step) for step in range(6)] == [
    False, False, True, False, True, False
  ]  # fmt: skip
  cost = 1 + 2 / 6 * first.objective.outer.cost
  assert first.expected_cost() == pytest.approx(cost)
  assert exp.expected_work() == pytest.approx(6 * cost + 6)


@pytest.mark.parametrize('where', ['search', 'run'])
def test_goes_on_where_it_stopped(whole, tmp_path, where):
  exp, result = whole
  shutil.copytree(result.workdir, tmp_path / 'run')
  folder = tmp_path / 'run'
  kept = folder / 'search' if where == 'search' else folder
  if where == 'search':  # Stopped in it: of the run there is nothing.
    for name in ('checkpoints', 'metrics.jsonl', 'found.json'):
      path = folder / name
      shutil.rmtree(path) if path.is_dir() else path.unlink()
  else:  # What is trained from here on does not ask for it any more.
    shutil.rmtree(folder / 'search' / 'checkpoints')
  (folder / 'summary.json').unlink()
  (kept / 'summary.json').unlink(missing_ok=True)
  shutil.rmtree(kept / 'checkpoints' / '6')
  (kept / 'checkpoints' / '6.manifest.json').unlink()
  lines = (kept / 'metrics.jsonl').read_text().splitlines()
  kept_lines = [x for x in lines if json.loads(x)['step'] <= 3]
  (kept / 'metrics.jsonl').write_text('\n'.join(kept_lines) + '\n')
  again = experiment.run(exp, workdir=folder)
  chex.assert_trees_all_equal(again.state.params, result.state.params)
  chex.assert_trees_all_equal(again.state.loss_state, result.state.loss_state)


def test_images_are_held_out_where_none_are_set_aside():
  exp = build(validation=False)
  data, first = exp.data, exp.search.experiment.data
  assert data.validation is None
  np.testing.assert_array_equal(np.bincount(first.validation.labels), [6, 2, 1])
  np.testing.assert_array_equal(first.class_counts, [24, 10, 5])
  pieces = [first.train.images, first.validation.images]
  both = np.concatenate(pieces).reshape(48, -1)
  all_of_it = np.asarray(data.train.images).reshape(48, -1)
  np.testing.assert_array_equal(
    np.unique(both, axis=0), np.unique(all_of_it, axis=0)
  )


def test_hold_out_of_a_single_example():
  images = np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1)
  examples = data_lib.Examples(images, np.array([0, 0, 0, 1], np.int32))
  data = data_lib.LongTailedData(
    examples, None, examples, np.array([3, 1]), ('a', 'b')
  )
  halves = data_lib.hold_out(data, 0.1)
  assert halves.class_counts.tolist() == [2, 1]
  assert halves.validation.labels.tolist() == [0, 1]
  with pytest.raises(ValueError, match='share'):
    data_lib.hold_out(data, 1.0)


def test_classes_share_terms():
  scheme = 'autobalance(group_size=2, every=2, batches=1)'
  with pytest.raises(experiment.ConfigError, match='must divide the number'):
    build(**{'objective.scheme': scheme})
  exp = build(**{'objective.scheme': 'autobalance(group_size=3, epochs=1.0)'})
  assert exp.search.experiment.objective.num_groups == 1
  begin = exp.search.begin(
    {
      'multiplier_logits': np.array([2.0]),
      'offsets': np.array([1.0]),
      'counts': np.array([4.0, 2.0]),
    }
  )
  np.testing.assert_array_equal(begin['multiplier_logits'], [2.0, 2.0, 2.0])


def test_records_of_the_run_alone_are_told(tmp_path):
  steps = []
  experiment.run(build(), workdir=tmp_path, progress=steps.extend)
  assert [record['step'] for record in steps if 'loss' in record] == [
    1, 2, 3, 4, 5, 6
  ]  # fmt: skip


def test_a_search_that_diverges_is_refused(tmp_path):
  scheme = 'autobalance(every=1, batches=1, epochs=1.0, step_size=1e4)'
  exp = build(**{'objective.scheme': scheme})
  with pytest.raises(training.DivergedError, match='step_size=1000'):
    experiment.run(exp, workdir=tmp_path)
  assert not (tmp_path / 'found.json').exists()


def test_what_is_no_search_is_refused():
  for scheme, message in (
    ('autobalance(start=1.0)', 'none of the .* steps'),
    ('autobalance(hold_out=2.0)', 'hold_out'),
  ):
    with pytest.raises(experiment.ConfigError, match=message):
      build(**{'objective.scheme': scheme})
  with pytest.raises(experiment.ConfigError, match='has a loss of its own'):
    build(**{'objective.loss': 'focal'})


def test_runs_that_search_are_not_stacked(tmp_path):
  exp = build()
  experiment.compare({'a': exp}, seeds=2, workdir=tmp_path, stacked=True)
  for seed in (0, 1):
    folder = tmp_path / 'a' / f'seed_{seed}'
    assert (folder / 'found.json').exists()
    summary = json.loads((folder / 'summary.json').read_text())
    # What the search took is part of what the method costs.
    own = (
      summary['steps']
      + summary['search_steps'] * (summary['search_cost_sgd_steps'])
    )
    assert summary['cost_sgd_steps'] == pytest.approx(own / summary['steps'])


def test_a_first_checkpoint_that_was_interrupted(whole, tmp_path):
  exp, result = whole
  folder = tmp_path / 'run'
  shutil.copytree(result.workdir, folder)
  for name in ('summary.json', 'metrics.jsonl'):
    (folder / name).unlink()
  shutil.rmtree(folder / 'checkpoints')
  (folder / 'checkpoints' / '3.orbax-checkpoint-tmp').mkdir(parents=True)
  again = experiment.run(exp, workdir=folder)
  chex.assert_trees_all_equal(again.state.params, result.state.params)
  chex.assert_trees_all_equal(again.state.loss_state, result.state.loss_state)


def test_the_search_may_be_removed_once_the_run_has_begun(whole, tmp_path):
  exp, result = whole
  folder = tmp_path / 'run'
  shutil.copytree(result.workdir, folder)
  shutil.rmtree(folder / 'search')
  (folder / 'summary.json').unlink()
  again = experiment.run(exp, workdir=folder)
  chex.assert_trees_all_equal(again.state.params, result.state.params)
  assert 'search_steps' not in again.summary
