# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`optimizer.perturb`: the head, the rest, or all trained parameters."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imbsam_jax import experiment
from imbsam_jax import methods
from imbsam_jax.experiment import _update_rule
from imbsam_jax.experiment import used_fields
from tests.experiment import small_sources
from tests.experiment import trunk_files

_RHO, _HEAD_RHO, _DECAY = 0.7, 0.4, 0.5
_COUNTS = np.array([100, 40, 16, 5])
# Two groups with losses (w' A w) / 2 + b'w of four parameters, two of them of
# the head, and the points of two steps.
_RNG = np.random.RandomState(0)
_A = _RNG.randn(2, 4, 4)
_A += _A.swapaxes(1, 2)
_B = _RNG.randn(2, 4)
_POINTS = _RNG.randn(2, 4)
_PARTS = {'all': slice(0, 4), 'tuned': slice(0, 2), 'head': slice(2, 4)}


def _grad(w, group=None):
  if group is None:
    return _grad(w, 0) + _grad(w, 1)
  return _A[group] @ w + _B[group]


def _moved(w, along, part, rho=_RHO):
  """The point at the distance rho from w, of whose entries a part moves."""
  point = w.copy()
  norm = np.sqrt((along[part] ** 2).sum())
  if norm:
    point[part] += rho * along[part] / norm
  return point


def _across(one, other):
  return one - (one @ other) / (other @ other) * other


def _sam(part):
  return [_grad(_moved(w, _grad(w), part)) for w in _POINTS]


def _imbsam(part):
  return [_grad(w, 0) + _grad(_moved(w, _grad(w, 1), part), 1) for w in _POINTS]


def _sse_sam(part):
  first, second = _POINTS
  head = _grad(_moved(first, _grad(first, 0), part, _HEAD_RHO), 0)
  tail = _grad(_moved(first, _grad(first, 1), part), 1)
  return [
    head + tail,
    _grad(second, 0) + _grad(_moved(second, _grad(second, 1), part), 1),
  ]


def _momentum_imbsam(part):
  # A running average of 0 moves nothing, and the factor of the first is lost.
  first, second = _POINTS
  return [
    _grad(first),
    _grad(second, 0) + _grad(_moved(second, _grad(first, 1), part), 1),
  ]


def _momentum_sam(part):
  first, second = _POINTS
  return [_grad(first), _grad(_moved(second, _grad(first), part))]


def _friendly_sam(part):
  average, found = np.zeros(4), []
  for w in _POINTS:
    average = _DECAY * average + (1 - _DECAY) * _grad(w)
    found.append(_grad(_moved(w, _grad(w) - 0.6 * average, part)))
  return found


def _gsam(part):
  return [
    sharp - 0.3 * _across(_grad(w), sharp)
    for w, sharp in zip(_POINTS, _sam(part), strict=True)
  ]


def _look_sam(part):
  first, second = _POINTS
  sharp, gradient = _sam(part)[0], _grad(second)
  left = _across(sharp, _grad(first))
  ratio = np.linalg.norm(gradient) / np.linalg.norm(left)
  return [sharp, gradient + 0.8 * ratio * left]


_EXPECTED = {
  'sam': _sam,
  'sam(average_decay=0.5)': _momentum_sam,
  'imbsam': _imbsam,
  'focal_sam': _imbsam,
  'sse_sam': _sse_sam,
  'momentum_imbsam(average_decay=0.5)': _momentum_imbsam,
  'friendly_sam(sigma=0.6, lam=0.5)': _friendly_sam,
  'gsam(alpha=0.3)': _gsam,
  'look_sam(every=2, alpha=0.8)': _look_sam,
}


def _tree(w):
  w = jnp.asarray(w, jnp.float32)
  return {'classifier': {'kernel': w[2:]}, 'trunk': {'prompts': w[:2]}}


def _vector(tree):
  return jnp.concatenate(
    [tree['trunk']['prompts'], tree['classifier']['kernel']]
  )


def _method(rule, mask):
  config = experiment.config(
    'digits_lt',
    'sgd',
    {
      'optimizer.method': rule,
      'optimizer.rho': _RHO,
      'optimizer.head_rho': _HEAD_RHO,
    },
  )
  setup = methods.RuleSetup(_COUNTS, 1, jax.random.key(0), mask)
  return _update_rule.make_method(config.optimizer, setup, 100)


def _gradients(method, points=_POINTS, seen=None):
  """What a rule makes of the gradients at the points of some steps."""
  matrices, vectors = (jnp.asarray(x, jnp.float32) for x in (_A, _B))
  num_groups = len(method.stage(0).perturbed)

  def grad_fn(point, group):
    if seen is not None:
      seen.append(point)
    w = _vector(point)
    groups = (0, 1) if num_groups == 1 else (group,)
    return _tree(sum(matrices[k] @ w + vectors[k] for k in groups))

  found = []
  state = method.stage(0).link.init(_tree(points[0]))
  for step, w in enumerate(points):
    total = _tree(_grad(w))
    gradient, state = method.stage(step).link.update(
      total, state, _tree(w), grad_fn=grad_fn
    )
    found.append(np.asarray(_vector(gradient)))
  return found


@pytest.mark.parametrize('rule', _EXPECTED)
@pytest.mark.parametrize('perturb', _PARTS)
def test_a_part_moves_and_has_the_radius(rule, perturb):
  method = _method(rule, _update_rule.make_mask(perturb))
  np.testing.assert_allclose(
    _gradients(method), _EXPECTED[rule](_PARTS[perturb]), rtol=2e-5, atol=2e-5
  )


@pytest.mark.parametrize('rule', _EXPECTED)
def test_the_parts_differ_here(rule):
  # Else the test above would prove little.
  found = [np.array(_EXPECTED[rule](part)) for part in _PARTS.values()]
  for k, one in enumerate(found):
    for other in found[:k]:
      assert np.abs(one - other).max() > 1e-2


def test_every_rule_that_perturbs_is_tested_here():
  rules = {
    name
    for name, choice in methods.AXES['update rule'].choices.items()
    if choice.traits.perturbs
  }
  assert {'rsam', *(rule.partition('(')[0] for rule in _EXPECTED)} == rules
  # And can tell parts of the parameters apart.
  assert all(used_fields.uses(rule, 'perturb') for rule in rules)


@pytest.mark.parametrize('perturb', ['tuned', 'head'])
def test_noise_of_rsam(perturb):
  part = _PARTS[perturb]
  seen, everywhere = [], []
  mask = _update_rule.make_mask(perturb)
  (found,) = _gradients(_method('rsam', mask), _POINTS[:1], seen)
  _gradients(_method('rsam', None), _POINTS[:1], everywhere)
  point, whole = np.asarray(_vector(seen[-1])), _vector(everywhere[-1])
  expected = np.float32(_POINTS[0])
  expected[part] = whole[part]
  np.testing.assert_array_equal(point, expected)
  assert np.all(point[part] != np.float32(_POINTS[0])[part])
  np.testing.assert_allclose(found, _grad(np.float64(point)), rtol=2e-5)


@pytest.mark.parametrize('rule', [*_EXPECTED, 'rsam'])
def test_all_is_the_rule_without_a_mask(rule):
  # None, so that links are made and steps compiled as they were without it.
  assert _update_rule.make_mask('all') is None
  np.testing.assert_array_equal(
    _gradients(_method(rule, None)), _gradients(_method(rule, lambda _: True))
  )


@pytest.fixture(scope='module', name='file')
def _file(tmp_path_factory):
  return trunk_files.write(tmp_path_factory.mktemp('trunk') / 'vit.safetensors')


@pytest.mark.parametrize('perturb', ['tuned', 'head'])
def test_a_run_on_a_trunk(perturb, file):
  exp = trunk_files.build(
    'sam,vpt_deep',
    file,
    **{'optimizer.perturb': perturb, 'optimizer.rho': 0.5},
  )
  params = jax.tree.map(
    lambda x: np.ones(x.shape, np.float32), exp.abstract_state.params
  )
  seen = []

  def grad_fn(point, group):
    del group
    seen.append(point)
    return params

  link = exp.method.stages[0].link
  link.update(params, link.init(params), params, grad_fn=grad_fn)
  shifts = jax.tree.map(lambda x, w: np.asarray(x) - w, seen[-1], params)
  moving = 'classifier' if perturb == 'head' else 'trunk'
  for name, part in shifts.items():
    norm = np.sqrt(sum((x**2).sum() for x in jax.tree.leaves(part)))
    np.testing.assert_allclose(norm, 0.5 * (name == moving), rtol=1e-5)


def _refused(message, build):
  with pytest.raises(experiment.ConfigError, match=message):
    build()


def test_a_head_alone(file, tmp_path):
  def build(words, perturb, **fields):
    return trunk_files.build(
      words, file, **{'optimizer.perturb': perturb, **fields}
    )

  message = 'perturb=tuned` leaves nothing to perturb.*instead of probe'
  _refused(message, lambda: build('imbsam,probe', 'tuned'))
  cache = {'model.feature_cache': str(tmp_path)}
  _refused(message, lambda: build('sam,probe', 'tuned', **cache))
  build('imbsam,probe', 'head')
  build('sgd,probe', 'tuned')  # In a comparison, where it has no effect.


class _Nameless(nn.Module):
  @nn.compact
  def __call__(self, images):
    flat = images.reshape(len(images), -1)
    return nn.Dense(len(small_sources.COUNTS), name='output')(flat)


@pytest.mark.parametrize('perturb', ['tuned', 'head'])
def test_a_network_without_a_head_of_that_name(perturb):
  def build():
    experiment.build(
      experiment.config(
        'own', 'rsam', {'optimizer.perturb': perturb, 'data.batch_size': 16}
      ),
      model=_Nameless(),
      data=small_sources.SOURCES,
    )

  _refused(f"perturb={perturb}` .*is of a head named 'classifier'", build)


def test_without_effect():
  configs = {
    word: experiment.config('digits_lt', word) for word in ('sgd', 'gsam')
  }
  given = ['optimizer.perturb']
  used_fields.check(given, configs.values())
  _refused(
    '`optimizer.perturb` has no effect on sgd. Leave it out.*focal_sam.*rsam',
    lambda: used_fields.check(given, [configs['sgd']]),
  )
