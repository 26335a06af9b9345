# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every configuration of a data set: counts, groups, training steps, errors."""

import importlib
import io
import pathlib
import re
from unittest import mock

import chex
import jax
import numpy as np
from PIL import Image
import pytest

from imbsam_jax import data
from imbsam_jax import experiment as experiment_lib
from imbsam_jax import training
from imbsam_jax._runs import fields
from imbsam_jax.experiment import _data_sets
from imbsam_jax.experiment.recipes import cifar10_lt
from imbsam_jax.experiment.recipes import cifar100_lt
from imbsam_jax.experiment.recipes import cifar100_lt_imbsam
from imbsam_jax.experiment.recipes import from_json
from imbsam_jax.experiment.recipes import i_naturalist2018
from imbsam_jax.experiment.recipes import image_folder
from imbsam_jax.experiment.recipes import imagenet_lt
from imbsam_jax.experiment.recipes import npz_lt
from imbsam_jax.experiment.recipes import places_lt
from tests.experiment import trunk_files
from tests.training import tiny_training as tiny

_FOLDER = pathlib.Path(cifar10_lt.__file__).parent
# A net and batches that cost little to trace, compile and run.
_SMALL = {
  'model.name': 'strided_conv_net',
  'data.batch_size': 8,
  'data.validation_per_class': 0,
  'epochs': 1.0,
  'optimizer.warmup_epochs': 0.0,
}


def _groups(num_total, *groups):
  """Counts of groups that are given as (classes, largest, smallest).

  The first groups fall geometrically; what their sum is wrong by goes into
  counts inside a group, which keeps its bounds.
  """
  counts = [
    np.round(np.geomspace(largest, smallest, num)).astype(int)
    for num, largest, smallest in groups
  ]
  for (_, largest, smallest), group in zip(groups, counts, strict=True):
    inner = group[1:-1]
    missing = num_total - sum(x.sum() for x in counts)
    limit = largest if missing > 0 else smallest
    for i in range(len(inner)):
      step = np.clip(
        missing, min(0, limit - inner[i]), max(0, limit - inner[i])
      )
      inner[i] += step
      missing -= step
  assert sum(x.sum() for x in counts) == num_total
  return np.concatenate(counts)


# By split: images per class. What is published of the natural ones: number of
# images, largest and smallest class, classes that are many, medium and few.
_IMAGENET = _groups(115_846, (385, 1280, 101), (479, 100, 20), (136, 19, 5))
_INAT = _groups(437_513, (842, 1000, 101), (3701, 100, 20), (3599, 19, 2))
_PLACES = _groups(62_500, (131, 4980, 101), (163, 100, 20), (71, 19, 5))
_SPLITS = {
  'cifar10': {'train': [5000] * 10, 'test': [1000] * 10},
  'cifar100': {'train': [500] * 100, 'test': [100] * 100},
  'fashion_mnist': {'train': [6000] * 10, 'test': [1000] * 10},
  'digits': {'train': [128] * 10, 'test': [50] * 10},
  'imagenet_lt': {
    'train': _IMAGENET, 'validation': [20] * 1000, 'test': [50] * 1000,
  },
  'i_naturalist2018': {'train': _INAT, 'validation': [3] * 8142},
  'image_list': {
    'Places_LT_train.txt': _PLACES,
    'Places_LT_val.txt': [20] * 365,
    'Places_LT_test.txt': [100] * 365,
  },
  'image_folder': {'train': [200, 30, 9], 'test': [5, 5, 5]},
  'npz': {'train': [200, 30, 9], 'test': [5, 5, 5]},
}  # fmt: skip
_SHAPES = {
  'cifar10': (32, 32, 3),
  'cifar100': (32, 32, 3),
  'digits': (8, 8, 1),
  'fashion_mnist': (28, 28, 1),
  'npz': (6, 5, 2),
}


class _Source:
  """Images of as many examples as a data set has, few of them different."""

  def __init__(self, config, split, class_names=None):
    counts = np.asarray(_SPLITS[config.name][split])
    self.class_names = class_names or [f'c{i}' for i in range(len(counts))]
    assert len(self.class_names) == len(counts)
    self.labels = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    self.labels = np.random.default_rng(0).permutation(self.labels)
    self._size = config.image_size
    # Larger in files, as photographs are.
    shape = _SHAPES[config.name] if self._size is None else (45, 60, 3)
    self._images = np.random.default_rng(1).integers(
      0, 256, (16, *shape), dtype=np.uint8
    )
    if self._size is not None:
      self._files = [_jpeg(image) for image in self._images]

  def examples(self, indices):
    indices = np.asarray(indices)
    images = self._images
    if self._size is None:
      images = images[indices % len(images)]
    else:
      images = data.EncodedImages(
        lambda i: self._files[i % len(self._files)],
        lambda i: f'image {i}',
        size=self._size,
        indices=indices,
      )
    return data.Examples(images, self.labels[indices])


def _jpeg(image):
  file = io.BytesIO()
  Image.fromarray(image).save(file, format='JPEG')
  return file.getvalue()


@pytest.fixture(scope='module', name='loaded')
def _loaded():
  """``loaded(config)``: invented images of a configuration, made once."""
  kept = []

  def load(config):
    for known, found in kept:
      if _data_sets.same_examples(known, config):
        return found
    with mock.patch.object(_data_sets, '_source', _Source):
      kept.append((config, experiment_lib.load(config)))
    return kept[-1][1]

  return load


def _get_config(name, words):
  module = importlib.import_module(f'experiments.configs.{name}')
  return module.get_config(words)


def _small(config, folder=None):
  """A small configuration; with a trunk, its file goes into a folder."""
  changes = dict(_SMALL)
  if config.data.image_size:
    changes['data.image_size'] = 32
  if config.model.name == 'trunk':
    path = trunk_files.write(folder / 'vit.safetensors')
    changes |= {'model.name': 'trunk', 'model.trunk': str(path)}
    if config.model.feature_cache:
      changes['model.feature_cache'] = str(folder / 'features')
  return experiment_lib.replace(config, changes)


# Images, classes, largest and smallest; validation and test images; groups;
# classes in the tail. Of the published sets by their papers.
_FACTS = {
  'cifar10_lt': (12_406, 10, 5000, 50, 0, 10_000, (8, 2, 0), 2),
  'cifar10_lt_short': (12_406, 10, 5000, 50, 0, 10_000, (4, 3, 3), 2),
  'cifar100_lt': (10_847, 100, 500, 5, 0, 10_000, (35, 35, 30), 30),
  'cifar100_lt_features': (10_847, 100, 500, 5, 0, 10_000, (35, 35, 30), 30),
  'cifar100_lt_imbsam': (10_847, 100, 500, 5, 0, 10_000, (35, 35, 30), 30),
  'cifar100_lt_vit': (10_847, 100, 500, 5, 0, 10_000, (35, 35, 30), 30),
  'digits_lt': (335, 10, 100, 5, 0, 500, (3, 2, 5), 5),
  'fashion_mnist_lt': (14_886, 10, 6000, 60, 0, 10_000, (4, 3, 3), 3),
  'i_naturalist2018': (
    437_513, 8142, 1000, 2, 0, 24_426, (842, 3701, 3599), 3599,
  ),
  'image_folder': (239, 3, 200, 9, 0, 15, (1, 1, 1), 1),
  'image_folder_features': (239, 3, 200, 9, 0, 15, (1, 1, 1), 1),
  'image_folder_vit': (239, 3, 200, 9, 0, 15, (1, 1, 1), 1),
  'imagenet_lt': (
    115_846, 1000, 1280, 5, 20_000, 50_000, (385, 479, 136), 136,
  ),
  'npz_lt': (239, 3, 200, 9, 0, 15, (1, 1, 1), 1),
  'places_lt': (62_500, 365, 4980, 5, 7300, 36_500, (131, 163, 71), 71),
  'tfds_lt': (12_406, 10, 5000, 50, 0, 10_000, (8, 2, 0), 2),
}  # fmt: skip


# By where images are and by norm, so by what differs in a program.
_TRAINED = ('fashion_mnist_lt', 'image_folder', 'imagenet_lt', 'npz_lt')


def test_every_configuration_is_here():
  found = {path.stem for path in _FOLDER.glob('*.py')}
  # Tables of anomalies have tests of their own.
  assert found - {
    '__init__',
    '_foundation',
    '_published',
    'from_json',
    'own',
  } == set(_FACTS)


@pytest.mark.parametrize(
  'name',
  [
    name
    if name in ('cifar10_lt', 'digits_lt')
    else pytest.param(name, marks=pytest.mark.extended)
    for name in _FACTS
  ],
)
def test_counts_and_steps(name, loaded, tmp_path):
  config = _small(_get_config(name, 'imbsam'), tmp_path)
  experiment = experiment_lib.build(config, data=loaded(config.data))
  header = str(experiment)
  total, classes, largest, smallest, validation, test, groups, tail = _FACTS[
    name
  ]
  assert (
    f'{classes} classes, {total} training images ({largest} to {smallest} per '
    f'class, imbalance factor {largest / smallest:.4g}), {validation} '
    f'validation, {test} test'
  ) in header
  many, medium, few = groups
  assert re.search(
    rf'{many} many \(> \d+\), {medium} medium, {few} few \(< \d+\); '
    rf'tail \(< \d+\): {tail} class',
    header,
  ), header
  if name not in _TRAINED:
    _trace(experiment)
    return
  _take_two_steps(experiment)
  config = _small(_get_config(name, 'sgd'), tmp_path)
  _take_two_steps(experiment_lib.build(config, data=loaded(config.data)))


def _trace(experiment):
  """The first step without computing anything."""
  state = jax.eval_shape(lambda: experiment.init(0))
  batch = experiment.put(experiment.batches(0)[0])
  after, found = jax.eval_shape(experiment.train_step(0), state, batch)
  chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
  assert found['loss'].shape == ()


def _take_two_steps(experiment):
  state = jax.jit(experiment.init, static_argnums=0)(0)
  batches = experiment.batches(0)
  before = tiny.leaves(state.params)
  for step in range(2):
    batch = experiment.put(batches[step])
    state, found = experiment.train_step(step)(state, batch)
    assert np.isfinite(float(found['loss']))
    assert not found.get('skipped')
  after = tiny.leaves(state.params)
  chex.assert_tree_all_finite(after)
  assert any((x != y).any() for x, y in zip(before, after, strict=True))


@pytest.mark.parametrize(
  ('name', 'words', 'changes'),
  [
    ('fashion_mnist_lt', 'sgd', {}),
    ('i_naturalist2018', 'ldam_drw', {}),
    ('image_folder', 'sgd', {}),
    ('imagenet_lt', 'imbsam', {'model.dtype': 'bfloat16'}),
    ('places_lt', 'sgd', {}),
  ],
)
@pytest.mark.extended
def test_true_models_can_be_traced(name, words, changes, loaded):
  config = experiment_lib.replace(_get_config(name, words), changes)
  _trace(experiment_lib.build(config, data=loaded(config.data)))


@pytest.mark.parametrize(
  ('name', 'words'),
  [
    ('cifar100_lt_vit', 'rsam,vpt_deep,gcl_drw'),
    ('cifar100_lt_vit', 'adaptformer,logit_adjustment'),
    ('cifar100_lt_vit', 'imbsam,vpt_deep,gcl_drw'),
    ('cifar100_lt_vit', 'sam,adaptformer,logit_adjustment'),
    ('image_folder_vit', 'imbsam,logit_adjustment'),
    ('image_folder_vit', 'sam'),
  ],
)
def test_three_steps_on_a_trunk(name, words, tmp_path):
  """The whole of a command, on two images of each class."""
  config = _small(_get_config(name, words), tmp_path)
  counts = [3] * 99 + [2] if name.startswith('cifar') else [12, 8, 3]
  rng = np.random.default_rng(0)

  def images(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    shape = (len(labels), 32, 32, 3)
    return rng.integers(0, 256, shape, dtype=np.uint8), labels

  sources = experiment_lib.Sources(images(counts), images([1] * len(counts)))
  in_memory = {
    'data.image_size': None,
    'data.profile': 'natural',
    'data.batch_size': -(-sum(counts) // 24) * 8,
    'optimizer.threshold': 3 if name.startswith('cifar') else 10,
  }
  experiment = experiment_lib.build(
    experiment_lib.replace(config, in_memory), data=sources
  )
  result = experiment_lib.run(experiment)
  assert result.summary['steps'] == 3
  assert np.isfinite(result.summary['train_loss'])
  assert experiment.abstract_state.frozen


def test_a_run_can_be_repeated_from_json(tmp_path):
  config = places_lt.get_config('imbsam')
  path = tmp_path / 'config.json'
  training.write_json(path, fields.to_json(config))
  assert from_json.get_config(str(path)) == config


def _with_data(config, **changes):
  return experiment_lib.replace(
    config, {f'data.{name}': value for name, value in changes.items()}
  ).data


def _counts(config, loaded, **changes):
  return loaded(_with_data(config, **changes)).class_counts.tolist()


class TestCifarProtocols:
  """What the literature varies, by fields alone."""

  @pytest.mark.parametrize(
    ('factor', 'total', 'smallest'),
    [(10, 20431, 500), (20, 17023, 250), (50, 13996, 100), (200, 11203, 25)],
  )
  def test_imbalance_factors_of_cifar10(self, factor, total, smallest, loaded):
    counts = _counts(
      cifar10_lt.get_config(), loaded, imbalance_factor=float(factor)
    )
    assert (sum(counts), counts[-1]) == (total, smallest)

  @pytest.mark.parametrize(
    ('factor', 'total', 'smallest'),
    [(10, 19573, 50), (20, 15907, 25), (50, 12608, 10), (200, 9502, 2)],
  )
  def test_imbalance_factors_of_cifar100(self, factor, total, smallest, loaded):
    counts = _counts(
      cifar100_lt.get_config(), loaded, imbalance_factor=float(factor)
    )
    assert (sum(counts), counts[-1]) == (total, smallest)

  def test_tail_of_sse_sam(self, loaded):
    counts = np.array(_counts(cifar100_lt.get_config(), loaded))
    tail = counts[counts < 100]
    assert len(tail) == 65
    assert tail.sum() / counts.sum() == pytest.approx(0.1865, abs=5e-5)
    assert cifar100_lt_imbsam.get_config('sse_sam').optimizer.threshold == 100

  def test_step_profile(self, loaded):
    config = cifar10_lt.get_config()
    counts = _counts(config, loaded, profile='step', imbalance_factor=50.0)
    assert counts == [5000] * 5 + [100] * 5

  def test_subset_rules(self, loaded):
    config = cifar10_lt.get_config()
    labels = _Source(config.data, 'train').labels
    for subset in ('first', 'shuffled'):
      with mock.patch.object(_data_sets, '_source', _IndexSource):
        found = experiment_lib.load(_with_data(config, subset=subset)).train
      rarest = found.images[found.labels == 9].ravel()
      first = np.flatnonzero(labels == 9)[:50]
      assert (rarest == first).all() == (subset == 'first')
      assert (labels[rarest] == 9).all()


class _IndexSource(_Source):
  """Images are their indices."""

  def examples(self, indices):
    return data.Examples(np.asarray(indices)[:, None], self.labels[indices])


def test_recipe_of_imbsam():
  config = cifar100_lt_imbsam.get_config('imbsam')
  optimizer = config.optimizer
  assert optimizer.rho == 0.05 and optimizer.tail_weight == 2
  assert optimizer.learning_rate == 0.01 and optimizer.weight_decay == 1e-3
  assert optimizer.schedule == 'cosine' and optimizer.warmup_epochs == 0
  assert optimizer.threshold == 20 and config.data.subset == 'first'
  assert cifar100_lt_imbsam.get_config('sam').optimizer.tail_weight == 1
  experiment_lib.check_config(
    experiment_lib.replace(
      config, {'flip_test': True, 'best_on_test': True, 'save_every': 1.0}
    )
  )


def test_radii_of_saddle_longtail():
  # The schedule is a share of the run, so its length belongs to it.
  for module, last in ((imagenet_lt, 0.5), (i_naturalist2018, 0.2)):
    config = module.get_config('sam,drw')
    assert config.epochs == 90 and config.optimizer.rho == last
    assert config.optimizer.rho_schedule.startswith('step(')
    assert module.get_config('sam').optimizer.rho == 0.05


# ------------------------------------------------------------ real files


def _write_images(folder, counts):
  rng = np.random.default_rng(0)
  for name, count in counts.items():
    (folder / name).mkdir(parents=True)
    for i in range(count):
      pixels = rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)
      (folder / name / f'{i}.jpg').write_bytes(_jpeg(pixels))


def _load(config, **changes):
  return experiment_lib.load(_with_data(config, **changes))


def test_image_folder(tmp_path):
  _write_images(tmp_path / 'train', {'ant': 3, 'bee': 2, 'cat': 1})
  _write_images(tmp_path / 'val', {'bee': 1})
  _write_images(tmp_path / 'test', {'bee': 1, 'cat': 2})
  config, folder = image_folder.get_config(), str(tmp_path)
  splits = ('train', 'val', 'test')
  found = _load(config, data_dir=folder, splits=splits, image_size=8)
  assert found.class_counts.tolist() == [3, 2, 1]
  assert list(found.class_names) == ['ant', 'bee', 'cat']
  assert found.test.labels.tolist() == [1, 2, 2]
  assert found.validation.labels.tolist() == [1]
  assert found.test.images[:].shape == (3, 8, 8, 3)
  _write_images(tmp_path / 'test', {'dog': 1})
  with pytest.raises(data.DataError, match="folder 'dog'.*not in"):
    _load(config, data_dir=folder)


def test_npz(tmp_path):
  path = tmp_path / 'mine.npz'
  images = np.random.default_rng(0).normal(size=(5, 4, 4, 1))
  labels = np.array([0, 0, 0, 1, 1])
  np.savez(
    path, x_train=images, y_train=labels, x_test=images[:1], y_test=labels[:1]
  )
  config = npz_lt.get_config()
  found = _load(config, data_dir=str(path))
  assert found.class_counts.tolist() == [3, 2]
  assert found.train.images.dtype == np.float32
  with pytest.raises(ValueError, match='image_size=None'):
    _load(config, data_dir=str(path), image_size=8)


def _write_lists(folder, **lines):
  paths = []
  for name, text in lines.items():
    paths.append(folder / f'{name}.txt')
    paths[-1].write_text(text)
  return tuple(map(str, paths))


def test_image_lists(tmp_path):
  _write_images(tmp_path / 'train', {'airfield': 3, 'zen_garden': 2})
  _write_images(tmp_path / 'val', {'airfield': 1, 'zen_garden': 1})
  train, validation, test, wrong = _write_lists(
    tmp_path,
    train='train/airfield/0.jpg 0\ntrain/airfield/2.jpg 0\n'
    'train/zen_garden/1.jpg 1\n',
    validation='train/airfield/1.jpg 0\n',
    test='val/airfield/0.jpg 0\nval/zen_garden/0.jpg 1\n',
    wrong='val/airfield/0.jpg 0\nval/zen_garden/0.jpg 2\n',
  )
  config, folder = places_lt.get_config(), str(tmp_path)
  splits = (train, validation, test)
  found = _load(config, data_dir=folder, splits=splits, image_size=8)
  assert found.class_counts.tolist() == [2, 1]
  assert found.validation.labels.tolist() == [0]
  assert found.test.labels.tolist() == [0, 1]
  assert found.train.images[:].shape == (3, 8, 8, 3)
  with pytest.raises(data.DataError, match=r'wrong.txt:2: .* in \[0, 2\)'):
    _load(config, data_dir=folder, splits=(train, None, wrong))


def test_positions_in_a_tfds_set(tmp_path, tfds_dir):
  whole = data.TfdsSource('digits', 'train', data_dir=tfds_dir)
  chosen = [7, 3, 11, *range(20, 60)]
  (path,) = _write_lists(
    tmp_path, some=''.join(f'{i} {whole.labels[i]}\n' for i in chosen)
  )
  config = places_lt.get_config()
  found = _load(
    config,
    name='digits',
    data_dir=tfds_dir,
    image_size=None,
    splits=(f'train@{path}', None, 'test'),
  )
  expected = np.bincount(whole.labels[chosen], minlength=10)
  np.testing.assert_array_equal(found.class_counts, expected)
  images = whole.examples(np.sort(chosen)).images
  assert {x.tobytes() for x in images} == {
    x.tobytes() for x in found.train.images
  }
  with pytest.raises(data.DataError, match='no list of positions nowhere'):
    _load(
      config,
      name='digits',
      data_dir=tfds_dir,
      splits=('train@nowhere', None, 'test'),
    )


# ------------------------------------------------------------ what is missing


@pytest.mark.parametrize('module', [image_folder, npz_lt, places_lt])
def test_without_a_folder(module):
  with pytest.raises(
    experiment_lib.ConfigError, match='pass `data.data_dir=PATH`'
  ):
    experiment_lib.build(module.get_config())


@pytest.mark.parametrize(
  ('module', 'expected'),
  [
    (image_folder, r'no folder of images .*nothing. Pass .*data_dir=PATH'),
    (places_lt, r'no list of images Places_LT_train.txt(.|\n)*splits='),
    (npz_lt, 'cannot be read as a .npz file'),
  ],
)
def test_what_is_not_there(module, expected, tmp_path):
  config = experiment_lib.replace(
    module.get_config(), {'data.data_dir': str(tmp_path / 'nothing')}
  )
  with pytest.raises(data.DataError, match=expected):
    experiment_lib.build(config)


def test_lists_without_images(tmp_path):
  lists = _write_lists(tmp_path, train='a/1.jpg 0\n')
  config = experiment_lib.replace(
    places_lt.get_config(),
    {'data.data_dir': str(tmp_path), 'data.splits': lists * 3},
  )
  with pytest.raises(data.DataError, match='no file .*a/1.jpg'):
    experiment_lib.build(config)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('module', [imagenet_lt, i_naturalist2018])
def test_sets_that_are_not_prepared(module, tfds_dir):
  config = experiment_lib.replace(
    module.get_config(), {'data.data_dir': tfds_dir}
  )
  with pytest.raises(data.DataError, match='download_and_prepare'):
    experiment_lib.build(config)


def test_two_splits_are_needed(tmp_path):
  config = experiment_lib.replace(
    image_folder.get_config(),
    {'data.data_dir': str(tmp_path), 'data.splits': ('train', None, None)},
  )
  with pytest.raises(
    experiment_lib.ConfigError, match='a training and a test split'
  ):
    experiment_lib.build(config)
