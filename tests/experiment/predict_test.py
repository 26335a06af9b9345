# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Predictions for new images, as files and by the program."""

import csv
import io
import json
import os

import numpy as np
from PIL import Image
import pytest

from imbsam_jax import data as data_lib
from imbsam_jax import experiment
from imbsam_jax import training
from imbsam_jax.experiment import _image_source
from tests import programs
from tests.experiment import small_sources

# What tables of careless programs break at.
_CLASSES = ('a "b", c', 'line\nbreak', '=猫')
_IMAGES, _LABELS = small_sources.SOURCES.test


@pytest.fixture(scope='module', name='run')
def _run(tmp_path_factory):
  """A run of classes with such names."""
  folder = tmp_path_factory.mktemp('run')
  train, test = small_sources.SOURCES.train, small_sources.SOURCES.test
  sources = (
    data_lib.ArraySource(*pair, class_names=_CLASSES) for pair in (train, test)
  )
  config = experiment.config(
    'own',
    'sgd',
    {
      'epochs': 4,
      'data.batch_size': 16,
      'model.name': 'mlp',
      'model.norm': 'none',
      'optimizer.learning_rate': 0.02,
    },
  )
  exp = experiment.build(config, data=experiment.Sources(*sources))
  return folder, exp, experiment.run(exp, workdir=folder)


@pytest.fixture(scope='module', name='classifier')
def _classifier(run):
  return experiment.load_run(run[0], batch_size=16)


@pytest.fixture(scope='module', name='folder')
def _folder(tmp_path_factory):
  """Twelve images of the test set, by number, and what is no image."""
  folder = tmp_path_factory.mktemp('new')
  for i in range(12):
    Image.fromarray(_IMAGES[2 * i, ..., 0]).save(folder / f'{i}.png')
  (folder / 'notes.md').write_text('no image')
  (folder / '.hidden.png').write_text('none')
  return folder


def _call(run, source, output, *arguments):
  return programs.call(
    'predict',
    f'--workdir={run[0]}',
    f'--source={source}',
    f'--output={output}',
    '--batch_size=16',
    *arguments,
  )


def _rows(path):
  with open(path, newline='', encoding='utf-8') as file:
    return list(csv.DictReader(file))


def test_program(run, folder, tmp_path):
  """The classes that the evaluation finds, by the names of the run."""
  _, exp, result = run
  done = _call(run, folder, tmp_path / 'out.csv', '--top=2')
  assert done.returncode == 0, done.stderr
  rows = _rows(tmp_path / 'out.csv')
  assert [*rows[0]] == [
    'path', 'class_index', 'class_name', 'probability', 'group', 'top2_name',
    'top2_probability', 'error',
  ]  # fmt: skip
  # 2 before 10.
  assert [row['path'] for row in rows] == [
    f'{folder}/{i}.png' for i in range(12)
  ]
  classes, confidences = training.predict(
    exp.predict_step,
    result.state.variables,
    exp.data.test,
    batch_size=16,
    mesh=exp.mesh,
  )
  assert [int(row['class_index']) for row in rows] == classes[:24:2].tolist()
  assert len(set(classes[:24:2])) > 1
  np.testing.assert_allclose(
    [float(row['probability']) for row in rows], confidences[:24:2], atol=2e-6
  )
  for row in rows:
    assert row['class_name'] == _CLASSES[int(row['class_index'])]
    assert row['group'] == ('medium', 'few', 'few')[int(row['class_index'])]
    assert row['top2_name'] in {*_CLASSES} - {row['class_name']}
    assert float(row['top2_probability']) <= float(row['probability'])
    assert row['error'] == ''
  assert f'step {exp.num_steps} of {exp.num_steps}' in done.stdout
  assert '12 images, ' in done.stdout and '| medium |' in done.stdout
  assert os.listdir(tmp_path) == ['out.csv']  # Nothing unfinished.


def test_json_lines_say_the_same(classifier, folder, tmp_path):
  for name in ('out.csv', 'out.jsonl'):
    experiment.predict_files(classifier, folder, tmp_path / name, top=9)
  rows = _rows(tmp_path / 'out.csv')
  text = (tmp_path / 'out.jsonl').read_text(encoding='utf-8')
  lines = [json.loads(line) for line in text.splitlines()]
  for row, line in zip(rows, lines, strict=True):
    assert [*line] == [
      'path', 'class', 'name', 'probability', 'group', 'top',
    ]  # fmt: skip
    assert line['path'] == row['path'] and line['group'] == row['group']
    assert line['name'] == row['class_name']
    assert line['top'][0]['class'] == line['class'] == int(row['class_index'])
    assert line['top'][2]['name'] == row['top3_name']
    assert line['top'][2]['probability'] == float(row['top3_probability'])


def test_same_bytes_whatever_the_batches(run, folder, tmp_path):
  contents = set()
  for size in (8, 16, 24):
    one = experiment.load_run(run[0], batch_size=size)
    experiment.predict_files(one, folder, tmp_path / 'out.csv')
    contents.add((tmp_path / 'out.csv').read_bytes())
  assert len(contents) == 1


def test_sources_of_the_same_images(classifier, folder, tmp_path):
  experiment.predict_files(classifier, folder, tmp_path / 'folder.csv')
  expected = _rows(tmp_path / 'folder.csv')
  paths = [str(folder / f'{i}.png') for i in range(12)]
  (tmp_path / 'list.txt').write_text('\n\n'.join(reversed(paths)) + '\r\n')
  images = _IMAGES[:24:2]
  np.save(tmp_path / 'array.npy', images)
  np.savez(tmp_path / 'array.npz', labels=_LABELS[:24:2], images=images)
  np.save(tmp_path / 'shares.npy', (images / 255).astype(np.float32))
  (tmp_path / 'deep').mkdir()
  os.symlink(folder, tmp_path / 'deep' / 'link')  # Not followed.
  (tmp_path / 'deep' / _CLASSES[0]).mkdir()
  for i in range(12):
    os.link(paths[i], tmp_path / 'deep' / _CLASSES[0] / f'{i}.PNG')
  for source, recursive in [
    (f'{folder}/*.png', False),
    (f'{folder.parent}/**/{folder.name}/*.png', True),
    (tmp_path / 'list.txt', False),
    (tmp_path / 'array.npy', False),
    (tmp_path / 'array.npz', False),
    (tmp_path / 'shares.npy', False),
    (tmp_path / 'deep', True),
  ]:
    summary = experiment.predict_files(
      classifier, source, tmp_path / 'out.csv', recursive=recursive
    )
    rows = _rows(tmp_path / 'out.csv')
    if source == tmp_path / 'list.txt':  # Its order is kept.
      assert [row['path'] for row in rows] == paths[::-1]
      rows = rows[::-1]
    for row, other in zip(rows, expected, strict=True):
      assert row | {'path': ''} == other | {'path': ''}, source
    if source == tmp_path / 'array.npy':
      assert rows[3]['path'] == f'{source}[3]'
    has_note = 'names of classes' in str(summary)
    assert has_note == (source == tmp_path / 'deep')
  experiment.predict_files(classifier, paths[5], tmp_path / 'out.csv')
  assert _rows(tmp_path / 'out.csv') == expected[5:6]


def test_summary(classifier, folder, tmp_path):
  summary = experiment.predict_files(classifier, folder, tmp_path / 'out.csv')
  rows = _rows(tmp_path / 'out.csv')
  few = [float(r['probability']) for r in rows if r['group'] == 'few']
  classes, before, predicted, confidence = summary.groups['few']
  assert (classes, before, predicted) == (2, 18 / 48, len(few) / 12)
  assert confidence == pytest.approx(np.mean(few), abs=1e-5)
  assert summary.groups['many'] == (0, 0.0, 0.0, None)
  assert summary.num_images == 12 and summary.errors == []


def test_standard_output(run, folder):
  done = _call(run, folder, '-', '--top=1')
  rows = list(csv.DictReader(io.StringIO(done.stdout, newline='')))
  assert len(rows) == 12 and rows[0]['path'].endswith('0.png')
  assert '12 images, ' in done.stderr


@pytest.mark.parametrize('suffix', ['csv', 'jsonl'])
def test_unreadable_image(suffix, run, classifier, folder, tmp_path):
  source = tmp_path / 'images'
  source.mkdir()
  for i in (0, 2):
    os.link(folder / f'{i}.png', source / f'{i}.png')
  (source / '1.png').write_bytes(b'no image')
  output = tmp_path / f'out.{suffix}'
  output.write_text('of before')
  done = _call(run, source, output)
  assert done.returncode == 3
  assert f'{source}/1.png is not an image of a known format' in done.stderr
  assert output.read_text() == 'of before'
  assert sorted(os.listdir(tmp_path)) == ['images', output.name]
  summary = experiment.predict_files(
    classifier, source, output, on_error='skip'
  )
  assert summary.num_images == 2
  assert '1 image left out' in str(summary)
  if suffix == 'csv':
    rows = _rows(output)
    assert [row['class_index'] != '' for row in rows] == [True, False, True]
  else:
    lines = output.read_text(encoding='utf-8').splitlines()
    rows = [json.loads(line) for line in lines]
    assert [*rows[1]] == ['path', 'error']
  assert rows[1]['path'] == f'{source}/1.png'
  assert 'is not an image' in rows[1]['error']
  os.unlink(source / '0.png')
  os.unlink(source / '2.png')
  with pytest.raises(data_lib.DataError, match='none of 1 image can be pred'):
    experiment.predict_files(classifier, source, output, on_error='skip')


def test_what_is_no_source(classifier, folder, tmp_path):
  output = tmp_path / 'out.csv'
  (tmp_path / 'empty').mkdir()
  (tmp_path / 'outer' / 'inner').mkdir(parents=True)
  (tmp_path / 'empty.txt').write_text('\n \n')
  (tmp_path / 'latin.txt').write_bytes(b'\xe4.png')
  (tmp_path / 'broken.npy').write_text('no array')
  np.savez(tmp_path / 'two.npz', a=_IMAGES, b=_IMAGES)
  np.save(tmp_path / 'none.npy', _IMAGES[:0])
  np.save(tmp_path / 'objects.npy', np.array([{}]), allow_pickle=True)
  for name, message in [
    ('empty', 'has no image: no file that begins like a'),
    ('outer', '1 folders: pass `recursive=True`'),
    ('missing.png', 'there is no such file or folder'),
    ('*.png', 'no file fits'),
    ('empty.txt', 'is empty; a path is expected'),
    ('latin.txt', 'is not UTF-8'),
    ('broken.npy', 'cannot be read'),
    ('objects.npy', 'cannot be read'),
    ('two.npz', 'has the arrays a, b, and none is called images'),
    ('none.npy', 'has no image'),
  ]:
    with pytest.raises(data_lib.DataError, match=message):
      experiment.predict_files(classifier, tmp_path / name, output)
  np.save(tmp_path / 'flat.npy', _IMAGES[:, 0, :, 0])
  with pytest.raises(experiment.ConfigError, match=r'\[N, 6, 6, 1\]'):
    experiment.predict_files(classifier, tmp_path / 'flat.npy', output)
  for options, message in [
    ({'output': tmp_path / 'out.txt'}, 'end it with .csv or .jsonl'),
    ({'output': tmp_path / 'none' / 'out.csv'}, 'cannot be written'),
    ({'on_error': 'ignore'}, "must be 'fail' or 'skip'"),
    ({'top': 0}, 'top'),
  ]:
    with pytest.raises(experiment.ConfigError, match=message):
      experiment.predict_files(
        classifier, folder, **{'output': output, **options}
      )
  assert not output.exists()


def test_command_line(run, folder, tmp_path):
  output = tmp_path / 'out.csv'
  for arguments, code, message in [
    (['--output='], 2, 'pass --output=FILE.csv'),
    ([f'--workdir={tmp_path}'], 2, 'there is no run in'),
    (['--checkpoint=5'], 5, 'no checkpoint of step 5'),
    (['--top=0'], 2, 'top'),
    ([f'--source={tmp_path}'], 3, 'has no image'),
  ]:
    done = _call(run, folder, output, *arguments)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
  Image.fromarray(np.zeros([9, 7], np.uint8)).save(tmp_path / 'large.png')
  done = _call(run, tmp_path / 'large.png', output)
  assert done.returncode == 3 and 'Pass --resize=True' in done.stderr
  done = _call(run, tmp_path / 'large.png', output, '--resize=True')
  assert done.returncode == 0 and len(_rows(output)) == 1


@pytest.mark.parametrize('number', [0, 2, 9])
def test_arrays_of_all_classes(number, run, folder, tmp_path):
  """Rows belong to the lines of the output, also where images are missing."""
  classifier = experiment.load_run(run[0], batch_size=8)
  paths = [str(folder / f'{i}.png') for i in range(12)]
  broken = tmp_path / 'broken.png'
  broken.write_bytes(b'no image')
  paths[:number] = [str(broken)] * number
  paths[7] = str(broken)
  source = tmp_path / 'list.txt'
  source.write_text('\n'.join(paths))
  output, other = tmp_path / 'out.csv', tmp_path / 'other.npz'
  experiment.predict_files(
    classifier,
    source,
    output,
    on_error='skip',
    probabilities=True,
    features=other,
  )
  with np.load(tmp_path / 'out.probabilities.npz') as file:
    assert file['class_names'].tolist() == list(_CLASSES)
    probabilities = file['probabilities']
  with np.load(other) as file:
    assert file.files == ['features']
    features = file['features']
  failed = np.array([path == str(broken) for path in paths])
  assert np.isnan(probabilities[failed]).all()
  assert np.isnan(features[failed]).all()
  images = _IMAGES[2 * np.flatnonzero(~failed)]
  np.testing.assert_array_equal(probabilities[~failed], classifier(images))
  np.testing.assert_array_equal(features[~failed], classifier.features(images))
  assert [row['error'] != '' for row in _rows(output)] == failed.tolist()
  assert sorted(os.listdir(tmp_path)) == [
    'broken.png', 'list.txt', 'other.npz', 'out.csv', 'out.probabilities.npz',
  ]  # fmt: skip
  before = other.read_bytes()
  experiment.predict_files(
    classifier, source, output, on_error='skip', features=other
  )
  assert other.read_bytes() == before
  # Nothing takes its place where it fails on the way.
  with pytest.raises(data_lib.DataError):
    experiment.predict_files(classifier, source, output, features=other)
  assert other.read_bytes() == before
  assert len(os.listdir(tmp_path)) == 5


def test_array_flags(run, folder, tmp_path):
  call = (
    'predict',
    f'--workdir={run[0]}',
    f'--source={folder}',
    f'--output={tmp_path / "out.csv"}',
    '--batch_size=16',
  )
  done = programs.call(
    *call, '--probabilities', f'--features={tmp_path / "f.npz"}'
  )
  assert done.returncode == 0, done.stderr
  assert sorted(os.listdir(tmp_path)) == [
    'f.npz', 'out.csv', 'out.probabilities.npz',
  ]  # fmt: skip
  for arguments, message in [
    (['--output=-', '--probabilities'], 'pass --probabilities=FILE.npz'),
    ([f'--features={tmp_path / "f.csv"}'], 'must end with .npz'),
    ([f'--features={tmp_path / "no" / "f.npz"}'], 'in a folder that exists'),
    (['--target_prior=banana'], "'uniform', 'train' or a JSON file"),
    (['--calibration=lws'], 'program calibrate, --workdir='),
  ]:
    done = programs.call(*call, *arguments)
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert 'Traceback' not in done.stderr


def test_target_prior_by_the_program(run, folder, tmp_path):
  prior = tmp_path / 'prior.json'
  prior.write_text(json.dumps(dict(zip(_CLASSES, [0, 0, 1], strict=True))))
  done = programs.call(
    'predict',
    f'--workdir={run[0]}',
    f'--source={folder}',
    '--output=-',
    '--batch_size=16',
    f'--target_prior={prior}',
    '--spreadsheet_safe',
  )
  assert done.returncode == 0, done.stderr
  rows = [*csv.DictReader(io.StringIO(done.stdout, newline=''))]
  assert {row['class_name'] for row in rows} == {"'=猫"}
  assert {row['probability'] for row in rows} == {'1.000000'}


def test_cells_of_a_spreadsheet(classifier, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  names = [f'{name}.png' for name in ('=1+2', '+a', '-b', '@c', 'd', "'e")]
  for image, name in zip(_IMAGES, names, strict=False):
    Image.fromarray(image[..., 0]).save(name)
  (tmp_path / 'list.txt').write_text('\n'.join(names))
  for safe in (False, True):
    options = {'spreadsheet_safe': safe}
    experiment.predict_files(classifier, 'list.txt', 'out.csv', **options)
    found = [row['path'] for row in _rows(tmp_path / 'out.csv')]
    mark = "'" if safe else ''
    assert found == [mark + name for name in names[:4]] + names[4:]
    experiment.predict_files(classifier, 'list.txt', 'out.jsonl', **options)
    lines = (tmp_path / 'out.jsonl').read_text().splitlines()
    assert [json.loads(line)['path'] for line in lines] == names


@pytest.mark.parametrize('number', [3, 4000])
def test_a_reader_that_has_seen_enough(number, run, tmp_path):
  """As in ``| head -1``, of what fits a buffer and of what does not."""
  np.save(tmp_path / 'images.npy', np.repeat(_IMAGES[:1], number, axis=0))
  process = programs.start(
    'imbsam_jax',
    'predict',
    f'--workdir={run[0]}',
    f'--source={tmp_path / "images.npy"}',
    '--output=-',
  )
  assert process.stdout is not None and process.stderr is not None
  process.stdout.close()
  with process.stderr as stream:
    error = stream.read()
  assert process.wait() == 141
  assert 'roken' not in error and 'Traceback' not in error, error


def test_natural_order():
  names = ['b10', 'b9', 'a', 'b', '10', '9', 'b9a1', '09', 'b٣']
  ordered = ['09', '9', '10', 'a', 'b', 'b9', 'b9a1', 'b10', 'b٣']
  assert sorted(names, key=_image_source.natural) == ordered
