# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Loaded runs with what `calibrate` has fitted, and with another prior."""

import functools
import json
import shutil
from unittest import mock

import numpy as np
import pytest

from imbsam_jax import calibration as calibration_lib
from imbsam_jax import experiment
from imbsam_jax import metrics
from imbsam_jax import training
from imbsam_jax.experiment import _run_correction
from tests import programs


def _images(counts, seed):
  """Images in three classes with weak bars: some are classified wrong."""
  rng = np.random.RandomState(seed)
  labels = np.repeat(np.arange(3), counts)
  images = rng.randint(0, 200, (len(labels), 6, 6, 1))
  for label in range(3):
    images[labels == label, 2 * label : 2 * label + 2] += 40
  return images.astype(np.uint8), labels


_IMAGES, _LABELS = _images((20, 20, 20), 2)
_SOURCES = experiment.Sources(
  train=_images((30, 12, 6), 0),
  validation=_images((16, 16, 16), 1),
  test=(_IMAGES, _LABELS),
)


def _ran(folder, words, **fields):
  config = experiment.config(
    'own',
    words,
    {
      'epochs': 2,
      'save_every': 1.0,
      'data.batch_size': 16,
      'model.name': 'mlp',
      'model.norm': 'none',
      'optimizer.learning_rate': 0.02,
      **{name.replace('__', '.'): value for name, value in fields.items()},
    },
  )
  exp = experiment.build(config, data=_SOURCES)
  return exp, experiment.run(exp, workdir=folder)


def _calibrated(folder, names=None, **options):
  """`calibrate_runs`, with fits that are short."""
  with mock.patch.multiple(
    calibration_lib,
    **{
      name: functools.partial(
        getattr(calibration_lib, name), num_steps=20, batch_size=8
      )
      for name in ('fit_lws', 'fit_marc', 'fit_crt')
    },
  ):
    found = experiment.calibrate_runs(
      folder,
      names or experiment.calibrate.__defaults__[0],
      data=_SOURCES,
      **options,
    )
  return found.runs[folder]


@pytest.fixture(scope='module', name='run')
def _run(tmp_path_factory):
  """A run with mirror images and crops in its evaluation, calibrated."""
  folder = tmp_path_factory.mktemp('run')
  exp, _ = _ran(
    folder,
    'sgd',
    flip_test=True,
    test_views='five_crop(margin=1)',
  )
  return folder, exp, _calibrated(folder)


def _metrics(exp, classifier):
  probabilities = classifier(_IMAGES)
  found = metrics.classification_metrics(
    _LABELS,
    [one.class_index for one in classifier.predict(_IMAGES)],
    np.clip(probabilities.max(axis=1), 0, 1),
    class_counts=exp.data.class_counts,
    many_above=exp.config.many_above,
    few_below=exp.config.few_below,
    tail_below=exp.config.optimizer.threshold,
  )
  own = probabilities[np.arange(len(_LABELS)), _LABELS]
  return found, -np.log(own.astype(np.float64)).mean()


def test_each_method_is_what_calibrate_reports(run):
  folder, exp, found = run
  assert len(found.methods) == 7
  tops = set()
  for name, result in found.methods.items():
    wanted = 'temperature' if name == 'none' else name
    classifier = experiment.load_run(folder, batch_size=8, calibration=wanted)
    assert classifier.calibration == wanted
    scores, loss = _metrics(exp, classifier)
    for metric, value in scores.items():
      if metric != 'ece':
        assert value == result['test'][metric], (name, metric)
    sure = result['confidence']
    assert scores['ece'] == pytest.approx(sure['ece_temperature'], abs=1e-5)
    assert loss == pytest.approx(sure['nll_temperature'], rel=1e-4)
    tops.add(tuple(np.round(classifier(_IMAGES)[0], 6)))
  assert len(tops) == 7  # They tell something.


def test_none_is_the_evaluation(run):
  folder, exp, found = run
  classifier = experiment.load_run(folder, batch_size=8, calibration='none')
  assert classifier.calibration == 'none' and classifier.correction.is_none
  scores, loss = _metrics(exp, classifier)
  result = found.methods['none']
  assert scores['ece'] == pytest.approx(result['test']['ece'], abs=1e-5)
  assert loss == pytest.approx(result['confidence']['nll'], rel=1e-4)


def test_selected_is_the_default(run):
  folder, _, found = run
  expected = found.selected if found.selected != 'none' else 'temperature'
  default = experiment.load_run(folder, batch_size=8)
  one = experiment.load_run(folder, batch_size=8, calibration=expected)
  assert default.calibration == expected
  np.testing.assert_array_equal(default(_IMAGES), one(_IMAGES))


def test_scale_of_a_loss_on_cosines(tmp_path):
  exp, _ = _ran(tmp_path, 'ldam')
  plain = experiment.load_run(tmp_path, batch_size=8)
  assert plain.calibration == 'none'
  found = _calibrated(tmp_path, ['none', 'logit_adjustment', 'ncm'])
  for name in ('temperature', 'logit_adjustment', 'ncm'):
    classifier = experiment.load_run(tmp_path, batch_size=8, calibration=name)
    stored = found.methods['none' if name == 'temperature' else name]
    scores, loss = _metrics(exp, classifier)
    assert scores['top1'] == stored['test']['top1']
    assert loss == pytest.approx(
      stored['confidence']['nll_temperature'], rel=1e-4
    )
  # Logits by hand: the scale of the loss, the prior, the temperature.
  one = experiment.load_run(
    tmp_path, batch_size=8, calibration='logit_adjustment'
  )
  result = found.methods['logit_adjustment']
  counts = exp.data.class_counts
  expected = (
    exp.objective.logit_scale * plain.logits(_IMAGES)
    - result['chosen']['tau'] * np.log(counts / counts.sum())
  ) / result['temperature']
  np.testing.assert_allclose(
    one.logits(_IMAGES), expected, rtol=1e-4, atol=1e-4
  )


def _damaged(folder, run, name, change):
  shutil.copytree(run[0], folder, dirs_exist_ok=True)
  path = folder / name
  path.write_bytes(change(path.read_bytes()))


def test_damaged_files(run, tmp_path):
  def cut(x):
    return x[:-9]

  def flipped(x):
    return x[:300] + bytes([x[300] ^ 1]) + x[301:]

  def other_shape(x):
    return x.replace(b'"format": 2', b'"format": 3')

  def cold(x):
    content = json.loads(x)
    content['methods']['lws']['temperature'] = 0.0
    return json.dumps(content).encode()

  for number, (name, change) in enumerate(
    [
      ('calibration.npz', cut),
      ('calibration.npz', flipped),
      ('calibration.json', cut),
      ('calibration.json', other_shape),
      ('calibration.json', cold),
    ]
  ):
    folder = tmp_path / str(number)
    _damaged(folder, run, name, change)
    with pytest.raises(training.CheckpointError, match=f'{name} cannot be re'):
      experiment.load_run(folder, calibration='lws')
    done = programs.call(
      'predict',
      f'--workdir={folder}',
      f'--source={folder / "none.png"}',
      '--output=-',
    )
    assert done.returncode == 5 and 'calibrate`, again' in done.stderr
    assert experiment.load_run(folder, calibration='none').calibration == 'none'
  (folder / 'calibration.npz').unlink()
  shutil.copy(run[0] / 'calibration.json', folder)
  with pytest.raises(training.CheckpointError, match='calibration.npz'):
    experiment.load_run(folder)


def test_arrays_of_another_network(run, tmp_path):
  shutil.copytree(run[0], tmp_path / 'run')
  content = json.loads((tmp_path / 'run' / 'calibration.json').read_text())
  content['methods']['lws'], content['selected'] = (
    content['methods']['crt'],
    'lws',
  )
  (tmp_path / 'run' / 'calibration.json').write_text(json.dumps(content))
  with mock.patch.object(
    _run_correction._calibration_file,
    'correction',
    lambda *args: experiment._correction.Correction(
      'lws', {'scale': np.ones(5, np.float32)}
    ),
  ):
    with pytest.raises(training.CheckpointError, match='do not fit its netw'):
      experiment.load_run(tmp_path / 'run')


def test_names(run, tmp_path):
  with pytest.raises(experiment.ConfigError, match=r'has temperature, logit_'):
    experiment.load_run(run[0], calibration='banana')
  exp, _ = _ran(tmp_path, 'sgd')
  with pytest.raises(experiment.ConfigError, match='no calibration with arr'):
    experiment.load_run(tmp_path, calibration='crt')
  # What earlier versions wrote has metrics alone.
  (tmp_path / 'calibration.json').write_text('{"step": 6, "methods": {}}')
  assert experiment.load_run(tmp_path).calibration == 'none'
  del exp


def test_calibration_of_another_checkpoint(run, tmp_path):
  folder = tmp_path / 'run'
  shutil.copytree(run[0], folder)
  with pytest.raises(
    experiment.ConfigError, match='of step 6, and this is that of step 3'
  ):
    experiment.load_run(folder, checkpoint=3)
  done = programs.call(
    'predict',
    f'--workdir={folder}',
    '--checkpoint=3',
    f'--source={tmp_path}',
    '--output=-',
  )
  assert done.returncode == 2
  assert 'Pass --checkpoint=6 or --calibration=none' in done.stderr
  assert experiment.load_run(folder, checkpoint=3, calibration='none').step == 3
  _calibrated(folder, ['none'], checkpoint=3)
  assert experiment.load_run(folder, checkpoint=3).calibration == 'temperature'
  content = json.loads((folder / 'calibration.json').read_text())
  (folder / 'calibration.json').write_text(
    json.dumps(content | {'params_sha256': '0'})
  )
  with pytest.raises(training.CheckpointError, match='other parameters than'):
    experiment.load_run(folder, checkpoint=3)
  assert experiment.load_run(folder, checkpoint=3, verify=False).step == 3


def test_what_a_correction_excludes_may_be_infinite(run):
  folder, exp, _ = run
  classifier = experiment.load_run(
    folder, batch_size=8, calibration='none', target_prior=[1, 0, 1]
  )
  probabilities = classifier(_IMAGES)
  assert (probabilities[:, 1] == 0).all()
  np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
  classifier._on_devices['params']['classifier']['kernel'] *= np.inf
  with pytest.raises(training.DivergedError):
    classifier(_IMAGES)
  del exp


def test_another_prior(run, tmp_path):
  folder, exp, _ = run
  plain = experiment.load_run(folder, batch_size=8, calibration='none')
  counts = exp.data.class_counts
  names = exp.data.class_names
  by_name = tmp_path / 'prior.json'
  by_name.write_text(json.dumps(dict(zip(names, [0.2, 3, 0.5], strict=True))))
  in_order = tmp_path / 'order.json'
  in_order.write_text('[0.2, 3, 0.5]')
  before = plain(_IMAGES).astype(np.float64)
  for wanted, target in [
    ('train', counts),
    ('uniform', [1, 1, 1]),
    (str(by_name), [0.2, 3, 0.5]),
    (in_order, [0.2, 3, 0.5]),
    ((0.2, 3, 0.5), [0.2, 3, 0.5]),
  ]:
    classifier = experiment.load_run(
      folder, batch_size=8, calibration='none', target_prior=wanted
    )
    # Bayes: shares times the ratio of the priors.
    expected = before * np.asarray(target) / counts
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(classifier(_IMAGES), expected, rtol=1e-4)
  for wanted, message in [
    ('banana', "'uniform', 'train' or a JSON file"),
    ([1, 2], '3 numbers of 0 or more'),
    ([1, -1, 1], 'got .*-1'),
    ([0, 0, 0], 'not all 0'),
    ([1, np.nan, 1], 'numbers of 0 or more'),
    ({'0': 1, '1': 1}, "'2' is missing"),
    ({'0': 1, '1': 1, '2': 1, '3': 1}, "'3' is none of them"),
    (['a', 'b', 'c'], 'must be numbers'),
  ]:
    with pytest.raises(experiment.ConfigError, match=message):
      experiment.load_run(folder, calibration='none', target_prior=wanted)
  with pytest.raises(experiment.ConfigError, match='Pass `calibration=none`'):
    experiment.load_run(folder, target_prior='uniform')


@pytest.mark.parametrize(
  'word',
  ['logit_adjustment', 'drw', 'class_balanced_sampling', 'remix', 'bbn'],
)
def test_a_prior_is_not_corrected_twice(word):
  config = experiment.config('own', f'sgd,{word}')
  content = {'class_counts': [5, 2], 'class_names': ['a', 'b']}
  with pytest.raises(experiment.ConfigError, match='would correct twice'):
    _run_correction.target_prior(config, content, 'uniform', 'none')
  plain = experiment.config('own', 'imbsam,instance_sampling')
  found = _run_correction.target_prior(plain, content, 'uniform', 'none')
  offset = found.arrays['offset']
  np.testing.assert_allclose(offset[1] - offset[0], np.log(5 / 2), rtol=1e-6)
  content = {'class_counts': [5, 0], 'class_names': ['a', 'b']}
  found = _run_correction.target_prior(plain, content, 'uniform', 'none')
  assert found.excluded(2).tolist() == [False, True]
