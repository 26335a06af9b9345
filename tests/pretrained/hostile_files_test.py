# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Files that lie: one kind of error that names the file, and no memory."""

import io
import json
import pathlib
import tempfile
import tracemalloc
import zipfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pytest

from imbsam_jax import pretrained
from imbsam_jax.pretrained import _safetensors
from tests.pretrained import files

_KEY = 'blocks.0.mlp.fc1.weight'
# A ViT of one block: what a mutation costs is reading it.
_SMALL = dict(width=8, depth=1, hidden=16, patch=2, rows=5, head=2)
_BROKEN = 'is no .safetensors file, or cut off: .*compare the sizes'
# Bytes that Python and NumPy may take to read or refuse the small file, of
# some 10 KB, where a mutation may promise any number.
_MOST_MEMORY = 4 << 20


def _small_vit():
  return files.made('vit', files.timm_shapes(**_SMALL))


def _small_google():
  """The same in Google's names."""
  before = files.WIDTH, files.HEADS, files.timm_vit
  files.WIDTH, files.HEADS, files.timm_vit = 8, 2, _small_vit
  try:
    return files.google()
  finally:
    files.WIDTH, files.HEADS, files.timm_vit = before


def _npy(header, data=b''):
  """An array whose header says what it likes."""
  text = header.encode() + b'\n'
  return b'\x93NUMPY\x01\x00' + len(text).to_bytes(2, 'little') + text + data


class HostileTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self.folder = pathlib.Path(folder)
    self.path = self.folder / 'trunk.safetensors'

  def outcome(self, path):
    """The message of the refusal, or None; and it takes little memory."""
    tracemalloc.start()
    try:
      pretrained.load(path, num_heads=2)
      message = None
    except ValueError as error:
      message = str(error)
      self.assertIn(path.name, message)
      self.assertLess(len(message), 3000)
    finally:
      _, peak = tracemalloc.get_traced_memory()
      tracemalloc.stop()
    self.assertLess(peak, _MOST_MEMORY, message)
    return message

  def refuse(self, message):
    self.assertRegex(self.outcome(self.path) or 'nothing', message)

  def test_cut_off(self):
    files.write(self.path, _small_vit())
    content = self.path.read_bytes()
    self.assertIsNone(self.outcome(self.path))
    for size in (*range(0, 20), len(content) // 2, len(content) - 1):
      self.path.write_bytes(content[:size])
      self.refuse(_BROKEN)
    self.path.write_bytes(content + b'\0')
    self.refuse(_BROKEN)

  def test_length_of_the_header(self):
    text = json.dumps({'a': 1}).encode()
    for length in (1 << 63, (1 << 64) - 1, 10**9):
      self.path.write_bytes(length.to_bytes(8, 'little') + text)
      self.refuse('cut off')
    with self.path.open('wb') as file:
      file.write((1 << 30).to_bytes(8, 'little'))
      file.truncate(2 << 30)
    self.refuse('a header of 1073741824 bytes is more than')
    # True, and read again for each tensor.
    entry = {'dtype': 'F32', 'shape': [0], 'data_offsets': [0, 0]}
    header = {f'blocks.{i}.norm1.weight': entry for i in range(20_000)}
    files.write_header(self.path, header, 0)
    self.refuse('a header of .* bytes is more than the 1048576 that are read')

  @parameterized.parameters(
    b'[1, 2]', b'nothing here', b'\xff\xfe\xfd rest', b'{"a": 1, "a": 1}',
    b'[' * 100_000, b'{"a":' * 100_000, b'1' * 10_000, b'{"__metadata__": 1}',
    b'{"__metadata__": {"a": 1}}', b'{"a": null}', b'{"a": []}', b'""        ',
  )  # fmt: skip
  def test_header_that_is_none(self, text):
    files.write_header(self.path, text, 8)
    self.refuse('trunk.safetensors')

  @parameterized.parameters(
    ('dtype', 'F31'),
    ('dtype', None),
    ('dtype', ['F32']),
    ('dtype', 'F64'),
    ('dtype', 'F16'),
    ('shape', [1 << 40, 1 << 40]),
    ('shape', [1 << 63]),
    ('shape', [-1, -8]),
    ('shape', [True] * 2),
    ('shape', [8.0, 16]),
    ('shape', [1] * 40),
    ('shape', 'many'),
    ('shape', []),
    ('data_offsets', [0]),
    ('data_offsets', [512, 0]),
    ('data_offsets', [0, 512]),
    ('data_offsets', [-512, 0]),
    ('data_offsets', [1 << 50, (1 << 50) + 512]),
    ('data_offsets', None),
  )
  def test_entry_that_lies(self, field, value):
    tensors = _small_vit()
    header = files.header_of(tensors)
    size = header['head.bias']['data_offsets'][1]
    header[_KEY][field] = value
    files.write_header(self.path, header, size)
    self.refuse(_BROKEN)

  def test_entry_that_lies_of_its_shape(self):
    tensors = _small_vit()
    header = files.header_of(tensors)
    header[_KEY]['shape'] = header[_KEY]['shape'][::-1]
    files.write_header(
      self.path, header, header['head.bias']['data_offsets'][1]
    )
    self.refuse('has the shape')

  def test_dtypes_that_are_not_read(self):
    for name, size in (('F8_E4M3', 1), ('I64', 8), ('BOOL', 1)):
      header = {
        'text_features': {
          'dtype': name, 'shape': [2, 3], 'data_offsets': [0, 6 * size]
        },
        '__metadata__': {'classes': '["a", "b"]'},
      }  # fmt: skip
      files.write_header(self.path, header, 6 * size)
      with self.assertRaisesRegex(
        ValueError, f"trunk.safetensors: 'text_features' must .* got {name}"
      ):
        pretrained.read_text_features(self.path)

  @parameterized.parameters(
    ([1] * 80, 1, 'cannot be read: maximum supported dimension'),
    ([0, 1 << 60, 1 << 60], 0, 'cannot be read: array is too big'),
  )
  def test_shapes_that_numpy_has_not(self, shape, count, message):
    header = {
      'text_features': {
        'dtype': 'F32', 'shape': shape, 'data_offsets': [0, 4 * count]
      },
    }  # fmt: skip
    files.write_header(self.path, header, 4 * count)
    with self.assertRaisesRegex(ValueError, f'trunk.safetensors: .*{message}'):
      pretrained.read_text_features(self.path)

  def test_file_that_changes_between_header_and_tensors(self):
    tensors = _small_vit()
    files.write(self.path, tensors)
    entry = _safetensors.read_header(self.path).entries[_KEY]
    for change, message in (
      ({_KEY: tensors[_KEY].T}, 'has changed while it was read'),
      ({_KEY: tensors[_KEY].astype('f2')}, 'has changed while it was read'),
      ({'other': tensors[_KEY]}, 'cannot be read'),
    ):
      files.write(self.path, change)
      with self.assertRaisesRegex(ValueError, f'{_KEY}.* {message}'):
        _safetensors.read(self.path, _KEY, entry)
    self.path.write_bytes(self.path.read_bytes()[:-1])
    with self.assertRaisesRegex(ValueError, f'{_KEY}.* cannot be read'):
      _safetensors.read(self.path, _KEY, entry)
    self.path.unlink()
    with self.assertRaisesRegex(ValueError, f'{_KEY}.* cannot be read'):
      _safetensors.read(self.path, _KEY, entry)

  def test_tensors_that_overlap_or_leave_gaps(self):
    header = files.header_of(_small_vit())
    size = header['head.bias']['data_offsets'][1]
    # Two tensors of one shape in the same place.
    first, second = (f'blocks.0.{name}.weight' for name in ('norm1', 'norm2'))
    header[second]['data_offsets'] = header[first]['data_offsets']
    files.write_header(self.path, header, size)
    self.refuse(_BROKEN)
    del header[second]
    files.write_header(self.path, header, size)
    self.refuse(_BROKEN)

  def test_sizes_of_nothing(self):
    """Axes of length 0 make any other length cost nothing."""
    header = {
      key: {'dtype': 'F32', 'shape': list(shape), 'data_offsets': [0, 0]}
      for key, shape in (
        ('cls_token', (1, 0, 1 << 60)),
        ('pos_embed', (0, 1 << 60, 1 << 60)),
        ('blocks.0.attn.qkv.weight', (1 << 60, 0)),
        ('blocks.0.mlp.fc1.weight', (1 << 60, 0)),
      )
    }
    shapes = files.timm_shapes(**_SMALL)
    for key in shapes:
      header.setdefault(
        key, {'dtype': 'F32', 'shape': [0], 'data_offsets': [0, 0]}
      )
    files.write_header(self.path, header, 0)
    self.refuse('patch_size can be read|has the shape')
    stacked = self.folder / 'stacked.npz'
    with zipfile.ZipFile(stacked, 'w') as archive:
      for key in files.big_vision_stacked('params/'):
        shape = (1 << 40, 0) if key.endswith('bias') else (0,)
        archive.writestr(
          f'{key}.npy',
          _npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}"),
        )
    self.assertRegex(self.outcome(stacked), 'more than the 1000')

  def test_archive_whose_header_promises_more(self):
    arrays = _small_google()
    path = self.folder / 'trunk.npz'
    for shape, message in (
      ((1 << 40, 8), 'promises .* but 256 follow'),
      ((-8, 8), 'promises'),
      ((1, 1, 8), "'cls' is longer than its header says"),
      ((8, 8), 'no width can be read'),
    ):
      header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}"
      with zipfile.ZipFile(path, 'w') as archive:
        for key, array in arrays.items():
          buffer = io.BytesIO()
          np.save(buffer, array)
          content = buffer.getvalue()
          if key == 'cls':
            content = _npy(header, b'\0' * 256)
          archive.writestr(f'{key}.npy', content)
      self.assertRegex(self.outcome(path), message)

  def test_archive_that_unpacks_to_very_much(self):
    """A gigabyte of zeros in a megabyte, true to its header."""
    path = self.folder / 'bomb.npz'
    header = (
      "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 8388608)}"
    )
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
      for key in ('embedding/kernel', 'cls', 'a', 'b'):
        archive.writestr(f'{key}.npy', _npy(header, bytes(4 * 8388608)))
    self.assertRegex(self.outcome(path), 'Weights do not compress like this')

  def test_archive_of_something_else(self):
    path = self.folder / 'other.npz'
    for name, content in (('a.txt', b'a'), ('cls.npy', b'no array')):
      with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr(name, content)
      self.assertRegex(self.outcome(path), 'cannot be read as a .npz file')

  def fuzz(self, num_mutations):
    random = np.random.RandomState(0)
    contents = {}
    for name, tensors in (
      ('a.safetensors', _small_vit()), ('b.npz', _small_google())
    ):  # fmt: skip
      path = files.write(self.folder / name, tensors)
      contents[name] = path.read_bytes()
      pretrained.load(path, num_heads=2)
    messages = set()
    for i in range(num_mutations):
      name = ('a.safetensors', 'b.npz')[i % 2]
      path = self.folder / name
      path.write_bytes(_mutated(contents[name], random))
      message = self.outcome(path) or 'loaded'
      messages.add(message.removeprefix(f'{self.folder}')[:120])
    return messages

  def test_mutations(self):
    self.assertGreater(len(self.fuzz(300)), 20)

  @pytest.mark.extended
  def test_many_mutations(self):
    self.assertGreater(len(self.fuzz(5_000)), 50)


def _mutated(content, random):
  """A few bytes changed, moved, cut out or put in, mostly in the headers."""
  data = bytearray(content)
  for _ in range(random.randint(1, 4)):
    # The headers of both formats: at the start, and at the end of a zip file.
    span = len(data) if random.rand() < 0.4 else min(len(data), 4000)
    place = random.randint(max(span, 1))
    if random.rand() < 0.3:
      place = max(len(data) - 1 - place, 0)
    kind = random.randint(6)
    if kind == 0 and place < len(data):
      data[place] = random.randint(256)
    elif kind == 1:
      data[place : place + random.randint(1, 9)] = random.bytes(4)
    elif kind == 2:
      del data[place : place + random.randint(1, 60)]
    elif kind == 3:
      digits = b'0123456789'
      places = [j for j in range(place, min(place + 200, len(data)))]
      for j in places:
        if data[j] in digits:
          data[j : j + 1] = random.choice(
            [b'0', b'7', b'99999999', b'-1', b'1e9', b'4611686018427387905']
          )
          break
    elif kind == 4:
      data[place:place] = data[:30]
    elif random.rand() < 0.2:
      del data[place:]
  return bytes(data)


if __name__ == '__main__':
  absltest.main()
