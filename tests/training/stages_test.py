# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""From the name of an update rule to its links, its groups and its costs."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

import imbsam_jax
from imbsam_jax import training
from tests import problems

rules = training.update_rules
_COUNTS = (90, 30, 5)
_KEY = jax.random.key(3)
_RHOS = {'rho': 0.3, 'head_rho': 0.1, 'switch_step': 4, 'key': _KEY}
_OWN = {
  'momentum_imbsam': {'decay': 0.5},
  'look_sam': {'every': 3, 'alpha': 0.7},
  'friendly_sam': {'sigma': 0.5, 'lam': 0.6},
  'gsam': {'alpha': 0.4},
}
# Links, and which of their groups are perturbed.
_LINKS = {
  'sgd': [(imbsam_jax.group_sam((None,)), (False,))],
  'sam': [(imbsam_jax.sam(0.3), (True,))],
  'rsam': [(imbsam_jax.rsam(0.3, key=_KEY), (False,))],
  'imbsam': [(imbsam_jax.imbsam(0.3), (False, True))],
  'sse_sam': [
    (imbsam_jax.sse_sam(0.1, 0.3), (True, True)),
    (imbsam_jax.imbsam(0.3), (False, True)),
  ],
  'focal_sam': [(imbsam_jax.focal_sam(0.3), (False, True))],
  'momentum_imbsam': [
    (imbsam_jax.momentum_imbsam(0.3, decay=0.5), (False, True))
  ],
  'look_sam': [
    (imbsam_jax.look_sam(0.3, every=None, alpha=0.7), (False,)),
    (imbsam_jax.look_sam(0.3, every=1, alpha=0.7), (True,)),
  ],
  'friendly_sam': [(imbsam_jax.friendly_sam(0.3, sigma=0.5, lam=0.6), (True,))],
  'gsam': [(imbsam_jax.gsam(0.3, alpha=0.4), (True,))],
}
_ADAPTIVE = {
  'sam': imbsam_jax.sam(0.3, adaptive=True),
  'imbsam': imbsam_jax.imbsam(0.3, adaptive=True),
  'sse_sam': imbsam_jax.sse_sam(0.1, 0.3, adaptive=True),
  'focal_sam': imbsam_jax.focal_sam(0.3, adaptive=True),
  'momentum_imbsam': imbsam_jax.momentum_imbsam(0.3, decay=0.5, adaptive=True),
  'friendly_sam': imbsam_jax.friendly_sam(
    0.3, sigma=0.5, lam=0.6, adaptive=True
  ),
  'gsam': imbsam_jax.gsam(0.3, alpha=0.4, adaptive=True),
}


def _stages(name, **changes):
  return rules.stages(name, **{**_RHOS, **_OWN.get(name, {}), **changes})


class StagesTest(parameterized.TestCase):
  @parameterized.parameters(*rules.NAMES)
  def test_links_of_a_name(self, name):
    found = _stages(name)
    starts = [0, 0] if name == 'look_sam' else [0, 4]
    self.assertEqual([s.start for s in found], starts[: len(found)])
    self.assertLen(found, len(_LINKS[name]))
    for stage, (link, perturbed) in zip(found, _LINKS[name], strict=True):
      self.assertEqual(stage.perturbed, perturbed)
      np.testing.assert_array_equal(
        problems.second_quartic_gradient(stage.link, len(perturbed)),
        problems.second_quartic_gradient(link, len(perturbed)),
      )

  def test_links_differ_here(self):
    # Else the test above would prove little.
    names = ('sgd', 'sam', 'rsam', 'imbsam', 'momentum_imbsam', 'friendly_sam')
    chosen = [one for name in (*names, 'gsam') for one in _LINKS[name]]
    chosen.append((_LINKS['sse_sam'][0][0], (True, True)))
    found = [
      problems.second_quartic_gradient(link, len(perturbed))
      for link, perturbed in chosen
    ]
    for k, one in enumerate(found):
      for other in found[:k]:
        self.assertGreater(np.abs(one - other).max(), 1e-2)

  @parameterized.parameters(*_ADAPTIVE)
  def test_adaptive(self, name):
    (stage, *_) = _stages(name, adaptive=True)
    groups = len(stage.perturbed)
    found = problems.second_quartic_gradient(stage.link, groups)
    np.testing.assert_array_equal(
      found, problems.second_quartic_gradient(_ADAPTIVE[name], groups)
    )
    plain = problems.second_quartic_gradient(_LINKS[name][0][0], groups)
    self.assertGreater(np.abs(found - plain).max(), 1e-2)

  @parameterized.parameters('sam', 'sse_sam')
  def test_rules_that_remember(self, name):
    found = _stages(name, average_decay=0.5)
    expected = {
      'sam': [(imbsam_jax.sam(0.3, average_decay=0.5), (True,))],
      'sse_sam': [
        (imbsam_jax.sse_sam(0.1, 0.3, average_decay=0.5), (True, True)),
        (imbsam_jax.sse_sam(0.0, 0.3, average_decay=0.5), (False, True)),
      ],
    }[name]
    states = []
    for stage, (link, perturbed) in zip(found, expected, strict=True):
      self.assertEqual(stage.perturbed, perturbed)
      self.assertTrue(stage.instead)
      gradient = problems.second_quartic_gradient(stage.link, len(perturbed))
      np.testing.assert_array_equal(
        gradient, problems.second_quartic_gradient(link, len(perturbed))
      )
      plain = problems.second_quartic_gradient(
        _LINKS[name][len(states)][0], len(perturbed)
      )
      self.assertGreater(np.abs(gradient - plain).max(), 1e-2)
      states.append(jax.tree.structure(stage.link.init(jnp.zeros(2))))
    # One run goes from stage to stage.
    self.assertLen(set(states), 1)

  def test_both_stages_are_adaptive(self):
    _, second = rules.stages('sse_sam', adaptive=True, **_RHOS)
    np.testing.assert_array_equal(
      problems.quartic_gradient(second.link, 2),
      problems.quartic_gradient(_ADAPTIVE['imbsam'], 2),
    )

  def test_a_second_stage_from_the_start(self):
    (stage,) = rules.stages('sse_sam', **_RHOS | {'switch_step': 0})
    self.assertEqual((stage.start, stage.perturbed), (0, (False, True)))

  def test_a_radius_of_zero_costs_nothing(self):
    for name in ('sam', 'imbsam', 'focal_sam', *_OWN):
      (stage,) = _stages(name, rho=0.0)
      self.assertFalse(any(stage.perturbed))
    first, _ = rules.stages('sse_sam', **_RHOS | {'head_rho': 0})
    self.assertEqual(first.perturbed, (False, True))
    first, second = rules.stages('sse_sam', **_RHOS | {'rho': 0.0})
    self.assertEqual(first.perturbed, (True, False))
    self.assertEqual(second.perturbed, (False, False))

  def test_stages_that_take_turns(self):
    method = rules.look_sam(_COUNTS, 0.3, every=3, alpha=0.7)
    found = [method.stages.index(method.stage(step)) for step in range(7)]
    self.assertEqual(found, [1, 0, 0, 1, 0, 0, 1])
    for adaptive in (False, True):
      stages = _stages('look_sam', adaptive=adaptive)
      one = imbsam_jax.look_sam(0.3, every=3, alpha=0.7, adaptive=adaptive)
      # The link that looks, then the one that remembers.
      params = jnp.array([0.5, -2.0, 1.5])
      states = [one.init(params)] * 2
      for link in (stages[1].link, stages[0].link):
        expected, found = [
          each.update(params**3, state, params, grad_fn=lambda p, group: p**3)
          for each, state in zip((one, link), states, strict=True)
        ]
        states = [expected[1], found[1]]
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
    (stage,) = _stages('look_sam', every=1)
    self.assertEqual((stage.perturbed, stage.every), ((True,), 1))

  def test_a_traced_switch_is_a_schedule(self):
    @jax.jit
    def gradient(switch, count):
      head_rho = lambda count: jnp.where(count < switch, 0.1, 0.0)
      stage = rules.stages(
        'sse_sam', rho=0.3, head_rho=head_rho, switch_step=1
      )[0]
      return problems.quartic_gradient(stage.link, 2, count)

    for count, stage in ((3, 0), (4, 1)):
      link, _ = _LINKS['sse_sam'][stage]
      np.testing.assert_allclose(
        gradient(4, count), problems.quartic_gradient(link, 2), rtol=1e-5
      )

  @parameterized.parameters(
    ('sam', {}, TypeError, '`rho` must be a number or'),
    ('rsam', {'key': _KEY}, TypeError, '`rho` must be a number or'),
    ('rsam', {'rho': 0.1}, TypeError, '`key` must be a key'),
    ('imbsam', {}, TypeError, '`rho` must be a number or'),
    ('imbsam', {'rho': -0.1}, ValueError, '`rho` must be'),
    ('focal_sam', {}, TypeError, '`rho` must be a number or'),
    ('sse_sam', {'head_rho': 0.1}, TypeError, '`tail_rho` must be a number or'),
    ('sse_sam', {'rho': 0.1}, TypeError, '`head_rho` must be a number or'),
    (
      'sse_sam',
      {'rho': 0.1, 'head_rho': 0.1, 'switch_step': 0.7},
      TypeError,
      '`switch_step` must be an integer.*multiply epochs',
    ),
    (
      'sse_sam',
      {'rho': 0.1, 'head_rho': 0.1, 'switch_step': -1},
      ValueError,
      '`switch_step` must be',
    ),
    ('momentum_imbsam', {}, TypeError, '`rho` must be a number or'),
    (
      'momentum_imbsam',
      {'rho': 0.1, 'decay': 1.0},
      ValueError,
      '`decay` must be',
    ),
    (
      'look_sam',
      {'rho': 0.1, 'alpha': 0.7},
      TypeError,
      '`every` must be an integer, got None.*number of steps: pass 1',
    ),
    ('look_sam', {'rho': 0.1, 'every': 2}, TypeError, '`alpha` must be a numb'),
    ('friendly_sam', {'rho': 0.1, 'lam': 0.5}, TypeError, '`sigma` must be a'),
    ('friendly_sam', {'rho': 0.1, 'sigma': 1.0}, TypeError, '`lam` must be a'),
    ('gsam', {'rho': 0.1}, TypeError, '`alpha` must be a number'),
    (
      'sam',
      {'rho': 0.1, 'average_decay': 1.0},
      ValueError,
      '`average_decay` must be',
    ),
    (
      'samm',
      {'rho': 0.1},
      ValueError,
      "`name` must be one of sgd, sam, rsam, .*, got 'samm'",
    ),
  )
  def test_what_is_refused(self, name, arguments, error, message):
    with self.assertRaisesRegex(error, message):
      rules.stages(name, **arguments)


class ClassWeightsTest(parameterized.TestCase):
  @parameterized.parameters(
    'sgd', 'sam', 'rsam', 'look_sam', 'friendly_sam', 'gsam'
  )
  def test_one_group(self, name):
    found = rules.group_weights_by_class(name, (7, 0, 2), threshold=5)
    np.testing.assert_array_equal(found, np.ones((1, 3), np.float32))

  @parameterized.parameters('imbsam', 'momentum_imbsam', 'sse_sam')
  def test_head_and_tail(self, name):
    found = rules.group_weights_by_class(
      name, _COUNTS, threshold=30, tail_weight=2.0
    )
    np.testing.assert_allclose(found, [[1, 1, 0], [0, 0, 2]], rtol=1e-6)

  def test_rarity(self):
    found = rules.group_weights_by_class(
      'focal_sam', _COUNTS, gamma=2.0, lam=0.5
    )
    rare = 0.5 * (1 - np.array(_COUNTS) / 125) ** 2
    np.testing.assert_allclose(found, [1 - rare, rare], rtol=1e-5)

  @parameterized.parameters(
    ('imbsam', {}, TypeError, '`threshold` must be a number, got None'),
    ('focal_sam', {'lam': 1.0}, TypeError, '`gamma` must be a number'),
    ('focal_sam', {'gamma': 1.0}, TypeError, '`lam` must be a number'),
    ('sam2', {}, ValueError, "`name` must be one of .*, got 'sam2'"),
  )
  def test_what_is_refused(self, name, arguments, error, message):
    with self.assertRaisesRegex(error, message):
      rules.group_weights_by_class(name, _COUNTS, **arguments)


class MethodsTest(parameterized.TestCase):
  """The functions put the two together."""

  @parameterized.parameters(*rules.NAMES)
  def test_function_of_a_name(self, name):
    groups = {
      'imbsam': {'threshold': 30, 'tail_weight': 2.0},
      'momentum_imbsam': {'threshold': 30, 'tail_weight': 2.0},
      'sse_sam': {'threshold': 30, 'tail_weight': 2.0},
      'focal_sam': {'gamma': 2.0, 'lam': 0.5},
    }.get(name, {})
    radii = {
      'sgd': {},
      'rsam': {'rho': 0.3, 'key': _KEY},
      'sse_sam': {'head_rho': 0.1, 'tail_rho': 0.3, 'switch_step': 4},
    }.get(name, {'rho': 0.3})
    can_adapt = name in _ADAPTIVE or name == 'look_sam'
    for adaptive in (False, True) if can_adapt else (False,):
      options = {'adaptive': True} if adaptive else {}
      options |= _OWN.get(name, {})
      method = getattr(rules, name)(_COUNTS, **groups, **radii, **options)
      np.testing.assert_array_equal(
        method.group_weights_by_class,
        rules.group_weights_by_class(name, _COUNTS, **groups),
      )
      expected = _stages(name, adaptive=adaptive)
      for one, two in zip(method.stages, expected, strict=True):
        self.assertEqual(one._replace(link=None), two._replace(link=None))
        count = len(one.perturbed)
        np.testing.assert_array_equal(
          problems.second_quartic_gradient(one.link, count),
          problems.second_quartic_gradient(two.link, count),
        )


class JointCostTest(parameterized.TestCase):
  @parameterized.parameters(
    # Passes, by hand: forward 1, backward 2, in units of SGD's three.
    ((False,), 3),
    ((True,), 3 + 3),
    ((False, True), 3 + 2 + 3),
    ((True, False), 3 + 2 + 3),
    ((True, True), 3 + 2 + 3 + 3),
    ((False, False), 3),
  )
  def test_cost(self, perturbed, units):
    self.assertAlmostEqual(rules.joint_cost(perturbed), units / 3)

  @parameterized.parameters(((False, True), 3 + 3), ((False, False), 3))
  def test_cost_without_clean_gradients(self, perturbed, units):
    found = rules.joint_cost(perturbed, instead=True)
    self.assertAlmostEqual(found, units / 3)


if __name__ == '__main__':
  absltest.main()
