# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""ResNets in torchvision's names, against NumPy that reads the same names."""

import pathlib
import re
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from imbsam_jax import models
from imbsam_jax import pretrained
from imbsam_jax.pretrained import _safetensors
from tests.models import witness
from tests.pretrained import files

_SIZES = (1, 2)


def shapes_of(sizes=_SIZES, widths=(4, 8), stem=8, classes=5):
  """Keys and shapes as torchvision and timm have them."""
  shapes = {'conv1.weight': (stem, 3, 7, 7)}
  norms = {'bn1': stem}
  before = stem
  for stage, (size, width) in enumerate(zip(sizes, widths, strict=True), 1):
    for i in range(size):
      block = f'layer{stage}.{i}'
      shapes[f'{block}.conv1.weight'] = (width, before, 1, 1)
      shapes[f'{block}.conv2.weight'] = (width, width, 3, 3)
      shapes[f'{block}.conv3.weight'] = (4 * width, width, 1, 1)
      norms |= {f'{block}.bn1': width, f'{block}.bn2': width}
      norms[f'{block}.bn3'] = 4 * width
      if i == 0 and (stage > 1 or before != 4 * width):
        shapes[f'{block}.downsample.0.weight'] = (4 * width, before, 1, 1)
        norms[f'{block}.downsample.1'] = 4 * width
      before = 4 * width
  for name, width in norms.items():
    for word in ('weight', 'bias', 'running_mean', 'running_var'):
      shapes[f'{name}.{word}'] = (width,)
    shapes[f'{name}.num_batches_tracked'] = ()
  return shapes | {'fc.weight': (classes, before), 'fc.bias': (classes,)}


def _conv_norm(x, t, conv, norm, stride=1):
  x = witness.conv(x, np.einsum('oikl->klio', t[f'{conv}.weight']), stride)
  x = (x - t[f'{norm}.running_mean']) / np.sqrt(t[f'{norm}.running_var'] + 1e-5)
  return x * t[f'{norm}.weight'] + t[f'{norm}.bias']


def _features(x, tensors, sizes=_SIZES):
  """Pooled features in evaluation mode, in float64."""
  t = {key: np.asarray(array, np.float64) for key, array in tensors.items()}
  x = np.maximum(_conv_norm(x.astype(np.float64), t, 'conv1', 'bn1', 2), 0)
  x = witness.windows(x, 3, 2, -np.inf).max((4, 5))
  for stage, size in enumerate(sizes, 1):
    for i in range(size):
      key = f'layer{stage}.{i}'
      stride = 2 if stage > 1 and i == 0 else 1
      y = np.maximum(_conv_norm(x, t, f'{key}.conv1', f'{key}.bn1'), 0)
      y = _conv_norm(y, t, f'{key}.conv2', f'{key}.bn2', stride)
      y = _conv_norm(np.maximum(y, 0), t, f'{key}.conv3', f'{key}.bn3')
      down = f'{key}.downsample'
      if f'{down}.0.weight' in t:
        x = _conv_norm(x, t, f'{down}.0', f'{down}.1', stride)
      x = np.maximum(x + y, 0)
  return x.mean((1, 2))


class ResNetTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self.path = pathlib.Path(folder) / 'resnet.safetensors'
    self.tensors = files.made('resnet_tiny', shapes_of())

  def load(self, tensors=None):
    files.write(self.path, self.tensors if tensors is None else tensors)
    return pretrained.load(self.path)

  @parameterized.parameters(32, 25)
  def test_features(self, size):
    trunk = self.load()
    images = witness.images(2, size)
    features = jax.jit(trunk.module.apply)(trunk.variables, images)
    self.assertEqual((features.shape, features.dtype), ((2, 32), np.float32))
    np.testing.assert_allclose(
      features, _features(images, self.tensors), rtol=0, atol=2e-5
    )
    self.assertIsNone(trunk.image_size)
    self.assertEqual(trunk.preset, pretrained.PRESETS['resnet50'])
    self.assertIn('torchvision ResNet, preset resnet50', trunk.summary())

  def test_first_shortcut_may_be_the_identity(self):
    shapes = shapes_of(stem=16)
    self.assertNotIn('layer1.0.downsample.0.weight', shapes)
    tensors = files.made('resnet_tiny', shapes)
    trunk = self.load(tensors)
    images = witness.images(2, 32)
    np.testing.assert_allclose(
      jax.jit(trunk.module.apply)(trunk.variables, images),
      _features(images, tensors),
      rtol=0,
      atol=2e-5,
    )

  def test_tree_is_that_of_the_network(self):
    trunk = self.load()
    network = models.BottleneckResNet(
      5, norm='batch', stage_sizes=_SIZES, widths=(4, 8), stem_width=8
    )
    shapes = jax.eval_shape(
      lambda: network.init(
        jax.random.key(0), np.zeros((1, 32, 32, 3), 'f4'), train=False
      )
    )
    shapes['params'].pop('classifier')
    self.assertEqual(
      jax.tree.map(np.shape, trunk.variables), jax.tree.map(np.shape, shapes)
    )

  def test_training_mode_moves_the_statistics(self):
    trunk = self.load()
    images = witness.images(2, 32)
    _, state = jax.jit(
      lambda variables, x: trunk.module.apply(
        variables, x, train=True, mutable=['batch_stats']
      )
    )(trunk.variables, images)
    kernel = np.einsum('oikl->klio', self.tensors['conv1.weight'])
    x = witness.conv(images.astype(np.float64), kernel.astype(np.float64), 2)
    stats = state['batch_stats']['stem_norm']['BatchNorm_0']
    for word, value in (('mean', x.mean((0, 1, 2))), ('var', x.var((0, 1, 2)))):
      before = self.tensors[f'bn1.running_{word}']
      np.testing.assert_allclose(
        stats[word], 0.9 * before + 0.1 * value, rtol=1e-4, atol=1e-5
      )

  def test_written_and_read_again(self):
    trunk = self.load()
    path = self.path.with_name('again.safetensors')
    head = {
      'kernel': self.tensors['fc.weight'].T, 'bias': self.tensors['fc.bias']
    }  # fmt: skip
    params = trunk.variables['params'] | {'classifier': head}
    pretrained.save(path, trunk.variables | {'params': params})
    again = pretrained.load(path)
    for leaf, other in zip(
      jax.tree.leaves(trunk.variables),
      jax.tree.leaves(again.variables),
      strict=True,
    ):
      np.testing.assert_array_equal(leaf, other)
    # What is written are the tensors of the file, with its head.
    contents = _safetensors.read_header(path)
    wanted = {k for k in self.tensors if 'num_batches' not in k}
    self.assertEqual(set(contents.entries), wanted)
    for key, entry in contents.entries.items():
      np.testing.assert_array_equal(
        _safetensors.read(path, key, entry), self.tensors[key]
      )

  def test_resnet50_by_its_headers(self):
    shapes = shapes_of((3, 4, 6, 3), (64, 128, 256, 512), 64, 1000)
    self.assertLen(shapes, 320)  # As torchvision's state dict.
    header, start = {}, 0
    for key, shape in shapes.items():
      end = start + 4 * int(np.prod(shape))
      dtype = 'I32' if key.endswith('tracked') else 'F32'
      header[key] = {
        'dtype': dtype, 'shape': shape, 'data_offsets': [start, end]
      }  # fmt: skip
      start = end
    files.write_header(self.path, header, start)
    told = pretrained.describe(self.path)
    # Torchvision's 25,557,032, without the classifier of 1000 classes.
    self.assertEqual(told.num_parameters, 25_557_032 - 2049 * 1000)
    network = models.ResNet50(1000, norm='batch')
    whole = jax.eval_shape(
      lambda: network.init(
        jax.random.key(0), np.zeros((1, 64, 64, 3), 'f4'), train=False
      )
    )
    whole['params'].pop('classifier')
    self.assertEqual(
      jax.tree.map(lambda leaf: leaf.shape, told.variables),
      jax.tree.map(lambda leaf: leaf.shape, whole),
    )

  @parameterized.parameters(
    ('conv1.0.weight', (8, 3, 3, 3), 'stem of three convolutions'),
    ('layer1.0.se.fc1.weight', (4, 4, 1, 1), 'squeeze-and-excitation'),
    ('layer1.0.shift', (4,), "does not have: 'layer1.0.shift'"),
  )
  def test_keys_of_other_networks(self, key, shape, message):
    with self.assertRaisesRegex(ValueError, message):
      self.load(self.tensors | {key: np.ones(shape, 'f4')})

  @parameterized.parameters(
    (r'conv3|bn3', 'ResNet-18 or ResNet-34'),
    (r'running', "norm='group'"),
    (r'layer2\.1\.conv2', "lacks 1 of .* keys .*'layer2.1.conv2.weight'"),
  )
  def test_missing_keys(self, pattern, message):
    tensors = {
      k: v for k, v in self.tensors.items() if not re.search(pattern, k)
    }
    with self.assertRaisesRegex(ValueError, message):
      self.load(tensors)

  def test_shapes_of_other_networks(self):
    # Grouped convolutions, as in ResNeXt.
    key = 'layer2.1.conv2.weight'
    with self.assertRaisesRegex(ValueError, f"'{key}' has the shape"):
      self.load(self.tensors | {key: np.ones((8, 2, 3, 3), 'f4')})
    # A shortcut of the wrong kind: an average first ('resnet50d').
    shortcut = 'layer2.0.downsample.'
    tensors = dict(self.tensors)
    tensors[f'{shortcut}1.weight'] = tensors.pop(f'{shortcut}0.weight')
    with self.assertRaisesRegex(ValueError, 'lacks 1 of'):
      self.load(tensors)

  @parameterized.parameters(
    dict(image_size=64), dict(num_heads=4), dict(activation='gelu'),
    dict(epsilon=1e-6),
  )  # fmt: skip
  def test_arguments_of_a_vit(self, **arguments):
    files.write(self.path, self.tensors)
    (name,) = arguments
    with self.assertRaisesRegex(ValueError, f'has no `{name}`'):
      pretrained.load(self.path, **arguments)
    with self.assertRaisesRegex(ValueError, "kind 'resnet', and the preset"):
      pretrained.load(self.path, preset='vit')


if __name__ == '__main__':
  absltest.main()
