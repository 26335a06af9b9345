# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Losses against a float64 witness, their identities and their errors."""

from collections.abc import Callable
import dataclasses
import functools
import math
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import losses
from tests.losses import witness

KEY = jax.random.key(0)
# Every test takes this shape if it can: programs are compiled once.
NUM_EXAMPLES, NUM_CLASSES = 64, 7
COUNTS = np.array([900, 310, 120, 41, 17, 6, 2])
EPSILON = 2.0**-23
CIFAR10 = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
C100 = {'max_margin': 0.2, 'scale': 10.0, 'gamma': 1.5}
CORE = {'multiplier': 0.7, 'offset': 0.2, 'scale': 3.0, 'margin': 0.4}
GM = {'alpha1': 0.9, 'beta1': -0.2, 'alpha2': 1.1, 'beta2': 0.1}


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
  """One loss at one choice of its hyper-parameters."""

  loss: Callable[..., jax.Array]
  witness: Callable[..., np.ndarray]
  keywords: dict[str, Any] = dataclasses.field(default_factory=dict)
  has_counts: bool = False
  # How far float32 logits are scaled up before they are subtracted.
  scale: float = 1.0

  def __call__(self, logits, labels, counts):
    arguments = (counts,) if self.has_counts else ()
    return self.loss(logits, labels, *arguments, **self.keywords)

  def expected(self, logits, labels, counts):
    arguments = (counts,) if self.has_counts else ()
    return self.witness(logits, labels, *arguments, **self.keywords)


def _plain(name, scale=1.0, /, **keywords):
  return Case(
    getattr(losses, name), getattr(witness, name), keywords, False, scale
  )


def _counted(name, scale=1.0, /, **keywords):
  return Case(
    getattr(losses, name), getattr(witness, name), keywords, True, scale
  )


def _noiseless(scale=30.0, **keywords):
  """GCL as it is evaluated; `GclNoiseTest` looks at the noise."""

  def expected(logits, labels, counts, **keywords):
    return witness.gcl_loss(
      logits, labels, counts, noise=np.zeros_like(logits), **keywords
    )

  keywords = {'noise_scale': 0.0, 'scale': scale, **keywords}
  return Case(
    functools.partial(losses.gcl_loss, key=KEY), expected, keywords, True, scale
  )


def _autobalance(**keywords):
  """AutoBalance, with terms for as many classes as there are logits."""

  def of(module):
    def loss(logits, labels, *, group_size=1):
      num_groups = (1, *np.shape(logits))[-1] // group_size
      return module.autobalance_loss(
        logits,
        labels,
        np.linspace(1.5, -2.0, NUM_CLASSES)[:num_groups],
        np.linspace(-0.5, 3.0, NUM_CLASSES)[:num_groups],
        group_size=group_size,
      )

    return loss

  return Case(of(losses), of(witness), keywords)


CASES = {
  'margin_softmax': _plain('margin_softmax'),
  'margin_softmax_all': _plain(
    'margin_softmax', denominator_margin=-0.3, **CORE
  ),
  'margin_softmax_margin': _plain('margin_softmax', **CORE),
  'margin_softmax_without_target': _plain(
    'margin_softmax', denominator_margin=math.inf, **CORE
  ),
  'cross_entropy': _plain('cross_entropy'),
  'focal': _plain('focal_loss'),
  'focal_0': _plain('focal_loss', gamma=0.0),
  'focal_1': _plain('focal_loss', gamma=1.0),
  'focal_half': _plain('focal_loss', gamma=0.5),
  'sigmoid_focal': _plain('sigmoid_focal_loss'),
  'sigmoid_focal_0': _plain('sigmoid_focal_loss', gamma=0.0),
  'sigmoid_focal_half': _plain('sigmoid_focal_loss', gamma=0.5),
  'sigmoid_focal_2': _plain('sigmoid_focal_loss', gamma=2.0),
  'balanced_softmax': _counted('balanced_softmax'),
  'logit_adjusted': _counted('logit_adjusted_cross_entropy'),
  'logit_adjusted_tau': _counted('logit_adjusted_cross_entropy', tau=1.7),
  'cdt': _counted('cdt_loss'),
  'cdt_gamma': _counted('cdt_loss', gamma=0.4),
  'vs': _counted('vs_loss'),
  'vs_readme': _counted('vs_loss', gamma=0.2, tau=1.2),
  'vs_without_offsets': _counted('vs_loss', tau=0.0),
  'autobalance': _autobalance(),
  'autobalance_one_group': _autobalance(group_size=NUM_CLASSES),
  'arb': _plain('arb_loss'),
  'arb_without_clip': _plain('arb_loss', clip=None),
  'arb_counts': _counted('arb_loss'),
  'arb_counts_clip': _counted('arb_loss', clip=2.0),
  'ldam': _counted('ldam_loss', 30.0),
  'ldam_inat': _counted('ldam_loss', 20.0, max_margin=0.3, scale=20.0),
  'mm': _plain('mm_loss', 19.0),
  'mm_tiny_imagenet': _plain(
    'mm_loss', 10.0, margin=2.7, gamma=1.2, scale=10.0
  ),
  'mm_ldam': _counted('mm_ldam_loss', 26.0),
  'gcl': _noiseless(),
  'gcl_stage_2': _noiseless(margin=0.1, scale=20.0),
  'cri': _counted('cri_loss', 30.0),
  'cri_cifar100': _counted('cri_loss', 10.0, **C100),
  'cri_half': _counted('cri_loss', 10.0, gamma=0.5, scale=10.0),
  'cri_zero': _counted('cri_loss', 30.0, cutoff=0.05),
  'cri_fix': _counted('cri_loss', 30.0, cutoff=0.05, mode='fix'),
  'cri_decrease': _counted(
    'cri_loss', 30.0, gamma=0.0, cutoff=0.05, mode='decrease'
  ),
  'cosface': _plain('cosface_loss', 64.0),
  'normface': _plain('cosface_loss', 20.0, margin=0.0, scale=20.0),
  'lm': _plain('lm_softmax', 1.0),
  'lm_5': _plain('lm_softmax', 1.0, scale=5.0),
  'gm': _plain('gm_softmax', 64.0),
  'gm_all': _plain('gm_softmax', 10.0, scale=10.0, **GM),
  'gm_without_target': _plain('gm_softmax', 10.0, scale=10.0, beta2=-math.inf),
  'sample_margin': _plain('sample_margin_loss'),
}
# One per loss, for what does not depend on hyper-parameters.
DEFAULTS = (
  'margin_softmax',
  'cross_entropy',
  'focal',
  'sigmoid_focal',
  'balanced_softmax',
  'logit_adjusted',
  'cdt',
  'vs',
  'autobalance',
  'arb',
  'arb_counts',
  'ldam',
  'mm',
  'mm_ldam',
  'gcl',
  'cri',
  'cosface',
  'lm',
  'gm',
  'sample_margin',
)
COUNTED = tuple(name for name in DEFAULTS if CASES[name].has_counts)
MIXED = DEFAULTS + ('margin_softmax_all', 'cri_zero', 'gm_without_target')
# Where the logits are extreme, so are these.
SCALED = {
  'margin_softmax_at_64': _plain('margin_softmax', 64.0, scale=64.0),
  'margin_softmax_without_target_at_64': _plain(
    'margin_softmax', 64.0, scale=64.0, denominator_margin=math.inf
  ),
  'ldam_at_64': _counted('ldam_loss', 64.0, scale=64.0),
  'mm_at_64': _plain('mm_loss', 64.0, scale=64.0),
  'mm_ldam_at_64': _counted('mm_ldam_loss', 64.0, scale=64.0),
  'gcl_at_64': _noiseless(scale=64.0),
  'cri_at_64': _counted('cri_loss', 64.0, scale=64.0),
  'cri_half_at_64': _counted('cri_loss', 64.0, scale=64.0, gamma=0.5),
  'cri_tenth_at_64': _counted('cri_loss', 64.0, scale=64.0, gamma=0.1),
  'gm_without_target_at_64': _plain('gm_softmax', 64.0, beta2=-math.inf),
  'focal_tenth': _plain('focal_loss', gamma=0.1),
  'focal_stopped_tenth': Case(
    functools.partial(losses.focal_loss, stop_modulator_gradient=True),
    witness.focal_loss,
    {'gamma': 0.1},
  ),
  'sigmoid_focal_tenth': _plain('sigmoid_focal_loss', gamma=0.1),
}

every_case = parameterized.named_parameters(*((name, name) for name in CASES))
every_loss = parameterized.named_parameters(
  *((name, name) for name in DEFAULTS)
)
every_loss_with_counts = parameterized.named_parameters(
  *((name, name) for name in COUNTED)
)


def random_batch():
  """Logits of four scales that float32 holds, and labels."""
  rng = np.random.default_rng(0)
  scales = np.repeat([0.2, 1.0, 5.0, 20.0], NUM_EXAMPLES // 4)[:, None]
  logits = scales * rng.standard_normal((NUM_EXAMPLES, NUM_CLASSES))
  labels = rng.integers(NUM_CLASSES, size=NUM_EXAMPLES)
  return logits.astype(np.float32), labels.astype(np.int32)


def cosine_batch():
  """Logits in [-1, 1], and labels."""
  rng = np.random.default_rng(1)
  logits = np.tanh(rng.standard_normal((NUM_EXAMPLES, NUM_CLASSES)))
  labels = rng.integers(NUM_CLASSES, size=NUM_EXAMPLES)
  return logits.astype(np.float32), labels.astype(np.int32)


def extreme_batch():
  """Logits up to +-1e3, eight rows of each kind, and labels."""
  rng = np.random.default_rng(2)
  labels = np.arange(NUM_EXAMPLES) % NUM_CLASSES
  target = np.eye(NUM_CLASSES)[labels] > 0
  shape = target.shape
  logits = np.select(
    [np.arange(NUM_EXAMPLES)[:, None] // 8 == kind for kind in range(8)],
    [
      np.where(rng.random(shape) < 0.5, -1e3, 1e3),
      rng.uniform(-1e3, 1e3, shape),
      np.where(target, 1e3, -1e3),
      np.where(target, -1e3, 1e3),
      np.where(target, 1e3, 0.0),
      np.where(target, -1e3, 0.0),
      np.full(shape, 1e3),
      np.full(shape, -1e3) * (labels[:, None] % 2),
    ],
  )
  return logits.astype(np.float32), labels.astype(np.int32)


class Program:
  """The losses and gradients of many cases: one trace, one compilation."""

  def __init__(self, names):
    self._names = tuple(names)
    self.num_traces = 0
    self._errors = {}
    self._jitted = jax.jit(self._trace)

  def _trace(self, logits, labels, counts):
    self.num_traces += 1
    found = {}
    for name in self._names:

      def loss(z, case=(CASES | SCALED)[name]):
        return case(z, labels, counts)

      try:
        values, pullback = jax.vjp(loss, logits)
        found[name] = values, pullback(jnp.ones_like(values))[0]
      except Exception as error:  # One that fails must not hide the others.
        self._errors[name] = error
    return found

  def run(self, logits, labels, counts=COUNTS):
    """Counts are traced; the results of a case by its name."""
    found = self._jitted(logits, labels, np.asarray(counts, np.float32))
    return functools.partial(self._result, jax.tree.map(np.asarray, found))

  def _result(self, found, name):
    if name in self._errors:
      raise self._errors[name]
    return found[name]


@functools.cache
def program():
  return Program(CASES | SCALED)


@functools.cache
def results(batch, counts=None):
  return program().run(*batch(), COUNTS if counts is None else counts)


def assert_close(actual, expected, *, magnitude=0.0, rtol=1e-5, atol=1e-6):
  """Equal up to the rounding of terms of `magnitude`, which cancel."""
  expected = np.asarray(expected)
  bound = atol + rtol * np.abs(expected) + 4 * EPSILON * np.asarray(magnitude)
  np.testing.assert_array_less(np.abs(actual - expected), bound)


def magnitude_of(case, logits):
  """The largest term of each row."""
  return case.scale * np.abs(logits).max(1)


class WitnessTest(parameterized.TestCase):
  """The witness against what it does not itself compute."""

  def test_identities(self):
    logits, labels = cosine_batch()
    logits = logits.astype(np.float64)
    same = functools.partial(np.testing.assert_allclose, rtol=1e-9)
    for tau in (0.5, 1.0, 2.0):
      same(
        witness.vs_loss(logits, labels, COUNTS, gamma=0.0, tau=tau),
        witness.logit_adjusted_cross_entropy(logits, labels, COUNTS, tau=tau),
      )
    same(
      witness.vs_loss(logits, labels, COUNTS, gamma=0.4, tau=0.0),
      witness.cdt_loss(logits, labels, COUNTS, gamma=0.4),
    )
    same(
      witness.cross_entropy(7.0 * logits, labels),
      [
        witness.softplus(7.0 * loss)
        for loss in witness.lm_softmax(logits, labels, scale=7.0)
      ],
    )
    same(
      witness.balanced_softmax(logits, labels, COUNTS),
      witness.arb_loss(logits, labels, COUNTS),
    )
    same(
      witness.margin_softmax(
        logits,
        labels,
        scale=30.0,
        margin=witness.ldam_margins(COUNTS),
      ),
      witness.ldam_loss(logits, labels, COUNTS),
    )

  def test_gradient(self):
    logits, labels = cosine_batch()
    keywords = {
      'multiplier': np.linspace(0.3, 1.0, NUM_CLASSES),
      'offset': np.log(COUNTS),
      'scale': 3.0,
      'margin': 0.4,
      'denominator_margin': 0.1,
    }
    np.testing.assert_allclose(
      witness.gradient(
        lambda z: witness.margin_softmax(z, labels, **keywords), logits
      ),
      witness.margin_softmax_gradient(logits, labels, **keywords),
      atol=1e-8,
    )


class ValueTest(parameterized.TestCase):
  @every_case
  def test_values(self, name):
    case = CASES[name]
    for batch in (random_batch, cosine_batch):
      logits, labels = batch()
      found, _ = results(batch)(name)
      self.assertEqual(found.shape, (NUM_EXAMPLES,))
      self.assertEqual(found.dtype, np.float32)
      assert_close(
        found,
        case.expected(logits.astype(np.float64), labels, COUNTS),
        magnitude=magnitude_of(case, logits),
      )

  @every_case
  def test_gradients(self, name):
    case = CASES[name]
    logits, labels = random_batch()
    exact = logits.astype(np.float64)
    if case.loss is losses.mm_loss or case.loss is losses.mm_ldam_loss:
      # No gradient through the margin.
      if case.has_counts:
        margins = witness.mm_ldam_margins(exact, labels, COUNTS)
      else:
        keywords = {'margin': 1.29, 'gamma': 1.528, **case.keywords}
        keywords.pop('scale', None)
        margins = witness.mm_margins(exact, labels, **keywords)

      def loss(z):
        return witness.fixed_margin_loss(z, labels, margins, scale=case.scale)

    else:

      def loss(z):
        return case.expected(z, labels, COUNTS)

    _, found = results(random_batch)(name)
    largest = np.maximum(magnitude_of(case, logits), 1.0)[:, None]
    # Slopes are up to `scale`, and as inexact as what is exponentiated.
    assert_close(
      found,
      witness.gradient(loss, exact),
      magnitude=case.scale * largest,
      atol=2e-6,
    )

  @every_loss
  def test_two_classes(self, name):
    case = CASES[name]
    logits = np.array([[0.3, -0.4], [0.1, 0.9], [-0.5, -0.2]], np.float32)
    labels, counts = np.array([0, 1, 0]), np.array([90, 7])
    assert_close(
      case(logits, labels, counts),
      case.expected(logits.astype(np.float64), labels, counts),
      magnitude=case.scale,
    )

  def test_focal_gradient_without_that_of_the_modulator(self):
    logits, labels = cosine_batch()

    @jax.jit
    def gradient(logits, gamma):
      return jax.grad(
        lambda z: losses.focal_loss(
          z, labels, gamma=gamma, stop_modulator_gradient=True
        ).sum()
      )(logits)

    for gamma in (0.5, 1.0, 2.0):
      modulator = witness.focal_modulator(logits, labels, gamma=gamma)
      np.testing.assert_allclose(
        gradient(logits, gamma),
        modulator[:, None] * witness.margin_softmax_gradient(logits, labels),
        rtol=1e-5,
        atol=1e-7,
      )

  @parameterized.named_parameters(
    ('scalar', lambda values: values[0, 0]),
    ('classes', lambda values: values[0]),
    ('rows_and_classes', lambda values: values),
  )
  def test_margin_softmax_broadcasts(self, part):
    logits, labels = cosine_batch()
    rng = np.random.default_rng(3)
    arrays = {
      name: np.float32(part(rng.uniform(0.1, 1.0, logits.shape)))
      for name in ('multiplier', 'offset', 'margin', 'denominator_margin')
    }
    for names in (('multiplier', 'offset'), ('margin',)):
      keywords = {name: arrays[name] for name in names}
      assert_close(
        losses.margin_softmax(logits, labels, scale=4.0, **keywords),
        witness.margin_softmax(logits, labels, scale=4.0, **keywords),
        magnitude=4.0,
      )

    def both(logits, keywords):
      loss = lambda z: losses.margin_softmax(z, labels, scale=4.0, **keywords)
      return loss(logits), jax.grad(lambda z: loss(z).sum())(logits)

    found, gradient = jax.jit(both)(logits, arrays)
    assert_close(
      found,
      witness.margin_softmax(logits, labels, scale=4.0, **arrays),
      magnitude=4.0,
    )
    np.testing.assert_allclose(
      gradient,
      witness.margin_softmax_gradient(logits, labels, scale=4.0, **arrays),
      rtol=1e-5,
      atol=1e-5,
    )

  def test_margin_softmax_without_a_class(self):
    logits, _ = cosine_batch()
    labels = np.zeros(NUM_EXAMPLES, np.int32)
    kept, empty = [0, 2, 3, 5, 6], [1, 4]
    offset = np.linspace(0.0, 1.0, NUM_CLASSES).astype(np.float32)
    offset[empty] = -np.inf
    found, gradient = jax.jit(
      jax.value_and_grad(
        lambda z: losses.margin_softmax(z, labels, offset=offset).sum()
      )
    )(logits)
    keywords = {'offset': offset[kept]}
    np.testing.assert_allclose(
      found,
      witness.margin_softmax(logits[:, kept], labels, **keywords).sum(),
      rtol=1e-5,
    )
    np.testing.assert_array_equal(gradient[:, empty], 0.0)
    np.testing.assert_allclose(
      gradient[:, kept],
      witness.margin_softmax_gradient(logits[:, kept], labels, **keywords),
      atol=1e-6,
    )

  def test_ldam_margins(self):
    # .5 (50 / 1796)^(1/4) is .20424, for the third.
    np.testing.assert_allclose(
      losses.ldam_margins(CIFAR10),
      [0.1581, 0.1797, 0.2042, 0.2321, 0.2638]
      + [0.2998, 0.3407, 0.3872, 0.4405, 0.5000],
      atol=5.1e-5,
    )
    rng = np.random.default_rng(0)
    for _ in range(3):
      counts = rng.integers(1, 1000, size=20)
      found = losses.ldam_margins(counts, max_margin=0.3)
      self.assertEqual(found.dtype, jnp.float32)
      np.testing.assert_allclose(
        found, witness.ldam_margins(counts, max_margin=0.3), rtol=1e-6
      )

  def test_mm_margins_near_the_boundary(self):
    # e^-M on the wrong side, e^-gamma M on the right side, none on it.
    logits = np.full((NUM_EXAMPLES, NUM_CLASSES), -1.0, np.float32)
    logits[:, 1] = 0.0
    logits[:, 0] = np.tile([-1e-6, 1e-6, 0.0, 0.0], NUM_EXAMPLES // 4)
    labels = np.zeros(NUM_EXAMPLES, np.int32)
    margins = [math.exp(-1.29), math.exp(-1.528 * 1.29), 0.0, 0.0]
    np.testing.assert_allclose(margins[:2], [0.275, 0.139], atol=5e-4)
    assert_close(
      losses.mm_loss(logits, labels),
      witness.fixed_margin_loss(
        logits, labels, np.tile(margins, NUM_EXAMPLES // 4), scale=19.0
      ),
      magnitude=19.0,
    )

  def test_zero_centroid_penalty(self):
    rows = np.random.default_rng(0).standard_normal((7, 3))
    for mean in (False, True):
      found, gradient = jax.jit(
        jax.value_and_grad(
          functools.partial(losses.zero_centroid_penalty, mean=mean)
        )
      )(jnp.asarray(rows, jnp.float32))
      self.assertEqual(found.shape, ())
      self.assertEqual(found.dtype, jnp.float32)
      np.testing.assert_allclose(
        found, witness.zero_centroid_penalty(rows, mean=mean), rtol=1e-5
      )
      slopes = np.empty_like(rows)
      for at in np.ndindex(rows.shape):
        step = np.zeros_like(rows)
        step[at] = 1e-6
        slopes[at] = (
          witness.zero_centroid_penalty(rows + step, mean=mean)
          - witness.zero_centroid_penalty(rows - step, mean=mean)
        ) / 2e-6
      np.testing.assert_allclose(gradient, slopes, rtol=1e-4, atol=1e-5)

  def test_zero_centroid_penalty_of_no_and_all_spread(self):
    simplex = np.float32(np.eye(4) - 0.25)
    np.testing.assert_allclose(
      losses.zero_centroid_penalty(simplex), 0.0, atol=1e-12
    )
    equal = np.full((4, 4), 7.0, np.float32)
    np.testing.assert_allclose(
      losses.zero_centroid_penalty(equal), 16.0, rtol=1e-6
    )
    np.testing.assert_allclose(
      losses.zero_centroid_penalty(equal, mean=True), 1.0, rtol=1e-6
    )


class InvariantTest(parameterized.TestCase):
  """The identities of the specification, between losses."""

  def setUp(self):
    super().setUp()
    self.cosines, self.labels = cosine_batch()
    self.logits = 3 * self.cosines

  def _assert_same(self, found, expected, magnitude=10.0):
    assert_close(found, expected, magnitude=magnitude)

  def test_cross_entropy(self):
    z, y, n = self.logits, self.labels, COUNTS
    expected = losses.cross_entropy(z, y)
    equal = np.full(NUM_CLASSES, 40)
    for found in (
      losses.margin_softmax(z, y),
      losses.focal_loss(z, y, gamma=0.0),
      losses.balanced_softmax(z, y, equal),
      losses.logit_adjusted_cross_entropy(z, y, equal, tau=3.0),
      losses.logit_adjusted_cross_entropy(z, y, n, tau=0.0),
      losses.cdt_loss(z, y, n, gamma=0.0),
      losses.cdt_loss(z, y, equal),
      losses.vs_loss(z, y, n, gamma=0.0, tau=0.0),
      losses.vs_loss(z, y, equal),
      losses.arb_loss(z, y, equal),
      losses.ldam_loss(z, y, n, max_margin=0.0, scale=1.0),
      losses.gcl_loss(z, y, n, key=KEY, noise_scale=0.0, scale=1.0),
      losses.cosface_loss(z, y, margin=0.0, scale=1.0),
      losses.gm_softmax(z, y, scale=1.0),
    ):
      self._assert_same(found, expected)

  def test_scaled_cross_entropy(self):
    x, y, n = self.cosines, self.labels, COUNTS
    expected = losses.cross_entropy(20.0 * x, y)
    equal = np.full(NUM_CLASSES, 40)
    for found in (
      losses.margin_softmax(x, y, scale=20.0),
      losses.ldam_loss(x, y, n, max_margin=0.0, scale=20.0),
      losses.cosface_loss(x, y, margin=0.0, scale=20.0),
      losses.gm_softmax(x, y, scale=20.0),
      losses.gcl_loss(x, y, n, key=KEY, noise_scale=0.0, scale=20.0),
      losses.gcl_loss(x, y, equal, key=KEY, scale=20.0),
      losses.cri_loss(x, y, n, max_margin=0.0, scale=20.0, gamma=0.0),
      losses.mm_loss(x, y, margin=100.0, scale=20.0),
    ):
      self._assert_same(found, expected, magnitude=20.0)
    np.testing.assert_allclose(
      jax.nn.softplus(20.0 * losses.lm_softmax(x, y, scale=20.0)),
      expected,
      rtol=1e-5,
      atol=1e-5,
    )

  def test_class_affine(self):
    z, y, n = self.logits, self.labels, COUNTS
    for found in (
      losses.logit_adjusted_cross_entropy(z, y, n),
      losses.arb_loss(z, y, n),
      losses.cross_entropy(z + np.log(n).astype(np.float32), y),
    ):
      self._assert_same(found, losses.balanced_softmax(z, y, n))
    for value in (0.3, 1.0, 2.0):
      self._assert_same(
        losses.vs_loss(z, y, n, gamma=0.0, tau=value),
        losses.logit_adjusted_cross_entropy(z, y, n, tau=value),
      )
      self._assert_same(
        losses.vs_loss(z, y, n, gamma=value, tau=0.0),
        losses.cdt_loss(z, y, n, gamma=value),
      )
    # The histogram of the batch as the counts.
    self._assert_same(
      losses.arb_loss(z, y),
      losses.balanced_softmax(z, y, np.bincount(y, minlength=NUM_CLASSES)),
    )

  def test_the_most_frequent_class_keeps_its_logit_in_cdt(self):
    z, y = np.zeros_like(self.logits), np.zeros_like(self.labels)
    z[:, 0] = 3.0
    self._assert_same(losses.cdt_loss(z, y, COUNTS), losses.cross_entropy(z, y))

  def test_adjustment_favours_the_tail(self):
    # At equal logits the rare classes are the harder, so that training lifts
    # their logits.
    z, y = np.zeros_like(self.logits), np.arange(NUM_EXAMPLES) % NUM_CLASSES
    for name in ('balanced_softmax', 'logit_adjusted', 'vs', 'ldam', 'cri'):
      found = np.asarray(CASES[name](z, y, COUNTS))[:NUM_CLASSES]
      self.assertTrue(np.all(np.diff(found) > 0.0), name)
    np.testing.assert_allclose(
      losses.balanced_softmax(z, y, COUNTS),
      -np.log(COUNTS / COUNTS.sum())[y],
      rtol=1e-5,
    )

  def test_margins(self):
    x, y, n = self.cosines, self.labels, COUNTS
    equal = np.full(NUM_CLASSES, 40)
    for found, expected in (
      (
        losses.ldam_loss(x, y, equal, max_margin=0.35, scale=64.0),
        losses.cosface_loss(x, y),
      ),
      (
        losses.gm_softmax(x, y, beta1=-0.35, beta2=-0.35),
        losses.cosface_loss(x, y),
      ),
      (
        losses.gm_softmax(x, y, beta2=-math.inf),
        64.0 * losses.lm_softmax(x, y),
      ),
      (
        losses.margin_softmax(x, y, scale=64.0, denominator_margin=math.inf),
        64.0 * losses.lm_softmax(x, y),
      ),
      (
        losses.margin_softmax(x, y, scale=30.0, margin=losses.ldam_margins(n)),
        losses.ldam_loss(x, y, n),
      ),
      (
        losses.cri_loss(x, y, n, max_margin=0.5, gamma=0.0),
        losses.ldam_loss(x, y, n),
      ),
      (
        losses.cri_loss(x, y, n, max_margin=0.0, scale=1.0, gamma=2.0),
        losses.focal_loss(x, y, gamma=2.0),
      ),
    ):
      self._assert_same(found, expected, magnitude=64.0)
    # The label alone has a margin.
    self.assertTrue(
      np.all(
        np.asarray(losses.ldam_loss(x, y, n))
        >= losses.cross_entropy(30.0 * x, y) - 1e-5
      )
    )

  def test_lm_softmax_bounds_the_sample_margin(self):
    x, y = self.cosines, self.labels
    lower = np.asarray(losses.sample_margin_loss(x, y))
    for scale in (1.0, 5.0, 64.0):
      found = np.asarray(losses.lm_softmax(x, y, scale=scale))
      upper = lower + math.log(NUM_CLASSES - 1) / scale
      self.assertTrue(np.all(found >= lower - 1e-5))
      self.assertTrue(np.all(found <= upper + 1e-5))
    self.assertLess(found.min(), 0.0)  # Legitimate.

  def test_sample_margin_of_a_simplex(self):
    corners = np.eye(7) - 1 / 7
    corners /= np.linalg.norm(corners, axis=1, keepdims=True)
    np.testing.assert_allclose(
      losses.sample_margin_loss(np.float32(corners @ corners.T), np.arange(7)),
      -7 / 6,
      rtol=1e-6,
    )

  def test_mm_is_symmetric_in_the_gap_at_gamma_1(self):
    x = np.array([[0.3, 0.0], [-0.3, 0.0], [0.0, 0.0]], np.float32)
    y = np.zeros(3, np.int32)
    found = np.asarray(losses.mm_loss(x, y, gamma=1.0, scale=1.0))[:2]
    # softplus(m - gap), so that the margins follow from the losses.
    margins = np.log(np.expm1(found)) + x[:2, 0]
    np.testing.assert_allclose(margins, math.exp(-1.59), rtol=1e-5)

  def test_mm_ldam_has_larger_margins_at_the_tail(self):
    y = np.arange(NUM_EXAMPLES) % NUM_CLASSES
    z = np.float32(0.1 * np.eye(NUM_CLASSES))[y]
    found = np.asarray(losses.mm_ldam_loss(z, y, COUNTS))[:NUM_CLASSES]
    self.assertTrue(np.all(np.diff(found) > 0.0))

  def test_focal_is_below_cross_entropy(self):
    z, y = self.logits, self.labels
    plain = np.asarray(losses.cross_entropy(z, y))
    for gamma in (0.1, 1.0, 5.0):
      found = np.asarray(losses.focal_loss(z, y, gamma=gamma))
      self.assertTrue(np.all(found <= plain))
    np.testing.assert_array_equal(
      losses.focal_loss(z, y, stop_modulator_gradient=True),
      losses.focal_loss(z, y),
    )

  def test_sigmoid_focal_0_is_binary_cross_entropy(self):
    z, y = self.logits, self.labels
    targets = np.eye(NUM_CLASSES)[y]
    p = 1.0 / (1.0 + np.exp(-z.astype(np.float64)))
    expected = -(targets * np.log(p) + (1 - targets) * np.log(1 - p))
    np.testing.assert_allclose(
      losses.sigmoid_focal_loss(z, y, gamma=0.0), expected.sum(1), rtol=1e-5
    )

  def test_arb_of_one_class(self):
    found, gradient = program().run(self.logits, 0 * self.labels + 3)('arb')
    np.testing.assert_array_equal(found, 0.0)
    np.testing.assert_array_equal(gradient, 0.0)

  def test_arb_has_no_gradient_where_it_clips(self):
    z = self.logits.copy()
    z[:, 1] = 31.0
    z[:, 2] = -1e3
    found = program().run(z, self.labels)
    for name in ('arb', 'arb_counts'):
      np.testing.assert_array_equal(found(name)[1][:, 1:3], 0.0)
    self.assertTrue(np.all(found('arb_without_clip')[1][:, 1] != 0.0))

  def test_affine_losses_of_mixed_labels_are_those_of_soft_labels(self):
    z, a = self.logits, self.labels
    b = np.roll(a, 1)
    lam = np.float32(0.3)
    soft = lam * np.eye(NUM_CLASSES)[a] + (1 - lam) * np.eye(NUM_CLASSES)[b]
    for name, adjusted in (
      ('cross_entropy', z),
      ('balanced_softmax', z + np.log(COUNTS)),
      ('cdt', z * (COUNTS / COUNTS.max()) ** 0.2),
    ):
      log_p = np.asarray(adjusted, np.float64)
      log_p = log_p - np.log(np.exp(log_p).sum(1, keepdims=True))
      self._assert_same(
        CASES[name](z, losses.MixedLabels(a, b, lam), COUNTS),
        -(soft * log_p).sum(1),
      )

  # The terms of AutoBalance belong to places, not to counts.
  @parameterized.named_parameters(
    *((name, name) for name in DEFAULTS if name != 'autobalance')
  )
  def test_permutation_of_the_classes(self, name):
    order = np.array([3, 0, 4, 6, 1, 2, 5])
    permuted = CASES[name](
      self.cosines[:, order], np.argsort(order)[self.labels], COUNTS[order]
    )
    self._assert_same(
      permuted, results(cosine_batch)(name)[0], magnitude=CASES[name].scale
    )

  @every_loss_with_counts
  def test_only_ratios_of_counts_matter(self, name):
    # So that the shares of a sampled stream can stand for the counts.
    for counts in (7 * COUNTS, np.float32(COUNTS / COUNTS.sum())):
      self._assert_same(
        CASES[name](self.cosines, self.labels, counts),
        results(cosine_batch)(name)[0],
        magnitude=CASES[name].scale,
      )

  @parameterized.product(
    name=[name for name in CASES if CASES[name].has_counts],
    empty=((0,), (6,), (4, 1)),
  )
  def test_classes_without_examples(self, name, empty):
    # They leave the denominator: the loss is that of the other classes.
    case, empty = CASES[name], list(empty)
    kept = [c for c in range(NUM_CLASSES) if c not in empty]
    inside = self.labels % len(kept)
    labels = np.asarray(kept, np.int32)[inside]
    counts = COUNTS.copy()
    counts[empty] = 0
    expected = case.expected(
      self.cosines[:, kept].astype(np.float64), inside, COUNTS[kept]
    )
    assert_close(
      case(self.cosines, labels, counts), expected, magnitude=case.scale
    )
    found, gradient = program().run(self.cosines, labels, counts)(name)
    assert_close(found, expected, magnitude=case.scale)
    np.testing.assert_array_equal(gradient[:, empty], 0.0)
    self.assertTrue(np.all(np.isfinite(gradient)))
    if not name.startswith('mm'):  # Whose margins have no gradient.
      np.testing.assert_allclose(
        gradient[:, kept],
        witness.gradient(
          lambda z: case.expected(z, inside, COUNTS[kept]),
          self.cosines[:, kept],
        ),
        rtol=1e-5,
        atol=2e-6 + case.scale**2 * 4 * EPSILON,
      )


class CutoffTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    # From far on the right side to far on the wrong side.
    self.logits = np.full((NUM_EXAMPLES, NUM_CLASSES), -1.0, np.float32)
    self.logits[:, 0] = np.linspace(0.3, -0.3, NUM_EXAMPLES)
    self.logits[:, 1] = 0.0
    self.labels = np.zeros(NUM_EXAMPLES, np.int32)
    self.ldam = witness.ldam_loss(
      self.logits, self.labels, COUNTS, max_margin=0.1
    )
    self.probabilities = np.exp(-self.ldam)

  def _loss(self, logits=None, **keywords):
    return losses.cri_loss(
      self.logits if logits is None else logits,
      self.labels,
      COUNTS,
      **keywords,
    )

  def test_acts_on_each_example(self):
    plain = np.asarray(self._loss())
    for cutoff in (0.01, 0.2):
      cut = self.probabilities < cutoff
      threshold = -(1 - cutoff) * math.log(cutoff)
      self.assertBetween(cut.sum(), 1, NUM_EXAMPLES - 1)
      for mode in ('zero', 'fix', 'decrease'):
        found = np.asarray(self._loss(cutoff=cutoff, mode=mode))
        np.testing.assert_allclose(found[~cut], plain[~cut], rtol=1e-6)
        if mode == 'zero':
          np.testing.assert_array_equal(found[cut], 0.0)
        elif mode == 'fix':
          np.testing.assert_allclose(found[cut], threshold, rtol=1e-6)
        else:
          self.assertTrue(np.all(np.diff(found[cut]) < 0.0))

  def test_decrease_with_the_modulator(self):
    # th e^-l / T, l the loss that is cut: with its modulator.
    cutoff = 0.2
    cut = self.probabilities < cutoff
    found = np.asarray(self._loss(cutoff=cutoff, mode='decrease'))
    expected = witness.cri_loss(
      self.logits, self.labels, COUNTS, cutoff=cutoff, mode='decrease'
    )
    np.testing.assert_allclose(found[cut], expected[cut], rtol=1e-4)

  def test_gradient_of_what_is_cut(self):
    cut = self.probabilities < 0.2
    for mode in ('zero', 'fix'):
      loss = functools.partial(self._loss, cutoff=0.2, mode=mode)
      gradient = jax.jit(jax.grad(lambda z, loss=loss: loss(z).sum()))(
        self.logits
      )
      np.testing.assert_array_equal(gradient[cut], 0.0)
      self.assertTrue(np.all(np.asarray(gradient[~cut])[:, :2] != 0.0))

  def test_default_of_the_repository_is_out_of_reach(self):
    # 1e-50, which float32 does not hold.
    for mode in ('zero', 'fix', 'decrease'):
      np.testing.assert_array_equal(
        self._loss(cutoff=1e-50, mode=mode), self._loss()
      )
    # The largest loss of cosines is s (2 + m) + log(C - 1), 65.2 for C = 10.
    largest = lambda num_classes: 30.0 * 2.1 + math.log(num_classes - 1)
    self.assertAlmostEqual(largest(10), 65.2, places=1)
    cosines = np.ones_like(self.logits)
    cosines[:, 0] = -1.0
    np.testing.assert_allclose(
      losses.cri_loss(cosines, self.labels, [8] * NUM_CLASSES),
      largest(NUM_CLASSES),
      rtol=1e-5,
    )

  def test_traced(self):
    np.testing.assert_allclose(
      jax.jit(lambda cutoff: self._loss(cutoff=cutoff))(0.2),
      self._loss(cutoff=0.2),
      rtol=1e-5,
      atol=1e-6,
    )


@functools.cache
def gcl_problem():
  """Many cosines, counts, and the loss of a label that all rows have."""
  counts = np.array([1000, 300, 80, 20, 5])
  cosines = np.tanh(np.random.default_rng(1).standard_normal((20_000, 5)))
  cosines = cosines.astype(np.float32)

  @jax.jit
  def loss(label, key, noise_scale, margin, scale):
    return losses.gcl_loss(
      cosines,
      jnp.full(len(cosines), label),
      counts,
      key=key,
      noise_scale=noise_scale,
      margin=margin,
      scale=scale,
    )

  return cosines, counts, loss


class GclNoiseTest(parameterized.TestCase):
  """The noise, recovered from losses of one key and different labels."""

  def setUp(self):
    super().setUp()
    self.cosines, self.counts, self.loss = gcl_problem()
    self.num_examples = len(self.cosines)

  def _of_labels(self, key, *, noise_scale=0.5, margin=0.0, scale=4.0):
    """The loss of every row under every label."""
    return np.stack(
      [
        np.asarray(
          self.loss(label, key, noise_scale, margin, scale), np.float64
        )
        for label in range(5)
      ],
      axis=1,
    )

  def _noise(self, key):
    """|eps|, zero in the first column, where it has no effect."""
    found = self._of_labels(key)
    # l_y - l_0 = s (x'_0 - x'_y), and x'_0 = x_0 without noise.
    moved = (found[:, :1] - found) / 4.0 + self.cosines[:, :1]
    noise = self.cosines - moved
    noise[:, 1:] /= 0.5 * witness.gcl_deltas(self.counts)[1:]
    return noise

  def test_values_with_the_noise(self):
    # The noise is on negatives as well: the witness has it on every column.
    noise = self._noise(KEY)[:32]
    self.assertGreater(noise[:, 1:].mean(), 0.1)
    for keywords in (
      {},
      {'noise_scale': 1.0, 'margin': 0.1, 'scale': 2.0},
      {'margin': 0.1, 'scale': 20.0},
    ):
      found = self._of_labels(KEY, **keywords)
      for label in range(5):
        np.testing.assert_allclose(
          found[:32, label],
          witness.gcl_loss(
            self.cosines[:32],
            np.full(32, label),
            self.counts,
            noise=noise,
            **{'scale': 4.0, **keywords},
          ),
          rtol=1e-5,
          atol=3e-5,
        )

  def test_distribution(self):
    noise, num_examples = self._noise(KEY)[:, 1:], self.num_examples
    self.assertGreater(noise.min(), -1e-4)
    self.assertLess(noise.max(), 1.0 + 1e-4)
    # Of |N(0, 1/9)|, clipped at three deviations.
    deviation = math.sqrt((1 - 2 / math.pi) / 9 / num_examples)
    np.testing.assert_allclose(noise.mean(0), 0.2657, atol=4 * deviation)
    for threshold, share in (
      (1 / 3, 0.31731),
      (2 / 3, 0.0455),
      (1 - 1e-4, 0.0027),
    ):
      np.testing.assert_allclose(
        np.mean(noise > threshold, 0),
        share,
        atol=4 * math.sqrt(share * (1 - share) / num_examples),
      )
    # Independent of the other classes, and of the row before.
    bound = 4 / math.sqrt(num_examples)
    np.testing.assert_allclose(np.corrcoef(noise.T), np.eye(4), atol=bound)
    for column in noise.T:
      self.assertLess(abs(np.corrcoef(column[1:], column[:-1])[0, 1]), bound)

  def test_is_of_the_key(self):
    first, again = (self._noise(jax.random.key(1)) for _ in range(2))
    other = self._noise(jax.random.key(2))
    np.testing.assert_array_equal(first, again)
    correlation = np.corrcoef(first[:, 1:].ravel(), other[:, 1:].ravel())[0, 1]
    self.assertLess(abs(correlation), 4 / math.sqrt(4 * self.num_examples))

  def test_mean_over_many_keys(self):
    cosines, labels = np.zeros((1, 5), np.float32), np.zeros(1, np.int32)

    def tail_minus_head(key):
      head, tail = (
        losses.gcl_loss(
          cosines, labels + label, self.counts, key=key, scale=1.0
        )[0]
        for label in (0, 4)
      )
      return tail - head

    keys = jax.random.split(KEY, 1000)
    found = jax.jit(lambda keys: jax.lax.map(tail_minus_head, keys))(keys)
    np.testing.assert_allclose(
      found.mean() / 0.5, 0.266, atol=4 * 0.201 / math.sqrt(1000)
    )

  def test_no_noise_on_the_most_frequent_class(self):
    # Two classes. Where the label is the head, noise on the other can only
    # lower the loss; where it is the tail, only raise it.
    cosines = np.zeros((NUM_EXAMPLES, 2), np.float32)
    head = np.zeros(NUM_EXAMPLES, np.int32)
    loss = functools.partial(losses.gcl_loss, key=KEY)
    plain = math.log(2)
    self.assertTrue(np.all(np.asarray(loss(cosines, head, [9, 3])) < plain))
    self.assertTrue(np.all(np.asarray(loss(cosines, head + 1, [9, 3])) > plain))
    for labels in (head, head + 1):
      np.testing.assert_allclose(
        loss(cosines, labels, [5, 5]), plain, rtol=1e-6
      )

  def test_mixed_labels_share_the_noise(self):
    logits, first = cosine_batch()
    second = np.roll(first, 1)
    loss = functools.partial(losses.gcl_loss, class_counts=COUNTS, key=KEY)
    np.testing.assert_allclose(
      loss(logits, losses.MixedLabels(first, second, 0.25)),
      0.25 * loss(logits, first) + 0.75 * loss(logits, second),
      rtol=1e-6,
      atol=1e-6,
    )

  def test_finite_with_noise(self):
    logits, labels = extreme_batch()

    @jax.jit
    def both(labels, counts, scale):
      return jax.value_and_grad(
        lambda z: losses.gcl_loss(z, labels, counts, key=KEY, scale=scale).sum()
      )(logits)

    for counts in (COUNTS, [4] * 7, [9, 0, 3, 2, 0, 1, 1]):
      counts = np.asarray(counts, np.float32)
      for scale in (30.0, 64.0):
        found, gradient = both(
          np.where(counts[labels] > 0, labels, 0), counts, scale
        )
        self.assertTrue(np.isfinite(found))
        self.assertTrue(np.all(np.isfinite(gradient)))


class ExtremeTest(parameterized.TestCase):
  @parameterized.named_parameters(
    *((name, name) for name in CASES | SCALED),
  )
  def test_finite_and_right(self, name):
    case = (CASES | SCALED)[name]
    logits, labels = extreme_batch()
    found, gradient = results(extreme_batch)(name)
    self.assertTrue(np.all(np.isfinite(found)), found)
    self.assertTrue(np.all(np.isfinite(gradient)), gradient)
    assert_close(
      found,
      case.expected(logits.astype(np.float64), labels, COUNTS),
      magnitude=magnitude_of(case, logits),
    )

  def test_confident_rows_of_focal_below_one(self):
    # (1 - p)^gamma has an infinite slope at p = 1; times the loss it has none.
    gaps = np.linspace(0.0, 200.0, 2001, dtype=np.float32)
    logits = np.stack([gaps, -gaps], axis=1)
    labels = np.zeros(len(gaps), np.int32)
    for loss in (losses.focal_loss, losses.sigmoid_focal_loss):

      @jax.jit
      def gradient(gamma, loss=loss):
        return jax.grad(lambda z: loss(z, labels, gamma=gamma).sum())(logits)

      for gamma in (0.01, 0.1, 0.5, 1.0, 2.0):
        found = np.asarray(gradient(gamma))
        self.assertTrue(np.all(np.isfinite(found)))
        self.assertLess(np.abs(found).max(), 1.0)

  def test_large_counts(self):
    counts = np.array([10**9, 10**6, 1])
    logits = np.array([[900.0, -900.0, 900.0]], np.float32)
    assert_close(
      losses.balanced_softmax(logits, [2], counts),
      [math.log(10**9 + 1)],
      magnitude=900.0,
    )


class MixedLabelsTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.logits, self.first = cosine_batch()
    # As in mixup: the same labels in another order, so one histogram.
    self.second = np.roll(self.first, 3)

  @functools.cached_property
  def terms(self):
    return [
      program().run(self.logits, labels) for labels in (self.first, self.second)
    ]

  @parameterized.named_parameters(*((name, name) for name in MIXED))
  def test_values_and_gradients(self, name):
    lam = np.linspace(0.0, 1.0, NUM_EXAMPLES, dtype=np.float32)
    found, gradient = mixed_results()(name)
    terms = [term(name) for term in self.terms]
    scale = CASES[name].scale
    assert_close(
      found, lam * terms[0][0] + (1 - lam) * terms[1][0], magnitude=scale
    )
    np.testing.assert_allclose(
      gradient,
      lam[:, None] * terms[0][1] + (1 - lam[:, None]) * terms[1][1],
      rtol=1e-5,
      atol=1e-6 + 4 * EPSILON * scale**2,
    )

  @every_loss
  def test_kinds_of_shares(self, name):
    case = CASES[name]
    terms = [
      np.asarray(case(self.logits, labels, COUNTS))
      for labels in (self.first, self.second)
    ]
    for lam in (
      np.linspace(0.0, 1.0, NUM_EXAMPLES),
      0.3,
      np.float32(0.7),
      jnp.float32(0.7),
      np.float64(0.2),
      jnp.bfloat16(0.5),
    ):
      labels = losses.MixedLabels(self.first, self.second, lam)
      found = case(self.logits, labels, COUNTS)
      self.assertEqual(found.shape, (NUM_EXAMPLES,))
      self.assertEqual(found.dtype, jnp.float32)
      share = np.asarray(lam).astype(np.float32)
      np.testing.assert_allclose(
        found,
        share * terms[0] + (np.float32(1.0) - share) * terms[1],
        rtol=1e-6,
        atol=1e-6,
      )
    for lam in (1.0, 0.0, 1, 0):
      labels = losses.MixedLabels(self.first, self.second, lam)
      np.testing.assert_array_equal(
        case(self.logits, labels, COUNTS), terms[0] if lam else terms[1]
      )

  def test_arb_counts_the_first_labels(self):
    second = np.full(NUM_EXAMPLES, self.first[0], np.int32)
    found = losses.arb_loss(
      self.logits, losses.MixedLabels(self.first, second, 0.4)
    )
    counts = np.bincount(self.first, minlength=NUM_CLASSES)
    assert_close(
      found,
      0.4 * witness.arb_loss(self.logits, self.first, counts)
      + 0.6 * witness.arb_loss(self.logits, second, counts),
      magnitude=3.0,
    )

  def test_is_not_the_loss_of_soft_labels_where_there_are_margins(self):
    x = np.array([[0.5, 0.2, -0.1]], np.float32)
    a, b = np.array([0], np.int32), np.array([1], np.int32)
    found = losses.cosface_loss(x, losses.MixedLabels(a, b, 0.5), scale=10.0)
    np.testing.assert_allclose(
      found,
      witness.mixed(
        functools.partial(witness.cosface_loss, scale=10.0), x, a, b, 0.5
      ),
      rtol=1e-5,
    )
    moved = 10.0 * (x - 0.35 * np.array([[0.5, 0.5, 0.0]]))
    wrong = witness.mixed(witness.cross_entropy, moved, a, b, 0.5)
    self.assertGreater(abs(float(found[0]) - wrong[0]), 0.1)


@functools.cache
def mixed_results():
  logits, first = cosine_batch()
  lam = np.linspace(0.0, 1.0, NUM_EXAMPLES, dtype=np.float32)
  # Another program than that of plain labels, which counts its traces.
  return Program(MIXED).run(
    logits, losses.MixedLabels(first, np.roll(first, 3), lam)
  )


class DtypeTest(parameterized.TestCase):
  @parameterized.product(name=DEFAULTS, dtype=(jnp.bfloat16, jnp.float16))
  def test_computes_in_float32(self, name, dtype):
    case = CASES[name]
    logits, labels = cosine_batch()
    rounded = jnp.asarray(logits).astype(dtype)
    found = case(rounded, labels, COUNTS)
    self.assertEqual(found.dtype, jnp.float32)
    np.testing.assert_array_equal(
      found, case(rounded.astype(jnp.float32), labels, COUNTS)
    )
    gradient = jax.eval_shape(
      jax.grad(lambda z: case(z, labels, COUNTS).sum()), rounded
    )
    self.assertEqual(gradient.dtype, dtype)

  @every_loss
  def test_inputs_of_numpy(self, name):
    case = CASES[name]
    logits, labels = cosine_batch()
    expected = np.asarray(case(logits, labels, COUNTS))
    for inputs in (
      (logits.astype(np.float64), labels.astype(np.int64), COUNTS),
      (logits.tolist(), labels.tolist(), COUNTS.tolist()),
      (logits, labels.astype(np.uint8), COUNTS.astype(np.float64)),
      (jnp.asarray(logits), jnp.asarray(labels), jnp.asarray(COUNTS)),
      (logits, labels.astype(np.int8), COUNTS.astype(np.float32)),
    ):
      found = case(*inputs)
      self.assertEqual(found.dtype, jnp.float32)
      np.testing.assert_array_equal(found, expected)

  @every_loss
  def test_with_x64(self, name):
    logits, labels = cosine_batch()
    with jax.enable_x64(True):
      for counts in (COUNTS, jnp.asarray(COUNTS), COUNTS.astype(np.float64)):
        found = jax.eval_shape(
          lambda z, y, counts=counts: CASES[name](z, y, counts),
          logits.astype(np.float64),
          labels.astype(np.int64),
        )
        self.assertEqual(found.dtype, jnp.float32)

  def test_half_precision_penalty(self):
    found = losses.zero_centroid_penalty(jnp.eye(3, dtype=jnp.bfloat16))
    self.assertEqual(found.dtype, jnp.float32)
    np.testing.assert_allclose(found, 3.0, rtol=1e-6)


class JitTest(parameterized.TestCase):
  @every_loss_with_counts
  def test_traced_counts(self, name):
    case = CASES[name]
    logits, labels = cosine_batch()
    for counts in (COUNTS, COUNTS[::-1], [5] * 7, [1, 2, 3, 4, 5, 6, 7]):
      found, _ = results(cosine_batch, tuple(map(int, counts)))(name)
      assert_close(
        found,
        case(logits, labels, counts),
        magnitude=case.scale,
      )
    # With everything before, in any order of the tests.
    self.assertEqual(program().num_traces, 1)

  @every_loss_with_counts
  def test_traced_integer_counts(self, name):
    logits, labels = cosine_batch()
    found = jax.eval_shape(
      CASES[name], logits, labels, jnp.asarray(COUNTS, jnp.int32)
    )
    self.assertEqual(found.dtype, jnp.float32)

  def test_traced_margins(self):
    np.testing.assert_allclose(
      jax.jit(losses.ldam_margins)(COUNTS),
      losses.ldam_margins(COUNTS),
      rtol=1e-6,
    )

  def test_traced_hyperparameters(self):
    logits, labels = cosine_batch()
    calls = {
      'margin_softmax': (losses.margin_softmax, {'scale': 7.0, 'margin': 0.1}),
      'focal': (losses.focal_loss, {'gamma': 1.5}),
      'sigmoid_focal': (losses.sigmoid_focal_loss, {'gamma': 1.5}),
      'logit_adjusted': (losses.logit_adjusted_cross_entropy, {'tau': 1.5}),
      'cdt': (losses.cdt_loss, {'gamma': 0.3}),
      'vs': (losses.vs_loss, {'gamma': 0.3, 'tau': 1.5}),
      'ldam': (losses.ldam_loss, {'max_margin': 0.3, 'scale': 7.0}),
      'mm': (losses.mm_loss, {'margin': 0.2, 'gamma': 1.1, 'scale': 7.0}),
      'mm_ldam': (losses.mm_ldam_loss, {'margin': 0.8, 'scale': 7.0}),
      'cri': (losses.cri_loss, {'max_margin': 0.3, 'scale': 7.0}),
      'cosface': (losses.cosface_loss, {'margin': 0.2, 'scale': 7.0}),
      'lm': (losses.lm_softmax, {'scale': 7.0}),
      'gm': (losses.gm_softmax, {'beta1': 0.1, 'scale': 7.0}),
    }

    def all_of(keywords):
      found = {}
      for name, (loss, _) in calls.items():
        counts = (COUNTS,) if CASES[name].has_counts else ()
        found[name] = loss(logits, labels, *counts, **keywords[name])
      return found

    keywords = {name: keywords for name, (_, keywords) in calls.items()}
    found, expected = jax.jit(all_of)(keywords), all_of(keywords)
    for name in calls:
      np.testing.assert_allclose(
        found[name], expected[name], rtol=1e-5, atol=1e-5, err_msg=name
      )


class DistributionBalancedTest(parameterized.TestCase):
  counts = np.array([200, 90, 40, 12, 8, 5, 2])
  settings = {
    'voc': {},
    'coco': {'mu': 0.2, 'negative_scale': 2.0},
    'gamma_half': {'gamma': 0.5},
    'gamma_tenth': {'gamma': 0.1},
    'others': {'alpha': 0.3, 'beta': 4.0, 'bias_scale': 0.5},
    'scale_64': {'negative_scale': 64.0},
    'plain': {
      'alpha': 0.5,
      'beta': 0.0,
      'bias_scale': 0.0,
      'negative_scale': 1.0,
      'gamma': 0.0,
      'balance': 1.0,
    },
    'without_bias': {'bias_scale': 0.0},
    'slopes': {'bias_scale': 0.0, 'gamma': 0.0, 'balance': 1.0},
  }

  def setUp(self):
    super().setUp()
    self.logits, labels = random_batch()
    rng = np.random.default_rng(0)
    targets = rng.random(self.logits.shape) < 0.3
    targets[np.arange(NUM_EXAMPLES), labels] = True
    self.targets = targets.astype(np.int32)

  @staticmethod
  @functools.cache
  def _program():
    @jax.jit
    def run(logits, targets, counts):
      found = {}
      for name, keywords in DistributionBalancedTest.settings.items():
        values, pullback = jax.vjp(
          lambda z, keywords=keywords: losses.distribution_balanced_loss(
            z, targets, counts, 400, **keywords
          ),
          logits,
        )
        found[name] = values, pullback(jnp.ones_like(values))[0]
      return found

    return run

  def _run(self, name, logits=None, targets=None):
    found, gradient = self._program()(
      self.logits if logits is None else logits,
      self.targets if targets is None else targets,
      self.counts,
    )[name]
    return np.asarray(found), np.asarray(gradient)

  @parameterized.parameters(*settings)
  def test_values_and_gradients(self, name):
    found, gradient = self._run(name)
    self.assertEqual(found.shape, (NUM_EXAMPLES, NUM_CLASSES))
    self.assertEqual(found.dtype, np.float32)
    exact = self.logits.astype(np.float64)
    loss = functools.partial(
      witness.distribution_balanced_loss,
      targets=self.targets,
      counts=self.counts,
      num_examples=400,
      **self.settings[name],
    )
    np.testing.assert_allclose(found, loss(exact), rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(
      gradient, witness.gradient(loss, exact), rtol=2e-5, atol=2e-6
    )

  def test_without_its_parts_is_binary_cross_entropy(self):
    found, _ = self._run('plain')
    z = self.logits.astype(np.float64)
    np.testing.assert_allclose(
      found,
      np.where(self.targets, np.logaddexp(0, -z), np.logaddexp(0, z)),
      rtol=1e-5,
      atol=1e-9,
    )

  def test_weight_of_a_single_label(self):
    # r = 1 on it, whatever its class: alpha + sigmoid(beta (1 - mu)).
    labels = np.arange(NUM_EXAMPLES) % NUM_CLASSES
    found, _ = self._run(
      'slopes', np.zeros_like(self.logits), np.eye(7, dtype=np.int32)[labels]
    )
    np.testing.assert_allclose(
      found[np.arange(NUM_EXAMPLES), labels],
      (0.1 + witness.sigmoid(7.0)) * math.log(2),
      rtol=1e-5,
    )

  def test_slope_of_negatives(self):
    # 1 / negative_scale cancels: sigmoid(scale z) times the weight.
    _, gradient = self._run('slopes')
    inverse = 1 / self.counts
    r = inverse / (self.targets * inverse).sum(1, keepdims=True)
    weight = 0.1 + 1 / (1 + np.exp(-10 * (r - 0.3)))
    expected = weight / (1 + np.exp(-5.0 * self.logits.astype(np.float64)))
    negative = self.targets == 0
    np.testing.assert_allclose(
      gradient[negative], expected[negative], rtol=1e-4, atol=1e-7
    )

  def test_no_bias_for_a_class_of_every_second_example(self):
    with_bias, without = self._run('voc')[0], self._run('without_bias')[0]
    np.testing.assert_allclose(with_bias[:, 0], without[:, 0], rtol=1e-6)
    # To others it lends negative logits, so that their labels cost more.
    labelled = self.targets[:16, 1:] > 0
    self.assertTrue(np.all((with_bias - without)[:16, 1:][labelled] > 0.0))

  @parameterized.parameters(*settings)
  def test_finite(self, name):
    targets = np.eye(7, dtype=np.int32)[np.arange(NUM_EXAMPLES) % 7]
    targets[::4] = 0  # Two rows of each kind without labels.
    targets[1::4] = 1
    found, gradient = self._run(name, extreme_batch()[0], targets)
    self.assertTrue(np.all(np.isfinite(found)))
    self.assertTrue(np.all(np.isfinite(gradient)))

  def test_rows_without_labels(self):
    targets = self.targets.copy()
    targets[::2] = 0
    found, gradient = self._run('voc', targets=targets)
    self.assertTrue(np.all(np.isfinite(found)))
    self.assertTrue(np.all(np.isfinite(gradient)))
    np.testing.assert_array_equal(found[1::2], self._run('voc')[0][1::2])

  def test_dtypes(self):
    loss = losses.distribution_balanced_loss
    expected = loss(self.logits, self.targets, self.counts, 400)
    for inputs in (
      (self.logits.astype(np.float64), self.targets, self.counts, 400.0),
      (self.logits, np.float32(self.targets), np.float64(self.counts), 400),
      (
        self.logits.tolist(),
        self.targets.tolist(),
        self.counts.tolist(),
        np.int64(400),
      ),
    ):
      np.testing.assert_array_equal(loss(*inputs), expected)
    rounded = jnp.asarray(self.logits).astype(jnp.bfloat16)
    found = loss(rounded, self.targets, self.counts, 400)
    self.assertEqual(found.dtype, jnp.float32)
    np.testing.assert_array_equal(
      found,
      loss(rounded.astype(jnp.float32), self.targets, self.counts, 400),
    )

  def test_bool_targets(self):
    np.testing.assert_array_equal(
      losses.distribution_balanced_loss(
        self.logits, self.targets > 0, self.counts, 400
      ),
      losses.distribution_balanced_loss(
        self.logits, self.targets, self.counts, 400
      ),
    )


class ReductionTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(0)
    self.losses = rng.random(NUM_EXAMPLES).astype(np.float32)
    self.weights = rng.uniform(0.1, 5.0, NUM_EXAMPLES).astype(np.float32)
    self.class_weights = np.array(
      [0.1, 0.2, 0.5, 0.7, 1.0, 2.0, 6.0], np.float32
    )
    self.logits, self.labels = cosine_batch()

  @parameterized.parameters('none', 'mean', 'weighted_mean', 'sum')
  def test_reduce_loss(self, reduction):
    for weights in (None, self.weights, self.weights.astype(np.float64)):
      found = losses.reduce_loss(self.losses, weights, reduction=reduction)
      self.assertEqual(found.dtype, jnp.float32)
      np.testing.assert_allclose(
        found,
        witness.reduce_loss(self.losses, weights, reduction=reduction),
        rtol=1e-6,
      )

  def test_default_is_the_mean(self):
    np.testing.assert_allclose(
      losses.reduce_loss(self.losses), self.losses.mean(), rtol=1e-6
    )

  def test_half_precision(self):
    found = losses.reduce_loss(jnp.asarray(self.losses, jnp.bfloat16))
    self.assertEqual(found.dtype, jnp.float32)

  def test_weighted_mean_is_that_of_torch(self):
    # CrossEntropyLoss(weight=w): sum_b w_{y_b} l_b / sum_b w_{y_b}, by hand.
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]], np.float32))
    labels, class_weights = np.array([0, 1], np.int32), [1.0, 3.0, 9.0]
    loss = functools.partial(
      losses.class_weighted_loss,
      losses.cross_entropy,
      logits,
      labels,
      class_weights,
    )
    total = 1 * math.log(2) + 3 * math.log(5)
    np.testing.assert_allclose(loss(), total / 4, rtol=1e-6)
    # That of TensorFlow in the class-balanced repository.
    np.testing.assert_allclose(loss(reduction='mean'), total / 2, rtol=1e-6)
    np.testing.assert_allclose(loss(reduction='sum'), total, rtol=1e-6)

  def test_scale_of_the_weights(self):
    loss = functools.partial(
      losses.class_weighted_loss,
      losses.cross_entropy,
      self.logits,
      self.labels,
    )
    for scale in (1e-3, 1e3):
      np.testing.assert_allclose(
        loss(scale * self.class_weights), loss(self.class_weights), rtol=1e-6
      )
      for reduction in ('none', 'mean', 'sum'):
        np.testing.assert_allclose(
          loss(scale * self.class_weights, reduction=reduction),
          scale * loss(self.class_weights, reduction=reduction),
          rtol=1e-5,
        )

  @parameterized.product(
    reduction=('none', 'mean', 'weighted_mean', 'sum'),
    name=('cross_entropy', 'ldam'),
  )
  def test_class_weighted_loss(self, reduction, name):
    case = CASES[name]
    loss = lambda z, y: case(z, y, COUNTS)
    expected_loss = lambda z, y: case.expected(z, y, COUNTS)
    np.testing.assert_allclose(
      losses.class_weighted_loss(
        loss, self.logits, self.labels, self.class_weights, reduction=reduction
      ),
      witness.class_weighted_loss(
        expected_loss,
        self.logits,
        self.labels,
        self.class_weights,
        reduction=reduction,
      ),
      rtol=1e-5,
      atol=1e-5,
    )
    rng = np.random.default_rng(5)
    second = rng.integers(NUM_CLASSES, size=NUM_EXAMPLES)
    for lam in (rng.random(NUM_EXAMPLES).astype(np.float32), 0.3, 0.0, 1.0):
      np.testing.assert_allclose(
        losses.class_weighted_loss(
          loss,
          self.logits,
          losses.MixedLabels(self.labels, second, lam),
          self.class_weights,
          reduction=reduction,
        ),
        witness.mixed_class_weighted_loss(
          expected_loss,
          self.logits,
          self.labels,
          second,
          lam,
          self.class_weights,
          reduction=reduction,
        ),
        rtol=1e-5,
        atol=1e-5,
      )

  def test_mixed_labels_are_two_weighted_means(self):
    # Not one weighted mean of the mixed losses.
    logits = np.zeros((2, 2), np.float32)
    a, b = np.array([0, 0], np.int32), np.array([1, 0], np.int32)
    loss = lambda z, y: jnp.where(y == 0, 1.0, 10.0)
    found = losses.class_weighted_loss(
      loss, logits, losses.MixedLabels(a, b, 0.5), [1.0, 4.0]
    )
    # (.5 + .5) / 2 + (.5 * 4 * 10 + .5 * 1 * 1) / 5, by hand.
    np.testing.assert_allclose(found, 0.5 + 20.5 / 5, rtol=1e-6)

  def test_switch_of_weights_does_not_recompile(self):
    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(class_weights):
      return losses.class_weighted_loss(
        losses.cross_entropy, self.logits, self.labels, class_weights
      )

    before, after = step(np.ones(7, np.float32)), step(self.class_weights)
    self.assertNotEqual(float(before), float(after))
    np.testing.assert_allclose(
      before,
      witness.cross_entropy(self.logits, self.labels).mean(),
      rtol=1e-5,
    )

  def test_gradient(self):
    gradient = jax.jit(
      jax.grad(
        lambda z: losses.class_weighted_loss(
          losses.cross_entropy, z, self.labels, self.class_weights
        )
      )
    )(self.logits)
    weights = self.class_weights[self.labels]
    np.testing.assert_allclose(
      gradient,
      (weights / weights.sum())[:, None]
      * witness.margin_softmax_gradient(self.logits, self.labels),
      rtol=1e-5,
      atol=1e-7,
    )


class DeviceTest(parameterized.TestCase):
  """Shards of a mapped axis equal the whole batch."""

  def setUp(self):
    super().setUp()
    self.logits, self.labels = cosine_batch()
    # A shard of one class, which its own histogram would take for all.
    self.labels[:8] = 3
    lam = np.linspace(0.0, 1.0, NUM_EXAMPLES, dtype=np.float32)
    self.mixed = losses.MixedLabels(self.labels, np.roll(self.labels, 5), lam)
    self.class_weights = np.linspace(0.1, 3.0, NUM_CLASSES, dtype=np.float32)

  def _shard_map(self, function, out_specs):
    mesh = jax.make_mesh(
      (8,), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
    )
    return jax.jit(
      jax.shard_map(
        function,
        mesh=mesh,
        in_specs=jax.sharding.PartitionSpec('data'),
        out_specs=out_specs,
      )
    )

  def _pmap(self, function, out_specs):
    def gather(found, spec):
      found = np.asarray(found)
      if spec:
        return found.reshape(NUM_EXAMPLES, *found.shape[2:])
      np.testing.assert_array_equal(found, np.broadcast_to(found[0], (8,)))
      return found[0]

    def run(*arguments):
      split = jax.tree.map(
        lambda x: np.reshape(x, (8, 8, *np.shape(x)[1:])), arguments
      )
      found = jax.pmap(function, axis_name='data')(*split)
      return jax.tree.map(gather, found, out_specs)

    return run

  def _all(self, logits, labels, mixed, axis_name=None):
    """Everything that takes `axis_name`, by name."""
    found = {
      'arb': losses.arb_loss(logits, labels, axis_name=axis_name),
      'arb_mixed': losses.arb_loss(logits, mixed, axis_name=axis_name),
      'arb_local': losses.arb_loss(logits, labels),
    }
    values = losses.cross_entropy(logits, labels)
    weights = jnp.asarray(self.class_weights)[labels]
    for reduction in ('none', 'mean', 'weighted_mean', 'sum'):
      keywords = {'reduction': reduction, 'axis_name': axis_name}
      found |= {
        f'{reduction}_without': losses.reduce_loss(values, **keywords),
        f'{reduction}_weights': losses.reduce_loss(values, weights, **keywords),
      }
      for name, target in (('labels', labels), ('mixed', mixed)):
        found[f'{reduction}_{name}'] = losses.class_weighted_loss(
          losses.cross_entropy,
          logits,
          target,
          self.class_weights,
          **keywords,
        )
    return found

  @parameterized.parameters('_shard_map', '_pmap')
  def test_values(self, how):
    arguments = self.logits, self.labels, self.mixed
    expected = self._all(*arguments)
    specs = {
      name: jax.sharding.PartitionSpec(*(('data',) if value.ndim else ()))
      for name, value in expected.items()
    }
    found = getattr(self, how)(
      functools.partial(self._all, axis_name='data'), specs
    )(*arguments)
    local = found.pop('arb_local')
    self.assertGreater(np.abs(local - expected.pop('arb_local')).max(), 0.1)
    for name, value in expected.items():
      np.testing.assert_allclose(
        found[name], value, rtol=1e-5, atol=1e-6, err_msg=name
      )

  def test_gradient(self):
    def loss(logits, labels, axis_name=None):
      return losses.class_weighted_loss(
        functools.partial(losses.arb_loss, axis_name=axis_name),
        logits,
        labels,
        self.class_weights,
        axis_name=axis_name,
      )

    shards = self._shard_map(
      functools.partial(loss, axis_name='data'), jax.sharding.PartitionSpec()
    )
    np.testing.assert_allclose(
      jax.jit(jax.grad(shards))(self.logits, self.labels),
      jax.jit(jax.grad(loss))(self.logits, self.labels),
      rtol=1e-4,
      atol=1e-7,
    )


class SmoothingTest(parameterized.TestCase):
  """Smoothed labels, which only losses without margins take."""

  names = (
    'margin_softmax',
    'cross_entropy',
    'balanced_softmax',
    'logit_adjusted',
    'cdt',
    'vs',
  )

  @parameterized.parameters(*names)
  def test_is_the_loss_of_soft_labels(self, name):
    case = CASES[name]
    logits, labels = cosine_batch()
    for amount in (0.0, 0.1, 1.0):
      smoothed = dataclasses.replace(
        case, keywords={**case.keywords, 'label_smoothing': amount}
      )
      # (1 - amount) of the label, amount / C of every class.
      uniform = np.mean(
        [
          case.expected(logits, np.full(NUM_EXAMPLES, c), COUNTS)
          for c in range(NUM_CLASSES)
        ],
        axis=0,
      )
      expected = (1 - amount) * case.expected(logits, labels, COUNTS)
      assert_close(
        smoothed(logits, labels, COUNTS),
        expected + amount * uniform,
        magnitude=10.0,
      )

  def test_has_no_meaning_with_margins(self):
    logits, labels = cosine_batch()
    for keywords in (
      {'margin': 0.1},
      {'denominator_margin': 0.1},
      {'denominator_margin': math.inf},
    ):
      with self.assertRaisesRegex(ValueError, r'\blabel_smoothing\b'):
        losses.margin_softmax(logits, labels, label_smoothing=0.1, **keywords)

  @parameterized.product(name=names, amount=(-0.1, 1.1, math.nan))
  def test_amount(self, name, amount):
    case = CASES[name]
    smoothed = dataclasses.replace(
      case, keywords={**case.keywords, 'label_smoothing': amount}
    )
    with self.assertRaisesRegex(ValueError, r'\blabel_smoothing\b'):
      smoothed(*cosine_batch(), COUNTS)


HUGE = float('inf')


def _logits(shape=(2, 3), dtype=np.float32):
  return np.zeros(shape, dtype)


LABELS, THREE = np.array([0, 2], np.int32), [5, 3, 1]


class ErrorTest(parameterized.TestCase):
  @parameterized.product(
    name=DEFAULTS,
    wrong=(
      (TypeError, np.array([0.0, 2.0], np.float32)),
      (TypeError, np.eye(3, dtype=np.float32)[:2]),
      (TypeError, np.array([True, False])),
      (TypeError, (LABELS, LABELS, 0.5)),
      (ValueError, np.eye(3, dtype=np.int32)[:2]),
      (ValueError, np.array([0, 3])),
      (ValueError, np.array([-1, 0])),
      (ValueError, np.array([0])),
      (ValueError, np.array([0, 1, 2])),
      (ValueError, np.int32(0)),
      (ValueError, losses.MixedLabels(LABELS, np.array([0, 3]), 0.5)),
      (ValueError, losses.MixedLabels(np.array([-1, 0]), LABELS, 0.5)),
    ),
  )
  def test_labels(self, name, wrong):
    error, labels = wrong
    with self.assertRaisesRegex(error, r'\blabels\b'):
      CASES[name](_logits(), labels, THREE)

  @parameterized.product(
    name=DEFAULTS,
    lam=(np.zeros(3, np.float32), np.zeros((2, 1), np.float32)),
  )
  def test_shape_of_lam(self, name, lam):
    with self.assertRaisesRegex(ValueError, r'\blam\b'):
      CASES[name](_logits(), losses.MixedLabels(LABELS, LABELS, lam), THREE)

  @parameterized.product(
    name=DEFAULTS,
    wrong=(
      (TypeError, _logits(dtype=np.int32)),
      (TypeError, _logits(dtype=bool)),
      (ValueError, _logits((3,))),
      (ValueError, _logits((2, 3, 1))),
      (ValueError, np.float32(0.0)),
    ),
  )
  def test_logits(self, name, wrong):
    error, logits = wrong
    with self.assertRaisesRegex(error, r'\blogits\b'):
      CASES[name](logits, LABELS, THREE)

  @parameterized.product(
    name=COUNTED,
    counts=(
      [5, -1, 2],
      [5, 3],
      [5, 3, 1, 1],
      [0, 0, 0],
      [[5, 3, 1]],
      [],
      5,
      [5.0, float('nan'), 1.0],
      [5.0, HUGE, 1.0],
    ),
  )
  def test_class_counts(self, name, counts):
    with self.assertRaisesRegex(ValueError, r'\bclass_counts\b'):
      CASES[name](_logits(), LABELS, counts)

  @parameterized.product(name=COUNTED)
  def test_traced_class_counts(self, name):
    with self.assertRaisesRegex(ValueError, r'\bclass_counts\b'):
      jax.jit(CASES[name])(_logits(), LABELS, np.array([5, 3]))

  @parameterized.parameters(([5, -1],), ([0, 0],), ([],), ([[5, 3]],))
  def test_class_counts_of_margins(self, counts):
    with self.assertRaisesRegex(ValueError, r'\bclass_counts\b'):
      losses.ldam_margins(counts)

  @parameterized.named_parameters(
    ('focal', 'focal', 'gamma', (-0.1, math.nan, HUGE)),
    ('sigmoid_focal', 'sigmoid_focal', 'gamma', (-0.1, math.nan, HUGE)),
    ('cdt', 'cdt', 'gamma', (-0.1, math.nan, HUGE)),
    ('vs_gamma', 'vs', 'gamma', (-0.1, math.nan, HUGE)),
    ('vs_tau', 'vs', 'tau', (math.nan, HUGE, -HUGE)),
    ('logit_adjusted', 'logit_adjusted', 'tau', (math.nan, HUGE, -HUGE)),
    ('cri_gamma', 'cri', 'gamma', (-0.1, math.nan, HUGE)),
    ('cri_cutoff', 'cri', 'cutoff', (0.0, 1.0, -0.1, 2.0, math.nan)),
    ('cri_mode', 'cri', 'mode', ('none', 'Zero', '')),
    ('cri_max_margin', 'cri', 'max_margin', (-0.1, math.nan)),
    ('ldam', 'ldam', 'max_margin', (-0.1, math.nan)),
    ('gcl', 'gcl', 'noise_scale', (-0.1, math.nan)),
    ('arb', 'arb', 'clip', (0.0, -1.0, math.nan)),
    *(
      (name + '_scale', name, 'scale', (0.0, -1.0, math.nan, HUGE))
      for name in (
        'margin_softmax',
        'ldam',
        'mm',
        'mm_ldam',
        'gcl',
        'cri',
        'cosface',
        'lm',
        'gm',
      )
    ),
  )
  def test_hyperparameters(self, name, parameter, values):
    case = CASES[name]
    for value in values:
      wrong = dataclasses.replace(
        case, keywords={**case.keywords, parameter: value}
      )
      with self.assertRaisesRegex(ValueError, rf'\b{parameter}\b'):
        wrong(_logits(), LABELS, THREE)

  @parameterized.parameters(-0.1, math.nan)
  def test_max_margin(self, value):
    with self.assertRaisesRegex(ValueError, r'\bmax_margin\b'):
      losses.ldam_margins(THREE, max_margin=value)

  def test_hyperparameters_are_keywords(self):
    for name in ('focal', 'cosface', 'lm', 'mm', 'gm', 'sigmoid_focal'):
      with self.assertRaises(TypeError):
        CASES[name].loss(_logits(), LABELS, 2.0)
    for name in ('logit_adjusted', 'cdt', 'vs', 'ldam', 'cri', 'mm_ldam'):
      with self.assertRaises(TypeError):
        CASES[name].loss(_logits(), LABELS, THREE, 2.0)
    with self.assertRaisesRegex(TypeError, 'key'):
      losses.gcl_loss(_logits(), LABELS, THREE)

  def test_reductions(self):
    for reduction in ('average', 'Mean', '', None):
      with self.assertRaisesRegex(ValueError, r'\breduction\b'):
        losses.reduce_loss(np.zeros(2, np.float32), reduction=reduction)
      with self.assertRaisesRegex(ValueError, r'\breduction\b'):
        losses.class_weighted_loss(
          losses.cross_entropy,
          _logits(),
          LABELS,
          [1.0, 1.0, 1.0],
          reduction=reduction,
        )
    with self.assertRaisesRegex(ValueError, r'\bweights\b'):
      losses.reduce_loss(np.zeros(2, np.float32), np.ones(3, np.float32))
    with self.assertRaisesRegex(ValueError, r'\bclass_weights\b'):
      losses.class_weighted_loss(
        losses.cross_entropy, _logits(), LABELS, [1.0, 1.0]
      )

  def test_distribution_balanced_loss(self):
    logits, targets = _logits(), np.eye(3, dtype=np.int32)[:2]
    loss = losses.distribution_balanced_loss
    for error, name, arguments, keywords in (
      (TypeError, 'logits', (logits.astype(np.int32), targets, THREE, 9), {}),
      (ValueError, 'logits', (logits[0], targets, THREE, 9), {}),
      (ValueError, 'targets', (logits, targets[:1], THREE, 9), {}),
      (ValueError, 'targets', (logits, LABELS, THREE, 9), {}),
      (ValueError, 'targets', (logits, 2 * targets, THREE, 9), {}),
      (ValueError, 'class_counts', (logits, targets, [5, 3], 9), {}),
      (ValueError, 'class_counts', (logits, targets, [5, -3, 1], 9), {}),
      (ValueError, 'class_counts', (logits, targets, [0, 0, 0], 9), {}),
      (ValueError, 'gamma', (logits, targets, THREE, 9), {'gamma': -1.0}),
      (
        ValueError,
        'negative_scale',
        (logits, targets, THREE, 9),
        {'negative_scale': 0.0},
      ),
    ):
      with self.assertRaisesRegex(error, rf'\b{name}\b'):
        loss(*arguments, **keywords)


if __name__ == '__main__':
  absltest.main()
