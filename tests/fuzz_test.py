# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Files and texts that anyone may have written end in our own errors.

Eight readers, 300 cases each in `make test-all`, 20 in `make test`. Nothing but
the named errors may come out, and nothing may be written outside of the test's
folder.
"""

import io
import json
import os
import pathlib
import tempfile
import zipfile

import hypothesis
from hypothesis import strategies as st
import numpy as np
import pytest

from imbsam_jax import _specs
from imbsam_jax import anomaly
from imbsam_jax import data
from imbsam_jax import experiment as experiment_lib
from imbsam_jax import training
from imbsam_jax._runs import fields


def _cases(strategy):
  """Of a check of a folder and what is drawn: a few cases, and many."""

  def decorate(check):
    @pytest.mark.parametrize(
      'number', [20, pytest.param(300, marks=pytest.mark.extended)]
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
