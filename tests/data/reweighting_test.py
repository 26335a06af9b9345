# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Class weights in the batch are those of the losses; pairs stay pairs."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from imbsam_jax import data
from imbsam_jax import losses

_COUNTS = (40, 20, 7, 4)
_LABELS = np.repeat(np.arange(4), _COUNTS).astype(np.int32)
_EXAMPLES = data.Examples(
  np.arange(len(_LABELS), dtype=np.float32)[:, None], _LABELS
)
_IS_TAIL = np.array([False, False, True, True])
_ALL = np.ones((1, 4), np.float32)
_HEAD_TAIL = np.array([[1, 1, 0, 0], [0, 0, 2, 2]], np.float32)
_BATCH_SIZE = 16
# Far from uniform, and other ones from step 3 on.
_BEFORE = np.array([1.5, 0.2, 0.8, 1.5], np.float32)
_AFTER = np.array([0.1, 0.4, 1.0, 2.5], np.float32)


def _class_weights(step):
  return _BEFORE if step < 3 else _AFTER


def _order(kind, seed=3):
  match kind:
    case 'shuffled':
      return data.shuffled_order(71, batch_size=_BATCH_SIZE, seed=seed)
    case 'stratified':
      return data.stratified_order(
        _IS_TAIL[_LABELS], batch_size=_BATCH_SIZE, seed=seed
      )
    case _:
      chances = np.array([0.5, 0.24, 0.16, 0.1])
      return data.sampled_order(
        _LABELS,
        lambda step: chances,
        batch_size=_BATCH_SIZE,
        seed=seed,
        is_tail=_IS_TAIL,
      )


_KINDS = ('shuffled', 'stratified', 'sampled')
_REDUCTIONS = ('mean', 'weighted_mean')


def _reweighting(reduction):
  return data.Reweighting(_class_weights, reduction)


def _losses_of(images):
  """A loss of each example, by its number."""
  return np.random.RandomState(1).rand(71)[images[:, 0].astype(int)] + 0.1


def _by_hand(choice, step, reduction):
  """What each row counts: w s / B, or w s / sum(w s)."""
  terms = _class_weights(step)[_LABELS[choice.indices]].astype(np.float64)
  terms = terms * choice.scale
  return terms / (_BATCH_SIZE if reduction == 'mean' else terms.sum())


class JointTest(parameterized.TestCase):
  @parameterized.parameters(*_REDUCTIONS)
  def test_is_reduce_loss(self, reduction):
    batches = data.joint_batches(
      _order('shuffled'), _EXAMPLES, _ALL, reweighting=_reweighting(reduction)
    )
    for step in (0, 2, 3, 9):
      batch = batches[step]
      found = _losses_of(batch.rows['image'])
      expected = losses.reduce_loss(
        found,
        _class_weights(step)[batch.rows['label']],
        reduction=reduction,
      )
      self.assertAlmostEqual(
        float(batch.weights[0] @ found), float(expected), places=6
      )

  @parameterized.parameters(*_REDUCTIONS)
  def test_is_class_weighted_loss(self, reduction):
    logits = np.random.RandomState(2).randn(71, 4).astype(np.float32)
    batches = data.joint_batches(
      _order('shuffled'), _EXAMPLES, _ALL, reweighting=_reweighting(reduction)
    )
    for step in (2, 3):
      batch, indices = batches[step], _order('shuffled')[step].indices
      expected = losses.class_weighted_loss(
        losses.cross_entropy,
        logits[indices],
        batch.rows['label'],
        _class_weights(step),
        reduction=reduction,
      )
      found = losses.cross_entropy(logits[indices], batch.rows['label'])
      self.assertAlmostEqual(
        float(batch.weights[0] @ np.asarray(found)), float(expected), places=6
      )

  @parameterized.product(kind=_KINDS, reduction=_REDUCTIONS)
  def test_with_scales_by_hand(self, kind, reduction):
    order = _order(kind)
    batches = data.joint_batches(
      order, _EXAMPLES, _HEAD_TAIL, reweighting=_reweighting(reduction)
    )
    for step in (0, 4):
      batch = batches[step]
      self.assertEqual(batch.weights.dtype, np.float32)
      if kind != 'shuffled':  # Else there was nothing to see.
        self.assertGreater(np.ptp(order[step].scale), 0.01)
      expected = (
        _by_hand(order[step], step, reduction)
        * _HEAD_TAIL[:, batch.rows['label']]
      )
      np.testing.assert_allclose(batch.weights, expected, rtol=1e-6)

  @parameterized.parameters(*_KINDS)
  def test_equal_weights_are_none(self, kind):
    plain = data.joint_batches(_order(kind), _EXAMPLES, _HEAD_TAIL)
    for reduction in _REDUCTIONS:
      even = data.joint_batches(
        _order(kind),
        _EXAMPLES,
        _HEAD_TAIL,
        reweighting=data.Reweighting(lambda step: np.ones(4), reduction),
      )
      # The scales of drawn rows add up to B too.
      np.testing.assert_allclose(even[4].weights, plain[4].weights, rtol=1e-6)

  def test_only_the_mean_knows_the_size_of_the_weights(self):
    def total(reduction, factor):
      reweighting = data.Reweighting(
        lambda step: factor * _class_weights(step), reduction
      )
      batches = data.joint_batches(
        _order('stratified'), _EXAMPLES, _ALL, reweighting=reweighting
      )
      return batches[4].weights.sum()

    self.assertAlmostEqual(total('weighted_mean', 1.0), 1.0, places=5)
    self.assertAlmostEqual(total('weighted_mean', 7.0), 1.0, places=5)
    self.assertAlmostEqual(total('mean', 7.0), 7 * total('mean', 1.0), places=4)


class SplitTest(parameterized.TestCase):
  @parameterized.product(
    kind=_KINDS,
    reduction=_REDUCTIONS,
    layout=[(None, 1), (None, 4), ((3, 6), 1), ((0,), 8)],
  )
  def test_is_joint_apart(self, kind, reduction, layout):
    order = _order(kind)
    shared = {'reweighting': _reweighting(reduction)}
    joint = data.joint_batches(order, _EXAMPLES, _HEAD_TAIL, **shared)
    split = data.split_batches(
      order,
      _EXAMPLES,
      _HEAD_TAIL,
      tail_sizes=layout[0],
      row_multiple=layout[1],
      **shared,
    )
    for step in range(6):
      for group in range(2):
        # Per example: a row may come twice.
        totals = []
        for rows, weights in (
          (joint[step].rows, joint[step].weights[group]),
          (split[step].rows[group], split[step].weights[group]),
        ):
          totals.append(np.zeros(71))
          np.add.at(totals[-1], rows['image'][:, 0].astype(int), weights)
        np.testing.assert_allclose(totals[1], totals[0], rtol=1e-6)
        # The normalizer is that of both groups together.
        expected = (
          _by_hand(order[step], step, reduction)
          @ (_HEAD_TAIL[group, _LABELS[order[step].indices]])
        )
        self.assertAlmostEqual(totals[1].sum(), expected, places=5)
        self.assertEqual(split[step].weights[group].dtype, np.float32)


class PairedTest(parameterized.TestCase):
  @parameterized.product(
    kind=_KINDS, partner=['permuted', 'sampled'], reduction=[*_REDUCTIONS, None]
  )
  def test_rows_and_weights_of_both_orders(self, kind, partner, reduction):
    orders = [_order(kind)]
    orders.append(
      data.permuted_order(orders[0], seed=(3, 1))
      if partner == 'permuted'
      else _order('sampled', seed=(3, 1))
    )
    reweighting = None if reduction is None else _reweighting(reduction)
    batches = data.paired_batches(
      *orders, _EXAMPLES, _HEAD_TAIL, reweighting=reweighting
    )
    for step in (0, 4):
      batch = batches[step]
      self.assertEqual(batch.weights.shape, (2, 2 * _BATCH_SIZE))
      self.assertEqual(batch.rows['image'].shape, (2 * _BATCH_SIZE, 1))
      self.assertEqual(batch.rows['label'].dtype, np.int32)
      for k, order in enumerate(orders):
        choice = order[step]
        for i, index in enumerate(choice.indices):
          self.assertEqual(batch.rows['image'][2 * i + k, 0], index)
          self.assertEqual(batch.rows['label'][2 * i + k], _LABELS[index])
        shares = (
          choice.scale / _BATCH_SIZE
          if reduction is None
          else _by_hand(choice, step, reduction)
        )
        for group in range(2):
          np.testing.assert_allclose(
            batch.weights[group, k::2],
            shares * _HEAD_TAIL[group, _LABELS[choice.indices]],
            rtol=1e-6,
          )

  @parameterized.parameters(*_REDUCTIONS)
  def test_mixed_by_their_shares_is_class_weighted_loss(self, reduction):
    order = _order('shuffled')
    batch = data.paired_batches(
      order,
      data.permuted_order(order, seed=(3, 1)),
      _EXAMPLES,
      _ALL,
      reweighting=_reweighting(reduction),
    )[4]
    rng = np.random.RandomState(0)
    logits = rng.randn(_BATCH_SIZE, 4).astype(np.float32)
    lam = rng.rand(_BATCH_SIZE).astype(np.float32)
    first, second = (batch.rows['label'][k::2] for k in (0, 1))
    parts = [
      np.asarray(losses.cross_entropy(logits, labels))
      for labels in (first, second)
    ]
    found = (
      batch.weights[0, 0::2] @ (lam * parts[0])
      + batch.weights[0, 1::2] @ ((1 - lam) * parts[1])
    )  # fmt: skip
    expected = losses.class_weighted_loss(
      losses.cross_entropy,
      logits,
      losses.MixedLabels(first, second, lam),
      _class_weights(4),
      reduction=reduction,
    )
    self.assertAlmostEqual(float(found), float(expected), places=6)

  def test_more_axes_of_images(self):
    images = np.arange(71 * 6, dtype=np.uint8).reshape(71, 2, 3)
    order, partners = _order('shuffled'), _order('sampled')
    batch = data.paired_batches(
      order, partners, data.Examples(images, _LABELS), _ALL
    )[2]
    self.assertEqual(batch.rows['image'].dtype, np.uint8)
    for k, one in enumerate((order, partners)):
      np.testing.assert_array_equal(
        batch.rows['image'][k::2], images[one[2].indices]
      )


if __name__ == '__main__':
  absltest.main()
