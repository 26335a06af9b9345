# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Radii that change: schedules, arrays and `optax.inject_hyperparams`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import optax

import imbsam_jax
from tests import trees
from tests.transforms import links

KEY = links.KEY


def _first_update(link, num_groups, dtype=jnp.float32):
  params = links.make_params(dtype)
  state = link.init(params)
  return links.update(link, num_groups, params, state, links.make_batch())[0]


def _updates(link, num_groups, number):
  """The first updates at the same parameters: only the state moves."""
  params, batch = links.make_params(), links.make_batch()
  state, found = link.init(params), []
  for _ in range(number):
    updates, state = links.update(link, num_groups, params, state, batch)
    found.append(updates)
  return found


class ScheduleTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ('sam', imbsam_jax.sam, 1),
    ('imbsam', imbsam_jax.imbsam, 2),
    ('focal_sam', imbsam_jax.focal_sam, 2),
    ('look_sam', lambda rho: imbsam_jax.look_sam(rho, every=1), 1),
    ('gsam', lambda rho: imbsam_jax.gsam(rho, alpha=0.5), 1),
    ('sse_sam_head', lambda rho: imbsam_jax.sse_sam(rho, 0.3), 2),
    ('sse_sam_tail', lambda rho: imbsam_jax.sse_sam(0.3, rho), 2),
  )
  def test_sees_the_number_of_completed_updates(self, build, groups):
    radii = (0.1, 0.4, 0.2)
    link = build(lambda count: jnp.asarray(radii)[count])
    found = _updates(link, groups, 3)
    expected = [_first_update(build(rho), groups) for rho in radii]
    trees.assert_close(found, expected, 1e-6)
    trees.assert_differ(found[0], found[1], 1e-3)

  def test_of_rsam(self):
    radii = (0.1, 0.4, 0.2)
    found, *constant = [
      _updates(imbsam_jax.rsam(rho, key=KEY), 1, 3)
      for rho in (lambda count: jnp.asarray(radii)[count], *radii)
    ]
    expected = [constant[count][count] for count in range(3)]
    trees.assert_close(found, expected, 1e-6)

  def test_array_instead_of_float(self):
    trees.assert_close(
      _first_update(imbsam_jax.imbsam(jnp.float32(0.3)), 2),
      _first_update(imbsam_jax.imbsam(0.3), 2),
      1e-6,
    )

  def test_traced_radius(self):
    found = jax.jit(lambda rho: _first_update(imbsam_jax.imbsam(rho), 2))(0.3)
    trees.assert_close(found, _first_update(imbsam_jax.imbsam(0.3), 2), 1e-5)


class StageSwitchTest(parameterized.TestCase):
  def test_switches_at_the_boundary(self):
    schedule = imbsam_jax.stage_switch(0.5, 0.25, boundary=3)
    for count, expected in ((0, 0.5), (2, 0.5), (3, 0.25), (1000, 0.25)):
      for given in (count, jnp.int32(count)):
        found = schedule(given)
        self.assertEqual((found, found.dtype), (expected, jnp.float32))
      self.assertEqual(jax.jit(schedule)(count), expected)

  def test_stages_that_are_schedules_see_the_same_count(self):
    schedule = imbsam_jax.stage_switch(
      lambda count: jnp.asarray((1.0, 2.0, 3.0, 4.0))[count],
      imbsam_jax.stage_switch(5.0, 6.0, boundary=3),
      boundary=2,
    )
    found = [float(schedule(count)) for count in range(4)]
    self.assertEqual(found, [1.0, 2.0, 5.0, 6.0])


class InjectHyperparamsTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ('sam', imbsam_jax.sam, {'rho': 0.1}, 1),
    ('imbsam', imbsam_jax.imbsam, {'rho': 0.1, 'eps': 1e-8}, 2),
    ('asam', imbsam_jax.sam, {'rho': 0.1, 'adaptive': True}, 1),
    ('sse_sam', imbsam_jax.sse_sam, {'head_rho': 0.1, 'tail_rho': 0.2}, 2),
    ('focal_sam', imbsam_jax.focal_sam, {'rho': 0.1}, 2),
    (
      'mask',
      imbsam_jax.imbsam,
      {'rho': 0.1, 'mask': {'a': True, 'b': False}},
      2,
    ),
    ('rsam', imbsam_jax.rsam, {'rho': 0.1, 'key': KEY}, 1),
    ('look_sam', imbsam_jax.look_sam, {'rho': 0.1, 'every': 2}, 1),
    ('friendly_sam', imbsam_jax.friendly_sam, {'rho': 0.1}, 1),
    ('gsam', imbsam_jax.gsam, {'rho': 0.1, 'alpha': 0.5}, 1),
  )
  def test_radii_can_be_changed(self, build, arguments, groups):
    static = {'key', 'every'} & arguments.keys()
    link = optax.inject_hyperparams(build, static_args=static)(**arguments)
    doubled = build(
      **{k: 2 * v if 'rho' in k else v for k, v in arguments.items()}
    )
    once = _first_update(build(**arguments), groups)
    twice = _first_update(doubled, groups)
    trees.assert_differ(once, twice, 1e-3)

    params, batch = links.make_params(), links.make_batch()
    state = link.init(params)
    updates, new_state = links.update(link, groups, params, state, batch)
    trees.assert_close(updates, once, 1e-6)
    self.assertEqual(
      jax.tree.map(jax.typeof, new_state), jax.tree.map(jax.typeof, state)
    )
    for name in state.hyperparams:
      if 'rho' in name:
        state.hyperparams[name] = 2 * state.hyperparams[name]
    updates, _ = links.update(link, groups, params, state, batch)
    trees.assert_close(updates, twice, 1e-6)

  def test_bfloat16_parameters(self):
    # The hyperparameters then are bfloat16 arrays, eps among them.
    link = optax.inject_hyperparams(imbsam_jax.imbsam)(0.125, eps=1e-8)
    trees.assert_equal(
      _first_update(link, 2, jnp.bfloat16),
      _first_update(imbsam_jax.imbsam(0.125), 2, jnp.bfloat16),
    )

  def test_schedule(self):
    radii = (0.1, 0.4)
    link = optax.inject_hyperparams(imbsam_jax.imbsam)(
      lambda count: jnp.asarray(radii)[count]
    )
    expected = [_first_update(imbsam_jax.imbsam(rho), 2) for rho in radii]
    trees.assert_close(_updates(link, 2, 2), expected, 1e-6)


if __name__ == '__main__':
  absltest.main()
