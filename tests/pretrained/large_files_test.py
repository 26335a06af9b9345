# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""ViT-B/16 and CLIP-B/16 themselves: by their headers, and their memory."""

import functools
import math
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np
import pytest

from imbsam_jax import pretrained
from tests import programs
from tests.pretrained import files

_B16 = dict(width=768, depth=12, hidden=3072, patch=16, rows=197)
_SHAPES = {
  'vit': functools.partial(files.timm_shapes, **_B16, head=21843),
  'clip': functools.partial(files.openai_shapes, **_B16, embedding=512),
}


def _header(shapes):
  header, start = {}, 0
  for key, shape in shapes.items():
    end = start + 4 * math.prod(shape)
    header[key] = {
      'dtype': 'F32', 'shape': shape, 'data_offsets': [start, end]
    }  # fmt: skip
    start = end
  return header, start


class LargeFilesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self.path = pathlib.Path(folder) / 'trunk.safetensors'

  # Counted by timm and by OpenAI's module.
  @parameterized.parameters(
    ('vit', 'vit_b16_in21k', 85_798_656, 0),
    ('clip', 'clip_vit_b16', 85_799_424, 393_216),
  )
  def test_parameters(self, kind, preset, count, projected):
    files.write_header(self.path, *_header(_SHAPES[kind]()))
    told = pretrained.describe(self.path, preset=preset)
    self.assertEqual(told.num_parameters, count)
    leaves = jax.tree.leaves(told.variables)
    self.assertEqual(
      sum(math.prod(leaf.shape) for leaf in leaves), count + projected
    )
    self.assertEqual(told.image_size, (224, 224))
    self.assertEqual(told.module.num_heads, 12)
    self.assertIn(f'preset {preset}, 224x224 px', told.summary())
    self.assertIn(f'{count:,} parameters', told.summary())
    if projected:
      self.assertIn('and 393,216 of its projection', told.summary())
    # Without a preset width / 64 are the heads, and the rest is the default.
    told = pretrained.describe(self.path)
    self.assertEqual((told.module.num_heads, told.preset.name), (12, kind))

  def test_shapes_of_another_size(self):
    files.write_header(self.path, *_header(_SHAPES['vit']()))
    told = pretrained.describe(self.path, image_size=(384, 224))
    positions = told.variables['params']['position_embedding']
    self.assertEqual(positions.shape, (1 + 24 * 14, 768))
    self.assertIn('from 14x14 to 24x14 by bicubic_antialias', told.summary())
    shapes = _SHAPES['vit']() | {'pos_embed': (1, 577, 768)}
    files.write_header(self.path, *_header(shapes))
    with self.assertRaisesRegex(
      ValueError, '577 rows are those of 384x384 images, .*image_size=384'
    ):
      pretrained.describe(self.path, preset='vit_b16_in21k')
    self.assertEqual(pretrained.describe(self.path).image_size, (384, 384))

  @parameterized.parameters('safetensors', 'npz', 'stacked')
  @pytest.mark.extended
  def test_memory(self, kind):
    """The tree, and no more than three tenths of the file beside it."""
    if not pathlib.Path('/proc/self/status').exists():
      self.skipTest('only Linux says what a process alone has held')
    path = self.path
    shapes = files.timm_shapes(**_B16, head=1)
    if kind != 'safetensors':
      path = path.with_suffix('.npz')
      shapes = _google_shapes(stacked=kind == 'stacked')
    random = np.random.default_rng(0)
    tensors = {
      key: random.standard_normal(shape, np.float32)
      for key, shape in shapes.items()
    }
    files.write(path, tensors)
    size = path.stat().st_size
    self.assertBetween(size, 343e6, 344e6)
    done = programs.run('tests.pretrained.memory_of_load', str(path))
    self.assertEqual(done.returncode, 0, done.stderr)
    held = int(done.stdout)
    self.assertBetween(held / size, 0.99, 1.3)


def _google_shapes(*, stacked):
  """Keys and shapes of a ViT-B/16 in the names of big_vision."""
  width, heads, hidden = 768, (12, 64), 3072
  inner = {}
  for word in ('query', 'key', 'value'):
    inner[f'MultiHeadDotProductAttention_0/{word}/kernel'] = (width, *heads)
    inner[f'MultiHeadDotProductAttention_0/{word}/bias'] = heads
  inner['MultiHeadDotProductAttention_0/out/kernel'] = (*heads, width)
  inner['MultiHeadDotProductAttention_0/out/bias'] = (width,)
  for i, sizes in enumerate([(width, hidden), (hidden, width)]):
    inner[f'LayerNorm_{i}/scale'] = inner[f'LayerNorm_{i}/bias'] = (width,)
    inner[f'MlpBlock_0/Dense_{i}/kernel'] = sizes
    inner[f'MlpBlock_0/Dense_{i}/bias'] = sizes[1:]
  shapes = {
    'embedding/kernel': (16, 16, 3, width),
    'embedding/bias': (width,),
    'cls': (1, 1, width),
    'pos_embedding': (1, 196, width),
    'Transformer/encoder_norm/scale': (width,),
    'Transformer/encoder_norm/bias': (width,),
  }
  for key, shape in inner.items():
    if stacked:
      shapes[f'Transformer/encoderblock/{key}'] = (12, *shape)
      continue
    for i in range(12):
      shapes[f'Transformer/encoderblock_{i}/{key}'] = shape
  return {f'params/{key}': shape for key, shape in shapes.items()}


if __name__ == '__main__':
  absltest.main()
