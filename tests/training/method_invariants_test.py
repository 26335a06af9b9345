# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Invariants of ImbSAM, SSE-SAM, Focal-SAM and ASAM, by their labels.

In float64. Where two methods do the same arithmetic they must agree to the last
bit; `BitForBitTest` says so of the compiled float32 programs as well.
"""

import functools
import math

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

SGD = imbsam_jax.group_sam((None,))
ALL_TAIL = problems.TAIL_LABELS
NO_TAIL = problems.HEAD_LABELS


def _sum(weights):
  return np.sum(weights, axis=0, keepdims=True)


class MethodTestCase(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(jax.enable_x64(True))
    self.params = problems.make_params()

  def _gradient(self, link, labels=problems.LABELS, weights=None, **kwargs):
    if weights is None:
      weights = problems.head_tail_weights(labels)
    return problems.gradient(
      link,
      self.params,
      problems.make_batch(labels),
      weights,
      compiled=False,
      **kwargs,
    )

  def _one_group(self, link, labels=problems.LABELS):
    return self._gradient(link, labels, problems.mean_weights())

  def _tail_perturbation(self, link, labels, weights):
    return problems.perturbations(
      link, self.params, problems.make_batch(labels), weights
    )[1]


class ImbSAMTest(MethodTestCase):
  def test_I1_all_tail_is_SAM(self):
    trees.assert_equal(
      self._gradient(imbsam_jax.imbsam(0.3), ALL_TAIL),
      self._one_group(imbsam_jax.sam(0.3), ALL_TAIL),
    )

  @parameterized.named_parameters(
    ('SAM', imbsam_jax.sam(0.3), 0), ('ImbSAM', imbsam_jax.imbsam(0.3), 1)
  )
  def test_I1_all_tail_is_exactly_the_gradient_at_w_plus_e(self, link, group):
    rng = np.random.default_rng(0)
    params, clean, perturbed = problems.to_jax(list(rng.normal(size=(3, 50))))

    def grad_fn(point, asked):
      self.assertEqual(asked, group)
      return clean if point is params else perturbed

    found, _ = link.update(clean, link.init(params), params, grad_fn=grad_fn)
    trees.assert_equal(found, perturbed)

  def test_I2_no_tail_row_in_the_batch_is_SGD(self):
    for eps in (1e-12, 0.0):
      trees.assert_equal(
        self._gradient(imbsam_jax.imbsam(0.3, eps=eps), NO_TAIL),
        self._one_group(SGD, NO_TAIL),
      )

  def test_I3_tail_weight_2_and_all_tail_is_SAM_on_twice_the_loss(self):
    twice = problems.head_tail_weights(ALL_TAIL, tail_weight=2.0)
    trees.assert_equal(
      self._gradient(imbsam_jax.imbsam(0.3), ALL_TAIL, twice),
      self._gradient(
        imbsam_jax.sam(0.3), ALL_TAIL, 2.0 * problems.mean_weights()
      ),
    )

  def test_I4_radius_zero_is_SGD(self):
    trees.assert_equal(
      self._gradient(imbsam_jax.imbsam(0.0)), self._one_group(SGD)
    )

  def test_I5_radius_zero_and_tail_weight_2_is_SGD_with_tail_weights(self):
    weights = problems.head_tail_weights(tail_weight=2.0)
    found = self._gradient(imbsam_jax.imbsam(0.0), weights=weights)
    trees.assert_equal(found, self._gradient(SGD, weights=_sum(weights)))
    trees.assert_differ(found, self._one_group(SGD), 0.05)

  @parameterized.named_parameters(
    ('no_class_is_tail', 0, SGD, 'no class tail'),
    ('every_class_is_tail', 101, imbsam_jax.sam(0.3), 'every class tail'),
  )
  def test_I6_threshold(self, threshold, expected, warning):
    with self.assertWarnsRegex(UserWarning, warning):
      weights = imbsam_jax.head_tail_weights(
        problems.LABELS, problems.CLASS_COUNTS, threshold=threshold
      )
    trees.assert_equal(
      self._gradient(imbsam_jax.imbsam(0.3), weights=weights),
      self._one_group(expected),
    )

  def test_I7_names_of_head_classes_do_not_matter_to_the_tail(self):
    link = imbsam_jax.imbsam(0.3)
    renamed = [(1, 0, 2, 3)[label] for label in problems.LABELS]
    first, second = [
      self._tail_perturbation(link, labels, problems.head_tail_weights(labels))
      for labels in (problems.LABELS, renamed)
    ]
    self.assertGreater(trees.norm(first), 0.29)
    trees.assert_same_values(first, second)

  def test_I8_F6_focal_weights_0_and_1_are_ImbSAM(self):
    omega = np.isin(problems.LABELS, (2, 3)).astype(np.float32)
    hard = np.stack([1.0 - omega, omega]) / 16
    trees.assert_equal(
      self._gradient(imbsam_jax.focal_sam(0.3), weights=hard),
      self._gradient(imbsam_jax.imbsam(0.3)),
    )

  @parameterized.parameters('masked', 'split')
  def test_I9_S1_SSE_SAM_without_head_radius_is_ImbSAM(self, oracle):
    imbsam = self._gradient(imbsam_jax.imbsam(0.3), oracle=oracle)
    constant = self._gradient(imbsam_jax.sse_sam(0.0, 0.3), oracle=oracle)
    trees.assert_equal(constant, imbsam)
    switched = imbsam_jax.sse_sam(imbsam_jax.stage_switch(0.2, 0.0, 0), 0.3)
    trees.assert_close(self._gradient(switched, oracle=oracle), imbsam, 1e-14)

  def test_I10_a_class_on_the_threshold_is_head(self):
    self.assertEqual(problems.CLASS_COUNTS[1], problems.THRESHOLD)
    found = imbsam_jax.head_tail_weights(
      [0, 1, 2], problems.CLASS_COUNTS, threshold=problems.THRESHOLD
    )
    np.testing.assert_array_equal(found[0] > 0, [True, True, False])
    np.testing.assert_array_equal(found[1] > 0, [False, False, True])


class SSESAMTest(MethodTestCase):
  def test_S2_no_tail_is_SAM_of_the_head_radius(self):
    trees.assert_equal(
      self._gradient(imbsam_jax.sse_sam(0.2, 0.3), NO_TAIL),
      self._one_group(imbsam_jax.sam(0.2), NO_TAIL),
    )

  def test_S3_all_tail_is_SAM_of_the_tail_radius(self):
    # The head is a remainder here: equal up to rounding.
    trees.assert_close(
      self._gradient(imbsam_jax.sse_sam(0.2, 0.3), ALL_TAIL),
      self._one_group(imbsam_jax.sam(0.3), ALL_TAIL),
      1e-14,
    )

  def test_S4_both_radii_zero_is_SGD(self):
    trees.assert_equal(
      self._gradient(imbsam_jax.sse_sam(0.0, 0.0)), self._one_group(SGD)
    )

  def test_S5_equal_radii_are_not_SAM(self):
    trees.assert_differ(
      self._gradient(imbsam_jax.sse_sam(0.3, 0.3)),
      self._one_group(imbsam_jax.sam(0.3)),
      0.01,
    )

  def test_S6_the_last_epoch_of_the_first_stage(self):
    # 200 epochs of 3 updates, gamma 0.7: epoch 140 is the last of stage 1.
    boundary = math.ceil(0.7 * 200) * 3
    schedule = imbsam_jax.stage_switch(0.2, 0.0, boundary)
    self.assertEqual(schedule(140 * 3 - 1), 0.2)
    self.assertEqual(schedule(140 * 3), 0.0)
    link = imbsam_jax.sse_sam(schedule, 0.3)
    state = link.init(None)
    for count, expected in (
      (0, imbsam_jax.sse_sam(0.2, 0.3)),
      (boundary - 1, imbsam_jax.sse_sam(0.2, 0.3)),
      (boundary, imbsam_jax.imbsam(0.3)),
    ):
      found = self._gradient(
        link, state=state._replace(count=state.count + count)
      )
      trees.assert_close(found, self._gradient(expected), 1e-14)

  @parameterized.named_parameters(
    ('gamma_0', 0, 0, 0.0),
    ('gamma_1', 600, 599, 0.2),
  )
  def test_S7_ends_of_gamma(self, boundary, count, expected):
    schedule = imbsam_jax.stage_switch(0.2, 0.0, boundary)
    self.assertEqual(schedule(count), expected)

  def test_S8_head_and_tail_change_places(self):
    weights = problems.head_tail_weights()
    trees.assert_close(
      self._gradient(imbsam_jax.sse_sam(0.2, 0.3), weights=weights),
      self._gradient(imbsam_jax.sse_sam(0.3, 0.2), weights=weights[::-1]),
      1e-14,
    )


class FocalSAMTest(MethodTestCase):
  def _focal(self, gamma, lam, counts=problems.CLASS_COUNTS, rho=0.3):
    weights = numpy_witness.focal_weights(
      problems.LABELS, counts, gamma=gamma, lam=lam
    )
    return self._gradient(imbsam_jax.focal_sam(rho), weights=weights)

  def test_F1_gamma_0_lam_1_is_SAM(self):
    trees.assert_equal(
      self._focal(0.0, 1.0), self._one_group(imbsam_jax.sam(0.3))
    )

  def test_F2_lam_0_is_SGD(self):
    trees.assert_equal(self._focal(2.0, 0.0), self._one_group(SGD))

  def test_F3_equal_counts_mix_SGD_and_SAM(self):
    share = 0.5 * (1.0 - 1 / 4) ** 2.0
    expected = jax.tree.map(
      lambda sgd, sam: (1.0 - share) * sgd + share * sam,
      self._one_group(SGD),
      self._one_group(imbsam_jax.sam(0.3)),
    )
    trees.assert_close(self._focal(2.0, 0.5, [40] * 4), expected, 1e-11)

  def test_F4_linear_in_lam(self):
    at_0, at_1, at_3 = [self._focal(2.0, lam) for lam in (0.0, 0.25, 0.75)]
    expected = jax.tree.map(lambda a, b: a + 3.0 * (b - a), at_0, at_1)
    trees.assert_close(at_3, expected, 1e-11)
    trees.assert_differ(at_1, at_0, 1e-3)

  def test_F5_large_gamma_is_SGD(self):
    trees.assert_close(self._focal(2000.0, 0.5), self._one_group(SGD), 1e-12)


class ASAMTest(MethodTestCase):
  def test_ASAM_rescaled_layers_lose_the_same(self):
    # ReLU without biases: (c V, W / c) is the same function for every c.
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((3, 6)), rng.standard_normal((6, 2))
    features = rng.standard_normal((8, 3))

    def loss_fn(params, batch, weights):
      outputs = jax.nn.relu(batch @ params['v']) @ params['w']
      return (weights.astype(float) * (outputs**2).sum(axis=1)).sum(), None

    def perturbed_loss(scale, adaptive):
      params = problems.to_jax({'v': scale * first, 'w': second / scale})
      weights = np.full((1, 8), 0.125, np.float32)
      _, grads, grad_fn = imbsam_jax.gradient_oracle(
        loss_fn, params, jnp.asarray(features), group_weights=weights
      )
      points = []

      def recorded(point, group):
        points.append(point)
        return grad_fn(point, group)

      link = imbsam_jax.sam(0.3, adaptive=adaptive, eps=0.0)
      link.update(grads, link.init(params), params, grad_fn=recorded)
      return loss_fn(points[-1], features, weights[0])[0]

    np.testing.assert_allclose(
      perturbed_loss(5.0, True), perturbed_loss(1.0, True), rtol=1e-12
    )
    plain = perturbed_loss(5.0, False) / perturbed_loss(1.0, False)
    self.assertGreater(abs(plain - 1.0), 0.01)

  def test_ASAM_with_weights_of_magnitude_one_is_SAM(self):
    params = jax.tree.map(np.sign, problems.make_params())
    batch, weights = problems.make_batch(), problems.head_tail_weights()
    found, expected = [
      problems.gradient(
        imbsam_jax.sse_sam(0.2, 0.3, adaptive=adaptive),
        params,
        batch,
        weights,
        compiled=False,
      )
      for adaptive in (True, False)
    ]
    trees.assert_close(found, expected, 1e-14)


@functools.cache
def _compiled_update(rhos):
  optimizer = optax.chain(
    imbsam_jax.group_sam(rhos), optax.sgd(0.1, momentum=0.9)
  )

  @jax.jit
  def update(params, batch, weights):
    _, grads, grad_fn = imbsam_jax.gradient_oracle(
      problems.loss_fn, params, batch, group_weights=weights
    )
    return optimizer.update(
      grads, optimizer.init(params), params, grad_fn=grad_fn
    )[0]

  return update


class BitForBitTest(parameterized.TestCase):
  """Compiled float32: different methods, equal arithmetic, equal bits."""

  @parameterized.named_parameters(
    ('I1', (None, 0.3), ALL_TAIL, (0.3,)),
    ('I2', (None, 0.3), NO_TAIL, (None,)),
    ('I4', (None, 0.0), problems.LABELS, (None,)),
    ('I9', (0.0, 0.3), problems.LABELS, (None, 0.3)),
    ('S2', (0.2, 0.3), NO_TAIL, (0.2,)),
  )
  def test_compiled(self, rhos, labels, expected_rhos):
    params, batch = problems.make_params(), problems.make_batch(labels)
    weights = problems.head_tail_weights(labels)

    def updates(rhos, weights):
      return _compiled_update(rhos)(*problems.to_jax((params, batch, weights)))

    if len(expected_rhos) == 1:
      expected = updates(expected_rhos, _sum(weights))
    else:
      expected = updates(expected_rhos, weights)
    trees.assert_same_values(updates(rhos, weights), expected)


if __name__ == '__main__':
  absltest.main()
