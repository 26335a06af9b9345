# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The programs as a user meets them: output, files, messages, exit codes."""

import json
import pathlib
import re
import subprocess
import sys

import chex
import jax
import numpy as np
import pytest

from imbsam_jax import experiment as experiment_lib
from imbsam_jax import methods
from imbsam_jax import models
from imbsam_jax import training
from imbsam_jax._runs import fields
from imbsam_jax._runs import folder as folder_lib
from imbsam_jax._runs import statistics
from imbsam_jax.experiment import _field_checks
from imbsam_jax.experiment.recipes import digits_lt
from tests import programs

_ROOT = pathlib.Path(__file__).parents[2]
_DIGITS = 'experiments/configs/digits_lt.py'
# Small enough to run often.
_SMALL = {
  'model.name': 'mlp',
  'epochs': 2.0,
  'save_every': 1.0,
  'data.batch_size': 32,
}


@pytest.fixture(scope='session')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('runs')


def _config(tfds_dir, word='imbsam', **changes):
  changes = {name.replace('__', '.'): value for name, value in changes.items()}
  return experiment_lib.replace(
    digits_lt.get_config(word), _SMALL | {'data.data_dir': tfds_dir} | changes
  )


def _fields(tfds_dir):
  if not tfds_dir:
    return []
  small = _SMALL | {'data.data_dir': tfds_dir}
  return [f'--config.{key}={value}' for key, value in small.items()]


def _call(name, *arguments, tfds_dir=None):
  """Calls a program in this process: exit code, output, errors."""
  done = programs.call(name, *_fields(tfds_dir), *arguments)
  return done.returncode, done.stdout, done.stderr


def _program(name, *arguments, tfds_dir=None):
  """Runs a program as from the shell: exit code, output, errors."""
  done = programs.run(f'experiments.{name}', *_fields(tfds_dir), *arguments)
  assert 'Traceback' not in done.stderr, done.stderr
  return done.returncode, done.stdout, done.stderr


# ---------------------------------------------------------------- train


@pytest.fixture(scope='session')
def trained(folder, tfds_dir):
  """A run through the command line."""
  workdir = folder / 'imbsam'
  done = _program(
    'train',
    f'--config={_DIGITS}:imbsam',
    f'--workdir={workdir}',
    tfds_dir=tfds_dir,
  )
  return workdir, done


def test_train_prints_a_header_and_a_table(trained):
  _, (code, out, _) = trained
  assert code == 0
  assert 'digits, 10 classes, 335 training images' in out
  assert 'head and tail rows apart, expected cost 1.16 SGD steps' in out
  assert '| top-1 | balanced |' in out


def test_train_leaves_its_files(trained):
  workdir, _ = trained
  assert {path.name for path in workdir.iterdir()} == {
    'accuracy_by_frequency.png',
    'checkpoints',
    'config.json',
    'confusions.csv',
    'data.json',
    'model.json',
    'metrics.jsonl',
    'per_class.csv',
    'predictions.npz',
    'summary.json',
  }
  summary = json.loads((workdir / 'summary.json').read_text())
  for name in (
    'top1', 'balanced', 'many', 'medium', 'few', 'head', 'tail',
    'worst_class', 'g_mean', 'macro_f1', 'ece',
  ):  # fmt: skip
    assert summary[name] is None or 0 <= summary[name] <= 1, name
  assert summary['num_train'] == 335
  assert summary['steps'] == 21
  # round(32 * 51 / 335) = 5 tail rows of 32, twice.
  assert summary['cost_sgd_steps'] == pytest.approx(37 / 32, abs=1e-4)
  assert len(summary['params_sha256']) == 64
  assert {'python', 'jax', 'optax'} <= set(summary['versions'])
  rows = training.read_csv(workdir / 'per_class.csv')
  accuracies = [float(row['accuracy']) for row in rows]
  assert np.mean(accuracies) == pytest.approx(summary['balanced'])
  counts = [int(row['train_count']) for row in rows]
  tail = [a for a, n in zip(accuracies, counts, strict=True) if n < 20]
  assert np.mean(tail) == pytest.approx(summary['tail'])


def test_sha256_is_that_of_the_checkpoint(trained, tfds_dir):
  workdir, _ = trained
  config = fields.from_json(workdir / 'config.json', experiment_lib.Config)
  experiment = experiment_lib.build(config)
  with training.Checkpoints(workdir / 'checkpoints') as checkpoints:
    state, _ = checkpoints.restore(experiment.init(0))
  summary = json.loads((workdir / 'summary.json').read_text())
  assert training.params_sha256(state.params) == summary['params_sha256']


@pytest.mark.extended
def test_config_json_repeats_the_run(trained, folder):
  workdir, _ = trained
  again = folder / 'again'
  code, _, _ = _program(
    'train',
    f'--config=experiments/configs/from_json.py:{workdir}/config.json',
    f'--workdir={again}',
  )
  assert code == 0
  for name in ('metrics.jsonl', 'per_class.csv', 'config.json'):
    assert (again / name).read_text() == (workdir / name).read_text()
  one, two = (
    json.loads((path / 'summary.json').read_text()) for path in (workdir, again)
  )
  assert one['params_sha256'] == two['params_sha256']


def test_evaluate_agrees_with_the_summary(trained):
  workdir, _ = trained
  code, out, _ = _call('evaluate', f'--workdir={workdir}')
  summary = json.loads((workdir / 'summary.json').read_text())
  assert code == 0
  cells = out.splitlines()[-1].split('|')
  assert float(cells[1]) == pytest.approx(100 * summary['top1'], abs=0.051)
  code, out, _ = _call(
    'evaluate',
    f'--workdir={workdir}',
    '--split=validation',
    '--checkpoint=best',
  )
  assert code == 0 and 'validation set' in out


@pytest.mark.faults
def test_f7_workdir_of_another_configuration_is_refused(trained, tfds_dir):
  workdir, _ = trained
  before = (workdir / 'config.json').read_text()
  code, _, error = _call(
    'train',
    f'--config={_DIGITS}:imbsam',
    f'--workdir={workdir}',
    '--config.optimizer.rho=0.7',
    '--config.seed=3',
    tfds_dir=tfds_dir,
  )
  assert code == 2
  assert 'optimizer.rho: 0.2 there, 0.7 now' in error
  assert 'seed: 0 there, 3 now' in error
  assert (workdir / 'config.json').read_text() == before


def test_failed_start_does_not_claim_the_folder(tmp_path, tfds_dir):
  workdir = tmp_path / 'run'
  # The folder as a run leaves it that never began:
  workdir.mkdir()
  other = _config(tfds_dir, 'sam')
  training.write_json(workdir / 'config.json', fields.to_json(other))
  folder_lib.claim(workdir, _config(tfds_dir, 'imbsam'))
  found = fields.from_json(workdir / 'config.json', experiment_lib.Config)
  assert found.optimizer.method == 'imbsam'


def test_dry_run(tfds_dir):
  code, out, _ = _call(
    'train', f'--config={_DIGITS}:sse_sam', '--dry_run', tfds_dir=tfds_dir
  )
  assert code == 0
  assert '2 steps, evaluation, save and restore went well' in out
  assert re.search(r'ms per step, about \d+ s for 21 steps', out)
  assert 'MiB per checkpoint' in out


# -------------------------------------------------------------- compare


@pytest.mark.extended
def test_compare(folder, tfds_dir):
  workdir = folder / 'compare'
  arguments = [
    f'--config={_DIGITS}', '--methods=sgd,rsam', '--seeds=2',
    f'--workdir={workdir}',
  ]  # fmt: skip
  code, out, _ = _program('compare', *arguments, tfds_dir=tfds_dir)
  assert code == 0
  assert '2 seeds' in out and 'tail' in out.splitlines()[-3]
  content = json.loads((workdir / 'comparison.json').read_text())
  assert list(content['methods']) == ['sgd', 'rsam']
  summaries = [
    json.loads((workdir / f'sgd/seed_{seed}/summary.json').read_text())
    for seed in (0, 1)
  ]
  assert summaries[0]['params_sha256'] != summaries[1]['params_sha256']
  found = content['methods']['sgd']
  for name in ('top1', 'tail', 'macro_f1', 'cost_sgd_steps', 'seconds'):
    values = [summary[name] for summary in summaries]
    assert found[name] == {
      'mean': pytest.approx(np.mean(values)),
      'std': pytest.approx(np.std(values, ddof=1)),
      'runs': 2,
    }
  assert (workdir / 'accuracy_by_frequency.png').exists()
  assert (
    out[out.index('| accuracy') :].splitlines()[0]
    in (workdir / 'comparison.md').read_text()
  )
  code, out, _ = _program('compare', *arguments, tfds_dir=tfds_dir)
  assert code == 0 and out.count('(complete before)') == 4
  code, _, error = _program(
    'compare', *arguments, '--config.seed=3', tfds_dir=tfds_dir
  )
  assert code == 2 and '--config.seed is set by --seeds' in error


def test_empty_group_is_null():
  found = statistics.over_runs([{'many': None, 'top1': 0.5}])
  assert found['many'] == {'mean': None, 'std': None, 'runs': 0}
  assert found['top1'] == {'mean': 0.5, 'std': 0.0, 'runs': 1}


def test_finding_says_so_if_nothing_helps():
  def entry(tail):
    number = {'mean': tail, 'std': 0.01, 'runs': 3}
    return {
      name: number for name in ('tail', 'top1', 'balanced', 'cost_sgd_steps')
    }

  text = experiment_lib.finding(
    {'methods': {'sgd': entry(0.8), 'sam': entry(0.7)}}
  )
  assert 'No method is better than sgd' in text
  better = entry(0.9) | {'balanced': entry(0.6)['tail']}
  text = experiment_lib.finding({'methods': {'sgd': entry(0.8), 'sam': better}})
  assert 'On the tail classes sam is best with 90.0 +- 1.0 %' in text
  assert 'Over all classes sgd is best with 80.0 +- 1.0 % balanced' in text


@pytest.mark.extended
def test_compare_by_update_rule(tmp_path, tfds_dir):
  arguments = [
    f'--config={_DIGITS}', '--methods=ce,vs', '--links=sgd,rsam', '--seeds=1',
    f'--workdir={tmp_path}', '--config.epochs=0.2',
  ]  # fmt: skip
  code, out, _ = _call('compare', *arguments, tfds_dir=tfds_dir)
  assert code == 0
  content = json.loads((tmp_path / 'comparison.json').read_text())
  assert list(content['methods']) == ['sgd', 'rsam', 'sgd+vs', 'rsam+vs']
  lines = out[out.index('| accuracy') :].splitlines()
  cells = [cell.strip() for cell in lines[0].split('|')[1:-1]]
  assert cells[:5] == [
    'accuracy, %', 'balanced, sgd', 'balanced, rsam', 'tail, sgd', 'tail, rsam',
  ]  # fmt: skip
  row = [cell.strip() for cell in lines[3].split('|')[1:-1]]
  assert row[0] == 'vs'
  tail = content['methods']['rsam+vs']['tail']['mean']
  assert row[4].startswith(f'{100 * tail:.1f} +-')


def test_help_lists_the_words():
  code, out, _ = _call('train', f'--config={_DIGITS}:help')
  assert code == 0 and re.search(r'(?m)^  ldam_drw .* = ldam\+drw$', out)


# ---------------------------------------------------------------- calibrate


@pytest.mark.extended
def test_calibrate(trained):
  workdir, _ = trained
  code, out, error = _call('calibrate', f'--workdir={workdir}')
  assert code == 0, error
  content = json.loads((workdir / 'calibration.json').read_text())
  found = content['methods']
  assert list(found) == [
    'none', 'logit_adjustment', 'tau_normalization', 'ncm', 'lws', 'marc',
    'crt',
  ]  # fmt: skip
  summary = json.loads((workdir / 'summary.json').read_text())
  assert content['step'] == summary['steps']
  for name in ('top1', 'balanced', 'tail', 'ece'):
    assert found['none']['test'][name] == pytest.approx(summary[name], abs=1e-6)
  # The checkpoint itself is among the candidates (tau = 0).
  balanced = {k: v['validation']['balanced'] for k, v in found.items()}
  assert balanced['logit_adjustment'] >= balanced['none']
  assert out.count('\n| ') == 1 + 1 + len(found)
  (workdir / 'calibration.json').unlink()


def test_calibrate_chooses_on_validation(trained, tfds_dir):
  workdir, _ = trained
  experiment, state = experiment_lib.restore(workdir, 'last')
  found = experiment_lib.calibrate(
    experiment, state, ['logit_adjustment']
  ).methods
  logits, labels = _logits(experiment, state, experiment.data.validation)
  prior = np.log(experiment.data.class_counts / experiment.num_train)
  by_tau = [
    np.mean([
      np.mean((logits - tau * prior).argmax(axis=1)[labels == c] == c)
      for c in range(10)
    ])
    for tau in np.arange(21) / 10
  ]  # fmt: skip
  result = found['logit_adjustment']
  assert result['chosen']['tau'] == pytest.approx(np.argmax(by_tau) / 10)
  assert result['validation']['balanced'] == pytest.approx(max(by_tau))
  logits, labels = _logits(experiment, state, experiment.data.test)
  adjusted = logits - result['chosen']['tau'] * prior
  top1 = np.mean(adjusted.argmax(axis=1) == labels)
  assert result['test']['top1'] == pytest.approx(top1)


def _logits(experiment, state, examples):
  _, logits = training.over_examples(
    experiment.feature_step,
    state.variables,
    examples,
    batch_size=32,
    mesh=experiment.mesh,
  )
  return logits.astype(np.float64), examples.labels


@pytest.mark.parametrize('words', ['pal', 'ldam_drw'])
@pytest.mark.extended
def test_calibrate_on_cosines(words, tfds_dir):
  experiment = experiment_lib.build(_config(tfds_dir, words))
  found = experiment_lib.calibrate(
    experiment, experiment.init(0), ['none', 'tau_normalization', 'ncm', 'crt']
  )
  assert found.methods['tau_normalization'] is None
  assert 'needs a linear head' in found.table()
  # Features of an untrained network are worth something to a new head.
  assert found.methods['crt']['validation']['balanced'] > 0.5


@pytest.mark.parametrize(
  ('arguments', 'expected'),
  [
    (['--methods=lsw'], "unknown method 'lsw'; there are none, logit_adj"),
    (['--checkpoint=first'], "must be 'last', 'best' or a number"),
    (['--checkpoint=7'], 'there is no checkpoint of step 7'),
    (['--workdir=/nowhere'], 'config.json'),
  ],
)
def test_calibrate_errors(arguments, expected, trained):
  workdir, _ = trained
  code, _, error = _call('calibrate', f'--workdir={workdir}', *arguments)
  assert code in (2, 5) and expected in error


def test_calibrate_needs_validation_images(tfds_dir):
  config = _config(tfds_dir, 'sgd', data__validation_per_class=0)
  experiment = experiment_lib.build(config)
  with pytest.raises(
    experiment_lib.ConfigError, match='validation_per_class=20'
  ):
    experiment_lib.calibrate(experiment, experiment.init(0), ['ncm'])


# --------------------------------------------------------- user's mistakes


def test_norms_of_the_field_are_those_of_models():
  assert set(_field_checks._CHOICES['model.norm']) == set(models.NORMS)


@pytest.mark.parametrize(
  ('arguments', 'expected'),
  [
    ([f'--config={_DIGITS}:imbsan'], "'imbsam'?(.|\n)*sse_sam"),
    (['--config.optimizer.roh=0.1'], "Did you mean 'optimizer.rho'"),
    (['--config.optimzer.rho=0.1'], "Did you mean 'optimizer.rho'"),
    (['--config.epochs=many'], 'epochs=many'),
    (
      ['--config.data.profile=pareto'],
      'one of exp, step, natural, got .pareto.',
    ),
    (['--config.data.imbalance_factor=0.05'], 'at least 1, got 0.05[^0-9].*20'),
    (['--config.optimizer.rho=-1'], 'optimizer.rho must be from 0 to'),
    (
      [f'--config={_DIGITS}:sse_sam', '--config.optimizer.switch=2'],
      'switch must be from 0 to 1, got 2.0',
    ),
    (['--config.optimizer.clip_norm=-1'], 'clip_norm must be from'),
    (['--config.many_above=10'], 'many_above must be at least'),
    ([f'--config={_DIGITS}:ldam,vs'], 'cannot be combined'),
    ([f'--config={_DIGITS}:vs,drw'], '`vs` and `drw` both correct'),
    (['--config.objective.loss=ldam', '--config.model.head=linear'], 'cosines'),
    (['--config.objective.loss=ldam(margin=1)'], 'no parameter .margin'),
    (['--config.objective.loss=ldam)'], 'cannot be read'),
    (['--config.data.sampler=balanced'], 'must be one of shuffle, class_aware'),
    (['--config.optimizer.threshold=5'], 'leaves no tail class'),
    (['--config.data.batch_size=33'], 'batch_size must be a multiple of'),
    (
      ['--config.optimizer.num_microbatches=5'],
      f'multiple of {5 * jax.device_count()}, the devices times',
    ),
    (['--config.model.name=resnet'], 'must be one of(.|\n)*resnet20'),
    (['--config.model.norm=batch', '--config.optimizer.rows=split'], 'BatchNo'),
    (
      ['--config.model.norm=dar_batch', '--config.optimizer.rows=split'],
      'not exact with BatchNorm',
    ),
    (['--workdir='], 'pass --workdir'),
    (['--workdri=x'], 'Did you mean(.|\n)*workdir'),
    (['runs/x'], "unexpected argument 'runs/x'"),
    (['--config=experiments/configs/nothing.py:sgd'], 'cannot be read'),
    (
      [
        '--config.final_split=validation',
        '--config.data.validation_per_class=0',
      ],
      'needs images to be set aside',
    ),
  ],
)
def test_usage_errors(arguments, expected, tmp_path, tfds_dir):
  if not any(argument.startswith('--config=') for argument in arguments):
    arguments = [*arguments, f'--config={_DIGITS}:imbsam']
  code, _, error = _call(
    'train', f'--workdir={tmp_path / "x"}', *arguments, tfds_dir=tfds_dir
  )
  assert code == 2, error
  assert re.search(expected, error), error
  assert not (tmp_path / 'x').exists()


def test_data_errors(tmp_path, tfds_dir):
  code, _, error = _call(
    'train',
    f'--workdir={tmp_path / "x"}',
    f'--config={_DIGITS}:imbsam',
    '--config.data.name=cifar10',
    tfds_dir=tfds_dir,
  )
  assert code == 3 and '--config.data.data_dir=DIR' in error
  code, _, error = _call(
    'train',
    f'--workdir={tmp_path / "x"}',
    f'--config={_DIGITS}:imbsam',
    '--config.data.max_count=400',
    tfds_dir=tfds_dir,
  )
  assert code == 3 and 'class 0 has 104 examples' in error


def test_no_configuration(tmp_path):
  for arguments in ([], ['--config.epochs=3']):
    code, _, error = _call('train', f'--workdir={tmp_path}', *arguments)
    assert code == 2 and 'Pass a configuration, such as --config=' in error


def test_evaluate_without_a_run(tmp_path):
  code, _, error = _call('evaluate', f'--workdir={tmp_path}')
  assert code == 2 and 'config.json' in error


@pytest.mark.parametrize('name', ['train', 'evaluate', 'compare', 'calibrate'])
def test_help_does_not_wait_for_jax(name):
  code = (
    'import runpy, sys; sys.argv = ["x", "--help"]\n'
    f'try: runpy.run_module("experiments.{name}", run_name="__main__")\n'
    'except SystemExit: pass\n'
    'heavy = {"jax", "flax", "optax", "tensorflow_datasets"}\n'
    'print("heavy:", *sorted(heavy & set(sys.modules)))'
  )
  done = subprocess.run(
    [sys.executable, '-c', code], cwd=_ROOT, capture_output=True, text=True
  )
  assert '--workdir' in done.stdout
  assert done.stdout.splitlines()[-1] == 'heavy:'


# ------------------------------------------------------- in this process


# Every word of every axis once, in few programs.
_COMBINATIONS = (
  'sgd,focal,cb,mixup', 'sam,sigmoid_focal,inverse_frequency',
  'imbsam,balanced_softmax,cmo', 'sse_sam,logit_adjustment,instance_sampling',
  'focal_sam,ce', 'rsam,vs', 'imbsam,arb,class_balanced_sampling',
  'sgd,distribution_balanced', 'look_sam,ldam,grw,remix', 'imbsam,mm,drw',
  'sgd,mm_ldam,ppw', 'momentum_imbsam,gcl,square_root_sampling',
  'imbsam,ppl_cri',
  'sgd,normface,absgd,zero_centroid', 'sgd,cosface,effective_number_sampling',
  'imbsam,lm_softmax,progressive_sampling', 'gsam,gm_softmax,reversed_sampling',
  'friendly_sam,sample_margin,class_aware_sampling', 'sgd,etf,drs',
  'sgd,cdt,bilateral_mix', 'sgd,pal,margin_penalty', 'imbsam,autobalance',
  'imbsam,bbn', 'sgd,dbn_mix', 'sgd,rescom', 'imbsam,ldam_drw,open_sampling',
  'imbsam,pure_noise', 'sgd,cc_sam',
)  # fmt: skip


def test_every_word_is_in_a_combination():
  used = {w for words in _COMBINATIONS for w in methods.split(words)}
  # Those that need a finished run have tests of their own.
  single = {
    w
    for w, meaning in methods.words().items()
    if not meaning.means and not methods.fine_tunes(w)
    # So have those that tune a pre-trained trunk.
    if 'model.tuning' not in meaning.sets
  }
  assert used == single


@pytest.mark.parametrize('words', _COMBINATIONS)
def test_every_method_can_be_traced(words, tfds_dir):
  experiment = experiment_lib.build(_config(tfds_dir, words, epochs=8.0))
  state = jax.eval_shape(lambda: experiment.init(0))
  batch = experiment.put(experiment.batches(0)[0])
  after, metrics = jax.eval_shape(experiment.train_step(0), state, batch)
  chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
  assert metrics['loss'].shape == ()


# One of each kind: mixing, sampling, class weights, a state of the loss.
_TRAINED = (
  'sgd,cdt,bilateral_mix',
  'sse_sam,logit_adjustment,instance_sampling',
  'sgd,mm_ldam,ppw',
  'sgd,normface,absgd,zero_centroid',
  'rsam,vs',
)


@pytest.mark.parametrize(
  'words',
  [
    words
    if words in _TRAINED
    else pytest.param(words, marks=pytest.mark.extended)
    for words in _COMBINATIONS
  ],
)
def test_every_method_trains(words, tmp_path, tfds_dir):
  # CMO mixes after its third epoch.
  epochs = 8.0 if 'cmo' in words else 0.3
  experiment = experiment_lib.build(_config(tfds_dir, words, epochs=epochs))
  summary = experiment_lib.run(experiment, seed=0, workdir=tmp_path).summary
  assert summary['skipped_steps'] == 0
  assert 0 < summary['top1'] <= 1


@pytest.mark.parametrize(
  'word',
  [
    'imbsam',
    'rsam',
    'sam,absgd,ppmix,ldam',
    'imbsam,pps,gcl',
    'momentum_imbsam',
    'sam(average_decay=0.9)',
    'sse_sam(average_decay=0.9)',
    'look_sam',
    'friendly_sam',
  ],
)
@pytest.mark.extended
def test_stopped_run_ends_bit_identical(word, tmp_path, tfds_dir, monkeypatch):
  rule, bracket, _ = word.partition('(')
  own = {'optimizer.method': word} if bracket else {}
  experiment = experiment_lib.build(_config(tfds_dir, rule, **own))
  whole = experiment_lib.run(
    experiment, seed=7, workdir=tmp_path / 'whole'
  ).summary

  class StopError(Exception):
    pass

  fit = training.fit

  def stopping_fit(state, train_step, batches, **arguments):
    class Batches:
      def __getitem__(self, step):
        if step == 15:
          raise StopError
        return batches[step]

    return fit(state, train_step, Batches(), **arguments)

  monkeypatch.setattr(training, 'fit', stopping_fit)
  with pytest.raises(StopError):
    experiment_lib.run(experiment, seed=7, workdir=tmp_path / 'stopped')
  monkeypatch.setattr(training, 'fit', fit)
  resumed = experiment_lib.run(
    experiment, seed=7, workdir=tmp_path / 'stopped'
  ).summary
  times = ('seconds', 'images_per_second')
  assert {k: v for k, v in resumed.items() if k not in times} == {
    k: v for k, v in whole.items() if k not in times
  }
  for name in ('metrics.jsonl', 'per_class.csv'):
    assert (tmp_path / 'whole' / name).read_text() == (
      tmp_path / 'stopped' / name
    ).read_text()


@pytest.mark.faults
def test_f22_damaged_history_is_said(tmp_path, tfds_dir):
  experiment = experiment_lib.build(_config(tfds_dir, 'sgd', epochs=0.2))
  experiment_lib.run(experiment, seed=0, workdir=tmp_path)
  path = tmp_path / 'metrics.jsonl'
  lines = path.read_text().splitlines(keepends=True)
  path.write_text(''.join(lines[1:]))
  with pytest.raises(training.CheckpointError, match='every step up to'):
    experiment_lib.run(experiment, seed=0, workdir=tmp_path)
  path.write_text(lines[0][:9] + '\n' + ''.join(lines[1:]))
  with pytest.raises(training.CheckpointError, match='line 1: '):
    experiment_lib.run(experiment, seed=0, workdir=tmp_path)


@pytest.mark.extended
def test_stratified_and_shuffled_both_split_exactly(tfds_dir):
  ends = []
  for rows in ('split', 'joint'):
    experiment = experiment_lib.build(
      _config(tfds_dir, 'imbsam', optimizer__rows=rows, epochs=1.0)
    )
    state, batches = experiment.init(0), experiment.batches(0)
    for step in range(5):
      batch = experiment.put(batches[step])
      state, _ = experiment.train_step(step)(state, batch)
    ends.append(state.params)
  chex.assert_trees_all_close(*ends, rtol=1e-7, atol=2e-5)


@pytest.mark.parametrize(
  ('word', 'changes', 'cost'),
  [
    ('sam', {'optimizer.rho': 0.0}, 1.0),
    # 27 head and 5 tail rows on 8 devices, in one and in two micro-batches.
    ('imbsam', {'optimizer.rho': 0.0}, (32 + 8) / 32),
    ('imbsam', {'optimizer.num_microbatches': 2}, (32 + 2 * 16) / 32),
    ('imbsam', {'model.norm': 'batch'}, 8 / 3),
  ],
)
def test_cost_follows_the_configuration(word, changes, cost, tfds_dir):
  config = experiment_lib.replace(_config(tfds_dir, word), changes)
  experiment = experiment_lib.build(config)
  assert experiment.expected_cost() == pytest.approx(cost)


def test_cosines_are_scaled_in_prediction_too(tfds_dir):
  experiment = experiment_lib.build(
    _config(tfds_dir, 'normface', optimizer__learning_rate=0.03, epochs=4.0)
  )
  state, batches = experiment.init(0), experiment.batches(0)
  for step in range(experiment.num_steps):
    batch = experiment.put(batches[step])
    state, _ = experiment.train_step(step)(state, batch)
    # XLA gives up if, on a busy machine, one of eight devices is far behind.
    jax.block_until_ready(state)
  _, classes, *_ = experiment_lib.evaluate(experiment, state, 'test')
  # Ten raw cosines would give a softmax of at most e / (e + 9 / e) = 0.45.
  assert max(row['mean_confidence'] for row in classes) > 0.6


def test_switch_counts_whole_epochs(tfds_dir):
  config = _config(tfds_dir, 'sse_sam', epochs=10.0, optimizer__switch=0.61)
  experiment = experiment_lib.build(config)
  # ceil(0.61 * 10) = 7 epochs of 335 / 32 steps.
  assert experiment.method.stages[1].start == 74
  assert experiment_lib.build(
    _config(tfds_dir, 'sse_sam', optimizer__switch=0.0)
  ).method.stage(0).perturbed == (False, True)


def test_config_round_trip(tmp_path):
  config = experiment_lib.replace(
    digits_lt.get_config('sse_sam'),
    {'data.class_counts': (5, 4), 'optimizer.clip_norm': 2.0},
  )
  path = tmp_path / 'config.json'
  training.write_json(path, fields.to_json(config))
  assert fields.from_json(path, experiment_lib.Config) == config


def test_a_configuration_stays_readable():
  # Parameters of single methods belong into brackets, not into fields.
  assert len(experiment_lib.flatten(experiment_lib.Config())) < 81
