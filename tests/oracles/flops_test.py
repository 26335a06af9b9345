# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Cost of compiled steps in SGD steps, by the compiler's count of operations.

Loss and aux leave every step, so that no pass is dead code.
"""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np
import optax

import imbsam_jax
from tests import problems

ROWS, TAIL_ROWS = 32, 6


def _convolve(inputs, kernel, stride):
  return jax.lax.conv_general_dilated(
    inputs,
    kernel,
    (stride, stride),
    'SAME',
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )


def _loss_fn(params, batch, weights):
  """Two convolutions and a classifier; no operation across rows."""
  x = jax.nn.relu(_convolve(batch['image'], params['conv1'], 1))
  x = jax.nn.relu(_convolve(x, params['conv2'], 2))
  logits = x.mean(axis=(1, 2)) @ params['dense']
  losses = optax.softmax_cross_entropy(logits, batch['target'])
  return (weights * losses).sum(), logits


def _make_params():
  rng = np.random.default_rng(0)
  shapes = {
    'conv1': (3, 3, 3, 8),
    'conv2': (3, 3, 8, 16),
    'dense': (16, 10),
  }
  return problems.to_jax(
    {k: 0.1 * rng.standard_normal(shape) for k, shape in shapes.items()}
  )


def _make_batch():
  rng = np.random.default_rng(1)
  return problems.to_jax(
    {
      'image': rng.standard_normal((ROWS, 16, 16, 3)),
      'target': np.eye(10)[rng.integers(10, size=ROWS)],
    }
  )


def _weights():
  is_tail = np.arange(ROWS) >= ROWS - TAIL_ROWS
  return np.float32([~is_tail, is_tail]) / ROWS


def _flops(link, build, rows, weights, *, clean_value=False, **kwargs):
  optimizer = optax.chain(link, optax.sgd(0.1, momentum=0.9))

  @jax.jit
  def step(params, state, rows, weights):
    value, grads, grad_fn = build(
      _loss_fn, params, rows, group_weights=weights, **kwargs
    )
    updates, state = optimizer.update(grads, state, params, grad_fn=grad_fn)
    params = optax.apply_updates(params, updates)
    return params, state, value if clean_value else grad_fn.value

  params = _make_params()
  compiled = step.lower(
    params, optimizer.init(params), rows, problems.to_jax(weights)
  ).compile()
  analysis = compiled.cost_analysis()
  if isinstance(analysis, list):  # One entry per device, in older JAX.
    (analysis,) = analysis
  return analysis['flops']


def _masked(link, weights, **kwargs):
  return _flops(
    link, imbsam_jax.gradient_oracle, _make_batch(), weights, **kwargs
  )


def _split(link, weights=None, rows=None, **kwargs):
  if rows is None:
    rows, weights = problems.split_rows(_make_batch(), _weights())
  return _flops(link, imbsam_jax.split_gradient_oracle, rows, weights, **kwargs)


@functools.cache
def _sgd():
  mean = np.full((1, ROWS), 1 / ROWS, np.float32)
  return _masked(imbsam_jax.group_sam((None,)), mean)


RSAM = imbsam_jax.rsam(0.1, key=jax.random.key(0))


class FlopsTest(parameterized.TestCase):
  def test_the_count_is_of_the_whole_network(self):
    # Multiply and add of three passes through the second convolution alone.
    self.assertGreater(_sgd(), 3 * 2 * ROWS * 8 * 8 * 3 * 3 * 8 * 16)

  def test_sam(self):
    mean = np.full((1, ROWS), 1 / ROWS, np.float32)
    cost = _masked(imbsam_jax.sam(0.1), mean) / _sgd()
    self.assertBetween(cost, 1.98, 2.02)

  def test_imbsam(self):
    cost = _split(imbsam_jax.imbsam(0.1)) / _sgd()
    expected = (ROWS + TAIL_ROWS) / ROWS
    self.assertBetween(cost, 0.95 * expected, 1.05 * expected)

  def test_imbsam_masked(self):
    # 2 forward and 3 backward passes, each of all rows: 8/3 at the most.
    cost = _masked(imbsam_jax.imbsam(0.1), _weights()) / _sgd()
    self.assertBetween(cost, 2.5, 2.7)

  def test_imbsam_without_tail_rows(self):
    batch = _make_batch()
    rows = [batch, jax.tree.map(lambda x: x[:0], batch)]
    weights = [np.full(ROWS, 1 / ROWS, np.float32), np.zeros(0, np.float32)]
    cost = _split(imbsam_jax.imbsam(0.1), weights, rows) / _sgd()
    self.assertBetween(cost, 0.99, 1.02)  # Aux is the forward pass of a row.

  def test_sse_sam(self):
    cost = _split(imbsam_jax.sse_sam(0.1, 0.1)) / _sgd()
    self.assertBetween(cost, 1.95, 2.05)

  @parameterized.parameters('masked', 'split')
  def test_rsam(self, oracle):
    if oracle == 'masked':
      cost = _masked(RSAM, _weights()) / _sgd()
    else:
      cost = _split(RSAM) / _sgd()
    self.assertBetween(cost, 0.99, 1.05)

  def test_rsam_with_the_loss_of_the_clean_pass(self):
    # The oracle's own value keeps the clean forward pass alive.
    cost = _masked(RSAM, _weights(), clean_value=True) / _sgd()
    self.assertBetween(cost, 1.2, 1.45)

  def test_momentum_imbsam(self):
    cost = _split(imbsam_jax.momentum_imbsam(0.1)) / _sgd()
    self.assertBetween(cost, 0.97, 1.03)

  def test_momentum_imbsam_masked(self):
    cost = _masked(imbsam_jax.momentum_imbsam(0.1), _weights()) / _sgd()
    self.assertBetween(cost, 1.95, 2.05)

  def test_sam_that_remembers(self):
    mean = np.full((1, ROWS), 1 / ROWS, np.float32)
    cost = _masked(imbsam_jax.sam(0.1, average_decay=0.9), mean) / _sgd()
    self.assertBetween(cost, 0.99, 1.01)

  def test_sse_sam_that_remembers(self):
    link = imbsam_jax.sse_sam(0.1, 0.1, average_decay=0.9)
    self.assertBetween(_split(link) / _sgd(), 0.97, 1.03)
    # Two passes of all rows, and one forward for the loss at w.
    cost = _masked(link, _weights()) / _sgd()
    self.assertBetween(cost, 2.25, 2.4)

  def test_momentum_imbsam_of_the_tail_only(self):
    batch, weights = _make_batch(), _weights()
    tail = jax.tree.map(lambda x: x[ROWS - TAIL_ROWS :], batch)

    def build(loss_fn, params, rows, *, group_weights):
      return imbsam_jax.tail_only_gradient_oracle(
        loss_fn,
        params,
        *rows,
        group_weights=group_weights,
        tail_weights=group_weights[1, ROWS - TAIL_ROWS :],
      )

    cost = _flops(
      imbsam_jax.momentum_imbsam(0.1), build, (batch, tail), weights
    )
    expected = (ROWS + TAIL_ROWS) / ROWS
    self.assertBetween(cost / _sgd(), 0.97 * expected, 1.03 * expected)

  @parameterized.parameters(
    ('look_sam', {'every': 1}, 2.0),
    ('look_sam', {'every': None}, 1.0),
    ('friendly_sam', {}, 2.0),
    ('gsam', {'alpha': 0.5}, 2.0),
  )
  def test_of_the_whole_batch(self, name, options, expected):
    mean = np.full((1, ROWS), 1 / ROWS, np.float32)
    link = getattr(imbsam_jax, name)(0.1, **options)
    cost = _masked(link, mean) / _sgd()
    self.assertBetween(cost, expected - 0.02, expected + 0.03)

  def test_look_sam_with_its_branch(self):
    # The compiler counts the more expensive branch.
    mean = np.full((1, ROWS), 1 / ROWS, np.float32)
    cost = _masked(imbsam_jax.look_sam(0.1, every=10), mean) / _sgd()
    self.assertBetween(cost, 1.98, 2.03)

  def test_microbatches(self):
    # The compiler counts the body of a loop once.
    mean = np.full((1, ROWS), 1 / ROWS, np.float32)
    link = imbsam_jax.group_sam((None,))
    cost = 4 * _masked(link, mean, num_microbatches=4) / _sgd()
    self.assertBetween(cost, 0.95, 1.05)


if __name__ == '__main__':
  absltest.main()
