# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What optax expects of every link of a chain."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

import imbsam_jax
from tests import trees
from tests.transforms import links

update = links.update
make_params, make_batch = links.make_params, links.make_batch
every_link = parameterized.named_parameters(
  *((name, link, groups) for name, (link, groups) in links.LINKS.items())
)


# Enough where programs are large: the others share their code with these.
every_kind = parameterized.named_parameters(
  *(
    (name, *links.LINKS[name]) for name in ('sse_sam', 'rsam', 'skip_nonfinite')
  )
)


def types(tree):
  return jax.tree.map(jax.typeof, tree)


class LinkTest(parameterized.TestCase):
  @every_link
  def test_accepts_unknown_extra_arguments(self, link, groups):
    params, batch = make_params(), make_batch()
    state = link.init(params)

    plain, _ = update(link, groups, params, state, batch)
    extra, _ = update(link, groups, params, state, batch, unheard_of=1)
    trees.assert_equal(plain, extra)
    self.assertGreater(trees.norm(plain), 0.0)

  @every_link
  def test_perturbed_parameters_are_computed_once(self, link, groups):
    # And not wherever they are used: behind a barrier for each perturbation.
    text = str(
      jax.make_jaxpr(functools.partial(update, link, groups))(
        make_params(), link.init(make_params()), make_batch()
      )
    )
    self.assertIn('optimization_barrier', text)

  @parameterized.product(
    name=tuple(links.LINKS),
    dtype=(jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64),
  )
  def test_keeps_dtypes(self, name, dtype):
    link, groups = links.LINKS[name]
    with jax.enable_x64(dtype == jnp.float64):
      params, batch = make_params(dtype), make_batch()
      state = link.init(params)
      updates, new_state = jax.eval_shape(
        functools.partial(update, link, groups), params, state, batch
      )
      self.assertEqual(
        jax.tree.map(lambda x: (x.shape, x.dtype), updates),
        jax.tree.map(lambda x: (x.shape, x.dtype), params),
      )
      self.assertEqual(
        jax.tree.map(lambda x: (x.shape, x.dtype), new_state),
        jax.tree.map(lambda x: (x.shape, x.dtype), state),
      )

  @every_link
  def test_bfloat16_is_close_to_float32(self, link, groups):
    def one(params, batch):
      return update(link, groups, params, link.init(params), batch)[0]

    wide = make_params()
    narrow = jax.tree.map(lambda x: x.astype(jnp.bfloat16), wide)
    trees.assert_close(one(narrow, make_batch()), one(wide, make_batch()), 0.02)

  @every_kind
  def test_inside_scan_and_cond(self, link, groups):
    params = make_params()
    state = link.init(params)
    batches = [make_batch(seed) for seed in range(3)]

    def step(carry, batch):
      params, state = carry
      updates, state = update(link, groups, params, state, batch)
      return (optax.apply_updates(params, updates), state), None

    def maybe_step(carry, batch):
      return jax.lax.cond(
        jnp.asarray(batch['a'].sum() < jnp.inf),
        lambda c: step(c, batch)[0],
        lambda c: c,
        carry,
      ), None

    stacked = jax.tree.map(lambda *x: jnp.stack(x), *batches)
    scanned, _ = jax.jit(functools.partial(jax.lax.scan, maybe_step))(
      (params, state), stacked
    )
    self.assertEqual(types(scanned), types((params, state)))
    carry = params, state
    for batch in batches:
      carry, _ = step(carry, batch)
    self.assertEqual(types(carry), types((params, state)))
    trees.assert_close(scanned[0], carry[0], 1e-5)

  @every_kind
  def test_update_alone_inside_cond(self, link, groups):
    # The oracle's clean pass is outside of the branch, its use inside.
    params, batch = make_params(), make_batch()
    state = link.init(params)

    class Branch:
      def update(self, grads, state, params, *, grad_fn):
        return jax.lax.cond(
          optax.tree.get(state, 'count') == 0,
          lambda s: link.update(grads, s, params, grad_fn=grad_fn),
          lambda s: (grads, s),
          state,
        )

    inside, _ = update(Branch(), groups, params, state, batch)
    outside, _ = update(link, groups, params, state, batch)
    trees.assert_close(inside, outside, 1e-6)

  @every_kind
  def test_before_multi_steps_it_is_the_mean_over_microbatches(
    self, link, groups
  ):
    params = make_params()
    accumulated = optax.chain(
      link,
      links.relaxed(
        optax.MultiSteps(optax.sgd(1.0), 2).gradient_transformation()
      ),
    )
    state, link_state = accumulated.init(params), link.init(params)
    found, each = [], []
    for batch in (make_batch(0), make_batch(1)):
      updates, state = update(accumulated, groups, params, state, batch)
      found.append(updates)
      updates, link_state = update(link, groups, params, link_state, batch)
      each.append(updates)
    self.assertEqual(trees.norm(found[0]), 0.0)
    mean = jax.tree.map(lambda x, y: -(x + y) / 2, *each)
    trees.assert_close(found[1], mean, 1e-5)

  @every_link
  def test_traces_once_counts_and_can_be_donated(self, link, groups):
    @functools.partial(jax.jit, donate_argnums=(0, 1))
    @chex.assert_max_traces(n=1)
    def step(params, state, batch):
      updates, state = update(link, groups, params, state, batch)
      return optax.apply_updates(params, updates), state

    results = []
    for _ in range(2):  # What the link holds must survive the donation.
      params = make_params()
      state = link.init(params)
      for seed in range(3):
        donated = jax.tree.leaves((params, state))
        params, state = step(params, state, make_batch(seed))
        self.assertTrue(all(x.is_deleted() for x in donated))
      self.assertEqual(optax.tree.get(state, 'count'), 3)
      results.append((params, state))
    trees.assert_equal(*results)

  @every_link
  def test_abstract_init(self, link, groups):
    del groups
    params = make_params()
    abstract = jax.eval_shape(link.init, jax.eval_shape(lambda: params))
    self.assertEqual(types(abstract), types(link.init(params)))

  @every_link
  def test_before_an_optimizer_with_extra_arguments(self, link, groups):
    params, batch = make_params(), make_batch()
    optimizer = optax.chain(link, optax.sgd(0.1), optax.scale_by_polyak())

    updates, _ = update(
      optimizer, groups, params, optimizer.init(params), batch, value=None
    )
    self.assertGreater(trees.norm(updates), 0.0)


class RsamKeyTest(parameterized.TestCase):
  @parameterized.parameters(jax.random.key, jax.random.PRNGKey)
  def test_donation_leaves_the_callers_key(self, make_key):
    key = make_key(0)
    link = imbsam_jax.rsam(0.1, key=key)
    step = jax.jit(
      lambda state: state._replace(count=state.count + 1), donate_argnums=0
    )
    for _ in range(2):
      state = step(link.init(make_params()))
    self.assertEqual(state.count, 1)
    np.testing.assert_array_equal(
      state.key_data, jnp.asarray(jax.random.key_data(make_key(0)))
    )
    jax.random.normal(key)  # Raises for a deleted array.


if __name__ == '__main__':
  absltest.main()
