# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Samplers and class weights by name, with their defaults, by number."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from imbsam_jax import data
from imbsam_jax import methods
from imbsam_jax import schedules

_COUNTS = np.array([100, 36, 16, 8])
# 20 epochs of 10 steps.
_TIME = schedules.Timeline(_COUNTS, 20.0, 16)
_SETUP = methods.Setup(_TIME)
_LABELS = np.random.RandomState(0).permutation(np.repeat(range(4), _COUNTS))
_NATURAL = _COUNTS / 160


def _shares(numbers):
  return np.asarray(numbers) / np.sum(numbers)


def _effective(beta):
  return (1 - beta**_COUNTS) / (1 - beta)


def _phase(epoch, start=10, end=16, power=5):
  return np.clip((epoch - start) / (end - start), 0, 1) ** power


class ProbabilitiesTest(parameterized.TestCase):
  @parameterized.parameters(
    ('instance', _COUNTS),
    ('power', _COUNTS),
    ('power(power=0.3)', _COUNTS**0.3),
    ('square_root', _COUNTS**0.5),
    ('class_balanced', [1, 1, 1, 1]),
    ('reversed', 1 / _COUNTS),
    ('effective_number', _COUNTS / _effective(0.9999)),
    ('effective_number(beta=0.9)', _COUNTS / _effective(0.9)),
  )
  def test_throughout(self, text, shares):
    found = methods.make_part('sampler', text, _SETUP).probabilities
    for step in (0, 199):
      np.testing.assert_allclose(found(step), _shares(shares), rtol=1e-5)

  @parameterized.parameters(
    ('drs', lambda epoch: float(epoch >= 16)),
    ('progressive', lambda epoch: epoch / 19),
    ('pps', _phase),
    (
      'pps(start=0.25, end=0.5, power=2.0)',
      lambda epoch: _phase(epoch, 5, 10, 2),
    ),
  )
  def test_from_natural_to_balanced(self, text, share):
    found = methods.make_part('sampler', text, _SETUP).probabilities
    for epoch in (0, 4, 7, 9, 10, 13, 15, 16, 18, 19):
      e = share(epoch)
      np.testing.assert_allclose(
        found(10 * epoch), (1 - e) * _NATURAL + e / 4, rtol=1e-4
      )

  def test_which_stream_is_natural(self):
    choices = methods.AXES['sampler'].choices
    natural = {
      name
      for name, choice in choices.items()
      if choice.traits.corrects_prior is False
    }
    self.assertEqual(natural, {'shuffle', 'instance'})
    corrects = choices['power'].traits.corrects_prior
    self.assertEqual(
      [corrects(p) for p in ({}, {'power': 1.0}, {'power': 0.5})],
      [False, False, True],
    )


class OrderTest(parameterized.TestCase):
  """Rows are those of the order that the choice names, of that seed."""

  @parameterized.parameters(0, 5)
  def test_rows(self, seed):
    is_tail = _COUNTS < 20
    balanced = lambda step: np.full(4, 0.25)
    options = {'batch_size': 16, 'seed': seed}
    for text, tail, expected in (
      ('shuffle', None, data.shuffled_order(160, **options)),
      ('shuffle', is_tail, data.stratified_order(is_tail[_LABELS], **options)),
      (
        'class_aware',
        None,
        data.class_aware_order(_LABELS, samples_per_class=4, **options),
      ),
      (
        'class_aware(samples_per_class=2)',
        None,
        data.class_aware_order(_LABELS, samples_per_class=2, **options),
      ),
      (
        'class_balanced',
        None,
        data.sampled_order(_LABELS, balanced, is_tail=None, **options),
      ),
      (
        'class_balanced',
        is_tail,
        data.sampled_order(_LABELS, balanced, is_tail=is_tail, **options),
      ),
    ):
      found = methods.combine({'sampler': text}, _SETUP).order(
        _LABELS, tail, seed
      )
      for step in (0, 13):
        np.testing.assert_array_equal(
          found[step].indices, expected[step].indices
        )


class ReweightingTest(parameterized.TestCase):
  def _check(self, text, weights, reduction):
    found = methods.make_part('weights', text, _SETUP).reweighting
    self.assertEqual(found.reduction, reduction)
    for epoch in (0, 7, 9, 13, 15, 16, 19):
      np.testing.assert_allclose(
        found.weights(10 * epoch),
        4 * _shares(weights(epoch)),
        rtol=1e-4,
        err_msg=str(epoch),
      )

  @parameterized.parameters(
    ('class_balanced', 1 / _effective(0.9999), 'mean'),
    ('class_balanced(beta=0.9)', 1 / _effective(0.9), 'mean'),
    ('power', 1 / _COUNTS, 'weighted_mean'),
    ('power(power=0.5)', _COUNTS**-0.5, 'weighted_mean'),
  )
  def test_throughout(self, text, weights, reduction):
    self._check(text, lambda epoch: weights, reduction)

  @parameterized.parameters(
    ('drw', 0.9999, 16, 'weighted_mean'),
    ('drw(beta=0.9, start=0.5)', 0.9, 10, 'weighted_mean'),
    # Beside weights of examples, which have a mean of their own.
    ('absgd', 0.9999, 16, 'mean'),
    ('absgd(beta=0.9, start=0.5)', 0.9, 10, 'mean'),
  )
  def test_deferred(self, text, beta, start, reduction):
    self._check(
      text,
      lambda epoch: 1 / _effective(beta) if epoch >= start else np.ones(4),
      reduction,
    )

  @parameterized.parameters(
    ('ppw', _phase),
    (
      'ppw(start=0.25, end=0.5, power=2.0)',
      lambda epoch: _phase(epoch, 5, 10, 2),
    ),
  )
  def test_progressive(self, text, phase):
    self._check(text, lambda epoch: _COUNTS ** -phase(epoch), 'weighted_mean')

  def test_none(self):
    self.assertIsNone(methods.make_part('weights', 'none', _SETUP).reweighting)


if __name__ == '__main__':
  absltest.main()
