# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What cannot be read is refused by name, with what to do instead."""

import json
import pathlib
import pickle
import re
import tempfile
import zipfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from imbsam_jax import pretrained
from tests.pretrained import files

_W = files.WIDTH


def _ones(*shape):
  return np.ones(shape, np.float32)


class RefusalsTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self.folder = pathlib.Path(folder)

  def refuse(self, message, path, **arguments):
    """The load of a file, whose path is in the message, is refused."""
    arguments = {'num_heads': files.HEADS} | arguments
    for read in (pretrained.load, pretrained.describe):
      with self.assertRaisesRegex(ValueError, message) as caught:
        read(path, **arguments)
      self.assertIn(path.name, str(caught.exception))

  def refuse_tensors(self, message, tensors, name='trunk.safetensors', **args):
    self.refuse(message, files.write(self.folder / name, tensors), **args)

  @parameterized.parameters(
    ('dist_token', (1, 1, _W), 'distilled DeiT'),
    ('head_dist.weight', (5, _W), 'distilled DeiT'),
    ('reg_token', (1, 4, _W), 'registers'),
    ('register_tokens', (1, 4, _W), 'registers'),
    ('fc_norm.weight', (_W,), 'means of the patches'),
    ('blocks.0.attn.relative_position_bias_table', (9, 4), 'BEiT or Swin'),
    ('attn_pool.latent', (1, 1, _W), 'pooled by attention'),
    ('patch_embed.backbone.stem.conv.weight', (4, 3, 7, 7), 'hybrid'),
    ('blocks.0.mlp.w12.weight', (8, _W), 'SwiGLU'),
    ('blocks.0.attn.q_norm.weight', (8,), 'another attention'),
  )
  def test_networks_like_timms(self, key, shape, message):
    tensors = files.timm_vit() | {key: _ones(*shape)}
    self.refuse_tensors(f'{re.escape(key)}.*{message}.*Take', tensors)

  @parameterized.parameters(
    (files.hf_base, 'embeddings.distillation_token', 'distilled DeiT'),
    (files.hf_base, 'embeddings.register_tokens', 'registers'),
    (
      files.hf_base,
      'encoder.layer.0.attention.attention.relative_position_bias.x',
      'BEiT or Swin',
    ),
    (files.hf_base, 'encoder.layer.0.mlp.weights_in.weight', 'SwiGLU'),
    (files.hf_clip_model, 'vision_model.head.probe', 'pooled by attention'),
    (files.openai_clip, 'visual.attnpool.c_proj.weight', 'pooled by attention'),
    (files.big_vision, 'params/MAPHead_0/probe', 'pooled by attention'),
    (files.google, 'conv_root/kernel', 'hybrid'),
    (files.google, 'block1/unit1/conv1/kernel', 'hybrid'),
  )
  def test_networks_of_other_codes(self, make, key, message):
    name = 'a.npz' if '/' in key else 'a.safetensors'
    tensors = make() | {key: _ones(1, 1, _W)}
    self.refuse_tensors(f'{re.escape(key)}.*{message}.*Take', tensors, name)

  def test_networks_that_lack_something(self):
    tensors = {
      k: v for k, v in files.timm_vit().items() if not k.endswith('qkv.bias')
    }
    self.refuse_tensors('no blocks.0.attn.qkv.bias.*another attention', tensors)
    arrays = files.big_vision()
    del arrays['params/cls']
    self.refuse_tensors('lacks params/cls.*means of the patch', arrays, 'a.npz')

  def test_text_tower_is_not_looked_at(self):
    """Whatever it has: without `visual.` it is not of the trunk."""
    tensors = files.openai_clip()
    other = tensors | {
      'transformer.resblocks.7.attn.in_proj_weight': _ones(24, 8),
      'positional_embedding': _ones(77, 8),
      'text.attn_pool.latent': _ones(1),
      'conv_root/kernel': _ones(1),
    }
    paths = [
      files.write(self.folder / f'{i}.safetensors', tensors)
      for i, tensors in enumerate((tensors, other))
    ]
    first, second = (pretrained.load(p, num_heads=4).variables for p in paths)
    np.testing.assert_array_equal(
      first['params']['position_embedding'],
      second['params']['position_embedding'],
    )
    self.assertEqual(set(first['params']), set(second['params']))

  def test_missing_keys(self):
    tensors = files.timm_vit()
    del tensors['blocks.2.mlp.fc2.bias'], tensors['norm.weight']
    self.refuse_tensors(
      r"lacks 2 of 42 keys of a timm ViT: 'blocks.2.mlp.fc2.bias', 'norm.weight"
      r"'\. It has 3 blocks",
      tensors,
    )
    del tensors['blocks.1.norm1.bias']
    tensors['blocks.1.norm1.beta'] = _ones(_W)
    self.refuse_tensors("'blocks.1.norm1.beta' is most like the first", tensors)
    tensors = files.timm_vit() | {'blocks.9999.norm1.weight': _ones(_W)}
    self.refuse_tensors('lacks .* keys of a timm ViT', tensors)
    arrays = files.big_vision_stacked()
    del arrays['params/img/Transformer/encoderblock/LayerNorm_1/bias']
    self.refuse_tensors('lacks 3? ?.*LayerNorm_1/bias', arrays, 'a.npz')

  def test_unexpected_keys(self):
    tensors = files.timm_vit()
    extra = {f'adapter.{i}.weight': _ones(2) for i in range(7)}
    self.refuse_tensors(
      r"has 7 keys that a timm ViT does not have: 'adapter.0.weight', .* and 2 "
      'more',
      tensors | extra,
    )
    self.refuse_tensors(
      "'blocks.0.mlp.fc1.weights'.*; 'blocks.0.mlp.fc1.weight' is most like",
      tensors | {'blocks.0.mlp.fc1.weights': _ones(2)},
    )
    arrays = files.google() | {'Transformer/extra': _ones(2)}
    self.refuse_tensors("does not have: 'Transformer/extra'", arrays, 'a.npz')
    tensors = files.openai_clip() | {'visual.extra': _ones(2)}
    self.refuse_tensors("does not have: 'visual.extra'", tensors)

  def test_shapes(self):
    tensors = files.timm_vit()
    for key, shape, message in (
      ('blocks.1.mlp.fc1.weight', (127, _W), r'\[127, 32\].*\[128, 32\]'),
      ('blocks.0.attn.qkv.weight', (64, _W), r'\[64, 32\].*\[96, 32\]'),
      ('patch_embed.proj.weight', (_W, 1, 8, 8), r'\[32, 1, 8, 8\].*3, 8, 8'),
      ('patch_embed.proj.weight', (_W, 3, 8, 4), r'3, 8, 4\].*3, 4, 4'),
      ('cls_token', (1, 2, _W), r'\[1, 2, 32\].*\[1, 1, 32\]'),
      ('cls_token', (_W,), 'no width can be read'),
      ('pos_embed', (1, 16, _W), 'a square of patches, got 16 rows'),
      ('pos_embed', (1, 17, 0), r'\[1, 17, 0\]'),
    ):
      self.refuse_tensors(message, tensors | {key: _ones(*shape)})
    clip = files.openai_clip() | {'visual.proj': _ones(_W, 0)}
    self.refuse_tensors(r"'visual.proj' has the shape \[32, 0\]", clip)
    gains = {
      f'blocks.{i}.ls{j}.gamma': _ones(_W) for i in range(3) for j in (1, 2)
    }
    gains['blocks.1.ls2.gamma'] = _ones(_W + 1)
    self.refuse_tensors("'blocks.1.ls2.gamma' must be a float", tensors | gains)
    del gains['blocks.1.ls2.gamma']
    self.refuse_tensors("lacks 1 .*'blocks.1.ls2.gamma'", tensors | gains)

  def test_values(self):
    for value in (np.nan, np.inf):
      tensors = files.timm_vit()
      tensors['blocks.0.mlp.fc1.bias'][:3] = value
      path = files.write(self.folder / 'a.safetensors', tensors)
      with self.assertRaisesRegex(
        ValueError, "a.safetensors: 'blocks.0.mlp.fc1.bias' has 3 values of 128"
      ):
        pretrained.load(path, num_heads=4)
    tensors = files.timm_vit()
    tensors['norm.bias'] = np.full(_W, 1e300)  # Not finite as float32.
    path = files.write(self.folder / 'b.safetensors', tensors)
    with self.assertRaisesRegex(ValueError, "'norm.bias' has 32 values of 32"):
      pretrained.load(path, num_heads=4)

  @parameterized.parameters('i8', 'u1', '?')
  def test_dtypes(self, dtype):
    for key, make, name in (
      ('norm.bias', files.timm_vit, 'a.safetensors'),
      ('embedding/bias', files.google, 'a.npz'),
    ):
      tensors = make()
      tensors[key] = np.ones(_W, dtype)
      self.refuse_tensors(f"'{key}' must be of a float dtype", tensors, name)

  def test_unknown_format(self):
    tensors = {f'module.{i}.weight': _ones(2) for i in range(9)}
    self.refuse_tensors(
      r"of no known format.*'module.0.weight', .*'module.4.weight' and 4 more,"
      '.*embedding/kernel.*visual.class_embedding.*rename',
      tensors,
    )
    self.refuse_tensors(
      "names of several networks, with 'cls_token', 'visual.class_embedding'",
      files.timm_vit() | files.openai_clip(),
    )
    self.refuse_tensors(
      "'embeddings.cls_token', 'vit.embeddings.cls_token'",
      files.hf_base() | files.hf_classifier(),
    )

  def test_heads(self):
    timm, google = files.timm_vit(), files.google()
    self.refuse_tensors('number of heads.*Pass num_h', timm, num_heads=None)
    self.refuse_tensors('must divide the width 32, got 5', timm, num_heads=5)
    self.refuse_tensors(
      'has 4 heads by the shapes.* got num_heads=8',
      google,
      'a.npz',
      num_heads=8,
    )
    path = files.write(self.folder / 'b.npz', google)
    self.assertEqual(pretrained.load(path).preset.num_heads, 4)
    with self.assertRaisesRegex(TypeError, '`num_heads` must be an integer'):
      pretrained.load(self.folder / 'trunk.safetensors', num_heads=4.0)

  def test_presets(self):
    timm = files.timm_vit()
    self.refuse_tensors(
      "kind 'vit', and the preset 'clip' is for 'clip'.*'vit_b16_in21k'",
      timm,
      preset='clip',
    )
    self.refuse_tensors(
      "has width=32, and the preset 'vit_b16_in21k' is for width=768",
      timm,
      preset='vit_b16_in21k',
    )
    path = files.write(self.folder / 'a.safetensors', timm)
    with self.assertRaisesRegex(ValueError, "one of 'vit', .* got 'vit_l'"):
      pretrained.load(path, preset='vit_l', num_heads=4)
    fixed = pretrained.Preset(
      'mine', 'vit', (0, 0, 0), (1, 1, 1), 'gelu', 1e-6, 4, image_size=64
    )
    self.refuse_tensors(
      'rows are those of 32x32 images, and the preset .* for 64. Pass image_'
      'size=32 .* or image_size=64',
      timm,
      preset=fixed,
    )
    for size in (32, 64):
      trunk = pretrained.load(path, preset=fixed, image_size=size)
      self.assertEqual(trunk.image_size, (size, size))
    with self.assertRaisesRegex(ValueError, 'no activation or no epsilon'):
      pretrained.load(
        path, preset=fixed._replace(activation=None, image_size=32)
      )

  def test_image_size(self):
    path = files.write(self.folder / 'a.safetensors', files.timm_vit())
    for size, message in (
      (36, 'multiple of the patches of 8, got 36, of which 4 pixels'),
      ((32, 36), 'got 36'),
      ((32, 32, 3), r'a number or \(height, width\)'),
      (0, '`image_size`'),
    ):
      with self.assertRaisesRegex(ValueError, message):
        pretrained.load(path, num_heads=4, image_size=size)
    with self.assertRaisesRegex(TypeError, '`image_size` must be an integer'):
      pretrained.load(path, num_heads=4, image_size=32.0)
    with self.assertRaisesRegex(ValueError, "must be one of .* got 'nearest'"):
      pretrained.load(path, num_heads=4, positions='nearest')

  @parameterized.parameters('.pth', '.pt', '.bin', '.ckpt', '.pkl')
  def test_pickles_by_their_name(self, suffix):
    path = files.write(self.folder / 'a.safetensors', files.timm_vit())
    path = path.rename(path.with_suffix(suffix))
    self.refuse('is a pickle by its name.*weights_only=True.*torch.jit', path)

  @parameterized.parameters('.msgpack', '.h5', '.onnx')
  def test_other_files_by_their_name(self, suffix):
    path = self.folder / f'a{suffix}'
    path.write_bytes(b'')
    self.refuse('is not a .npz or .safetensors file. Save its arrays', path)

  @parameterized.parameters('a.safetensors', 'a.npz', 'a')
  def test_pickles_by_their_content(self, name):
    path = self.folder / name
    for protocol in (2, 4, 5):
      path.write_bytes(pickle.dumps({'a': 1}, protocol))
      self.refuse('is a pickle by its content.*safetensors.torch', path)
    # What torch.save writes.
    with zipfile.ZipFile(path, 'w') as archive:
      archive.writestr('archive/data.pkl', b'\x80\x02}.')
    self.refuse("holds a pickle, 'archive/data.pkl'.*torch.load", path)

  def test_objects_in_npz(self):
    arrays = files.google() | {'head/kernel': np.array([{}], object)}
    self.refuse_tensors('holds Python objects', arrays, 'a.npz')

  def test_files_that_are_not_what_their_name_says(self):
    files.write(self.folder / 'a.npz', files.google())
    path = (self.folder / 'a.npz').rename(self.folder / 'a.safetensors')
    self.refuse('is a zip archive, not a .safetensors file', path)
    files.write(self.folder / 'b.safetensors', files.timm_vit())
    path = (self.folder / 'b.safetensors').rename(self.folder / 'b.npz')
    self.refuse('is not a .npz file, which begins with PK', path)
    path = self.folder / 'c.safetensors'
    path.write_text('<!DOCTYPE html> not found')
    self.refuse('is no .safetensors file, or cut off', path)
    path = self.folder / 'd.npz'
    path.write_bytes(b'PK\x03\x04 and no more')
    self.refuse('is a broken zip archive', path)
    self.refuse('No such file.*nothing is downloaded', self.folder / 'e.npz')

  def test_folders(self):
    folder = self.folder / 'model'
    folder.mkdir()
    (folder / 'weights.safetensors').write_bytes(b'')
    self.refuse(r"must have a file .*\['weights.safetensors'\]", folder)
    index = folder / 'model.safetensors.index.json'
    for content, message in (
      ('[]', 'no object of JSON'),
      ('{"weight_map": {}}', "no 'weight_map'"),
      ('{"weight_map": {"a": 1}}', 'same folder'),
      ('{"weight_map": {"a": "../b.safetensors"}}', 'same folder'),
      ('{"weight_map": {"a": "/etc/passwd"}}', 'same folder'),
      ('{"weight_map": {"a": "model.bin"}}', 'same folder'),
      ('{"weight_map": {"a": "b.safetensors"}}', 'cannot be read: No such'),
    ):
      index.write_text(content)
      with self.assertRaisesRegex(ValueError, message):
        pretrained.load(folder)
    files.write(folder / 'b.safetensors', files.timm_vit())
    index.write_text(json.dumps({'weight_map': {'x': 'b.safetensors'}}))
    self.refuse("'x' is in b.safetensors, and it is not", index)

  def test_shard_alone(self):
    half = dict(list(files.timm_vit().items())[:20])
    self.refuse_tensors('If it is one of several shards, pass the folder', half)

  def test_what_cannot_be_saved(self):
    path = files.write(self.folder / 'a.safetensors', files.timm_clip())
    variables = pretrained.load(path, num_heads=4).variables
    params = variables['params']
    target = self.folder / 'b.safetensors'
    for change, message in (
      (
        {'classifier': {'bias': _ones(2)}},
        'no names for .*params/classifier/b',
      ),
      ({'norm': {'bias': _ones(_W)}}, "lack 'params/norm/scale'"),
      (
        {'class_token': np.full(_W, np.nan, 'f4')},
        "'params/class_token' is no",
      ),
      (
        {'patch_embed': {'kernel': _ones(4, 4, 1, _W)}},
        'patch_embed is of images with 1 channels',
      ),
    ):
      with self.assertRaisesRegex(ValueError, message):
        pretrained.save(target, {'params': params | change})
    plain = {k: v for k, v in params.items() if k != 'pre_norm'}
    with self.assertRaisesRegex(ValueError, 'no names for .*projection'):
      pretrained.save(target, {'params': plain})
    with self.assertRaisesRegex(ValueError, 'must end in .safetensors'):
      pretrained.save(self.folder / 'b.npz', variables)
    with self.assertRaisesRegex(ValueError, "lack 'params/"):
      pretrained.save(target, {'params': {'kernel': _ones(2, 2)}})
    self.assertLen([*self.folder.iterdir()], 1)


if __name__ == '__main__':
  absltest.main()
