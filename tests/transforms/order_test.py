# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A link gets the gradient that its oracle gave out, or says so."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import imbsam_jax
from imbsam_jax import calibration
from imbsam_jax.oracles import _descent
from tests import trees
from tests.transforms import links

_LINKS = {
  'group_sam': (imbsam_jax.group_sam((None, 0.1)), 2),
  'sam': (imbsam_jax.sam(0.1), 1),
  'imbsam': (imbsam_jax.imbsam(0.1), 2),
  'sse_sam': (imbsam_jax.sse_sam(0.1, 0.1), 2),
  'focal_sam': (imbsam_jax.focal_sam(0.1), 2),
  'rsam': (imbsam_jax.rsam(0.1, key=links.KEY), 1),
  'momentum_imbsam': (imbsam_jax.momentum_imbsam(0.1), 2),
  'look_sam': (imbsam_jax.look_sam(0.1), 1),
  'friendly_sam': (imbsam_jax.friendly_sam(0.1), 1),
  'gsam': (imbsam_jax.gsam(0.1, alpha=0.5), 1),
}
_IMBSAM = imbsam_jax.imbsam(0.1)
_PARAMS = jax.eval_shape(links.make_params)
_BATCH = jax.eval_shape(links.make_batch)
_CHANGED = 'needs the gradient as the oracle gave it, got one that was changed'


def _traced(tx, groups, *, change=None, wrap=lambda f: f):
  """An update as it is traced: nothing is compiled."""
  weights = (np.arange(groups)[:, None] == np.arange(6) % groups) / 6

  def update(params, state, batch):
    _, grads, grad_fn = imbsam_jax.gradient_oracle(
      links.loss_fn, params, batch, group_weights=weights.astype(np.float32)
    )
    if change is not None:
      grads = change(grads)
    return wrap(functools.partial(tx.update, grad_fn=grad_fn))(
      grads, state, params
    )

  def begin(params, batch):
    return update(params, tx.init(params), batch)

  with jax.numpy_dtype_promotion('standard'):
    return jax.eval_shape(begin, _PARAMS, _BATCH)


@pytest.mark.parametrize('name', _LINKS)
def test_what_stands_before_or_around_a_link_is_refused(name):
  link, groups = _LINKS[name]
  for tx in (
    optax.chain(optax.adam(1e-3), link),
    optax.chain(optax.clip_by_global_norm(1.0), link),
    optax.MultiSteps(link, 2),
    optax.apply_if_finite(optax.chain(optax.scale(0.5), link), 3),
    imbsam_jax.skip_nonfinite(optax.chain(optax.trace(0.9), link)),
  ):
    with pytest.raises(ValueError, match=f'`{name}` {_CHANGED}') as error:
      _traced(tx, groups)
    assert f'optax.chain({name}(...), optax.adam(1e-3))' in str(error.value)


def test_the_order_that_the_message_asks_for():
  for tx in (
    optax.chain(_IMBSAM, optax.adam(1e-3)),
    optax.chain(_IMBSAM, optax.MultiSteps(optax.adam(1e-3), 4)),
  ):
    _traced(tx, 2)


@pytest.mark.parametrize(
  'change',
  [
    lambda grads: jax.tree.map(lambda g: g.astype(jnp.bfloat16), grads),
    lambda grads: jax.tree.map(jnp.copy, grads),
    jax.lax.optimization_barrier,
    lambda grads: jax.lax.with_sharding_constraint(
      grads, jax.sharding.SingleDeviceSharding(jax.devices()[0])
    ),
  ],
)
def test_casts_and_copies_are_the_gradient(change):
  _traced(_IMBSAM, 2, change=change)


@pytest.mark.parametrize('traced', [False, True])
@pytest.mark.parametrize(
  ('change', 'given'),
  [
    (lambda g: jax.tree.map(lambda x: x.astype(jnp.bfloat16), g), True),
    (lambda g: {'a': g['a']}, True),
    (lambda g: {'a': g['b'], 'b': g['a']}, False),
    (lambda g: jax.tree.map(lambda x: x.astype(int).astype(float), g), False),
    (lambda g: jax.lax.optimization_barrier({**g, 'a': 2 * g['a']}), False),
    (lambda g: jax.lax.optimization_barrier((g, 2 * g['a']))[0], True),
  ],
)
def test_what_is_the_gradient(change, given, traced):
  answers = []

  def look(gradient):
    # Traced, the leaves are results; otherwise they are arrays.
    gradient = jax.tree.map(lambda x: x / 3, gradient)
    answers.append(_descent.is_given(change(gradient), gradient))

  example = {'a': jnp.array([0.1, 1.7]), 'b': jnp.array([0.3, 2.2])}
  if traced:
    jax.eval_shape(look, example)
  else:
    look(example)
  assert answers == [given]


@pytest.mark.parametrize(
  'tx',
  [
    optax.apply_if_finite(_IMBSAM, 3),
    optax.chain(optax.identity(), _IMBSAM),
    optax.inject_hyperparams(imbsam_jax.imbsam)(0.1),
    calibration.train_only(_IMBSAM, {'a': True, 'b': False}),
    imbsam_jax.skip_nonfinite(_IMBSAM),
  ],
)
def test_wrappers_that_hand_it_on(tx):
  _traced(tx, 2)


def test_under_vmap():
  def run(tx):
    return jax.eval_shape(jax.vmap(functools.partial(_step, tx)), params)

  params = jax.tree.map(lambda x: jnp.stack([x, x]), links.make_params())
  run(_IMBSAM)
  with pytest.raises(ValueError, match=_CHANGED):
    run(optax.chain(optax.trace(0.9), _IMBSAM))


def _step(tx, params):
  return links.update(tx, 2, params, tx.init(params), links.make_batch())


def test_without_a_radius_anything_may_come_first():
  for link in (imbsam_jax.group_sam((None, None)), imbsam_jax.imbsam(0.0)):
    _traced(optax.chain(optax.scale(0.5), link), 2)
    _traced(optax.MultiSteps(link, 2), 2)


def test_what_cannot_be_seen_is_warned_of():
  for wrap in (
    jax.jit,
    lambda f: lambda *a: jax.lax.cond(True, f, f, *a),
  ):
    with pytest.warns(UserWarning, match='`imbsam` cannot see whether'):
      _traced(_IMBSAM, 2, wrap=wrap)
    with pytest.raises(ValueError, match=_CHANGED):
      _traced(optax.chain(optax.scale(0.5), _IMBSAM), 2, wrap=wrap)


def test_a_change_with_a_function_that_does_the_same():
  # An oracle of few operations: they are compiled one by one.
  params = jnp.array([1.0, -2.0])
  weights = np.eye(2, dtype=np.float32)
  _, grads, grad_fn = imbsam_jax.gradient_oracle(
    lambda p, b, w: (jnp.sum(w * p * p * p), None),
    params,
    None,
    group_weights=weights,
  )

  def double(tree):
    return 2 * tree

  state = _IMBSAM.init(params)
  with pytest.raises(ValueError, match=r'grad_fn=lambda p, k: jax\.lax\.psum'):
    _IMBSAM.update(double(grads), state, params, grad_fn=grad_fn)
  found, _ = _IMBSAM.update(
    double(grads), state, params, grad_fn=lambda p, k: double(grad_fn(p, k))
  )
  once, _ = _IMBSAM.update(grads, state, params, grad_fn=grad_fn)
  trees.assert_close(found, double(once), 1e-5)
  # The same numbers in other arrays are the same gradient.
  through_numpy, _ = _IMBSAM.update(
    np.asarray(grads), state, params, grad_fn=grad_fn
  )
  trees.assert_equal(through_numpy, once)


def test_no_warning_where_all_is_well():
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    for link, groups in _LINKS.values():
      _traced(optax.chain(link, optax.adam(1e-3)), groups)
