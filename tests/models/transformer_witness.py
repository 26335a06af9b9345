# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Vision Transformers and their tuning in NumPy, float64, from the equations.

What is tuned is read off the leaves that are there.
"""

import pathlib
import zlib

import numpy as np
from scipy import special

from imbsam_jax import models

FOLDER = pathlib.Path(__file__).parent / 'golden'

_ACTIVATIONS = {
  'gelu': lambda x: x * (1 + special.erf(x / np.sqrt(2))) / 2,
  'gelu_tanh': lambda x: (
    x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2
  ),
  'quick_gelu': lambda x: x / (1 + np.exp(-1.702 * x)),
}


def features(params, images, module, *, lora_scale=1.0):
  """LN of the class token, and the tokens that it is made of."""
  images = np.asarray(images, np.float64)
  tokens = _embed(params, images, module.patch_size)
  if 'pre_norm' in params:
    tokens = norm(tokens, params['pre_norm'], module.epsilon)
  own = tokens.shape[1]
  if 'prompts' in params:
    tokens = _with_prompts(tokens, params['prompts'])
  for layer in range(module.depth):
    block = params[f'block{layer}']
    if 'prompts' in block:
      tokens = _with_prompts(tokens[:, :own], block['prompts'])
    tokens = _block(tokens, block, module, lora_scale)
  return norm(tokens[:, 0], params['norm'], module.epsilon), tokens


def norm(x, params, epsilon):
  mean = x.mean(-1, keepdims=True)
  variance = ((x - mean) ** 2).mean(-1, keepdims=True)
  normed = (x - mean) / np.sqrt(variance + epsilon)
  return normed * params['scale'] + params['bias']


def _with_prompts(tokens, prompts):
  rows = [np.concatenate([row, prompts]) for row in tokens]
  return np.stack(rows)


def _embed(params, images, size):
  kernel = params['patch_embed']['kernel']
  rows = []
  for image in images:
    tokens = [params['class_token']]
    for top in range(0, image.shape[0], size):
      for left in range(0, image.shape[1], size):
        patch = image[top : top + size, left : left + size]
        tokens.append(np.einsum('ijc,ijcd->d', patch, kernel))
        if 'bias' in params['patch_embed']:
          tokens[-1] = tokens[-1] + params['patch_embed']['bias']
    rows.append(np.stack(tokens) + params['position_embedding'])
  return np.stack(rows)


def _ssf(x, params, name):
  if f'ssf_{name}' not in params:
    return x
  return x * params[f'ssf_{name}']['scale'] + params[f'ssf_{name}']['shift']


def _bottleneck(x, params):
  hidden = norm(x, params['norm'], 1e-5) @ params['down']['kernel']
  hidden = np.maximum(hidden + params['down']['bias'], 0)
  return hidden @ params['up']['kernel'] + params['up']['bias']


def _block(x, params, module, lora_scale):
  y = norm(x, params['norm1'], module.epsilon)
  x = x + _attention(
    _ssf(y, params, 'norm1'), params['attention'], module.num_heads, lora_scale
  )
  y = _ssf(norm(x, params['norm2'], module.epsilon), params, 'norm2')
  mlp = params['mlp']
  y = _ssf(y @ mlp['fc1']['kernel'] + mlp['fc1']['bias'], mlp, 'fc1')
  y = _ACTIVATIONS[module.activation](y)
  y = _ssf(y @ mlp['fc2']['kernel'] + mlp['fc2']['bias'], mlp, 'fc2')
  if 'adapter' in params:
    y = y + _bottleneck(y, params['adapter'])
  if 'adaptformer' in params:
    adapter = params['adaptformer']
    y = y + adapter['scale'] * _bottleneck(x, adapter)
  return x + y


def _attention(y, params, num_heads, lora_scale):
  results = 0
  for i in range(num_heads):
    queries, keys, values = (
      _of_head(y, params, name, i, lora_scale)
      for name in ('query', 'key', 'value')
    )
    scores = queries @ keys.transpose(0, 2, 1) / np.sqrt(keys.shape[-1])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights = weights / weights.sum(-1, keepdims=True)
    results = results + weights @ values @ params['out']['kernel'][i]
  return _ssf(results + params['out']['bias'], params, 'out')


def _of_head(y, params, name, i, lora_scale):
  result = y @ params[name]['kernel'][:, i] + params[name]['bias'][i]
  if f'lora_{name}' in params:
    lora = params[f'lora_{name}']
    result = result + lora_scale * (y @ lora['down']) @ lora['up'][:, i]
  if f'ssf_{name}' in params:
    ssf = params[f'ssf_{name}']
    result = result * ssf['scale'][i] + ssf['shift'][i]
  return result


# The small trunks whose values were computed by the sources themselves. Their
# weights and images come from a recipe, by the names of the sources.


def recipe_leaf(seed, key, shape):
  rng = np.random.RandomState(zlib.crc32(f'{seed}/{key}'.encode()))
  name = key.rsplit('.', 1)[-1]
  if name in ('bias', 'in_proj_bias'):
    values = 0.1 * rng.randn(*shape)
  elif name == 'weight' and len(shape) == 1:
    values = 1 + 0.1 * rng.randn(*shape)
  elif name in ('weight', 'in_proj_weight'):
    values = rng.randn(*shape) / np.sqrt(np.prod(shape[1:]))
  else:
    values = 0.3 * rng.randn(*shape)
  return np.asarray(values, np.float32).astype(np.float64)


def images(kind):
  seed = {'vit': 1, 'clip': 11}[kind]
  return np.random.RandomState(seed).randn(2, 32, 32, 3).astype(np.float32)


def trunk(kind, **attributes):
  sizes = dict(
    width=32, depth=3, num_heads=4, mlp_width=128, patch_size=8, image_size=32
  )
  if kind == 'clip':
    sizes |= dict(
      pre_norm=True, patch_bias=False, activation='quick_gelu', epsilon=1e-5
    )
  return models.VisionTransformer(**(sizes | attributes))


# Their names by ours, timm's and OpenAI's; the class token and the positions
# have a leading axis in timm.
_NAMES = {
  'vit': {
    'patches': 'patch_embed.proj',
    'class_token': 'cls_token',
    'positions': 'pos_embed',
    'norm': 'norm',
    'block': 'blocks.{}.',
    'norm1': 'norm1',
    'norm2': 'norm2',
    'qkv': ('attn.qkv.weight', 'attn.qkv.bias'),
    'out': 'attn.proj',
    'fc1': 'mlp.fc1',
    'fc2': 'mlp.fc2',
  },
  'clip': {
    'patches': 'visual.conv1',
    'class_token': 'visual.class_embedding',
    'positions': 'visual.positional_embedding',
    'pre_norm': 'visual.ln_pre',
    'norm': 'visual.ln_post',
    'block': 'visual.transformer.resblocks.{}.',
    'norm1': 'ln_1',
    'norm2': 'ln_2',
    'qkv': ('attn.in_proj_weight', 'attn.in_proj_bias'),
    'out': 'attn.out_proj',
    'fc1': 'mlp.c_fc',
    'fc2': 'mlp.c_proj',
  },
}


def recipe_params(kind):
  """Parameters of the small trunks, float64."""
  names, width = _NAMES[kind], 32

  def leaf(key, *shape):
    return recipe_leaf(kind, key, shape)

  def normal(key):
    return {
      'scale': leaf(f'{key}.weight', width),
      'bias': leaf(f'{key}.bias', width),
    }

  def dense(key, inputs, outputs):
    return {
      'kernel': leaf(f'{key}.weight', outputs, inputs).T,
      'bias': leaf(f'{key}.bias', outputs),
    }

  def block(key):
    weight = leaf(key + names['qkv'][0], 3 * width, width)
    bias = leaf(key + names['qkv'][1], 3 * width)
    attention = {
      name: {
        'kernel': weight[part].T.reshape(width, 4, 8),
        'bias': bias[part].reshape(4, 8),
      }
      for name, part in (
        ('query', slice(width)),
        ('key', slice(width, 2 * width)),
        ('value', slice(2 * width, None)),
      )
    }
    out = dense(key + names['out'], width, width)
    attention['out'] = out | {'kernel': out['kernel'].reshape(4, 8, width)}
    return {
      'norm1': normal(key + names['norm1']),
      'norm2': normal(key + names['norm2']),
      'attention': attention,
      'mlp': {
        'fc1': dense(key + names['fc1'], width, 128),
        'fc2': dense(key + names['fc2'], 128, width),
      },
    }

  kernel = leaf(f'{names["patches"]}.weight', width, 3, 8, 8)
  leading = (1,) if kind == 'vit' else ()
  params = {
    'patch_embed': {'kernel': kernel.transpose(2, 3, 1, 0)},
    'class_token': leaf(
      names['class_token'], *leading, *leading, width
    ).reshape(width),
    'position_embedding': leaf(names['positions'], *leading, 17, width).reshape(
      17, width
    ),
    'norm': normal(names['norm']),
  }
  if kind == 'vit':
    bias = leaf(f'{names["patches"]}.bias', width)
    params['patch_embed']['bias'] = bias
  else:
    params['pre_norm'] = normal(names['pre_norm'])
  for i in range(3):
    params[f'block{i}'] = block(names['block'].format(i))
  return params
