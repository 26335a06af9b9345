# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Positions on another grid, against formulas written out and other codes."""

import math

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from scipy import ndimage

from imbsam_jax import pretrained
from tests.pretrained import files

_GRIDS = (
  ((4, 4), (6, 6)), ((4, 4), (3, 5)), ((14, 14), (24, 24)),
  ((14, 14), (7, 7)), ((3, 5), (2, 9)), ((4, 4), (1, 1)),
)  # fmt: skip


def _cubic(x, a):
  x = abs(x)
  if x < 1:
    return (a + 2) * x**3 - (a + 3) * x**2 + 1
  if x < 2:
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
  return 0.0


def _line(values, new, rule):
  """One axis, entry by entry, as PyTorch documents ``interpolate``."""
  old = len(values)
  result = []
  for i in range(new):
    if rule == 'bilinear_align_corners':
      place = i * (old - 1) / (new - 1) if new > 1 else 0.0
    else:
      place = (i + 0.5) * old / new - 0.5
    total, weights = 0.0, 0.0
    if rule.endswith('antialias'):
      # Over the support alone, and divided by the sum of the weights.
      scale = max(old / new, 1.0)
      for j in range(old):
        x = (j - place) / scale
        bicubic = rule.startswith('bicubic')
        weight = _cubic(x, -0.5) if bicubic else max(0.0, 1 - abs(x))
        total, weights = total + weight * values[j], weights + weight
      result.append(total / weights)
      continue
    first = math.floor(place)
    for j in range(first - 1, first + 3):
      bicubic = rule == 'bicubic'
      x = place - j
      weight = _cubic(x, -0.75) if bicubic else max(0.0, 1 - abs(x))
      total = total + weight * values[min(max(j, 0), old - 1)]
    result.append(total)
  return np.stack(result)


def _witness(patches, grid, rule):
  rows = _line(patches, grid[0], rule)
  return _line(rows.swapaxes(0, 1), grid[1], rule).swapaxes(0, 1)


def _positions(grid, width=3):
  random = np.random.RandomState(math.prod(grid))
  return random.randn(1 + math.prod(grid), width).astype(np.float32)


class PositionsTest(parameterized.TestCase):
  @parameterized.product(rule=pretrained.POSITION_RULES, grids=_GRIDS)
  def test_formula(self, rule, grids):
    old, new = grids
    positions = _positions(old)
    resized = pretrained.resize_positions(
      positions, new, old_grid=old, rule=rule
    )
    self.assertEqual(resized.dtype, np.float32)
    np.testing.assert_array_equal(resized[0], positions[0])
    patches = positions[1:].astype(np.float64).reshape(*old, 3)
    # The weights of `jax.image.resize` are float32.
    np.testing.assert_allclose(
      resized[1:].reshape(*new, 3),
      _witness(patches, new, rule),
      rtol=0,
      atol=5e-6,
    )

  @parameterized.parameters(6, 3, 8, 5)
  def test_google_is_the_zoom_of_scipy(self, size):
    positions = _positions((4, 4))
    resized = pretrained.resize_positions(
      positions, (size, size), rule='bilinear_align_corners'
    )
    zoomed = ndimage.zoom(
      positions[1:].reshape(4, 4, 3).astype(np.float64),
      (size / 4, size / 4, 1),
      order=1,
    )
    np.testing.assert_allclose(
      resized[1:].reshape(size, size, 3), zoomed, rtol=0, atol=5e-7
    )

  @parameterized.parameters(
    ('pos_timm_bicubic_aa_48', (6, 6), 'bicubic_antialias'),
    ('pos_timm_bicubic_aa_24x40', (3, 5), 'bicubic_antialias'),
    ('pos_timm_npz_bilinear_48', (6, 6), 'bilinear'),
    ('pos_google_zoom_48', (6, 6), 'bilinear_align_corners'),
  )
  def test_the_sources_themselves(self, name, grid, rule):
    with np.load(files.GOLDEN / 'vit_tiny_expected.npz') as expected:
      wanted = expected[name][0]
    positions = files.timm_vit()['pos_embed'][0]
    np.testing.assert_allclose(
      pretrained.resize_positions(positions, grid, rule=rule),
      wanted,
      rtol=0,
      atol=1e-6,
    )

  def test_the_same_grid_is_the_same(self):
    positions = _positions((4, 4))
    for rule in pretrained.POSITION_RULES:
      same = pretrained.resize_positions(positions, (4, 4), rule=rule)
      np.testing.assert_array_equal(same, positions)
    wide = _positions((2, 8))
    turned = pretrained.resize_positions(wide, (8, 2), old_grid=(2, 8))
    self.assertGreater(np.abs(turned - wide).max(), 0.1)

  def test_rules_differ(self):
    positions = _positions((14, 14))
    smaller = [
      np.asarray(pretrained.resize_positions(positions, (7, 7), rule=rule))
      for rule in pretrained.POSITION_RULES
    ]
    for i, one in enumerate(smaller):
      for other in smaller[:i]:
        self.assertGreater(np.abs(one - other).max(), 1e-2)

  @parameterized.parameters(
    (dict(rule='nearest'), "must be one of .* got 'nearest'"),
    (dict(grid=(0, 4)), r'a row and a column at least, got \(0, 4\)'),
    (dict(old_grid=(3, 5)), r'must have 1 \+ 3 \* 5 rows, got 17'),
    (dict(rows=16), 'a square of patches, got 16 rows'),
    (dict(rows=1), 'a square of patches, got 1 rows'),
  )
  def test_refusals(self, change, message):
    arguments = dict(grid=(6, 6)) | change
    positions = np.ones((arguments.pop('rows', 17), 3), np.float32)
    with self.assertRaisesRegex(ValueError, message):
      pretrained.resize_positions(positions, **arguments)


if __name__ == '__main__':
  absltest.main()
