# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""TFDS sources: our digits, prepared sets, and what is missing."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
from sklearn import datasets

from imbsam_jax import data

_CIFAR = pathlib.Path(__file__).parents[3] / 'shared' / 'tfds'


def test_digits_are_those_of_scikit_learn(tfds_dir):
  sources = [
    data.TfdsSource('digits', split, data_dir=tfds_dir)
    for split in ('train', 'test')
  ]
  counts = [np.bincount(source.labels).tolist() for source in sources]
  assert counts[1] == [50] * 10
  assert sum(counts[0]) + sum(counts[1]) == 1797
  ours = np.concatenate(
    [
      source.examples(np.arange(len(source.labels))).images
      for source in sources
    ]
  )
  assert ours.shape == (1797, 8, 8, 1) and ours.dtype == np.uint8
  theirs = datasets.load_digits().images
  grey = np.round(ours[..., 0] * (16 / 255)).reshape(1797, -1)
  # The same images, in whatever order the files have them.
  np.testing.assert_array_equal(
    np.unique(grey, axis=0), np.unique(theirs.reshape(1797, -1), axis=0)
  )


def test_home(tfds_dir, monkeypatch, tmp_path):
  folder = pathlib.Path(tfds_dir)
  monkeypatch.setenv('HOME', str(folder.parent))
  monkeypatch.chdir(tmp_path)
  source = data.TfdsSource('digits', 'test', data_dir=f'~/{folder.name}')
  assert len(source.labels) == 500
  assert not list(tmp_path.iterdir())  # No folder of the name ~.


def test_labels_go_with_images(tfds_dir):
  source = data.TfdsSource('digits', 'test', data_dir=tfds_dir)
  images = source.examples(np.arange(500)).images
  digits = datasets.load_digits()
  known = {
    np.round(image * (255 / 16)).astype(np.uint8).tobytes(): label
    for image, label in zip(digits.images, digits.target, strict=True)
  }
  assert [known[x.tobytes()] for x in images] == source.labels.tolist()
  some = source.examples(np.array([7, 3]))
  np.testing.assert_array_equal(some.images, images[[7, 3]])


@pytest.mark.trains
def test_tensorflow_is_not_needed(tfds_dir):
  code = (
    'import sys; from imbsam_jax import data;'
    f'data.TfdsSource("digits", "test", data_dir={tfds_dir!r});'
    'assert "tensorflow" not in sys.modules'
  )
  subprocess.run([sys.executable, '-c', code], check=True)


@pytest.mark.filterwarnings('ignore')
def test_what_is_missing_says_what_to_type(tfds_dir):
  with pytest.raises(data.DataError, match='no data set .cifar1000. in TFDS'):
    data.TfdsSource('cifar1000', 'train', data_dir=tfds_dir)
  with pytest.raises(
    data.DataError, match='not prepared in(.|\n)*data_dir=.DIR.'
  ):
    data.TfdsSource('cifar100', 'train', data_dir=tfds_dir)
  with pytest.raises(data.DataError, match='download_and_prepare'):
    data.TfdsSource('cifar100', 'train', data_dir=tfds_dir)
  with pytest.raises(data.DataError, match="no readable split 'trane'"):
    data.TfdsSource('digits', 'trane', data_dir=tfds_dir)


@pytest.mark.skipif(
  not _CIFAR.exists(), reason='no prepared CIFAR-10 in ../shared/tfds'
)
def test_prepared_cifar10():
  source = data.TfdsSource('cifar10', 'test', data_dir=str(_CIFAR))
  assert np.bincount(source.labels).tolist() == [1000] * 10
  assert source.examples(np.arange(4)).images.shape == (4, 32, 32, 3)
  assert source.class_names[3] == 'cat'
