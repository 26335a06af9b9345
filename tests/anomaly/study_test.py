# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The programs of anomaly detection: files, numbers, messages, exit codes."""

import json
import pathlib

import numpy as np
import pytest

from imbsam_jax import anomaly
from imbsam_jax import data
from imbsam_jax import experiment as experiment_lib
from imbsam_jax import metrics
from imbsam_jax import training
from imbsam_jax._runs import folder as folder_lib
from imbsam_jax.anomaly import study
from imbsam_jax.anomaly.study import _config as _config_lib
from imbsam_jax.anomaly.study import _run
from imbsam_jax.anomaly.study.recipes import anomaly as anomaly_configs
from tests import programs

_ROOT = pathlib.Path(__file__).parents[2]
_CONFIG = '--config=experiments/configs/anomaly.py'
_SMALL = {
  'detector.hidden_sizes': (8,),
  'detector.embedding_size': 4,
  'detector.epochs': 3,
  'detector.pretrain_epochs': 2,
  'data.labeled_anomaly_ratio': 0.1,
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Two tables, in two kinds of files."""
  folder = tmp_path_factory.mktemp('tables')
  rng = np.random.default_rng(0)
  normal = rng.normal(size=(150, 3))
  far = rng.normal(4, 1, size=(50, 3))
  rows, labels = np.r_[normal, far], np.r_[np.zeros(150, int), np.ones(50, int)]
  np.savez(folder / 'first.npz', X=rows, y=labels)
  lines = [
    ','.join(map(str, [*row, label]))
    for row, label in zip(rows.round(3), labels, strict=True)
  ]
  (folder / 'second.csv').write_text('\n'.join(['a,b,c,label', *lines]))
  return folder


def _config(folder, word='imbsam', **changes):
  changes = {name.replace('__', '.'): value for name, value in changes.items()}
  path = {'data.path': str(folder / 'first.npz')}
  return experiment_lib.replace(
    anomaly_configs.get_config(word), _SMALL | path | changes
  )


@pytest.fixture(scope='module')
def program_run(folder, tmp_path_factory):
  workdir = tmp_path_factory.mktemp('run')
  small = [f'--config.{name}={value}' for name, value in _SMALL.items()]
  result = programs.call(
    'anomaly',
    f'{_CONFIG}:imbsam',
    f'--config.data.path={folder / "first.npz"}',
    f'--workdir={workdir}',
    *small,
  )
  assert result.returncode == 0, result.stderr
  return workdir, result.stdout


def test_program_prints_what_it_does(program_run):
  _, output = program_run
  assert '200 rows, 3 features, 50 anomalies (25.0%)' in output
  assert 'deep_sad: 100 training rows, 10 labeled anomalies' in output
  assert '80 test rows, 20 anomalies' in output
  assert 'imbsam, 2.67 SGD steps per step' in output
  assert '| AUROC' in output


def test_program_leaves_files_that_agree(folder, program_run):
  workdir, _ = program_run
  assert {path.name for path in workdir.iterdir()} == {
    'config.json',
    'detector.npz',
    'scores.csv',
    'scores.png',
    'summary.json',
    'table.json',
  }
  rows = training.read_csv(workdir / 'scores.csv')
  scores = np.array([float(row['score']) for row in rows])
  labels = np.array([int(row['label']) for row in rows])
  summary = json.loads((workdir / 'summary.json').read_text())
  found = metrics.anomaly_metrics(scores, labels)
  for name, value in found.items():
    assert summary[name] == pytest.approx(value, rel=1e-6)
  # The detector takes rows as the table has them.
  detector = anomaly.DeepSAD.load(workdir / 'detector.npz')
  table = data.read_table(folder / 'first.npz')
  picked = [int(row['row']) for row in rows]
  np.testing.assert_allclose(
    detector.decision_function(table.features[picked]), scores, rtol=1e-6
  )
  np.testing.assert_array_equal(table.labels[picked], labels)


def test_program_refuses_the_folder_of_another_run(folder, program_run):
  workdir, _ = program_run
  with pytest.raises(
    experiment_lib.ConfigError, match=r'detector.rho: 0.02 there, 0.1 now'
  ):
    folder_lib.claim(workdir, _config(folder, detector__rho=0.1))


@pytest.mark.parametrize(
  ('arguments', 'code', 'message'),
  [
    (['--config.data.path=missing.npz'], 3, 'missing.npz'),
    ([], 2, '--config.data.path=FILE'),
    (['--config.data.path=a.npz', '--config.data.name=cardio'], 2, 'or'),
    (['--config.data.protocol=own'], 2, 'deep_sad, adbench'),
    (['--config.detector.rhoo=1'], 2, "Did you mean 'detector.rho'"),
  ],
)
def test_mistakes_end_in_a_message(arguments, code, message, tmp_path):
  result = programs.call(
    'anomaly',
    f'{_CONFIG}:imbsam',
    f'--workdir={tmp_path}',
    *arguments,
  )
  assert result.returncode == code, result.stderr
  assert message in result.stderr
  assert 'Traceback' not in result.stderr


def test_unknown_method_names_the_nearest():
  result = programs.call('anomaly', f'{_CONFIG}:imbsan', '--workdir=unused')
  assert result.returncode == 2
  assert "Did you mean 'imbsam'" in result.stderr


def test_help_lists_the_methods():
  result = programs.call('anomaly', f'{_CONFIG}:help')
  assert result.returncode == 0
  for word in _config_lib.WORDS:
    assert f'\n{word} ' in f'\n{result.stdout}'


def test_a_configuration_of_classifiers_is_refused(tmp_path):
  result = programs.call(
    'anomaly',
    '--config=experiments/configs/digits_lt.py:imbsam',
    f'--workdir={tmp_path}',
  )
  assert result.returncode == 2
  assert 'must give imbsam_jax.anomaly.study.Config' in result.stderr


def test_data_and_settings_that_do_not_go_together(folder):
  config = _config(folder, data__protocol='adbench', data__pollution_ratio=0.1)
  with pytest.raises(ValueError, match='belongs to'):
    study.check(config)


def test_bad_hyperparameters_are_usage_errors(folder):
  config = _config(folder, detector__rho=-1.0)
  table = study.read(config.data)
  splits = [study.split(config, table, 0)]
  with pytest.raises(experiment_lib.ConfigError, match='rho'):
    study.fit(config, splits, [0])


def test_validation_never_sees_test_rows(folder):
  config = _config(folder)
  table = study.read(config.data)
  test = study.split(config, table, 3).test
  validation = study.split(
    experiment_lib.replace(config, {'final_split': 'validation'}), table, 3
  )
  seen = np.r_[validation.train, validation.test]
  assert not (seen[:, None] == test[None]).all(axis=-1).any()


def test_fields_are_the_arguments_of_the_detector():
  fields = experiment_lib.flatten(study.Detector())
  parameters = anomaly.DeepSAD().get_params()
  assert parameters.pop('seed') == 0
  # The configuration file takes the method as its word.
  assert fields.pop('method') == 'sgd'
  assert parameters.pop('method') == 'imbsam'
  assert fields == parameters


@pytest.fixture(scope='module')
def comparison(folder, tmp_path_factory):
  workdir = tmp_path_factory.mktemp('comparison')
  words = ('deep_svdd', 'sgd', 'imbsam')
  configs = {
    word: experiment_lib.replace(
      _config(folder, word), _config_lib.WORDS[word][1]
    )
    for word in words
  }
  tables = {
    path.stem: study.Data(path=str(path)) for path in sorted(folder.iterdir())
  }

  def compare():
    return study.compare(configs, tables, [0.05, 0.5], 3, workdir)

  return compare, compare(), workdir


def test_comparison_has_every_cell(comparison):
  _, content, workdir = comparison
  assert content == json.loads((workdir / 'comparison.json').read_text())
  assert set(content['tables']) == {'first', 'second'}
  for ratios in content['tables'].values():
    methods = ratios['0.05']['methods']
    assert list(methods) == ['isolation_forest', 'deep_svdd', 'sgd', 'imbsam']
    for found in methods.values():
      assert found['auroc']['runs'] == 3
      assert 0 <= found['auroc']['mean'] <= 1
    assert methods['imbsam']['num_labeled_anomalies']['mean'] == 4
    assert methods['deep_svdd']['num_labeled_anomalies']['mean'] == 0
  text = (workdir / 'comparison.md').read_text()
  assert '| AUROC, 0.05 labeled |' in text
  assert '`imbsam_jax.anomaly.study.compare`, 20' in text


def test_comparison_reads_tables_as_configured(tmp_path):
  # Labels in the first column; those in the last would be refused.
  lines = ['1,0.5,7', *(f'0,{i}.5,8' for i in range(20)), '1,0.1,9'] * 2
  (tmp_path / 'table.csv').write_text('\n'.join(lines))
  config = _config(tmp_path, 'sgd', data__label='0', data__path=None)
  place = study.Data(path=str(tmp_path / 'table.csv'))
  said = []
  content = study.compare(
    {'sgd': config},
    {'table': place},
    [0.5],
    1,
    tmp_path / 'runs',
    say=said.append,
  )
  assert content == {'tables': {'table': {'0.5': {'methods': {}}}}}
  assert 'needs 24 anomalies in the training part, has 2' in said[0]


def test_comparison_says_where_anomalies_run_short(comparison):
  _, content, workdir = comparison
  assert content['tables']['first']['0.5'] == {'methods': {}}
  assert 'needs 90 anomalies' in (workdir / 'comparison.md').read_text()


def test_stacked_seeds_are_the_single_runs(folder, comparison):
  _, _, workdir = comparison
  stored = json.loads(
    (workdir / 'first' / '0.05' / 'imbsam' / 'summary.json').read_text()
  )
  config = _config(folder, data__labeled_anomaly_ratio=0.05)
  table = study.read(config.data)
  split = study.split(config, table, 2)
  (run,) = study.fit(config, [split], [2])
  assert run.summary['auroc'] == pytest.approx(
    stored['runs'][2]['auroc'], abs=2e-3
  )


def test_complete_cells_are_not_fitted_again(comparison, monkeypatch):
  compare, content, _ = comparison

  def fail(*arguments, **options):
    raise AssertionError('fitted again')

  monkeypatch.setattr(_run, 'fit', fail)
  assert compare() == content


def test_tables_by_folder_file_and_name(folder, tmp_path):
  result = programs.call(
    'compare_anomaly',
    _CONFIG,
    f'--tables={tmp_path}',
    f'--workdir={tmp_path}',
  )
  assert result.returncode == 2
  assert 'there is no .npz, .mat, .csv file' in result.stderr
