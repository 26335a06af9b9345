# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks of arguments, which all packages share."""

import fractions
import math

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from imbsam_jax import _checks
from imbsam_jax import augment
from imbsam_jax import calibration
from imbsam_jax import data
from imbsam_jax import focal_weights
from imbsam_jax import head_tail_weights
from imbsam_jax import losses
from imbsam_jax import metrics
from imbsam_jax import sampling
from imbsam_jax import schedules
from imbsam_jax import training
from imbsam_jax import weights

_BOOLS = (True, np.True_, np.array(True), jnp.array(True))
_ONES = (
  1,
  1.0,
  fractions.Fraction(1),
  np.int8(1),
  np.uint64(1),
  np.float32(1),
  np.array(1.0),
  ml_dtypes.bfloat16(1),
)


@pytest.mark.parametrize('value', _ONES, ids=lambda value: type(value).__name__)
def test_numbers(value):
  _checks.number('x', value)
  _checks.number('x', value, low=1, high=1)
  _checks.number('x', value, above=0, below=2)
  _checks.radius('x', value)
  assert _checks.host_number('x', value) == 1.0
  assert _checks.share('x', value) == 1.0
  for bounds, words in (
    (dict(low=2), 'finite and at least 2'),
    (dict(above=1), 'finite and above 1'),
    (dict(high=0), 'finite and at most 0'),
    (dict(below=1), 'finite and below 1'),
    (dict(low=2, high=3), 'finite and from 2 to 3'),
    (dict(above=0, below=1), 'finite, above 0 and below 1'),
    (dict(low=2, finite=False), 'at least 2'),
  ):
    with pytest.raises(ValueError) as error:
      _checks.number('x', value, **bounds)
    assert str(error.value) == f'`x` must be {words}, got {value!r}.'


@pytest.mark.parametrize('value', [*_BOOLS, '1', None, 1j, [1], np.array('a')])
def test_what_is_no_number(value):
  for check in (
    lambda **options: _checks.number('x', value, **options),
    lambda **options: _checks.integer('x', value, **options),
  ):
    with pytest.raises(TypeError, match='`x` must be an? (number|integer), g'):
      check()
    with pytest.raises(data.DataError, match=r'got .*\. Pass 1\.$'):
      check(error=data.DataError, hint='Pass 1.')
  for check in (_checks.host_number, _checks.share, _checks.radius):
    with pytest.raises(TypeError, match='`x` must be a number'):
      check('x', value)


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf, 10**400])
def test_not_finite(value):
  with pytest.raises(ValueError, match='`x` must be finite, got'):
    _checks.number('x', value)
  with pytest.raises(ValueError, match='`x` must be finite and at least 0, g'):
    _checks.radius('x', value)


def test_infinity_where_it_means_something():
  _checks.number('x', math.inf, low=1, finite=False)
  with pytest.raises(ValueError, match='`x` must be a number, got nan'):
    _checks.number('x', math.nan, finite=False)


def test_arrays_that_are_known_later_pass():
  _checks.number('x', jnp.array(-1.0), low=0)
  _checks.number('x', np.array([-1.0, 2.0]), low=0)
  _checks.radius('x', lambda count: -1.0)

  @jax.jit
  def traced(x):
    _checks.number('x', x, low=10)
    _checks.radius('x', x)
    with pytest.raises(TypeError, match='`x` must be concrete here'):
      _checks.host_number('x', x)
    return x

  traced(1.0)
  assert _checks.host_number('x', jnp.array(2.0)) == 2.0
  with pytest.raises(TypeError, match=r'one number, got shape \(2,\)'):
    _checks.host_number('x', np.ones(2))


def test_integers():
  for value in (3, np.int64(3), np.uint8(3)):
    found = _checks.integer('n', value)
    assert type(found) is int and found == 3
  for value in (3.0, np.float64(3), jnp.array(3)):
    with pytest.raises(TypeError, match='`n` must be an integer, got'):
      _checks.integer('n', value)
  with pytest.raises(ValueError, match=r'^`n` must be at least 1, got 0\.$'):
    _checks.integer('n', np.int32(0))
  with pytest.raises(ValueError, match=r'^`n` must be from 0 to 2, got 3\.$'):
    _checks.integer('n', 3, low=0, high=2)
  assert _checks.seed('seed', 2**32 - 1) == 2**32 - 1
  with pytest.raises(ValueError, match='`seed` must be from 0 to 4294967295'):
    _checks.seed('seed', 2**32)


def test_shares():
  assert _checks.share('x', 0) == 0
  for value, options in ((0, dict(zero=False)), (1, dict(one=False))):
    with pytest.raises(ValueError, match='`x` must be finite'):
      _checks.share('x', value, **options)


@pytest.mark.parametrize('dtype', [np.uint8, np.int64, np.uint64])
def test_labels(dtype):
  labels = np.array([0, 2, 1], dtype)
  assert _checks.class_labels(labels, 3).dtype == dtype
  assert _checks.device_labels(labels, 3, num_rows=3).dtype == jnp.int32
  assert _checks.host_labels(labels, None).dtype == np.int32
  for check in (
    lambda **options: _checks.class_labels(labels, 2, **options),
    lambda **options: _checks.host_labels(labels, 2, **options),
  ):
    for error in (ValueError, data.DataError):
      with pytest.raises(
        error, match=r'`y` must be in \[0, 2\), got 2 at row 1 \(1 such rows\)'
      ):
        check(name='y', error=error)


def test_labels_that_say_how_many_classes_there_are():
  labels = np.array([0, 1, -1, 2, -2])
  with pytest.raises(
    ValueError, match=r'`y` must not be negative, got -1 at row 2 \(2 such rows'
  ):
    _checks.host_labels(labels, None, name='y')
  with pytest.raises(ValueError, match=r'must be in \[0, 5\), got 5 at row 4'):
    _checks.host_labels(np.array([0, 1, 1, 2, 5]), None)


@pytest.mark.parametrize(
  'labels, error, message',
  [
    ([0.0, 1.0], TypeError, 'must be integers, got dtype float'),
    ([True, False], TypeError, 'must be integers, got dtype bool'),
    (['a', 'b'], TypeError, 'must be integers, got dtype <U1'),
    ([[0, 1]], ValueError, r'must have shape \[N\], .*got \(1, 2\).*argmax'),
    (0, ValueError, r'must have shape \[N\], .*got \(\)'),
    (losses.MixedLabels([0], [1], 0.5), TypeError, 'got MixedLabels'),
    ([], ValueError, r'at least one example, got shape \(0,\)'),
  ],
)
def test_labels_of_other_kinds(labels, error, message):
  with pytest.raises(error, match=f'`labels` {message}|`labels` .*{message}'):
    _checks.host_labels(labels, 3)
  with pytest.raises(data.DataError, match=message):
    _checks.host_labels(labels, 3, error=data.DataError)


def test_traced_labels():
  found = jax.jit(lambda y: _checks.class_labels(y, 2))(np.array([0, 5]))
  assert found.tolist() == [0, 5]  # Their range is not known.
  with pytest.raises(ValueError, match=r'shape \[3\], .*got \(2,\)'):
    jax.jit(lambda y: _checks.label_array(y, num_rows=3))(np.array([0, 5]))
  with pytest.raises(TypeError, match='must be concrete'):
    jax.jit(lambda y: _checks.host_labels(y, 2))(np.array([0, 1]))


@pytest.mark.parametrize(
  'counts, error, message',
  [
    ([5, True], None, ''),  # NumPy makes it integers.
    ([True, False], TypeError, 'must be numbers, got dtype bool'),
    (['5'], TypeError, 'must be numbers, got dtype <U1'),
    ([1j], TypeError, 'must be numbers, got dtype complex128'),
    ([], ValueError, r'must have shape \[num_classes\], got \(0,\)'),
    ([[1, 2]], ValueError, r'must have shape \[num_classes\], got \(1, 2\)'),
    ([5, -1], ValueError, 'must be finite and at least 0, got -1 for class 1'),
    ([math.inf, 1], ValueError, 'finite and at least 0, got inf for class 0'),
    ([5, math.nan], ValueError, 'finite and at least 0, got nan for class 1'),
    ([5, 0, 0], ValueError, r'positive, got 0 for class 1 \(2 such classes\)'),
    ([0, 0], ValueError, 'must not all be zero'),
  ],
)
def test_counts(counts, error, message):
  if error is None:
    _checks.host_counts(counts)
    return
  with pytest.raises(error, match=f'`class_counts` .*{message}|{message}'):
    _checks.host_counts(counts)
  with pytest.raises(data.DataError, match=message):
    _checks.count_array(counts, error=data.DataError)


def test_counts_of_other_lengths_and_kinds():
  with pytest.raises(ValueError, match='got 2 for 3 classes'):
    _checks.loss_counts([5, 1], 3)
  with pytest.raises(ValueError, match='got 2 for 3 classes'):
    jax.jit(lambda n: _checks.loss_counts(n, 3))(np.array([5, 1]))
  with pytest.raises(TypeError, match='must be integers, got dtype float64'):
    _checks.count_array([5.0], whole=True)
  with pytest.raises(TypeError, match='must be concrete'):
    jax.jit(_checks.host_counts)(np.array([5, 1]))
  assert _checks.loss_counts([5, 0]).tolist() == [5, 0]
  assert _checks.count_array([0], zeros=True, all_zero=True).tolist() == [0]


# Without x64 an int64 array becomes int32 on its way to the device.
_LARGE = ([2**31, 5], [3_000_000_000, 5], [2**32 + 7, 5], [2**63, 5])


@pytest.mark.parametrize('counts', _LARGE, ids=str)
@pytest.mark.parametrize(
  'function',
  [
    lambda n, z, y: losses.arb_loss(z, y, n),
    lambda n, z, y: losses.balanced_softmax(z, y, n),
    lambda n, z, y: losses.cdt_loss(z, y, n),
    lambda n, z, y: losses.cri_loss(z, y, n),
    lambda n, z, y: losses.gcl_loss(z, y, n, key=jax.random.key(0)),
    lambda n, z, y: losses.ldam_loss(z, y, n),
    lambda n, z, y: losses.ldam_margins(n),
    lambda n, z, y: losses.logit_adjusted_cross_entropy(z, y, n),
    lambda n, z, y: losses.mm_ldam_loss(z, y, n),
    lambda n, z, y: losses.vs_loss(z, y, n),
    lambda n, z, y: losses.distribution_balanced_loss(
      z, jnp.eye(2), n, num_examples=n[0]
    ),
    lambda n, z, y: calibration.post_hoc_logit_adjustment(z, n),
    lambda n, z, y: head_tail_weights(y, n, threshold=20),
    lambda n, z, y: head_tail_weights(y, n, threshold=n[0]),
    lambda n, z, y: focal_weights(y, n, gamma=1.0, lam=0.5),
    lambda n, z, y: training.update_rules.group_weights_by_class(
      'focal_sam', n, gamma=1.0, lam=0.5
    ),
    lambda n, z, y: sampling.class_probabilities(n),
    lambda n, z, y: sampling.effective_number_probabilities(n),
    lambda n, z, y: sampling.complementary_probabilities(n),
    lambda n, z, y: schedules.deferred_reweighting(200, n),
    lambda n, z, y: schedules.progressive_weights(130, n),
    lambda n, z, y: augment.pure_noise(jax.random.key(0), (z, y), n)[0],
    lambda n, z, y: weights.power_weights(n),
    lambda n, z, y: weights.effective_number(n),
    lambda n, z, y: weights.rescom_weights(n),
  ],
)
def test_counts_beyond_int32(function, counts):
  logits, labels = jnp.array([[0.5, 0.1], [0.2, 0.3]]), np.array([0, 1])
  found = function(counts, logits, labels)
  expected = function([float(n) for n in counts], logits, labels)
  np.testing.assert_array_equal(found, expected)
  assert np.isfinite(found).all()
  as_array = function(np.array(counts), logits, labels)
  np.testing.assert_array_equal(as_array, expected)


def test_row_masks():
  mask = np.array([True, False])
  for value in (mask, mask.tolist(), jnp.asarray(mask)):
    assert _checks.row_mask('mask', value, 2).tolist() == [True, False]
  for value in ([1, 0], [1.0, 0.0]):
    with pytest.raises(TypeError, match='`mask` must be bool, got dtype'):
      _checks.row_mask('mask', value, 2)
  for value in (True, mask[None], mask[:1]):
    with pytest.raises(ValueError, match=r'`mask` must have shape \[2\]'):
      _checks.row_mask('mask', value, 2)


def test_counts_beyond_int32_in_metrics():
  groups = metrics.class_groups([2**31, 2**32 + 7, 5], many_above=2**32)
  assert groups['many'].tolist() == [False, True, False]
  assert data.long_tail_class_counts(2, 2**32, 2).tolist() == [2**32, 2**31]
