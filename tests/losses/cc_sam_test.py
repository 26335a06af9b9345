# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How far CC-SAM moves logits, against heads that are moved class by class."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import losses
from tests.losses import witness

NUM_ROWS, DIM, NUM_CLASSES = 12, 5, 4
# Class 2 has one example, class 3 is not in the batch.
COUNTS = np.array([50, 9, 1, 4])
LABELS = np.array([0, 1, 0, 2, 0, 0, 1, 0, 1, 0, 1, 0], np.int32)
NOISE_RATIO = 0.7


def _problem():
  rng = np.random.default_rng(0)
  shapes = (
    (NUM_ROWS, DIM),
    (NUM_ROWS, NUM_CLASSES),
    (DIM, NUM_CLASSES),
    (NUM_CLASSES,),
  )
  return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def _shift(features, slopes, kernel, bias, counts, labels, **options):
  return losses.cc_sam_shift(
    features,
    slopes,
    labels,
    kernel,
    bias,
    counts,
    **{'noise_ratio': NOISE_RATIO, **options},
  )


@jax.jit
def _program(features, slopes, kernel, bias, counts, labels, factors):
  """Values, and gradients of sum(factors * values) by the first four."""
  values, pullback = jax.vjp(
    lambda *arrays: _shift(*arrays, counts, labels),
    features,
    slopes,
    kernel,
    bias,
  )
  return values, pullback(factors)


def _values(features, slopes, kernel, bias, counts=COUNTS, labels=LABELS):
  factors = np.ones((NUM_ROWS, NUM_CLASSES), np.float32)
  counts = jnp.asarray(counts, jnp.float32)
  arrays = map(jnp.float32, (features, slopes, kernel, bias))
  return np.asarray(_program(*arrays, counts, labels, factors)[0])


class CcSamShiftTest(parameterized.TestCase):
  def test_values_and_gradients(self):
    arrays = _problem()
    rng = np.random.default_rng(1)
    factors = rng.standard_normal((NUM_ROWS, NUM_CLASSES)).astype(np.float32)
    values, gradients = _program(
      *arrays, jnp.float32(COUNTS), LABELS, jnp.float32(factors)
    )
    self.assertEqual(values.dtype, jnp.float32)
    features, slopes, kernel, bias = (x.astype(np.float64) for x in arrays)
    heads = witness.cc_sam_heads(
      features, slopes, LABELS, kernel, bias, COUNTS, NOISE_RATIO
    )
    self.assertEqual(list(heads), [0, 1, 2])
    by_features = np.zeros_like(features)
    for i, k in enumerate(LABELS):
      moved, moved_bias = heads[k]
      expected = features[i] @ (moved - kernel) + moved_bias - bias
      np.testing.assert_allclose(values[i], expected, rtol=2e-5, atol=1e-6)
      by_features[i] = (moved - kernel) @ factors[i]
    np.testing.assert_allclose(gradients[0], by_features, rtol=2e-5, atol=1e-6)
    for constant in gradients[1:]:
      np.testing.assert_array_equal(constant, np.zeros_like(constant))

  def test_lengths(self):
    features, slopes, kernel, bias = _problem()
    values = _values(features, slopes, kernel, bias)
    counts = np.array([99, 17, 3, 7])  # Twice n - 1; of one example 1, then 2.
    for changed, factor in (
      (_values(features, 4 * slopes, kernel, bias), 0.5),
      (_values(features, slopes, 4 * kernel, 4 * bias), 2.0),
      (_values(features, slopes, kernel, bias, counts), 2**-0.25),
    ):
      np.testing.assert_allclose(changed, factor * values, rtol=1e-4)

  def test_only_rows_of_the_class_count(self):
    features, slopes, kernel, bias = _problem()
    values = _values(features, slopes, kernel, bias)
    other = slopes.copy()
    other[LABELS == 1] += 1
    again = _values(features, other, kernel, bias)
    np.testing.assert_array_equal(again[LABELS != 1], values[LABELS != 1])
    self.assertGreater(np.abs(again - values)[LABELS == 1].min(), 1e-3)

  @parameterized.parameters(0.0, 1e-30, 1e-19, 1e-10, 1e10, 1e25)
  def test_finite_for_any_gradient(self, size):
    features, slopes, kernel, bias = _problem()
    slopes = slopes.copy()
    slopes[LABELS == 0] *= np.float32(size)
    values = _values(features, slopes, kernel, bias)
    self.assertTrue(np.all(np.isfinite(values)))
    if not size:
      np.testing.assert_array_equal(values[LABELS == 0], 0)
    # A head of zeros has no length to move by.
    values = _values(features, slopes, 0 * kernel, 0 * bias)
    np.testing.assert_array_equal(values, 0)

  def test_devices(self):
    arrays = _problem()
    features, slopes, kernel, bias = arrays
    whole = _values(*arrays)

    def cut(x):
      return x.reshape(4, 3, *x.shape[1:])

    parts = jax.jit(
      jax.vmap(
        lambda z, d, y: _shift(z, d, kernel, bias, COUNTS, y, axis_name='rows'),
        axis_name='rows',
      )
    )(cut(features), cut(slopes), cut(LABELS))
    np.testing.assert_allclose(cut(whole), parts, rtol=1e-5, atol=1e-6)

  def test_no_kernel_for_each_class(self):
    """In FLOPs and bytes, for many classes."""
    rows, dim, classes = 16, 64, 500

    def total(features, slopes, kernel, bias, labels, factors):
      counts = np.arange(1, 1 + classes)
      shift = _shift(features, slopes, kernel, bias, counts, labels)
      return jnp.sum(factors * shift)

    shapes = ((rows, dim), (rows, classes), (dim, classes), (classes,))
    arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    labels = jax.ShapeDtypeStruct((rows,), jnp.int32)
    compiled = (
      jax.jit(jax.value_and_grad(total))
      .lower(*arrays, labels, arrays[1])
      .compile()
    )
    multiplications = rows**2 * (2 * dim + 3 * classes)
    # Sums over the kernel and over arrays of rows and classes come to it.
    rest = 5 * dim * classes + 20 * rows * classes
    flops = compiled.cost_analysis()['flops']
    self.assertLess(flops, 2 * multiplications + rest)
    self.assertGreater(flops, 2 * multiplications)
    memory = compiled.memory_analysis().temp_size_in_bytes
    self.assertLess(memory, 4 * 10 * rows * classes)

  @parameterized.parameters(
    ({'noise_ratio': -1.0}, 'noise_ratio'),
    ({'features': np.ones((3, 5), np.float32)}, 'as many rows as'),
    ({'kernel': np.ones((4, 4), np.float32)}, 'as many rows as'),
    ({'kernel': np.ones((5, 3), np.float32)}, 'a column for each of the 4'),
    ({'bias': np.ones(3, np.float32)}, '`bias` must have shape'),
    ({'labels': np.full(NUM_ROWS, 4)}, r'must be in \[0, 4\)'),
    ({'counts': [1, 2, 3]}, 'class_counts'),
  )
  def test_refuses(self, changes, message):
    names = ('features', 'slopes', 'kernel', 'bias')
    arguments = dict(zip(names, _problem(), strict=True))
    with self.assertRaisesRegex(ValueError, message):
      _shift(**{**arguments, 'counts': COUNTS, 'labels': LABELS, **changes})


if __name__ == '__main__':
  absltest.main()
