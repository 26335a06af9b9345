# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Comparisons of trees of arrays."""

import jax
import numpy as np


def to_numpy(tree):
  """Leaves as float64 where they are floating point, bf16 included."""

  def leaf(x):
    x = np.asarray(x)
    return x.astype(np.float64) if x.dtype.kind in 'fV' else x

  return jax.tree.map(leaf, tree)


def subtract(left, right):
  """The difference of two trees, in float64."""
  return jax.tree.map(np.subtract, to_numpy(left), to_numpy(right))


def norm(tree):
  """L2 norm over all leaves together."""
  leaves = jax.tree.leaves(to_numpy(tree))
  return float(np.sqrt(sum(np.sum(np.square(x)) for x in leaves)))


def assert_close(actual, expected, tolerance):
  """No entry differs by more than `tolerance` times the largest entry."""
  actual, expected = to_numpy(actual), to_numpy(expected)
  leaves = jax.tree.leaves(expected)
  atol = tolerance * max(np.max(np.abs(x), initial=0.0) for x in leaves)

  def leaf(a, b):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=atol, strict=True)

  jax.tree.map(leaf, actual, expected)


def assert_differ(left, right, at_least):
  """Somewhere the trees differ by more than `at_least`, relative."""
  difference = norm(subtract(left, right)) / norm(right)
  if not difference > at_least:
    raise AssertionError(f'they differ by {difference} only')


def assert_equal(actual, expected):
  """Equal structures, shapes, dtypes and bits."""
  structures = jax.tree.structure(actual), jax.tree.structure(expected)
  if structures[0] != structures[1]:
    raise AssertionError(f'structures differ: {structures}')

  def leaf(a, b):
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != b.dtype or a.shape != b.shape:
      raise AssertionError(f'{a.dtype}{a.shape} is not {b.dtype}{b.shape}')
    if a.tobytes() != b.tobytes():
      raise AssertionError(f'bits differ:\n{a}\n{b}')

  jax.tree.map(leaf, actual, expected)


def assert_same_values(actual, expected):
  """Equal to the last bit, but 0.0 and -0.0 are the same number."""
  jax.tree.map(
    lambda a, b: np.testing.assert_array_equal(a, b, strict=True),
    to_numpy(actual),
    to_numpy(expected),
  )
