# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Files of small trunks, and runs on the images of `small_sources`."""

import pathlib
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import experiment
from imbsam_jax import models
from imbsam_jax import pretrained
from imbsam_jax import training
from tests.experiment import small_sources

NUM_TOKENS = 1 + 4  # Of 8x8 pixels in patches of 4.
DEPTH = 3


def write(
  path: pathlib.Path, seed: int = 0, projection: int = 0, **options
) -> pathlib.Path:
  """Writes a trunk of noise, with a projection of that width if any."""
  trunk = models.VisionTransformer(
    **{
      'width': 8,
      'depth': DEPTH,
      'num_heads': 2,
      'mlp_width': 16,
      'patch_size': 4,
      'image_size': 8,
      **options,
    }
  )
  shapes = jax.eval_shape(
    trunk.init, jax.random.key(0), jnp.zeros([1, *trunk.image_size, 3])
  )
  rng = np.random.RandomState(seed)

  def leaf(path, x):
    noise = rng.randn(*x.shape).astype(np.float32)
    scale = path[-1].key == 'scale'
    return (1 if scale else 0) + (0.1 if x.ndim < 2 else 0.4) * noise

  variables = jax.tree_util.tree_map_with_path(leaf, shapes)
  if projection:
    kernel = rng.randn(trunk.width, projection).astype(np.float32)
    variables['params']['projection'] = {'kernel': kernel}
  pretrained.save(path, variables)
  return path


def write_resnet(path: pathlib.Path) -> pathlib.Path:
  """Writes a bottleneck network of a block for each of two stages."""
  trunk = models.BottleneckResNet(
    1, norm='batch', stage_sizes=(1, 1, 1, 1), widths=(4, 4, 8, 8)
  )
  shapes = jax.eval_shape(
    lambda key, x: trunk.init(key, x, train=False, method='features'),
    jax.random.key(0),
    jnp.zeros([1, 32, 32, 3]),
  )
  rng = np.random.RandomState(0)
  variables = jax.tree_util.tree_map_with_path(
    lambda path, x: (
      (path[-1].key in ('scale', 'var'))
      + 0.2 * abs(rng.randn(*x.shape)).astype(np.float32)
    ),
    shapes,
  )
  pretrained.save(path, variables)
  return path


def config(words, trunk, **fields):
  """A configuration on a trunk; fields by dotted name."""
  return experiment.config(
    'own',
    words,
    {
      'epochs': 2,
      'save_every': 1.0,
      'data.batch_size': 16,
      'model.name': 'trunk',
      'model.norm': 'none',
      'model.trunk': str(trunk),
      'optimizer.momentum': 0.5,
      'optimizer.learning_rate': 0.05,
      **fields,
    },
  )


def build(words, trunk, num_devices=1, data=small_sources.SOURCES, **fields):
  """An experiment on some devices."""
  mesh = training.data_mesh(jax.devices()[:num_devices])
  with mock.patch.object(training, 'data_mesh', lambda: mesh):
    return experiment.build(config(words, trunk, **fields), data=data)
