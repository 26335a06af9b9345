# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Forward and backward passes of a step, counted in the traced function."""

from absl.testing import absltest
from absl.testing import parameterized
import jax

import imbsam_jax
from tests import problems
from tests import trees


def _count(function, *args):
  """Numbers of forward passes and matrix products in the traced function."""
  counts = {'tanh': 0, 'dot_general': 0}

  def walk(jaxpr):
    for equation in jaxpr.eqns:
      if equation.primitive.name in counts:
        counts[equation.primitive.name] += 1
      for parameter in jax.tree.leaves(
        equation.params, is_leaf=lambda x: hasattr(x, 'jaxpr')
      ):
        if hasattr(parameter, 'jaxpr'):
          walk(parameter.jaxpr)

  walk(jax.make_jaxpr(function)(*args).jaxpr)
  return counts['tanh'], counts['dot_general']


class PassesTest(parameterized.TestCase):
  """Work before any optimization by the compiler.

  The network has one tanh and 2 products per forward pass, 3 products per
  backward pass.
  """

  # Rule: link, groups, expected forward and backward passes.
  @parameterized.named_parameters(
    ('sgd', imbsam_jax.group_sam((None,)), 'masked', 1, 1, 1),
    ('sgd_of_two_groups', imbsam_jax.group_sam((None,) * 2), 'masked', 2, 1, 1),
    ('sam', imbsam_jax.sam(0.1), 'masked', 1, 2, 2),
    # The clean forward pass is shared: one more pullback for the tail.
    ('imbsam', imbsam_jax.imbsam(0.1), 'masked', 2, 2, 3),
    ('imbsam_radius_0', imbsam_jax.imbsam(0.0), 'masked', 2, 1, 1),
    ('sse_sam', imbsam_jax.sse_sam(0.1, 0.1), 'masked', 2, 3, 4),
    # Each pass has a part of the rows here; the clean ones are not repeated.
    ('split_imbsam', imbsam_jax.imbsam(0.1), 'split', 2, 3, 3),
    ('split_sse_sam', imbsam_jax.sse_sam(0.1, 0.1), 'split', 2, 4, 4),
  )
  def test_passes(self, link, oracle, groups, forward, backward):
    prepare, build = problems.ORACLES[oracle]
    weights = problems.head_tail_weights()
    if groups == 1:
      weights = problems.mean_weights()
    rows, weights = problems.to_jax(prepare(problems.make_batch(), weights))

    def update(params):
      value, grads, grad_fn = build(
        problems.loss_fn, params, rows, group_weights=weights
      )
      return value, link.update(
        grads, link.init(params), params, grad_fn=grad_fn
      )

    params = problems.to_jax(problems.make_params())
    self.assertEqual(
      _count(update, params), (forward, 2 * forward + 3 * backward)
    )

  def test_the_very_parameters_are_recognised(self):
    batch = problems.to_jax(problems.make_batch())

    def group_gradients(copy):
      def function(params):
        _, _, grad_fn = imbsam_jax.gradient_oracle(
          problems.loss_fn,
          params,
          batch,
          group_weights=problems.head_tail_weights(),
        )
        if copy:
          params = jax.tree.map(lambda x: x + 0, params)
        else:
          params = jax.tree.map(lambda x: x, params)  # Another tree of them.
        return grad_fn(params, 1)

      return function

    params = problems.to_jax(problems.make_params())
    self.assertEqual(_count(group_gradients(False), params), (1, 2 + 6))
    self.assertEqual(_count(group_gradients(True), params), (2, 4 + 6))
    trees.assert_close(
      jax.jit(group_gradients(True))(params),
      jax.jit(group_gradients(False))(params),
      1e-6,
    )


if __name__ == '__main__':
  absltest.main()
