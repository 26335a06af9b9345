# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Faults F18, F20 and F21; F1 is in kill_test, F2 to F16 in others."""

import json

import numpy as np
import pytest

from experiments import build
from experiments import config as config_lib
from experiments import run
from experiments.configs import digits_lt
from imbsam_jax import data
from imbsam_jax import training

# Of the process that finished the run.
_OWN = ('seconds', 'images_per_second', 'step_programs')


def _config(tfds_dir, word='imbsam', **changes):
  changes = {name.replace('__', '.'): value for name, value in changes.items()}
  return config_lib.replace(
    digits_lt.get_config(word),
    {
      'model.name': 'mlp',
      'epochs': 2.0,
      'save_every': 1.0,
      'data.batch_size': 32,
      'data.data_dir': tfds_dir,
    }
    | changes,
  )


def _changed(experiment, part, change):
  """The experiment, with one thing changed in a part of its data."""
  examples = getattr(experiment.data, part)
  images, labels = examples.images.copy(), examples.labels.copy()
  change(images, labels)
  changed = data.Examples(images, labels)
  return build.build(
    experiment.config, data=experiment.data._replace(**{part: changed})
  )


def _flip_a_bit(images, labels):
  del labels
  images.reshape(-1).view(np.uint8)[1234] ^= 1


def _swap_rows(images, labels):
  for array in (images, labels):
    array[[0, 1]] = array[[1, 0]]


def _change_a_label(images, labels):
  del images
  labels[-1] = (labels[-1] + 1) % 10


@pytest.mark.parametrize(
  ('part', 'change'),
  [
    ('train', _flip_a_bit),
    ('train', _swap_rows),
    ('train', _change_a_label),
    ('test', _flip_a_bit),
  ],
)
def test_f18_changed_data_are_refused(part, change, tmp_path, tfds_dir):
  experiment = build.build(_config(tfds_dir))
  run.workdir_lib.claim(
    tmp_path, experiment.config, data.fingerprint(experiment.data)
  )
  (tmp_path / 'checkpoints').mkdir()
  changed = _changed(experiment, part, change)
  with pytest.raises(
    data.DataError, match=f'{part}: [0-9a-f]+ there, [0-9a-f]+ now'
  ):
    run.run(changed, 0, tmp_path)


def test_f18_fingerprint_is_of_the_data_alone(tfds_dir):
  experiment = build.build(_config(tfds_dir))
  same = build.build(_config(tfds_dir, 'sgd', epochs=1.0))
  found = data.fingerprint(experiment.data)
  assert found == data.fingerprint(same.data)
  assert set(found) == {'classes', 'train', 'validation', 'test'}
  renamed = experiment.data._replace(class_names=list('abcdefghij'))
  assert data.fingerprint(renamed)['classes'] != found['classes']


def test_f18_encoded_images_by_their_names():
  def examples(names):
    images = data.EncodedImages(
      lambda i: b'', lambda i: names[i], size=8, indices=np.arange(2)
    )
    return data.Examples(images, np.zeros(2, np.int32))

  def of(names):
    part = examples(names)
    return data.fingerprint(
      data.LongTailedData(part, None, part, np.array([2]), ['one'])
    )

  assert of(['a', 'b']) == of(['a', 'b'])
  assert of(['a', 'b'])['train'] != of(['b', 'a'])['train']


@pytest.mark.parametrize('step', [6, 12, 18])
def test_f20_stopped_at_a_boundary(step, tmp_path, tfds_dir, monkeypatch):
  # SSE-SAM changes its stage, and DRW its weights, after steps 12 and 18.
  config = _config(
    tfds_dir,
    'sse_sam,drw',
    optimizer__switch=12 / 21,
    objective__weights=f'drw(start={18 / 21})',
    epochs=4.0,
    data__batch_size=64,
  )
  experiment = build.build(config)
  assert experiment.num_steps == 21
  whole = run.run(experiment, 0, tmp_path / 'whole')
  fit = training.fit

  def stopping_fit(*arguments, **options):
    seen = []

    def progress_of_steps():
      seen.append(None)
      return len(seen) == step

    return fit(*arguments, **options | {'stop': progress_of_steps})

  monkeypatch.setattr(training, 'fit', stopping_fit)
  with pytest.raises(training.PreemptedError, match=f'after step {step} of 21'):
    run.run(experiment, 0, tmp_path / 'stopped')
  monkeypatch.undo()
  resumed = run.run(experiment, 0, tmp_path / 'stopped')
  for name, value in whole.items():
    assert name in _OWN or resumed[name] == value, name


def test_f20_complete_run_makes_no_step(tmp_path, tfds_dir):
  experiment = build.build(_config(tfds_dir))
  first = run.run(experiment, 0, tmp_path)
  history = (tmp_path / 'metrics.jsonl').read_bytes()
  (tmp_path / 'summary.json').unlink()
  again = run.run(experiment, 0, tmp_path)
  assert (tmp_path / 'metrics.jsonl').read_bytes() == history
  assert again['params_sha256'] == first['params_sha256']
  assert json.loads((tmp_path / 'summary.json').read_text()) == again


def test_f21_same_seed_twice_whatever_the_threads(
  tmp_path, tfds_dir, monkeypatch
):
  found = []
  for number, threads in enumerate((0, 1, 3)):
    monkeypatch.setattr(build.Experiment, 'num_threads', threads)
    experiment = build.build(_config(tfds_dir))
    found.append(run.run(experiment, 5, tmp_path / str(number)))
  for name, value in found[0].items():
    for other in found[1:]:
      assert name in _OWN or other[name] == value, name
  histories = {
    (tmp_path / str(n) / 'metrics.jsonl').read_bytes() for n in range(3)
  }
  assert len(histories) == 1
