# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs on a pre-trained trunk."""

import json
import shutil

import chex
from flax import traverse_util
import jax
import numpy as np
import optax
from PIL import Image
import pytest

from imbsam_jax import experiment
from imbsam_jax import models
from imbsam_jax import pretrained
from imbsam_jax import training
from imbsam_jax.experiment import _trunk_features
from tests.experiment import kinds_test
from tests.experiment import small_sources
from tests.experiment import trunk_files

_PROBE = {'model.tuning': 'probe'}


@pytest.fixture(scope='module', name='file')
def _file(tmp_path_factory):
  return trunk_files.write(tmp_path_factory.mktemp('trunk') / 'vit.safetensors')


def _paths(tree):
  return {'/'.join(path) for path in traverse_util.flatten_dict(tree)}


# By word of tuning what a leaf of the trunk is trained by.
TUNED = {
  'full': lambda path: True,
  'probe': lambda path: False,
  'partial': lambda path: path.startswith('block2/'),
  'bitfit': lambda path: path.startswith('block') and path.endswith('/bias'),
  'layer_norm': lambda path: '/norm' in path,
  'vpt_shallow': lambda path: path == 'prompts',
  'vpt_deep': lambda path: path.endswith('/prompts'),
  'adaptformer': lambda path: '/adaptformer/' in path,
  'adapter': lambda path: '/adapter/' in path,
  'lora': lambda path: '/lora_' in path,
  'ssf': lambda path: '/ssf_' in path,
}


@pytest.mark.parametrize('tuning', TUNED)
def test_what_is_trained_and_what_is_kept(tuning, file):
  exp = trunk_files.build(f'sam,{tuning}', file)
  state = exp.init(0)
  read = traverse_util.flatten_dict(pretrained.load(file).variables['params'])
  trained = {
    path.removeprefix('trunk/')
    for path in _paths(state.params)
    if path.startswith('trunk/')
  }
  frozen = {path.removeprefix('trunk/') for path in _paths(state.frozen)}
  assert all(map(TUNED[tuning], trained))
  assert not any(map(TUNED[tuning], frozen))
  assert bool(trained) == (tuning != 'probe')
  # All of the file is there, bit for bit.
  variables = traverse_util.flatten_dict(state.variables['params'])
  for path, leaf in read.items():
    np.testing.assert_array_equal(variables['trunk', *path], leaf)
  # No moment of what is frozen.
  momentum = optax.tree.get(state.opt_state, 'trace')
  chex.assert_trees_all_equal_shapes(momentum, state.params)


# All rules with one way of tuning, all ways of tuning with one rule.
_FROZEN = [
  *((rule, 'vpt_deep') for rule in ('sam', 'sse_sam', 'rsam', 'focal_sam')),
  *(('imbsam', tuning) for tuning in ('vpt_deep', 'adaptformer', 'probe')),
]


@pytest.mark.parametrize(('rule', 'tuning'), _FROZEN)
def test_frozen_leaves_stay_bit_for_bit(rule, tuning, file):
  """Under weight decay, clipping and a moving average."""
  exp = trunk_files.build(
    f'{rule},{tuning}',
    file,
    **{
      'optimizer.weight_decay': 0.1,
      'optimizer.decay': 'all',
      'optimizer.clip_norm': 0.1,
      'optimizer.ema_decay': 0.5,
    },
  )
  begin = exp.init(0)
  batch = exp.put(exp.batches(0)[0])
  after, metrics = exp.train_step(0)(exp.init(0), batch)
  assert np.isfinite(float(metrics['loss']))
  chex.assert_trees_all_equal(after.frozen, begin.frozen)
  chex.assert_trees_all_equal_shapes(after.ema_params, begin.params)
  for one, other in zip(
    *map(jax.tree.leaves, (begin.params, after.params)), strict=True
  ):
    assert not np.array_equal(one, other)


@pytest.fixture(scope='module', name='run')
def _run(file, tmp_path_factory):
  """A run, its folder, experiment and result."""
  folder = tmp_path_factory.mktemp('run') / 'imbsam'
  exp = trunk_files.build('imbsam,vpt_deep', file)
  return folder, exp, experiment.run(exp, workdir=folder)


def test_header_and_files(run, file):
  folder, exp, result = run
  header = str(exp)
  assert 'trunk   vit.safetensors: timm ViT, preset vit, 8x8 px' in header
  trained = sum(x.size for x in jax.tree.leaves(result.state.params))
  assert f'{trained:,} of them trained' in header
  assert 'imbsam vpt_deep, head and tail rows apart' in header
  saved = json.loads((folder / 'config.json').read_text())
  assert saved['model']['trunk'] == str(file)
  assert saved['model']['trunk_sha256'] == pretrained.load(file).sha256


def test_goes_on_where_it_stopped(run, tmp_path):
  _, exp, whole = run

  class _Stopped(Exception):
    pass

  def stop(records):
    if records[-1]['step'] == 6:
      raise _Stopped

  with pytest.raises(_Stopped):
    experiment.run(exp, workdir=tmp_path, progress=stop)
  again = experiment.run(exp, workdir=tmp_path)
  chex.assert_trees_all_equal(whole.state.variables, again.state.variables)


def test_two_devices_are_one(run, file):
  _, exp, _ = run
  two = trunk_files.build('imbsam,vpt_deep', file, 2)
  states = []
  for one in (exp, two):
    state = one.init(0)
    for step in range(2):
      batch = one.put(one.batches(0)[step])
      state, _ = one.train_step(step)(state, batch)
    states.append(jax.device_get(state.params))
  chex.assert_trees_all_close(*states, rtol=1e-5, atol=1e-6)


def test_checkpoints_have_no_leaf_of_the_trunk(run):
  folder, exp, _ = run
  size = sum(
    path.stat().st_size
    for path in (folder / 'checkpoints').rglob('*')
    if path.is_file()
  )
  state = jax.eval_shape(exp.init, 0)
  kept = sum(
    x.size * x.dtype.itemsize
    for x in jax.tree.leaves((state.params, state.opt_state))
  )
  # Two checkpoints, each with a few kilobytes of its own.
  assert size < 2 * kept + 200_000
  with experiment_checkpoints(folder) as checkpoints:
    _, variables = checkpoints.variables(checkpoints.latest_step)
  assert not any('mlp' in path for path in _paths(variables['params']))


def experiment_checkpoints(folder):
  return training.Checkpoints(
    folder / 'checkpoints', best_metric='balanced', read_only=True
  )


def test_a_trunk_that_was_moved_or_changed(run, file, tmp_path):
  folder, _, result = run
  copy = tmp_path / 'run'
  shutil.copytree(folder, copy)
  moved = tmp_path / 'moved.safetensors'
  shutil.copy(file, moved)
  config = json.loads((copy / 'config.json').read_text())
  config['model']['trunk'] = str(tmp_path / 'gone.safetensors')
  (copy / 'config.json').write_text(json.dumps(config))
  with pytest.raises(experiment.ConfigError, match='no such file. If it was m'):
    experiment.restore(copy, data=small_sources.SOURCES)
  _, state = experiment.restore(
    copy, data=small_sources.SOURCES, trunk=str(moved)
  )
  chex.assert_trees_all_equal(state.variables, result.state.variables)
  # The same command with the file in its new place finds the run complete.
  again = experiment.run(
    trunk_files.build('imbsam,vpt_deep', moved), workdir=copy
  )
  assert again.summary['step_programs'] == 0
  other = trunk_files.write(tmp_path / 'other.safetensors', seed=1)
  with pytest.raises(experiment.ConfigError, match='its checksum is .*it was'):
    experiment.restore(copy, data=small_sources.SOURCES, trunk=str(other))
  with pytest.raises(experiment.ConfigError, match='model.trunk_sha256: '):
    experiment.run(trunk_files.build('imbsam,vpt_deep', other), workdir=copy)


def test_a_second_stage_trains_the_head_alone(run, file):
  folder, _, result = run
  exp = trunk_files.build(
    'sam,vpt_deep,crt', file, init_from=str(folder), epochs=1
  )
  state = exp.init(0)
  assert set(state.params) == {'classifier'}
  trunk = result.state.variables['params']['trunk']
  chex.assert_trees_all_equal(state.frozen['trunk'], trunk)


# What a step costs in SGD steps that train all: one of SGD, one of SAM.
COSTS = {
  'full': (1, 2),
  'probe': (1 / 3, 1 / 3),
  'partial': ((1 + 2 / 3) / 3, (1 + 5 / 3) / 3),
  'adaptformer': ((1 + 2 * 2) / 9, (1 + 4 * 2) / 9),
  'lora': (2 / 3, 4 / 3),
  'vpt_deep': (2 / 3 * (1 + 10 / 5), 4 / 3 * (1 + 10 / 5)),
}


@pytest.mark.parametrize('tuning', COSTS)
def test_cost_in_sgd_steps(tuning, file):
  found = [
    trunk_files.build(f'{rule},{tuning}', file).expected_cost()
    for rule in ('sgd', 'sam')
  ]
  assert found == pytest.approx(COSTS[tuning])


def test_cost_of_schemes_on_a_trunk(file, run):
  """Passes of the network before, times what a pass of the trunk costs."""
  costs = {
    (tuning, scheme): trunk_files.build(
      f'sgd,{tuning},{scheme}',
      file,
      **({'init_from': str(run[0])} if scheme == 'crt' else {}),
    ).expected_cost()
    for tuning, scheme in (
      ('full', 'rescom'),
      ('lora', 'rescom'),
      ('vpt_deep', 'crt'),
    )
  }
  # The projector is a smaller part of a network that has matrices beside.
  ratio = costs['lora', 'rescom'] / costs['full', 'rescom']
  assert 0.6 < ratio < 2 / 3
  assert costs['vpt_deep', 'crt'] == pytest.approx(1 / 3)


def test_a_base_that_is_gone_or_on_another_trunk(file, tmp_path):
  first = trunk_files.build('sgd,full', file, epochs=1)
  experiment.run(first, workdir=tmp_path / 'one')
  second = trunk_files.build(
    'sgd,probe', file, epochs=1, init_from=str(tmp_path / 'one')
  )
  # What is frozen is that of the run, not of the file.
  experiment.run(second, workdir=tmp_path / 'two')
  third = trunk_files.build(
    'sgd,probe', file, epochs=1, init_from=str(tmp_path / 'two')
  )
  chex.assert_trees_all_equal(third.init(0).frozen, second.init(0).frozen)
  other = trunk_files.write(tmp_path / 'other.safetensors', seed=1)
  with pytest.raises(experiment.ConfigError, match='vit.saf.*other.saf'):
    trunk_files.build('sgd,probe', other, init_from=str(tmp_path / 'one'))
  shutil.rmtree(tmp_path / 'one')
  with pytest.raises(experiment.ConfigError, match='no run in .*one'):
    experiment.restore(tmp_path / 'two', data=small_sources.SOURCES)
  with pytest.raises(experiment.ConfigError, match='is gone, and had'):
    trunk_files.build('sgd,probe', file, init_from=str(tmp_path / 'two'))


@pytest.mark.extended
@pytest.mark.optimized
# Of all, nothing is passed back to the images, 5 % of these small steps.
@pytest.mark.parametrize(
  'tuning', [*(x for x in COSTS if x != 'full'), 'bitfit', 'layer_norm']
)
def test_cost_is_that_of_the_compiled_step(tuning, tmp_path):
  """In FLOPs; an SGD step that trains all is three forward passes."""
  file = trunk_files.write(
    tmp_path / 'vit.safetensors',
    width=64,
    depth=4,
    num_heads=4,
    mlp_width=256,
    image_size=32,
  )
  sizes = {'vpt_deep': {'model.tuning': 'vpt_deep(prompts=3)'}}
  fields = sizes.get(tuning, {})
  for rule in ('sgd', 'sam'):
    exp = trunk_files.build(f'{rule},{tuning}', file, **fields)
    variables = exp.abstract_state.variables
    images = exp.data.train.images[:16]
    forward = exp.predict_step.lower(variables, images).compile()
    (found,) = kinds_test.flops(exp)
    cost = found / (3 * forward.cost_analysis()['flops'])
    np.testing.assert_allclose(cost, exp.expected_cost(), rtol=0.05)


# ---------------------------------------------------------------- heads


def _class_means(file):
  """By NumPy, from the features of the training images as they are."""
  trunk = pretrained.load(file)
  images, labels = small_sources.SOURCES.train
  # 6x6 pixels to 9x9, whose center is 8x8: done by the library itself.
  exp = trunk_files.build('sgd,probe', file)
  inputs = exp.foundation.inputs.evaluated(images)
  features = np.asarray(trunk.module.apply(trunk.variables, inputs))
  means = np.stack([features[labels == c].mean(0) for c in range(3)])
  return means / np.linalg.norm(means, axis=1, keepdims=True)


@pytest.mark.parametrize('tuning', ['probe', 'adaptformer'])
def test_a_head_begins_with_class_means(tuning, file):
  exp = trunk_files.build(
    f'sgd,{tuning}',
    file,
    **{
      'model.head': 'scaled_cosine(scale=9.0)',
      'model.head_init': 'class_means',
    },
  )
  state = exp.init(0)
  np.testing.assert_allclose(
    state.params['classifier']['class_vectors'], _class_means(file), atol=1e-5
  )
  # It tells the classes apart before any step.
  assert experiment.evaluate(exp, state).scores['balanced'] > 0.6


def _write_texts(path, classes, rows):
  np.savez(path, text_features=rows.astype(np.float32), classes=classes)
  return path


@pytest.fixture(scope='module', name='clip')
def _clip(tmp_path_factory):
  """A trunk with a projection, and text features in another order."""
  folder = tmp_path_factory.mktemp('clip')
  file = trunk_files.write(
    folder / 'clip.safetensors',
    projection=5,
    seed=2,
    pre_norm=True,
    patch_bias=False,
  )
  rows = np.random.RandomState(3).randn(3, 5)
  texts = _write_texts(folder / 'texts.npz', ['2', '0', '1'], rows)
  return file, texts, rows[[1, 2, 0]]


def test_a_head_begins_with_texts(clip):
  file, texts, rows = clip
  exp = trunk_files.build(
    'sgd,probe',
    file,
    **{'model.head': 'scaled_cosine', 'model.head_init': f'text({texts})'},
  )
  found = exp.init(0).params['classifier']['class_vectors']
  kernel = pretrained.load(file).variables['params']['projection']['kernel']
  expected = (rows / np.linalg.norm(rows, axis=1, keepdims=True)) @ kernel.T
  expected /= np.linalg.norm(expected, axis=1, keepdims=True)
  np.testing.assert_allclose(found, expected, atol=1e-6)
  evaluation = experiment.zero_shot(exp, texts)
  # By NumPy, from features of the trunk.
  images, labels = small_sources.SOURCES.test
  trunk = pretrained.load(file)
  inputs = exp.foundation.inputs.evaluated(images)
  joint = np.asarray(trunk.module.apply(trunk.variables, inputs)) @ kernel
  cosines = (joint / np.linalg.norm(joint, axis=1, keepdims=True)) @ (
    rows / np.linalg.norm(rows, axis=1, keepdims=True)
  ).T
  top1 = np.mean(cosines.argmax(axis=1) == labels)
  assert evaluation.scores['top1'] == pytest.approx(top1)


# ------------------------------------------------------- cached features


def _cached(words, file, folder, **fields):
  return trunk_files.build(
    words,
    file,
    **{
      'model.tuning': 'probe',
      'model.feature_cache': str(folder),
      'model.head': 'scaled_cosine',
      'model.head_init': 'class_means',
      **fields,
    },
  )


def test_a_cache_gives_what_a_probe_gives(tmp_path, monkeypatch):
  # Images have the size of the trunk: all of them are seen in both.
  file = trunk_files.write(
    tmp_path / 'vit.safetensors', image_size=6, patch_size=3
  )
  exp = _cached('imbsam', file, tmp_path)
  assert len(list(tmp_path.glob('*.npz'))) == 3
  result = experiment.run(exp)
  assert 'its features, computed once' in str(exp)
  probe = experiment.run(
    _cached('imbsam', file, tmp_path, **{'model.feature_cache': None})
  )
  chex.assert_trees_all_close(
    result.state.params, probe.state.params, rtol=1e-4, atol=1e-5
  )
  assert result.summary['top1'] == probe.summary['top1']
  # The trunk is not asked again.
  monkeypatch.setattr(
    _trunk_features.Extractor, '__call__', lambda *unused: pytest.fail('asked')
  )
  again = experiment.run(_cached('imbsam', file, tmp_path))
  chex.assert_trees_all_equal(again.state.params, result.state.params)


def test_the_trunk_sees_each_image_once(file, tmp_path, monkeypatch):
  seen = []
  extract = _trunk_features.Extractor.__call__
  monkeypatch.setattr(
    _trunk_features.Extractor,
    '__call__',
    lambda self, examples, title: (
      seen.append(len(examples.labels)),
      extract(self, examples, title),
    )[1],
  )
  configs = {
    word: trunk_files.config(
      word,
      file,
      **{'model.tuning': 'probe', 'model.feature_cache': str(tmp_path)},
    )
    for word in (
      'sgd',
      'ldam_drw',
      'balanced_softmax',
      'class_balanced_sampling',
    )
  }
  builds = [
    experiment.build(config, data=small_sources.SOURCES)
    for config in configs.values()
  ]
  assert sum(seen) == sum(
    len(part[1])
    for part in (
      small_sources.SOURCES.train,
      small_sources.SOURCES.validation,
      small_sources.SOURCES.test,
    )
  )
  assert all(exp.num_steps for exp in builds)


def test_a_cache_of_another_trunk_or_other_images_is_not_taken(file, tmp_path):
  _cached('sgd', file, tmp_path)
  other = trunk_files.write(tmp_path / 'other.safetensors', seed=1)
  _cached('sgd', other, tmp_path)
  assert len(list(tmp_path.glob('*.npz'))) == 6
  images, labels = small_sources.SOURCES.train
  changed = small_sources.SOURCES._replace(train=(255 - images, labels))
  _cached('sgd', file, tmp_path, data=changed)
  assert len(list(tmp_path.glob('*.npz'))) == 7


def test_a_cache_is_of_the_content_of_files_and_of_a_size(resnet, tmp_path):
  """Images that stay encoded are known by their bytes, not their names."""
  for size in (32, 64):
    _cached('sgd', resnet, tmp_path / 'sizes', **{'model.image_size': size})
  assert len(list((tmp_path / 'sizes').glob('*.npz'))) == 6
  rng = np.random.RandomState(0)
  for part in ('train', 'test'):
    for name in 'ab':
      folder = tmp_path / 'images' / part / name
      folder.mkdir(parents=True)
      for number in range(4):
        pixels = rng.randint(0, 256, (9, 9, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f'{number}.png')
  fields = {
    'data.name': 'image_folder',
    'data.data_dir': str(tmp_path / 'images'),
    'data.image_size': 32,
    'data.profile': 'natural',
    'data.batch_size': 8,
    'optimizer.threshold': 5,
  }

  def number():
    _cached('sgd', resnet, tmp_path / 'files', data=None, **fields)
    return len(list((tmp_path / 'files').glob('*.npz')))

  assert number() == 2
  assert number() == 2
  changed = tmp_path / 'images' / 'train' / 'a' / '0.png'
  Image.fromarray(255 - np.asarray(Image.open(changed))).save(changed)
  assert number() == 3


def test_a_cache_that_is_broken_says_what_to_do(file, tmp_path):
  _cached('sgd', file, tmp_path)
  path = next(tmp_path.glob('*.npz'))
  path.write_bytes(path.read_bytes()[:100])
  with pytest.raises(experiment.ConfigError, match=f'Remove {path}'):
    _cached('sgd', file, tmp_path)


# ---------------------------------------------------------- what is refused


@pytest.mark.parametrize(
  ('words', 'fields', 'message'),
  [
    ('sgd', {'model.trunk': None}, 'pass its path, `model.trunk=FILE.safet'),
    ('sgd', {'model.trunk': 'no.npz'}, 'there is no such file'),
    ('sgd', {'model.preset': 'vit_b16_in21k'}, 'model.trunk'),
    ('sgd', {'model.preset': 'vit_b17'}, "must be .* or one of 'vit'"),
    ('sgd', {'model.num_heads': 3}, 'heads'),
    ('sgd', {'model.image_size': 10}, 'multiple of the patches of 4'),
    ('sgd', {'model.head_init': 'class_means'}, 'the linear head has not'),
    (
      'sgd',
      {'model.head_init': 'text(x.npz)', 'model.head': 'scaled_cosine'},
      'needs the projection of CLIP',
    ),
    ('partial', {'model.tuning': 'partial(blocks=4)'}, 'at most 3'),
    ('sgd', {'model.pool': 'class_and_prompts'}, 'averages prompts'),
    ('bbn', {}, 'a trunk gives its features once'),
    ('sgd', {'model.feature_cache': 'x'}, 'Add the word probe'),
    (
      'probe',
      {'model.feature_cache': 'x', 'data.augment': 'flip'},
      'Pass `data.augment=none`',
    ),
    ('probe,mixup', {'model.feature_cache': 'x'}, '`mixup` mixes, makes or'),
    ('probe,pure_noise', {'model.feature_cache': 'x'}, '`pure_noise` mixes'),
    ('rescom', {'model.feature_cache': 'x', **_PROBE}, '`rescom` mixes'),
    (
      'probe',
      {'model.feature_cache': 'x', 'flip_test': True},
      'Pass `flip_test=False`',
    ),
    ('probe', {'model.feature_dropout': 0.5}, 'no effect on a probe'),
  ],
)
def test_what_is_refused(words, fields, message, file):
  with pytest.raises(experiment.ConfigError, match=message):
    trunk_files.build(words, file, **fields)


def test_fields_of_a_trunk_on_a_run_without_one():
  config = experiment.config('own', 'vpt_deep', {'model.name': 'mlp'})
  with pytest.raises(
    experiment.ConfigError, match='model.tuning=vpt_deep.*non'
  ):
    experiment.build(config, data=small_sources.SOURCES)


def test_a_network_of_ones_own_beside_a_trunk_or_tuned(file):
  """Neither would have had an effect."""
  own = models.TrunkClassifier(
    3, trunk=pretrained.load(file).module, tuning=models.tuning.Probe()
  )
  for given, message in (
    ({'model.trunk': str(file)}, 'Leave one of the two out'),
    ({}, 'trains all of a network of your own, and yours has Probe'),
  ):
    config = experiment.config('own', 'sgd', given)
    with pytest.raises(experiment.ConfigError, match=message):
      experiment.build(config, data=small_sources.SOURCES, model=own)


# ------------------------------------------------------------ residual trunks


@pytest.fixture(scope='module', name='resnet')
def _resnet(tmp_path_factory):
  folder = tmp_path_factory.mktemp('resnet')
  return trunk_files.write_resnet(folder / 'resnet.safetensors')


@pytest.mark.parametrize('tuning', ['probe', 'partial', 'bitfit', 'full'])
def test_statistics_of_a_trunk_stay_unless_all_is_trained(tuning, resnet):
  exp = trunk_files.build(
    f'imbsam,{tuning}', resnet, **{'model.image_size': 32}
  )
  assert exp.layout == ('joint' if tuning == 'full' else 'split')
  begin = exp.init(0)
  batch = exp.put(exp.batches(0)[0])
  after, _ = exp.train_step(0)(exp.init(0), batch)
  same = [
    np.array_equal(one, other)
    for one, other in zip(
      *map(jax.tree.leaves, (begin.model_state, after.model_state)),
      strict=True,
    )
  ]
  assert all(same) if tuning != 'full' else not any(same)


def test_what_a_residual_trunk_has_not(resnet):
  with pytest.raises(experiment.ConfigError, match='has none'):
    trunk_files.build('vpt_deep', resnet, **{'model.image_size': 32})
  with pytest.raises(experiment.ConfigError, match='not exact with BatchNorm'):
    trunk_files.build(
      'imbsam,full',
      resnet,
      **{'model.image_size': 32, 'optimizer.rows': 'split'},
    )
