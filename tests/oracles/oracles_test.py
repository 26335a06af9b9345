# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Gradient oracles: what they return."""

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

import imbsam_jax
from tests import problems
from tests import trees

WEIGHTS = problems.head_tail_weights(tail_weight=2.0)
ELSEWHERE = problems.make_params(seed=7)
SAM = imbsam_jax.sam(0.3)


def _group_gradient(params, batch, row):
  return jax.grad(lambda p: problems.loss_fn(p, batch, row)[0])(params)


class GradientTest(parameterized.TestCase):
  """Against `jax.grad` of the weighted sum, in float64."""

  def setUp(self):
    super().setUp()
    self.enter_context(jax.enable_x64(True))
    self.params = problems.to_jax(problems.make_params())
    self.batch = problems.to_jax(problems.make_batch())

  @parameterized.parameters('masked', 'split')
  def test_loss_gradient_and_group_gradients(self, oracle):
    prepare, build = problems.ORACLES[oracle]
    rows, weights = problems.to_jax(prepare(problems.make_batch(), WEIGHTS))
    elsewhere = problems.to_jax(ELSEWHERE)

    @jax.jit
    def found(params):
      (loss, _), grads, grad_fn = build(
        problems.loss_fn, params, rows, group_weights=weights
      )
      groups = [
        [grad_fn(point, k) for k in range(2)] for point in (params, elsewhere)
      ]
      return loss, grads, groups, grad_fn.num_groups

    @jax.jit
    def expected(params):
      total = WEIGHTS.sum(axis=0)
      groups = [
        [_group_gradient(point, self.batch, row) for row in WEIGHTS]
        for point in (params, elsewhere)
      ]
      return (
        problems.loss_fn(params, self.batch, total)[0],
        _group_gradient(params, self.batch, total),
        groups,
        2,
      )

    trees.assert_close(found(self.params), expected(self.params), 1e-13)

  def test_total_elsewhere(self):
    total = WEIGHTS.sum(axis=0)

    @jax.jit
    def run(params, elsewhere):
      clean, _, grad_fn = imbsam_jax.gradient_oracle(
        problems.loss_fn, params, self.batch, group_weights=WEIGHTS
      )
      values = [grad_fn.value]
      gradient = grad_fn.total(elsewhere)
      values.append(grad_fn.value)  # That of the last total.
      grad_fn(elsewhere, 1)
      values.append(grad_fn.value)
      grad_fn.total(params)
      values.append(grad_fn.value)
      there = problems.loss_fn(elsewhere, self.batch, total)
      expected = _group_gradient(elsewhere, self.batch, total)
      return gradient, values, expected, [clean, there, there, clean]

    gradient, values, expected, expected_values = run(
      self.params, problems.to_jax(ELSEWHERE)
    )
    trees.assert_close(gradient, expected, 1e-13)
    trees.assert_close(values, expected_values, 1e-13)
    trees.assert_differ(values[0], values[1], 0.01)

  def test_aux_is_that_of_the_clean_pass_and_of_all_weights(self):
    def loss_fn(params, batch, weights):
      loss, logits = problems.loss_fn(params, batch, weights)
      return loss, {
        'logits': logits,
        'loss': loss,
        'weights': weights,
        'c': 3.0,
      }

    @jax.jit
    def run(params, elsewhere):
      (loss, aux), _, grad_fn = imbsam_jax.gradient_oracle(
        loss_fn, params, self.batch, group_weights=WEIGHTS
      )
      grad_fn(elsewhere, 1)
      _, logits = problems.loss_fn(params, self.batch, WEIGHTS[0])
      return loss, aux, logits, grad_fn.value

    loss, aux, logits, value = run(self.params, problems.to_jax(ELSEWHERE))
    trees.assert_equal(value, (loss, aux))
    np.testing.assert_array_equal(aux['weights'], WEIGHTS.sum(axis=0))
    np.testing.assert_array_equal(aux['loss'], loss)
    np.testing.assert_array_equal(aux['c'], 3.0)
    trees.assert_close(aux['logits'], logits, 1e-13)

  def test_split_aux_is_one_per_group(self):
    batches, weights = problems.to_jax(
      problems.split_rows(problems.make_batch(), WEIGHTS)
    )

    @jax.jit
    def run(params):
      (_, aux), _, _ = imbsam_jax.split_gradient_oracle(
        problems.loss_fn, params, batches, group_weights=weights
      )
      pairs = zip(batches, weights, strict=True)
      return aux, tuple(problems.loss_fn(params, b, w)[1] for b, w in pairs)

    aux, expected = run(self.params)
    self.assertIsInstance(aux, tuple)
    trees.assert_close(aux, expected, 1e-13)

  def test_padding_of_weight_zero_in_a_split_batch(self):
    batches, weights = problems.split_rows(problems.make_batch(), WEIGHTS)
    padded = [
      {
        'features': np.pad(
          batch['features'], ((0, 3), (0, 0)), constant_values=5.0
        ),
        'labels': np.pad(batch['labels'], (0, 3)),
      }
      for batch in batches
    ]
    link = imbsam_jax.sse_sam(0.2, 0.3)

    @jax.jit
    def update(params):
      found = []
      for rows, given in (
        (batches, weights),
        (padded, [np.pad(w, (0, 3)) for w in weights]),
      ):
        _, grads, grad_fn = imbsam_jax.split_gradient_oracle(
          problems.loss_fn, params, problems.to_jax(rows), group_weights=given
        )
        found.append(
          link.update(grads, link.init(params), params, grad_fn=grad_fn)[0]
        )
      return found

    trees.assert_close(*update(self.params), 1e-13)


class NoRowsTest(parameterized.TestCase):
  """A group of the split oracle whose batch has a first axis of length 0."""

  @parameterized.parameters(0, 1)
  def test_contributes_nothing(self, empty):
    def loss_fn(params, batch, weights):
      loss, logits = problems.loss_fn(params, batch, weights)
      # As models do, and fail to on no rows; and a loss without weights.
      logits.reshape(len(logits), -1)
      return jnp.where(weights.sum() == 0, batch['scale'], loss), logits

    params = problems.to_jax(problems.make_params())
    batch = problems.to_jax(problems.make_batch()) | {'scale': 1.0}
    mean = problems.mean_weights()[0]
    batches = [batch, batch]
    weights = [mean, mean]
    batches[empty] = {k: x[:0] if k != 'scale' else x for k, x in batch.items()}
    weights[empty] = mean[:0]

    @jax.jit
    def run(params):
      (loss, aux), grads, grad_fn = imbsam_jax.split_gradient_oracle(
        loss_fn, params, batches, group_weights=weights
      )
      updates = [
        link.update(grads, link.init(params), params, grad_fn=grad_fn)[0]
        for link in (imbsam_jax.imbsam(0.3), imbsam_jax.sse_sam(0.3, 0.3))
      ]
      return loss, aux, grads, grad_fn(params, empty), updates

    loss, aux, grads, none, (imbsam, sse_sam) = run(params)
    trees.assert_equal(none, jax.tree.map(jnp.zeros_like, params))
    self.assertEqual(aux[empty].shape, (1, 4))
    expected = jax.jit(
      lambda p: (
        problems.loss_fn(p, batch, mean)[0],
        _group_gradient(p, batch, mean),
      )
    )(params)
    trees.assert_close((loss, grads), expected, 1e-6)
    sam = problems.gradient(
      SAM,
      problems.make_params(),
      problems.make_batch(),
      problems.mean_weights(),
    )
    trees.assert_close(sse_sam, sam, 1e-6)
    if empty == 1:
      trees.assert_equal(imbsam, grads)
    else:
      trees.assert_close(imbsam, sam, 1e-6)


class MicrobatchTest(parameterized.TestCase):
  def _run(self, oracle, num_microbatches, loss_fn, dtype=jnp.float32):
    link = imbsam_jax.imbsam(0.3)
    batch = problems.to_jax(problems.make_batch())
    if oracle == 'masked':
      build, rows, weights = imbsam_jax.gradient_oracle, batch, WEIGHTS
    else:
      build = imbsam_jax.split_gradient_oracle
      rows, weights = [batch, batch], list(WEIGHTS)

    @jax.jit
    def run(params):
      (loss, aux), grads, grad_fn = build(
        loss_fn,
        params,
        rows,
        group_weights=weights,
        num_microbatches=num_microbatches,
      )
      updates, _ = link.update(
        grads, link.init(params), params, grad_fn=grad_fn
      )
      groups = [grad_fn(params, k) for k in range(2)]
      return (loss, grads, groups, updates), aux

    params = problems.to_jax(problems.make_params())
    return run(jax.tree.map(lambda x: x.astype(dtype), params))

  @parameterized.parameters(('masked', 8), ('split', 2))
  def test_equals_the_whole_batch(self, oracle, number):
    whole, whole_aux = self._run(oracle, 1, problems.loss_fn)
    parts, aux = self._run(oracle, number, problems.loss_fn)
    trees.assert_close(parts, whole, 1e-5)
    # Rows of aux come back in their order.
    trees.assert_close(aux, whole_aux, 1e-6)

  def test_aux_of_every_kind(self):
    def loss_fn(params, batch, weights):
      loss, _ = problems.loss_fn(params, batch, weights)
      return loss, {'rows': batch['labels'], 'scalar': loss, 'nothing': None}

    (loss, *_), aux = self._run('masked', 4, loss_fn)
    np.testing.assert_array_equal(aux['rows'], problems.LABELS)
    self.assertEqual(aux['scalar'].shape, (4,))
    np.testing.assert_allclose(aux['scalar'].sum(), loss, rtol=1e-6)
    self.assertIsNone(aux['nothing'])

  def test_bfloat16(self):
    found, _ = self._run('masked', 8, problems.loss_fn, jnp.bfloat16)
    gradients = jax.tree.leaves(found[1:])
    self.assertEqual({x.dtype for x in gradients}, {jnp.dtype('bfloat16')})
    chex.assert_tree_all_finite(gradients)


if __name__ == '__main__':
  absltest.main()
