# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tables as people have them, from the file to the scores of new rows."""

import csv
import io
import json
import pathlib
import re
import shutil
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from imbsam_jax import anomaly
from imbsam_jax import data
from imbsam_jax import experiment
from imbsam_jax._runs import fields
from imbsam_jax.anomaly import _wild_cells
from imbsam_jax.anomaly import study
from tests import programs

_RNG = np.random.RandomState(0)
_FEATURES = np.r_[_RNG.randn(50, 3), _RNG.randn(10, 3) + 3].round(4)
_LABELS = np.r_[np.zeros(50, int), np.ones(10, int)]
_ORDER = _RNG.permutation(60)
_COLUMNS = {
  **{name: _FEATURES[_ORDER, i] for i, name in enumerate('abc')},
  'label': _LABELS[_ORDER],
}
_SMALL = (
  '--config.detector.epochs=1',
  '--config.detector.pretrain_epochs=0',
  '--config.detector.hidden_sizes=(4,)',
  '--config.data.labeled_anomaly_ratio=0.1',
)


class Frame:
  """What detectors use of a frame of pandas."""

  def __init__(self, **columns):
    self.columns = list(columns)
    self._values = columns

  def __array__(self, dtype=None, copy=None):
    return np.stack([*self._values.values()], axis=1).astype(dtype)

  def __getitem__(self, names):
    return Frame(**{name: self._values[name] for name in names})


def _csv(columns, *, header=True, separator=',', decimal='.'):
  rows = zip(*columns.values(), strict=True)
  lines = [separator.join(columns)] if header else []
  lines += [
    separator.join(str(x).replace('.', decimal) for x in r) for r in rows
  ]
  return '\n'.join(lines) + '\n'


class _FolderTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)

  def write(self, text, name='new.csv'):
    path = self.folder / name
    path.write_text(text)
    return path


class ReadTest(_FolderTest):
  def assert_same(self, table, columns='abc'):
    self.assertEqual(table.columns, tuple(columns))
    np.testing.assert_array_equal(
      table.features, np.stack([_COLUMNS[c] for c in 'abc'], axis=1)
    )
    np.testing.assert_array_equal(table.labels, _COLUMNS['label'])

  @parameterized.named_parameters(
    ('comma', {}),
    ('semicolon', {'separator': ';'}),
    ('decimal_comma', {'separator': ';', 'decimal': ','}),
    ('tab', {'separator': '\t'}),
    ('tab_and_decimal_comma', {'separator': '\t', 'decimal': ','}),
  )
  def test_separators(self, options):
    table = data.read_table(self.write(_csv(_COLUMNS, **options)))
    self.assert_same(table)
    self.assertEqual(table.label, 'label')
    table = data.read_table(self.write(_csv(_COLUMNS, header=False, **options)))
    self.assert_same(table, '012')
    self.assertFalse(table.named)

  def test_a_semicolon_in_a_name(self):
    columns = dict(
      zip(['"a;b"', 'c', 'd', 'y'], _COLUMNS.values(), strict=True)
    )
    table = data.read_table(self.write(_csv(columns)))
    self.assertEqual(table.columns, ('a;b', 'c', 'd'))

  @parameterized.parameters(
    ('Unnamed: 0', 0), ('', 0), ('id', 7), ('whatever', 1), ('ID', 0),
  )  # fmt: skip
  def test_row_numbers(self, name, start):
    columns = {name: start + np.arange(60), **_COLUMNS}
    table = data.read_table(self.write(_csv(columns)))
    self.assert_same(table)
    self.assertEqual(table.left_out, (name,))

  def test_row_numbers_without_a_header(self):
    columns = {'0': np.arange(60), **_COLUMNS}
    table = data.read_table(self.write(_csv(columns, header=False)))
    self.assert_same(table, '123')
    self.assertEqual(table.left_out, ('0',))

  def test_shuffled_row_numbers_by_their_name(self):
    numbers = np.random.RandomState(3).permutation(60)
    table = data.read_table(self.write(_csv({'id': numbers, **_COLUMNS})))
    self.assert_same(table)
    # By another name it may be anything.
    table = data.read_table(self.write(_csv({'age': numbers, **_COLUMNS})))
    self.assertEqual(table.columns, ('age', 'a', 'b', 'c'))
    # And what is called id may be one of few.
    table = data.read_table(self.write(_csv({'id': numbers % 9, **_COLUMNS})))
    self.assertEqual(table.columns, ('id', 'a', 'b', 'c'))

  def test_a_short_table_keeps_its_integers(self):
    table = data.read_table(self.write('a,b,y\n1,4,0\n2,4,1\n3,7,0\n'))
    self.assertEqual(table.columns, ('a', 'b'))

  def test_nothing_but_row_numbers(self):
    with self.assertRaisesRegex(data.DataError, 'row numbers only'):
      data.read_table(self.write('id,y\n1,0\n2,1\n'))

  def test_two_columns_may_be_the_label(self):
    columns = {
      'a': _COLUMNS['a'],
      'fraud': _COLUMNS['label'],
      'weekend': np.arange(60) % 9 == 0,
    }
    columns['weekend'] = columns['weekend'].astype(int)
    path = self.write(_csv(columns))
    with self.assertRaisesRegex(
      data.DataError, r"1 \('fraud'\) or 2 \('weekend'\), such as `label=fraud`"
    ):
      data.read_table(path)
    table = data.read_table(path, label='fraud')
    self.assertEqual(table.columns, ('a', 'weekend'))
    np.testing.assert_array_equal(table.labels, _COLUMNS['label'])

  def test_the_only_column_that_may_be_the_label(self):
    columns = {'fraud': _COLUMNS['label'], **_COLUMNS}
    del columns['label']
    table = data.read_table(self.write(_csv(columns)))
    self.assertEqual(table.label, 'fraud')
    self.assert_same(table)

  @parameterized.parameters(
    '#N/A', '', 'NA', 'null', '?', '#DIV/0!', 'n/a', 'None', '-'
  )
  def test_missing_values(self, cell):
    for header in (True, False):
      rows = _csv(_COLUMNS, header=header).splitlines()
      place = int(header)
      rows[place] = re.sub(',[^,]*', f',{cell}', rows[place], count=1)
      name = 'b' if header else '1'
      with self.assertRaisesRegex(
        data.DataError,
        f"line {place + 1}, column '{name}': '{re.escape(cell)}' is not a "
        'number: the value is missing',
      ):
        data.read_table(self.write('\n'.join(rows)))

  def test_a_column_of_text(self):
    columns = {'color': ['red'] * 60, **_COLUMNS}
    with self.assertRaisesRegex(
      data.DataError, "line 2, column 'color': 'red' is not a number.*text"
    ):
      data.read_table(self.write(_csv(columns)))

  def test_frames_name_their_columns(self):
    frame = Frame(**{c: _COLUMNS[c] for c in 'abc'})
    table = data.make_table(frame, _COLUMNS['label'][:, None])
    self.assert_same(table)
    self.assertTrue(table.named)
    table = data.make_table(np.asarray(frame), _COLUMNS['label'] == 1)
    self.assert_same(table, '012')
    with self.assertRaisesRegex(data.DataError, "labels == 'bad'"):
      data.make_table(frame, np.where(_COLUMNS['label'], 'bad', 'good'))


class RowsTest(_FolderTest):
  """Rows without labels, by the columns of a table."""

  _NAMED = data.Columns(('a', 'b', 'c'), 'label', True)
  _UNNAMED = data.Columns(('1', '2', '3'), '0', False)

  def assert_same(self, rows):
    np.testing.assert_array_equal(
      rows.features, np.stack([_COLUMNS[c] for c in 'abc'], axis=1)
    )
    self.assertEqual(rows.errors, {})

  def test_by_name(self):
    columns = {'note': ['x y'] * 60, **{c: _COLUMNS[c] for c in 'cab'}}
    rows = data.read_rows(self.write(_csv(columns)), self._NAMED)
    self.assert_same(rows)
    self.assertEqual(rows.left_out, ('note',))

  def test_labels_may_be_there_and_be_anything(self):
    columns = {**_COLUMNS, 'label': ['?'] * 60}
    self.assert_same(data.read_rows(self.write(_csv(columns)), self._NAMED))

  def test_by_position(self):
    features = {c: _COLUMNS[c] for c in 'abc'}
    labeled = {'y': _COLUMNS['label'], **features}
    for columns in (features, labeled):
      path = self.write(_csv(columns, header=False))
      self.assert_same(data.read_rows(path, self._UNNAMED))
    self.assert_same(data.read_rows(self.write(_csv(features)), self._UNNAMED))
    path = self.write(_csv({**labeled, **_COLUMNS}))
    with self.assertRaisesRegex(
      data.DataError, 'has 5 columns, .* fitted to 3'
    ):
      data.read_rows(path, self._UNNAMED)

  def test_arrays(self):
    path = self.folder / 'a.npz'
    features = np.stack([_COLUMNS[c] for c in 'abc'], axis=1)
    np.savez(path, X=features)
    self.assert_same(data.read_rows(path, self._NAMED))
    np.savez(path, X=features[:, :2])
    with self.assertRaisesRegex(data.DataError, r"'X' must be \[rows, 3\]"):
      data.read_rows(path, self._NAMED)
    np.savez(path, x=features)
    with self.assertRaisesRegex(data.DataError, 'X'):
      data.read_rows(path, self._NAMED)
    path.rename(self.folder / 'a.mat')
    with self.assertRaisesRegex(data.DataError, 'cannot be read as a .mat'):
      data.read_rows(self.folder / 'a.mat', self._NAMED)
    with self.assertRaisesRegex(data.DataError, 'must end in .csv'):
      data.read_rows(self.folder / 'a.txt', self._NAMED)

  @parameterized.parameters(
    ('a,b\n1,2\n', "lacks 'c' of the 3 columns"),
    ('1,2,3\n', "has no header.*first line with 'a', 'b', 'c'"),
    ('a,b,c,a\n1,2,3,4\n', "two columns 'a'"),
    ('a,b,c\n1,2,3\n1,x,3\n', "line 3, column 'b': 'x'"),
    ('a,b,c\n1,nan,3\n', 'line 2 is not finite'),
    ('a,b,c\n1,2\n', 'line 2 has 2 cells'),
    ('a,b,c\n', 'no rows'),
    ('', 'is empty'),
  )
  def test_refused(self, text, message):
    with self.assertRaisesRegex(data.DataError, message):
      data.read_rows(self.write(text), self._NAMED)

  def test_skipped(self):
    text = 'a,b,c\n1,2,3\n1,x,3\n1,2\n4,inf,6\n7,8,9\n'
    rows = data.read_rows(self.write(text), self._NAMED, skip=True)
    self.assertEqual(sorted(rows.errors), [1, 2, 3])
    self.assertStartsWith(rows.errors[1], "line 3, column 'b': 'x'")
    np.testing.assert_array_equal(rows.features[[0, 4]], [[1, 2, 3], [7, 8, 9]])


class WildCellsTest(parameterized.TestCase):
  @parameterized.parameters(1e4, -1e6, 1e12, 1e300, -1e300)
  def test_one(self, value):
    rows = np.random.RandomState(0).randn(200, 2)
    usual = _wild_cells.usual_ranges(rows)
    self.assertEmpty(usual.wild)
    np.testing.assert_array_equal(usual.minimum, rows.min(axis=0))
    np.testing.assert_array_equal(usual.maximum, rows.max(axis=0))
    rows[17, 1] = value
    ranges = _wild_cells.usual_ranges(rows)
    np.testing.assert_array_equal(ranges.wild, [[17, 1]])
    others = np.delete(rows, 17, axis=0)
    np.testing.assert_array_equal(ranges.minimum[1], others[:, 1].min())
    np.testing.assert_array_equal(ranges.maximum[1], others[:, 1].max())
    self.assertEqual(ranges.minimum[0], rows[:, 0].min())
    text = _wild_cells.describe(rows, ranges.wild, ['x', 'y'])
    self.assertStartsWith(text, '1 cell is more than 1000 times')
    self.assertIn(f"{value:g} in row 17, column 'y'", text)

  def test_of_two_sizes(self):
    rows = np.random.RandomState(0).randn(300, 1)
    rows[[5, 9, 200], 0] = 1e9, -1e15, 1e12
    ranges = _wild_cells.usual_ranges(rows)
    np.testing.assert_array_equal(ranges.wild[:, 0], [5, 9, 200])

  @parameterized.named_parameters(
    ('heavy_tail', np.random.RandomState(0).lognormal(0, 3, 5000)),
    ('cauchy', np.random.RandomState(0).standard_cauchy(2000)),
    ('flag', np.r_[np.zeros(299), 1]),
    ('counts', np.r_[np.zeros(290), np.arange(10) ** 4]),
    ('rounding', 0.1 + np.r_[np.zeros(150), np.full(149, 1e-17), 0.4]),
    ('constant', np.full(300, 7.0)),
    ('many', np.r_[np.random.RandomState(0).randn(290), np.full(10, 1e9)]),
    ('one_row', np.ones(1)),
    ('two_rows', np.array([0, 1e9])),
  )
  def test_none(self, column):
    self.assertEmpty(_wild_cells.usual_ranges(column[:, None]).wild)


class DetectorTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.frame = Frame(**{c: _COLUMNS[c] for c in 'abc'})
    cls.rows = np.asarray(cls.frame, np.float64)
    cls.known = _COLUMNS['label'] * (np.arange(60) % 2)

  def _fit(self, rows, known=None):
    detector = anomaly.DeepSAD(
      epochs=2, pretrain_epochs=1, batch_size=32, hidden_sizes=(4,)
    )
    return detector.fit(rows, self.known if known is None else known)

  def test_columns_by_name(self):
    detector = self._fit(self.frame)
    self.assertEqual(detector.feature_names_in_.tolist(), ['a', 'b', 'c'])
    expected = detector.decision_function(self.rows)
    for order in ('abc', 'cba', 'bca'):
      np.testing.assert_array_equal(
        detector.decision_function(self.frame[list(order)]), expected
      )
    with self.assertRaisesRegex(ValueError, "lacks 'c' of the 3 .* 'a', 'b'"):
      detector.decision_function(self.frame[['a', 'b']])
    more = Frame(**_COLUMNS)
    with self.assertRaisesRegex(ValueError, "has 'label' besides") as caught:
      detector.decision_function(more)
    advice = re.search(r'Pass (.*)\.$', str(caught.exception))[1]
    followed = eval(advice, {'x': more, 'detector': detector})  # noqa: S307
    np.testing.assert_array_equal(
      detector.decision_function(followed), expected
    )
    with tempfile.TemporaryDirectory() as folder:
      detector.save(f'{folder}/d.npz')
      again = anomaly.DeepSAD.load(f'{folder}/d.npz')
    self.assertEqual(again.feature_names_in_.tolist(), ['a', 'b', 'c'])
    np.testing.assert_array_equal(
      again.decision_function(self.frame[['c', 'a', 'b']]), expected
    )
    # The next fit may have no names.
    detector.fit(self.rows, self.known)
    self.assertFalse(hasattr(detector, 'feature_names_in_'))
    with self.assertRaisesRegex(ValueError, 'a text for each of 3'):
      detector.name_features(['a'])

  @parameterized.named_parameters(
    ('column', lambda y: y[:, None]),
    ('floats', lambda y: y.astype(float)),
    ('bools', lambda y: y == 1),
    ('objects', lambda y: y.astype(object)),
    ('list', lambda y: y.tolist()),
  )
  def test_labels(self, change):
    expected = self._fit(self.rows).decision_function(self.rows)
    other = self._fit(self.rows, change(self.known))
    np.testing.assert_array_equal(other.decision_function(self.rows), expected)

  @parameterized.named_parameters(
    ('names', lambda y: np.where(y, 'bad', 'ok'), r"\(y == 'ok'\).astype"),
    ('one_hot', lambda y: np.eye(2)[y], r'y\.argmax\(axis=1\)'),
    ('missing', lambda y: np.where(y, 1, np.nan), 'got .*nan.* in row'),
    ('none', lambda y: [None, *y[1:]], 'got None in row 0'),
    ('masked', lambda y: np.ma.array(y, mask=y > 0), r'y\.filled\(0\)'),
    ('halves', lambda y: y / 2, r'got .*0\.5.* in row'),
  )
  def test_no_labels(self, change, message):
    with self.assertRaisesRegex(ValueError, message):
      self._fit(self.rows, change(self.known))

  def test_a_masked_table(self):
    rows = np.ma.array(self.rows, mask=self.rows == self.rows[4, 2])
    with self.assertRaisesRegex(ValueError, 'masked .* row 4, column 2'):
      self._fit(rows)

  def test_a_wild_cell(self):
    rows = self.rows.copy()
    rows[7] = 1e12
    with self.assertWarnsRegex(UserWarning, r'1e\+12 in row 7, column 0'):
      detector = self._fit(rows)
    scores = detector.decision_function(rows)
    self.assertLen(np.unique(scores), 60)
    self.assertEqual(np.argmax(scores), 7)
    # Others are on the scale that they have without that row.
    others = np.delete(rows, 7, axis=0)
    np.testing.assert_array_equal(detector.fitted_.minimum, others.min(axis=0))
    np.testing.assert_array_equal(
      detector.fitted_.extent, np.ptp(others, axis=0)
    )

  def test_a_wild_cell_of_a_frame_is_named(self):
    columns = {c: _COLUMNS[c].copy() for c in 'abc'}
    columns['b'][3] = -1e9
    with self.assertWarnsRegex(UserWarning, r"-1e\+09 in row 3, column 'b'"):
      self._fit(Frame(**columns))


class ProgramsTest(_FolderTest):
  """A run, and scores of new rows by it."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = tempfile.TemporaryDirectory()
    cls.addClassCleanup(folder.cleanup)
    cls.root = pathlib.Path(folder.name)
    columns = {'id': np.arange(60), **_COLUMNS, 'flat': np.zeros(60)}
    columns['a'] = columns['a'].copy()
    columns['a'][5] = 1e12
    (cls.root / 'table.csv').write_text(_csv(columns))
    cls.workdir = cls.root / 'run'
    cls.result = programs.call(
      'anomaly',
      '--config=anomaly:imbsam',
      f'--config.data.path={cls.root}/table.csv',
      f'--workdir={cls.workdir}',
      *_SMALL,
    )
    (cls.root / 'table.csv').unlink()

  def _score(self, text, *flags, name='new.csv'):
    path = self.write(text, name)
    output = self.folder / 'scores.csv'
    result = programs.call(
      'score',
      f'--workdir={self.workdir}',
      f'--source={path}',
      f'--output={output}',
      *flags,
    )
    if result.returncode:
      return result, None
    return result, list(csv.DictReader(io.StringIO(output.read_text())))

  def test_header(self):
    self.assertEqual(self.result.returncode, 0, self.result.stderr)
    for line in (
      "columns   label 'label'; features 'a', 'b', 'c', 'flat'; left out 'id' "
      '(row numbers)',
      "1e+12 in row 5, column 'a'; constant, and of no use: 'flat'",
    ):
      self.assertIn(line, self.result.stdout)
    self.assertNotIn('warning', self.result.stderr)

  def test_scores(self):
    features = {c: _COLUMNS[c] for c in 'cab'} | {'flat': np.zeros(60)}
    result, lines = self._score(_csv({'label': _COLUMNS['label'], **features}))
    self.assertEqual(result.returncode, 0, result.stderr)
    self.assertIn("the label column 'label' is not read", result.stdout)
    detector = anomaly.DeepSAD.load(self.workdir / 'detector.npz')
    rows = np.stack([features[c] for c in ['a', 'b', 'c', 'flat']], axis=1)
    scores = detector.decision_function(rows)
    np.testing.assert_allclose(
      [float(x['score']) for x in lines], scores, rtol=1e-6
    )
    above = [int(x['is_anomaly']) for x in lines]
    np.testing.assert_array_equal(above, scores > detector.fitted_.threshold)
    ranks = [int(x['rank']) for x in lines]
    np.testing.assert_array_equal(
      ranks, [1 + int(np.sum(scores > own)) for own in scores]
    )
    self.assertEqual([int(x['row']) for x in lines], list(range(60)))
    self.assertEqual([*lines[0]], ['row', 'score', 'is_anomaly', 'rank'])
    # Without labels the scores are the same, and in any order of columns.
    _, again = self._score(_csv({c: features[c] for c in ['flat', *'bca']}))
    self.assertEqual(again, lines)

  def test_rows_of_one_score_have_one_rank(self):
    result, lines = self._score('a,b,c,flat\n9,9,9,0\n0,0,0,0\n9,9,9,0\n')
    self.assertEqual(result.returncode, 0, result.stderr)
    self.assertEqual([x['rank'] for x in lines], ['1', '3', '1'])

  def test_standard_output(self):
    path = self.write('a,b,c,flat\n1,2,3,0\n')
    result = programs.call(
      'score', f'--workdir={self.workdir}', f'--source={path}', '--output=-'
    )
    self.assertLen(result.stdout.splitlines(), 2)
    self.assertIn('1 row, ', result.stderr)

  def test_rows_that_cannot_be_read(self):
    text = 'a,b,c,flat\n1,2,3,0\n1,,3,0\n7,8,9,0\n'
    result, _ = self._score(text)
    self.assertEqual(result.returncode, 3)
    self.assertIn("line 3, column 'b': '' is not a number", result.stderr)
    self.assertFalse((self.folder / 'scores.csv').exists())
    result, lines = self._score(text, '--on_error=skip')
    self.assertEqual(result.returncode, 0, result.stderr)
    self.assertEqual([x['rank'] for x in lines], ['2', '', '1'])
    self.assertStartsWith(lines[1]['error'], 'line 3')
    self.assertIn('1 row left out', result.stdout)
    result, _ = self._score('a,b,c,flat\n1,x,3,0\n', '--on_error=skip')
    self.assertEqual(result.returncode, 3)

  @parameterized.parameters(
    ('a,b,c\n1,2,3\n', 3, "lacks 'flat'"),
    ('1,2,3,0\n', 3, 'no header'),
  )
  def test_other_tables(self, text, code, message):
    result, _ = self._score(text)
    self.assertEqual(result.returncode, code)
    self.assertIn(message, result.stderr)
    self.assertNotIn('Traceback', result.stderr)

  def test_other_runs(self):
    path = self.write('a,b,c,flat\n1,2,3,0\n')
    workdir = self.folder / 'run'

    def assert_error(code, message, **changed):
      flags = {'workdir': workdir, 'source': path, 'output': '-', **changed}
      result = programs.call(
        'score', *(f'--{k}={v}' for k, v in flags.items() if v)
      )
      self.assertEqual(result.returncode, code, result.stderr)
      self.assertIn(message, result.stderr)
      self.assertNotIn('Traceback', result.stderr)

    assert_error(2, 'there is no run')
    for name in ('workdir', 'source', 'output'):
      assert_error(2, f'pass --{name}=', **{name: None})
    shutil.copytree(self.workdir, workdir)
    assert_error(2, '--output=a.txt must end in .csv', output='a.txt')
    assert_error(2, 'cannot be written', output=self.folder / 'no' / 'a.csv')
    assert_error(3, 'cannot be read: No such file', source='none.csv')
    detector = workdir / 'detector.npz'
    content = detector.read_bytes()
    detector.write_bytes(content[:500])
    assert_error(5, 'detector.npz cannot be read')
    detector.unlink()
    assert_error(5, 'has no detector.npz')
    detector.write_bytes(content)
    for broken in ('{', '[]', '{"format": 2}', '{"columns": 3}'):
      (workdir / 'table.json').write_text(broken)
      assert_error(5, 'table.json is broken')

  def test_runs_of_earlier_versions_take_columns_in_their_order(self):
    workdir = self.folder / 'run'
    shutil.copytree(self.workdir, workdir)
    (workdir / 'table.json').unlink()
    path = self.write('1,2,3,0\n')
    output = self.folder / 'a.csv'
    self.assertStartsWith(study.score(workdir, path, str(output)), '1 row')

  def test_a_comparison_tells_too(self):
    columns = {**_COLUMNS, 'flat': np.zeros(60)}
    path = self.write(_csv(columns))
    config = study.with_word(study.Config(), 'sgd')
    config = fields.replace(
      config,
      {
        'detector.epochs': 1,
        'detector.pretrain_epochs': 0,
        'detector.hidden_sizes': (4,),
      },
    )
    said = []
    study.compare(
      {'sgd': config},
      {'new': study.Data(path=str(path))},
      [0.1],
      1,
      self.folder / 'out',
      say=said.append,
    )
    self.assertEqual(said[0], "new: constant, and of no use: 'flat'")

  @parameterized.parameters(
    'data.path', 'data.name', 'data.data_dir', 'data.label',
    'detector.hidden_sizes', 'detector.embedding_size', 'detector.clip_norm',
  )  # fmt: skip
  def test_optional_fields_can_be_none(self, name):
    result = programs.call(
      'anomaly',
      '--config=anomaly:imbsam',
      f'--config.{name}=None',
      '--config.data.path=missing.csv' if name != 'data.path' else '--debug=0',
      f'--workdir={self.folder}',
    )
    if name == 'data.path':
      self.assertEqual(result.returncode, 2)
      self.assertIn('--config.data.path=FILE', result.stderr)
    else:  # Of the file only.
      self.assertEqual(result.returncode, 3, result.stderr)
      self.assertIn('missing.csv cannot be read', result.stderr)

  def test_config_of_a_run_is_refused_by_score_of_another(self):
    workdir = self.folder / 'images'
    workdir.mkdir()
    (workdir / 'config.json').write_text(json.dumps({'epochs': 3}))
    with self.assertRaises(experiment.ConfigError):
      study.score(workdir, 'new.csv', '-')


if __name__ == '__main__':
  absltest.main()
