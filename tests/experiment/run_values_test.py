# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run evaluates, chooses, reports and leaves, by number."""

import dataclasses
import importlib.metadata
import json
import pathlib
import platform
import sys
import types
from unittest import mock

from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imbsam_jax import augment
from imbsam_jax import data as data_lib
from imbsam_jax import experiment as experiment_lib
from imbsam_jax import metrics
from imbsam_jax import training
from imbsam_jax._runs import console
from imbsam_jax._runs import fields
from imbsam_jax.experiment import _evaluate
from imbsam_jax.experiment import _experiment
from imbsam_jax.experiment import _programs
from imbsam_jax.experiment import _run
from imbsam_jax.experiment import _stacked_runs
from imbsam_jax.experiment import _summary
from tests.training import tiny_training

_COUNTS = np.array([60, 25, 10])


def _config(**changes):
  changes = {name.replace('__', '.'): value for name, value in changes.items()}
  return experiment_lib.replace(
    experiment_lib.config('digits_lt'),
    {
      'data.batch_size': 8,
      'optimizer.threshold': 30,
      'few_below': 20,
      'many_above': 50,
    }
    | changes,
  )


def _examples(labels, predictions, confidences):
  """Images that hold what is to be said of them."""
  images = np.stack([predictions, confidences], axis=1).astype(np.float32)
  return data_lib.Examples(images, np.asarray(labels, np.int32))


class _Experiment(experiment_lib.Experiment):
  """Stands for an experiment that nothing was compiled for."""

  def __init__(self, **changes):
    self.__dict__.update(
      {
        'config': _config(),
        'data': data_lib.LongTailedData(
          train=data_lib.Examples(np.zeros((95, 2)), np.zeros(95, np.int32)),
          validation=_examples(
            [0, 0, 0, 0, 1, 2], [0, 0, 0, 0, 0, 0], [0.5] * 6
          ),
          test=_examples(
            [0, 0, 1, 1, 1, 1, 2, 2, 2, 2],
            [0, 0, 1, 1, 1, 0, 2, 1, 1, 0],
            [0.25] * 10,
          ),
          class_counts=_COUNTS,
          class_names=('cat', 'dog', 'eel'),
        ),
        'mesh': training.data_mesh(),
        'objective': training.Supervised(lambda logits, labels: labels),
        'predict_step': lambda variables, images: (
          images[:, 0].astype(int),
          images[:, 1] * variables['params'],
        ),
      }
      | changes
    )


def _state(factor=1.0):
  return types.SimpleNamespace(
    step=np.int32(5), params=100.0, variables={'params': factor}
  )


class EvaluateTest(parameterized.TestCase):
  def test_scores_of_the_test_set(self):
    scores, rows, *_ = experiment_lib.evaluate(_Experiment(), _state(2.0))
    # Recalls 1, 3/4 and 1/4; 6 of 10 are right at confidence 1/2.
    self.assertAlmostEqual(scores['top1'], 0.6)
    self.assertAlmostEqual(scores['balanced'], 2 / 3)
    self.assertAlmostEqual(scores['many'], 1)
    self.assertAlmostEqual(scores['medium'], 0.75)
    self.assertAlmostEqual(scores['few'], 0.25)
    self.assertAlmostEqual(scores['head'], 1)
    self.assertAlmostEqual(scores['tail'], 0.5)
    self.assertAlmostEqual(scores['ece'], 0.1)
    self.assertEqual([row['name'] for row in rows], ['cat', 'dog', 'eel'])
    self.assertEqual([row['train_count'] for row in rows], [60, 25, 10])
    self.assertEqual([row['test_count'] for row in rows], [2, 4, 4])
    self.assertEqual([row['accuracy'] for row in rows], [1, 0.75, 0.25])
    self.assertEqual([row['mean_confidence'] for row in rows], [0.5] * 3)

  def test_scores_of_the_validation_set(self):
    found = experiment_lib.evaluate(_Experiment(), _state(), 'validation')
    self.assertAlmostEqual(found.scores['top1'], 4 / 6)
    self.assertAlmostEqual(found.scores['balanced'], 1 / 3)
    self.assertEqual([r['test_count'] for r in found.per_class], [4, 1, 1])

  def test_groups_are_those_of_the_configuration(self):
    experiment = _Experiment(
      config=_config(many_above=24, few_below=11, optimizer__threshold=5)
    )
    scores = experiment_lib.evaluate(experiment, _state()).scores
    self.assertAlmostEqual(scores['many'], 0.875)
    self.assertIsNone(scores['medium'])
    self.assertAlmostEqual(scores['few'], 0.25)
    self.assertIsNone(scores['tail'])

  def test_rounding_is_clipped(self):
    with mock.patch.object(
      metrics, 'classification_metrics', wraps=metrics.classification_metrics
    ) as spy:
      experiment_lib.evaluate(_Experiment(), _state(4.0 + 1e-6))
    self.assertEqual(spy.call_args.args[2].max(), 1.0)

  @parameterized.parameters(np.nan, np.inf)
  def test_outputs_that_are_not_finite(self, factor):
    with self.assertRaisesRegex(training.DivergedError, 'not finite'):
      experiment_lib.evaluate(_Experiment(), _state(factor))
    # One is enough.
    data = _Experiment().data
    data = data._replace(test=_examples([0, 1], [0, 1], [0.5, factor]))
    with self.assertRaisesRegex(training.DivergedError, 'not finite'):
      experiment_lib.evaluate(_Experiment(data=data), _state())

  def test_unknown_split(self):
    with self.assertRaisesRegex(experiment_lib.ConfigError, "got 'train'"):
      experiment_lib.evaluate(_Experiment(), _state(), 'train')

  def test_no_validation_set(self):
    experiment = _Experiment()
    data = experiment.data._replace(validation=None)
    with self.assertRaisesRegex(experiment_lib.ConfigError, 'no validation'):
      experiment_lib.evaluate(_Experiment(data=data), _state(), 'validation')


class ChooseByTest(parameterized.TestCase):
  def test_validation_by_balanced_accuracy(self):
    chooser = _evaluate.choose_by(_Experiment())
    self.assertEqual(chooser.metric, 'balanced')
    self.assertAlmostEqual(chooser.evaluate(_state())['top1'], 4 / 6)

  def test_best_on_test_by_top1(self):
    # As the codes that report so do, also beside a validation set.
    chooser = _evaluate.choose_by(
      _Experiment(config=_config(best_on_test=True))
    )
    self.assertEqual(chooser.metric, 'top1')
    self.assertAlmostEqual(chooser.evaluate(_state())['top1'], 0.6)

  def test_nothing(self):
    data = _Experiment().data._replace(validation=None)
    self.assertIsNone(_evaluate.choose_by(_Experiment(data=data)))


class MarksTest(parameterized.TestCase):
  @parameterized.parameters(
    # 95 images in batches of 8: 12 steps for an epoch, 24 for two.
    (2.5, 1.0, {12, 24}),
    (2.0, 1.0, {12, 24}),
    (2.5, 0.5, {6, 12, 18, 24, 30}),
    (2.5, 2.0, {24}),
    (1.0, 2.0, set()),
    # 1.48, 2.97, 4.45 and 5.94 steps.
    (0.5, 0.125, {2, 3, 5, 6}),
  )
  def test_validates_and_saves(self, epochs, save_every, expected):
    config = _config(epochs=epochs, save_every=save_every)
    self.assertEqual(
      _run.evaluation_marks(_Experiment(config=config)), expected
    )


_RECORDS = [
  {'step': 1, 'loss': 2.0, 'cost': 1.0},
  {'step': 2, 'loss': None, 'cost': 1.0, 'skipped': True},
  {'step': 2, 'validation': {'top1': 0.1}},
  {'step': 3, 'loss': 1.5, 'cost': 1.5},
  {'step': 4, 'loss': 1.25, 'cost': 2.00004},
  {'step': 4, 'validation': {'top1': 0.2}},
]


class SummaryTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(tiny_training.folder(self))

  def _finish(self, experiment, **changes):
    state = types.SimpleNamespace(
      step=np.int32(3),
      params={'w': np.arange(3, dtype=np.float32)},
      variables={'params': 1.0},
    )
    made = {'seed': 6, 'seconds': 1.23456, 'extra': {'more': 1}} | changes
    return _summary.finish(experiment, state, _RECORDS, self.folder, **made)

  def test_every_entry(self):
    result = self._finish(
      _Experiment(
        config=_config(optimizer__method='imbsam', objective__weights='drw')
      )
    )
    scores, rows, *_ = experiment_lib.evaluate(_Experiment(), _state())
    packages = ('imbsam_jax', 'jax', 'jaxlib', 'flax', 'optax', 'numpy')
    self.assertEqual(
      result.summary,
      scores
      | {
        'train_loss': 1.25,
        'seconds': 1.235,
        # 4 steps of 8 images.
        'images_per_second': 25.9,
        'cost_sgd_steps': 1.375,
        'steps': 4,
        'skipped_steps': 1,
        'num_train': 95,
        'method': 'imbsam drw',
        'seed': 6,
        'split': 'test',
        'reporting': 'last step',
        'reported_step': 3,
        'params_sha256': training.params_sha256(result.state.params),
        'device': jax.devices()[0].device_kind,
        'versions': {'python': platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
        'more': 1,
      },
    )
    self.assertEqual(list(result.summary)[: len(scores)], list(scores))
    self.assertEqual(result.per_class, rows)
    self.assertIs(result.history, _RECORDS)
    self.assertEqual(result.workdir, self.folder)

  def test_images_per_second(self):
    summary = self._finish(_Experiment(), seconds=0.5).summary
    self.assertEqual(
      summary['images_per_second'] * summary['seconds'], summary['steps'] * 8
    )

  def test_files(self):
    result = self._finish(_Experiment())
    self.assertEqual(
      json.loads((self.folder / 'summary.json').read_text()), result.summary
    )
    rows = training.read_csv(self.folder / 'per_class.csv')
    self.assertEqual([row['accuracy'] for row in rows], ['1.0', '0.75', '0.25'])

  def test_final_split(self):
    experiment = _Experiment(config=_config(final_split='validation'))
    result = self._finish(experiment)
    self.assertEqual(result.summary['split'], 'validation')
    self.assertAlmostEqual(result.summary['top1'], 4 / 6)
    self.assertEqual([r['test_count'] for r in result.per_class], [4, 1, 1])

  @parameterized.parameters(
    ({}, 'last step'),
    ({'flip_test': True}, 'test images and their mirror images'),
    ({'test_views': 'five_crop'}, 'five crops of test images'),
    (
      {'test_views': 'five_crop(margin=2)', 'flip_test': True},
      'five crops of test images and their mirror images',
    ),
    ({'best_on_test': True}, 'best checkpoint on the test set'),
    (
      {'best_on_test': True, 'flip_test': True},
      'test images and their mirror images, best checkpoint on the test set',
    ),
  )
  def test_reporting(self, changes, text):
    config = _config(**changes)
    self.assertEqual(_summary.reporting(config), text)
    summary = self._finish(_Experiment(config=config)).summary
    self.assertEqual(summary['reporting'], text)

  @mock.patch.object(metrics, 'plot_accuracy_by_frequency')
  def test_picture(self, plot):
    experiment = _Experiment(
      config=_config(data__name='birds', final_split='validation')
    )
    rows = [
      {'accuracy': a, 'precision': 0.5, 'recall': 0.5} for a in (1.0, 0.0, None)
    ]
    found = experiment_lib.plot(experiment, rows, 'picture.png')
    self.assertIs(found, plot.return_value)
    (path, counts, accuracies), options = plot.call_args
    self.assertEqual(str(path), 'picture.png')
    np.testing.assert_array_equal(counts, _COUNTS)
    self.assertEqual(list(accuracies), ['sgd'])
    # That of no class is left out, 0 is an accuracy.
    np.testing.assert_array_equal(
      np.asarray(accuracies['sgd'], float), [1, 0, np.nan]
    )
    self.assertEqual(
      options,
      {
        'tail_below': 30,
        # The rows alone do not tell of which examples they are.
        'title': 'birds: accuracy by class',
      },
    )

  @parameterized.parameters('test', 'validation')
  @mock.patch.object(metrics, 'plot_accuracy_by_frequency')
  def test_title_of_a_picture_names_the_examples(self, split, plot):
    experiment = _Experiment(config=_config(final_split='validation'))
    rows = [{'accuracy': 0.25}] * 3
    result = self._finish(experiment)._replace(per_class=rows)
    for found in (
      experiment_lib.Evaluation({}, rows, split),
      result._replace(summary=result.summary | {'split': split}),
    ):
      experiment_lib.plot(experiment, found)
      (_, _, accuracies), options = plot.call_args
      self.assertEqual(accuracies, {'sgd': [0.25] * 3})
      self.assertEndsWith(options['title'], f': accuracy on the {split} set')

  def test_picture_of_a_network_that_is_never_right(self):
    rows = [{'accuracy': 0.0}] * 3
    axes = experiment_lib.plot(_Experiment(), rows).axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [0, 0, 0])


class StackedTest(parameterized.TestCase):
  """`run_stacked`, around a training that is made up."""

  def test_each_is_the_run_of_its_member(self):
    folder = pathlib.Path(tiny_training.folder(self))
    got = {}
    steps = types.SimpleNamespace(begin='step of stage 0', end='of stage 1')

    def experiment(rho):
      # Epochs of 12 steps; the second stage begins with the second.
      made = _Experiment(
        config=_config(
          optimizer__method='sam',
          optimizer__rho=rho,
          epochs=2.5,
          save_every=1.0,
          best_on_test=True,
        ),
        init=lambda seed: ('state', rho, seed),
        batches=lambda seed: ('batches', rho, seed),
        num_steps=30,
        stacked_steps={
          _experiment.StepKind(0): steps.begin,
          _experiment.StepKind(1): steps.end,
        },
        method=types.SimpleNamespace(
          stages=('begin', 'end'),
          stage=lambda step: 'begin' if step < 12 else 'end',
        ),
      )
      made.__dict__['fingerprint'] = {'train': 'abc'}
      return made

    def fit(states, train_step, batches, **options):
      got.update(options, states=states, batches=batches)
      got['steps'] = [train_step(11), train_step(12)]
      for history, state in zip(options['histories'], states, strict=True):
        history.append([{'step': 30, 'of': list(state)}])
      return [('trained', *state) for state in states], 12.0

    members = [
      _stacked_runs.Member(experiment(rho), seed, folder / f'{rho}_{seed}')
      for rho, seed in ((0.1, 0), (0.1, 1), (0.4, 0))
    ]
    reported = []

    def report(experiment, state, workdir):
      reported.append((experiment, state, workdir))
      return ('reported', *state)

    progress = mock.Mock()
    with (
      mock.patch.object(training, 'fit_stacked', fit),
      mock.patch.object(training, 'Checkpoints') as checkpoints,
      mock.patch.object(_run, 'state_to_report', report),
      mock.patch.object(_run, 'write_model_file') as write,
      mock.patch.object(_summary, 'finish') as finish,
      mock.patch.object(
        _evaluate, 'evaluate', lambda e, s, split: mock.Mock(scores=(s, split))
      ),
      mock.patch.object(
        training, 'step_cost', lambda stage, batch, **_: len(stage)
      ),
    ):
      found = _stacked_runs.run_stacked(members, progress=progress)
      self.assertEqual(got['evaluate']('x'), ('x', 'test'))
      self.assertEqual(got['describe'](12, 'batch'), {'cost': len('end')})
    self.assertEqual(
      got['states'], [('state', 0.1, 0), ('state', 0.1, 1), ('state', 0.4, 0)]
    )
    self.assertEqual(
      got['batches'],
      [('batches', 0.1, 0), ('batches', 0.1, 1), ('batches', 0.4, 0)],
    )
    (radii,) = got['parameters']
    np.testing.assert_allclose(radii, [0.1, 0.1, 0.4])
    self.assertEqual(got['steps'], [steps.begin, steps.end])
    self.assertEqual(got['num_steps'], 30)
    self.assertEqual(got['evaluate_at'], {12, 24})
    self.assertEqual(got['checkpoint_at'], {12, 24})
    self.assertIs(got['on_progress'], progress)
    self.assertLen(got['checkpoints'], 3)
    self.assertEqual(
      [call for call in checkpoints.mock_calls if call[0] == ''],
      [
        mock.call(
          member.workdir / 'checkpoints',
          best_metric='top1',
          keep_last=2,
          about={
            'config': json.loads((member.workdir / 'config.json').read_text()),
            'data': {'train': 'abc'},
          },
        )
        for member in members
      ],
    )
    self.assertEqual(found, [finish.return_value] * 3)
    # When they begin, and with what is reported.
    self.assertEqual(
      [call.args[1:] for call in write.call_args_list],
      [(member.workdir,) for member in members]
      + [call.args[3:0:-2] for call in finish.call_args_list],
    )
    for member, call, report in zip(
      members, finish.call_args_list, reported, strict=True
    ):
      state = ('trained', 'state', member.experiment.config.optimizer.rho)
      state += (member.seed,)
      self.assertIs(report[0], member.experiment)
      self.assertEqual(report[1:], (state, member.workdir))
      self.assertIs(call.args[0], member.experiment)
      self.assertEqual(
        call.args[1:],
        (
          ('reported', *state),
          [{'step': 30, 'of': list(state[1:])}],
          member.workdir,
        ),
      )
      self.assertEqual(
        call.kwargs,
        {'seed': member.seed, 'seconds': 4.0, 'extra': {'side_by_side': 3}},
      )
      # The folder is that of the same run alone.
      self.assertEqual(
        json.loads((member.workdir / 'config.json').read_text()),
        fields.to_json(
          dataclasses.replace(member.experiment.config, seed=member.seed)
        ),
      )
      self.assertEqual(
        json.loads((member.workdir / 'data.json').read_text()),
        {'train': 'abc'},
      )


class StepsTest(parameterized.TestCase):
  """What the steps of an experiment are made of."""

  def _steps(self, *, plan=None, **changes):
    made = []
    config = _config(optimizer__num_microbatches=2, **changes).optimizer

    def make_method(key, rho=None):
      made.append((key, rho))
      return types.SimpleNamespace(
        stages=[types.SimpleNamespace(link=k) for k in ('first', 'second')]
      )

    steps = _programs.Steps(
      'model',
      make_method,
      lambda link: ('chain', link),
      'objective',
      training.Inputs(lambda x: (x.shape, x.dtype), 'augment'),
      plan=plan or training.ParamPlan(),
      sample=jax.ShapeDtypeStruct((1, 5), np.uint8),
      mesh='mesh',
      ema_decay=config.ema_decay,
      num_microbatches=config.num_microbatches,
      ascent=config.ascent,
    )
    return steps, made

  @parameterized.parameters(
    (0, 'first', 0.9), (1, 'second', 0.9), (1, 'second', None)
  )
  def test_step_of_a_stage(self, stage, link, ema_decay):
    steps, made = self._steps(optimizer__ema_decay=ema_decay)
    with mock.patch.object(training, 'make_train_step') as make:
      found = steps._step(stage, 0.25, outer=stage == 1)
    self.assertIs(found, make.return_value)
    self.assertEqual(made[0][1], 0.25)
    model, rule, objective, inputs = make.call_args.args
    self.assertEqual((model, objective), ('model', 'objective'))
    self.assertEqual(rule, ('chain', link))
    self.assertEqual(inputs.augment, 'augment')
    self.assertEqual(inputs.preprocess(np.zeros(3)), ((3,), np.float64))
    self.assertEqual(
      make.call_args.kwargs,
      {
        'outer': stage == 1,
        'ema_decay': ema_decay,
        'num_microbatches': 2,
        'axis_name': None,
      },
    )

  def test_per_device(self):
    steps, _ = self._steps(optimizer__ascent='per_device')
    with (
      mock.patch.object(training, 'make_train_step') as make,
      mock.patch.object(training, 'per_device') as per_device,
      mock.patch.object(training, 'per_device_link') as link,
    ):
      found = steps._step(0)
    self.assertIs(found, per_device.return_value)
    self.assertEqual(per_device.call_args.args, (make.return_value, 'mesh'))
    self.assertEqual(make.call_args.kwargs['axis_name'], 'data')
    self.assertEqual(link.call_args.args, ('first',))
    self.assertEqual(make.call_args.args[1], ('chain', link.return_value))

  @parameterized.parameters(None, 0.9)
  def test_state(self, ema_decay):
    plan = training.ParamPlan(trains=lambda path: True)
    steps, made = self._steps(optimizer__ema_decay=ema_decay, plan=plan)
    with mock.patch.object(training, 'create_train_state') as create:
      steps._init(jax.random.key(3))
    model, rule, key, sample = create.call_args.args
    self.assertEqual(model, 'model')
    self.assertEqual(rule, ('chain', 'first'))
    # Images as they are stored, before what comes between.
    self.assertEqual(sample, ((1, 5), np.uint8))
    # Noise of the method is not that of the parameters.
    init_key, noise_key = jax.random.split(jax.random.key(3))
    self.assertEqual(key, init_key)
    self.assertEqual(made, [(noise_key, None)])
    self.assertEqual(
      create.call_args.kwargs,
      {'ema': ema_decay is not None, 'objective': 'objective', 'plan': plan},
    )

  def test_scanned_and_stacked(self):
    steps, _ = self._steps()
    asked = []

    def step_of(stage, rho=None, *, outer=False):
      asked.append((stage, outer))

      def step(state, batch):
        moved = batch.rows if rho is None else rho * batch.rows
        return 2 * state + moved, {'seen': state}

      return step

    def batch(*numbers):
      return data_lib.TrainBatch(jnp.array(numbers), jnp.ones(len(numbers)))

    with mock.patch.object(steps, '_step', step_of):
      state, seen = steps.train(1)(jnp.ones(1), batch(3.0))
      self.assertEqual((float(state[0]), float(seen['seen'][0])), (5.0, 1.0))
      state, seen = steps.scanned(1)(jnp.float32(1), batch(3.0, 4.0, 5.0))
      self.assertEqual(float(state), 2 * (2 * 5 + 4) + 5)
      np.testing.assert_array_equal(seen['seen'], [1, 5, 14])
      states, _ = steps.stacked(1)(
        jnp.array([1.0, 2.0]), batch(3.0, 4.0), jnp.array([10.0, 100.0])
      )
      np.testing.assert_array_equal(states, [32, 404])
    self.assertEqual(set(asked), {(1, False)})


# ------------------------------------------------------------- one real run

_SEED = 2


def _sources():
  """Three classes of 44, 28 and 14; test images are of another kind."""
  rng = np.random.RandomState(0)

  def split(counts, shift):
    labels = np.repeat([0, 1, 2], counts)
    images = rng.randn(len(labels), 2, 4, 1).astype(np.float32)
    images[:, 0, :3, 0] += 2 * np.eye(3, dtype=np.float32)[labels] + shift
    return images, labels

  return experiment_lib.Sources(
    train=split([44, 28, 14], 0.0), test=split([20, 30, 40], 0.5)
  )


@pytest.fixture(scope='module')
def tiny():
  """An MLP on arrays: 74 images, 12 steps, validated after 5, 10 and 12."""
  config = experiment_lib.config(
    'own',
    'sgd',
    {
      'model.name': 'mlp',
      'model.norm': 'none',
      'data.batch_size': 16,
      'data.validation_per_class': 4,
      'epochs': 2.5,
      'save_every': 1.0,
      'seed': 1,
      'final_split': 'validation',
      'optimizer.ema_decay': 0.9,
      'optimizer.threshold': 30,
      'many_above': 30,
    },
  )
  return experiment_lib.build(config, data=_sources())


@pytest.fixture(scope='module')
def ran(tiny, tmp_path_factory):
  folder = tmp_path_factory.mktemp('ran')
  return experiment_lib.run(tiny, seed=_SEED, workdir=folder)


@pytest.fixture(scope='module')
def trained(tiny):
  """The states of the same run, by hand."""
  states = [tiny.init(_SEED)]
  batches = tiny.batches(_SEED)
  for step in range(12):
    # Donated otherwise.
    state = jax.tree.map(jnp.copy, states[-1])
    state, _ = tiny.train_step(step)(state, tiny.put(batches[step]))
    states.append(state)
  return states


def _assert_equal(one, other):
  jax.tree.map(np.testing.assert_array_equal, one, other)


def test_the_state_is_that_of_the_seed(tiny, ran, trained):
  assert tiny.num_steps == 12
  assert int(ran.state.step) == 12 == ran.summary['reported_step']
  _assert_equal(ran.state.params, trained[-1].params)
  _assert_equal(ran.state.ema_params, trained[-1].ema_params)
  other = tiny.init(_SEED + 1)
  assert training.params_sha256(other.params) != training.params_sha256(
    trained[0].params
  )
  assert (np.asarray(other.key_data) != np.asarray(trained[0].key_data)).any()


def test_moving_average(trained):
  before, after = trained[0], trained[1]
  _assert_equal(before.ema_params, before.params)
  jax.tree.map(
    lambda e, p, q: np.testing.assert_allclose(
      e, 0.9 * p + 0.1 * q, rtol=1e-5, atol=1e-7
    ),
    after.ema_params,
    before.params,
    after.params,
  )


def _scores(tiny, params, examples, counts):
  """By hand, with the given parameters."""
  mean, std = (
    getattr(tiny.data.train.images.astype(np.float64), name)()
    for name in ('mean', 'std')
  )
  x = (examples.images.reshape(len(examples.labels), -1) - mean) / std
  params = jax.tree.map(lambda p: np.asarray(p, np.float64), params)
  for name in ('dense1', 'dense2'):
    x = np.maximum(x @ params[name]['kernel'] + params[name]['bias'], 0)
  head = params['classifier']
  logits = x @ head['kernel'] + head['bias']
  probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
  return metrics.classification_metrics(
    examples.labels,
    logits.argmax(axis=1),
    probabilities.max(axis=1),
    class_counts=counts,
    many_above=30,
    tail_below=30,
  )


def test_the_moving_average_is_evaluated_on_the_final_split(tiny, ran):
  counts = [40, 24, 10]
  state, data = ran.state, tiny.data
  expected = _scores(tiny, state.ema_params, data.validation, counts)
  for name, value in expected.items():
    assert ran.summary[name] == pytest.approx(value, rel=1e-5), name
  for other in (
    _scores(tiny, state.params, data.validation, counts),
    _scores(tiny, state.ema_params, data.test, counts),
  ):
    assert abs(other['ece'] - expected['ece']) > 1e-3
  test = experiment_lib.evaluate(tiny, state).scores
  assert test['top1'] != ran.summary['top1']
  found = _scores(tiny, state.ema_params, data.test, counts)
  assert test == pytest.approx(found, rel=1e-5)
  assert ran.summary['split'] == 'validation'
  calibrated = experiment_lib.calibrate(tiny, state, ['none']).methods['none']
  for split, scores in (('validation', expected), ('test', test)):
    assert calibrated[split] == pytest.approx(scores, rel=1e-5)


def _saved(folder):
  names = [path.name for path in (folder / 'checkpoints').iterdir()]
  return {int(name) for name in names if name.isdigit()}


def test_what_a_run_leaves(tiny, ran):
  history = training.read_history(ran.workdir / 'metrics.jsonl')
  assert history == ran.history
  validated = {r['step']: r['validation'] for r in history if 'loss' not in r}
  assert list(validated) == [5, 10, 12]
  assert validated[12] == {name: ran.summary[name] for name in validated[12]}
  assert [r['step'] for r in history if 'loss' in r] == list(range(1, 13))
  assert {r['cost'] for r in history if 'loss' in r} == {1.0}
  assert ran.summary['steps'] == 12 and ran.summary['seed'] == _SEED
  assert ran.summary['step_programs'] == 1
  assert ran.summary['step_programs_after_first_epoch'] == 0
  best = max(validated, key=lambda step: validated[step]['balanced'])
  assert _saved(ran.workdir) == {10, 12, best}
  config = json.loads((ran.workdir / 'config.json').read_text())
  assert config['seed'] == _SEED


def test_a_complete_run_is_not_trained_again(tiny, ran):
  with mock.patch.object(tiny.__class__, 'train_step', None):
    again = experiment_lib.run(tiny, seed=_SEED, workdir=ran.workdir)
  _assert_equal(again.state.params, ran.state.params)
  assert again.history == ran.history
  # Time goes on from that of the training.
  before, after = ran.summary['seconds'], again.summary['seconds']
  assert before - 0.5 < after < before + 5
  assert after > 0


def test_without_a_folder_and_with_the_seed_of_the_configuration(tiny):
  shown = []
  with (
    mock.patch.object(
      experiment_lib.Experiment,
      'program',
      lambda self, step, batch: 'one' if step in (0, 9) else f'of {step}',
    ),
    mock.patch.object(
      experiment_lib.Experiment, 'programs', lambda self: {'of 6': 0, 'one': 0}
    ),
  ):
    found = experiment_lib.run(tiny, progress=shown.extend)
  assert found.workdir is None
  assert found.summary['seed'] == 1
  state = tiny.init(1)
  batch = tiny.put(tiny.batches(1)[0])
  _, seen = tiny.train_step(0)(state, batch)
  assert found.history[0]['loss'] == float(seen['loss'])
  assert [record['step'] for record in shown] == list(range(1, 13))
  # Of steps 5 to 11, the first after an epoch: not the 6th and the 9th.
  assert found.summary['step_programs'] == 11
  assert found.summary['step_programs_after_first_epoch'] == 5


@pytest.mark.parametrize('progress', [False, None])
def test_progress_of_a_run(progress, tiny, monkeypatch):
  lines, given = [], []

  def line(total, title):
    lines.append([total, title])
    shown = mock.Mock(side_effect=lambda records: lines[-1].append(records))
    shown.close = lambda: lines[-1].append('closed')
    return shown

  def trained(*arguments):
    given.append(arguments[3])
    if given[-1]:
      given[-1](['records'])
    raise KeyboardInterrupt

  monkeypatch.setattr(console, 'Progress', line)
  monkeypatch.setattr(_run, '_run', trained)
  for one in (progress, True, print):
    with pytest.raises(KeyboardInterrupt):
      experiment_lib.run(tiny, progress=one)
  assert given[0] is None and given[2] is print
  title = experiment_lib.describe(tiny.config)
  assert lines == [[tiny.num_steps, title, ['records'], 'closed']]
  monkeypatch.setattr(training, 'is_first_process', lambda: False)
  with pytest.raises(KeyboardInterrupt):
    experiment_lib.run(tiny, progress=True)
  assert given[3] is None and len(lines) == 1


@pytest.mark.parametrize('progress', [console.Progress, 5, 'yes'])
def test_what_is_no_progress(progress, tiny):
  message = '`progress` must be True for a line on the screen, or a function'
  with pytest.raises(experiment_lib.ConfigError, match=message):
    experiment_lib.run(tiny, progress=progress)
  with pytest.raises(experiment_lib.ConfigError, match=message):
    experiment_lib.compare({'a': tiny}, progress=progress)


def test_progress_in_a_notebook(capsys, monkeypatch):
  monkeypatch.delitem(sys.modules, 'ipykernel', raising=False)
  for notebook in (False, True):
    if notebook:
      monkeypatch.setitem(sys.modules, 'ipykernel', types.ModuleType('it'))
    line = console.Progress(3, 'sgd')
    line([{'step': 3, 'loss': 0.5, 'train_accuracy': 1.0}])
    line.close()
    assert ('3/3' in capsys.readouterr().err) == notebook


@pytest.mark.parametrize('checkpoint', ['banana', -1, 1.5, None, True, ''])
def test_no_checkpoint_is_seen_before_the_folder(checkpoint, tmp_path):
  with pytest.raises(experiment_lib.ConfigError, match="'last', 'best' or"):
    experiment_lib.restore(tmp_path, checkpoint)


def test_best_on_test_is_reported_from_its_checkpoint(tiny, trained, tmp_path):
  config = experiment_lib.replace(
    tiny.config, {'best_on_test': True, 'final_split': 'test'}
  )
  experiment = dataclasses.replace(tiny, config=config)
  evaluate = _evaluate.evaluate
  # The best is neither the first, nor the last, nor the best otherwise.
  top1 = {5: 0.2, 10: 0.6, 12: 0.5}

  def scores_of(experiment, state, split='test'):
    assert split == 'test'
    found = evaluate(experiment, state, split)
    changed = {'top1': top1[int(state.step)], 'balanced': -float(state.step)}
    return found._replace(scores=found.scores | changed)

  with mock.patch.object(_evaluate, 'evaluate', scores_of):
    result = experiment_lib.run(experiment, seed=_SEED, workdir=tmp_path)
  assert result.summary['reported_step'] == 10 == int(result.state.step)
  assert result.summary['top1'] == 0.6
  assert result.summary['steps'] == 12
  assert result.summary['reporting'] == 'best checkpoint on the test set'
  _assert_equal(result.state.params, trained[10].params)
  assert result.summary['params_sha256'] == training.params_sha256(
    trained[10].params
  )
  ece = evaluate(experiment, trained[10], 'test').scores['ece']
  assert result.summary['ece'] == ece
  _, state = experiment_lib.restore(tmp_path, 'best', data=_sources())
  _assert_equal(state.params, trained[10].params)
  _, state = experiment_lib.restore(tmp_path, data=_sources())
  assert int(state.step) == 12


def test_the_last_is_reported_without_best_on_test(tiny, tmp_path):
  # Also where another was better on the validation images.
  evaluate = _evaluate.evaluate

  def scores_of(experiment, state, split='test'):
    found = evaluate(experiment, state, split)
    return found._replace(
      scores=found.scores
      | {'balanced': -float(state.step), 'top1': float(state.step)}
    )

  with mock.patch.object(_evaluate, 'evaluate', scores_of):
    result = experiment_lib.run(tiny, seed=_SEED, workdir=tmp_path)
  assert result.summary['reported_step'] == 12
  _, state = experiment_lib.restore(tmp_path, 'best', data=_sources())
  assert int(state.step) == 5
  # The last two, should one be damaged, and the best.
  assert _saved(tmp_path) == {5, 10, 12}


def test_mirror_images_are_evaluated_too(tiny, trained):
  config = experiment_lib.replace(tiny.config, {'flip_test': True})
  flipped = experiment_lib.build(config, data=_sources())
  images = tiny.data.test.images[:16]
  variables = trained[-1].variables
  logits = sum(
    tiny.logit_step(variables, x)[0] for x in (images, images[:, :, ::-1])
  )
  _, alone, *_ = tiny.predict_step(variables, images)
  classes, confidences, *_ = flipped.predict_step(variables, images)
  np.testing.assert_array_equal(classes, logits.argmax(axis=1))
  np.testing.assert_allclose(
    confidences, jax.nn.softmax(logits / 2).max(axis=1), rtol=1e-5
  )
  assert not np.allclose(alone, confidences)


@pytest.mark.parametrize('flip', [False, True])
def test_five_crops_are_evaluated(tiny, trained, flip):
  config = experiment_lib.replace(
    tiny.config, {'test_views': 'five_crop(margin=2)', 'flip_test': flip}
  )
  cropped = experiment_lib.build(config, data=_sources())
  images = tiny.data.test.images[:16]
  variables = trained[-1].variables
  height, width = images.shape[1:3]
  larger = augment.resize_images(
    images.astype(np.float32), (height + 2, width + 2)
  )
  starts = [(0, 0), (0, 2), (2, 0), (2, 2), (1, 1)]
  views = [larger[:, y : y + height, x : x + width] for y, x in starts]
  if flip:
    views += [view[:, :, ::-1] for view in views]
  logits = np.mean(
    [tiny.logit_step(variables, view)[0] for view in views], axis=0
  )
  classes, confidences, *_ = cropped.predict_step(variables, images)
  np.testing.assert_array_equal(classes, logits.argmax(axis=1))
  np.testing.assert_allclose(
    confidences, jax.nn.softmax(logits).max(axis=1), rtol=1e-5
  )
  _, alone, *_ = tiny.predict_step(variables, images)
  assert not np.allclose(alone, confidences)
