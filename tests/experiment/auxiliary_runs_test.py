# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Auxiliary images of a run: read where they are used, and known again."""

import json
from unittest import mock

import numpy as np
import pytest

from imbsam_jax import data
from imbsam_jax import experiment
from imbsam_jax import methods
from imbsam_jax.experiment import used_fields
from tests import own_words
from tests import programs


def _images(counts, seed):
  labels = np.repeat(np.arange(3), counts)
  rng = np.random.RandomState(seed)
  return rng.randint(0, 256, (len(labels), 4, 4, 1)).astype(np.uint8), labels


_OTHERS = _images((20, 0, 0), 7)[0]
_SOURCES = experiment.Sources(
  train=_images((16, 8, 4), 0), test=_images((2, 2, 2), 1)
)


def _config(words='open_sampling', **fields):
  small = {
    'epochs': 1,
    'data.batch_size': 8,
    'model.name': 'mlp',
    'model.norm': 'none',
  }
  return experiment.config('own', words, small | fields)


def _build(words='open_sampling', sources=_SOURCES, **fields):
  return experiment.build(_config(words, **fields), data=sources)


def test_own_images():
  exp = _build(sources=_SOURCES._replace(auxiliary=_OTHERS))
  np.testing.assert_array_equal(exp.auxiliary.images, _OTHERS)
  assert exp.config.data.auxiliary == 'own'
  assert 'auxiliary  your own, 20 images\n' in str(exp)
  batch = exp.batches(0)[0]
  assert batch.streams['out']['image'].shape == (8, 4, 4, 1)
  example = batch.streams['out']['example']
  np.testing.assert_array_equal(batch.streams['out']['image'], _OTHERS[example])


def test_textures_are_the_default():
  exp = _build()
  assert 'auxiliary  2,048 textures\n' in str(exp)
  np.testing.assert_array_equal(
    exp.auxiliary.images, data.textures(2048, (4, 4, 1))
  )


def test_nothing_is_read_that_is_not_used():
  sources = _SOURCES._replace(auxiliary=_OTHERS)
  with mock.patch.object(data, 'auxiliary_examples', side_effect=OSError):
    for words in ('sgd', 'ldam_drw', 'mixup'):
      exp = _build(words, sources)
      assert exp.auxiliary is None
      assert 'auxiliary' not in str(exp)
      assert 'auxiliary' not in exp.fingerprint
      assert exp.config.data.auxiliary == 'textures'


def test_from_a_file(tmp_path):
  path = tmp_path / 'others.npz'
  np.savez(path, images=_OTHERS)
  exp = _build(**{'data.auxiliary': f'npz:{path}'})
  assert f'auxiliary  npz:{path}, 20 images\n' in str(exp)
  np.savez(path, images=_OTHERS[..., :2, :])
  with pytest.raises(data.DataError, match=r'auxiliary images uint8 \[4, 2'):
    _build(**{'data.auxiliary': f'npz:{path}'})


def test_rows_of_a_table():
  labels = _SOURCES.train[1]
  rows = np.random.RandomState(0).randn(len(labels), 6).astype(np.float32)
  table = experiment.Sources(train=(rows, labels), test=(rows, labels))
  with pytest.raises(experiment.ConfigError, match='are no images'):
    _build(sources=table)
  exp = _build(sources=table._replace(auxiliary=rows + 9))
  assert exp.batches(0)[0].streams['out']['image'].shape == (8, 6)


def test_a_run_goes_on_with_the_same_images_only(tmp_path):
  sources = _SOURCES._replace(auxiliary=_OTHERS)
  exp = _build(sources=sources)
  experiment.run(exp, workdir=tmp_path)
  kept = json.loads((tmp_path / 'data.json').read_text())
  assert kept == exp.fingerprint and 'auxiliary' in kept
  other = _SOURCES._replace(auxiliary=_OTHERS[::-1])
  with pytest.raises(data.DataError, match='  auxiliary: .* there, .* now'):
    experiment.run(_build(sources=other), workdir=tmp_path)
  with pytest.raises(data.DataError, match='  auxiliary: '):
    experiment.restore(tmp_path, data=other)
  with pytest.raises(experiment.ConfigError, match='auxiliary=images'):
    experiment.restore(tmp_path, data=_SOURCES)
  again, _ = experiment.restore(tmp_path, data=sources)
  assert again.fingerprint == exp.fingerprint


def test_a_text_is_checked_before_anything_is_read():
  with pytest.raises(experiment.ConfigError, match='must be textures, tfds'):
    experiment.check_config(_config('sgd', **{'data.auxiliary': 'photographs'}))


def test_images_that_no_method_takes():
  sgd, open_sampling = _config('sgd'), _config()
  used_fields.check(['data.auxiliary'], [open_sampling])
  used_fields.check(['data.auxiliary'], [sgd, open_sampling])
  used_fields.check(['data.batch_size'], [sgd])
  with pytest.raises(
    experiment.ConfigError,
    match='`data.auxiliary` has no effect .* that does: open_sampling',
  ):
    used_fields.check(['data.auxiliary'], [sgd, _config('ldam_drw')])
  done = programs.call(
    'train', '--config=digits_lt', '--config.data.auxiliary=textures',
    '--workdir=nowhere',
  )  # fmt: skip
  assert done.returncode == 2
  assert '--config.data.auxiliary has no effect' in done.stderr


def test_a_word_of_ones_own_says_that_it_takes_them():
  def reads(setup):
    assert setup.auxiliary
    return methods.Part()

  with own_words.registered():
    methods.word('one', axis='scheme', about='a test')(reads)
    methods.word('two', axis='scheme', about='a test', auxiliary=True)(reads)
    with pytest.raises(experiment.ConfigError, match='auxiliary=True'):
      _build('one')
    assert len(_build('two').auxiliary.labels) == 2048


def test_encoded_images(tmp_path):
  """They are cropped as those of training are, with draws of their own."""
  image = pytest.importorskip('PIL.Image')
  for folder in ('train/a', 'train/b', 'test/a', 'others'):
    (tmp_path / folder).mkdir(parents=True)
    for i in range(4):
      pixels = np.random.RandomState(i).randint(0, 256, (12, 12, 3))
      path = tmp_path / folder / f'{i}.png'
      image.fromarray(pixels.astype(np.uint8)).save(path)
  config = experiment.config(
    'image_folder',
    'open_sampling',
    {
      'data.data_dir': str(tmp_path),
      'data.splits': ('train', None, 'test'),
      'data.image_size': 8,
      'data.batch_size': 8,
      'data.auxiliary': f'folder:{tmp_path}/others',
      'model.name': 'small_conv_net',
      'model.norm': 'group',
      'data.stratify': False,
    },
  )
  exp = experiment.build(config)
  assert isinstance(exp.auxiliary.images, data.EncodedImages)
  batches = exp.batches(0)
  for step in (0, 1):
    found = batches[step].streams['out']
    assert found['image'].shape == (8, 8, 8, 3)
    again = exp.batches(0)[step].streams['out']
    np.testing.assert_array_equal(found['image'], again['image'])
  # The same image looks otherwise every time: a step has each of them twice.
  rows = [batches[step].streams['out'] for step in (0, 1)]
  same = [row['image'][row['example'] == 0] for row in rows]
  views = np.concatenate(same).reshape(4, -1)
  assert len(np.unique(views, axis=0)) == 4
