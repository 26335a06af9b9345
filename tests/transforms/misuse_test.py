# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong, and what the user is told."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import optax

import imbsam_jax
from tests import problems
from tests import trees
from tests.transforms import links

KEY = links.KEY


class RadiusTest(parameterized.TestCase):
  @parameterized.parameters(-0.1, float('nan'), float('inf'), -1)
  def test_value(self, rho):
    for name, build in (
      ('rho', lambda: imbsam_jax.sam(rho)),
      ('rho', lambda: imbsam_jax.imbsam(rho)),
      ('rho', lambda: imbsam_jax.focal_sam(rho)),
      ('rho', lambda: imbsam_jax.rsam(rho, key=KEY)),
      ('rho', lambda: imbsam_jax.momentum_imbsam(rho)),
      ('rho', lambda: imbsam_jax.look_sam(rho)),
      ('rho', lambda: imbsam_jax.friendly_sam(rho)),
      ('rho', lambda: imbsam_jax.gsam(rho, alpha=0.5)),
      ('head_rho', lambda: imbsam_jax.sse_sam(rho, 0.1)),
      ('tail_rho', lambda: imbsam_jax.sse_sam(0.1, rho)),
      (r'rhos\[1\]', lambda: imbsam_jax.group_sam((0.1, rho))),
      ('before', lambda: imbsam_jax.stage_switch(rho, 0.1, 3)),
      ('after', lambda: imbsam_jax.stage_switch(0.1, rho, 3)),
    ):
      with self.assertRaisesRegex(
        ValueError,
        rf'`{name}` must be finite and at least 0, got {rho!r}\. Pass 0\.0',
      ):
        build()

  @parameterized.parameters('0.1', True, ([0.1],), 1j)
  def test_type(self, rho):
    for name, build in (
      ('rho', lambda: imbsam_jax.sam(rho)),
      ('rho', lambda: imbsam_jax.rsam(rho, key=KEY)),
      ('rho', lambda: imbsam_jax.momentum_imbsam(rho)),
      ('rho', lambda: imbsam_jax.look_sam(rho)),
      ('rho', lambda: imbsam_jax.friendly_sam(rho)),
      ('rho', lambda: imbsam_jax.gsam(rho, alpha=0.5)),
      ('tail_rho', lambda: imbsam_jax.sse_sam(0.1, rho)),
      (r'rhos\[0\]', lambda: imbsam_jax.group_sam((rho,))),
      ('after', lambda: imbsam_jax.stage_switch(0.1, rho, 3)),
    ):
      with self.assertRaisesRegex(
        TypeError, rf'`{name}` must be a number or .*, got .*Pass a float such'
      ):
        build()

  def test_no_radius(self):
    for name, build in (
      ('rho', lambda: imbsam_jax.sam(None)),
      ('rho', lambda: imbsam_jax.imbsam(None)),
      ('rho', lambda: imbsam_jax.focal_sam(None)),
      ('rho', lambda: imbsam_jax.rsam(None, key=KEY)),
      ('rho', lambda: imbsam_jax.momentum_imbsam(None)),
      ('rho', lambda: imbsam_jax.look_sam(None)),
      ('rho', lambda: imbsam_jax.friendly_sam(None)),
      ('rho', lambda: imbsam_jax.gsam(None, alpha=0.5)),
      ('head_rho', lambda: imbsam_jax.sse_sam(None, 0.1)),
      ('tail_rho', lambda: imbsam_jax.sse_sam(0.1, None)),
      ('after', lambda: imbsam_jax.stage_switch(0.1, None, 3)),
    ):
      with self.assertRaisesRegex(
        TypeError, f'`{name}` must be a number or .*, got None.*such as 0.05'
      ):
        build()

  @parameterized.parameters(0.05, 0)
  def test_group_sam_wants_one_radius_per_group(self, rho):
    with self.assertRaisesRegex(
      TypeError, rf'one radius per group, got {rho}\. Pass \({rho},\)'
    ):
      imbsam_jax.group_sam(rho)

  def test_group_sam_with_a_bare_schedule(self):
    with self.assertRaisesRegex(TypeError, 'one radius per group, got <func'):
      imbsam_jax.group_sam(lambda count: 0.05)

  def test_group_sam_without_groups(self):
    with self.assertRaisesRegex(ValueError, r'got none\. Pass \(0\.05,\)'):
      imbsam_jax.group_sam(())

  @parameterized.parameters(0, 0.5, None)
  def test_rsam_key(self, key):
    with self.assertRaisesRegex(
      TypeError, rf'`key` must be a key .*, got {key}\. Pass key=jax\.random'
    ):
      imbsam_jax.rsam(0.1, key=key)

  def test_rsam_key_that_is_no_key_array(self):
    with self.assertRaisesRegex(TypeError, '`key` must be a key'):
      imbsam_jax.rsam(0.1, key=jnp.zeros(2))

  @parameterized.parameters(2.5, '3', True)
  def test_stage_switch_boundary_type(self, boundary):
    with self.assertRaisesRegex(
      TypeError, '`boundary` must be an integer, got .*steps per epoch'
    ):
      imbsam_jax.stage_switch(0.1, 0.0, boundary)

  def test_stage_switch_boundary_value(self):
    with self.assertRaisesRegex(
      ValueError, '`boundary` must be at least 0, got -1. .*steps per'
    ):
      imbsam_jax.stage_switch(0.1, 0.0, -1)

  @parameterized.parameters(2.0, '5', True, None)
  def test_skip_nonfinite_limit_type(self, limit):
    with self.assertRaisesRegex(
      TypeError, '`max_consecutive` must be an integer, got .*Pass 0'
    ):
      imbsam_jax.skip_nonfinite(optax.sgd(0.1), max_consecutive=limit)

  def test_skip_nonfinite_limit_value(self):
    with self.assertRaisesRegex(
      ValueError, '`max_consecutive` must be at least 0, got -1. Pass 0'
    ):
      imbsam_jax.skip_nonfinite(optax.sgd(0.1), max_consecutive=-1)

  def test_unknown_arguments(self):
    with self.assertRaisesRegex(TypeError, "unexpected keyword argument 'eta'"):
      imbsam_jax.imbsam(0.1, eta=20)


class UpdateTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.params = links.make_params()

  @parameterized.named_parameters(
    ('group_sam', 'group_sam', imbsam_jax.group_sam((None,))),
    ('sam', 'sam', imbsam_jax.sam(0.1)),
    ('imbsam', 'imbsam', imbsam_jax.imbsam(0.1)),
    ('sse_sam', 'sse_sam', imbsam_jax.sse_sam(0.1, 0.1)),
    ('focal_sam', 'focal_sam', imbsam_jax.focal_sam(0.1)),
    ('rsam', 'rsam', imbsam_jax.rsam(0.1, key=KEY)),
    ('momentum', 'momentum_imbsam', imbsam_jax.momentum_imbsam(0.1)),
    ('look_sam', 'look_sam', imbsam_jax.look_sam(0.1)),
    ('friendly_sam', 'friendly_sam', imbsam_jax.friendly_sam(0.1)),
    ('gsam', 'gsam', imbsam_jax.gsam(0.1, alpha=0.5)),
  )
  def test_without_an_oracle(self, name, link):
    state = link.init(self.params)
    with self.assertRaisesRegex(
      ValueError,
      rf'`{name}` needs the extra argument `grad_fn\(params, group\)`, got '
      r'none.*grad_fn=grad_fn\).*`imbsam_jax.gradient_oracle`.*'
      'cannot pass extra arguments, use `imbsam_jax.value_and_grad`',
    ):
      link.update(self.params, state, self.params)
    with self.assertRaisesRegex(TypeError, '`grad_fn` must be a function'):
      link.update(self.params, state, self.params, grad_fn=self.params)
    with self.assertRaisesRegex(
      ValueError, rf'`{name}` needs the parameters, .*tx\.update\(grads, state'
    ):
      link.update(self.params, state, grad_fn=lambda p, k: p)

  @parameterized.parameters(
    (imbsam_jax.sam(0.1), 2, r'`sam` works on 1 .* for 2.*keepdims=True'),
    (imbsam_jax.imbsam(0.1), 1, '`imbsam` works on 2 .* for 1.*head and tail'),
    (imbsam_jax.imbsam(0.1), 3, '`imbsam` works on 2 .* for 3.*2 row'),
    (imbsam_jax.group_sam((0.1,) * 3), 2, '`group_sam` works on 3 .* for 2'),
    (imbsam_jax.momentum_imbsam(0.1), 1, '`momentum_imbsam` works on 2 .* 1'),
    (imbsam_jax.look_sam(0.1), 2, '`look_sam` works on 1 .* for 2.*keepdims'),
    (imbsam_jax.friendly_sam(0.1), 2, '`friendly_sam` works on 1 .* for 2'),
    (imbsam_jax.gsam(0.1, alpha=0.5), 2, '`gsam` works on 1 .* for 2'),
  )
  def test_an_oracle_of_other_groups(self, link, groups, message):
    with self.assertRaisesRegex(ValueError, message):
      links.update(
        link, groups, self.params, link.init(self.params), links.make_batch()
      )

  def test_rsam_takes_any_number_of_groups(self):
    link = imbsam_jax.rsam(0.1, key=KEY)
    found = [
      links.update(
        link, groups, self.params, link.init(self.params), links.make_batch()
      )[0]
      for groups in (1, 3)
    ]
    trees.assert_close(*found, 1e-5)

  @parameterized.named_parameters(
    ('sam', 'sam', imbsam_jax.sam(0.1)),
    ('rsam', 'rsam', imbsam_jax.rsam(0.1, key=KEY)),
    ('look_sam', 'look_sam', imbsam_jax.look_sam(0.1)),
  )
  def test_masked_or_partitioned_from_outside(self, name, link):
    mask = {'a': True, 'b': False}
    for outer in (
      optax.masked(link, mask),
      optax.partition({True: link, False: optax.sgd(0.1)}, mask),
    ):
      with self.assertRaisesRegex(
        ValueError,
        rf'`{name}` got a parameter tree with parts cut out, .*`optax\.masked` '
        rf'or `optax\.partition`.*Put `{name}` first in the chain.*`mask`',
      ):
        links.update(
          outer, 1, self.params, outer.init(self.params), links.make_batch()
        )

  @parameterized.parameters('mask', 'adaptive')
  def test_mask_of_another_structure(self, argument):
    link = imbsam_jax.sam(0.1, **{argument: {'a': True, 'c': False}})
    with self.assertRaisesRegex(
      ValueError,
      f'`{argument}` must be a tree of bools with the structure of the '
      "parameters.*'c'.*for parameters of.*'b'",
    ):
      links.update(
        link, 1, self.params, link.init(self.params), links.make_batch()
      )


class KnownToBeWrongTest(parameterized.TestCase):
  """Documented, and not detectable: what happens is pinned here."""

  @parameterized.named_parameters(
    # Weights of the local rows, 1/2 each, and a mean over devices.
    ('mean_of_local_means', 0.5, jax.lax.pmean),
    # Weights of the global rows, 1/16 each, and a sum over devices.
    ('sum_of_global_shares', 1 / 16, jax.lax.psum),
  )
  def test_in_shard_map_replicated_gradients_are_summed_already(
    self, weight, collective
  ):
    # Here the idiom of pmap gives eight times the gradient. Right is
    # `jax.lax.pcast(params, 'data', to='varying')` first: sharding_test.
    mesh = jax.make_mesh(
      (8,), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
    )
    params = problems.to_jax(problems.make_params())
    batch = problems.to_jax(problems.make_batch())
    link = imbsam_jax.sam(0.0)

    @jax.jit
    @functools.partial(
      jax.shard_map,
      mesh=mesh,
      in_specs=(jax.P(), jax.P('data')),
      out_specs=jax.P(),
    )
    def update(params, batch):
      _, grads, grad_fn = imbsam_jax.gradient_oracle(
        problems.loss_fn, params, batch, group_weights=jnp.full((1, 2), weight)
      )
      updates, _ = link.update(
        grads, link.init(params), params, grad_fn=grad_fn
      )
      return collective(updates, 'data')

    expected = jax.grad(
      lambda p: problems.loss_fn(p, batch, problems.mean_weights()[0])[0]
    )(params)
    wrong = jax.tree.map(lambda g: 8.0 * g, expected)
    trees.assert_close(update(params, batch), wrong, 1e-5)


if __name__ == '__main__':
  absltest.main()
