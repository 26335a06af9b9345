# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tables with anomalies: checks, files, splits, and the builder of ODDS."""

import math
import os
import pathlib
import tempfile
from unittest import mock
import zipfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from scipy import io as scipy_io
from scipy import sparse
from sklearn import model_selection
from sklearn import preprocessing

from imbsam_jax import data
from imbsam_jax.data import _odds_builder

_ADBENCH = pathlib.Path(__file__).resolve().parents[3] / 'shared/data/adbench'


def _table(num_normals, num_anomalies, num_features=2, seed=0):
  rng = np.random.RandomState(seed)
  num_rows = num_normals + num_anomalies
  return data.make_table(
    rng.standard_t(2, (num_rows, num_features)),
    rng.permutation(num_rows) < num_anomalies,
  )


def _counts(split):
  """Labeled normals, unlabeled rows, labeled anomalies."""
  return [int(np.sum(split.train_labels == k)) for k in (-1, 0, 1)]


def _rest(table, split):
  """The training part: all rows that are not for testing."""
  return np.setdiff1d(np.arange(len(table.labels)), split.test_rows)


class _FolderTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)

  def write(self, name, content):
    path = self.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
      content = content.encode()
    path.write_bytes(content)
    return path

  def assert_refused(self, path, message, **kwargs):
    with self.assertRaisesRegex(data.DataError, message) as caught:
      data.read_table(path, **kwargs)
    self.assertIn(str(path), str(caught.exception))


class MakeTableTest(parameterized.TestCase):
  @parameterized.parameters(
    'uint8', 'int16', 'int64', 'bool', 'float16', 'float32', 'longdouble'
  )
  def test_any_real_dtype(self, dtype):
    features = np.array([[0, 1], [1, 1], [0, 0]], dtype)
    for labels in (
      [0, 1, 0],
      [False, True, False],
      [0.0, 1.0, 0.0],
      np.array([0, 1, 0], np.uint8),
      [[0], [1], [0]],
    ):
      table = data.make_table(features, labels)
      self.assertEqual(table.features.dtype, np.float64)
      self.assertEqual(table.labels.dtype, np.int32)
      np.testing.assert_array_equal(table.features, features)
      np.testing.assert_array_equal(table.labels, [0, 1, 0])
      self.assertEqual(table.columns, ('0', '1'))

  def test_copies(self):
    features, labels = np.zeros((2, 1)), np.array([0, 1], np.int32)
    table = data.make_table(features, labels, columns=['a'])
    features += 1
    labels += 1
    self.assertEqual(table.features.max(), 0)
    self.assertEqual(table.labels.max(), 1)
    self.assertEqual(table.columns, ('a',))

  @parameterized.parameters(
    (np.zeros((3, 2)), [0, 1], '3 and 2 rows'),
    (np.zeros((0, 2)), [], 'has no rows'),
    (np.zeros((2, 0)), [0, 1], 'has no features'),
    (np.zeros(2), [0, 1], r'must be \[rows, features\].*\(2,\)'),
    (np.zeros((2, 2)), [[0, 1], [1, 0]], r'must be \[rows\].*\(2, 2\)'),
    (np.zeros((2, 2)), [0, 0], r'no anomalies \(1\) among 2 rows'),
    (np.zeros((2, 2)), [1, 1], r'no normal rows \(0\) among 2 rows'),
    (np.array([[1, None]] * 2), [0, 1], "'None' .NoneType. in row 0, column 1"),
    (np.zeros((2, 2), complex), [0, 1], 'real numbers, got dtype complex'),
    ([['1'], ['2']], [0, 1], 'real numbers, got dtype <U1'),
    ([[1, 2], [1]], [0, 1], '`features` is not an array'),
    (
      np.zeros((2, 2)),
      ['0', '1'],
      r"`labels` must be real numbers.*labels == '0'",
    ),
    (np.zeros((2, 2)), [None, 1], '`labels` must hold numbers'),
  )
  def test_refuses(self, features, labels, message):
    with self.assertRaisesRegex(data.DataError, message):
      data.make_table(features, labels)

  @parameterized.parameters(
    ([0, 1, 2, 3, 2], r'got 2 in row 2 \(3 such .* 4 distinct.*0, 1, 2, 3\.'),
    ([1, -1, 1, 1, -1], r'got -1 in row 1 \(2 such .* 2 distinct.*: *|-1, 1'),
    ([0, 1, 0.5, 0, 0], r'got 0\.5 in row 2'),
    ([0, 1, 0, np.nan, 0], 'got nan in row 3'),
  )
  def test_refuses_other_labels(self, labels, message):
    with self.assertRaisesRegex(data.DataError, message):
      data.make_table(np.zeros((5, 1)), labels)

  @parameterized.parameters(np.nan, np.inf, -np.inf)
  def test_refuses_what_is_not_finite(self, value):
    features = np.zeros((4, 3))
    features[2, 1] = features[3, 0] = value
    message = rf"got {value} in row 2, column 'b' \(2 such values\)"
    with self.assertRaisesRegex(data.DataError, message):
      data.make_table(features, [0, 1, 0, 0], columns=['a', 'b', 'c'])

  def test_refuses_other_columns(self):
    with self.assertRaisesRegex(data.DataError, 'each of 2 features, got 1'):
      data.make_table(np.zeros((2, 2)), [0, 1], columns=['a'])
    for columns in ('ab', [0, 1]):
      with self.assertRaisesRegex(TypeError, '`columns` must be strings'):
        data.make_table(np.zeros((2, 2)), [0, 1], columns=columns)


class ReadTableTest(_FolderTest):
  def test_suffix(self):
    path = self.write('table.xlsx', '')
    self.assert_refused(path, r"must end in \.npz, \.mat or \.csv.*'\.xlsx'")
    for suffix in ('npz', 'mat', 'csv'):
      self.assert_refused(
        self.folder / f'no.{suffix}', 'cannot be read.*No such file'
      )
      (self.folder / f'folder.{suffix}').mkdir()
      self.assert_refused(
        self.folder / f'folder.{suffix}', 'cannot be read.*Is a directory'
      )

  @parameterized.parameters('npz', 'mat')
  def test_label_is_for_csv(self, suffix):
    with self.assertRaisesRegex(ValueError, '`label` chooses a column of a'):
      data.read_table(self.folder / f'a.{suffix}', label='y')

  @parameterized.product(
    suffix=['npz', 'mat', 'MAT'], dtype=['uint8', 'int16', 'float64'],
    column=[True, False],
  )  # fmt: skip
  def test_arrays(self, suffix, dtype, column):
    features = np.arange(12).reshape(4, 3).astype(dtype)
    labels = np.array([0, 1, 1, 0])
    path = self.folder / f'a.{suffix}'
    arrays = {'X': features, 'y': labels[:, None] if column else labels}
    if suffix == 'npz':
      np.savez_compressed(path, **arrays, other=np.array([object()]))
    else:
      arrays['y'] = labels[:, None]
      scipy_io.savemat(path, {**arrays, 'other': 'text'}, appendmat=False)
    table = data.read_table(path)
    np.testing.assert_array_equal(table.features, features)
    np.testing.assert_array_equal(table.labels, labels)
    self.assertEqual(table.columns, ('0', '1', '2'))

  def test_old_and_compressed_mat(self):
    arrays = {'X': np.eye(3), 'y': np.array([[0.0], [1], [0]])}
    for kwargs in ({'format': '4'}, {'do_compression': True}):
      path = self.folder / 'a.mat'
      scipy_io.savemat(path, arrays, **kwargs)
      np.testing.assert_array_equal(data.read_table(path).features, np.eye(3))

  @parameterized.parameters('npz', 'mat')
  def test_names_what_is_wrong_with_arrays(self, suffix):
    path = self.folder / f'a.{suffix}'

    def save(**arrays):
      if suffix == 'npz':
        np.savez(path, **arrays)
      else:
        scipy_io.savemat(path, arrays)

    save(X=np.eye(2), labels=np.arange(2))
    self.assert_refused(path, r"has the arrays .*'labels'\]; 'X' and 'y' are")
    save(X=np.array([[0, np.nan], [1, 1]]), y=np.array([[0], [1]]))
    self.assert_refused(
      path, "'X' must be finite, got nan in row 0, column '1'"
    )
    save(X=np.eye(2), y=np.array([[0], [2]]))
    self.assert_refused(path, "'y' must be 1 .* got 2 in row 1")
    save(X=np.eye(2) * 1j, y=np.array([[0], [1]]))
    self.assert_refused(path, "'X' must be real numbers, got dtype complex128")

  @parameterized.parameters('npz', 'mat')
  def test_broken_files(self, suffix):
    path = self.folder / f'a.{suffix}'
    save = np.savez if suffix == 'npz' else _save_mat
    save(path, X=np.eye(9), y=np.arange(9) > 4)
    content = path.read_bytes()
    for broken in (b'', b'text', content[: len(content) // 2]):
      path.write_bytes(broken)
      self.assert_refused(path, f'cannot be read as a .{suffix} file|cut off')

  def test_npz_is_not_unpickled(self):
    path = self.folder / 'a.npz'
    trap = _Trap(str(self.folder / 'trapped'))
    np.savez(path, X=np.array([[trap]], object), y=np.array([0]))
    self.assert_refused(path, "'X' holds Python objects")
    self.assertFalse((self.folder / 'trapped').exists())

  def test_npz_that_promises_more_than_it_holds(self):
    path = self.folder / 'a.npz'
    np.savez(path, X=np.zeros((4, 4)), y=np.zeros(4))
    with zipfile.ZipFile(path) as archive:
      members = {name: archive.read(name) for name in archive.namelist()}
    shape = b"'shape': (4, 4), }"
    self.assertIn(shape, members['X.npy'])
    members['X.npy'] = members['X.npy'].replace(
      shape + b' ' * 9, b"'shape': (4000000000, 4), }"
    )
    with zipfile.ZipFile(path, 'w') as archive:
      for name, content in members.items():
        archive.writestr(name, content)
    self.assert_refused(path, r'promises float64 \(4000000000, 4\)')

  def test_mat_of_other_kinds(self):
    labels = np.array([[0], [1]])
    cells = np.array([[1, 2], [3, 'x']], object)
    for features, kind in (
      (cells, 'cell'),
      (sparse.csc_array(np.eye(2)), 'sparse'),
      (np.array(['ab', 'cd']), 'char'),
      ({'a': np.eye(2)}, 'struct'),
    ):
      path = self.folder / 'a.mat'
      _save_mat(path, X=features, y=labels)
      with mock.patch.object(scipy_io, 'loadmat') as loadmat:
        self.assert_refused(path, f"'X' must be a full array .* got {kind}")
      loadmat.assert_not_called()

  def test_mat_that_promises_more_than_it_holds(self):
    path = self.folder / 'a.mat'
    _save_mat(path, X=np.zeros((4, 4)), y=np.array([0, 1, 0, 0])[:, None])
    content = path.read_bytes()
    shape = np.array([4, 4], '<i4').tobytes()
    self.assertEqual(content.count(shape), 1)
    large = np.array([2**30, 2**30], '<i4').tobytes()
    path.write_bytes(content.replace(shape, large))
    with mock.patch.object(scipy_io, 'loadmat') as loadmat:
      self.assert_refused(path, 'is more than the file holds')
    loadmat.assert_not_called()

  def test_hdf5(self):
    text = b'MATLAB 7.3 MAT-file, Platform: GLNXA64'.ljust(124)
    magic = b'\x89HDF\r\n\x1a\n'
    for content in (
      text + b'\x00\x02IM' + bytes(384) + magic + bytes(99),
      magic + bytes(999),
    ):
      path = self.write('a.mat', content)
      self.assert_refused(path, r'MATLAB 7\.3 \(HDF5\).*-v7.*\.npz')


class CsvTest(_FolderTest):
  @parameterized.named_parameters(
    ('plain', '1,2,0\n3,4,1\n'),
    ('no_newline', '1,2,0\n3,4,1'),
    ('windows', '1,2,0\r\n3,4,1\r\n'),
    ('bom', '\ufeff1,2,0\n3,4,1\n'),
    ('blanks', '\n 1 , 2.0 ,0\n\n  \n"3",4e0,+1\n\n'),
  )
  def test_without_header(self, text):
    table = data.read_table(self.write('a.csv', text))
    np.testing.assert_array_equal(table.features, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(table.labels, [0, 1])
    self.assertEqual(table.columns, ('0', '1'))

  @parameterized.parameters(
    ('age,y,size', None, ('age', 'size'), 1),
    ('\ufeffy,age,size', None, ('age', 'size'), 0),
    ('age, Label ,size', None, ('age', 'size'), 1),
    ('is_anomaly,age,size', None, ('age', 'size'), 0),
    ('OUTLIER,a,b', None, ('a', 'b'), 0),
    ('age,size,what', 'what', ('age', 'size'), 2),
    ('age,size,what', 'size', ('age', 'what'), 1),
    ('age,size,y', 'size', ('age', 'y'), 1),
    ('y,size,class', 'y', ('size', 'class'), 0),
    ('age,size,y', 0, ('size', 'y'), 0),
    ('age,size,y', -2, ('age', 'y'), 1),
    ('0,1,y', None, ('0', '1'), 2),
    ('0,1,y', '1', ('0', 'y'), 1),
    ('0,1,y', np.int64(1), ('0', 'y'), 1),
    ('"a,b",a,y', None, ('a,b', 'a'), 2),
  )
  def test_header(self, header, label, columns, index):
    rows = np.array([[0, 1, 0], [1, 0, 1]])
    text = '\n'.join([header] + [','.join(map(str, row)) for row in rows])
    table = data.read_table(self.write('a.csv', text), label=label)
    self.assertEqual(table.columns, columns)
    np.testing.assert_array_equal(table.labels, rows[:, index])
    np.testing.assert_array_equal(
      table.features, np.delete(rows, index, axis=1)
    )

  def test_label_of_a_file_without_header(self):
    table = data.read_table(self.write('a.csv', '0,7,8\n1,5,6'), label=0)
    np.testing.assert_array_equal(table.labels, [0, 1])
    np.testing.assert_array_equal(table.features, [[7, 8], [5, 6]])
    # As the columns of the file are counted.
    self.assertEqual(table.columns, ('1', '2'))

  @parameterized.parameters(
    ('', None, 'is empty'),
    ('\n \n', None, 'is empty'),
    ('a,b,y\n', None, 'has a header, but no rows'),
    ('a\n1\n0\n', None, 'has one column'),
    ('a,y\n1,0\n2,1,3\n', None, 'line 3 has 3 cells, the first line 2'),
    ('1,2,0\n3,1\n', None, 'line 2 has 2 cells, the first line 3'),
    ('1,2,0\n,,\n', None, "line 2, column '0': '' is not a number"),
    ('1,,0\n3,4,1\n', None, "line 1, column '1': '' is not a number"),
    ('1,?,0\n3,4,1\n', None, r"line 1, column '1': '\?' is not a number"),
    ('1,NA,0\n3,4,1\n', None, "line 1, column '1': 'NA' is not a number"),
    ('a,b,y\n1,2,0\n3,x4,1\n', None, "line 3, column 'b': 'x4' is not a num"),
    ('a,y\n1_0,0\n3,1\n', None, "line 2, column 'a': '1_0' is not a number"),
    ('a,y\n1,good\n3,bad\n', None, "line 2, column 'y': 'good' is not .*as 1"),
    ('1|0\n2|1\n', None, "line 1, column '0': '1.0' is .*separated by commas"),
    (
      ',a,y\n.5,1,0\n1,3,1\n',
      None,
      'line 1: column 0 has no name.*index=False',
    ),
    ('a,y\n\n1,0\nnan,1\n', None, r"nan in row 1 \(line 4\), column 'a'"),
    (
      'a,y\n1,0\n\n2,7\n',
      None,
      r"column 'y' must be 1.*7\.0 in row 1 \(line 4",
    ),
    ('a,y\n1,0\n2,0\n', None, "label column 'y' has no anomalies"),
    ('a,y\n1,0\n2,1\n', 'z', "has no column 'z'. Its columns are 'a', 'y'"),
    ('1,0\n2,1\n', 'y', "has no header, so no column 'y'. .* 0 to 1"),
    ('1,0\n2,1\n', 2, 'must be from 0 to 1 .* got 2'),
    ('1,0\n2,1\n', -3, 'must be from 0 to 1 .* got -3'),
    ('y,a,class\n1,0,1\n', None, r"may be the label.* 0 \('y'\) or 2 \('class"),
    ('a,a,b\n1,0,1\n', 'a', r"may be the label.* 0 \('a'\) or 1 \('a'\)"),
    ('a,y\n"1,0\n2,1\n', None, 'line 3 cannot be read as .csv'),
    (b'a,\xff\xfe\n1,0\n', None, 'is not UTF-8 text'),
  )
  def test_refuses(self, text, label, message):
    self.assert_refused(self.write('a.csv', text), message, label=label)

  @parameterized.parameters(True, 1.0, b'y')
  def test_refuses_what_is_no_label(self, label):
    path = self.write('a.csv', '1,0\n2,1\n')
    with self.assertRaisesRegex(TypeError, 'the name or the index'):
      data.read_table(path, label=label)


class SplitsTest(parameterized.TestCase):
  """What holds for both protocols."""

  @parameterized.parameters(data.deep_sad_split, data.adbench_split)
  def test_arrays(self, split_fn):
    table = _table(300, 60, num_features=4)
    split = split_fn(table, seed=1, labeled_anomaly_ratio=0.1)
    dtypes = ['float32', 'int32', 'float32', 'int32', 'int64', 'int64']
    self.assertEqual([x.dtype for x in split], dtypes)
    self.assertLen(split.train_labels, len(split.train_features))
    self.assertLen(split.train_rows, len(split.train_features))
    # No row is twice anywhere.
    rows = np.concatenate([split.train_rows, split.test_rows])
    self.assertLen(np.unique(rows), len(rows))
    np.testing.assert_array_equal(
      split.test_labels, table.labels[split.test_rows]
    )
    known = split.train_labels == 1
    self.assertTrue(table.labels[split.train_rows[known]].all())
    # Rows of features are those of the rows: a line per column joins them.
    rest = table.features[_rest(table, split)]
    low, high = rest.min(axis=0), rest.max(axis=0)
    for features, rows in (
      (split.train_features, split.train_rows),
      (split.test_features, split.test_rows),
    ):
      np.testing.assert_allclose(
        features, (table.features[rows] - low) / (high - low), atol=1e-6
      )
    self.assertGreaterEqual(split.train_features.min(), 0)
    self.assertLessEqual(split.train_features.max(), 1)
    # Not clipped.
    outside = [
      not (0 <= x.min() and x.max() <= 1)
      for x in (split_fn(table, seed=k).test_features for k in range(5))
    ]
    self.assertTrue(any(outside))

  @parameterized.parameters(data.deep_sad_split, data.adbench_split)
  def test_standardising_first_makes_no_difference(self, split_fn):
    table = _table(200, 60, num_features=5)
    table.features[:, 1] = 7.5
    table.features[:, 2] = 1000 + 3 * table.features[:, 2]
    split = split_fn(table, seed=0)
    rest = table.features[_rest(table, split)]
    standard = preprocessing.StandardScaler().fit(rest)
    minmax = preprocessing.MinMaxScaler().fit(standard.transform(rest))
    for features, rows in (
      (split.train_features, split.train_rows),
      (split.test_features, split.test_rows),
    ):
      expected = minmax.transform(standard.transform(table.features[rows]))
      np.testing.assert_allclose(features, expected, atol=1e-6, rtol=1e-6)
      self.assertEqual(np.abs(features[:, 1]).max(), 0)

  def test_constant_in_training_only(self):
    table = _table(50, 20)
    rows = data.deep_sad_split(table, seed=0).test_rows
    table.features[:, 0] = 3
    table.features[rows[0], 0] = 5
    split = data.deep_sad_split(table, seed=0)
    self.assertEqual(np.abs(split.train_features[:, 0]).max(), 0)
    self.assertEqual(split.test_features[:, 0].tolist(), [2] + [0] * 27)

  def test_scaling_sees_the_whole_training_part(self):
    table = _table(100, 50)
    split = data.deep_sad_split(table, seed=0, labeled_anomaly_ratio=0)
    left_out = np.setdiff1d(_rest(table, split), split.train_rows)
    self.assertTrue(table.labels[left_out].all())
    table.features[left_out[0], 0] = 1000
    again = data.deep_sad_split(table, seed=0, labeled_anomaly_ratio=0)
    self.assertLess(again.train_features[:, 0].max(), 0.5)

  @parameterized.parameters(data.deep_sad_split, data.adbench_split)
  def test_seeds(self, split_fn):
    table = _table(203, 41)
    splits = [
      split_fn(table, seed=k, labeled_anomaly_ratio=0.07) for k in range(20)
    ]
    again = split_fn(table, seed=np.int32(3), labeled_anomaly_ratio=0.07)
    for ours, theirs in zip(again, splits[3], strict=True):
      np.testing.assert_array_equal(ours, theirs)
    for name in ('train_rows', 'test_rows'):
      self.assertLen({getattr(x, name).tobytes() for x in splits}, 20)
    shapes = [[x.shape for x in split] for split in splits]
    self.assertEqual(shapes, shapes[:1] * 20)
    counts = [_counts(x) + [x.test_labels.sum()] for x in splits]
    self.assertEqual(counts, counts[:1] * 20)
    # Labeled rows are anywhere, not first or last.
    first = [np.flatnonzero(x.train_labels).min() for x in splits]
    last = [np.flatnonzero(x.train_labels).max() for x in splits]
    self.assertGreater(max(first) - min(first), 3)
    self.assertGreater(max(last) - min(last), 3)
    # Every row comes into the test part, some time.
    rows = np.concatenate([x.test_rows for x in splits])
    self.assertLen(np.unique(rows), 244)

  @parameterized.parameters(
    (data.deep_sad_split, [9, 5, 10, 17, 7, 1, 16, 13]),
    (data.adbench_split, [7, 11, 15, 16, 2, 14, 12, 19, 17, 0, 8, 9, 3, 1]),
  )
  def test_is_the_same_for_ever(self, split_fn, rows):
    table = data.make_table(np.arange(20)[:, None], np.arange(20) % 3 == 0)
    split = split_fn(table, seed=5, labeled_anomaly_ratio=0.2)
    self.assertEqual(split.train_rows.tolist(), rows)

  @parameterized.parameters(
    (data.deep_sad_split, (0.001, 0.02, 0.05, 0.1)),
    (data.adbench_split, (0.01, 0.1, 0.5, 1)),
  )
  def test_ratios_share_rows(self, split_fn, ratios):
    table = _table(300, 150)
    splits = [split_fn(table, seed=2, labeled_anomaly_ratio=r) for r in ratios]
    known = [set(x.train_rows[x.train_labels == 1].tolist()) for x in splits]
    for small, large in zip(known, known[1:], strict=False):
      self.assertLess(small, large)
    for split in splits[1:]:
      np.testing.assert_array_equal(split.test_rows, splits[0].test_rows)
      np.testing.assert_array_equal(
        split.test_features, splits[0].test_features
      )

  @parameterized.parameters(data.deep_sad_split, data.adbench_split)
  def test_one_anomaly_is_labeled_at_least(self, split_fn):
    table = _table(90, 10)
    for ratio, count in ((0.0, 0), (1e-6, 1)):
      split = split_fn(table, seed=0, labeled_anomaly_ratio=ratio)
      self.assertEqual(_counts(split)[2], count)

  @parameterized.parameters(
    (1, 9, {}, 'the table has 1 normal row: cannot be on both sides'),
    (9, 1, {}, 'the table has 1 anomaly: cannot be on both sides'),
    (90, 2, {'test_share': 0.01}, '2 anomalies: test_share=0.01 puts'),
    (90, 2, {'test_share': 0.95}, '2 anomalies: test_share=0.95 puts'),
  )
  def test_refuses_one_class_on_one_side(self, normals, anomalies, kw, message):
    for split_fn in (data.deep_sad_split, data.adbench_split):
      if split_fn is data.deep_sad_split and kw == {'test_share': 0.01}:
        continue  # Rounds up: one is in the test part.
      with self.assertRaisesRegex(data.DataError, message):
        split_fn(_table(normals, anomalies), seed=0, **kw)

  @parameterized.parameters(data.deep_sad_split, data.adbench_split)
  def test_refuses_other_arguments(self, split_fn):
    table = _table(30, 10)
    for value in (-0.1, 1.1, np.nan, np.inf):
      with self.assertRaisesRegex(
        ValueError, '`labeled_anomaly_ratio` must be f'
      ):
        split_fn(table, seed=0, labeled_anomaly_ratio=value)
    for value in (-0.1, 0, 1, 1.5):
      with self.assertRaisesRegex(ValueError, '`test_share` must be .*above 0'):
        split_fn(table, seed=0, test_share=value)
    for value in ('0.1', None, True, np.True_, np.array([0.1])):
      with self.assertRaisesRegex(TypeError, '`test_share` must be'):
        split_fn(table, seed=0, test_share=value)
    for seed, error in (
      (-1, ValueError),
      (2**32, ValueError),
      (1.0, TypeError),
    ):
      with self.assertRaisesRegex(error, '`seed` must be'):
        split_fn(table, seed=seed)
    with self.assertRaisesRegex(TypeError, '`table` must be a Table.*tuple'):
      split_fn(tuple(table), seed=0)
    # Not every table came from `make_table`.
    table.features[3, 1] = np.nan
    with self.assertRaisesRegex(data.DataError, "nan in row 3, column '1'"):
      split_fn(table, seed=0)

  def test_refuses_what_float32_cannot_hold(self):
    table = _table(50, 20)
    table.features[:, 0] *= 1e-12
    row = data.deep_sad_split(table, seed=0).test_rows[4]
    table.features[row, 0] = 1e100
    with self.assertRaisesRegex(data.DataError, f"'0' is 1e.100 in row {row}"):
      data.deep_sad_split(table, seed=0)


class DeepSadSplitTest(parameterized.TestCase):
  def test_counts_of_the_paper_s_mnist(self):
    # 5,923 of these normal rows are for training.
    table = _table(9872, 2000, num_features=1)
    split = data.deep_sad_split(
      table, seed=0, labeled_anomaly_ratio=0.01, pollution_ratio=0.1
    )
    true = table.labels[split.train_rows]
    self.assertEqual(np.sum(true == 0), 5923)
    self.assertEqual(np.sum((true == 1) & (split.train_labels == 0)), 658)
    self.assertEqual(np.sum(split.train_labels == 1), 66)
    self.assertLen(true, 5923 + 658 + 66)

  @parameterized.product(
    r_a=[0.0, 0.01, 0.05, 0.2], r_n=[0.0, 0.05, 0.3], pollution=[0.0, 0.05, 0.2]
  )
  def test_solves_the_system(self, r_a, r_n, pollution):
    table = _table(1003, 1500, num_features=1)
    num_normals = 1003 - math.ceil(0.4 * 1003)
    known_normal, unknown_normal, known_anomaly, unknown_anomaly = (
      np.linalg.solve(
        np.array(
          [
            [1, 1, 0, 0],
            [1 - r_n, -r_n, -r_n, -r_n],
            [-r_a, -r_a, 1 - r_a, -r_a],
            [0, -pollution, 0, 1 - pollution],
          ]
        ),
        np.array([num_normals, 0, 0, 0]),
      )
    )
    split = data.deep_sad_split(
      table,
      seed=4,
      labeled_anomaly_ratio=r_a,
      labeled_normal_ratio=r_n,
      pollution_ratio=pollution,
    )
    true = table.labels[split.train_rows]
    self.assertLen(np.unique(split.train_rows), len(true))
    self.assertEqual(np.sum(true == 0), num_normals)
    labels = split.train_labels
    self.assertEqual(np.sum(labels == -1), int(known_normal + 1e-6))
    self.assertEqual(np.sum(labels == 1), int(known_anomaly + 1e-6))
    unlabeled = np.sum((labels == 0) & (true == 1))
    self.assertEqual(unlabeled, int(unknown_anomaly + 1e-6))
    self.assertFalse(true[labels == -1].any())
    self.assertTrue(true[labels == 1].all())
    self.assertAlmostEqual(
      np.sum((labels == 0) & (true == 0)), unknown_normal, delta=1
    )

  @parameterized.parameters(
    ('satimage-2', 5732, 71, 382, 42),
    ('cardio', 1655, 176, 110, 105),
    ('thyroid', 3679, 93, 245, 55),
  )
  def test_says_how_many_anomalies_are_missing(
    self, name, normals, anomalies, need, have
  ):
    del name
    table = _table(normals, anomalies, num_features=1)
    message = (
      f'needs {need} anomalies in the training part, has {have} .*{need} are '
      'to be unlabeled, 0 labeled.; lower `pollution_ratio`'
    )
    with self.assertRaisesRegex(data.DataError, message):
      data.deep_sad_split(
        table, seed=0, labeled_anomaly_ratio=0, pollution_ratio=0.1
      )
    # For a hundredth there are enough in cardio and thyroid.
    if have > 50:
      data.deep_sad_split(table, seed=0, pollution_ratio=0.01)

  def test_labeled_and_unlabeled_share_no_anomaly_of_the_last(self):
    # All of 60 training anomalies: 45 unlabeled and 15 labeled.
    table = _table(300, 100)
    split = data.deep_sad_split(
      table, seed=0, labeled_anomaly_ratio=0.0627, pollution_ratio=0.2
    )
    self.assertEqual(_counts(split), [0, 225, 15])
    np.testing.assert_array_equal(
      np.sort(split.train_rows), _rest(table, split)
    )
    message = r'needs 61 .* has 60 \(45 are to be unlabeled, 16 labeled\)'
    with self.assertRaisesRegex(data.DataError, message):
      data.deep_sad_split(
        table, seed=0, labeled_anomaly_ratio=0.067, pollution_ratio=0.2
      )

  @parameterized.product(num_rows=[2, 5, 31, 100], test_share=[0.4, 0.3, 0.5])
  def test_sizes_are_scikit_learn_s(self, num_rows, test_share):
    table = _table(num_rows, 10)
    split = data.deep_sad_split(
      table, seed=0, test_share=test_share, labeled_anomaly_ratio=0
    )
    train, test = model_selection.train_test_split(
      np.arange(num_rows), test_size=test_share
    )
    self.assertEqual(np.sum(split.test_labels == 0), len(test))
    self.assertEqual(np.sum(table.labels[split.train_rows] == 0), len(train))

  def test_all_labeled(self):
    table = _table(100, 50)
    split = data.deep_sad_split(
      table, seed=0, labeled_normal_ratio=0.75, labeled_anomaly_ratio=0.25
    )
    self.assertEqual(_counts(split), [60, 0, 20])
    for name in ('labeled_normal_ratio', 'pollution_ratio'):
      with self.assertRaisesRegex(ValueError, f'`{name}` must be.*below 1'):
        data.deep_sad_split(table, seed=0, **{name: 1.0})
    with self.assertRaisesRegex(ValueError, r'must be at most 1, got 0.5 \+ 0'):
      data.deep_sad_split(
        table, seed=0, labeled_normal_ratio=0.6, labeled_anomaly_ratio=0.5
      )


class AdbenchSplitTest(parameterized.TestCase):
  def test_sizes_are_scikit_learn_s(self):
    rng = np.random.RandomState(0)
    for _ in range(50):
      normals, anomalies = rng.randint(20, 200), rng.randint(5, 200)
      share = rng.choice([0.2, 0.3, 0.41])
      table = _table(normals, anomalies, num_features=1)
      split = data.adbench_split(table, seed=0, test_share=share)
      train, test = model_selection.train_test_split(
        table.labels, test_size=share, stratify=table.labels
      )
      self.assertLen(split.test_labels, len(test))
      exact = len(train) * anomalies / len(table.labels)
      if exact % 1 == 0.5:  # There, scikit-learn draws.
        test_anomalies = anomalies - math.ceil(exact)
      else:
        test_anomalies = test.sum()
      self.assertEqual(split.test_labels.sum(), test_anomalies)

  def test_half_a_row(self):
    # 3.5 of 5 anomalies.
    table = _table(15, 5)
    counts = {
      int(data.adbench_split(table, seed=k).test_labels.sum())
      for k in range(20)
    }
    self.assertEqual(counts, {1})

  @parameterized.parameters(
    (0.0, 0), (0.01, 1), (0.1, 4), (0.29, 12), (0.5, 21), (1.0, 42), (1, 42)
  )
  def test_contamination(self, ratio, num_labeled):
    table = _table(140, 60)
    split = data.adbench_split(table, seed=0, labeled_anomaly_ratio=ratio)
    np.testing.assert_array_equal(
      np.sort(split.train_rows), _rest(table, split)
    )
    true = table.labels[split.train_rows]
    self.assertEqual(true.sum(), 42)
    self.assertEqual(_counts(split), [0, 140 - num_labeled, num_labeled])
    self.assertTrue(true[split.train_labels == 1].all())

  def test_truncates_what_is_whole(self):
    # 0.29 * 100 is 28.999...
    table = _table(143, 143)
    split = data.adbench_split(table, seed=0, labeled_anomaly_ratio=0.29)
    self.assertEqual(table.labels[split.train_rows].sum(), 100)
    self.assertEqual(_counts(split)[2], 29)

  def test_large_tables(self):
    table = _table(900, 101)
    splits = [
      data.adbench_split(table, seed=k, max_rows=500, labeled_anomaly_ratio=0.5)
      for k in range(20)
    ]
    for split in splits:
      rows = np.concatenate([split.train_rows, split.test_rows])
      self.assertLen(np.unique(rows), 500)
      # 50.45 of 500, 35.0 of 350.
      self.assertEqual(table.labels[rows].sum(), 50)
      self.assertEqual(split.test_labels.sum(), 15)
      self.assertEqual(_counts(split), [0, 333, 17])
      train = table.features[split.train_rows]
      np.testing.assert_allclose(
        split.train_features,
        (train - train.min(axis=0)) / np.ptp(train, axis=0),
        atol=1e-6,
      )
    rows = [x for s in splits for x in (*s.train_rows, *s.test_rows)]
    self.assertLen(np.unique(rows), 1001)
    every = data.adbench_split(table, seed=0, max_rows=1001)
    self.assertLen(every.train_rows, 700)
    self.assertLen(every.test_rows, 301)

  def test_refuses_too_small_draws(self):
    with self.assertRaisesRegex(
      data.DataError, 'of 1000 rows 20 are drawn, which have 0 anomalies'
    ):
      data.adbench_split(_table(990, 10), seed=0, max_rows=20)
    with self.assertRaisesRegex(ValueError, '`max_rows` must be at least'):
      data.adbench_split(_table(990, 10), seed=0, max_rows=1)
    with self.assertRaisesRegex(TypeError, '`max_rows` must be an integer'):
      data.adbench_split(_table(990, 10), seed=0, max_rows=100.0)


class ValidationTableTest(parameterized.TestCase):
  @parameterized.parameters(data.deep_sad_split, data.adbench_split)
  def test_holds_the_training_rows(self, split_fn):
    table = _table(400, 200)._replace(columns=('a', 'b'))
    split = split_fn(table, seed=3, labeled_anomaly_ratio=0.1)
    found = data.validation_table(table, split)
    self.assertIsInstance(found, data.Table)
    self.assertEqual(found.columns, ('a', 'b'))
    np.testing.assert_array_equal(
      found.features, table.features[split.train_rows]
    )
    np.testing.assert_array_equal(found.labels, table.labels[split.train_rows])
    inner = split_fn(found, seed=3, labeled_anomaly_ratio=0.05)
    rows = split.train_rows[np.concatenate([inner.train_rows, inner.test_rows])]
    self.assertFalse(set(rows.tolist()) & set(split.test_rows.tolist()))
    np.testing.assert_array_equal(
      inner.test_labels, table.labels[split.train_rows[inner.test_rows]]
    )

  def test_refuses(self):
    table = _table(40, 20)
    split = data.deep_sad_split(table, seed=0, labeled_anomaly_ratio=0)
    with self.assertRaisesRegex(data.DataError, '24 training rows .* no anom'):
      data.validation_table(table, split)
    split = data.adbench_split(table, seed=0)
    for other in (_table(40, 20, seed=1), _table(30, 5)):
      with self.assertRaisesRegex(data.DataError, 'is not a split of `table`'):
        data.validation_table(other, split)
    with self.assertRaisesRegex(TypeError, '`split` must be an AnomalySplit'):
      data.validation_table(table, tuple(split))
    with self.assertRaisesRegex(TypeError, '`table` must be a Table'):
      data.validation_table(tuple(table), split)


class OddsTest(_FolderTest):
  def _invent(self, name, file_name, *, more_anomalies=0):
    """A file of the right shape in the manual folder."""
    rows, features, anomalies = _odds_builder.TABLES[name][:3]
    anomalies += more_anomalies
    rng = np.random.RandomState(0)
    arrays = {
      'X': rng.normal(size=(rows, features)),
      'y': (rng.permutation(rows) < anomalies)[:, None].astype(float),
    }
    path = self.folder / 'downloads' / 'manual' / file_name
    path.parent.mkdir(parents=True)
    if file_name.endswith('.mat'):
      scipy_io.savemat(path, arrays)
    else:
      np.savez(path, **arrays)
    return path

  @parameterized.parameters(
    ('arrhythmia', 'arrhythmia.mat'),
    ('thyroid', '38_thyroid.npz'),
    ('cardio', 'cardio.npz'),
  )
  def test_prepares_from_the_manual_folder(self, name, file_name):
    path = self._invent(name, file_name)
    expected = data.read_table(path)
    # Without the file: it is prepared by then.
    for download in (False, True):
      table = data.odds_table(name, data_dir=self.folder, download=download)
      for ours, theirs in zip(table, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
      path.unlink(missing_ok=True)

  def test_refuses_another_table(self):
    self._invent('thyroid', 'thyroid.npz', more_anomalies=1)
    message = (
      'thyroid.npz is not the table .thyroid.: it has 3772 rows, 6 features '
      'and 94 anomalies; 3772, 6 and 93 are expected'
    )
    with self.assertRaisesRegex(data.DataError, message):
      data.odds_table('thyroid', data_dir=self.folder)

  def test_says_what_to_do(self):
    with self.assertRaisesRegex(ValueError, '`name` must be one of arrhythmia'):
      data.odds_table('annthyroid', data_dir=self.folder)
    for download in (False, True):
      message = 'arrhythmia.mat, arrhythmia.npz into .*downloads/manual.$'
      with self.assertRaisesRegex(data.DataError, message):
        data.odds_table('arrhythmia', data_dir=self.folder, download=download)
    message = (
      'is not prepared in .*satimage_2.mat, satimage_2.npz, satimage-2.mat, '
      r'satimage-2.npz, 31_satimage-2.npz into .*manual, or pass download=True'
    )
    with self.assertRaisesRegex(data.DataError, message):
      data.odds_table('satimage_2', data_dir=self.folder, download=False)

  def test_downloads(self):
    path = self._invent('thyroid', 'elsewhere.npz')
    os.replace(path, self.folder / 'hashed')
    manager = mock.Mock()
    manager.download.return_value = self.folder / 'hashed'
    with mock.patch.object(
      _odds_builder.Odds, '_make_download_manager', return_value=manager
    ):
      # A folder that is missing: TFDS then raises.
      type(manager).manual_dir = mock.PropertyMock(side_effect=AssertionError)
      manager.downloaded_size = 0
      table = data.odds_table('thyroid', data_dir=self.folder)
    self.assertEqual(table.features.shape, (3772, 6))
    manager.download.assert_called_once_with(
      'https://github.com/Minqi824/ADBench/raw/main/adbench/datasets/Classical/'
      '38_thyroid.npz'
    )

  def test_a_download_that_fails(self):
    manager = mock.Mock()
    manager.download.side_effect = OSError('no network')
    manager.manual_dir = self.folder
    with mock.patch.object(
      _odds_builder.Odds, '_make_download_manager', return_value=manager
    ):
      message = "(?s)'shuttle' cannot be prepared: .*no network.*Put one of"
      with self.assertRaisesRegex(data.DataError, message):
        data.odds_table('shuttle', data_dir=self.folder)


class RealTablesTest(parameterized.TestCase):
  def test_facts(self):
    if not _ADBENCH.exists():
      self.skipTest('no tables of ADBench in ../shared/data/adbench')
    facts = {
      '6_cardio': (1831, 21, 176),
      '30_satellite': (6435, 36, 2036),
      '31_satimage-2': (5803, 36, 71),
      '32_shuttle': (49097, 9, 3511),
      '38_thyroid': (3772, 6, 93),
    }
    found = {}
    for path in _ADBENCH.glob('*.npz'):
      table = data.read_table(path)
      found[path.stem] = (*table.features.shape, table.labels.sum())
      # The paper's setting, twice.
      split = data.deep_sad_split(table, seed=0)
      inner = data.deep_sad_split(data.validation_table(table, split), seed=0)
      self.assertGreater(inner.test_labels.sum(), 0)
      split = data.adbench_split(table, seed=0)
      rows = len(split.train_rows) + len(split.test_rows)
      self.assertEqual(rows, min(len(table.labels), 10_000))
    self.assertEqual(found, facts)
    named = {
      facts.file_name: facts[:3]
      for facts in _odds_builder.TABLES.values()
      if facts.file_name
    }
    self.assertEqual(named, {f'{k}.npz': v for k, v in facts.items()})


def _save_mat(path, **arrays):
  scipy_io.savemat(path, arrays)


class _Trap:
  """Makes a file when it is unpickled."""

  def __init__(self, path):
    self._path = path

  def __reduce__(self):
    return (open, (self._path, 'w'))


if __name__ == '__main__':
  absltest.main()
