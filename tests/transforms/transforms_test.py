# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every rule against the NumPy witness, on a small network."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import optax

import imbsam_jax
from tests import numpy_witness
from tests import problems
from tests import trees

COUNTS = problems.CLASS_COUNTS
THRESHOLD = problems.THRESHOLD


def _head_tail(tail_weight=1.0):
  return lambda batch: numpy_witness.head_tail_weights(
    batch['labels'], COUNTS, threshold=THRESHOLD, tail_weight=tail_weight
  )


def _mean(batch):
  return np.full((1, len(batch['labels'])), 1.0 / len(batch['labels']))


def _focal(batch):
  return numpy_witness.focal_weights(
    batch['labels'], COUNTS, gamma=3.0, lam=0.5
  )


# Name: link, group weights [K, B] of a batch, the witness' gradient, which adds
# no epsilon.
RULES = {
  'sgd': (
    imbsam_jax.group_sam((None,)),
    _mean,
    numpy_witness.sgd_gradient,
  ),
  'sam': (
    imbsam_jax.sam(0.3, eps=0.0),
    _mean,
    lambda p, b: numpy_witness.sam_gradient(p, b, 0.3),
  ),
  'asam': (
    imbsam_jax.sam(0.7, adaptive=True, eps=0.0),
    _mean,
    lambda p, b: numpy_witness.asam_gradient(p, b, 0.7),
  ),
  'imbsam': (
    imbsam_jax.imbsam(0.3, eps=0.0),
    _head_tail(),
    lambda p, b: numpy_witness.imbsam_gradient(p, b, COUNTS, THRESHOLD, 0.3),
  ),
  'imbsam_tail_weight_2': (
    imbsam_jax.imbsam(0.3, eps=0.0),
    _head_tail(2.0),
    lambda p, b: numpy_witness.imbsam_gradient(
      p, b, COUNTS, THRESHOLD, 0.3, tail_weight=2.0
    ),
  ),
  'sse_sam': (
    imbsam_jax.sse_sam(0.2, 0.4, eps=0.0),
    _head_tail(),
    lambda p, b: numpy_witness.sse_sam_gradient(
      p, b, COUNTS, THRESHOLD, 0.2, 0.4
    ),
  ),
  'focal_sam': (
    imbsam_jax.focal_sam(0.3, eps=0.0),
    _focal,
    lambda p, b: numpy_witness.focal_sam_gradient(p, b, COUNTS, 0.3, 3.0, 0.5),
  ),
}


class WitnessTest(parameterized.TestCase):
  @parameterized.parameters(*RULES)
  def test_float64_equals_the_witness(self, rule):
    link, weights, witness = RULES[rule]
    params, batch = problems.make_params(), problems.make_batch()
    with jax.enable_x64(True):
      actual = problems.gradient(
        link, params, batch, weights(batch), compiled=False
      )
    self.assertEqual(actual['output']['bias'].dtype, np.float64)
    trees.assert_close(actual, witness(params, batch), 1e-12)

  @parameterized.parameters(
    'imbsam', 'imbsam_tail_weight_2', 'sse_sam', 'focal_sam'
  )
  def test_float64_with_rows_of_their_own_equals_the_witness(self, rule):
    link, weights, witness = RULES[rule]
    params, batch = problems.make_params(3), problems.make_batch()
    with jax.enable_x64(True):
      actual = problems.gradient(
        link, params, batch, weights(batch), oracle='split'
      )
    trees.assert_close(actual, witness(params, batch), 1e-12)

  @parameterized.parameters('asam', 'imbsam', 'sse_sam', 'focal_sam')
  def test_float32_equals_the_witness(self, rule):
    link, weights, witness = RULES[rule]
    params, batch = problems.make_params(2), problems.make_batch(seed=3)
    actual = problems.gradient(link, params, batch, weights(batch))
    self.assertEqual(actual['output']['bias'].dtype, np.float32)
    trees.assert_close(actual, witness(params, batch), 1e-5)

  @parameterized.product(rule=tuple(RULES))
  def test_trajectory_with_momentum_and_weight_decay(self, rule):
    link, weights, witness = RULES[rule]
    optimizer = optax.chain(
      link, optax.add_decayed_weights(0.02), optax.sgd(0.3, momentum=0.9)
    )
    expected = problems.make_params()
    velocity = numpy_witness.zero_velocity(expected)
    with jax.enable_x64(True):
      params = problems.to_jax(expected)
      state = optimizer.init(params)
      for seed in range(5):
        labels = np.roll(problems.LABELS, seed)
        batch = problems.make_batch(labels, seed=10 + seed)
        _, grads, grad_fn = imbsam_jax.gradient_oracle(
          problems.loss_fn,
          params,
          problems.to_jax(batch),
          group_weights=weights(batch),
        )
        updates, state = optimizer.update(grads, state, params, grad_fn=grad_fn)
        params = optax.apply_updates(params, updates)
        expected, velocity = numpy_witness.momentum_step(
          expected, velocity, witness(expected, batch), 0.3, 0.9, 0.02
        )
    trees.assert_close(params, expected, 1e-12)

  def test_rsam_equals_the_witness_at_its_own_noise(self):
    link = imbsam_jax.rsam(0.3, key=jax.random.key(0))
    params, batch = problems.make_params(), problems.make_batch()
    with jax.enable_x64(True):
      noise = problems.perturbations(link, params, batch, _mean(batch))[0]
      masked, split = [
        problems.gradient(
          link,
          params,
          batch,
          _head_tail()(batch),
          oracle=oracle,
          compiled=oracle == 'split',
        )
        for oracle in ('masked', 'split')
      ]
    self.assertGreater(trees.norm(noise), 0.1)
    expected = numpy_witness.rsam_gradient(params, batch, noise)
    trees.assert_close(masked, expected, 1e-12)
    trees.assert_close(split, expected, 1e-12)


def _naive_group_sam(params, batch, weights, rhos, counted, adaptive):
  """The equation of `group_sam`, one group after the other.

  `counted` and `adaptive` say for each entry of the flat vector of parameters
  whether it is perturbed, and whether in proportion to itself.
  """
  w = numpy_witness.flatten(params)
  scale = np.where(adaptive, np.abs(w), 1.0) * counted
  total = np.zeros_like(w)
  for row, rho in zip(weights, rhos, strict=True):
    g = numpy_witness.flatten(
      numpy_witness.weighted_gradient(params, batch, row)
    )
    e = np.zeros_like(w)
    if rho is not None:
      e = rho * scale**2 * g / np.linalg.norm(scale * g)
    moved = numpy_witness.unflatten(w + e, params)
    total += numpy_witness.flatten(
      numpy_witness.weighted_gradient(moved, batch, row)
    )
  return numpy_witness.unflatten(total, params)


def _flat_flags(hidden, output, bias=True):
  shapes = problems.make_params()
  flags = {
    name: {
      'kernel': np.full(shapes[name]['kernel'].shape, flag),
      'bias': np.full(shapes[name]['bias'].shape, flag and bias),
    }
    for name, flag in (('hidden', hidden), ('output', output))
  }
  return numpy_witness.flatten(flags).astype(bool)


EVERYWHERE = _flat_flags(True, True)
NOWHERE = _flat_flags(False, False)


class ThreeGroupsTest(parameterized.TestCase):
  """One group per class, as in CC-SAM, against the naive loop."""

  def _assert_equals_the_loop(
    self,
    rhos,
    *,
    counted=EVERYWHERE,
    adapted=NOWHERE,
    schedule=None,
    oracle='masked',
    **kwargs,
  ):
    params = problems.make_params()
    batch = problems.make_batch([label % 3 for label in problems.LABELS])
    weights = np.stack([batch['labels'] == k for k in range(3)]) / 16.0
    link = imbsam_jax.group_sam(schedule or rhos, eps=0.0, **kwargs)
    expected = _naive_group_sam(params, batch, weights, rhos, counted, adapted)
    with jax.enable_x64(True):
      actual = problems.gradient(
        link,
        params,
        batch,
        weights,
        oracle=oracle,
        compiled=oracle == 'split',
      )
    trees.assert_close(actual, expected, 1e-12)

  @parameterized.parameters(
    ((0.1, 0.2, 0.3),),
    ((None, 0.2, 0.5),),
    ((0.4, None, None),),
    ((None, None, 0.3),),
    ((None, None, None),),
  )
  def test_radii(self, rhos):
    self._assert_equals_the_loop(rhos)

  def test_rows_of_their_own(self):
    self._assert_equals_the_loop((0.1, None, 0.3), oracle='split')

  def test_a_schedule_for_one_group(self):
    self._assert_equals_the_loop(
      (0.1, 0.25, None),
      schedule=(0.1, lambda count: jnp.where(count == 0, 0.25, 1.0), None),
    )

  def test_mask_as_prefix(self):
    self._assert_equals_the_loop(
      (0.1, 0.2, 0.3),
      mask={'hidden': False, 'output': True},
      counted=_flat_flags(False, True),
    )

  def test_mask_as_function(self):
    self._assert_equals_the_loop(
      (None, 0.2, 0.3),
      mask=lambda params: jax.tree.map(lambda x: x.ndim > 1, params),
      counted=_flat_flags(True, True, bias=False),
    )

  def test_adaptive_leaves(self):
    self._assert_equals_the_loop(
      (0.1, None, 0.6),
      adaptive={'hidden': True, 'output': False},
      adapted=_flat_flags(True, False),
    )

  def test_mask_and_adaptive_leaves(self):
    self._assert_equals_the_loop(
      (0.1, 0.2, 0.6),
      mask={'hidden': {'kernel': True, 'bias': False}, 'output': True},
      adaptive=lambda params: jax.tree.map(lambda x: x.ndim > 1, params),
      counted=_flat_flags(True, False, bias=False) | _flat_flags(False, True),
      adapted=_flat_flags(True, True, bias=False),
    )


if __name__ == '__main__':
  absltest.main()
