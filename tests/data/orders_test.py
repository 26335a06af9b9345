# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Orders that draw, cycle and permute: what comes, how often, and when."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from imbsam_jax import data
from imbsam_jax import sampling

# Class 2 has no examples; labels are not sorted.
_COUNTS = np.array([50, 20, 0, 9, 4])
_LABELS = np.random.RandomState(0).permutation(np.repeat(np.arange(5), _COUNTS))
_IS_TAIL = np.array([False, False, True, True, True])
_UNIFORM = np.array([0.25, 0.25, 0.0, 0.25, 0.25])
_SKEWED = np.array([0.6, 0.05, 0.0, 0.05, 0.3])


def _sampled(probabilities=_UNIFORM, *, batch_size=24, seed=3, is_tail=None):
  if not callable(probabilities):
    found = probabilities
    probabilities = lambda step: found
  return data.sampled_order(
    _LABELS, probabilities, batch_size=batch_size, seed=seed, is_tail=is_tail
  )


def _make(kind, seed=3):
  match kind:
    case 'sampled':
      return _sampled(seed=seed)
    case 'stratified':
      return _sampled(seed=seed, is_tail=_IS_TAIL)
    case 'changing':
      return _sampled(lambda s: [_UNIFORM, _SKEWED][s % 2], seed=seed)
    case 'class_aware':
      return data.class_aware_order(_LABELS, batch_size=24, seed=seed)
    case _:
      rows = data.shuffled_order(len(_LABELS), batch_size=24, seed=9)
      return data.permuted_order(rows, seed=seed)


_KINDS = ('sampled', 'stratified', 'changing', 'class_aware', 'permuted')
_TAKE_WORDS = ('sampled', 'stratified', 'changing', 'permuted')


def _drawn(order, steps, batch_size):
  """Indices of many steps, ``[steps, B]``."""
  return np.stack([order[step].indices for step in steps]).reshape(
    len(steps), batch_size
  )


def _assert_frequencies(labels, probabilities):
  """Within four standard deviations of a multinomial draw."""
  found = np.bincount(labels, minlength=len(probabilities))
  expected = len(labels) * probabilities
  sigma = np.sqrt(expected * (1 - probabilities))
  if (np.abs(found - expected) > 4 * sigma).any():
    raise AssertionError(f'{found} is not {expected} +- 4 * {sigma}')


class PureFunctionTest(parameterized.TestCase):
  @parameterized.parameters(*_KINDS)
  def test_of_the_step(self, kind):
    order = _make(kind)
    steps = [7, 0, 31, 7, 2, 100_003]
    rows = [order[step] for step in steps]
    for step, row in zip(steps, rows, strict=True):
      fresh = _make(kind)[step]  # Asked for nothing before.
      np.testing.assert_array_equal(row.indices, fresh.indices)
      np.testing.assert_array_equal(row.scale, fresh.scale)
      self.assertEqual(row.indices.dtype, np.int64)
      self.assertEqual(row.scale.dtype, np.float32)
      self.assertEqual(row.scale.shape, row.indices.shape)
    self.assertFalse(np.array_equal(rows[0].indices, rows[1].indices))

  @parameterized.parameters(*_KINDS)
  def test_of_the_seed(self, kind):
    one, two = _make(kind, seed=3)[5], _make(kind, seed=4)[5]
    self.assertFalse(np.array_equal(one.indices, two.indices))

  @parameterized.parameters(*_TAKE_WORDS)
  def test_words_of_a_seed(self, kind):
    one = _make(kind, seed=3)
    words = _make(kind, seed=(3, 1))
    for step in (0, 1, 5):
      self.assertFalse(
        np.array_equal(one[step].indices, words[step].indices), step
      )
      np.testing.assert_array_equal(
        one[step].indices, _make(kind, seed=(3,))[step].indices
      )
      np.testing.assert_array_equal(
        words[step].indices, _make(kind, seed=[3, 1])[step].indices
      )
    # The last word is not the step.
    self.assertFalse(np.array_equal(one[1].indices, words[0].indices))


class SampledTest(parameterized.TestCase):
  @parameterized.named_parameters(('Uniform', _UNIFORM), ('Skewed', _SKEWED))
  def test_frequencies_of_classes(self, probabilities):
    rows = _drawn(_sampled(probabilities), range(500), 24)
    _assert_frequencies(_LABELS[rows].ravel(), probabilities)
    # Steps do not repeat each other, nor the places of a batch.
    self.assertLen(np.unique(rows, axis=0), 500)
    _assert_frequencies(_LABELS[rows[:, 0]], probabilities)

  def test_frequencies_of_examples(self):
    rows = _drawn(_sampled(_UNIFORM), range(500), 24)
    per_example = _UNIFORM[_LABELS] / _COUNTS[_LABELS]
    _assert_frequencies(rows.ravel(), per_example)

  def test_frequencies_follow_the_step(self):
    order = _sampled(lambda step: _UNIFORM if step < 300 else _SKEWED)
    before = _drawn(order, range(300), 24)
    after = _drawn(order, range(300, 600), 24)
    _assert_frequencies(_LABELS[before].ravel(), _UNIFORM)
    _assert_frequencies(_LABELS[after].ravel(), _SKEWED)

  @parameterized.parameters(None, [_IS_TAIL])
  def test_classes_of_probability_zero_never_come(self, is_tail=None):
    is_tail = None if is_tail is None else is_tail[0]
    for absent in (0, 1, 3, 4):
      chances = np.where(np.arange(5) == absent, 0.0, 1 / 3)
      order = _sampled(chances, is_tail=is_tail)
      labels = _LABELS[_drawn(order, range(60), 24)]
      self.assertNotIn(absent, labels)

  def test_empty_classes_give_their_share_to_the_others(self):
    # Class 2 has a probability, but no examples.
    order = _sampled(np.full(5, 0.2))
    rows = _drawn(order, range(400), 24)
    self.assertGreaterEqual(rows.min(), 0)  # No padding of the table.
    _assert_frequencies(_LABELS[rows].ravel(), _UNIFORM)

  def test_probabilities_need_not_sum_to_one(self):
    np.testing.assert_array_equal(
      _sampled(4 * _UNIFORM)[3].indices, _sampled(_UNIFORM)[3].indices
    )

  def test_in_float32_as_the_schedules_give_them(self):
    counts = np.array([500, 30, 7])
    labels = np.repeat(np.arange(3), counts)
    chances = np.asarray(sampling.class_probabilities(counts, power=0.5))
    self.assertEqual(chances.dtype, np.float32)
    order = data.sampled_order(
      labels, lambda step: chances, batch_size=100, seed=0
    )
    rows = _drawn(order, range(100), 100)
    _assert_frequencies(labels[rows].ravel(), chances.astype(np.float64))


class SampledWithTailTest(parameterized.TestCase):
  @parameterized.product(
    batch_size=[8, 16, 24, 40, 64, 100], share=[0.01, 0.2, 0.5, 0.9]
  )
  def test_head_rows_first_and_tail_rows_in_multiples(self, batch_size, share):
    chances = np.array([1, 1, 0, 1, 1]) * 0.5
    chances = chances * np.where(_IS_TAIL, share, 1 - share)
    order = _sampled(chances, batch_size=batch_size, is_tail=_IS_TAIL)
    width = -(-batch_size // 16)
    for step in range(8):
      is_tail = _IS_TAIL[_LABELS[order[step].indices]]
      num_tail = is_tail.sum()
      self.assertLen(is_tail, batch_size)
      np.testing.assert_array_equal(is_tail, np.sort(is_tail))
      self.assertEqual(num_tail % width, 0)
      self.assertGreater(num_tail, 0)
      self.assertLessEqual(
        abs(num_tail - batch_size * share),
        width * (0.5 if batch_size * share > width / 2 else 1.0),
      )

  @parameterized.named_parameters(
    ('Uniform', _UNIFORM),
    ('Skewed', _SKEWED),
    ('RareTail', np.array([0.9, 0.09, 0.0, 0.009, 0.001])),
    ('RareHead', np.array([0.001, 0.009, 0.0, 0.09, 0.9])),
  )
  def test_expected_weight_of_a_class_is_its_probability(self, chances):
    order = _sampled(chances, batch_size=24, is_tail=_IS_TAIL)
    weights, count = np.zeros(5), 600
    for step in range(count):
      choice = order[step]
      labels = _LABELS[choice.indices]
      np.add.at(weights, labels, choice.scale / 24)
      # Head and tail have their shares in every single batch.
      for group in (_IS_TAIL, ~_IS_TAIL):
        np.testing.assert_allclose(
          choice.scale[group[labels]].sum() / 24, chances[group].sum(), 1e-5
        )
    # A row brings at most max(scale)/24 at a variance below p/24.
    largest = order[0].scale.max()
    sigma = np.sqrt(chances * largest / 24 / count)
    self.assertTrue((np.abs(weights / count - chances) <= 4 * sigma).all())

  def test_shares_follow_the_step(self):
    order = _sampled(
      lambda step: [_UNIFORM, _SKEWED][step],
      batch_size=64,
      is_tail=_IS_TAIL,
    )
    for step, num_tail in ((0, 32), (1, 24)):  # 0.35 * 64 = 22.4, by fours.
      choice = order[step]
      is_tail = _IS_TAIL[_LABELS[choice.indices]]
      self.assertEqual(is_tail.sum(), num_tail)
    np.testing.assert_allclose(order[0].scale, 1.0)
    np.testing.assert_allclose(
      order[1].scale,
      np.repeat([0.65 * 64 / 40, 0.35 * 64 / 24], [40, 24]),
      1e-6,
    )

  def test_few_shapes(self):
    order = _sampled(
      lambda step: np.array([1 - step / 999, 0, 0, 0, step / 999]),
      batch_size=64,
      is_tail=_IS_TAIL,
    )
    shapes = {
      int(_IS_TAIL[_LABELS[order[step].indices]].sum()) for step in range(1000)
    }
    self.assertLessEqual(len(shapes), 18)
    self.assertContainsSubset({0, 4, 32, 64}, shapes)

  @parameterized.named_parameters(('NoTail', False), ('AllTail', True))
  def test_one_group_only(self, tail):
    order = _sampled(_SKEWED, batch_size=24, is_tail=np.full(5, tail))
    rows = _drawn(order, range(300), 24)
    _assert_frequencies(_LABELS[rows].ravel(), _SKEWED)
    np.testing.assert_array_equal(order[0].scale, np.ones(24, np.float32))

  def test_tail_classes_without_probability(self):
    chances = np.array([0.5, 0.5, 0.0, 0.0, 0.0])
    choice = _sampled(chances, is_tail=_IS_TAIL)[0]
    self.assertFalse(_IS_TAIL[_LABELS[choice.indices]].any())
    np.testing.assert_array_equal(choice.scale, np.ones(24, np.float32))

  def test_no_room(self):
    # As for `stratified_order`; else the tail would never come.
    with self.assertRaises(ValueError):
      _sampled(_UNIFORM, batch_size=1, is_tail=_IS_TAIL)[0]


class ClassAwareTest(parameterized.TestCase):
  @parameterized.parameters((1, 4), (7, 4), (24, 4), (24, 1), (10, 3))
  def test_no_gap_between_batches(self, batch_size, samples_per_class):
    order = data.class_aware_order(
      _LABELS,
      batch_size=batch_size,
      seed=5,
      samples_per_class=samples_per_class,
    )
    long = data.class_aware_order(
      _LABELS, batch_size=240, seed=5, samples_per_class=samples_per_class
    )
    stream = _drawn(order, range(240 // batch_size), batch_size).ravel()
    np.testing.assert_array_equal(stream, long[0].indices[: len(stream)])
    np.testing.assert_array_equal(order[3].scale, np.ones(batch_size))

  @parameterized.parameters(1, 3, 4)
  def test_structure_is_that_of_class_aware_indices(self, samples_per_class):
    """All classes in each cycle, all examples before any comes again."""
    order = data.class_aware_order(
      _LABELS, batch_size=16, seed=5, samples_per_class=samples_per_class
    )
    stream = _drawn(order, range(60), 16).ravel()
    labels = _LABELS[stream]
    present = np.flatnonzero(_COUNTS)
    cycle = len(present) * samples_per_class
    visits = labels[: len(labels) // cycle * cycle].reshape(
      -1, len(present), samples_per_class
    )
    np.testing.assert_array_equal(visits, visits[:, :, :1] + 0 * visits)
    np.testing.assert_array_equal(
      np.sort(visits[:, :, 0], axis=1), np.tile(present, (len(visits), 1))
    )
    self.assertGreater(len(np.unique(visits[:, :, 0], axis=0)), 3)
    for label in present:
      examples = stream[labels == label]
      rounds = examples[: len(examples) // _COUNTS[label] * _COUNTS[label]]
      for one in rounds.reshape(-1, _COUNTS[label]):
        np.testing.assert_array_equal(
          np.sort(one), np.flatnonzero(_LABELS == label)
        )


class PermutedTest(parameterized.TestCase):
  @parameterized.parameters('shuffled', 'stratified')
  def test_indices_and_scale_together(self, kind):
    rows = {
      'shuffled': data.shuffled_order(len(_LABELS), batch_size=24, seed=3),
      'stratified': data.stratified_order(
        _IS_TAIL[_LABELS], batch_size=24, seed=3
      ),
    }[kind]
    permuted = data.permuted_order(rows, seed=(3, 1))
    places = []
    for step in range(20):
      one, two = rows[step], permuted[step]
      pairs = lambda c: sorted(zip(c.indices, c.scale, strict=True))
      self.assertEqual(pairs(one), pairs(two))
      self.assertFalse(np.array_equal(one.indices, two.indices))
      if len(np.unique(one.indices)) == 24:
        found = [list(one.indices).index(index) for index in two.indices]
        places.append(tuple(found))
    # Another permutation at every step.
    self.assertGreater(len(places), 3)
    self.assertLen(set(places), len(places))

  def test_all_partners_are_alike(self):
    rows = data.shuffled_order(24, batch_size=24, seed=3)
    permuted = data.permuted_order(rows, seed=0)
    steps = 2000
    hits = np.zeros((24, 24))
    for step in range(steps):
      hits[rows[step].indices, permuted[step].indices] += 1
    # 24 * 24 numbers: five standard deviations.
    np.testing.assert_allclose(
      hits, steps / 24, atol=5 * np.sqrt(steps / 24), rtol=0
    )


if __name__ == '__main__':
  absltest.main()
