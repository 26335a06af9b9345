# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a user is told who calls an oracle or makes weights wrongly."""

import warnings

from absl.testing import absltest
from absl.testing import parameterized
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import imbsam_jax
from tests.transforms import links

LABELS = np.array([0, 1, 2, 0])
COUNTS = (90, 30, 5)


class OracleTest(parameterized.TestCase):
  def _oracle(self, weights=None, loss=links.loss_fn, **kwargs):
    if weights is None:
      weights = np.full((1, links.ROWS), 1.0, np.float32)
    return imbsam_jax.gradient_oracle(
      loss,
      links.make_params(),
      links.make_batch(),
      group_weights=weights,
      **kwargs,
    )

  def _split(self, batches, weights, **kwargs):
    return imbsam_jax.split_gradient_oracle(
      links.loss_fn,
      links.make_params(),
      batches,
      group_weights=weights,
      **kwargs,
    )

  def test_weights_of_one_group_without_its_axis(self):
    with self.assertRaisesRegex(
      ValueError,
      r'shape \[num_groups, rows\], got \(6,\).*weights\[None\].*'
      '`split_gradient_oracle`',
    ):
      self._oracle(np.ones(6, np.float32))

  def test_weights_of_another_length(self):
    with self.assertRaisesRegex(
      ValueError, r'one column for each row .*got \(2, 5\) .*of 6 rows'
    ):
      self._oracle(np.ones((2, 5), np.float32))

  def test_weights_of_integers(self):
    with self.assertRaisesRegex(
      TypeError, '`group_weights` must be floating point, got int.*float32'
    ):
      self._oracle(np.ones((2, 6), np.int32))

  @parameterized.parameters(1, 2)
  def test_loss_without_aux(self, groups):
    with self.assertRaisesRegex(
      TypeError, r'must return the pair .*Return \(loss, None\)'
    ):
      self._oracle(
        np.ones((groups, 6), np.float32),
        loss=lambda p, b, w: links.loss_fn(p, b, w)[0],
      )

  def test_loss_that_is_not_summed(self):
    with self.assertRaisesRegex(
      ValueError, r'scalar loss, .*got shape \(6,\).*\.sum\(\), aux'
    ):
      self._oracle(loss=lambda p, b, w: (w * p['a'].sum(), None))

  @parameterized.parameters(4, 0, -1, 12)
  def test_microbatches_that_do_not_divide_the_rows(self, number):
    message = f'must divide the number of rows, got {number} for 6 rows'
    with self.assertRaisesRegex(ValueError, message):
      self._oracle(num_microbatches=number)
    with self.assertRaisesRegex(ValueError, message):
      self._split(
        [links.make_batch()],
        [np.ones(6, np.float32)],
        num_microbatches=number,
      )

  @parameterized.parameters(0.0, True, None, np.True_)
  def test_group_that_is_not_an_int(self, group):
    _, _, grad_fn = self._oracle()
    with self.assertRaisesRegex(TypeError, '`group` must be an integer, got'):
      grad_fn(links.make_params(), group)

  @parameterized.parameters(-1, 1)
  def test_group_out_of_range(self, group):
    _, _, grad_fn = self._oracle()
    with self.assertRaisesRegex(
      ValueError, rf'`group` must be from 0 to 0, got {group}.*one row'
    ):
      grad_fn(links.make_params(), group)

  def test_split_of_other_numbers(self):
    with self.assertRaisesRegex(
      ValueError, 'must have one entry per group, got 1 and 2'
    ):
      self._split([links.make_batch()], [np.ones(6, np.float32)] * 2)

  @parameterized.parameters(
    ({'x': 1, 'y': 2}, "one dict with the keys 'x', 'y'"),
    (None, 'one NoneType'),
  )
  def test_split_of_all_rows_together(self, batches, shown):
    with self.assertRaisesRegex(
      TypeError,
      f'`batches` must have one entry per group, got {shown}. Take .*'
      r'batches=\[head_rows, tail_rows\], or .*`gradient_oracle`',
    ):
      self._split(batches, [np.ones(6, np.float32)] * 2)

  def test_split_weights_by_name(self):
    with self.assertRaisesRegex(
      TypeError, '`group_weights` must have .* the key'
    ):
      self._split([links.make_batch()], {'head': np.ones(6, np.float32)})

  def test_split_without_groups(self):
    with self.assertRaisesRegex(ValueError, 'at least one group, got none'):
      self._split([], [])

  def test_split_weights_with_a_group_axis(self):
    with self.assertRaisesRegex(
      ValueError, r'must have shape \[rows\], got \(1, 6\)'
    ):
      self._split([links.make_batch()], [np.ones((1, 6), np.float32)])

  def test_split_weights_of_another_length(self):
    with self.assertRaisesRegex(ValueError, r'got \(5,\) for a batch of 6'):
      self._split([links.make_batch()], [np.ones(5, np.float32)])


class _Whole(nnx.Module):
  """Statistics would be trained with the parameters."""

  def __init__(self):
    self.norm = nnx.BatchNorm(3, rngs=nnx.Rngs(0))


class ParamsTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ('int', {'a': {'b': jnp.arange(3)}}, r"dtype int32 at \['a'\]\['b'\]"),
    ('bool', [jnp.ones(2), jnp.ones(2, bool)], r'dtype bool at \[1\]'),
    ('key', {'k': jax.random.key(0)}, r"a key of `jax.random` at \['k'\]"),
    ('function', {'f': jnp.tanh}, r".*tanh.* at \['f'\]"),
    ('python_int', {'n': 3}, r"3 at \['n'\]"),
    ('nnx', _Whole(), 'the whole module _Whole'),
    ('nnx_inside', {'m': _Whole()}, r"the whole module _Whole at \['m'\]"),
  )
  def test_what_has_no_gradient(self, params, shown):
    weights, rows = np.ones((1, 6), np.float32), np.ones(6, np.float32)
    batch, loss_fn = links.make_batch(), links.loss_fn
    for oracle in (
      lambda: imbsam_jax.gradient_oracle(
        loss_fn, params, batch, group_weights=weights
      ),
      lambda: imbsam_jax.split_gradient_oracle(
        loss_fn, params, [batch], group_weights=[rows]
      ),
    ):
      with self.assertRaisesRegex(
        TypeError,
        f'`params` must be a tree of floating-point arrays, got .*{shown}.*'
        'nnx.split.*eqx.partition',
      ):
        oracle()

  def test_a_number_of_python_has_one(self):
    _, grads, _ = imbsam_jax.gradient_oracle(
      lambda p, b, w: (p * w.sum(), None),
      2.0,
      None,
      group_weights=np.ones((1, 6), np.float32),
    )
    self.assertEqual(grads, 6.0)


def _head_tail(labels=LABELS, counts=COUNTS, threshold=20, **kwargs):
  return imbsam_jax.head_tail_weights(
    labels, counts, threshold=threshold, **kwargs
  )


def _focal(labels=LABELS, counts=COUNTS, gamma=1.0, lam=0.5):
  return imbsam_jax.focal_weights(labels, counts, gamma=gamma, lam=lam)


class WeightsTest(parameterized.TestCase):
  @parameterized.parameters(_head_tail, _focal)
  def test_labels(self, weights):
    for labels, error, message in (
      ([0, 3, 1], ValueError, r'be in \[0, 3\), got 3 at row 1 \(1 such rows'),
      (
        [0, -1, 1],
        ValueError,
        r'be in \[0, 3\), got -1 at row 1 .*Drop padded',
      ),
      (
        [0.0, 1.0],
        TypeError,
        r'be integers, got dtype float.*\.astype\("int32"',
      ),
      (np.eye(3, dtype=int), ValueError, r'have .*\(3, 3\).*argmax\(axis='),
      (1, ValueError, r'have shape \[N\], .*got \(\)'),
    ):
      with self.assertRaisesRegex(error, f'`labels` must {message}'):
        weights(labels=labels)
    traced = jax.eval_shape(weights, jax.ShapeDtypeStruct((4,), jnp.int32))
    self.assertEqual(traced.shape, (2, 4))
    with self.assertRaisesRegex(TypeError, '`labels` must be integers'):
      jax.eval_shape(weights, jax.ShapeDtypeStruct((4,), jnp.float32))
    with self.assertRaisesRegex(ValueError, r'argmax\(axis=-1\)'):
      jax.eval_shape(weights, jax.ShapeDtypeStruct((4, 3), jnp.int32))

  @parameterized.parameters(_head_tail, _focal)
  def test_class_counts(self, weights):
    for counts, message in (
      ((90, 0, 5), r'positive, got 0 for class 1 \(1 such .*number the others'),
      ((90, -3, 0), 'finite and at least 0, got -3 for class 1'),
      ((90, float('nan'), 5), 'finite and at least 0, got nan for class 1'),
    ):
      with self.assertRaisesRegex(
        ValueError, f'`class_counts` must be {message}'
      ):
        weights(counts=counts)
    for counts in (90, [[90, 30, 5]], []):
      with self.assertRaisesRegex(
        ValueError, r'`class_counts` must have shape \[num_classes\], got'
      ):
        weights(counts=counts)

  @parameterized.parameters(-1.0, float('nan'))
  def test_factors(self, value):
    for name, weights in (
      ('tail_weight', _head_tail),
      ('gamma', _focal),
      ('lam', _focal),
    ):
      with self.assertRaisesRegex(
        ValueError, f'`{name}` must be finite and at least 0, got {value}'
      ):
        weights(**{name: value})

  @parameterized.named_parameters(
    ('no_tail', 5, 'makes no class tail.* 5 to 90.* is SGD', (1.0, 0.0)),
    ('all_tail', 91, 'makes every class tail.* 5 to 90.* SAM', (0.0, 1.0)),
  )
  @pytest.mark.faults
  def test_f11_degenerate_threshold_warns_and_works(
    self, threshold, message, shares
  ):
    message = f'`threshold`={threshold} {message}'
    with self.assertWarnsRegex(UserWarning, message) as caught:
      weights = _head_tail(threshold=threshold)
    # The warning points at the line that calls.
    self.assertEqual(caught.filename, __file__)
    np.testing.assert_array_equal(weights.sum(axis=1), shares)
    with self.assertWarnsRegex(UserWarning, message):
      jax.eval_shape(
        lambda labels: _head_tail(labels, threshold=threshold),
        jax.ShapeDtypeStruct((4,), jnp.int32),
      )

  def test_a_proper_threshold_does_not_warn(self):
    with warnings.catch_warnings():
      warnings.simplefilter('error')
      for threshold in (6, 20, 90):
        _head_tail(threshold=threshold)


if __name__ == '__main__':
  absltest.main()
