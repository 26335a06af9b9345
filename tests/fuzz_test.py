# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Files and texts that anyone may have written end in our own errors.

Some cases of each reader in `make test`, 300 or 1,000 in `make test-all`.
Nothing but right examples and the named errors may come out, and nothing may be
written outside of the test's folder.
"""

import dataclasses
import io
import json
import os
import pathlib
import shutil
import tempfile
import warnings
import zipfile

import hypothesis
from hypothesis import strategies as st
import numpy as np
from PIL import Image
from PIL import PngImagePlugin
import pytest

from imbsam_jax import _specs
from imbsam_jax import anomaly
from imbsam_jax import data
from imbsam_jax import experiment as experiment_lib
from imbsam_jax import training
from imbsam_jax._runs import fields
from imbsam_jax._runs import folder as folder_lib
from imbsam_jax._runs import own as own_lib
from imbsam_jax._runs import statistics
from imbsam_jax.experiment import _model_file
from imbsam_jax.experiment import _scores
from imbsam_jax.experiment import _search
from imbsam_jax.experiment import _summary


def _cases(strategy, few=20, many=300):
  """Of a check of a folder and what is drawn: a few cases, and many."""

  def decorate(check):
    @pytest.mark.parametrize(
      'number', [few, pytest.param(many, marks=pytest.mark.extended)]
    )
    def test(folder, number):
      @hypothesis.settings(
        max_examples=number,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
      )
      @hypothesis.given(strategy)
      def run(drawn):
        check(folder, drawn)

      run()

    test.__name__ = check.__name__
    return test

  return decorate


# What breaks formats: their own punctuation more often than anything else.
_NASTY = st.text(
  st.one_of(
    st.sampled_from('0123456789.,;:/\\"\'()[]{}=-+eE \t\n\r\x00#%~'),
    st.characters(codec='utf-8'),
  ),
  max_size=60,
)


@pytest.fixture(scope='module')
def folder():
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    (folder / 'images').mkdir()
    (folder / 'images' / 'a.png').write_bytes(b'not an image')
    (folder / 'secret.png').write_bytes(b'outside')
    yield folder


def _mutated(draw, content):
  """Bytes of a good file, some changed, cut out or put in."""
  content = bytearray(content)
  for _ in range(draw(st.integers(0, 6))):
    place = draw(st.integers(0, max(len(content) - 1, 0)))
    match draw(st.sampled_from(['change', 'cut', 'insert', 'truncate'])):
      case 'change' if content:
        content[place] = draw(st.integers(0, 255))
      case 'cut':
        del content[place : place + draw(st.integers(1, 40))]
      case 'insert':
        content[place:place] = draw(st.binary(max_size=40))
      case 'truncate':
        del content[place:]
  return bytes(content)


_PATHS = st.one_of(
  st.sampled_from(
    [
      'a.png',
      '../secret.png',
      '/etc/passwd',
      './a.png',
      'b/../../secret.png',
      '',
      '.',
      '..',
      'C:\\a.png',
      '//a.png',
    ]
  ),
  _NASTY,
)
_LABELS = st.one_of(
  st.integers(-3, 10**12).map(str),
  st.sampled_from(['0', '1', '1.0', 'nan', '', '0x1', '١', '1_0', '+1']),
)


@_cases(st.lists(st.tuples(_PATHS, st.sampled_from([' ', '\t', '']), _LABELS)))
def test_list_files(folder, lines):
  path = folder / 'list.txt'
  path.write_text('\n'.join(a + b + c for a, b, c in lines), newline='')
  try:
    source = data.ListSource(path, folder / 'images', image_size=8)
  except data.DataError:
    return
  # What was accepted lies in the folder, which has one file.
  assert len(source.labels) == 1


def _image(kind, **how):
  """An image of its own bytes, by its format."""
  file = io.BytesIO()
  Image.new('RGB', (5, 4), (40, 120, 200)).save(file, kind, **how)
  return file.getvalue()


_GOOD = {
  kind: _image(kind)
  for kind in ('JPEG', 'PNG', 'WEBP', 'BMP', 'GIF', 'PPM', 'TIFF')
}
_LEFT = ('.hidden', '@eaDir', 'Thumbs.db', '__MACOSX', 'lost+found')
_NAMES = st.one_of(
  st.sampled_from(
    [
      *('a', 'b.jpg', 'c.jfif', 'd.txt', 'e.heic', 'k0', 'k1', 'train', 'test'),
      *('Café', 'Cafe\u0301', 'cafe', 'K0', ' ', '#', os.fsdecode(b'\xff\xe9')),
    ]
  ),
  st.sampled_from(_LEFT),
  st.text(st.characters(codec='utf-8', exclude_characters='/\0'), max_size=9)
  .filter(lambda name: name not in ('', '.', '..'))
  .filter(lambda name: len(name.encode()) < 60),
)
_CONTENTS = st.one_of(
  st.sampled_from(sorted(_GOOD)),
  st.sampled_from(
    ['', '<html>', 'BM', 'II*\0', 'P6 5 4 255 ', 'RIFF', 'GIF89a']
  ),
  st.sampled_from(['link', 'loop', 'nothing', 'folder']),
  st.binary(max_size=40),
)
# Most are in folders that there are.
_FILES = st.lists(
  st.tuples(
    st.tuples(
      st.sampled_from([['k0'], ['train', 'k0'], ['test', 'k1'], []]),
      st.lists(_NAMES, min_size=1, max_size=2),
    ).map(lambda pair: pair[0] + pair[1]),
    _CONTENTS,
    st.integers(),
  ),
  max_size=5,
)


def _text_of(path):
  """Makes the bytes of an image its own."""
  text = PngImagePlugin.PngInfo()
  text.add_text('path', path)
  return text


def _make_tree(root, base, files, draw):
  """Writes good files and others; returns the paths of the good ones."""
  shutil.rmtree(root, ignore_errors=True)
  root.mkdir()
  good = set()
  for path in base:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(_image('PNG', pnginfo=_text_of(path)))
    good.add(path)
  for names, content, mutate in files:
    path = root.joinpath(*names)
    try:
      path.parent.mkdir(parents=True, exist_ok=True)
      if path.exists() or path.is_symlink():
        continue
      if content in ('link', 'loop', 'nothing', 'folder'):
        target = {
          'link': root,
          'loop': path,
          'nothing': root / 'no',
          'folder': path.parent,
        }[content]
        path.symlink_to(target)
        continue
      if content in _GOOD:
        content = _GOOD[content]
        if mutate % 3 == 0:
          content = _mutated(draw, content)
        if content in _GOOD.values():
          good.add(path.relative_to(root).as_posix())
      path.write_bytes(
        content.encode() if isinstance(content, str) else content
      )
    except OSError:  # A file where a folder should be, or a name too long.
      continue
  return good


def _is_dropped(path):
  return any(
    part.startswith('.') or part.lower() in map(str.lower, _LEFT)
    for part in path.split('/')
  )


@_cases(st.tuples(_FILES, st.data()), few=300, many=1000)
def test_image_folders(folder, drawn):
  files, draws = drawn
  root = folder / 'tree'
  good = _make_tree(root, ('k0/x', 'k1/x.jpg'), files, draws.draw)
  try:
    source = data.FolderSource(root, image_size=4)
    reasons = source.unusable()
  except data.DataError:
    return
  usable = [path for path in source.paths if path not in reasons]
  # No good image is missing, and none that is dropped is taken.
  assert {p for p in good if '/' in p and not _is_dropped(p)} <= set(usable)
  assert not any(map(_is_dropped, source.paths))
  for path, label in zip(source.paths, source.labels, strict=True):
    name = os.fsencode(path.split('/')[0]).decode('utf-8', 'backslashreplace')
    assert source.class_names[label] == name
  kept = source.where(np.isin(source.paths, usable))
  examples = kept.examples(np.arange(len(usable)))
  for i, path in enumerate(kept.paths):
    try:
      image = examples.images[i]
    except data.DataError:
      assert path not in good
      continue
    if path in good:
      assert np.abs(image - [40.0, 120, 200]).max() < 8


@_cases(
  st.tuples(
    _FILES,
    st.data(),
    st.sampled_from(['fail', 'skip', 'unchecked']),
    st.sampled_from(
      [
        *[('train', None, 'test')] * 3,
        ('train', 'test', 'train'),
        ('.', None, 'test'),
        ('train', None, ''),
      ]
    ),
    st.sampled_from(
      [
        *[('train/k0/x', 'train/k1/x', 'test/k0/x', 'test/k1/x')] * 2,
        *[('k0/x', 'k0/y', 'k1/x', 'k1/y')] * 2,
        ('train/k0/x', 'train/k1/x'),
        (),
      ]
    ),
  ),
  few=300,
  many=1000,
)
def test_data_sets_of_folders(folder, drawn):
  files, draws, bad_images, splits, base = drawn
  root = folder / 'tree'
  _make_tree(root, base, files, draws.draw)
  config = experiment_lib.Config().data
  config = dataclasses.replace(
    config,
    name='image_folder',
    data_dir=str(root),
    splits=splits,
    bad_images=bad_images,
    profile='natural',
    image_size=4,
  )
  try:
    examples = experiment_lib.load(config)
  except ValueError:  # DataError, and what `build` makes a ConfigError.
    return
  names = [set(x.images.names()) for x in (examples.train, examples.test)]
  if splits == ('train', None, 'test'):
    assert not names[0] & names[1]
  assert examples.class_counts.min() > 0
  skipped = examples.files.skipped
  assert bad_images == 'skip' or not skipped
  json.dumps(examples.files.content()).encode()
  data.fingerprint(examples)
  for part in (examples.train, examples.test):
    assert not {*part.images.names()} & {*skipped}


_ENDS = st.sampled_from(['\n', '\r\n', '\n\n', '\n# x\n'])
_GOOD_LINES = st.tuples(
  st.permutations(['a/1', 'a\\2', 'b 3', './a/4', 'TREE/a/5']),
  st.integers(1, 5),
  st.sampled_from([['0', '0', '1', '0', '1'], ['cat', 'dog', 'ant', 'x', 'x']]),
  st.sampled_from(' \t,;'),
  _ENDS,
).map(
  lambda d: [
    f'{path}{d[3]}{label}{d[4]}'
    for path, label in list(zip(d[0], d[2], strict=True))[: d[1]]
  ]
)
_BAD_LINES = st.tuples(
  st.sampled_from(['', '# ', '"', ' ', '\ufeff']),
  st.one_of(
    st.sampled_from(['a/1', 'a\\2', 'a//2', 'b 3', 'path', '../x', '']), _NASTY
  ),
  st.sampled_from([' ', '\t', ',', ';', '"', '']),
  st.one_of(_LABELS, st.sampled_from(['cat', 'label', 'two words', 'x.png'])),
  st.sampled_from(['\n', '\r\n', '\r', '\n\n']),
).map(''.join)
_LIST_LINES = st.tuples(
  st.sampled_from([[], ['path label\n'], ['path,label\n']]),
  _GOOD_LINES,
  st.one_of(st.just([]), st.just([]), st.lists(_BAD_LINES, max_size=3)),
).map(lambda parts: [*parts[0], *parts[1], *parts[2]])


@_cases(
  st.tuples(
    _LIST_LINES,
    st.sampled_from(['l.txt', 'l.csv', 'l.tsv']),
    st.sampled_from(['utf-8', 'utf-16', 'latin-1', 'utf-16-le']),
  ),
  few=300,
  many=1000,
)
def test_image_lists(folder, drawn):
  lines, name, encoding = drawn
  root = folder / 'listed'
  if not root.exists():
    for path in ('a/1', 'a/2', 'b 3', 'a/4', 'a/5'):
      (root / path).parent.mkdir(parents=True, exist_ok=True)
      (root / path).write_bytes(_GOOD['PNG'])
  text = ''.join(lines).replace('TREE', str(root))
  (folder / name).write_bytes(text.encode(encoding, 'replace'))
  try:
    source = data.ListSource(folder / name, root, image_size=4)
  except data.DataError:
    return
  assert len(set(source.paths)) == len(source.paths) == len(source.labels)
  assert set(source.paths) <= {'a/1', 'a/2', 'b 3', 'a/4', 'a/5'}
  assert source.labels.max() < len(source.class_names)
  assert source.examples(np.arange(len(source.paths))).images[:].any()


def _npz(**arrays):
  file = io.BytesIO()
  np.savez_compressed(file, **arrays)
  return file.getvalue()


@_cases(st.data())
def test_npz_tables(folder, draws):
  good = _npz(X=np.arange(12.0).reshape(6, 2), y=np.array([0, 1] * 3))
  path = folder / 'table.npz'
  path.write_bytes(_mutated(draws.draw, good))
  try:
    data.read_table(path)
  except data.DataError:
    pass


@_cases(
  st.tuples(
    st.lists(st.integers(-(2**40), 2**62), max_size=4),
    st.sampled_from(
      ['<f8', '|O', '|V8', '<U99999999', '>i4', 'x', "('<f8', (99999,))"]
    ),
    st.binary(max_size=64),
    st.sampled_from([(1, 0), (2, 0), (3, 0), (9, 9)]),
  )
)
def test_npz_headers_that_lie(folder, drawn):
  shape, descr, body, version = drawn
  header = (
    f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {tuple(shape)}}}"
  )
  text = (header + ' ' * 8 + '\n').encode()
  size = len(text).to_bytes(2 if version == (1, 0) else 4, 'little')
  member = b'\x93NUMPY' + bytes(version) + size + text + body
  path = folder / 'lie.npz'
  with zipfile.ZipFile(path, 'w') as archive:
    for name in ('X.npy', 'y.npy'):
      archive.writestr(name, member)
  for read in (data.read_table, data.NpzSource):
    try:
      read(path)
    except data.DataError:
      pass
  with pytest.raises(ValueError):
    anomaly.DeepSAD.load(path)


def _arrays(kinds, shapes):
  """Arrays of small numbers, of any of these kinds and shapes."""

  def make(shape, kind, seed, scale):
    numbers = np.random.RandomState(seed).randint(-1, 4, shape)
    with np.errstate(all='ignore'):
      return np.asarray(numbers * scale).astype(kind)

  return st.builds(
    make,
    st.sampled_from(shapes),
    st.sampled_from(kinds),
    st.integers(0, 9),
    st.sampled_from([1, 1, 0.5, 90, 1e30]),
  )


_ROWS = [(6, 5, 5, 3), (6, 3, 5, 5), (6, 5, 5), (6, 4), (6,), (5, 4), (0, 4)]
_KINDS = ['u1', 'i8', 'u2', 'f2', 'f4', 'f8', '?', 'U3', 'c8', 'M8[s]', 'S2']
_GIVEN_LABELS = st.one_of(
  st.lists(st.integers(0, 2), min_size=6, max_size=6).map(np.array),
  _arrays(_KINDS, [(6,), (6, 1), (1, 6), (6, 3), (5,), (), (6, 1, 1), (0,)]),
  st.lists(st.integers(0, 2), min_size=6, max_size=6).map(
    lambda y: np.eye(3)[y]
  ),
  st.lists(_NASTY, min_size=6, max_size=6).map(np.array),
)


@_cases(
  st.tuples(
    _arrays(_KINDS, _ROWS),
    _GIVEN_LABELS,
    st.one_of(st.none(), st.lists(_NASTY, max_size=4)),
  ),
  many=1000,
)
def test_arrays_and_labels(folder, drawn):
  images, labels, names = drawn
  try:
    source = data.ArraySource(images, labels, class_names=names)
  except data.DataError:
    return
  # What was accepted means what it says.
  number = len(images)
  assert source.labels.dtype == np.int32 and source.labels.shape == (number,)
  assert 0 <= source.labels.min() <= source.labels.max()
  assert source.labels.max() < len(source.class_names)
  whole = np.size(labels) == number
  flat = np.ravel(labels) if whole else labels.argmax(axis=1)
  for row, label in enumerate(source.labels.tolist()):
    shown = source.class_names[label]
    if flat.dtype.kind == 'S':
      assert flat[row].decode() == shown
    else:
      assert flat[row] == (shown if flat.dtype.kind == 'U' else label)
  found = source.examples(np.arange(number)).images
  assert found.dtype in (np.uint8, np.float32)
  np.testing.assert_array_equal(found, images.astype(np.float32))


@_cases(
  st.dictionaries(
    st.sampled_from(
      ['x_train', 'y_train', 'x_val', 'X_train', 'trainY', 'images', 'X', 'y']
    ),
    st.one_of(_arrays(_KINDS[:7], _ROWS), _GIVEN_LABELS),
    min_size=1,
    max_size=4,
  ),
  many=1000,
)
def test_npz_sources(folder, arrays):
  path = folder / 'source.npz'
  path.write_bytes(_npz(**arrays))
  for split in ('train', 'validation', None):
    try:
      source = data.NpzSource(path, split)
    except data.DataError:
      continue
    number = len(source.labels)
    assert len(source.examples(np.arange(number)).images) == number


_SCALES = st.sampled_from([1, 255, 2, 1e-3])


@_cases(
  st.tuples(
    st.sampled_from(['u1', 'f4']), st.sampled_from(['u1', 'f4']),
    _SCALES, _SCALES, st.sampled_from(_ROWS[:4]), st.sampled_from(_ROWS[:4]),
    st.booleans(),
  )
)  # fmt: skip
def test_splits(folder, drawn):
  kind, other, one, two, shape, other_shape, same = drawn
  rng = np.random.RandomState(0)
  labels = np.array([0, 1, 2, 0, 1, 0])
  parts = []
  for k, scale, size in ((kind, one, shape), (other, two, other_shape)):
    try:
      images = (rng.rand(*size) * scale).astype(k)
      parts.append(data.ArraySource(images, labels))
    except data.DataError:
      return
  train, test = parts[0], parts[0] if same else parts[1]
  try:
    cut = data.long_tailed(train, test)
  except data.DataError:
    return
  assert same or (kind, shape) == (other, other_shape)
  # Shares of one against bytes do not pass.
  assert same or kind == 'u1' or {one, two} not in ({1, 255}, {1e-3, 255})
  assert bool(cut.notes) >= same


_CELLS = st.one_of(
  _LABELS,
  st.sampled_from(
    ['#N/A', '-', '1,5', '1.5', '1e400', '-inf', '"', "'", 'red', '1e12', ' 2 ']
  ),
)


@_cases(
  st.tuples(
    st.lists(
      st.sampled_from(['a', 'b', 'label', 'id', '', 'Unnamed: 0', 'a;b', '"']),
      max_size=5,
    ),
    st.lists(st.lists(_CELLS, min_size=2, max_size=5), max_size=6),
    st.sampled_from([',', ';', '\t', '|']),
    st.booleans(),
  ),
  many=1000,
)
def test_csv_rows(folder, drawn):
  header, rows, separator, skip = drawn
  path = folder / 'rows.csv'
  lines = ([header] if header else []) + rows
  path.write_text('\n'.join(map(separator.join, lines)), newline='')
  try:
    table = data.read_table(path)
    assert np.isfinite(table.features).all()
    assert {*table.labels.tolist()} == {0, 1}
    assert len(table.columns) == table.features.shape[1]
  except data.DataError:
    pass
  for columns in (
    data.Columns(('a', 'b'), 'label', True),
    data.Columns(('0', '2')),
  ):
    try:
      found = data.read_rows(path, columns, skip=skip)
    except data.DataError:
      continue
    whole = [i for i in range(len(found.features)) if i not in found.errors]
    assert skip or len(whole) == len(found.features)
    assert np.isfinite(found.features[whole]).all()
    assert found.features.shape[1] == 2


@pytest.fixture(scope='module')
def tfds_set(tmp_path_factory):
  """A small prepared set of TFDS."""
  folder = tmp_path_factory.mktemp('tfds')
  data.TfdsSource('digits', 'test', data_dir=str(folder))
  return folder


# A case takes a second: it reads all records.
@pytest.mark.parametrize(
  'number', [3, pytest.param(60, marks=pytest.mark.extended)]
)
@pytest.mark.filterwarnings('ignore')
def test_tfds_folders(tfds_set, tmp_path, number):
  good = data.TfdsSource('digits', 'test', data_dir=str(tfds_set)).labels
  rng = np.random.RandomState(0)
  for i in range(number):
    copy = tmp_path / str(i)
    shutil.copytree(tfds_set, copy)
    (shard,) = copy.rglob('*test.array_record*')
    content = bytearray(shard.read_bytes())
    place = rng.randint(len(content))
    if i % 3:
      content[place] ^= 1 << rng.randint(8)
    else:
      del content[place:]
    shard.write_bytes(content)
    try:
      source = data.TfdsSource('digits', 'test', data_dir=str(copy))
    except data.DataError:
      pass
    else:  # Where nothing is written.
      np.testing.assert_array_equal(source.labels, good)
    shutil.rmtree(copy)


@_cases(
  st.one_of(
    _NASTY,
    st.lists(st.lists(_LABELS, max_size=4).map(','.join)).map('\n'.join),
  )
)
def test_csv_tables(folder, text):
  path = folder / 'table.csv'
  path.write_text(text, newline='')
  try:
    table = data.read_table(path)
  except data.DataError:
    return
  assert np.isfinite(table.features).all()


@_cases(st.data())
def test_detector_files(folder, draws):
  header = json.dumps(
    {
      'format': 1,
      'parameters': {},
      'encoder': {'hidden_sizes': [2], 'embedding_size': 1, 'norm': 'none'},
    }
  )
  arrays = {
    'header': np.array(header),
    'center': np.ones(1, np.float32),
    'minimum': np.zeros(2),
    'extent': np.ones(2),
    'threshold': np.array(1.0),
    'variables/params/hidden/dense1/kernel': np.ones((2, 2), np.float32),
    'variables/params/embedding/kernel': np.ones((2, 1), np.float32),
  }
  good = folder / 'detector.npz'
  good.write_bytes(_npz(**arrays))
  anomaly.DeepSAD.load(good)
  path = folder / 'mutant.npz'
  path.write_bytes(_mutated(draws.draw, good.read_bytes()))
  try:
    anomaly.DeepSAD.load(path)
  except ValueError:
    pass


_JSON = st.recursive(
  st.none() | st.booleans() | st.floats() | st.integers() | _NASTY,
  lambda inner: st.lists(inner) | st.dictionaries(_NASTY, inner),
  max_leaves=8,
)


@_cases(st.data())
def test_manifests(folder, draws):
  checkpoints = folder / 'checkpoints'
  checkpoints.mkdir(exist_ok=True)
  manifest = {
    'format': 1,
    'step': 3,
    'seconds': 0.0,
    'metrics': {},
    'files': {'a': {'size': 1, 'sha256': '0' * 64}},
  }
  if draws.draw(st.booleans()):
    key = draws.draw(st.sampled_from([*manifest, 'sha256']))
    manifest[key] = draws.draw(_JSON)
    content = json.dumps(manifest).encode()
  else:
    content = _mutated(draws.draw, json.dumps(manifest).encode())
  (checkpoints / '3.manifest.json').write_bytes(content)
  (report,) = training.inspect_checkpoints(checkpoints, contents=True)
  assert report.status == 'damaged'
  with pytest.raises(training.CheckpointError):
    with training.Checkpoints(checkpoints, read_only=True) as found:
      assert found.latest_step is None


@_cases(st.data())
def test_config_files(folder, draws):
  content = fields.to_json(experiment_lib.Config())
  place = draws.draw(st.sampled_from([*content, 'data.splits', 'data.name']))
  part, _, name = place.partition('.')
  if name:
    content[part][name] = draws.draw(_JSON)
  else:
    content[part] = draws.draw(_JSON)
  text = json.dumps(content)
  if draws.draw(st.booleans()):
    text = _mutated(draws.draw, text.encode()).decode(errors='replace')
  path = folder / 'config.json'
  path.write_text(text)
  try:
    experiment_lib.check_config(fields.from_json(path, experiment_lib.Config))
  except ValueError:
    pass


@_cases(
  st.one_of(
    _NASTY,
    st.tuples(
      st.sampled_from(['ldam', 'vs', '__import__', 'ldam.x', 'lambda']),
      _NASTY,
    ).map(lambda pair: f'{pair[0]}({pair[1]})'),
    st.sampled_from(
      [
        "__import__('os').system('touch owned')",
        "ldam(max_margin=__import__('os').system('touch owned'))",
        '(' * 500,
        'ldam(max_margin=' + '-' * 500 + '1)',
        'ldam(**{})',
        '9' * 5000,
      ]
    ),
  )
)
def test_words_with_parameters(folder, text):
  before = set(os.listdir())

  def ldam(*, max_margin=0.5):
    return max_margin

  try:
    _specs.bind('objective.loss', text, {'ldam': ldam})
  except ValueError:
    pass
  assert set(os.listdir()) == before


# ------------------------------------------------------ the folder of a run

_SHA = '0123456789abcdef' * 4
_LEAF = {'shape': [4, 3], 'dtype': 'float32', 'trained': True, 'sha256': _SHA}
_RUN = {
  'config.json': fields.to_json(experiment_lib.Config()),
  'data.json': {'classes': _SHA, 'train': _SHA, 'test': _SHA},
  'own.json': {
    'model': {'about': 'Net()', 'computes': _SHA, 'jax': '0.1', 'variables': {}}
  },
  'model.json': {
    'format': 1,
    'class_names': ['a', 'b', 'c'],
    'class_counts': [9, 3, 1],
    'model': {'name': 'mlp', 'own': False, 'norm': 'none', 'head': 'linear'},
    'trunk': None,
    'input': {
      'shape': [6, 6, 1],
      'dtype': 'uint8',
      'color': 'L',
      'image_size': None,
      'range': None,
      'scale': 255.0,
      'mean': [0.5],
      'std': [0.25],
      'size': None,
      'method': 'bilinear',
      'rgb': False,
    },
    'logit_scale': 1.0,
    'threshold': 20,
    'many_above': 100,
    'few_below': 20,
    'num_steps': 9,
    'step': 9,
    'params_sha256': _SHA,
    'variables': {'params/classifier/kernel': _LEAF},
  },
  'summary.json': {
    **dict.fromkeys(_scores.COLUMNS, 0.5),
    'seconds': 1.5,
    'cost_sgd_steps': 1.0,
    'train_loss': 0.1,
    'steps': 9,
  },
}


def _damaged(draw, folder, name):
  """A file of a run of which an entry or some bytes are others."""
  content = json.loads(json.dumps(_RUN[name]))
  if draw(st.booleans()):
    part, key = content, draw(st.sampled_from([*content]))
    while isinstance(part[key], dict) and part[key] and draw(st.booleans()):
      part, key = part[key], draw(st.sampled_from([*part[key]]))
    if draw(st.integers(0, 3)):
      part[key] = draw(_JSON)
    else:
      del part[key]
  text = json.dumps(content, indent=2).encode()
  if draw(st.booleans()):
    text = _mutated(draw, text)
  (folder / name).write_bytes(text)


@_cases(st.data(), few=300, many=1000)
def test_run_config(folder, draws):
  _damaged(draws.draw, folder, 'config.json')
  try:
    config = folder_lib.read_config(folder, experiment_lib.Config)
    experiment_lib.check_config(config)
  except experiment_lib.ConfigError:
    pass


@_cases(st.data(), few=300, many=1000)
def test_run_data(folder, draws):
  _damaged(draws.draw, folder, 'data.json')
  try:
    folder_lib.check_data(folder, _RUN['data.json'])
  except (experiment_lib.ConfigError, data.DataError):
    pass


@_cases(st.data(), few=300, many=1000)
def test_run_own(folder, draws):
  _damaged(draws.draw, folder, 'own.json')
  try:
    own_lib.check(folder, _RUN['own.json'], 'pass that of the run')
  except experiment_lib.ConfigError:
    pass


@_cases(st.data(), few=300, many=1000)
def test_run_model(folder, draws):
  _damaged(draws.draw, folder, 'model.json')
  try:
    content = _model_file.read(folder)
  except experiment_lib.ConfigError:
    return
  how = _model_file.standardization(content['input'])
  shape = (1, *content['input']['shape'])
  if np.prod(shape) < 1e6 and how.size is None:
    channels = (1, shape[-1])
    if how.mean.size in channels and how.std.size in channels:
      assert how(np.zeros(shape, content['input']['dtype'])).shape[0] == 1
  assert len(content['class_names']) == len(content['class_counts'])


@_cases(st.data(), few=300, many=1000)
def test_run_summary(folder, draws):
  folder = folder / 'run'
  folder.mkdir(exist_ok=True)
  (folder / 'config.json').write_text(json.dumps(_RUN['config.json']))
  (folder / 'per_class.csv').write_text('train_count,accuracy\n9,0.5\n3,\n')
  _damaged(draws.draw, folder, 'summary.json')
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # It says what cannot be read.
    _collect(folder)


def _collect(folder):
  summary = folder_lib.read_summary(folder, experiment_lib.Config())
  if summary is not None and not _summary.lacking(summary, folder, 2):
    experiment_lib.comparison_table(
      {'methods': {'a': statistics.over_runs([summary])}, 'split': 'test'}
    )
  (folder / _search.FOLDER).mkdir(exist_ok=True)
  (folder / 'summary.json').replace(folder / _search.FOLDER / 'summary.json')
  _search.summary(folder)


@_cases(st.data(), few=300, many=1000)
def test_run_history(folder, draws):
  lines = [
    line
    for step in range(1, 7)
    for line in (
      {'step': step, 'cost': 1.0, 'loss': 0.5, 'train_accuracy': 0.5},
      *([{'step': step, 'validation': {'top1': 0.5}}] if step % 3 == 0 else []),
    )
  ]
  content = ''.join(json.dumps(line) + '\n' for line in lines).encode()
  path = folder / 'metrics.jsonl'
  path.write_bytes(_mutated(draws.draw, content))
  steps, _ = training.whole_steps(path, {3, 6})
  history = training.History(path, start=steps)
  made = [r['step'] for r in history.records if 'loss' in r]
  assert made[:steps] == list(range(1, steps + 1))
  assert training.read_history(path) == history.records
