# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the parts that read data, train and predict have to agree on."""

import dataclasses
import os
import re
import types

import numpy as np
import pytest

from imbsam_jax import data as data_lib
from imbsam_jax import experiment
from imbsam_jax import training
from imbsam_jax.experiment import _base_run
from imbsam_jax.experiment import _evaluate
from imbsam_jax.experiment import _prediction_file


def _arrays(counts, value=0):
  labels = np.repeat(np.arange(len(counts)), counts)
  return np.full((len(labels), 4, 4, 1), value, np.uint8), labels


@pytest.mark.parametrize(
  ('counts', 'advised'), [((90, 6), 1), ((300, 40), 10), ((900, 500), 20)]
)
def test_as_many_as_the_smallest_class_can_spare(counts, advised):
  exp = types.SimpleNamespace(
    config=experiment.config('image_folder'),
    data=types.SimpleNamespace(class_counts=np.array(counts)),
  )
  text = _evaluate.validation_advice(exp)
  assert re.search(r'validation_per_class=(\d+)', text)[1] == str(advised)
  source = data_lib.ArraySource(*_arrays(counts))
  data = data_lib.long_tailed(source, source, validation_per_class=advised)
  assert len(data.validation.labels) == advised * len(counts)


def test_all_images_of_a_class_are_not_set_aside():
  source = data_lib.ArraySource(*_arrays((30, 6)))
  with pytest.raises(
    data_lib.DataError,
    match="'1'.* has 6 training examples, .*=6` leaves none. Pass 5 at most",
  ):
    data_lib.long_tailed(source, source, validation_per_class=6)


def test_images_of_a_base_run_are_read_where_that_had_them(tmp_path):
  places = []
  for value in (1, 2):
    images, labels = _arrays((5, 4), value)
    places.append(str(tmp_path / f'{value}.npz'))
    np.savez(
      places[-1],
      x_train=images, y_train=labels, x_test=images, y_test=labels,
    )  # fmt: skip
  theirs, ours = (
    experiment.config('npz_lt', 'sgd', {'data.data_dir': place}).data
    for place in places
  )
  found = _base_run._trained(tmp_path, theirs, ours)
  assert (found.images == 1).all()
  # Moved: what lies where ours are is theirs, if checksums say so.
  first = experiment.load(theirs)
  training.write_json(tmp_path / 'data.json', data_lib.fingerprint(first))
  os.rename(places[0], tmp_path / 'moved.npz')
  with pytest.raises(data_lib.DataError, match='1.npz'):
    _base_run._trained(tmp_path, theirs, ours)
  ours = dataclasses.replace(ours, data_dir=str(tmp_path / 'moved.npz'))
  assert (_base_run._trained(tmp_path, theirs, ours).images == 1).all()


def test_json_of_names_that_are_no_unicode(tmp_path):
  with open(tmp_path / 'out.jsonl', 'w', encoding='utf-8') as stream:
    writer = _prediction_file.Writer(stream, 'jsonl', 1)
    writer.write(_prediction_file.Row('caf\udce9.jpg', None, error='broken'))
  text = (tmp_path / 'out.jsonl').read_text(encoding='utf-8')
  assert '"caf\\udce9.jpg"' in text


def test_one_class_is_nothing_to_train_on(tmp_path):
  images, labels = _arrays((9,))
  np.savez(
    tmp_path / 'one.npz',
    x_train=images, y_train=labels, x_test=images[:3] + 1, y_test=labels[:3],
  )  # fmt: skip
  report = experiment.check(tmp_path / 'one.npz', whole=False, estimate=False)
  assert 'one_class' in [one.name for one in report.findings]
  assert report.forbids_training
