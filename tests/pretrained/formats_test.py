# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Each format gives the same tree, and the features of the sources' own code.

The expected values were computed by timm, transformers, OpenAI's CLIP and
Google's vision_transformer themselves, in float64 unless a name says f32.
"""

import functools
import hashlib
import json
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np
import safetensors

from imbsam_jax import models
from imbsam_jax import pretrained
from imbsam_jax.pretrained import _safetensors
from tests.pretrained import files

# Float32 on networks of this size; the features are of order 1.
_TOLERANCE = 3e-6


@functools.cache
def _expected(name):
  with np.load(files.GOLDEN / f'{name}_expected.npz') as archive:
    return {key: archive[key] for key in archive}


@functools.cache
def _apply(module):
  return jax.jit(module.apply)


def _features(trunk, images):
  with jax.default_matmul_precision('highest'):
    return np.asarray(_apply(trunk.module)(trunk.variables, images), np.float64)


def _logits(trunk, images):
  tensors = files.timm_vit()
  features = _features(trunk, images)
  return features @ tensors['head.weight'].T + tensors['head.bias']


def _projected(trunk, images):
  kernel = trunk.variables['params']['projection']['kernel']
  return _features(trunk, images) @ np.asarray(kernel, np.float64)


def _assert_same_bits(tree, other):
  assert jax.tree.structure(tree) == jax.tree.structure(other)
  for where, leaf in jax.tree_util.tree_leaves_with_path(tree):
    value = other
    for part in where:
      value = value[part.key]
    assert leaf.dtype == value.dtype == np.float32, where
    np.testing.assert_array_equal(
      np.asarray(leaf).view(np.uint32), np.asarray(value).view(np.uint32)
    )


class FormatsTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self.folder = pathlib.Path(folder)

  def load(self, name, tensors=None, **arguments):
    every = files.VITS | files.BIG_VISION | files.CLIPS
    path = self.folder / name
    files.write(path, every[name]() if tensors is None else tensors)
    return pretrained.load(path, **({'num_heads': files.HEADS} | arguments))

  @parameterized.parameters(*files.VITS)
  def test_vit(self, name):
    trunk = self.load(name)
    _assert_same_bits(trunk.variables, self.load('timm.safetensors').variables)
    expected = _expected('vit_tiny')
    np.testing.assert_allclose(
      _features(trunk, expected['images_32']),
      expected['features_erf_1e6_f64'],
      rtol=0,
      atol=_TOLERANCE,
    )
    self.assertEqual(trunk.preset.name, 'vit')
    self.assertNotIn('projection', trunk.variables['params'])

  @parameterized.parameters(*files.BIG_VISION)
  def test_vit_whose_class_token_has_its_position(self, name):
    trunk = self.load(name)
    params = trunk.variables['params']
    np.testing.assert_array_equal(params['position_embedding'][0], 0)
    plain = self.load('timm.safetensors').variables['params']
    np.testing.assert_array_equal(
      params['class_token'],
      plain['class_token'] + plain['position_embedding'][0],
    )
    expected = _expected('vit_tiny')
    np.testing.assert_allclose(
      _logits(trunk, expected['images_32']),
      expected['logits_erf_1e6_f64'],
      rtol=0,
      atol=_TOLERANCE,
    )

  @parameterized.parameters(*files.CLIPS)
  def test_clip(self, name):
    trunk = self.load(name)
    reference = self.load('openai.safetensors').variables
    if name == 'hf_vision_base.safetensors':
      reference['params'].pop('projection')
    _assert_same_bits(trunk.variables, reference)
    expected = _expected('clip_tiny')
    images = expected['images_32']
    np.testing.assert_allclose(
      _features(trunk, images),
      expected['features_f64'],
      rtol=0,
      atol=_TOLERANCE,
    )
    if 'projection' in trunk.variables['params']:
      np.testing.assert_allclose(
        _projected(trunk, images),
        expected['projected_f64'],
        rtol=0,
        atol=_TOLERANCE,
      )
    self.assertEqual(trunk.preset.name, 'clip')
    self.assertEqual(trunk.preset.num_heads, files.HEADS)

  def test_clip_with_float16_as_openai_stores_it(self):
    trunk = self.load('openai_fp16.safetensors', files.openai_clip_as_stored())
    expected = _expected('clip_tiny')
    np.testing.assert_allclose(
      _projected(trunk, expected['images_32']),
      expected['projected_fp16_weights_f64'],
      rtol=0,
      atol=_TOLERANCE,
    )
    # Seen: the weights are not those of the float32 file.
    difference = expected['projected_fp16_weights_f64']
    difference = np.abs(difference - expected['projected_f64']).max()
    self.assertGreater(difference, 10 * _TOLERANCE)

  @parameterized.parameters(
    ('tanh_1e6', dict(activation='gelu_tanh')),
    ('hf_1e12', dict(epsilon=1e-12)),
  )
  def test_activation_and_epsilon_of_another_code(self, name, arguments):
    expected = _expected('vit_tiny')
    trunk = self.load('timm.safetensors', **arguments)
    np.testing.assert_allclose(
      _logits(trunk, expected['images_32']),
      expected[f'logits_{name}_f64'],
      rtol=0,
      atol=_TOLERANCE,
    )
    for field, value in arguments.items():
      self.assertEqual(getattr(trunk.preset, field), value)
      self.assertEqual(getattr(trunk.module, field), value)

  def test_presets_are_seen_to_matter(self):
    """Wrong ones are off by as much as was measured with the sources."""
    vit, clip = _expected('vit_tiny'), _expected('clip_tiny')
    tanh = self.load('google.npz', activation='gelu_tanh')
    off = _logits(tanh, vit['images_32']) - vit['logits_erf_1e6_f64']
    self.assertBetween(np.abs(off).max(), 1e-4, 4e-4)
    exact = self.load('openai.safetensors', preset='open_clip')
    np.testing.assert_allclose(
      _projected(exact, clip['images_32']),
      clip['projected_wrong_exact_gelu_f64'],
      rtol=0,
      atol=_TOLERANCE,
    )
    off = clip['projected_wrong_exact_gelu_f64'] - clip['projected_f64']
    self.assertBetween(np.abs(off).max(), 0.02, 0.06)
    large = self.load('openai.safetensors', epsilon=1e-2)
    off = _projected(large, clip['images_32']) - clip['projected_f64']
    self.assertGreater(np.abs(off).max(), 1e-4)

  @parameterized.parameters(
    ('logits_timm_bicubic_aa_48_f64', 48, 'bicubic_antialias'),
    ('logits_timm_bicubic_aa_24x40_f64', (24, 40), 'bicubic_antialias'),
    ('logits_hf_48_f64', 48, 'bicubic'),
    ('logits_hf_24x40_f64', (24, 40), 'bicubic'),
    ('logits_timm_npz_bilinear_48_f64', 48, 'bilinear'),
    ('logits_google_vit_jax_zoom_48_f32', 48, 'bilinear_align_corners'),
  )
  def test_other_sizes(self, name, size, rule):
    expected = _expected('vit_tiny')
    arguments = {}
    if '_hf_' in name:
      arguments['epsilon'] = 1e-12
    if '_google_' in name:
      arguments['activation'] = 'gelu_tanh'
    trunk = self.load(
      'timm.safetensors', image_size=size, positions=rule, **arguments
    )
    images = expected['images_48' if size == 48 else 'images_24x40']
    np.testing.assert_allclose(
      _logits(trunk, images), expected[name], rtol=0, atol=_TOLERANCE
    )
    self.assertIn(f'by {rule}', trunk.summary())

  @parameterized.parameters(
    ('projected_48_bicubic_aa_f64', 'bicubic_antialias'),
    ('projected_hf_48_bicubic_f64', 'bicubic'),
  )
  def test_other_sizes_of_clip(self, name, rule):
    expected = _expected('clip_tiny')
    trunk = self.load('openai.safetensors', image_size=48, positions=rule)
    np.testing.assert_allclose(
      _projected(trunk, expected['images_48']),
      expected[name],
      rtol=0,
      atol=_TOLERANCE,
    )

  @parameterized.parameters('timm.safetensors', 'openai.safetensors')
  def test_order_of_query_key_and_value(self, name):
    """A file with q and v exchanged gives something else: they are told."""
    word = 'blocks.1.attn.qkv.weight'
    tensors = files.timm_vit()
    if name.startswith('openai'):
      word = 'visual.transformer.resblocks.1.attn.in_proj_weight'
      tensors = files.openai_clip()
    plain = self.load(name)
    query, key, value = np.split(tensors[word], 3)
    swapped = self.load(
      name, tensors | {word: np.concatenate([value, key, query])}
    )
    attention = plain.variables['params']['block1']['attention']
    other = swapped.variables['params']['block1']['attention']
    np.testing.assert_array_equal(
      other['query']['kernel'], attention['value']['kernel']
    )
    images = _expected('vit_tiny')['images_32']
    off = _features(plain, images) - _features(swapped, images)
    self.assertGreater(np.abs(off).max(), 1e-2)

  def test_layer_scale_is_multiplied_into_the_layers_before(self):
    plain = files.timm_vit()
    gains = {
      f'blocks.{i}.ls{j}.gamma': files.leaf('gain', f'{i}{j}', (files.WIDTH,))
      for i in range(files.DEPTH)
      for j in (1, 2)
    }
    trunk = self.load(
      'dino.safetensors',
      plain | gains | {'mask_token': np.zeros((1, 32), 'f4')},
    )
    self.assertEqual(trunk.preset.name, 'dinov2')
    # By hand, in the file: out' = diag(g) W and diag(g) b.
    folded = dict(plain)
    for i in range(files.DEPTH):
      for j, word in ((1, 'attn.proj'), (2, 'mlp.fc2')):
        gain = gains[f'blocks.{i}.ls{j}.gamma']
        for kind in ('weight', 'bias'):
          key = f'blocks.{i}.{word}.{kind}'
          shape = (-1, 1) if kind == 'weight' else (-1,)
          folded[key] = plain[key] * gain.reshape(shape)
    _assert_same_bits(
      trunk.variables, self.load('folded.safetensors', folded).variables
    )
    # Hugging Face's names for the same.
    renamed = {
      key.replace('layernorm_before', 'norm1')
      .replace('layernorm_after', 'norm2')
      .replace('intermediate.dense', 'mlp.fc1')
      .replace('attention.output', 'attention_output')
      .replace('.output.dense', '.mlp.fc2')
      .replace('attention_output', 'attention.output'): array
      for key, array in files.hf_base().items()
      if 'pooler' not in key
    }
    for key, array in gains.items():
      _, i, word, _ = key.split('.')
      renamed[f'encoder.layer.{i}.layer_scale{word[2]}.lambda1'] = array
    other = self.load('hf_dino.safetensors', renamed)
    self.assertEqual(other.format, 'Hugging Face DINOv2')
    _assert_same_bits(trunk.variables, other.variables)

  def test_classifier_of_a_clip_is_no_projection(self):
    tensors = files.timm_clip()
    tensors['head.bias'] = tensors['head.bias'] + 0.5
    trunk = self.load('fine_tuned.safetensors', tensors)
    self.assertNotIn('projection', trunk.variables['params'])

  def test_half_precision(self):
    with np.load(files.GOLDEN / 'bf16_fp16_expected.npz') as expected:
      path = files.GOLDEN / 'bf16_fp16.safetensors'
      contents = _safetensors.read_header(path)
      self.assertEqual(set(contents.entries), set(expected))
      for key, entry in contents.entries.items():
        array = _safetensors.read(path, key, entry)
        np.testing.assert_array_equal(array.astype(np.float32), expected[key])

  @parameterized.parameters('.safetensors', '.npz')
  def test_bfloat16(self, suffix):
    tensors = files.google() if suffix == '.npz' else files.timm_vit()
    half = {key: files.bfloat16(array) for key, array in tensors.items()}
    full = {key: array.astype(np.float32) for key, array in half.items()}
    _assert_same_bits(
      self.load(f'half{suffix}', half).variables,
      self.load(f'full{suffix}', full).variables,
    )

  def test_float64_and_order_of_memory(self):
    arrays = {
      key: np.asfortranarray(array.astype('>f8'))
      for key, array in files.google().items()
    }
    _assert_same_bits(
      self.load('big.npz', arrays).variables,
      self.load('google.npz').variables,
    )

  def test_folder_of_shards(self):
    tensors = files.hf_classifier()
    names = [f'model-0000{i}-of-00002.safetensors' for i in (1, 2)]
    weight_map = {key: names[i % 2] for i, key in enumerate(tensors)}
    folder = self.folder / 'shards'
    folder.mkdir()
    for name in names:
      files.write(
        folder / name,
        {k: v for k, v in tensors.items() if weight_map[k] == name},
      )
    index = folder / 'model.safetensors.index.json'
    index.write_text(json.dumps({'metadata': {}, 'weight_map': weight_map}))
    plain = self.load('timm.safetensors')
    digests = []
    for path in (folder, index):
      trunk = pretrained.load(path, num_heads=files.HEADS)
      _assert_same_bits(trunk.variables, plain.variables)
      digests.append(trunk.sha256)
    self.assertLen(set(digests), 1)
    # Another shard is another trunk.
    with (folder / names[1]).open('r+b') as file:
      file.seek(-4, 2)
      file.write(np.float32(1).tobytes())
    self.assertNotEqual(
      pretrained.load(folder, num_heads=files.HEADS).sha256, digests[0]
    )
    single = self.folder / 'single'
    single.mkdir()
    files.write(single / 'model.safetensors', tensors)
    trunk = pretrained.load(single, num_heads=files.HEADS)
    _assert_same_bits(trunk.variables, plain.variables)

  def test_what_a_trunk_says(self):
    trunk = self.load('openai.safetensors')
    path = self.folder / 'openai.safetensors'
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    self.assertEqual(trunk.sha256, digest)
    params = {**trunk.variables['params']}
    self.assertEqual(params.pop('projection')['kernel'].shape, (32, 16))
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    self.assertEqual(trunk.num_parameters, count)
    self.assertEqual(
      trunk.summary(),
      'openai.safetensors: OpenAI CLIP, preset clip, 32x32 px, positions as in '
      f'the file, {count:,} parameters and 512 of its projection, SHA-256 '
      f'{digest[:12]}',
    )
    self.assertEqual(trunk.image_size, (32, 32))
    self.assertEqual(trunk.preset.mean[0], 0.48145466)

  @parameterized.parameters('timm.safetensors', 'openai.safetensors')
  def test_tree_is_that_of_the_network(self, name):
    trunk = self.load(name)
    shapes = jax.eval_shape(
      trunk.module.init, jax.random.key(0), np.zeros((1, 32, 32, 3), 'f4')
    )
    variables = jax.tree.map(
      lambda leaf: (leaf.shape, leaf.dtype), dict(shapes)
    )
    params = dict(trunk.variables['params'])
    params.pop('projection', None)
    self.assertEqual(
      jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), {'params': params}),
      variables,
    )

  @parameterized.parameters(*files.VITS, *files.BIG_VISION, *files.CLIPS)
  def test_written_and_read_again(self, name):
    trunk = self.load(name)
    path = self.folder / 'again.safetensors'
    pretrained.save(path, trunk.variables)
    again = pretrained.load(path)  # The heads are noted in the file.
    _assert_same_bits(trunk.variables, again.variables)
    self.assertEqual(trunk.module, again.module)
    first = path.read_bytes()
    pretrained.save(path, again.variables)
    self.assertEqual(path.read_bytes(), first)
    self.assertLen([*self.folder.iterdir()], 2)

  def test_what_is_written_is_what_timm_has(self):
    path = self.folder / 'again.safetensors'
    for name, tensors in (
      ('timm.safetensors', files.timm_vit()),
      ('timm_clip.safetensors', files.timm_clip()),
    ):
      pretrained.save(path, self.load(name).variables)
      written = files.read(path)
      if name == 'timm.safetensors':  # Its classifier is not kept.
        tensors = {k: v for k, v in tensors.items() if 'head' not in k}
      self.assertEqual(set(written), set(tensors))
      for key, array in written.items():
        np.testing.assert_array_equal(array, tensors[key])

  def test_grid_that_is_not_square_is_noted(self):
    trunk = self.load('timm.safetensors', image_size=(24, 40))
    path = self.folder / 'wide.safetensors'
    pretrained.save(path, trunk.variables, grid=(3, 5))
    again = pretrained.load(path)
    self.assertEqual(again.image_size, (24, 40))
    _assert_same_bits(trunk.variables, again.variables)
    # From 3x5, which no number of rows tells, to 4x4.
    square = pretrained.load(path, image_size=32)
    np.testing.assert_array_equal(
      square.variables['params']['position_embedding'],
      pretrained.resize_positions(
        trunk.variables['params']['position_embedding'],
        (4, 4),
        old_grid=(3, 5),
      ),
    )
    with self.assertRaisesRegex(ValueError, '`grid` must have 15 patches'):
      pretrained.save(path, trunk.variables, grid=(4, 4))
    pretrained.save(path, trunk.variables)
    with self.assertRaisesRegex(ValueError, 'a square of patches, got 16 rows'):
      pretrained.load(path)

  def test_file_that_is_written(self):
    variables = self.load('timm.safetensors').variables
    path = self.folder / 'own.safetensors'
    # As other files of this process, and the same each time.
    other = self.folder / 'other'
    other.touch()
    contents = set()
    for _ in range(8):
      pretrained.save(path, variables, grid=(4, 4))
      contents.add(path.read_bytes())
    self.assertLen(contents, 1)
    self.assertEqual(path.stat().st_mode, other.stat().st_mode)
    # What is there stays when the next cannot be written.
    before = {*self.folder.iterdir()}
    with (
      mock.patch.object(
        _safetensors.safetensors_numpy,
        'save_file',
        side_effect=safetensors.SafetensorError('no space left'),
      ),
      self.assertRaisesRegex(
        ValueError, 'own.safetensors cannot be written: no space left. See that'
      ),
    ):
      pretrained.save(path, variables)
    self.assertEqual({*self.folder.iterdir()}, before)
    self.assertEqual({path.read_bytes()}, contents)

  def test_the_module_is_ours(self):
    self.assertIsInstance(
      self.load('timm.safetensors').module, models.VisionTransformer
    )


if __name__ == '__main__':
  absltest.main()
