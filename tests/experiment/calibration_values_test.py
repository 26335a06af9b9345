# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What calibration fits, chooses and reports, on made-up outputs."""

import dataclasses
import functools
import hashlib
import json
import pathlib
import tempfile
import types
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from imbsam_jax import calibration as calibration_lib
from imbsam_jax import data as data_lib
from imbsam_jax import experiment as experiment_lib
from imbsam_jax import metrics
from imbsam_jax import training
from imbsam_jax.experiment import _calibrate
from imbsam_jax.experiment import _calibration_methods
from imbsam_jax.experiment import _correction
from imbsam_jax.experiment import _restore
from tests import programs

_COUNTS = np.array([60, 25, 10])
_SCALE = 3.0
_KERNEL = np.array([[1.0, -0.5, 0.2], [0.3, 2.0, -1.0]], np.float32)


def _examples(seed, labels):
  images = np.random.RandomState(seed).randn(len(labels), 4)
  return data_lib.Examples(
    images.astype(np.float32), np.asarray(labels, np.int32)
  )


def _features(variables, images):
  """Two of them, and three logits that know nothing of their scale."""
  weights = variables['params']['classifier']['kernel']
  features = images[:, :2] + images[:, 2:]
  return features, features @ weights


def _predict(variables, images):
  logits = _SCALE * np.asarray(_features(variables, images)[1], np.float64)
  probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
  return logits.argmax(axis=1), probabilities.max(axis=1)


def _experiment(**changes):
  config = experiment_lib.replace(
    experiment_lib.config('digits_lt'),
    {
      'data.batch_size': 8,
      'optimizer.threshold': 30,
      'few_below': 20,
      'many_above': 50,
    }
    | changes,
  )
  return types.SimpleNamespace(
    config=config,
    data=data_lib.LongTailedData(
      train=_examples(0, [0] * 6 + [1] * 3 + [2] * 2),
      validation=_examples(1, [0, 1, 2] * 7),
      test=_examples(2, [0] * 9 + [1] * 11 + [2] * 15),
      class_counts=_COUNTS,
      class_names=('a', 'b', 'c'),
    ),
    mesh=training.data_mesh(),
    num_threads=0,
    feature_step=_features,
    logit_step=lambda v, images: (_features(v, images)[1],),
    predict_step=_predict,
    views=None,
    objective=types.SimpleNamespace(logit_scale=_SCALE),
    abstract_state=types.SimpleNamespace(
      frozen={},
      variables={
        'params': {'classifier': dict.fromkeys(('kernel', 'vectors'), _KERNEL)}
      },
    ),
  )


def _state(kernel_name='kernel'):
  return types.SimpleNamespace(
    step=np.int32(17),
    # Not what is evaluated: the moving average is in the variables.
    params={'classifier': {kernel_name: 0 * _KERNEL}},
    variables={
      'params': {'classifier': {'kernel': _KERNEL, kernel_name: _KERNEL}}
    },
  )


@dataclasses.dataclass
class _Made:
  """A correction that is made up, by what it gives for outputs."""

  function: Any
  temperature: float = 1.0

  def excluded(self, num_classes):
    return np.zeros(num_classes, bool)


def _made_up():
  """Lets `calibrate` take corrections that are made up."""
  corrected = _calibrate._corrected

  def either(correction, outputs):
    if isinstance(correction, _Made):
      return correction.function(outputs)
    return corrected(correction, outputs)

  return mock.patch.object(_calibrate, '_corrected', either)


def _spied(method, experiment, state, *, seed=0):
  """`calibrate` by a method of one's own: what it got, and its result."""
  got = []

  def spy(trained):
    got.append(trained)
    return method(trained)

  with mock.patch.dict(_calibrate.METHODS, {'spy': spy}), _made_up():
    found = experiment_lib.calibrate(experiment, state, ['spy'], seed=seed)
  return got[0], found.methods['spy']


def _none(trained):
  del trained
  yield {}, _correction.NONE


class CalibrateTest(parameterized.TestCase):
  def test_none_is_the_evaluation(self):
    experiment = _experiment()
    found = experiment_lib.calibrate(experiment, _state(), ['none'])
    self.assertEqual(found.step, 17)
    for split in ('validation', 'test'):
      scores = experiment_lib.evaluate(experiment, _state(), split).scores
      self.assertEqual(list(found.methods['none'][split]), list(scores))
      for name, value in scores.items():
        self.assertAlmostEqual(
          found.methods['none'][split][name], value, 6, name
        )
    self.assertEqual(found.methods['none']['chosen'], {})
    scores = found.methods['none']['test']
    # Below 30 training images are two classes, below 20 one, above 50 one.
    self.assertNotEqual(scores['tail'], scores['few'])
    self.assertEqual(scores['head'], scores['many'])

  @parameterized.parameters(
    {'many_above': 24}, {'few_below': 26}, {'optimizer.threshold': 5}
  )
  def test_groups_are_those_of_the_configuration(self, **changes):
    experiment = _experiment(**changes)
    found = experiment_lib.calibrate(experiment, _state(), ['none'])
    scores = experiment_lib.evaluate(experiment, _state()).scores
    for name in ('many', 'medium', 'few', 'head', 'tail'):
      self.assertEqual(found.methods['none']['test'][name], scores[name])

  def test_what_methods_start_from(self):
    experiment = _experiment()
    trained, _ = _spied(_none, experiment, _state(), seed=5)
    train = experiment.data.train
    features, logits = _features(_state().variables, train.images)
    np.testing.assert_allclose(trained.train.features, features, rtol=1e-6)
    np.testing.assert_allclose(trained.train.logits, 3 * logits, rtol=1e-6)
    np.testing.assert_array_equal(trained.train.labels, train.labels)
    np.testing.assert_array_equal(trained.kernel, _KERNEL)
    np.testing.assert_array_equal(trained.class_counts, _COUNTS)
    self.assertEqual(trained.key, jax.random.key(5))
    np.testing.assert_allclose(
      trained.class_norms, [1.09**0.5, 4.25**0.5, 1.04**0.5], rtol=1e-6
    )

  def test_the_seed_is_0_unless_told(self):
    got = []
    with mock.patch.dict(
      _calibrate.METHODS, {'spy': lambda t: (got.append(t), _none(t))[1]}
    ):
      experiment_lib.calibrate(_experiment(), _state(), ['spy'])
    self.assertEqual(got[0].key, jax.random.key(0))

  def test_cosines_have_no_kernel(self):
    state = _state()
    state.variables['params']['classifier']['vectors'] = _KERNEL

    def features(variables, images):
      return _features({'params': {'classifier': {'kernel': _KERNEL}}}, images)

    experiment = _experiment()
    experiment.feature_step = features
    experiment.logit_step = lambda v, images: (features(v, images)[1],)
    del state.variables['params']['classifier']['kernel']
    trained, _ = _spied(_none, experiment, state)
    self.assertIsNone(trained.kernel)
    np.testing.assert_array_equal(trained.class_norms, [1, 1, 1])
    self.assertEqual(trained.class_norms.dtype, np.float32)
    del state.variables['params']['classifier']
    trained, _ = _spied(_none, experiment, state)
    self.assertIsNone(trained.kernel)

  def test_logits_are_those_of_the_objective(self):
    experiment = _experiment()
    experiment.logit_step = lambda v, images: (10 + _features(v, images)[1],)
    trained, _ = _spied(_none, experiment, _state())
    features, logits = _features(
      _state().variables, experiment.data.train.images
    )
    np.testing.assert_allclose(
      trained.train.logits, 3 * (10 + logits), rtol=1e-5
    )
    np.testing.assert_allclose(trained.train.features, features, rtol=1e-5)

  def test_a_network_that_does_not_tell_features(self):
    experiment = _experiment()
    experiment.feature_step = None
    experiment.logit_step = lambda v, images: (10 + _features(v, images)[1],)
    trained, found = _spied(_none, experiment, _state())
    self.assertIsNone(trained.train.features)
    self.assertIsNone(trained.kernel)
    _, logits = _features(_state().variables, experiment.data.train.images)
    np.testing.assert_allclose(
      trained.train.logits, 3 * (10 + logits), rtol=1e-5
    )
    scores = experiment_lib.evaluate(experiment, _state()).scores
    self.assertEqual(found['test']['top1'], scores['top1'])
    names = ['tau_normalization', 'ncm', 'marc', 'crt']
    found = experiment_lib.calibrate(experiment, _state(), names)
    self.assertEqual(found.methods, dict.fromkeys(names))

  def test_best_balanced_accuracy_on_validation(self):
    experiment = _experiment()
    asked = []

    def logits(labels, right):
      # All of some classes are right, all others are taken for the next.
      answers = [c if c in right else (c + 1) % 3 for c in labels]
      return np.eye(3)[answers]

    # On the test set it is the other way round.
    candidates = {
      'none is right': ((), (0, 1, 2)),
      'one': ((0,), (0, 1)),
      'two': ((0, 2), (2,)),
      'another two': ((0, 1), (0, 1, 2)),
      'the first': ((0,), (0, 1, 2)),
    }

    def method(trained):
      del trained
      for name, (validation, test) in candidates.items():

        def corrected(outputs, name=name, validation=validation, test=test):
          on_test = len(outputs.labels) == 35
          asked.append((name, on_test))
          return logits(outputs.labels, test if on_test else validation)

        yield {'name': name}, _Made(corrected)

    _, found = _spied(method, experiment, _state())
    # Of equals the first; and the test set was not looked at otherwise.
    self.assertEqual(found['chosen'], {'name': 'two'})
    self.assertAlmostEqual(found['validation']['balanced'], 2 / 3)
    self.assertAlmostEqual(found['test']['balanced'], 1 / 3)
    self.assertAlmostEqual(found['test']['top1'], 15 / 35)
    self.assertEqual([n for n, on_test in asked if on_test], ['two'])

  def test_balanced_is_not_top1(self):
    experiment = _experiment()
    labels = [0] * 10 + [1, 2]
    experiment.data = experiment.data._replace(validation=_examples(1, labels))

    def method(trained):
      del trained
      for classes in ([0], [1, 2]):
        yield (
          {'classes': classes},
          _Made(
            lambda outputs, classes=classes: np.eye(3)[
              [c if c in classes else (c + 1) % 3 for c in outputs.labels]
            ]
          ),
        )

    _, found = _spied(method, experiment, _state())
    self.assertEqual(found['chosen'], {'classes': [1, 2]})

  def test_one_that_is_never_right_is_one(self):
    def method(trained):
      del trained
      yield (
        {'tau': 1.0},
        _Made(lambda outputs: np.eye(3)[(outputs.labels + 1) % 3]),
      )

    _, found = _spied(method, _experiment(), _state())
    self.assertEqual(found['chosen'], {'tau': 1.0})
    self.assertEqual(found['test']['top1'], 0.0)

  def test_confidence_is_the_largest_probability(self):
    labels = np.array([0, 1])
    experiment = _experiment()
    # Large logits must not overflow.
    rows = np.array([[800.0, 800.0 + np.log(3), -800.0], [1.0, 1.0, 1.0]])
    with mock.patch.object(
      metrics, 'classification_metrics', wraps=metrics.classification_metrics
    ) as spy:
      _calibrate._score(experiment, rows, labels)
    args, options = spy.call_args
    np.testing.assert_array_equal(args[0], labels)
    np.testing.assert_array_equal(args[1], [1, 0])
    np.testing.assert_allclose(args[2], [0.75, 1 / 3])
    np.testing.assert_array_equal(options.pop('class_counts'), _COUNTS)
    self.assertEqual(
      options, {'many_above': 50, 'few_below': 20, 'tail_below': 30}
    )

  def test_confidence(self):
    experiment = _experiment()
    experiment.data = experiment.data._replace(
      validation=_examples(1, [0, 1, 1] * 2), test=_examples(2, [0, 1])
    )

    def logits(outputs):
      rows = np.array([[3.0, 0.0, -500.0], [-3.0, 0.0, -500.0]])
      if len(outputs.labels) == 2:
        return 2 * rows[[0, 0]]
      return rows[[0, 0, 1] * 2]

    def method(trained):
      del trained
      yield {}, _Made(logits)

    _, found = _spied(method, experiment, _state())
    # Class 0: right. Class 1: right in a half. So 3 of 4, at a difference of 3.
    temperature = 3 / np.log(3)
    self.assertAlmostEqual(found['temperature'], temperature, 5)
    sigmoid = 1 / (1 + np.exp(-6 / np.array([1.0, temperature])))
    losses = -np.log([sigmoid, 1 - sigmoid]).mean(axis=0)
    one = found['confidence']
    self.assertAlmostEqual(one['nll'], losses[0], 6)
    self.assertAlmostEqual(one['nll_temperature'], losses[1], 5)
    self.assertAlmostEqual(one['ece_temperature'], sigmoid[1] - 0.5, 5)
    self.assertAlmostEqual(found['test']['ece'], sigmoid[0] - 0.5, 6)

  def test_no_temperature_where_all_are_right(self):
    def method(trained):
      del trained
      yield {}, _Made(lambda outputs: 9 * np.eye(3)[outputs.labels])

    _, found = _spied(method, _experiment(), _state())
    self.assertEqual(found['temperature'], 1.0)

  def test_a_class_without_training_images_is_never_predicted(self):
    experiment = _experiment()
    experiment.data = experiment.data._replace(
      class_counts=np.array([60, 25, 0])
    )
    found = experiment_lib.calibrate(
      experiment, _state(), ['logit_adjustment', 'none']
    )
    one = found.methods['logit_adjustment']
    self.assertGreater(one['temperature'], 0)
    self.assertIsNone(one['confidence']['nll'])
    self.assertIn('n/a', found.table())
    json.dumps(found.content, allow_nan=False)

  def test_corrections_are_what_is_reported(self):
    experiment = _experiment()
    # What short fits give is as good here.
    for name in ('fit_lws', 'fit_marc', 'fit_crt'):
      short = functools.partial(
        getattr(calibration_lib, name), num_steps=2, batch_size=8
      )
      self.enter_context(mock.patch.object(calibration_lib, name, short))
    found = experiment_lib.calibrate(experiment, _state())
    self.assertEqual(list(found.corrections), list(_calibrate.METHODS))
    features, logits = _features(
      _state().variables, experiment.data.test.images
    )
    labels = experiment.data.test.labels
    for name, correction in found.corrections.items():
      result = found.methods[name]
      self.assertEqual(correction.method, name)
      self.assertEqual(correction.temperature, result['temperature'])
      out = np.asarray(correction(features, _SCALE * logits), np.float64)
      self.assertAlmostEqual(
        result['test']['top1'], (out.argmax(axis=1) == labels).mean(), 6
      )
      own = out[np.arange(len(labels)), labels]
      self.assertAlmostEqual(
        result['confidence']['nll_temperature'],
        (np.log(np.exp(out).sum(axis=1)) - own).mean(),
        4,
      )
    self.assertEqual(
      found.corrections['ncm'].metric, found.methods['ncm']['chosen']['metric']
    )

  def test_names(self):
    with self.assertRaisesRegex(experiment_lib.ConfigError, "'x'; there are"):
      experiment_lib.calibrate(_experiment(), _state(), ['none', 'x'])
    with self.assertRaisesRegex(experiment_lib.ConfigError, 'there are none,'):
      experiment_lib.calibrate(_experiment(), _state(), [])
    with self.assertRaisesRegex(experiment_lib.ConfigError, 'seed.*got -1'):
      experiment_lib.calibrate(_experiment(), _state(), ['none'], seed=-1)

  def test_what_is_missing_is_what_is_needed(self):
    def none_of_it(trained):
      del trained
      return iter(())

    names = ['tau_normalization', 'ncm']
    needs = {}
    with mock.patch.dict(_calibrate.METHODS, dict.fromkeys(names, none_of_it)):
      for step in (_features, None):
        experiment = _experiment()
        experiment.feature_step = step
        found = experiment_lib.calibrate(experiment, _state(), names)
        self.assertEqual(list(found.needs), names)
        needs[step] = found.needs['tau_normalization']
        self.assertEqual(found.needs['ncm'], needs[step])
        self.assertIn(needs[step], found.table())
    self.assertEqual(needs[_features], 'needs a linear head')
    self.assertIn('features', needs[None])
    self.assertIn('models.Classifier', needs[None])

  def test_without_validation_images(self):
    experiment = _experiment()
    experiment.data = experiment.data._replace(validation=None)
    with self.assertRaisesRegex(experiment_lib.ConfigError, 'aside'):
      experiment_lib.calibrate(experiment, _state(), ['none'])

  def test_images_and_their_mirror_images(self):
    # As in every evaluation of a run with that field.
    experiment = _experiment(flip_test=True)
    images = np.random.RandomState(0).randn(21, 2, 4, 1).astype(np.float32)
    labels = experiment.data.validation.labels
    examples = data_lib.Examples(images, labels)
    experiment.data = experiment.data._replace(
      train=examples, validation=examples, test=examples
    )

    def features(variables, images):
      flat = images.reshape(len(images), -1)[:, :4]
      return _features(variables, flat)

    experiment.feature_step = features
    experiment.logit_step = lambda v, images: (features(v, images)[1],)
    logits = [
      features(_state().variables, x)[1] for x in (images, images[:, :, ::-1])
    ]
    self.assertFalse(np.allclose(*logits))
    expected = metrics.classification_metrics(
      labels,
      (logits[0] + logits[1]).argmax(axis=1),
      np.asarray(jax.nn.softmax(_SCALE * (logits[0] + logits[1]) / 2)).max(1),
      class_counts=_COUNTS,
      many_above=50,
      few_below=20,
      tail_below=30,
    )
    for step in (features, None):
      experiment.feature_step = step
      trained, found = _spied(_none, experiment, _state())
      for split in ('validation', 'test'):
        for name, value in expected.items():
          self.assertAlmostEqual(found[split][name], value, 5, name)
      # Fits see the images as they are.
      np.testing.assert_allclose(
        trained.train.logits, _SCALE * logits[0], rtol=1e-5
      )

  @parameterized.parameters(False, True)
  def test_several_views(self, flip):
    # Two parts of each image, and with flips the mirror images of these.
    experiment = _experiment(flip_test=flip)
    images = np.random.RandomState(0).randn(21, 2, 6, 1).astype(np.float32)
    labels = experiment.data.validation.labels
    examples = data_lib.Examples(images, labels)
    experiment.data = experiment.data._replace(
      train=examples, validation=examples, test=examples
    )
    experiment.views = lambda images: (images[:, :, :4], images[:, :, 2:])

    def features(variables, images):
      flat = images[:, :, :4].reshape(len(images), -1)[:, :4]
      return _features(variables, flat)

    experiment.feature_step = features
    experiment.logit_step = lambda v, images: (features(v, images)[1],)
    views = [images[:, :, :4], images[:, :, 2:]]
    if flip:
      views += [view[:, :, ::-1] for view in views]
    logits = np.mean(
      [features(_state().variables, view)[1] for view in views], axis=0
    )
    trained, found = _spied(_none, experiment, _state())
    probabilities = np.asarray(jax.nn.softmax(_SCALE * logits))
    expected = metrics.classification_metrics(
      labels,
      logits.argmax(axis=1),
      probabilities.max(axis=1),
      class_counts=_COUNTS,
      many_above=50,
      few_below=20,
      tail_below=30,
    )
    for name, value in expected.items():
      self.assertAlmostEqual(found['test'][name], value, 5, name)
    whole = _SCALE * features(_state().variables, images)[1]
    np.testing.assert_allclose(trained.train.logits, whole, rtol=1e-5)


def _trained(**changes):
  rng = np.random.RandomState(0)
  features = rng.randn(11, 2).astype(np.float32)
  train = _calibration_methods.Outputs(
    features, features @ _KERNEL, np.repeat([0, 1, 2], [6, 3, 2])
  )
  made = _calibration_methods.Trained(
    train, _KERNEL, _COUNTS, jax.random.key(4)
  )
  return made._replace(**changes)


def _outputs():
  rng = np.random.RandomState(1)
  return _calibration_methods.Outputs(
    rng.randn(7, 2).astype(np.float32),
    rng.randn(7, 3).astype(np.float32),
    np.array([0, 1, 2, 0, 1, 2, 0]),
  )


def _candidates(name, trained):
  """Values of hyper-parameters, and what becomes of outputs by them."""
  return [
    (chosen, functools.partial(_calibrate._corrected, correction))
    for chosen, correction in _calibrate.METHODS[name](trained)
  ]


class MethodsTest(parameterized.TestCase):
  """Candidates are all made before one is used: none sees another's value."""

  def test_which_and_in_which_order(self):
    self.assertEqual(
      list(_calibrate.METHODS),
      ['none', 'logit_adjustment', 'tau_normalization', 'ncm', 'lws', 'marc',
       'crt'],
    )  # fmt: skip

  def test_logit_adjustment(self):
    found = _candidates('logit_adjustment', _trained())
    taus = [round(0.1 * k, 1) for k in range(21)]
    self.assertEqual(
      [chosen for chosen, _ in found], [{'tau': t} for t in taus]
    )
    prior = np.log(_COUNTS / _COUNTS.sum())
    outputs = _outputs()
    for k in (0, 7, 20):
      logits = np.asarray(found[k][1](outputs))
      expected = outputs.logits - taus[k] * prior
      # Up to a constant of the row.
      np.testing.assert_allclose(
        logits - logits[:, :1], expected - expected[:, :1], atol=1e-5
      )

  def test_tau_normalization(self):
    found = _candidates('tau_normalization', _trained())
    taus = [round(0.1 * k, 1) for k in range(21)]
    self.assertEqual(
      [chosen for chosen, _ in found], [{'tau': t} for t in taus]
    )
    outputs, lengths = _outputs(), np.linalg.norm(_KERNEL, axis=0)
    for k in (0, 7, 20):
      np.testing.assert_allclose(
        found[k][1](outputs),
        outputs.features @ (_KERNEL / lengths ** taus[k]),
        rtol=1e-5,
        atol=1e-6,
      )

  def test_nearest_class_mean(self):
    trained, outputs = _trained(), _outputs()
    (euclidean, by_distance), (cosine, by_angle) = _candidates('ncm', trained)
    self.assertEqual(euclidean, {'metric': 'euclidean'})
    self.assertEqual(cosine, {'metric': 'cosine'})
    means = np.array(
      [
        trained.train.features[trained.train.labels == c].mean(axis=0)
        for c in range(3)
      ]
    )
    differences = outputs.features[:, None] - means
    np.testing.assert_allclose(
      by_distance(outputs), -(differences**2).sum(axis=2), rtol=1e-4
    )
    lengths = np.linalg.norm(outputs.features, axis=1)[:, None]
    cosines = (outputs.features @ means.T) / lengths
    np.testing.assert_allclose(
      by_angle(outputs),
      cosines / np.linalg.norm(means, axis=1),
      rtol=1e-4,
      atol=1e-6,
    )

  def test_learnable_scales(self):
    def fit(key, logits, labels, class_counts, *, learning_rate):
      fits.append((key, logits, labels, class_counts))
      return np.array([1.0, learning_rate, 2.0], np.float32)

    fits, trained, outputs = [], _trained(), _outputs()
    with mock.patch.object(calibration_lib, 'fit_lws', fit):
      found = _candidates('lws', trained)
    rates = [0.002, 0.005, 0.02, 0.05, 0.2]
    self.assertEqual(
      [chosen for chosen, _ in found], [{'learning_rate': r} for r in rates]
    )
    for rate, (_, corrected), (key, logits, labels, counts) in zip(
      rates, found, fits, strict=True
    ):
      self.assertEqual(key, trained.key)
      self.assertIs(logits, trained.train.logits)
      self.assertIs(labels, trained.train.labels)
      self.assertIs(counts, trained.class_counts)
      np.testing.assert_allclose(
        corrected(outputs), outputs.logits * [1.0, rate, 2.0], rtol=1e-6
      )

  def test_marc(self):
    def fit(key, logits, labels, class_norms, class_counts, *, learning_rate):
      fits.append((key, logits, labels, class_norms, class_counts))
      scale = np.array([1.0, learning_rate, 2.0], np.float32)
      return scale, np.array([-learning_rate, 0.5, 1.0], np.float32)

    fits, trained, outputs = [], _trained(), _outputs()
    with mock.patch.object(calibration_lib, 'fit_marc', fit):
      found = _candidates('marc', trained)
    rates = [0.001, 0.002, 0.005, 0.01, 0.05]
    self.assertEqual(
      [chosen for chosen, _ in found], [{'learning_rate': r} for r in rates]
    )
    lengths = np.linalg.norm(_KERNEL, axis=0)
    for rate, (_, corrected), args in zip(rates, found, fits, strict=True):
      key, logits, labels, norms, counts = args
      self.assertEqual(key, trained.key)
      self.assertIs(logits, trained.train.logits)
      self.assertIs(labels, trained.train.labels)
      np.testing.assert_allclose(norms, lengths, rtol=1e-6)
      self.assertIs(counts, trained.class_counts)
      # The logits that MARC gives are in float32.
      np.testing.assert_allclose(
        corrected(outputs),
        outputs.logits * [1.0, rate, 2.0] + lengths * [-rate, 0.5, 1.0],
        rtol=1e-5,
        atol=1e-6,
      )

  def test_classifier_trained_again(self):
    def fit(key, features, labels, *, num_classes, learning_rate):
      fits.append((key, features, labels))
      return learning_rate * np.ones((2, num_classes)), np.arange(num_classes)

    fits, trained, outputs = [], _trained(), _outputs()
    with mock.patch.object(calibration_lib, 'fit_crt', fit):
      found = _candidates('crt', trained)
    rates = [0.02, 0.05, 0.2]
    self.assertEqual(
      [chosen for chosen, _ in found], [{'learning_rate': r} for r in rates]
    )
    for rate, (_, corrected), (key, features, labels) in zip(
      rates, found, fits, strict=True
    ):
      self.assertEqual(key, trained.key)
      self.assertIs(features, trained.train.features)
      self.assertIs(labels, trained.train.labels)
      sums = outputs.features.sum(axis=1, keepdims=True)
      np.testing.assert_allclose(
        corrected(outputs), rate * sums + np.arange(3), rtol=1e-6
      )

  def test_what_a_network_does_not_admit(self):
    without = _trained(train=_trained().train._replace(features=None))
    for name in ('ncm', 'marc', 'crt'):
      self.assertEmpty(_candidates(name, without))
    self.assertEmpty(_candidates('tau_normalization', _trained(kernel=None)))


def _found(step=1, **methods):
  needs = {name: f'what {name} is' for name, one in methods.items() if not one}
  return experiment_lib.Calibration(step, methods, needs)


def _result(chosen, validation, test):
  names = ('top1', 'balanced', 'many', 'medium', 'few', 'tail', 'ece')
  return {
    'chosen': chosen,
    'validation': dict.fromkeys(names, 0.9) | {'balanced': validation},
    'test': {name: test + 0.01 * k for k, name in enumerate(names)}
    | {'medium': None},
    'temperature': 10 * test,
    'confidence': {
      'nll': None, 'nll_temperature': 2 * test, 'ece_temperature': test / 10
    },
  }  # fmt: skip


def _cells(table):
  lines = table.splitlines()
  return [
    [cell.strip() for cell in line.split('|')[1:-1]]
    for line in lines[:1] + lines[2:]
  ]


_COLUMNS = [
  'method', 'chosen', 'validation', 'test top-1', 'test balanced', 'test many',
  'test medium', 'test few', 'test tail', 'test ECE', 'test ECE (T)', 'T',
  'test NLL', 'test NLL (T)',
]  # fmt: skip


class RunsTest(parameterized.TestCase):
  """`calibrate_runs`, on folders whose runs are made up."""

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(
      self.enter_context(tempfile.TemporaryDirectory())
    )
    self.restored = []
    self.enter_context(
      mock.patch.object(_restore, 'restore', side_effect=self._restore)
    )

  def _restore(self, folder, checkpoint, **options):
    self.restored.append((folder.name, checkpoint, options))
    experiment = _experiment()
    experiment.num_steps = 30
    return experiment, _state()

  def test_seeds(self):
    for seed in (10, 0, 2):
      (self.folder / f'seed_{seed}').mkdir()
    said = []
    found = experiment_lib.calibrate_runs(
      str(self.folder), ['none'], checkpoint=17, data_dir='there', model='net',
      data='arrays', loss='function', trunk='file', say=said.append,
    )  # fmt: skip
    options = {
      'model': 'net', 'data': 'arrays', 'loss': 'function', 'data_dir': 'there',
      'trunk': 'file',
    }  # fmt: skip
    names = ['seed_0', 'seed_2', 'seed_10']
    self.assertEqual(self.restored, [(name, 17, options) for name in names])
    self.assertEqual(
      said, [f'{self.folder / name}: step 17 of 30' for name in names]
    )
    for folder, one in found.runs.items():
      written = json.loads((folder / 'calibration.json').read_text())
      self.assertEqual(written.pop('format'), 2)
      self.assertEqual(
        written.pop('arrays_sha256'),
        hashlib.sha256((folder / 'calibration.npz').read_bytes()).hexdigest(),
      )
      self.assertEqual(written, json.loads(json.dumps(one.content)))
    self.assertEqual(
      found.table(),
      experiment_lib.calibration_table(list(found.runs.values())),
    )
    self.assertIn('+-', repr(found))
    self.assertEqual(found._repr_markdown_(), found.table())

  def test_one_run(self):
    # A run may have folders of such names.
    (self.folder / 'seed_0').mkdir()
    (self.folder / 'config.json').touch()
    found = experiment_lib.calibrate_runs(self.folder, ['none'], seed=5)
    self.assertEqual(list(found.runs), [self.folder])
    self.assertTrue((self.folder / 'calibration.json').exists())
    self.assertEqual(
      repr(found),
      experiment_lib.calibrate(_experiment(), _state(), ['none']).table(),
    )

  def test_the_program_does_no_more(self):
    (self.folder / 'seed_3').mkdir()
    done = programs.call(
      'calibrate', f'--workdir={self.folder}', '--methods=none,lws'
    )
    self.assertEqual(done.returncode, 0, done.stderr)
    found = experiment_lib.calibrate_runs(self.folder, ['none', 'lws'])
    self.assertIn(f'\naccuracy in %\n{found.table()}\n', done.stdout)

  def test_mistakes_before_any_work(self):
    for options, message in (
      ({'names': ['x']}, "unknown method 'x'"),
      ({'checkpoint': 'banana'}, "'last', 'best' or a number"),
      ({'seed': -1}, 'got -1'),
    ):
      with self.assertRaisesRegex(experiment_lib.ConfigError, message):
        experiment_lib.calibrate_runs(self.folder, **options)
    self.assertEmpty(self.restored)


class TableTest(parameterized.TestCase):
  def test_of_one_run(self):
    found = _found(
      none=_result({}, 0.5, 0.1),
      tau_normalization=None,
      crt=None,
      lws=_result({'learning_rate': 0.05}, 0.6, 0.2),
    )
    self.assertEqual(
      _cells(found.table()),
      [
        _COLUMNS,
        ['none', '', '50.0', '10.0', '11.0', '12.0', 'n/a', '14.0', '15.0',
         '16.0', '1.0', '1', 'n/a', '0.2'],
        ['tau_normalization', 'what tau_normalization is', *['n/a'] * 12],
        ['crt', 'what crt is', *['n/a'] * 12],
        ['lws', 'learning_rate 0.05', '60.0', '20.0', '21.0', '22.0', 'n/a',
         '24.0', '25.0', '26.0', '2.0', '2', 'n/a', '0.4'],
      ],
    )  # fmt: skip

  def test_of_several_runs(self):
    table = experiment_lib.calibration_table(
      [
        _found(a=_result({'tau': tau, 'm': 1}, validation, test), b=None)
        for tau, validation, test in (
          (1.0, 0.5, 0.1),
          (0.8, 0.7, 0.3),
          (1.0, 0.9, 0.5),
        )
      ]
    )
    self.assertEqual(
      _cells(table),
      [
        _COLUMNS,
        ['a', 'tau 0.8, 1.0 m 1', '70.0 +- 20.0', '30.0 +- 20.0',
         '31.0 +- 20.0', '32.0 +- 20.0', 'n/a', '34.0 +- 20.0',
         '35.0 +- 20.0', '36.0 +- 20.0', '3.0 +- 2.0', '3 +- 2', 'n/a',
         '0.6 +- 0.4'],
        ['b', 'what b is', *['n/a'] * 12],
      ],
    )  # fmt: skip

  def test_content(self):
    methods = {'none': _result({}, 0.5, 0.1), 'crt': None}
    self.assertEqual(
      _found(7, **methods).content,
      {
        'step': 7,
        'params_sha256': None,
        'selected': 'none',
        'methods': methods,
      },
    )

  def test_selected(self):
    for values, expected in (
      ({'none': 0.5, 'a': 0.6, 'b': 0.6}, 'a'),
      ({'a': 0.5, 'none': 0.5, 'b': 0.4}, 'none'),
      ({'b': 0.1, 'a': 0.1}, 'b'),
      ({'a': None, 'b': 0.0}, 'b'),
      ({'a': None}, None),
    ):
      # What the test set says does not matter.
      methods = {
        name: None if x is None else _result({}, x, 0.9 - x)
        for name, x in values.items()
      }
      self.assertEqual(_found(**methods).selected, expected)


if __name__ == '__main__':
  absltest.main()
