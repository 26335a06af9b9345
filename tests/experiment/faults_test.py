# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Faults of whole runs: F7, and F17 to F23.

F1 is in kill_test, F3 and F4 are in signals_test, F8 to F13 in
step_faults_test, those of saved files in checkpoint_faults_test. Single clauses
are next to the other tests of their code: `pytest -k f7_` finds them all.
"""

import dataclasses
import functools
import itertools
import json
import shutil
from unittest import mock

import jax
import numpy as np
from PIL import Image
import pytest

from imbsam_jax import data
from imbsam_jax import experiment as experiment_lib
from imbsam_jax import training
from imbsam_jax._runs import compilation
from imbsam_jax._runs import fields
from imbsam_jax._runs import folder as folder_lib
from imbsam_jax.experiment import _build
from imbsam_jax.experiment.recipes import npz_lt
from imbsam_jax.experiment.recipes import places_lt
from tests import programs
from tests.experiment import runs

pytestmark = pytest.mark.faults

_config = functools.partial(runs.small_config, epochs=2.0)


@pytest.fixture(scope='module')
def experiment(tfds_dir):
  """Of 21 steps in two epochs."""
  return experiment_lib.build(_config(tfds_dir))


@pytest.fixture(scope='module')
def whole(experiment, tmp_path_factory):
  """An uninterrupted run: its folder and its summary."""
  folder = tmp_path_factory.mktemp('whole')
  return folder, experiment_lib.run(experiment, seed=0, workdir=folder).summary


@pytest.fixture(scope='module')
def stopped(experiment, tmp_path_factory):
  """The folder of the same run, stopped after step 15."""
  folder = tmp_path_factory.mktemp('stopped')
  _run_until(15, experiment, folder)
  return folder


def _run_until(step, experiment, folder):
  """Runs, and is asked to stop after a step."""
  fit = training.fit

  def stopping_fit(*arguments, **options):
    asked = itertools.count(1)
    return fit(*arguments, **options | {'stop': lambda: next(asked) == step})

  with mock.patch.object(training, 'fit', stopping_fit):
    with pytest.raises(
      training.PreemptedError, match=f'after step {step} of 21'
    ):
      experiment_lib.run(experiment, seed=0, workdir=folder)


def _contents(folder):
  files = [path for path in folder.rglob('*') if path.is_file()]
  return {path.relative_to(folder): path.read_bytes() for path in files}


# ------------------------------------------------------------- F7 and F17


def _assert_refused(experiment, seed, folder, expected):
  """Before anything is trained or changed; and what to do is said."""
  before = _contents(folder)
  with mock.patch.object(training, 'fit', side_effect=AssertionError):
    with pytest.raises(experiment_lib.ConfigError) as caught:
      experiment_lib.run(experiment, seed=seed, workdir=folder)
  assert _contents(folder) == before
  lines = str(caught.value).splitlines()
  assert [x.strip() for x in lines if ' there, ' in x] == [expected]
  assert 'Pass another `workdir`, or remove this folder' in lines[-1]


@pytest.mark.parametrize(
  ('name', 'value'),
  [
    ('data.class_counts', (20,) * 5 + (10,) * 5),
    *(
      pytest.param(*changed, marks=pytest.mark.extended)
      for changed in (
        ('model.name', 'small_conv_net'),
        ('optimizer.momentum', 0.5),
        ('optimizer.method', 'sse_sam'),
        ('optimizer.threshold', 30),
        ('optimizer.rho', 0.7),
      )
    ),
  ],
)
def test_f7_folder_of_another_configuration(
  name, value, experiment, whole, stopped
):
  theirs = experiment_lib.flatten(experiment.config)[name]
  other = experiment_lib.build(
    experiment_lib.replace(experiment.config, {name: value})
  )
  for folder in (whole[0], stopped):
    _assert_refused(
      other, 0, folder, f'{name}: {theirs!r} there, {value!r} now'
    )


def test_f17_another_batch_size(experiment, stopped):
  changes = {'data.batch_size': 64}
  other = experiment_lib.build(
    experiment_lib.replace(experiment.config, changes)
  )
  _assert_refused(other, 0, stopped, 'data.batch_size: 32 there, 64 now')


@pytest.mark.extended
def test_f17_other_devices_are_allowed(whole, stopped, tmp_path):
  folder = tmp_path / 'run'
  shutil.copytree(stopped, folder)
  done = programs.run(
    'experiments.train',
    f'--config=experiments/configs/from_json.py:{folder / "config.json"}',
    f'--workdir={folder}',
    devices=1,
  )
  assert done.returncode == 0, done.stderr
  assert ' on 1 cpu device ' in done.stdout
  runs.assert_close(folder, whole[0])


def test_f17_another_seed(experiment, stopped):
  _assert_refused(experiment, 1, stopped, 'seed: 0 there, 1 now')


@pytest.mark.extended
def test_f17_more_seeds_leave_those_before(experiment, tmp_path):
  configs = {'imbsam': experiment.config}
  seeds = [tmp_path / 'runs' / 'imbsam' / f'seed_{seed}' for seed in (0, 1)]
  with (
    # Compiled once, to save time.
    mock.patch.object(_build, 'build', return_value=experiment),
    mock.patch.object(compilation, 'compile_ahead'),
    mock.patch.object(jax, 'clear_caches'),
  ):
    experiment_lib.compare(configs, seeds=1, workdir=tmp_path / 'runs')
    before = _contents(seeds[0])
    said = []
    content = experiment_lib.compare(
      configs, seeds=2, workdir=tmp_path / 'runs', say=said.append
    ).content
  assert _contents(seeds[0]) == before
  assert '\n'.join(said).count('(complete before)') == 1
  assert content['methods']['imbsam']['top1']['runs'] == 2
  # The number of seeds changes none of them.
  added = json.loads((seeds[1] / 'summary.json').read_text())
  runs.assert_same_summary(
    added,
    experiment_lib.run(experiment, seed=1, workdir=tmp_path / 'alone').summary,
  )


# -------------------------------------------------------------------- F18


def _changed(experiment, part, change):
  """The experiment, with one thing changed in a part of its data."""
  examples = getattr(experiment.data, part)
  images, labels = examples.images.copy(), examples.labels.copy()
  change(images, labels)
  changed = data.Examples(images, labels)
  return _build.build_on(
    experiment.config, experiment.data._replace(**{part: changed})
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
  experiment = experiment_lib.build(_config(tfds_dir))
  folder_lib.claim(
    tmp_path, experiment.config, data.fingerprint(experiment.data)
  )
  (tmp_path / 'summary.json').write_text('{}')
  changed = _changed(experiment, part, change)
  with pytest.raises(
    data.DataError, match=f'{part}: [0-9a-f]+ there, [0-9a-f]+ now'
  ):
    experiment_lib.run(changed, seed=0, workdir=tmp_path)


def test_f18_fingerprint_is_of_the_data_alone(tfds_dir):
  experiment = experiment_lib.build(_config(tfds_dir))
  same = experiment_lib.build(_config(tfds_dir, 'sgd', epochs=1.0))
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


# -------------------------------------------------------------------- F19

_LABELS = (0, 0, 0, 0, 0, 0, 1, 1)


def _image_list(folder, labels):
  """A list of images as a user may have made it, and a run on it."""
  rng = np.random.RandomState(0)
  for k in range(len(labels)):
    pixels = rng.randint(0, 256, (8, 8, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(folder / f'{k}.jpg')
  path = folder / 'train.txt'
  path.write_text(''.join(f'{k}.jpg {x}\n' for k, x in enumerate(labels)))
  return experiment_lib.replace(
    places_lt.get_config('imbsam'),
    {
      'data.data_dir': str(folder),
      'data.splits': (str(path), None, str(path)),
      'data.image_size': None,
      'data.batch_size': 8,
      'model.name': 'mlp',
      'optimizer.threshold': 5,
      'epochs': 1.0,
    },
  )


def _cut(path):
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
  ('labels', 'message'),
  [
    ((*_LABELS, 12), r'train\.txt:9: the label must be in \[0, 9\), got 12'),
    ((*_LABELS, -1), r"train\.txt:9: '8\.jpg -1' must end .* integer >= 0"),
    ((*_LABELS, 1.0), r"train\.txt:9: '8\.jpg 1\.0' must end .* integer >= 0"),
    ((*_LABELS, 3), r"class 2 \('2'\) has no training examples"),
  ],
)
def test_f19_labels_of_a_list(labels, message, tmp_path):
  with pytest.raises(data.DataError, match=message):
    experiment_lib.build(_image_list(tmp_path, labels))


@pytest.mark.parametrize(
  ('labels', 'message'),
  [
    ((*_LABELS, 12), r'in \[0, 9\), got 12 at row 8 \(1 such rows\)'),
    ((*_LABELS, -1), r'not be negative, got -1 at row 8 \(1 such rows\)'),
    ((*_LABELS, 1.5), r'must be class indices, got 1\.5 in row 8'),
    ((*_LABELS, 3), r"class 2 \('2'\) has no training examples"),
  ],
)
def test_f19_labels_of_an_array(labels, message, tmp_path):
  images = np.random.RandomState(0).rand(len(labels), 8, 8, 1)
  path, arrays = tmp_path / 'data.npz', {}
  for split in ('train', 'test'):
    arrays |= {f'x_{split}': images, f'y_{split}': np.array(labels)}
  np.savez(path, **arrays)
  config = experiment_lib.replace(
    npz_lt.get_config('imbsam'), {'data.data_dir': str(path)}
  )
  with pytest.raises(data.DataError, match=message):
    experiment_lib.build(config)


def test_f19_corrupt_image_is_named_at_the_start(tmp_path):
  config = _image_list(tmp_path, _LABELS)
  assert experiment_lib.build(config).num_train == 8
  _cut(tmp_path / '5.jpg')
  with pytest.raises(data.DataError, match=r'5\.jpg cannot be decoded'):
    experiment_lib.build(config)


@pytest.mark.extended
def test_f19_corrupt_image_ends_the_program_with_3(tmp_path):
  config = _image_list(tmp_path, _LABELS)
  _cut(tmp_path / '5.jpg')
  # Decoded when a batch needs it, by several threads, if nobody looks before.
  config = experiment_lib.replace(
    config, {'data.image_size': 8, 'data.bad_images': 'unchecked'}
  )
  path = tmp_path / 'config.json'
  training.write_json(path, fields.to_json(config))
  done = programs.run(
    'experiments.train',
    f'--config=experiments/configs/from_json.py:{path}',
    f'--workdir={tmp_path}/run',
  )
  assert done.returncode == 3, done.stderr
  assert f'error: {tmp_path}/5.jpg cannot be decoded' in done.stderr
  assert 'Replace or remove it' in done.stderr
  assert 'Traceback' not in done.stderr
  assert not (tmp_path / 'run' / 'summary.json').exists()


# ------------------------------------------------------------ F20 and F21


@pytest.fixture(scope='module')
def staged(tfds_dir, tmp_path_factory):
  """A run with stages, and its summary if nothing interrupts it."""
  # SSE-SAM changes its stage, and DRW its weights, after steps 12 and 18.
  config = _config(
    tfds_dir,
    'sse_sam,drw',
    optimizer__switch=12 / 21,
    objective__weights=f'drw(start={18 / 21})',
    epochs=4.0,
    data__batch_size=64,
  )
  experiment = experiment_lib.build(config)
  assert experiment.num_steps == 21
  folder = tmp_path_factory.mktemp('staged')
  return experiment, experiment_lib.run(
    experiment, seed=0, workdir=folder
  ).summary


@pytest.mark.extended
@pytest.mark.parametrize('step', [6, 12, 18])
def test_f20_stopped_at_a_boundary(step, staged, tmp_path):
  experiment, whole = staged
  _run_until(step, experiment, tmp_path)
  runs.assert_same_summary(
    experiment_lib.run(experiment, seed=0, workdir=tmp_path).summary, whole
  )


def test_f20_complete_run_makes_no_step(experiment, whole, tmp_path):
  folder = tmp_path / 'complete'
  shutil.copytree(whole[0], folder)
  history = (folder / 'metrics.jsonl').read_bytes()
  (folder / 'summary.json').unlink()
  again = experiment_lib.run(experiment, seed=0, workdir=folder).summary
  assert (folder / 'metrics.jsonl').read_bytes() == history
  assert again['params_sha256'] == whole[1]['params_sha256']
  assert json.loads((folder / 'summary.json').read_text()) == again


@pytest.mark.parametrize(
  'threads', [3, pytest.param(1, marks=pytest.mark.extended)]
)
def test_f21_same_seed_again_whatever_the_threads(
  threads, experiment, whole, tmp_path, monkeypatch
):
  assert experiment.num_threads == 0
  folder, expected = whole
  monkeypatch.setattr(experiment_lib.Experiment, 'num_threads', threads)
  again = experiment_lib.build(experiment.config)
  found = experiment_lib.run(again, seed=0, workdir=tmp_path).summary
  runs.assert_same_summary(found, expected)
  for name in ('metrics.jsonl', 'per_class.csv'):
    assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


# -------------------------------------------------------------------- F22


@pytest.mark.parametrize(
  'kept',
  [30, *(pytest.param(k, marks=pytest.mark.extended) for k in (1, -1))],
)
def test_f22_history_cut_in_a_line(kept, experiment, whole, stopped, tmp_path):
  whole_folder, expected = whole
  history = (whole_folder / 'metrics.jsonl').read_bytes()
  folder = tmp_path / 'cut'
  shutil.copytree(stopped, folder)
  path = folder / 'metrics.jsonl'
  lines = history.splitlines(keepends=True)
  number = len(path.read_bytes().splitlines())
  assert path.read_bytes() == b''.join(lines[:number])
  # As if killed two steps after the checkpoint; -1 lacks the end of line only.
  path.write_bytes(b''.join(lines[: number + 1]) + lines[number + 1][:kept])
  runs.assert_same_summary(
    experiment_lib.run(experiment, seed=0, workdir=folder).summary, expected
  )
  assert path.read_bytes() == history
  records = training.read_history(path)
  steps = [record['step'] for record in records if 'loss' in record]
  assert steps == list(range(1, 22))


def test_f22_history_cut_before_the_checkpoint(
  experiment, whole, stopped, tmp_path
):
  whole_folder, expected = whole
  history = (whole_folder / 'metrics.jsonl').read_bytes()
  folder = tmp_path / 'cut'
  shutil.copytree(stopped, folder)
  path = folder / 'metrics.jsonl'
  path.write_bytes(path.read_bytes()[:-9])
  with pytest.warns(UserWarning, match='from the checkpoint of step 11, and'):
    summary = experiment_lib.run(experiment, seed=0, workdir=folder).summary
  runs.assert_same_summary(summary, expected)
  assert path.read_bytes() == history
  assert (folder / 'checkpoints' / '15.later').is_dir()


@pytest.mark.parametrize(
  ('damage', 'why'),
  [
    (lambda text: b'', 'what follows step 0 is missing'),
    (lambda text: text.replace(b'"step": 9', b'"step": ?'), 'line 9: Expect'),
    (lambda text: text.replace(b'"step": 9', b'"step": 8'), 'follows step 8'),
  ],
)
def test_f22_history_without_a_checkpoint_as_old(
  damage, why, experiment, stopped, tmp_path
):
  folder = tmp_path / 'cut'
  shutil.copytree(stopped, folder)
  path = folder / 'metrics.jsonl'
  path.write_bytes(damage(path.read_bytes()))
  before = _contents(folder / 'checkpoints')
  with pytest.raises(
    training.CheckpointError, match=f'every step up to .* step 15: .*{why}'
  ):
    experiment_lib.run(experiment, seed=0, workdir=folder)
  assert _contents(folder / 'checkpoints') == before


# -------------------------------------------------------------------- F23


@pytest.mark.parametrize(
  'number', [33, pytest.param(1, marks=pytest.mark.extended)]
)
def test_f23_test_set_of_any_size_without_some_classes(
  number, experiment, tmp_path
):
  test = experiment.data.test
  # No class with fewer than 20 training images.
  rows = np.flatnonzero(test.labels < 5)
  rows = np.random.RandomState(0).permutation(rows)[:number]
  test = data.Examples(test.images[rows], test.labels[rows])
  assert experiment.config.data.batch_size == 32
  experiment = dataclasses.replace(
    experiment, data=experiment.data._replace(test=test)
  )
  result = experiment_lib.run(experiment, seed=0, workdir=tmp_path)
  summary = result.summary
  with training.Checkpoints(
    tmp_path / 'checkpoints', read_only=True
  ) as checkpoints:
    state, _ = checkpoints.restore(experiment.init(0))
  # All in one call, without padding.
  predictions, *_ = experiment.predict_step(state.variables, test.images)
  hits = np.asarray(predictions) == test.labels
  assert summary['top1'] == pytest.approx(hits.mean(), abs=1e-12)
  counts = np.bincount(test.labels, minlength=10)
  right = np.bincount(test.labels[hits], minlength=10)
  rows = training.read_csv(tmp_path / 'per_class.csv')
  assert [int(row['test_count']) for row in rows] == counts.tolist()
  for row, count, number_right in zip(rows, counts, right, strict=True):
    if count:
      accuracy = float(row['accuracy'])
      assert accuracy == pytest.approx(number_right / count, abs=1e-12)
    else:
      assert row['accuracy'] == row['recall'] == row['mean_confidence'] == ''
  there = counts > 0
  assert summary['balanced'] == pytest.approx(
    (right[there] / counts[there]).mean()
  )
  # NaN is not JSON.
  text = (tmp_path / 'summary.json').read_text()
  written = json.loads(text, parse_constant=pytest.fail)
  assert written['few'] is None and written['tail'] is None
  names, _, cells = (
    [cell.strip() for cell in line.split('|')]
    for line in result.table().splitlines()
  )
  shown = dict(zip(names, cells, strict=True))
  assert shown['few'] == shown['tail'] == 'n/a'
  experiment_lib.plot(experiment, result.per_class, tmp_path / 'curve.png')
