# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs as functions of images, without their data."""

import json
import shutil
import subprocess
import sys

from flax import linen as nn
import jax
import numpy as np
from PIL import Image
import pytest

import imbsam_jax
from imbsam_jax import data as data_lib
from imbsam_jax import experiment
from imbsam_jax import methods
from imbsam_jax import training
from imbsam_jax.experiment import _load_run
from imbsam_jax.experiment import _model_file
from tests.experiment import small_sources
from tests.experiment import trunk_files

_IMAGES, _LABELS = small_sources.SOURCES.test
_NAMES = ('a "b", c', 'line\nbreak', '=猫')


def _build(words, *, model=None, data=small_sources.SOURCES, **fields):
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
  return experiment.build(config, data=data, model=model)


def _ran(folder, *args, **kwargs):
  exp = _build(*args, **kwargs)
  return exp, experiment.run(exp, workdir=folder)


def _assert_as_evaluated(exp, state, classifier):
  """The classes and confidences of the run's own evaluation."""
  classes, confidences = training.predict(
    exp.predict_step,
    state.variables,
    exp.data.test,
    batch_size=16,
    mesh=exp.mesh,
  )
  images = exp.source.test.images
  found = classifier.predict(images, top=2)
  assert [one.class_index for one in found] == classes.tolist()
  np.testing.assert_allclose(
    [one.probability for one in found], confidences, rtol=1e-5
  )
  names = exp.data.class_names
  assert [one.name for one in found] == [names[c] for c in classes]
  assert len(set(classes.tolist())) > 1  # It tells something.


@pytest.fixture(scope='module', name='run')
def _run(tmp_path_factory):
  """A run of an MLP, moved after it was trained."""
  folder = tmp_path_factory.mktemp('run')
  exp, result = _ran(folder / 'there', 'imbsam')
  shutil.move(folder / 'there', folder / 'here')
  return folder / 'here', exp, result


@pytest.fixture(scope='module', name='classifier')
def _classifier(run):
  return experiment.load_run(run[0], batch_size=16)


_KINDS = {
  'group norm': (
    'sgd',
    {'model__name': 'small_conv_net', 'model__norm': 'group'},
  ),
  'batch norm, flipped, average': (
    'sgd',
    {
      'model__name': 'small_conv_net',
      'model__norm': 'batch',
      'flip_test': True,
      'optimizer__ema_decay': 0.5,
    },
  ),
  'cosine head': ('ldam', {}),
  'scaled cosine head, crops': (
    'sgd',
    {'model__head': 'scaled_cosine(scale=9.0)', 'test_views': 'five_crop'},
  ),
}


@pytest.mark.parametrize('kind', _KINDS)
def test_predictions_are_those_of_the_evaluation(kind, tmp_path):
  words, fields = _KINDS[kind]
  exp, result = _ran(tmp_path, words, **fields)
  classifier = experiment.load_run(tmp_path, batch_size=8)
  _assert_as_evaluated(exp, result.state, classifier)
  assert classifier.step == exp.num_steps


def test_two_branches(tmp_path):
  exp, result = _ran(tmp_path, 'bbn', model__name='small_conv_net')
  _assert_as_evaluated(exp, result.state, experiment.load_run(tmp_path))


@pytest.mark.parametrize('cache', [False, True])
def test_trunk_of_a_file(cache, tmp_path):
  file = trunk_files.write(tmp_path / 'vit.safetensors')
  fields = {'model.feature_cache': str(tmp_path / 'kept') if cache else None}
  words = 'sgd,probe' if cache else 'sgd,adaptformer,logit_adjustment'
  exp = trunk_files.build(
    words, file, 8, **fields, **{'optimizer.learning_rate': 0.5}
  )
  result = experiment.run(exp, workdir=tmp_path / 'run')
  moved = file.rename(tmp_path / 'moved.safetensors')
  with pytest.raises(experiment.ConfigError, match='there is no such file'):
    experiment.load_run(tmp_path / 'run')
  classifier = experiment.load_run(tmp_path / 'run', batch_size=16, trunk=moved)
  _assert_as_evaluated(exp, result.state, classifier)
  assert classifier.features(_IMAGES[:2]).shape == (2, 8)
  other = trunk_files.write(tmp_path / 'other.safetensors', seed=1)
  with pytest.raises(experiment.ConfigError, match='is not the trunk'):
    experiment.load_run(tmp_path / 'run', trunk=other)


def test_head_of_a_finished_run(run, tmp_path):
  base = tmp_path / 'base'
  shutil.copytree(run[0], base)
  exp, result = _ran(tmp_path / 'crt', 'crt', init_from=str(base))
  classifier = experiment.load_run(tmp_path / 'crt', batch_size=16)
  _assert_as_evaluated(exp, result.state, classifier)
  shutil.rmtree(base)
  with pytest.raises(experiment.ConfigError, match='did not train are missing'):
    experiment.load_run(tmp_path / 'crt')


def test_base_run_on_a_trunk_that_was_moved(tmp_path):
  """The second run has trained its head alone, on what the first has tuned."""
  file = trunk_files.write(tmp_path / 'vit.safetensors')
  fields = {'optimizer.learning_rate': 0.5, 'epochs': 1}
  first = trunk_files.build('sgd,adaptformer', file, 8, **fields)
  experiment.run(first, workdir=tmp_path / 'one')
  second = trunk_files.build(
    'sgd,adaptformer,crt', file, 8, init_from=str(tmp_path / 'one'), **fields
  )
  result = experiment.run(second, workdir=tmp_path / 'two')
  moved = file.rename(tmp_path / 'moved.safetensors')
  classifier = experiment.load_run(tmp_path / 'two', batch_size=16, trunk=moved)
  _assert_as_evaluated(second, result.state, classifier)
  _, state = experiment.restore(
    tmp_path / 'two', data=small_sources.SOURCES, trunk=str(moved)
  )
  np.testing.assert_array_equal(
    state.params['classifier']['kernel'],
    result.state.params['classifier']['kernel'],
  )


class _Net(nn.Module):
  width: int = 4

  @nn.compact
  def __call__(self, images):
    x = nn.relu(nn.Dense(self.width)(images.reshape(len(images), -1)))
    return nn.Dense(3)(x)


def test_network_of_ones_own(tmp_path):
  exp, result = _ran(tmp_path, 'sgd', model=_Net())
  with pytest.raises(experiment.ConfigError, match=r'module=Net\(\)'):
    experiment.load_run(tmp_path)
  with pytest.raises(experiment.ConfigError, match='another network'):
    experiment.load_run(tmp_path, module=_Net(5))
  classifier = experiment.load_run(tmp_path, batch_size=16, module=_Net())
  _assert_as_evaluated(exp, result.state, classifier)
  with pytest.raises(experiment.ConfigError, match='does not tell its feat'):
    classifier.features(_IMAGES)


_ON_FINISHED = [name for name in methods.words() if methods.fine_tunes(name)]


@pytest.mark.parametrize(
  'word',
  [
    name
    for name, entry in methods.words().items()
    if name not in _ON_FINISHED
    and {'objective.scheme', 'model.head', 'objective.weights'} & {*entry.sets}
  ],
)
def test_network_of_each_word(word, tmp_path):
  """Made without the data it is the network that is trained."""
  exp = _build(f'sgd,{word}', model__name='small_conv_net')
  content = json.loads(json.dumps(_model_file.content(exp)))
  stored = content['input']
  inputs = training.Inputs(_model_file.standardization(stored))
  sample = np.zeros((1, *stored['shape']), stored['dtype'])
  combined = _load_run._combined(exp.config, content, inputs, sample)
  module = _load_run._module(
    tmp_path, exp.config, content, None, combined, inputs,
    sample, None,
  )  # fmt: skip
  assert combined.model(module) == exp.network
  assert combined.objective.logit_scale == content['logit_scale']
  assert type(combined.objective) is type(exp.objective)


def test_model_file(run):
  folder, exp, result = run
  content = json.loads((folder / 'model.json').read_text())
  assert content['class_counts'] == list(small_sources.COUNTS)
  assert content['params_sha256'] == result.summary['params_sha256']
  assert content['versions'].items() <= result.summary['versions'].items()
  assert content['step'] == content['num_steps'] == result.summary['steps']
  how, stored = exp.image_inputs.preprocess, content['input']
  for name in ('mean', 'std'):
    np.testing.assert_array_equal(
      np.array(stored[name], np.float32), np.ravel(getattr(how, name))
    )
  assert stored['color'] == 'L' and stored['shape'] == [6, 6, 1]
  kernel = content['variables']['params/classifier/kernel']
  assert kernel == {
    'shape': [128, 3],
    'dtype': 'float32',
    'trained': True,
    'sha256': training.params_sha256(
      result.state.params['classifier']['kernel']
    ),
  }


def test_a_run_that_goes_on_can_be_loaded_between(tmp_path):
  exp = _build('sgd')
  seen = []

  def look(records):
    del records
    if not seen:
      seen.append(json.loads((tmp_path / 'model.json').read_text()))

  experiment.run(exp, workdir=tmp_path, progress=look)
  assert seen[0]['step'] is None and seen[0]['params_sha256'] is None
  content = _model_file.read(tmp_path)
  first = experiment.load_run(tmp_path, checkpoint=3)
  last = experiment.load_run(tmp_path)
  assert (first.step, last.step) == (3, 6) and content['step'] == 6
  assert not np.array_equal(first(_IMAGES), last(_IMAGES))


def test_any_number_of_images_gives_the_same_bits(classifier):
  whole = classifier(_IMAGES)
  assert whole.shape == (30, 3) and whole.dtype == np.float32
  np.testing.assert_allclose(whole.sum(axis=1), 1, rtol=1e-6)
  for size in (1, 3, 16, 29):
    parts = [classifier(_IMAGES[i : i + size]) for i in range(0, 30, size)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
  np.testing.assert_array_equal(classifier(list(_IMAGES)), whole)
  np.testing.assert_array_equal(classifier(_IMAGES[4])[0], whole[4])
  np.testing.assert_array_equal(
    classifier(jax.numpy.asarray(_IMAGES[:5])), whole[:5]
  )


def test_one_program(classifier):
  classifier(_IMAGES)
  before = classifier.programs.score._cache_size()
  classifier(_IMAGES[:7])
  classifier(_IMAGES[0])
  assert classifier.programs.score._cache_size() == before


def test_what_a_classifier_tells(run, classifier):
  _, exp, result = run
  assert classifier.class_names == ('0', '1', '2')
  assert classifier.class_counts.tolist() == list(small_sources.COUNTS)
  assert classifier.groups == ('medium', 'few', 'few')
  assert classifier.config == exp.config_of(0)
  assert classifier.step == 6
  assert 'mlp, 3 classes, images [6, 6, 1], step 6 of 6' in repr(classifier)
  np.testing.assert_array_equal(
    classifier.preprocess(_IMAGES),
    exp.image_inputs.evaluated(jax.numpy.asarray(_IMAGES)),
  )
  # The head by hand.
  features, head = (
    classifier.features(_IMAGES),
    result.state.params['classifier'],
  )
  logits = features @ np.asarray(head['kernel']) + np.asarray(head['bias'])
  np.testing.assert_allclose(classifier.logits(_IMAGES), logits, atol=1e-5)
  exps = np.exp(logits.astype(np.float64))
  np.testing.assert_allclose(
    classifier(_IMAGES), exps / exps.sum(axis=1, keepdims=True), rtol=1e-4
  )


def test_top_classes(classifier):
  probabilities = classifier(_IMAGES[:4])
  for row, found in zip(
    probabilities, classifier.predict(_IMAGES[:4], top=9), strict=True
  ):
    assert [one.class_index for one in found.top] == np.argsort(-row).tolist()
    assert [one.probability for one in found.top] == sorted(row)[::-1]
    assert found[:3] == tuple(found.top[0])
  found = classifier.predictions(
    np.zeros([1, 3]), np.full([1, 3], 1 / 3), top=2
  )
  assert [one.class_index for one in found[0].top] == [0, 1]
  with pytest.raises(experiment.ConfigError, match='top'):
    classifier.predict(_IMAGES, top=0)


def _write(image, path):
  Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(path)
  return path


def test_files_and_pictures(classifier, tmp_path):
  paths = [_write(x, tmp_path / f'{i}.png') for i, x in enumerate(_IMAGES[:3])]
  expected = classifier(_IMAGES[:3])
  np.testing.assert_array_equal(classifier(paths), expected)
  np.testing.assert_array_equal(classifier(str(paths[1])), expected[1:2])
  with Image.open(paths[2]) as picture:
    np.testing.assert_array_equal(classifier(picture), expected[2:])
    mixed = [_IMAGES[0], str(paths[1]), picture.convert('RGB')]
    np.testing.assert_array_equal(classifier(mixed), expected)
  shares = (_IMAGES[:3] / 255).astype(np.float32)
  np.testing.assert_allclose(classifier(shares), expected, rtol=1e-5)


def test_what_is_no_image_of_the_run(classifier, tmp_path):
  for images, message in [
    (_IMAGES.astype(np.float32), 'must be pixels in .0, 1., got 0 to'),
    (_IMAGES / 100 - 1, 'do not standardize'),
    (_IMAGES.astype(np.int64), 'must be uint8'),
    (np.full([1, 6, 6, 1], np.nan), 'not finite'),
    (np.zeros([2, 8, 6, 1], np.uint8), 'Pass `resize=True`'),
    (np.zeros([2, 6, 6, 3], np.uint8), 'have 1 channels, got 3'),
    (np.zeros([6, 5], np.uint8), r'expected an array \[6, 6, 1\] or \[N, 6'),
    (np.zeros([0, 6, 6, 1], np.uint8), 'got no image'),
    ([], 'an empty list'),
    (3, 'the path of an image file.*got int'),
    (tmp_path / 'none.png', 'none.png cannot be read: No such file'),
    (_write(np.zeros([7, 9, 3], np.uint8), tmp_path / 'a.png'), '9x7 pixels'),
  ]:
    with pytest.raises(data_lib.DataError, match=message):
      classifier(images)


def test_other_sizes_are_resized_if_asked_for(run, tmp_path):
  classifier = experiment.load_run(run[0], resize=True, batch_size=16)
  doubled = _IMAGES[0].repeat(2, axis=0).repeat(2, axis=1)
  # The middle counts, whose filter sees what is beside it.
  wide = np.pad(doubled, [(0, 0), (6, 6), (0, 0)], mode='edge')
  tall = np.pad(doubled, [(6, 6), (0, 0), (0, 0)], mode='edge')
  boxes = ((doubled, None), (wide, (6, 0, 18, 12)), (tall, (0, 6, 12, 18)))
  for image, box in boxes:
    picture = Image.fromarray(image[..., 0])
    expected = np.asarray(picture.resize((6, 6), 2, box=box))  # Bilinear.
    path = _write(image, tmp_path / 'image.png')
    for given in (image, path, picture):
      np.testing.assert_array_equal(classifier.stored(given)[..., 0], expected)
  flat = np.full([3, 12, 9, 1], 0.5, np.float32)
  np.testing.assert_allclose(
    classifier.preprocess(flat),
    classifier.preprocess(np.full([3, 6, 6, 1], 0.5)),
    rtol=1e-6,
  )


def test_encoded_images_are_cut_as_in_the_evaluation(tmp_path):
  rng = np.random.RandomState(0)
  for split, number in (('train', 8), ('test', 4)):
    for label, name in enumerate(('=a,"b"', 'ü')):
      folder = tmp_path / 'data' / split / name
      folder.mkdir(parents=True)
      for i in range(number):
        image = rng.randint(0, 99, (12 + i, 9 + 2 * i, 3)) + 120 * label
        _write(image.astype(np.uint8), folder / f'{i}.png')
  exp = _build(
    'sgd',
    data=None,
    data__name='image_folder',
    data__data_dir=str(tmp_path / 'data'),
    data__splits=('train', None, 'test'),
    data__image_size=8,
    data__imbalance_factor=1.0,
    optimizer__threshold=5,
  )
  result = experiment.run(exp, workdir=tmp_path / 'run')
  paths = list(exp.data.test.images.names())
  shutil.copytree(tmp_path / 'data', tmp_path / 'new')
  shutil.rmtree(tmp_path / 'data' / 'train')
  classifier = experiment.load_run(tmp_path / 'run', batch_size=8)
  classes, _ = training.predict(
    exp.predict_step,
    result.state.variables,
    exp.data.test,
    batch_size=16,
    mesh=exp.mesh,
  )
  found = classifier.predict(paths)
  assert [one.class_index for one in found] == classes.tolist()
  assert {one.name for one in found} <= {'=a,"b"', 'ü'}
  for path, row in zip(paths, exp.data.test.images[:], strict=True):
    np.testing.assert_array_equal(classifier.stored(path), row)
    with Image.open(path) as picture:
      np.testing.assert_array_equal(classifier.stored(picture), row)
      gray = picture.convert('L')
      assert classifier.stored(gray).shape == (8, 8, 3)


def test_rows_of_a_table(tmp_path):
  rng = np.random.RandomState(0)
  labels = np.repeat([0, 1], [24, 8])
  rows = (rng.randn(32, 5) + 2 * labels[:, None]).astype(np.float32)
  data = experiment.Sources(train=(rows, labels), test=(rows, labels))
  exp, result = _ran(tmp_path, 'sgd', data=data)
  classifier = experiment.load_run(tmp_path, batch_size=16)
  _assert_as_evaluated(exp, result.state, classifier)
  assert classifier.content['input']['color'] == 'table'
  with pytest.raises(data_lib.DataError, match=r'of the shape \(5,\)'):
    classifier('a.png')
  with pytest.raises(data_lib.DataError, match='trained on float32 from'):
    classifier(np.zeros([2, 5], np.uint8))


@pytest.mark.parametrize(
  ('many_above', 'few_below', 'expected'),
  [(30, 12, 'medium medium few'), (29, 13, 'many few few')],
)
def test_groups_are_those_of_the_metrics(
  many_above, few_below, expected, run, tmp_path
):
  folder = tmp_path / 'run'
  shutil.copytree(run[0], folder)
  content = json.loads((folder / 'model.json').read_text())
  content |= {'many_above': many_above, 'few_below': few_below}
  (folder / 'model.json').write_text(json.dumps(content))
  assert ' '.join(experiment.load_run(folder).groups) == expected


def test_missing_pieces(run, tmp_path):
  folder = tmp_path / 'run'
  shutil.copytree(run[0], folder)
  path = folder / 'model.json'
  text = path.read_text()
  with pytest.raises(experiment.ConfigError, match='there is no run in'):
    experiment.load_run(tmp_path / 'none')
  with pytest.raises(training.CheckpointError, match='with one are: 3, 6'):
    experiment.load_run(folder, checkpoint=4)
  with pytest.raises(experiment.ConfigError, match='of this library'):
    experiment.load_run(folder, module=_Net())
  content = json.loads(text)
  for changes, message in [
    ({'format': 2}, 'has format 2'),
    ({'format': 'x'}, 'not a readable model.json'),
    ({'input': {}}, "readable model.json: 'input.shape' is None"),
  ]:
    path.write_text(json.dumps(content | changes))
    with pytest.raises(experiment.ConfigError, match=message):
      experiment.load_run(folder)
  path.write_text('{')
  with pytest.raises(experiment.ConfigError, match='not a readable model.json'):
    experiment.load_run(folder)
  path.write_text(json.dumps(content | {'config_sha256': '0'}))
  with pytest.raises(experiment.ConfigError, match='not the configuration'):
    experiment.load_run(folder)
  assert experiment.load_run(folder, verify=False).step == 6
  path.unlink()
  with pytest.raises(experiment.ConfigError, match='has no model.json'):
    experiment.load_run(folder)
  name = 'params/dense1/kernel'
  content['variables'][name]['sha256'] = '0'
  path.write_text(json.dumps(content))
  with pytest.raises(training.CheckpointError, match='not what the run repor'):
    experiment.load_run(folder)
  assert experiment.load_run(folder, verify=False).step == 6
  content['variables'][name]['shape'] = [1, 2]
  path.write_text(json.dumps(content))
  with pytest.raises(training.CheckpointError, match='not of one run'):
    experiment.load_run(folder)


def test_run_of_an_earlier_version_gets_its_file(run, tmp_path):
  folder, exp, _ = run
  shutil.copytree(folder, tmp_path / 'run')
  (tmp_path / 'run' / 'model.json').unlink()
  experiment.run(exp, workdir=tmp_path / 'run')
  assert (tmp_path / 'run' / 'model.json').read_bytes() == (
    folder / 'model.json'
  ).read_bytes()


def test_core_stays_light():
  assert imbsam_jax.load_run is experiment.load_run
  assert 'load_run' in dir(imbsam_jax)
  code = (
    'import sys, imbsam_jax\n'
    'print([m for m in ("flax", "orbax", "jax") if m in sys.modules])'
  )
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert done.stdout.strip() == '[]'
