# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""RSAM: invariants G1 to G9 (GNM in the specification), keys and noise."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import optax

import imbsam_jax
from imbsam_jax import transforms
from tests import problems
from tests import trees

KEY = jax.random.key(0)


class CountingOracle:
  """A gradient oracle of the plainest kind, which remembers the points."""

  def __init__(self, gradient):
    self.gradient = gradient
    self.points = []

  def __call__(self, params, group):
    assert group == 0
    self.points.append(params)
    return self.gradient(params)


def _noise(link, params, state=None):
  """The perturbation of one update of `link`, NumPy float64."""
  oracle = CountingOracle(lambda p: p)
  state = link.init(params) if state is None else state
  _, state = link.update(params, state, params, grad_fn=oracle)
  (point,) = oracle.points
  return trees.subtract(point, params), state


class RsamInvariantsTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ('constant', 0.0), ('schedule', lambda count: 0.0)
  )
  def test_G1_radius_zero_is_SGD(self, rho):
    params, batch = problems.make_params(), problems.make_batch()
    found, expected = [
      problems.gradient(link, params, batch, problems.mean_weights())
      for link in (
        imbsam_jax.rsam(rho, key=KEY),
        imbsam_jax.group_sam((None,)),
      )
    ]
    trees.assert_equal(found, expected)

  def test_G2_the_key_decides(self):
    params = problems.to_jax(problems.make_params())
    first, again, other = [
      _noise(imbsam_jax.rsam(0.1, key=key), params)[0]
      for key in (KEY, jax.random.key(0), jax.random.key(1))
    ]
    trees.assert_equal(first, again)
    trees.assert_differ(first, other, 0.5)

  def test_G3_on_a_quadratic_the_mean_is_SGD(self):
    # A diagonal quadratic of 2**18 entries: as many draws as entries.
    w = jnp.full(2**18, 0.5)
    curvature = jnp.where(jnp.arange(2**18) % 2 == 0, 2.0, -3.0)
    link = imbsam_jax.rsam(0.3, key=KEY)
    found, _ = link.update(
      w, link.init(w), w, grad_fn=lambda p, group: curvature * p
    )
    np.testing.assert_allclose(found[::2].mean(), 1.0, atol=2e-3)
    np.testing.assert_allclose(found[1::2].mean(), -1.5, atol=3e-3)
    self.assertGreater(np.asarray(found).std(), 0.1)

  def test_G3_mean_over_keys(self):
    matrix = jnp.array([[2.0, 1.0], [1.0, -3.0]])
    w = jnp.array([0.5, -1.0])
    link = imbsam_jax.rsam(0.3, key=KEY)
    keys = jax.random.key_data(jax.random.split(KEY, 2**14))

    def one(key_data):
      state = link.init(w)._replace(key_data=key_data)
      return link.update(w, state, w, grad_fn=lambda p, group: matrix @ p)[0]

    mean = jax.jit(jax.vmap(one))(keys).mean(axis=0)
    np.testing.assert_allclose(mean, matrix @ w, atol=8e-3)

  def test_G4_noise_knows_neither_data_nor_labels(self):
    link = imbsam_jax.rsam(0.1, key=KEY)
    params, mean = problems.make_params(), problems.mean_weights()
    first, labels, data = [
      problems.perturbations(link, params, batch, mean)[0]
      for batch in (
        problems.make_batch(),
        problems.make_batch(problems.TAIL_LABELS),
        problems.make_batch(seed=5),
      )
    ]
    trees.assert_equal(first, labels)
    trees.assert_equal(first, data)

  def test_G5_frozen_leaves_get_no_noise(self):
    params = problems.to_jax(problems.make_params())
    for mask in (
      {'hidden': False, 'output': {'kernel': True, 'bias': False}},
      lambda p: {
        'hidden': {'kernel': False, 'bias': False},
        'output': jax.tree.map(lambda x: x.ndim > 1, p['output']),
      },
    ):
      noise, _ = _noise(imbsam_jax.rsam(0.1, key=KEY, mask=mask), params)
      for frozen in (
        noise['hidden']['kernel'],
        noise['hidden']['bias'],
        noise['output']['bias'],
      ):
        self.assertEqual(np.abs(frozen).max(), 0.0)
      self.assertGreater(np.abs(noise['output']['kernel']).min(), 0.0)

  def test_G5_a_mask_leaves_the_other_leaves_their_noise(self):
    params = problems.to_jax(problems.make_params())
    everywhere, _ = _noise(imbsam_jax.rsam(0.1, key=KEY), params)
    masked, _ = _noise(
      imbsam_jax.rsam(0.1, key=KEY, mask={'hidden': False, 'output': True}),
      params,
    )
    trees.assert_equal(masked['output'], everywhere['output'])

  def test_G6_G7_clamp_and_spread(self):
    rho = 0.005
    noise, _ = _noise(imbsam_jax.rsam(rho, key=KEY), jnp.zeros(2**20))
    # P(|N(0, 1/9)| > 1) = 0.0027: the clamp is seen, and never passed.
    self.assertLessEqual(np.abs(noise).max(), np.float32(rho))
    self.assertBetween((np.abs(noise) >= np.float32(rho)).mean(), 2e-3, 3.4e-3)
    np.testing.assert_allclose(noise.std(), 0.3329 * rho, rtol=3e-3)
    np.testing.assert_allclose(noise.mean(), 0.0, atol=2e-3 * rho)

  def test_G8_exactly_one_gradient(self):
    params = problems.to_jax(problems.make_params())
    oracle = CountingOracle(lambda p: p)
    link = imbsam_jax.rsam(0.1, key=KEY)
    found, _ = link.update(params, link.init(params), params, grad_fn=oracle)
    self.assertLen(oracle.points, 1)
    trees.assert_equal(found, oracle.points[0])

  def test_G8_the_gradient_passed_in_is_not_read(self):
    params = problems.to_jax(problems.make_params())
    nan = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), params)
    link = imbsam_jax.rsam(0.1, key=KEY)
    found, _ = link.update(
      nan, link.init(params), params, grad_fn=lambda p, group: p
    )
    self.assertTrue(np.isfinite(trees.norm(found)))

  def test_G9_on_a_cubic_the_mean_moves_by_half_the_variance(self):
    # f = c w^3 / 6: E[g(w + e)] - g(w) = c Var(e) / 2.
    w, c, rho = jnp.full(2**20, 0.1), 3.0, 0.6
    link = imbsam_jax.rsam(rho, key=KEY)
    found, _ = link.update(
      w, link.init(w), w, grad_fn=lambda p, group: c * p**2 / 2
    )
    expected = c * (0.3329 * rho) ** 2 / 2
    np.testing.assert_allclose(
      np.mean(np.asarray(found) - c * 0.1**2 / 2), expected, rtol=0.01
    )


class RsamNoiseTest(parameterized.TestCase):
  def test_fresh_noise_at_every_step_and_in_every_leaf(self):
    params = {'a': jnp.zeros(1000), 'b': jnp.zeros(1000)}
    link = imbsam_jax.rsam(0.1, key=KEY)
    first, state = _noise(link, params)
    second, state = _noise(link, params, state)
    self.assertEqual(state.count, 2)
    draws = np.stack([first['a'], first['b'], second['a'], second['b']])
    correlations = np.corrcoef(draws) - np.eye(4)
    self.assertLess(np.abs(correlations).max(), 0.15)

  def test_a_restored_state_continues_the_noise(self):
    params = jnp.zeros(8)
    link = imbsam_jax.rsam(0.1, key=KEY)
    _, state = _noise(link, params)
    expected, _ = _noise(link, params, state)
    # Through NumPy, as a checkpoint goes; into a link made with another key.
    restored = transforms.RsamState(*(np.asarray(x) for x in state))
    other = imbsam_jax.rsam(0.1, key=jax.random.key(7))
    trees.assert_equal(_noise(other, params, restored)[0], expected)

  def test_noise_halves_with_a_stage_switch(self):
    params = jnp.zeros(8)
    constant = imbsam_jax.rsam(0.5, key=KEY)
    switched = imbsam_jax.rsam(
      imbsam_jax.stage_switch(0.5, 0.25, boundary=2), key=KEY
    )
    state = constant.init(params)
    for factor in (1.0, 1.0, 0.5, 0.5):
      halved, _ = _noise(switched, params, state)
      full, state = _noise(constant, params, state)
      trees.assert_equal(halved, factor * full)

  def test_typed_and_legacy_keys_agree(self):
    params = jnp.zeros(8)
    typed, _ = _noise(imbsam_jax.rsam(0.1, key=jax.random.key(3)), params)
    legacy, _ = _noise(imbsam_jax.rsam(0.1, key=jax.random.PRNGKey(3)), params)
    trees.assert_equal(typed, legacy)

  def test_other_key_implementations(self):
    key = jax.random.key(3, impl='rbg')
    noise, state = _noise(imbsam_jax.rsam(0.1, key=key), jnp.zeros(8))
    self.assertEqual(state.key_data.shape, (4,))
    self.assertGreater(np.abs(noise).min(), 0.0)

  def test_radius_is_a_half_width_and_not_a_norm(self):
    params = jnp.zeros(50)
    small, _ = _noise(imbsam_jax.rsam(0.25, key=KEY), params)
    large, _ = _noise(imbsam_jax.rsam(0.5, key=KEY), params)
    trees.assert_equal(large, 2.0 * small)

  def test_bfloat16_parameters_are_moved_in_float32(self):
    params = jnp.full(8, 3.0, jnp.bfloat16)
    oracle = CountingOracle(lambda p: p.astype(jnp.bfloat16))
    link = imbsam_jax.rsam(1e-3, key=KEY)
    found, _ = link.update(params, link.init(params), params, grad_fn=oracle)
    self.assertEqual(oracle.points[0].dtype, jnp.float32)
    self.assertGreater(trees.norm(trees.subtract(oracle.points[0], params)), 0)
    self.assertEqual(found.dtype, jnp.bfloat16)

  def test_in_a_chain_weight_decay_acts_at_w(self):
    w = jnp.array([1.0, -2.0])
    optimizer = optax.chain(
      imbsam_jax.rsam(0.1, key=KEY),
      optax.add_decayed_weights(0.5),
      optax.sgd(1.0),
    )
    found, _ = optimizer.update(
      w, optimizer.init(w), w, grad_fn=lambda p, group: jnp.ones(2)
    )
    np.testing.assert_allclose(found, -(1.0 + 0.5 * w), rtol=1e-6)


if __name__ == '__main__':
  absltest.main()
