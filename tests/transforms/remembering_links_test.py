# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`momentum_imbsam`, `look_sam`, `friendly_sam`, `gsam`; `average_decay`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import imbsam_jax
from imbsam_jax import transforms
from tests import memory_witness
from tests import numpy_witness
from tests import problems
from tests import trees
from tests.transforms import links

_COUNTS, _THRESHOLD = problems.CLASS_COUNTS, problems.THRESHOLD


def _mean(batch):
  return np.full((1, len(batch['labels'])), 1.0 / len(batch['labels']))


def _head_tail(batch, tail_weight=1.0):
  return numpy_witness.head_tail_weights(
    batch['labels'], _COUNTS, threshold=_THRESHOLD, tail_weight=tail_weight
  )


def _momentum(oracle, *, tail_weight=1.0, adaptive=False, decay=0.7):
  return (
    imbsam_jax.momentum_imbsam(0.3, decay=decay, adaptive=adaptive, eps=0.0),
    functools.partial(_head_tail, tail_weight=tail_weight),
    lambda p, b, memory, count: memory_witness.momentum_imbsam(
      p, b, memory, _COUNTS, _THRESHOLD, 0.3, decay, tail_weight, adaptive
    ),
    oracle,
  )


def _momentum_sam(decay=0.7, adaptive=False):
  return (
    imbsam_jax.sam(0.3, average_decay=decay, adaptive=adaptive, eps=0.0),
    _mean,
    lambda p, b, memory, count: memory_witness.momentum_groups(
      p, b, memory, _mean(b), (0.3,), decay, adaptive
    ),
    'masked',
  )


def _momentum_sse(oracle, *, adaptive=False, decay=0.7):
  return (
    imbsam_jax.sse_sam(
      0.2, 0.3, average_decay=decay, adaptive=adaptive, eps=0.0
    ),
    _head_tail,
    lambda p, b, memory, count: memory_witness.momentum_groups(
      p, b, memory, _head_tail(b), (0.2, 0.3), decay, adaptive
    ),
    oracle,
  )


def _trees(average):
  """The averages of all groups."""
  return average if isinstance(average, tuple) else (average,)


def _friendly(average, sigma=1.5):
  return (
    imbsam_jax.friendly_sam(
      0.3, sigma=sigma, lam=0.6, average=average, eps=0.0
    ),
    _mean,
    lambda p, b, memory, count: memory_witness.friendly_sam(
      p, b, memory, 0.3, sigma, 0.6, average
    ),
    'masked',
  )


# Name: link, group weights, the witness' gradient and memory, oracle.
_RULES = {
  'momentum_imbsam': _momentum('masked'),
  'momentum_imbsam_split': _momentum('split', tail_weight=2.0),
  'momentum_imbsam_adaptive': _momentum('masked', adaptive=True),
  'momentum_imbsam_of_the_last_step': _momentum('split', decay=0.0),
  'sam_remembering': _momentum_sam(),
  'sam_remembering_adaptive': _momentum_sam(adaptive=True),
  'sam_remembering_the_last_step': _momentum_sam(decay=0.0),
  'sse_sam_remembering': _momentum_sse('masked'),
  'sse_sam_remembering_split': _momentum_sse('split', decay=0.0),
  'sse_sam_remembering_adaptive': _momentum_sse('split', adaptive=True),
  'look_sam': (
    imbsam_jax.look_sam(0.3, every=3, alpha=0.7, eps=0.0),
    _mean,
    lambda p, b, memory, count: memory_witness.look_sam(
      p, b, memory, count, 0.3, 3, 0.7
    ),
    'masked',
  ),
  'friendly_sam': _friendly('current'),
  'friendly_sam_previous': _friendly('previous'),
  'gsam': (
    imbsam_jax.gsam(0.3, alpha=0.4, eps=0.0),
    _mean,
    lambda p, b, memory, count: memory_witness.gsam(p, b, 0.3, 0.4),
    'masked',
  ),
}
# The third step has no tail rows.
_LABELS = (
  problems.LABELS,
  tuple(np.roll(problems.LABELS, 1)),
  problems.HEAD_LABELS,
  tuple(np.roll(problems.LABELS, 3)),
  problems.TAIL_LABELS,
)


class WitnessTest(parameterized.TestCase):
  @parameterized.parameters(*_RULES)
  def test_trajectory_with_momentum_and_weight_decay(self, rule):
    link, weights, witness, oracle = _RULES[rule]
    optimizer = optax.chain(
      link, optax.add_decayed_weights(0.02), optax.sgd(0.3, momentum=0.9)
    )
    expected = problems.make_params()
    velocity = numpy_witness.zero_velocity(expected)
    memory = None
    with jax.enable_x64(True):
      params = problems.to_jax(expected)
      state = optimizer.init(params)
      for count, labels in enumerate(_LABELS):
        batch = problems.make_batch(labels, seed=10 + count)
        rows, build = problems.ORACLES[oracle]
        batches, group_weights = problems.to_jax(rows(batch, weights(batch)))
        _, grads, grad_fn = build(
          problems.loss_fn, params, batches, group_weights=group_weights
        )
        updates, state = optimizer.update(grads, state, params, grad_fn=grad_fn)
        params = optax.apply_updates(params, updates)
        gradient, memory = witness(expected, batch, memory, count)
        expected, velocity = numpy_witness.momentum_step(
          expected, velocity, gradient, 0.3, 0.9, 0.02
        )
    trees.assert_close(params, expected, 1e-12)
    if memory is not None:
      kept = _trees(state[0][1])
      self.assertEqual(kept[-1]['output']['bias'].dtype, np.float64)
      np.testing.assert_allclose(
        np.concatenate([numpy_witness.flatten(tree) for tree in kept]),
        memory,
        rtol=1e-10,
        atol=1e-12,
      )


class _Problem(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(jax.enable_x64(True))
    self.params = problems.make_params()
    self.batch = problems.make_batch()

  def _update(self, link, weights, *, state=None, labels=None, seed=1):
    """The first update, or one at another state, with the next state."""
    params = problems.to_jax(self.params)
    batch = problems.make_batch(labels or problems.LABELS, seed=seed)
    _, grads, grad_fn = imbsam_jax.gradient_oracle(
      problems.loss_fn,
      params,
      problems.to_jax(batch),
      group_weights=jnp.asarray(weights(batch)),
    )
    state = link.init(params) if state is None else state
    return link.update(grads, state, params, grad_fn=grad_fn)

  def _sgd(self, **options):
    return self._update(imbsam_jax.group_sam((None,)), _mean, **options)[0]

  def _sam(self, **options):
    return self._update(imbsam_jax.sam(0.3), _mean, **options)[0]


class MomentumImbsamTest(_Problem):
  def test_the_first_step_is_sgd(self):
    found, state = self._update(imbsam_jax.momentum_imbsam(0.3), _head_tail)
    trees.assert_close(found, self._sgd(), 1e-14)
    self.assertGreater(trees.norm(state.average), 0.0)

  def test_a_step_without_tail_rows_is_sgd_and_keeps_the_average(self):
    link = imbsam_jax.momentum_imbsam(0.3)
    _, state = self._update(link, _head_tail)
    found, after = self._update(
      link, _head_tail, state=state, labels=problems.HEAD_LABELS
    )
    trees.assert_close(found, self._sgd(labels=problems.HEAD_LABELS), 1e-14)
    trees.assert_equal(after.average, state.average)
    self.assertEqual(after.count, 2)

  def test_at_the_same_batch_the_second_step_is_imbsam(self):
    # The average then points where the tail's own gradient does.
    link = imbsam_jax.momentum_imbsam(0.3, decay=0.5)
    _, state = self._update(link, _head_tail)
    found, _ = self._update(link, _head_tail, state=state)
    expected, _ = self._update(imbsam_jax.imbsam(0.3), _head_tail)
    trees.assert_close(found, expected, 1e-10)
    trees.assert_differ(found, self._sgd(), 1e-3)

  def test_the_scale_of_the_average_does_not_count(self):
    link = imbsam_jax.momentum_imbsam(0.3, eps=0.0)
    _, state = self._update(link, _head_tail)
    found = [
      self._update(
        link,
        _head_tail,
        state=state._replace(
          average=jax.tree.map(lambda x, s=scale: s * x, state.average)
        ),
        seed=4,
      )[0]
      for scale in (1.0, 7.0)
    ]
    trees.assert_close(*found, 1e-12)

  @parameterized.parameters('masked', 'split')
  def test_neither_the_gradient_passed_in_nor_the_clean_tail_is_read(
    self, oracle
  ):
    link = imbsam_jax.momentum_imbsam(0.3)
    params = problems.to_jax(self.params)
    rows, build = problems.ORACLES[oracle]
    batches, weights = problems.to_jax(rows(self.batch, _head_tail(self.batch)))
    _, grads, grad_fn = build(
      problems.loss_fn, params, batches, group_weights=weights
    )
    points = []

    class Recorded:
      num_groups = 2

      def apart(self, both):
        points.extend(both)
        return grad_fn.apart(both)

      def __call__(self, params, group):
        raise AssertionError('a further gradient')

    nan = jax.tree.map(lambda g: jnp.full_like(g, jnp.nan), grads)
    found, _ = link.update(nan, link.init(params), params, grad_fn=Recorded())
    trees.assert_close(found, grads, 1e-14)
    self.assertIs(points[0], params)
    self.assertLen(points, 2)

  def test_value_is_that_of_the_two_passes(self):
    link = imbsam_jax.momentum_imbsam(0.3, eps=0.0)
    params = problems.to_jax(self.params)
    batches, weights = problems.to_jax(
      problems.split_rows(self.batch, _head_tail(self.batch))
    )
    _, state = self._update(link, _head_tail)
    (clean, _), grads, grad_fn = imbsam_jax.split_gradient_oracle(
      problems.loss_fn, params, batches, group_weights=weights
    )
    link.update(grads, state, params, grad_fn=grad_fn)
    loss, aux = grad_fn.value
    direction = trees.to_numpy(state.average)
    moved = jax.tree.map(
      lambda w, m: w + 0.3 * m / trees.norm(direction), self.params, direction
    )
    losses = [
      np.dot(w, numpy_witness.example_losses(p, b))
      for p, b, w in zip((self.params, moved), batches, weights, strict=True)
    ]
    np.testing.assert_allclose(loss, sum(losses), rtol=1e-12)
    self.assertGreater(abs(loss - clean), 1e-3)
    self.assertEqual([len(logits) for logits in aux], [len(w) for w in weights])

  def test_value_of_joint_rows_is_that_of_all_at_w(self):
    link = imbsam_jax.momentum_imbsam(0.3)
    params, batch = problems.to_jax((self.params, self.batch))
    _, state = self._update(link, _head_tail)
    value, grads, grad_fn = imbsam_jax.gradient_oracle(
      problems.loss_fn, params, batch, group_weights=_head_tail(self.batch)
    )
    link.update(grads, state, params, grad_fn=grad_fn)
    trees.assert_equal(grad_fn.value, value)

  def test_joint_rows_share_the_clean_forward_pass(self):
    count = 0

    def loss_fn(params, batch, weights):
      nonlocal count
      count += 1
      return problems.loss_fn(params, batch, weights)

    params, batch = problems.to_jax((self.params, self.batch))
    link = imbsam_jax.momentum_imbsam(0.3)
    _, grads, grad_fn = imbsam_jax.gradient_oracle(
      loss_fn, params, batch, group_weights=_head_tail(self.batch)
    )
    link.update(grads, link.init(params), params, grad_fn=grad_fn)
    self.assertEqual(count, 2)

  def test_oracles_give_the_same(self):
    link = imbsam_jax.momentum_imbsam(0.3)
    _, state = self._update(link, _head_tail)
    weights = _head_tail(self.batch)
    expected, new = self._update(link, _head_tail, state=state, seed=4)
    params = problems.to_jax(self.params)
    batch = problems.to_jax(problems.make_batch(seed=4))
    tail = np.flatnonzero(weights[1])
    for _, grads, grad_fn in (
      imbsam_jax.tail_only_gradient_oracle(
        problems.loss_fn,
        params,
        batch,
        jax.tree.map(lambda x: x[tail], batch),
        group_weights=weights,
        tail_weights=weights[1, tail],
      ),
      imbsam_jax.gradient_oracle(
        problems.loss_fn,
        params,
        batch,
        group_weights=weights,
        num_microbatches=4,
      ),
    ):
      # And an oracle of one's own, which has nothing but the call.
      for one in (grad_fn, lambda p, k, g=grad_fn: g(p, k)):
        found, found_state = link.update(grads, state, params, grad_fn=one)
        trees.assert_close(found, expected, 1e-12)
        trees.assert_close(found_state, new, 1e-12)

  def test_the_mask_is_perturbed_alone(self):
    link = imbsam_jax.momentum_imbsam(
      0.3, eps=0.0, mask={'hidden': False, 'output': True}
    )
    _, state = self._update(link, _head_tail)
    with jax.enable_x64(True):
      e = problems.perturbations(
        _Called(link), self.params, self.batch, _head_tail(self.batch),
        state=state,
      )[1]  # fmt: skip
    self.assertEqual(trees.norm(e['hidden']), 0.0)
    np.testing.assert_allclose(trees.norm(e['output']), 0.3, rtol=1e-12)


class AverageDecayTest(_Problem):
  def test_imbsam_of_group_sam_is_the_momentum_form(self):
    links_of = [
      imbsam_jax.group_sam((None, 0.3), average_decay=0.7),
      imbsam_jax.momentum_imbsam(0.3, decay=0.7),
    ]
    states = [None, None]
    for seed in range(3):
      found = [
        self._update(link, _head_tail, state=state, seed=seed)
        for link, state in zip(links_of, states, strict=True)
      ]
      trees.assert_equal(*found)
      states = [state for _, state in found]

  def test_sam_begins_with_sgd_and_is_sam_at_the_same_batch(self):
    link = imbsam_jax.sam(0.3, average_decay=0.5)
    first, state = self._update(link, _mean)
    trees.assert_close(first, self._sgd(), 1e-14)
    found, state = self._update(link, _mean, state=state)
    trees.assert_close(found, self._sam(), 1e-10)
    expected = jax.tree.map(lambda a, b: 0.25 * a + 0.5 * b, first, found)
    trees.assert_close(state.average, expected, 1e-12)

  def test_sse_sam_is_that_of_its_groups_at_the_same_batch(self):
    link = imbsam_jax.sse_sam(0.2, 0.3, average_decay=0.5)
    _, state = self._update(link, _head_tail)
    found, _ = self._update(link, _head_tail, state=state)
    expected, _ = self._update(imbsam_jax.sse_sam(0.2, 0.3), _head_tail)
    trees.assert_close(found, expected, 1e-10)

  @parameterized.parameters('HEAD_LABELS', 'TAIL_LABELS')
  def test_a_group_without_rows_keeps_its_average(self, labels):
    link = imbsam_jax.sse_sam(0.2, 0.3, average_decay=0.5)
    _, state = self._update(link, _head_tail)
    _, after = self._update(
      link, _head_tail, state=state, labels=getattr(problems, labels)
    )
    missing = int(labels == 'HEAD_LABELS')
    trees.assert_equal(after.average[missing], state.average[missing])
    other = 1 - missing
    trees.assert_differ(after.average[other], state.average[other], 1e-3)

  def test_the_second_stage_keeps_the_average_of_the_head(self):
    first, second = [
      imbsam_jax.sse_sam(rho, 0.3, average_decay=0.5) for rho in (0.2, 0.0)
    ]
    _, state = self._update(first, _head_tail)
    found, after = self._update(second, _head_tail, state=state, seed=5)
    trees.assert_equal(after.average[0], state.average[0])
    one = imbsam_jax.momentum_imbsam(0.3, decay=0.5)
    only = transforms.GroupAverageState(state.count, state.average[1])
    expected, end = self._update(one, _head_tail, state=only, seed=5)
    trees.assert_equal(found, expected)
    trees.assert_equal(after.average[1], end.average)

  def test_three_groups_of_which_one_stays(self):
    # Rows by class: the witness knows any weights.
    def weights(batch):
      labels = np.asarray(batch['labels'])
      return np.array([labels == c for c in range(3)]) / len(labels)

    link = imbsam_jax.group_sam((0.2, None, 0.3), average_decay=0.5, eps=0.0)
    state = memory = None
    for seed in range(3):
      batch = problems.make_batch(seed=seed)
      found, state = self._update(link, weights, state=state, seed=seed)
      expected, memory = memory_witness.momentum_groups(
        self.params, batch, memory, weights(batch), (0.2, 0.0, 0.3), 0.5
      )
      trees.assert_close(found, expected, 1e-12)
    self.assertLen(state.average, 2)
    kept = np.array([numpy_witness.flatten(tree) for tree in state.average])
    np.testing.assert_allclose(
      kept, memory.reshape(3, -1)[[0, 2]], rtol=1e-10, atol=1e-12
    )

  def test_value_of_sam_is_that_of_its_only_pass(self):
    count = 0

    def loss_fn(params, batch, weights):
      nonlocal count
      count += 1
      return problems.loss_fn(params, batch, weights)

    link = imbsam_jax.sam(0.3, average_decay=0.5, eps=0.0)
    _, state = self._update(link, _mean)
    params, batch = problems.to_jax((self.params, self.batch))
    _, grads, grad_fn = imbsam_jax.gradient_oracle(
      loss_fn, params, batch, group_weights=_mean(self.batch)
    )
    link.update(grads, state, params, grad_fn=grad_fn)
    self.assertEqual(count, 2)  # The first of them is dead code.
    direction = trees.to_numpy(state.average)
    moved = jax.tree.map(
      lambda w, m: w + 0.3 * m / trees.norm(direction), self.params, direction
    )
    expected = numpy_witness.example_losses(moved, self.batch).mean()
    np.testing.assert_allclose(grad_fn.value[0], expected, rtol=1e-12)

  def test_the_mask_is_perturbed_alone(self):
    link = imbsam_jax.sse_sam(
      0.2, 0.3, average_decay=0.5, eps=0.0,
      mask={'hidden': False, 'output': True},
    )  # fmt: skip
    _, state = self._update(link, _head_tail)
    with jax.enable_x64(True):
      both = problems.perturbations(
        _Called(link), self.params, self.batch, _head_tail(self.batch),
        state=state,
      )  # fmt: skip
    for group, rho in enumerate((0.2, 0.3)):
      e = both[group]
      self.assertEqual(trees.norm(e['hidden']), 0.0)
      np.testing.assert_allclose(trees.norm(e['output']), rho, rtol=1e-12)

  def test_radii_of_zero_ask_for_nothing_and_keep_what_there_is(self):
    link = imbsam_jax.sse_sam(0.0, 0.0, average_decay=0.5)
    params = links.make_params()
    updates, state = link.update(
      params,
      link.init(params),
      params,
      grad_fn=lambda p, group: self.fail('a pass for nothing'),
    )
    trees.assert_equal(updates, params)
    self.assertEqual(state.count, 1)
    self.assertLen(state.average, 2)

  @parameterized.parameters(
    (1.0, ValueError), (-0.1, ValueError), ('0.5', TypeError)
  )
  def test_decays_that_are_refused(self, decay, error):
    for build in (
      lambda: imbsam_jax.sam(0.1, average_decay=decay),
      lambda: imbsam_jax.sse_sam(0.1, 0.1, average_decay=decay),
      lambda: imbsam_jax.group_sam((0.1, None), average_decay=decay),
    ):
      with self.assertRaisesRegex(error, '`average_decay` must be'):
        build()


class _Called:
  """A link whose oracle has only the call."""

  def __init__(self, link):
    self.init, self.update = link.init, link.update


class LookSamTest(_Problem):
  def test_every_step_is_sam(self):
    link, state = imbsam_jax.look_sam(0.3, every=1), None
    for seed in (1, 5):
      found, state = self._update(link, _mean, state=state, seed=seed)
      trees.assert_close(found, self._sam(seed=seed), 1e-12)

  def test_alpha_zero_is_sgd_in_between(self):
    link = imbsam_jax.look_sam(0.3, every=2, alpha=0.0)
    first, state = self._update(link, _mean)
    second, _ = self._update(link, _mean, state=state, seed=5)
    trees.assert_close(first, self._sam(), 1e-12)
    trees.assert_equal(second, self._sgd(seed=5))

  def test_what_is_remembered_is_orthogonal_over_all_leaves(self):
    _, state = self._update(imbsam_jax.look_sam(0.3), _mean)
    g = numpy_witness.flatten(self._sgd())
    part = numpy_witness.flatten(state.orthogonal)
    norms = np.linalg.norm(g) * np.linalg.norm(part)
    self.assertGreater(norms, 1e-3)
    self.assertLess(abs(g @ part), 1e-13 * norms)
    # By tensor, as unofficial codes have it, it would be for each of them.
    (first, other), *_ = zip(
      jax.tree.leaves(self._sgd()), jax.tree.leaves(state.orthogonal),
      strict=True,
    )  # fmt: skip
    self.assertGreater(abs(np.vdot(first, other)), 1e-6)

  def test_length_of_what_is_added(self):
    link = imbsam_jax.look_sam(0.3, every=2, alpha=0.7)
    _, state = self._update(link, _mean)
    found, _ = self._update(link, _mean, state=state, seed=5)
    g = self._sgd(seed=5)
    np.testing.assert_allclose(
      trees.norm(trees.subtract(found, g)), 0.7 * trees.norm(g), rtol=1e-12
    )

  def test_two_links_that_take_turns_are_the_one(self):
    one = imbsam_jax.look_sam(0.3, every=3)
    looks = imbsam_jax.look_sam(0.3, every=1)
    remembers = imbsam_jax.look_sam(0.3, every=None)
    state = other = None
    for count in range(5):
      expected, state = self._update(one, _mean, state=state, seed=count)
      link = remembers if count % 3 else looks
      found, other = self._update(link, _mean, state=other, seed=count)
      trees.assert_close(found, expected, 1e-13)
      trees.assert_close(other, state, 1e-13)

  def test_nothing_remembered_is_sgd(self):
    found, _ = self._update(imbsam_jax.look_sam(0.3, every=None), _mean)
    trees.assert_equal(found, self._sgd())

  def test_parallel_gradients_leave_nothing_but_rounding_to_remember(self):
    # L = |w|^2 / 2: the SAM gradient points where the gradient does.
    params = jnp.asarray(np.random.default_rng(0).standard_normal(100))
    link = imbsam_jax.look_sam(0.3, every=2)
    state = link.init(params)
    for _ in range(2):
      found, state = link.update(
        params, state, params, grad_fn=lambda p, group: p
      )
      self.assertEqual(trees.norm(state.orthogonal), 0.0)
    trees.assert_equal(found, params)

  def test_only_the_steps_that_look_have_a_second_pass(self):
    def products(link):
      params, batch = problems.to_jax((self.params, self.batch))

      def step(state):
        _, grads, grad_fn = imbsam_jax.gradient_oracle(
          problems.loss_fn, params, batch, group_weights=_mean(self.batch)
        )
        return link.update(grads, state, params, grad_fn=grad_fn)

      jaxpr = jax.make_jaxpr(step)(link.init(params))
      outside = [str(e.primitive) for e in jaxpr.eqns]
      branches = [
        str(branch).count('dot_general')
        for e in jaxpr.eqns
        if str(e.primitive) == 'cond'
        for branch in e.params['branches']
      ]
      return outside.count('dot_general'), branches

    sgd, _ = products(imbsam_jax.group_sam((None,)))
    outside, branches = products(imbsam_jax.look_sam(0.3, every=5))
    self.assertGreater(sgd, 0)
    self.assertEqual(outside, sgd)
    self.assertEqual(sorted(branches), [0, sgd])
    self.assertEqual(products(imbsam_jax.look_sam(0.3, every=None))[0], sgd)
    self.assertEqual(products(imbsam_jax.look_sam(0.3, every=1))[0], 2 * sgd)


class FriendlySamTest(_Problem):
  @parameterized.parameters('current', 'previous')
  def test_sigma_zero_is_sam(self, average):
    link = imbsam_jax.friendly_sam(0.3, sigma=0.0, average=average)
    state = None
    for seed in (1, 5):
      found, state = self._update(link, _mean, state=state, seed=seed)
      trees.assert_close(found, self._sam(seed=seed), 1e-12)

  @parameterized.parameters('current', 'previous')
  def test_the_first_step_is_sam(self, average):
    link = imbsam_jax.friendly_sam(0.3, average=average)
    trees.assert_close(self._update(link, _mean)[0], self._sam(), 1e-12)

  def test_with_sigma_one_both_averages_are_one_direction(self):
    links_of = [
      imbsam_jax.friendly_sam(0.3, average=average, eps=0.0)
      for average in ('current', 'previous')
    ]
    _, state = self._update(links_of[1], _mean)
    found = [
      self._update(link, _mean, state=state, seed=5)[0] for link in links_of
    ]
    trees.assert_close(*found, 1e-12)
    trees.assert_differ(found[0], self._sam(seed=5), 1e-3)
    other = imbsam_jax.friendly_sam(0.3, sigma=0.5, average='previous')
    trees.assert_differ(
      self._update(other, _mean, state=state, seed=5)[0], found[0], 1e-3
    )

  def test_direction_of_length_rho(self):
    link = imbsam_jax.friendly_sam(0.3, sigma=0.5, lam=0.5, eps=0.0)
    _, state = self._update(link, _mean)
    e = problems.perturbations(
      link, self.params, problems.make_batch(seed=5), _mean(self.batch),
      state=state,
    )[0]  # fmt: skip
    g = numpy_witness.flatten(self._sgd(seed=5))
    m = numpy_witness.flatten(self._sgd())
    d = g - 0.5 * (0.25 * m + 0.5 * g)
    np.testing.assert_allclose(
      numpy_witness.flatten(e), 0.3 * d / np.linalg.norm(d), atol=1e-12
    )


class GsamTest(_Problem):
  def test_alpha_zero_is_sam(self):
    found, _ = self._update(imbsam_jax.gsam(0.3, alpha=0.0), _mean)
    trees.assert_close(found, self._sam(), 1e-12)

  def test_alpha_leaves_the_component_along_the_sam_gradient(self):
    found, _ = self._update(imbsam_jax.gsam(0.3, alpha=2.0), _mean)
    found, sam = (numpy_witness.flatten(x) for x in (found, self._sam()))
    np.testing.assert_allclose(found @ sam, sam @ sam, rtol=1e-12)
    self.assertGreater(np.linalg.norm(found - sam), 1e-2)

  def test_radius_that_follows_the_learning_rate(self):
    rate = lambda count: jnp.asarray((0.1, 0.05))[count]
    link = imbsam_jax.gsam(
      lambda count: 0.2 + 0.1 * (rate(count) - 0.05) / 0.05, alpha=0.4
    )
    first, state = self._update(link, _mean)
    second, _ = self._update(link, _mean, state=state)
    for found, rho in ((first, 0.3), (second, 0.2)):
      expected, _ = memory_witness.gsam(self.params, self.batch, rho, 0.4)
      trees.assert_close(found, expected, 1e-9)


# Name: links, number of groups.
_NEW = ('momentum_imbsam', 'look_sam', 'friendly_sam', 'gsam')


def _build(name, rho, **options):
  required = {'gsam': {'alpha': 0.5}}.get(name, {})
  return getattr(imbsam_jax, name)(rho, **required, **options)


class AllTest(parameterized.TestCase):
  @parameterized.product(name=_NEW, eps=(0.0, 1e-12))
  @pytest.mark.faults
  def test_f12_zero_gradients_are_finite(self, name, eps):
    link, groups = _build(name, 0.3, eps=eps), links.LINKS[name][1]
    params = problems.to_jax(problems.make_params())
    zeros = jax.tree.map(jnp.zeros_like, params)
    state = link.init(params)
    for _ in range(3):
      found, state = link.update(
        zeros, state, params, grad_fn=lambda p, group: zeros
      )
      self.assertEqual(trees.norm(found), 0.0)
      self.assertTrue(np.isfinite(trees.norm(state[-1])))
    self.assertEqual(state.count, 3)
    self.assertEqual(groups, 2 if 'imbsam' in name else 1)

  @parameterized.parameters(*_NEW)
  def test_radius_zero_is_sgd_and_asks_for_nothing(self, name):
    link, groups = _build(name, 0.0), links.LINKS[name][1]
    params, batch = links.make_params(), links.make_batch()
    refused = lambda p, group: self.fail('a pass for nothing')
    updates, state = link.update(
      params, link.init(params), params, grad_fn=refused
    )
    trees.assert_equal(updates, params)
    self.assertEqual(state.count, 1)
    # As a schedule it is the same but for rounding.
    scheduled = _build(name, lambda count: 0.0)
    state, plain = scheduled.init(params), imbsam_jax.group_sam((None,))
    for seed in range(3):
      batch = links.make_batch(seed)
      found, state = links.update(scheduled, groups, params, state, batch)
      expected, _ = links.update(plain, 1, params, plain.init(params), batch)
      trees.assert_close(found, expected, 1e-6)

  @parameterized.parameters(*_NEW)
  def test_a_mask_of_no_leaf_is_sgd(self, name):
    groups = links.LINKS[name][1]
    link = _build(name, 0.3, mask={'a': False, 'b': False})
    params = links.make_params()
    state, plain = link.init(params), imbsam_jax.group_sam((None,))
    for seed in range(2):
      batch = links.make_batch(seed)
      found, state = links.update(link, groups, params, state, batch)
      expected, _ = links.update(plain, 1, params, plain.init(params), batch)
      trees.assert_close(found, expected, 1e-6)

  @parameterized.parameters('momentum_imbsam', 'friendly_sam')
  def test_bfloat16_parameters_have_a_float32_average(self, name):
    link, groups = links.LINKS[name]
    params = links.make_params(jnp.bfloat16)
    state = link.init(params)
    for seed in range(2):
      _, state = links.update(
        link, groups, params, state, links.make_batch(seed)
      )
    self.assertEqual(state.average['a'].dtype, jnp.float32)
    fine = np.asarray(state.average['a'])
    self.assertTrue(
      np.any(fine != fine.astype(jnp.bfloat16).astype(np.float32))
    )

  @parameterized.parameters(
    ('momentum_imbsam', {'decay': 1.0}, '`decay` must be .*at least 0.*below'),
    ('momentum_imbsam', {'decay': -0.1}, '`decay` must be'),
    (
      'look_sam',
      {'every': 0},
      '`every` must be at least 1, got 0. .*number of',
    ),
    ('look_sam', {'alpha': -1.0}, '`alpha` must be'),
    ('friendly_sam', {'sigma': -1.0}, '`sigma` must be .* Pass 0.0 for SAM'),
    ('friendly_sam', {'lam': 1.0}, '`lam` must be'),
    (
      'friendly_sam',
      {'average': 'last'},
      "`average` must be 'current' or 'previous', got 'last'. Pass 'prev",
    ),
    ('gsam', {'alpha': -0.1}, '`alpha` must be .* Pass 0.0 for SAM'),
  )
  def test_values_that_are_refused(self, name, options, message):
    with self.assertRaisesRegex(ValueError, message):
      getattr(imbsam_jax, name)(0.1, **options)

  @parameterized.parameters(
    ('momentum_imbsam', 'decay', '0.9'),
    ('look_sam', 'every', 2.0),
    ('look_sam', 'alpha', None),
    ('friendly_sam', 'sigma', '1'),
    ('friendly_sam', 'lam', None),
    ('gsam', 'alpha', True),
  )
  def test_types_that_are_refused(self, name, argument, value):
    with self.assertRaisesRegex(TypeError, f'`{argument}` must be'):
      getattr(imbsam_jax, name)(0.1, **{argument: value})

  def test_states_are_public(self):
    for name, kind in (
      ('momentum_imbsam', transforms.GroupAverageState),
      ('look_sam', transforms.LookSamState),
      ('friendly_sam', transforms.FriendlySamState),
      ('gsam', transforms.GroupSamState),
    ):
      self.assertIsInstance(links.LINKS[name][0].init(jnp.zeros(2)), kind)


if __name__ == '__main__':
  absltest.main()
