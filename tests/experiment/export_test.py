# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Exported runs: what they give, elsewhere too, and what is refused."""

import copy
import datetime
import hashlib
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
from unittest import mock
import warnings

from flax import linen as nn
import jax
import numpy as np
from PIL import Image
import pytest

import imbsam_jax
from imbsam_jax import data as data_lib
from imbsam_jax import experiment
from imbsam_jax import models
from imbsam_jax import training
from imbsam_jax.experiment import _calibration_file
from imbsam_jax.experiment import _correction
from imbsam_jax.experiment import _export_folder
from imbsam_jax.experiment import _export_function
from imbsam_jax.experiment import _export_golden
from imbsam_jax.experiment import _export_stablehlo
from tests import programs
from tests.experiment import small_sources
from tests.experiment import trunk_files

_IMAGES, _LABELS = small_sources.SOURCES.test
# What careless programs break at.
_NAMES = ('a "b", c', 'line\nbreak', '=猫')
# A small one, kept as it was written.
_STORED = pathlib.Path(__file__).parent / 'stored_export'


def _named(sources, names):
  return experiment.Sources(
    *(
      data_lib.ArraySource(*pair, class_names=names)
      for pair in (sources.train, sources.test)
    )
  )


def _ran(folder, words, data=None, model=None, **fields):
  config = experiment.config(
    'own',
    words,
    {
      'epochs': 2,
      'data.batch_size': 16,
      **({} if model else {'model.name': 'mlp', 'model.norm': 'none'}),
      'optimizer.learning_rate': 0.02,
      **{name.replace('__', '.'): value for name, value in fields.items()},
    },
  )
  data = data or _named(small_sources.SOURCES, _NAMES)
  exp = experiment.build(config, data=data, model=model)
  return exp, experiment.run(exp, workdir=folder)


def _evaluated(exp, state):
  """The classes of the run's own evaluation."""
  return training.predict(
    exp.predict_step,
    state.variables,
    exp.data.test,
    batch_size=16,
    mesh=exp.mesh,
  )[0]


@pytest.fixture(scope='module', name='run')
def _run(tmp_path_factory):
  folder = tmp_path_factory.mktemp('run')
  return folder, *_ran(folder, 'sgd')


@pytest.fixture(scope='module', name='classifier')
def _classifier(run):
  return experiment.load_run(run[0], batch_size=16)


@pytest.fixture(scope='module', name='exported')
def _exported(run, classifier, tmp_path_factory):
  """The folder of an export that no test changes."""
  del run
  folder = tmp_path_factory.mktemp('exports') / 'mlp'
  experiment.export(classifier, folder)
  return folder


@pytest.fixture(name='copied')
def _copied(exported, tmp_path):
  shutil.copytree(exported, tmp_path / 'copy')
  return tmp_path / 'copy'


def _golden_bytes():
  """The eight images by their recipe, written out."""
  numbers = [int((k + 1) * 2654435761 % 2**32 / 2**24) for k in range(8 * 36)]
  return np.array(numbers, np.uint8).reshape(8, 6, 6, 1)


def _corrected(classifier, correction):
  """The same with another correction."""
  changed = copy.copy(classifier)
  changed.correction = changed._corrected = correction
  return changed


def _softmax(logits):
  exps = np.exp(logits - logits.max(axis=1, keepdims=True))
  return exps / exps.sum(axis=1, keepdims=True)


def _corrections(features, logits):
  """Corrections over the temperature 2, and what they make of float64."""
  rng = np.random.RandomState(0)
  kernel = rng.randn(features.shape[1], 3).astype(np.float32)
  means = features[::10].astype(np.float32)
  bias = np.array([0.5, -1.0, 0.25], np.float32)
  scale = np.array([0.5, 1.0, 3.0], np.float32)
  prior = np.log(np.array([0.5, 0.5, 0.0], np.float32) + 1e-30)
  prior[2] = -np.inf
  adjusted = logits - 1.5 * np.where(np.isinf(prior), 0, prior)
  adjusted[:, 2] = -np.inf
  distances = ((features[:, None] - means) ** 2).sum(axis=2)
  cases = {
    'logit_adjustment': (
      {'tau': np.float32(1.5), 'log_prior': prior},
      adjusted,
    ),
    'tau_normalization': ({'kernel': kernel}, features @ kernel),
    'crt': ({'kernel': kernel, 'bias': bias}, features @ kernel + bias),
    'ncm': ({'means': means}, -distances),
    'lws': ({'scale': scale}, logits * scale),
    'marc': ({'scale': scale, 'shift': bias}, logits * scale + bias),
    'target_prior': ({'offset': bias}, logits + bias),
  }
  return {
    name: (
      _correction.Correction(
        name, arrays, np.float32(2), 'euclidean' if name == 'ncm' else None
      ),
      expected / 2,
    )
    for name, (arrays, expected) in cases.items()
  }


# What a server has: JAX, flatbuffers, NumPy.
_CONSUMER = """
import json, pathlib, sys
for name in ('imbsam_jax', 'flax', 'optax', 'orbax'):
  sys.modules[name] = None
import jax, numpy as np
from jax import export
for line in sys.stdin.read().splitlines():
  folder, sizes = json.loads(line)
  folder = pathlib.Path(folder)
  content = (folder / 'exported' / 'model.jaxexport').read_bytes()
  function = export.deserialize(bytearray(content)).call
  images = np.load(folder / 'images.npy')
  parts = []
  for size in sizes or [len(images)]:
    parts.append(np.asarray(function(images[:size])))
    assert parts[-1].dtype == np.float32 and len(parts[-1]) == size
  np.save(folder / 'found.npy', parts[-1])
  for part in parts:
    np.testing.assert_allclose(part, parts[-1][:len(part)], atol=1e-6)
"""


def _consumed(cases):
  """Lets a process without the library use exports: {folder: sizes}."""
  lines = [json.dumps([str(f), sizes]) for f, sizes in cases.items()]
  subprocess.run(
    [sys.executable, '-c', _CONSUMER],
    input='\n'.join(lines),
    cwd='/',
    text=True,
    check=True,
  )
  return [np.load(folder / 'found.npy') for folder in cases]


_KINDS = {
  'batch norm, flipped': (
    'sgd',
    {
      'model__name': 'small_conv_net',
      'model__norm': 'batch',
      'flip_test': True,
    },
  ),
  'group norm, cosines': (
    'ldam',
    {'model__name': 'small_conv_net', 'model__norm': 'group'},
  ),
  'bfloat16, crops': (
    'sgd',
    {
      'model__dtype': 'bfloat16',
      'model__head': 'scaled_cosine(scale=9.0)',
      'test_views': 'five_crop',
    },
  ),
}


def test_a_process_with_jax_alone(run, classifier, tmp_path):
  """It gives the classes of the evaluation, for any number of images."""
  cases, expected = {}, []

  def add(name, one, images, classes, sizes=(), **options):
    folder = tmp_path / name
    folder.mkdir()
    experiment.export(
      one, folder / 'exported', formats=['stablehlo'], **options
    )
    np.save(folder / 'images.npy', images)
    cases[folder] = list(sizes)
    expected.append(classes)

  _, exp, result = run
  images = np.concatenate([_IMAGES, _IMAGES, _IMAGES])[:64]
  classes = _evaluated(exp, result.state)
  classes = np.concatenate([classes, classes, classes])[:64]
  add('mlp', classifier, images, classes, (1, 2, 63, 64))
  for name, (words, fields) in _KINDS.items():
    other, result = _ran(tmp_path / 'runs' / name, words, **fields)
    one = experiment.load_run(tmp_path / 'runs' / name, batch_size=16)
    add(name, one, _IMAGES, _evaluated(other, result.state))
  rng = np.random.RandomState(0)
  labels = np.repeat([0, 1], [24, 8])
  rows = (rng.randn(32, 5) + 2 * labels[:, None]).astype(np.float32)
  table = experiment.Sources(train=(rows, labels), test=(rows, labels))
  other, result = _ran(tmp_path / 'runs' / 'table', 'sgd', data=table)
  one = experiment.load_run(tmp_path / 'runs' / 'table', batch_size=16)
  add('table', one, rows, _evaluated(other, result.state))
  for found, known in zip(_consumed(cases), expected, strict=True):
    assert found.argmax(axis=1).tolist() == known.tolist()
    assert len(set(known.tolist())) > 1
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
  for folder, known in zip(cases, expected, strict=True):
    loaded = experiment.load_export(folder / 'exported', batch_size=16)
    images = np.load(folder / 'images.npy')
    found = [one.class_index for one in loaded.predict(images)]
    assert found == known.tolist()


def test_corrections_are_inside(classifier, tmp_path):
  features = classifier.features(_IMAGES).astype(np.float64)
  logits = classifier.logits(_IMAGES).astype(np.float64)
  cases, expected = {}, []
  for name, (correction, corrected) in _corrections(features, logits).items():
    folder = tmp_path / name
    folder.mkdir()
    one = _corrected(classifier, correction)
    with_arrays = ('stablehlo', 'safetensors')
    done = experiment.export(one, folder / 'exported', formats=with_arrays)
    assert done.content['correction']['method'] == name
    assert done.content['correction']['temperature'] == 2
    np.save(folder / 'images.npy', _IMAGES)
    cases[folder] = []
    expected.append(_softmax(corrected))
    # The archive has its arrays.
    again = experiment.load_run(folder / 'exported', batch_size=16)
    np.testing.assert_allclose(again(_IMAGES), expected[-1], atol=1e-5)
  assert {*_correction._APPLIED} - {path.name for path in cases} == {'none'}
  for found, known in zip(_consumed(cases), expected, strict=True):
    np.testing.assert_allclose(found, known, atol=1e-5)


def test_every_method_of_calibrate(tmp_path):
  """The test accuracy that calibrate reports, to the image."""
  exp, result = _ran(tmp_path / 'run', 'sgd', data=small_sources.SOURCES)
  calibration = experiment.calibrate(exp, result.state)
  _calibration_file.write(
    tmp_path / 'run', calibration.content, calibration.corrections
  )
  cases = {}
  for name in calibration.corrections:
    (tmp_path / name).mkdir()
    one = experiment.load_run(
      tmp_path / 'run',
      calibration='temperature' if name == 'none' else name,
      batch_size=16,
    )
    done = experiment.export(one, tmp_path / name / 'exported')
    assert done.content['correction']['calibration'] == one.calibration
    np.save(tmp_path / name / 'images.npy', _IMAGES)
    cases[tmp_path / name] = []
  assert len(cases) >= 6
  for folder, rows in zip(cases, _consumed(cases), strict=True):
    right = rows.argmax(axis=1) == _LABELS
    reported = calibration.methods[folder.name]['test']
    assert right.mean() == pytest.approx(reported['top1'])
  archive = experiment.load_run(tmp_path / 'ncm' / 'exported', batch_size=16)
  assert archive.calibration == 'ncm'
  loaded = experiment.load_export(tmp_path / 'ncm' / 'exported', batch_size=16)
  assert loaded.calibration == loaded.correction.method == 'ncm'
  plain = experiment.load_run(
    tmp_path / 'ncm' / 'exported', calibration='none', batch_size=16
  )
  assert not np.allclose(plain(_IMAGES), archive(_IMAGES))
  with pytest.raises(experiment.ConfigError, match="this export has 'ncm'"):
    experiment.load_run(tmp_path / 'ncm' / 'exported', calibration='lws')


@pytest.mark.parametrize('cache', [False, True])
def test_trunk_is_inside(cache, tmp_path):
  file = trunk_files.write(tmp_path / 'vit.safetensors')
  fields = {'model.feature_cache': str(tmp_path / 'kept') if cache else None}
  exp = trunk_files.build(
    'sgd,probe', file, 8, **fields, **{'optimizer.learning_rate': 0.5}
  )
  result = experiment.run(exp, workdir=tmp_path / 'run')
  classifier = experiment.load_run(tmp_path / 'run', batch_size=16)
  experiment.export(classifier, tmp_path / 'exported')
  file.unlink()
  loaded = experiment.load_export(tmp_path / 'exported', batch_size=16)
  classes = _evaluated(exp, result.state).tolist()
  assert [one.class_index for one in loaded.predict(_IMAGES)] == classes
  names = _header(tmp_path / 'exported' / 'model.safetensors')
  prefix = 'trunk/params/' if cache else 'params/trunk/'
  assert any(name.startswith(f'{prefix}block0/') for name in names), names


def _header(path):
  """The header of a file of safetensors, by hand."""
  content = path.read_bytes()
  (length,) = struct.unpack('<Q', content[:8])
  return json.loads(content[8 : 8 + length])


def test_arrays_are_read_by_numpy_alone(run, exported):
  _, _, result = run
  path = exported / 'model.safetensors'
  header, content = _header(path), path.read_bytes()
  data = content[8 + struct.unpack('<Q', content[:8])[0] :]
  kernel = header['params/classifier/kernel']
  begin, end = kernel['data_offsets']
  found = np.frombuffer(data[begin:end], '<f4').reshape(kernel['shape'])
  np.testing.assert_array_equal(
    found, result.state.params['classifier']['kernel']
  )
  model = json.loads((exported / 'model.json').read_text())
  assert {*model['variables']} == {*header}
  assert model['params_sha256'] == result.summary['params_sha256']


def test_outputs(run, classifier, tmp_path):
  """Logits whose softmax are the probabilities, features, float inputs."""
  logits, features = tmp_path / 'logits', tmp_path / 'features'
  classifier = experiment.load_run(run[0], batch_size=16)
  classifier.content['logit_scale'] = 1.0
  experiment.export(classifier, logits, outputs='logits', input='float32')
  experiment.export(classifier, features, outputs='features')
  one = experiment.load_export(logits, batch_size=16)
  expected = classifier(_IMAGES)
  np.testing.assert_allclose(_softmax(one.logits(_IMAGES)), expected, atol=1e-6)
  np.testing.assert_allclose(one(_IMAGES), expected, atol=1e-6)
  shares = (_IMAGES / 255).astype(np.float32)
  np.testing.assert_allclose(one(shares), expected, atol=1e-6)
  golden = json.loads((logits / 'export.json').read_text())['golden']
  images = (_golden_bytes() / 255).astype(np.float32)
  assert hashlib.sha256(images.tobytes()).hexdigest() == golden['inputs_sha256']
  np.testing.assert_allclose(golden['outputs'], one.logits(images), atol=1e-5)
  two = experiment.load_export(features, batch_size=16)
  np.testing.assert_allclose(
    two.features(_IMAGES), classifier.features(_IMAGES), rtol=1e-5, atol=1e-6
  )
  for call, message in [
    (one.features, '`outputs=features`'),
    (two, '`outputs=probabilities`'),
    (two.predict, '`outputs=probabilities`'),
    (one.preprocess, 'Load the run'),
  ]:
    with pytest.raises(experiment.ConfigError, match=message):
      call(_IMAGES)
  with pytest.raises(data_lib.DataError, match='takes bytes .uint8., got fl'):
    two.features(shares)


def test_scaled_cosines(tmp_path):
  """Logits of an export have the scale of the loss."""
  _ran(tmp_path / 'run', 'ldam', epochs=1)
  classifier = experiment.load_run(tmp_path / 'run', batch_size=16)
  assert classifier.content['logit_scale'] == 30
  experiment.export(tmp_path / 'run', tmp_path / 'out', outputs='logits')
  one = experiment.load_export(tmp_path / 'out', batch_size=16)
  np.testing.assert_allclose(
    one.logits(_IMAGES), 30 * classifier.logits(_IMAGES), rtol=1e-4, atol=1e-4
  )


def test_left_out_class_in_logits(classifier, tmp_path):
  offset = np.array([0, -np.inf, 0], np.float32)
  correction = _correction.Correction('target_prior', {'offset': offset})
  one = _corrected(classifier, correction)
  experiment.export(
    one, tmp_path / 'out', outputs='logits', formats=['stablehlo']
  )
  loaded = experiment.load_export(tmp_path / 'out', batch_size=16)
  assert np.isneginf(loaded.logits(_IMAGES)[:, 1]).all()
  np.testing.assert_allclose(loaded(_IMAGES), one(_IMAGES), atol=1e-6)


def test_what_an_export_tells(run, classifier, exported, tmp_path):
  _, exp, _ = run
  loaded = imbsam_jax.load_export(exported, batch_size=16)
  assert loaded.class_names == _NAMES == classifier.class_names
  assert loaded.groups == classifier.groups
  assert loaded.config == classifier.config
  assert loaded.step == exp.num_steps and loaded.module is None
  # Files, pictures, lists, one image; several devices share a batch.
  assert len(jax.devices()) == 8
  expected = classifier(_IMAGES[:3])
  path = tmp_path / 'a.png'
  Image.fromarray(_IMAGES[0, ..., 0]).save(path)
  np.testing.assert_allclose(loaded(str(path)), expected[:1], atol=1e-6)
  np.testing.assert_allclose(loaded(_IMAGES[1]), expected[1:2], atol=1e-6)
  np.testing.assert_allclose(loaded(list(_IMAGES[:3])), expected, atol=1e-6)
  with pytest.raises(data_lib.DataError, match='Pass `resize=True`'):
    loaded(np.zeros([2, 8, 6, 1], np.uint8))
  with pytest.raises(experiment.ConfigError, match='an export itself'):
    experiment.export(loaded, tmp_path / 'again')
  content = json.loads((exported / 'export.json').read_text())
  assert content['class_names'] == [*_NAMES]
  assert content['input']['shape'] == ['b', 6, 6, 1]
  assert content['output'] == {'shape': ['b', 3], 'dtype': 'float32'}
  assert content['platforms'] == ['cpu', 'cuda', 'rocm', 'tpu']
  golden, images = content['golden'], _golden_bytes()
  np.testing.assert_allclose(
    golden['outputs'], classifier(images), rtol=1e-6, atol=1e-7
  )
  assert len(np.unique(images)) > 150


def test_golden_numbers_of_a_table():
  numbers = [int((k + 1) * 2654435761 % 2**32 / 2**24) for k in range(16)]
  np.testing.assert_allclose(
    _export_golden.images((2,), 'float32', (-1.0, 3.0)),
    -1 + 4 * np.array(numbers).reshape(8, 2) / 255,
    rtol=1e-6,
  )


def test_archive_is_a_run(run, classifier, exported):
  folder, _, _ = run
  archive = experiment.load_run(exported, batch_size=16)
  np.testing.assert_array_equal(archive(_IMAGES), classifier(_IMAGES))
  np.testing.assert_array_equal(
    archive.features(_IMAGES), classifier.features(_IMAGES)
  )
  with pytest.raises(experiment.ConfigError, match='has one checkpoint'):
    experiment.load_run(exported, checkpoint=1)
  with pytest.raises(experiment.ConfigError, match='looks like a run'):
    experiment.load_export(folder)


def test_orientation_is_that_of_the_run(copied, tmp_path):
  picture, exif = Image.fromarray(_IMAGES[0][..., 0]), Image.Exif()
  exif[0x0112] = 6  # Turned by a right angle.
  picture.save(tmp_path / 'plain.png')
  picture.save(tmp_path / 'turned.png', exif=exif)
  path = copied / 'model.json'
  content = json.loads(path.read_text())
  for heeded in (True, False, None):  # Earlier versions did not tell.
    content['input'].pop('exif_orientation', None)
    if heeded is not None:
      content['input']['exif_orientation'] = heeded
    path.write_text(json.dumps(content))
    loaded = imbsam_jax.load_export(copied, verify=False)
    one, two = (loaded(tmp_path / f'{x}.png') for x in ('plain', 'turned'))
    assert np.array_equal(one, two) == (heeded is not True)


def test_gray_images_without_an_axis_of_channels(classifier, tmp_path):
  gray, expected = _IMAGES[..., 0], classifier(_IMAGES)
  np.testing.assert_array_equal(classifier(gray), expected)
  np.testing.assert_array_equal(classifier([*gray]), expected)
  np.testing.assert_array_equal(classifier(gray[0]), classifier(_IMAGES[0]))
  np.save(tmp_path / 'gray.npy', gray)
  done = experiment.predict_files(
    classifier, tmp_path / 'gray.npy', tmp_path / 'out.csv'
  )
  assert done.num_images == len(gray)


def test_predict_program(exported, classifier, tmp_path):
  np.save(tmp_path / 'images.npy', _IMAGES)
  done = programs.call(
    'predict',
    f'--workdir={exported}',
    f'--source={tmp_path / "images.npy"}',
    f'--output={tmp_path / "out.jsonl"}',
    '--batch_size=16',
  )
  assert done.returncode == 0, done.stderr
  refused = programs.call(
    'predict',
    f'--workdir={exported}',
    f'--source={tmp_path / "images.npy"}',
    f'--output={tmp_path / "none.csv"}',
    '--calibration=none',
  )
  assert refused.returncode == 2
  assert '--calibration is for a run' in refused.stderr
  lines = (tmp_path / 'out.jsonl').read_text('utf-8')
  found = [json.loads(line)['class'] for line in lines.split('\n')[:-1]]
  assert found == classifier(_IMAGES).argmax(axis=1).tolist()


def test_same_run_same_bytes(run, exported, tmp_path):
  later = datetime.datetime(2030, 1, 2, tzinfo=datetime.UTC)
  with mock.patch('imbsam_jax.experiment._export.datetime') as clock:
    clock.datetime.now.return_value = later
    clock.timedelta = datetime.timedelta
    clock.UTC = datetime.UTC
    experiment.export(
      experiment.load_run(run[0], batch_size=16), tmp_path / 'again'
    )
  for path in exported.iterdir():
    one, two = path.read_bytes(), (tmp_path / 'again' / path.name).read_bytes()
    if path.name != 'export.json':
      assert one == two, path.name
  one, two = (
    json.loads((folder / 'export.json').read_text())
    for folder in (exported, tmp_path / 'again')
  )
  assert two['created'] == '2030-01-02T00:00:00Z'
  assert two['expires_after'] == '2030-07-04'
  for name in ('created', 'expires_after', 'sha256'):
    del one[name], two[name]
  assert one == two
  # Where it was installed is nobody's business.
  assert b'.py' not in (exported / 'model.jaxexport').read_bytes()


_FILES = (
  'config.json', 'export.json', 'model.jaxexport', 'model.json',
  'model.safetensors',
)  # fmt: skip


@pytest.mark.parametrize('name', _FILES)
def test_damaged_files_are_refused(name, copied):
  assert sorted(path.name for path in copied.iterdir()) == [*_FILES]
  path = copied / name
  whole = path.read_bytes()
  places = (0, len(whole) // 3, len(whole) // 2, len(whole) - 1)
  flipped = [
    whole[:k] + bytes([whole[k] ^ 1 << bit]) + whole[k + 1 :]
    for k in places
    for bit in (0, 5)
  ]
  for content in (*flipped, whole[:-1], whole[: len(whole) // 2], b''):
    path.write_bytes(content)
    for load in (experiment.load_export, experiment.load_run):
      with pytest.raises((training.CheckpointError, experiment.ConfigError)):
        load(copied)
    with pytest.raises(training.CheckpointError, match=f'{name} is not what'):
      experiment.load_export(copied)
  path.unlink()
  if name == 'export.json':
    with pytest.raises(experiment.ConfigError, match='there is no export in'):
      experiment.load_export(copied)
  else:
    with pytest.raises(training.CheckpointError, match='cannot be read'):
      experiment.load_export(copied)


def _rewritten(folder, **changes):
  """Another content of ``export.json``, with checksums that fit."""
  path = folder / 'export.json'
  content = json.loads(path.read_text()) | changes
  for name in ('format', 'files', 'sha256'):
    del content[name]
  path.unlink()
  _export_folder.write(folder, content)


def test_other_numbers_are_refused(copied):
  golden = json.loads((copied / 'export.json').read_text())['golden']
  golden['outputs'][7][2] += 3e-5
  _rewritten(copied, golden=golden)
  with pytest.raises(training.CheckpointError, match='differ by 3e-05'):
    experiment.load_export(copied, batch_size=16)
  experiment.load_export(copied, batch_size=16, verify=False)
  # GPUs round otherwise.
  _rewritten(copied, golden={**golden, 'platform': 'gpu'})
  experiment.load_export(copied, batch_size=16)
  golden['outputs'][7][2] += 0.03
  _rewritten(copied, golden={**golden, 'platform': 'gpu'})
  with pytest.raises(training.CheckpointError, match='differ by 0.03'):
    experiment.load_export(copied, batch_size=16)
  _rewritten(copied, golden={**golden, 'outputs': [[1.0]]})
  with pytest.raises(training.CheckpointError, match='differ by inf'):
    experiment.load_export(copied, batch_size=16)


def test_what_expired(copied):
  _rewritten(copied, expires_after='2026-01-01')
  with pytest.warns(UserWarning, match='promises to read its exports for six'):
    experiment.load_export(copied, batch_size=16)
  _rewritten(copied, expires_after='2999-01-01')
  path = copied / 'model.jaxexport'
  whole = path.read_bytes()
  path.write_bytes(whole[: len(whole) // 2])
  _rewritten(copied)
  with pytest.raises(training.CheckpointError) as error:
    experiment.load_export(copied)
  for words in (
    'Export the run again',
    'model.safetensors',
    'load_run',
    '2026',
  ):
    assert words in str(error.value)
  assert experiment.load_run(copied, batch_size=16).step
  (copied / 'model.safetensors').unlink()
  _rewritten(copied)
  with pytest.raises(training.CheckpointError) as error:
    experiment.load_export(copied)
  assert 'safetensors' not in str(error.value)
  with pytest.raises(experiment.ConfigError, match='Read it by load_export'):
    experiment.load_run(copied)
  path.unlink()
  _rewritten(copied)
  with pytest.raises(experiment.ConfigError, match='format=stablehlo'):
    experiment.load_export(copied)


def test_later_format(copied):
  with mock.patch.object(_export_folder, 'FORMAT', 2):
    _rewritten(copied)
  with pytest.raises(experiment.ConfigError, match='has format 2'):
    experiment.load_export(copied)


def test_stored_export():
  """One of another day is read, or its reader is told what to do.

  `python -m tests.experiment.export_test` renews it.
  """
  with warnings.catch_warnings():
    warnings.filterwarnings('ignore', '.*for six months')
    try:
      loaded = experiment.load_export(_STORED, batch_size=16)
    except training.CheckpointError as error:
      assert 'Export the run again' in str(error)
      return
  content = json.loads((_STORED / 'export.json').read_text())
  assert loaded.class_names == ('0', '1', '2')
  found = loaded(_IMAGES).argmax(axis=1)
  assert (found == _LABELS).mean() > 0.8, content['created']


def test_killed_writer_leaves_nothing_half(classifier, tmp_path):
  """And what it leaves by another name is in nobody's way."""
  output = tmp_path / 'out'

  def killed(*args):
    raise KeyboardInterrupt

  # Before the last file, and before the folder gets its name.
  for place, name in ((_export_folder, 'write'), (pathlib.Path, 'rename')):
    with (
      mock.patch.object(place, name, killed),
      mock.patch.object(shutil, 'rmtree'),
      pytest.raises(KeyboardInterrupt),
    ):
      experiment.export(classifier, output, formats=['safetensors'])
    assert not output.exists() and len([*tmp_path.iterdir()]) == 1
    shutil.rmtree(next(tmp_path.iterdir()))
  (tmp_path / f'.out.{os.getpid()}.tmp').mkdir()
  (tmp_path / f'.out.{os.getpid()}.tmp' / 'model.json').write_text('half')
  experiment.export(classifier, output, formats=['safetensors'])
  assert [path.name for path in tmp_path.iterdir()] == ['out']
  with pytest.raises(experiment.ConfigError, match='something in `output='):
    experiment.export(classifier, output)


def test_wrong_arguments(classifier, exported, monkeypatch, tmp_path):
  output = tmp_path / 'out'
  for options, message in [
    (
      {'formats': ['torch']},
      "must be of stablehlo, safetensors, onnx, got 'to",
    ),
    ({'formats': []}, 'pass a `format`'),
    ({'outputs': 'classes'}, "'probabilities' or 'logits' or 'features'"),
    ({'input': 'int8'}, "must be 'uint8' or 'float32'"),
    ({'formats': 'onnx'}, r'-m venv .venv-onnx; .*install .*onnx'),
  ]:
    with pytest.raises(experiment.ConfigError, match=message):
      experiment.export(classifier, output, **options)
  for formats in ('stablehlo', 'safetensors'):
    module = {'stablehlo': 'flatbuffers'}.get(formats, formats)
    with monkeypatch.context() as patch:
      patch.setitem(sys.modules, module, None)
      message = rf'the extra `export`.*Missing: {module}'
      with pytest.raises(experiment.ConfigError, match=message):
        experiment.export(classifier, output, formats=formats)
      load = {'stablehlo': experiment.load_export}.get(
        formats, experiment.load_run
      )
      with pytest.raises(experiment.ConfigError, match=message):
        load(exported)
  large = _export_function.make(classifier, 'logits', None)._replace(
    num_bytes=2**30 + 1
  )
  with pytest.raises(experiment.ConfigError, match='at most 1 GB. Pass `form'):
    _export_stablehlo.check(large)
  assert not output.exists()


def test_program(run, exported, tmp_path):
  folder = run[0]
  for arguments, code, message in [
    (['--output='], 2, 'pass --output=FOLDER'),
    ([f'--workdir={tmp_path / "none"}'], 2, 'there is no run in'),
    (['--checkpoint=7'], 5, 'no checkpoint of step 7'),
    (['--format=safetensor'], 2, '--format must be of stablehlo, safetensors'),
    ([f'--output={exported}'], 2, f'something in --output={exported} already'),
    ([f'--output={folder}/config.json/out'], 2, 'cannot be written'),
  ]:
    done = programs.call(
      'export',
      f'--workdir={folder}',
      f'--output={tmp_path / "out"}',
      '--format=safetensors',
      *arguments,
    )
    assert done.returncode == code, done.stderr
    assert message in done.stderr
  done = programs.call(
    'export',
    f'--workdir={folder}',
    f'--output={tmp_path / "out"}',
    '--format=safetensors',
  )
  assert done.returncode == 0, done.stderr
  assert 'uint8 [b, 6, 6, 1] -> probabilities [b, 3]' in done.stdout
  assert 'model.safetensors' in done.stdout
  # Bit for bit what was exported in Python.
  for name in ('model.safetensors', 'model.json', 'config.json'):
    one, two = (f / name for f in (exported, tmp_path / 'out'))
    assert one.read_bytes() == two.read_bytes(), name


class _Net(nn.Module):
  """A small one, so that little is kept."""

  @nn.compact
  def __call__(self, images):
    x = nn.max_pool(nn.relu(nn.Conv(4, (3, 3))(images)), (2, 2))
    return nn.Dense(3)(nn.LayerNorm()(x.reshape(x.shape[0], -1)))


class _Counting(_Net):
  """It asks how many images there are."""

  @nn.compact
  def __call__(self, images):
    return nn.Dense(3)(images.reshape(len(images), -1))


def test_network_that_asks_for_the_number_of_images(tmp_path):
  _ran(tmp_path / 'run', 'sgd', model=_Counting(), epochs=1)
  one = experiment.load_run(tmp_path / 'run', module=_Counting())
  with pytest.raises(experiment.ConfigError, match=r'write images.shape\[0\]'):
    experiment.export(one, tmp_path / 'out')
  assert not (tmp_path / 'out').exists()
  experiment.export(one, tmp_path / 'out', formats=['safetensors'])
  archive = experiment.load_run(tmp_path / 'out', module=_Counting())
  np.testing.assert_array_equal(archive(_IMAGES), one(_IMAGES))


@pytest.mark.parametrize('name', models.MODEL_NAMES)
def test_every_network_takes_any_number_of_images(name):
  """It is traced only."""
  model = models.create_model(name, num_classes=3)
  images = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)
  variables = jax.eval_shape(
    lambda x: model.init(jax.random.key(0), x, train=False), images
  )
  (batch,) = jax.export.symbolic_shape('b')
  logits = jax.eval_shape(
    lambda v, x: model.apply(v, x, train=False),
    variables,
    jax.ShapeDtypeStruct((batch, 32, 32, 3), np.float32),
  )
  assert logits.shape == (batch, 3)


def _store():
  """Writes the export that is kept."""
  shutil.rmtree(_STORED, ignore_errors=True)
  run = pathlib.Path('/tmp/imbsam_stored_run')
  shutil.rmtree(run, ignore_errors=True)
  data = experiment.Sources(
    small_sources.SOURCES.train, small_sources.SOURCES.test
  )
  _ran(run, 'sgd', data=data, model=_Net(), epochs=20)
  classifier = experiment.load_run(run, module=_Net())
  experiment.export(classifier, _STORED, formats=['stablehlo'])


if __name__ == '__main__':
  _store()
