# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The weights of the golden values, in the names of each code.

The weights follow a recipe, and the other names are made from timm's and
OpenAI's by replacing words: nothing of the library is used.
"""

import json
import math
import pathlib
import re
import zlib

import jax.numpy as jnp
import numpy as np

GOLDEN = pathlib.Path(__file__).parent / 'golden'
WIDTH, DEPTH, HEADS, HIDDEN, PATCH, CLASSES, EMBEDDING = 32, 3, 4, 128, 8, 5, 16


def leaf(seed, key, shape):
  """A tensor of the recipe that the golden values were computed with."""
  random = np.random.RandomState(zlib.crc32(f'{seed}/{key}'.encode()))
  word = key.rsplit('.', 1)[-1]
  if word == 'num_batches_tracked':
    return np.int64(100)
  if word == 'running_var':
    array = 0.5 + random.rand(*shape)
  elif word == 'running_mean' or word in ('bias', 'in_proj_bias', 'shift'):
    array = 0.1 * random.randn(*shape)
  elif len(shape) == 1 and word in ('weight', 'scale'):
    array = 1 + 0.1 * random.randn(*shape)
  elif word in ('weight', 'in_proj_weight'):
    array = random.randn(*shape) / math.sqrt(math.prod(shape[1:]))
  else:
    array = 0.3 * random.randn(*shape)
  return np.asarray(array, np.float32)


def made(seed, shapes):
  return {key: leaf(seed, key, shape) for key, shape in shapes.items()}


def timm_shapes(
  width=WIDTH, depth=DEPTH, hidden=HIDDEN, patch=PATCH, rows=17, head=CLASSES
):
  shapes = {
    'cls_token': (1, 1, width),
    'pos_embed': (1, rows, width),
    'patch_embed.proj.weight': (width, 3, patch, patch),
    'patch_embed.proj.bias': (width,),
  }
  for i in range(depth):
    for name, sizes in {
      'norm1': (width,),
      'attn.qkv': (3 * width, width),
      'attn.proj': (width, width),
      'norm2': (width,),
      'mlp.fc1': (hidden, width),
      'mlp.fc2': (width, hidden),
    }.items():
      shapes[f'blocks.{i}.{name}.weight'] = sizes
      shapes[f'blocks.{i}.{name}.bias'] = sizes[:1]
  for name, sizes in {'norm': (width,), 'head': (head, width)}.items():
    shapes[f'{name}.weight'] = sizes
    shapes[f'{name}.bias'] = sizes[:1]
  return shapes


def openai_shapes(
  width=WIDTH,
  depth=DEPTH,
  hidden=HIDDEN,
  patch=PATCH,
  rows=17,
  embedding=EMBEDDING,
):
  """The image tower, and some of a text tower without a prefix."""
  shapes = {
    'visual.class_embedding': (width,),
    'visual.positional_embedding': (rows, width),
    'visual.conv1.weight': (width, 3, patch, patch),
    'visual.proj': (width, embedding),
    'positional_embedding': (6, 8),
    'text_projection': (8, embedding),
    'logit_scale': (),
    'token_embedding.weight': (11, 8),
    'ln_final.weight': (8,),
    'ln_final.bias': (8,),
  }
  for name in ('ln_pre', 'ln_post'):
    shapes[f'visual.{name}.weight'] = (width,)
    shapes[f'visual.{name}.bias'] = (width,)
  for prefix, number, dim, mlp in (
    ('visual.', depth, width, hidden),
    ('', 1, 8, 32),
  ):
    for i in range(number):
      block = f'{prefix}transformer.resblocks.{i}.'
      shapes[f'{block}attn.in_proj_weight'] = (3 * dim, dim)
      shapes[f'{block}attn.in_proj_bias'] = (3 * dim,)
      for name, sizes in {
        'ln_1': (dim,),
        'attn.out_proj': (dim, dim),
        'ln_2': (dim,),
        'mlp.c_fc': (mlp, dim),
        'mlp.c_proj': (dim, mlp),
      }.items():
        shapes[f'{block}{name}.weight'] = sizes
        shapes[f'{block}{name}.bias'] = sizes[:1]
  return shapes


def timm_vit():
  return made('vit', timm_shapes())


def openai_clip():
  return made('clip', openai_shapes())


def openai_clip_as_stored():
  """As OpenAI has it: matrices as float16, and a few integers."""
  tensors = {}
  for key, array in openai_clip().items():
    full = re.search(r'ln_|embedding', key)
    tensors[key] = array if full else array.astype(np.float16)
  for key in ('input_resolution', 'context_length', 'vocab_size'):
    tensors[key] = np.int64(32)
  return tensors


def _replaced(tensors, words, qkv=None):
  """Other names; query, key and value apart where `qkv` names them."""
  renamed = {}
  for key, array in tensors.items():
    fused = re.match(r'(.*)attn\.(?:qkv\.|in_proj_)(weight|bias)', key)
    if fused and qkv:
      for word, part in zip(qkv, np.split(array, 3), strict=True):
        renamed[f'{fused[1]}{word}.{fused[2]}'] = part
    else:
      renamed[key] = array
  for old, new in words:
    renamed = {re.sub(old, new, key): v for key, v in renamed.items()}
  return renamed


_HF = (
  (r'^head\.', 'classifier.'),
  (r'^cls_token', 'vit.embeddings.cls_token'),
  (r'^pos_embed$', 'vit.embeddings.position_embeddings'),
  (r'^patch_embed\.proj', 'vit.embeddings.patch_embeddings.projection'),
  (r'^norm\.', 'vit.layernorm.'),
  (r'^blocks\.', 'vit.encoder.layer.'),
  (r'\.norm1\.', '.layernorm_before.'),
  (r'\.norm2\.', '.layernorm_after.'),
  (r'\.attn\.proj\.', '.attention.output.dense.'),
  (r'\.mlp\.fc1\.', '.intermediate.dense.'),
  (r'\.mlp\.fc2\.', '.output.dense.'),
)


def hf_classifier():
  words = [f'attention.attention.{w}' for w in ('query', 'key', 'value')]
  return _replaced(timm_vit(), _HF, words)


def hf_base():
  tensors = {
    key.removeprefix('vit.'): array
    for key, array in hf_classifier().items()
    if not key.startswith('classifier')
  }
  return tensors | made(
    'vit',
    {'pooler.dense.weight': (WIDTH, WIDTH), 'pooler.dense.bias': (WIDTH,)},
  )


def hf_v5_names():
  return _replaced(
    hf_classifier(),
    (
      (r'encoder\.layer\.', 'layers.'),
      (r'attention\.attention\.query', 'attention.q_proj'),
      (r'attention\.attention\.key', 'attention.k_proj'),
      (r'attention\.attention\.value', 'attention.v_proj'),
      (r'attention\.output\.dense', 'attention.o_proj'),
      (r'intermediate\.dense', 'mlp.fc1'),
      (r'(layers\.\d+\.)output\.dense', r'\1mlp.fc2'),
    ),
  )


def google(prefix=''):
  """Names before Linen, as AugReg's files have."""
  arrays = {}
  attention = 'MultiHeadDotProductAttention_1'
  words = [f'{attention}.{word}' for word in ('query', 'key', 'value')]
  for key, array in _replaced(timm_vit(), (), words).items():
    kernel = key.endswith('weight') and array.ndim > 1
    if array.ndim == 4:
      array = np.einsum('oikl->klio', array)
    elif array.ndim == 2:
      array = np.einsum('oi->io', array)
    if re.search(r'\.(query|key|value)\.', key):
      array = array.reshape(*array.shape[:-1], HEADS, WIDTH // HEADS)
    elif 'attn.proj.weight' in key:
      array = array.reshape(HEADS, WIDTH // HEADS, WIDTH)
    for old, new in (
      (r'^cls_token', 'cls'),
      (r'^pos_embed$', 'Transformer.posembed_input.pos_embedding'),
      (r'^patch_embed\.proj', 'embedding'),
      (r'^norm\.', 'Transformer.encoder_norm.'),
      (r'^blocks\.(\d+)\.', r'Transformer.encoderblock_\1.'),
      (r'norm1', 'LayerNorm_0'),
      (r'norm2', 'LayerNorm_2'),
      (r'attn\.proj', 'MultiHeadDotProductAttention_1.out'),
      (r'mlp\.fc1', 'MlpBlock_3.Dense_0'),
      (r'mlp\.fc2', 'MlpBlock_3.Dense_1'),
      (r'weight$', 'kernel' if kernel else 'scale'),
      (r'\.', '/'),
    ):
      key = re.sub(old, new, key)
    arrays[prefix + key] = np.ascontiguousarray(array)
  return arrays


def google_linen(prefix='params/'):
  """Names of google-research/vision_transformer's Linen module."""
  return _replaced(
    google(prefix),
    (
      ('LayerNorm_2', 'LayerNorm_1'),
      ('MlpBlock_3', 'MlpBlock_0'),
      ('MultiHeadDotProductAttention_1', 'MultiHeadDotProductAttention_0'),
    ),
  )


def big_vision(prefix='params/'):
  """Positions without a row for the class token, which has its own in it."""
  arrays = google_linen(prefix)
  positions = arrays.pop(f'{prefix}Transformer/posembed_input/pos_embedding')
  arrays[f'{prefix}pos_embedding'] = positions[:, 1:]
  arrays[f'{prefix}cls'] = arrays[f'{prefix}cls'] + positions[:, :1]
  return arrays


def big_vision_stacked(prefix='params/img/'):
  """With all blocks along a first axis."""
  arrays, stacks = {}, {}
  for key, array in big_vision(prefix).items():
    new = re.sub(r'encoderblock_\d+', 'encoderblock', key)
    if new == key:
      arrays[key] = array
    else:
      stacks.setdefault(new, []).append(array)
  return arrays | {key: np.stack(parts) for key, parts in stacks.items()}


def hf_vision_projection():
  visual = {
    key.removeprefix('visual.'): array
    for key, array in openai_clip().items()
    if key.startswith('visual.')
  }
  projection = visual.pop('proj')
  tensors = _replaced(
    visual,
    (
      (r'^class_embedding', 'embeddings.class_embedding'),
      (r'^positional_embedding', 'embeddings.position_embedding.weight'),
      (r'^conv1', 'embeddings.patch_embedding'),
      (r'^ln_pre', 'pre_layrnorm'),
      (r'^ln_post', 'post_layernorm'),
      (r'^transformer\.resblocks', 'encoder.layers'),
      (r'ln_1', 'layer_norm1'),
      (r'ln_2', 'layer_norm2'),
      (r'attn\.out_proj', 'self_attn.out_proj'),
      (r'c_fc', 'fc1'),
      (r'c_proj', 'fc2'),
    ),
    ('self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj'),
  )
  tensors = {f'vision_model.{key}': array for key, array in tensors.items()}
  return tensors | {'visual_projection.weight': projection.T}


def hf_vision_base():
  tensors = hf_vision_projection()
  del tensors['visual_projection.weight']
  return {key.removeprefix('vision_model.'): v for key, v in tensors.items()}


def hf_clip_model():
  return hf_vision_projection() | {
    'text_model.embeddings.token_embedding.weight': np.ones((11, 8), 'f4'),
    'text_model.embeddings.position_ids': np.arange(6)[None],
    'text_model.encoder.layers.0.mlp.fc1.bias': np.ones(32, 'f4'),
    'vision_model.embeddings.position_ids': np.arange(17)[None],
    'text_projection.weight': np.ones((EMBEDDING, 8), 'f4'),
    'logit_scale': np.float32(1),
  }


def timm_clip():
  visual = {
    key.removeprefix('visual.'): array
    for key, array in openai_clip().items()
    if key.startswith('visual.')
  }
  projection = visual.pop('proj')
  tensors = _replaced(
    visual,
    (
      (r'^class_embedding', 'cls_token'),
      (r'^positional_embedding', 'pos_embed'),
      (r'^conv1', 'patch_embed.proj'),
      (r'^ln_pre', 'norm_pre'),
      (r'^ln_post', 'norm'),
      (r'^transformer\.resblocks', 'blocks'),
      (r'ln_1', 'norm1'),
      (r'ln_2', 'norm2'),
      (r'in_proj_', 'qkv.'),
      (r'out_proj', 'proj'),
      (r'c_fc', 'fc1'),
      (r'c_proj', 'fc2'),
    ),
  )
  tensors['cls_token'] = tensors['cls_token'][None, None]
  tensors['pos_embed'] = tensors['pos_embed'][None]
  return tensors | {
    'head.weight': projection.T, 'head.bias': np.zeros(EMBEDDING, 'f4')
  }  # fmt: skip


_NAMES = {
  'float64': 'F64', 'float32': 'F32', 'float16': 'F16', 'bfloat16': 'BF16',
  'int64': 'I64', 'int32': 'I32', 'uint8': 'U8', 'bool': 'BOOL',
}  # fmt: skip


def header_of(tensors):
  """The header of a ``.safetensors`` file as an object of JSON."""
  header, start = {}, 0
  for key, array in tensors.items():
    end = start + array.nbytes
    header[key] = {
      'dtype': _NAMES[str(array.dtype)],
      'shape': list(array.shape),
      'data_offsets': [start, end],
    }
    start = end
  return header


def write_header(path, header, size):
  """A file of a header and so many bytes, which take no place on disk."""
  text = header if isinstance(header, bytes) else json.dumps(header).encode()
  with path.open('wb') as file:
    file.write(len(text).to_bytes(8, 'little') + text)
    file.truncate(8 + len(text) + size)
  return path


def write(path, tensors, metadata=None):
  """A ``.npz`` or ``.safetensors`` file, by NumPy alone."""
  if path.suffix == '.npz':
    np.savez(path, **tensors)
    return path
  header = header_of(tensors)
  if metadata:
    header['__metadata__'] = metadata
  text = json.dumps(header).encode()
  data = b''.join(np.ascontiguousarray(v).tobytes() for v in tensors.values())
  path.write_bytes(len(text).to_bytes(8, 'little') + text + data)
  return path


def read(path):
  """The float32 tensors of a ``.safetensors`` file, by NumPy alone."""
  content = path.read_bytes()
  start = 8 + int.from_bytes(content[:8], 'little')
  header = json.loads(content[8:start])
  header.pop('__metadata__', None)
  return {
    key: np.frombuffer(
      content[start:][slice(*entry['data_offsets'])], '<f4'
    ).reshape(entry['shape'])
    for key, entry in header.items()
  }


def bfloat16(array):
  return np.asarray(jnp.asarray(array, jnp.bfloat16))


VITS = {
  'timm.safetensors': timm_vit,
  'hf_classifier.safetensors': hf_classifier,
  'hf_base.safetensors': hf_base,
  'hf_v5_names.safetensors': hf_v5_names,
  'google.npz': google,
  'google_opt_target.npz': lambda: google('opt/target/'),
  'google_linen.npz': google_linen,
}
BIG_VISION = {
  'big_vision.npz': big_vision,
  'big_vision_stacked.npz': big_vision_stacked,
}
CLIPS = {
  'openai.safetensors': openai_clip,
  'hf_vision_projection.safetensors': hf_vision_projection,
  'hf_vision_base.safetensors': hf_vision_base,
  'hf_clip_model.safetensors': hf_clip_model,
  'timm_clip.safetensors': timm_clip,
}
