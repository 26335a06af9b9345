# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a comparison says of made-up runs: tables, sentences, its picture."""

import itertools
import json
import pathlib
import types
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from imbsam_jax import experiment as experiment_lib
from imbsam_jax import metrics
from imbsam_jax import training
from imbsam_jax._runs import compilation
from imbsam_jax._runs import console
from imbsam_jax._runs import fields
from imbsam_jax.experiment import _build
from imbsam_jax.experiment import _compare
from imbsam_jax.experiment import _comparison_tables
from imbsam_jax.experiment import _header
from imbsam_jax.experiment import _run
from imbsam_jax.experiment import _stacked_runs
from tests.training import tiny_training as tiny

_NAMES = (
  'top1', 'balanced', 'many', 'medium', 'few', 'head', 'tail',
  'cost_sgd_steps', 'seconds',
)  # fmt: skip


def _content(**methods):
  """Of each method means by metric; a metric that is not told has mean .5."""
  return {
    'methods': {
      word.replace('__', '+'): {
        name: {'mean': means.get(name, 0.5), 'std': 0.01 * k, 'runs': 3}
        for k, name in enumerate(_NAMES, 1)
      }
      for word, means in methods.items()
    }
  }


def _cells(table):
  """Lines of a Markdown table, without its rule."""
  lines = table.splitlines()
  return [
    [cell.strip() for cell in line.split('|')[1:-1]]
    for line in lines[:1] + lines[2:]
  ]


class TableTest(parameterized.TestCase):
  def test_every_number_under_its_name(self):
    found = experiment_lib.comparison_table(
      _content(
        sgd={
          'top1': 0.11,
          'balanced': 0.12,
          'many': 0.13,
          'medium': None,
          'few': 0.15,
          'head': 0.16,
          'tail': 0.17,
          'cost_sgd_steps': 1.0,
          'seconds': 1234.56,
        },
        sam={
          'top1': 0.21,
          'balanced': 0.22,
          'many': None,
          'medium': None,
          'few': 0.25,
          'head': 0.26,
          'tail': 0.27,
          'cost_sgd_steps': 1.987,
          'seconds': 20.04,
        },
      )
    )
    # No method has a medium class, so that there is no such column.
    self.assertEqual(
      _cells(found),
      [
        ['accuracy, %', 'top-1', 'balanced', 'many', 'few', 'head', 'tail',
         'cost, SGD steps', 'seconds'],
        ['sgd', '11.0 +- 1.0', '12.0 +- 2.0', '13.0 +- 3.0', '15.0 +- 5.0',
         '16.0 +- 6.0', '17.0 +- 7.0', '1.00', '1234.6'],
        ['sam', '21.0 +- 1.0', '22.0 +- 2.0', 'n/a', '25.0 +- 5.0',
         '26.0 +- 6.0', '27.0 +- 7.0', '1.99', '20.0'],
      ],
    )  # fmt: skip

  def test_no_right_answer_is_a_number(self):
    content = _content(a={'few': 0.0, 'many': None}, b={'few': 0.0})
    names, first, _ = _cells(experiment_lib.comparison_table(content))
    found = dict(zip(names, first, strict=True))
    self.assertEqual(found['few'], '0.0 +- 5.0')
    self.assertEqual(found['many'], 'n/a')

  def test_links_are_columns(self):
    def method(number):
      return {
        'balanced': 0.01 * number,
        'tail': 0.01 * number + 0.5,
        'cost_sgd_steps': number,
      }

    content = _content(
      sgd=method(1),
      sam=method(2),
      sgd__vs__drw=method(3),
      sam__vs__drw=method(4),
    )
    found = experiment_lib.comparison_table_by_link(content, ['sgd', 'sam'])
    self.assertEqual(
      _cells(found),
      [
        ['accuracy, %', 'balanced, sgd', 'balanced, sam', 'tail, sgd',
         'tail, sam', 'cost, sgd', 'cost, sam'],
        ['ce', '1.0 +- 2.0', '2.0 +- 2.0', '51.0 +- 7.0', '52.0 +- 7.0',
         '1.00', '2.00'],
        ['vs+drw', '3.0 +- 2.0', '4.0 +- 2.0', '53.0 +- 7.0', '54.0 +- 7.0',
         '3.00', '4.00'],
      ],
    )  # fmt: skip


class FindingTest(parameterized.TestCase):
  def test_best_on_the_tail_and_over_all_classes(self):
    content = _content(
      a={'tail': 0.7, 'balanced': 0.6, 'top1': 0.8},
      b={
        'tail': 0.9,
        'balanced': 0.5,
        'top1': 0.93,
        'cost_sgd_steps': 1.234,
      },
      c={'tail': 0.8, 'balanced': 0.7, 'top1': 0.75, 'cost_sgd_steps': 3.0},
    )
    self.assertEqual(
      experiment_lib.finding(content),
      'On the tail classes b is best with 90.0 +- 7.0 %, +20.0 points against '
      'a (+13.0 over all classes), at 1.23 SGD steps per step; mean +- std '
      'over 3 seeds. Over all classes c is best with 70.0 +- 2.0 % balanced '
      'accuracy.',
    )

  def test_one_is_best_at_both(self):
    content = _content(
      a={'tail': 0.7, 'balanced': 0.6, 'top1': 0.9},
      b={'tail': 0.75, 'balanced': 0.7, 'top1': 0.8},
    )
    found = experiment_lib.finding(content)
    self.assertIn('+5.0 points against a (-10.0 over all classes)', found)
    self.assertNotIn('balanced accuracy', found)

  @parameterized.parameters(0.8, 0.7)
  def test_no_gain(self, tail):
    content = _content(
      a={'tail': 0.8, 'balanced': 0.1}, b={'tail': tail}, c={'tail': 0.6}
    )
    self.assertEqual(
      experiment_lib.finding(content),
      'No method is better than a on the tail classes, which reaches 80.0 +- '
      '7.0 %; mean +- std over 3 seeds.',
    )

  @parameterized.parameters(
    (0.8, 0.801, '+0.1'),
    (0.0, 0.25, '+25.0'),
    # As printed: 79.0 and 84.5, though the difference is 5.42.
    (0.79039, 0.84459, '+5.5'),
  )
  def test_any_gain_is_one(self, base, tail, gain):
    # Also from a method that is never right.
    content = _content(a={'tail': base}, b={'tail': tail})
    self.assertIn(f'{gain} points against a', experiment_lib.finding(content))

  @parameterized.parameters(
    ({'a': {'tail': 0.8}},),
    ({'a': {'tail': None}, 'b': {'tail': None}},),
    ({'a': {'tail': 0.8}, 'b': {'tail': None}},),
  )
  def test_nothing_to_compare(self, methods):
    self.assertEqual(
      experiment_lib.finding(_content(**methods)),
      'One method, or no tail classes: nothing to compare.',
    )

  def test_validation_is_named(self):
    content = _content(a={'tail': 0.7}, b={'tail': 0.8}) | {
      'split': 'validation'
    }
    self.assertStartsWith(
      experiment_lib.finding(content),
      'On the tail classes of the validation set b is best with 80.0',
    )
    self.assertIn(
      'better than b on the tail classes of the validation set, which',
      experiment_lib.finding(
        {'methods': {w: content['methods'][w] for w in 'ba'}} | {
          'split': 'validation'
        }
      ),
    )  # fmt: skip
    for table in (
      experiment_lib.comparison_table(content),
      experiment_lib.comparison_table_by_link(
        _content(sgd={}) | {'split': 'validation'}, ['sgd']
      ),
    ):
      self.assertEqual(_cells(table)[0][0], 'validation accuracy, %')

  def test_one_seed_is_one(self):
    content = _content(a={'tail': 0.7}, b={'tail': 0.8})
    content['methods']['b']['tail']['runs'] = 1
    self.assertIn('over 1 seed.', experiment_lib.finding(content))


class BestMethodsTest(parameterized.TestCase):
  def test_the_first_and_the_best_five(self):
    balanced = dict(zip('abcdefgh', [1, 5, 2, 8, 3, 7, 4, 6], strict=True))
    content = _content(
      **{w: {'balanced': b / 10, 'tail': -b} for w, b in balanced.items()}
    )
    self.assertEqual(
      _comparison_tables.best_methods(content), ['a', 'd', 'f', 'h', 'b', 'g']
    )

  def test_six_are_all_drawn_as_they_came(self):
    content = _content(**{w: {'balanced': ord(w) / 200} for w in 'abcdef'})
    self.assertEqual(_comparison_tables.best_methods(content), list('abcdef'))


def _config(words='sgd', **changes):
  changes = {name.replace('__', '.'): value for name, value in changes.items()}
  return experiment_lib.replace(
    experiment_lib.config('digits_lt', words), changes
  )


def _rows(accuracies, counts=(50, 20)):
  """Of per_class.csv, as it is read: as text."""
  return [
    {
      'class': str(c),
      'train_count': str(n),
      'test_count': '7',
      'accuracy': str(a),
      'precision': '0.99',
      'recall': '0.98',
    }
    for c, (n, a) in enumerate(zip(counts, accuracies, strict=True))
  ]


def _summary(**changes):
  return dict.fromkeys(_NAMES, 0.5) | {'seed': 0} | changes


def _comparison(**changes):
  made = {
    'config': _config(optimizer__threshold=30, few_below=20),
    'summaries': {
      'a': [_summary(tail=0.2), _summary(tail=0.4)],
      'b': [_summary(tail=0.6), _summary(tail=0.8)],
    },
    'per_class': {
      'a': [_rows([0.25, 0.0]), _rows([0.5, ''])],
      'b': [_rows([0.75, 1.0]), _rows([0.125, 0.625])],
    },
  }
  return experiment_lib.Comparison(**made | changes)


class ComparisonTest(parameterized.TestCase):
  def test_methods_are_means_over_their_runs(self):
    found = _comparison()
    self.assertEqual(list(found.content['methods']), ['a', 'b'])
    self.assertAlmostEqual(found.methods['b']['tail']['mean'], 0.7)
    self.assertAlmostEqual(found.methods['a']['tail']['std'], 0.02**0.5)
    self.assertNotIn('seed', found.methods['a'])
    self.assertEqual(found.content['split'], 'test')
    self.assertEqual(
      found.table(), experiment_lib.comparison_table(found.content)
    )
    self.assertIn('b is best', found.finding())

  def test_links_choose_the_other_table(self):
    run = [_summary()]
    found = _comparison(
      summaries={'sgd': run, 'sam': run}, links=('sgd', 'sam')
    )
    self.assertEqual(
      found.table(),
      experiment_lib.comparison_table_by_link(found.content, ('sgd', 'sam')),
    )

  @mock.patch.object(metrics, 'plot_accuracy_by_frequency')
  def test_picture(self, plot):
    config = _config(
      optimizer__threshold=30,
      few_below=20,
      data__name='birds',
      final_split='validation',
    )
    found = _comparison(config=config).plot('picture.png')
    self.assertIs(found, plot.return_value)
    (path, counts, accuracies), options = plot.call_args
    self.assertEqual((path, counts), ('picture.png', [50, 20]))
    self.assertEqual(list(accuracies), ['a', 'b'])
    # An empty cell is a class without test examples, 0 an accuracy.
    np.testing.assert_array_equal(accuracies['a'], [[0.25, 0.0], [0.5, np.nan]])
    np.testing.assert_array_equal(
      accuracies['b'], [[0.75, 1.0], [0.125, 0.625]]
    )
    self.assertEqual(
      options,
      {
        'tail_below': 30,
        'title': 'birds: accuracy on the validation set, 2 seeds',
      },
    )

  @mock.patch.object(metrics, 'plot_accuracy_by_frequency')
  def test_picture_of_many(self, plot):
    words = 'abcdefgh'
    _comparison(
      summaries={w: [_summary(balanced=ord(w) / 200)] for w in words},
      per_class={w: [_rows([ord(w) / 200, 0.0])] for w in words},
    ).plot()
    (path, _, accuracies), options = plot.call_args
    self.assertIsNone(path)
    self.assertEndsWith(options['title'], ', 1 seed')
    self.assertEqual(list(accuracies), ['a', 'h', 'g', 'f', 'e', 'd'])
    self.assertEqual(accuracies['g'], [[ord('g') / 200, 0.0]])

  def test_text_tells_how_numbers_are_reported(self):
    found = _comparison()
    self.assertEqual(str(found), f'{found.table()}\n\n{found.finding()}\n')
    found = _comparison(config=_config(best_on_test=True))
    self.assertEqual(
      str(found),
      f'{found.table()}\n\n{found.finding()}\n'
      '\nReported are: best checkpoint on the test set.\n',
    )

  def test_files(self):
    folder = pathlib.Path(tiny.folder(self))
    found = _comparison(config=_config(data__name='birds'))
    found.write(folder, command='what was called')
    self.assertEqual(
      json.loads((folder / 'comparison.json').read_text()), found.content
    )
    text = (folder / 'comparison.md').read_text()
    self.assertStartsWith(text, f'# birds\n\n{found}\n')
    self.assertIn('what was called', text)
    picture = (folder / 'accuracy_by_frequency.png').read_bytes()
    self.assertEqual(picture[1:4], b'PNG')


class _Experiment(experiment_lib.Experiment):
  """Stands for an experiment that nothing was compiled for."""

  def __init__(self, config, data=None, steps_per_call=1, num_params=100_000):
    params = {'kernel': jax.ShapeDtypeStruct((num_params,), np.float32)}
    self.__dict__.update(
      abstract_state=mock.Mock(params=params, frozen={}),
      config=config,
      data=types.SimpleNamespace(class_counts=(9, 4)) if data is None else data,
      num_steps=int(10 * config.epochs),
      steps_per_call=steps_per_call,
      fingerprint={},
    )
    self.__dict__['source'] = self.data

  def expected_cost(self):
    return 2.0 if self.config.optimizer.method == 'sam' else 1.0

  def programs(self):
    return {'one': 0, 'other': 1}

  def __str__(self):
    return f'about {self.config.optimizer.method}'


class CompareTest(parameterized.TestCase):
  """`compare` with runs that leave their files and train nothing."""

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(tiny.folder(self))
    self.built = []
    self.ran = []
    self.stacked = []
    self.compiled = []
    self.said = []
    self.shown = []
    self.steps_per_call = 1
    self.num_params = 100_000
    for module, name, fake in (
      (_build, 'build', self._build),
      (_build, 'build_on', lambda c, data: self._build(c, data=data)),
      (_run, 'run', self._run),
      (_stacked_runs, 'run_stacked', self._run_stacked),
      (compilation, 'compile_ahead', self._compile_ahead),
      (console, 'Progress', self._progress),
      (
        _header,
        'of_comparison',
        lambda first, words, seeds: f'{first}, {[*words]}, {seeds} seeds',
      ),
      # A run takes half a minute.
      (
        _compare,
        'time',
        mock.Mock(perf_counter=itertools.count(step=30.0).__next__),
      ),
      # Takes most of the time.
      (metrics, 'plot_accuracy_by_frequency', mock.Mock()),
    ):
      self.enter_context(mock.patch.object(module, name, fake))
    # Other tests have use for their programs.
    self.enter_context(mock.patch.object(_compare.jax, 'clear_caches'))

  def _build(self, config, *, data=None):
    self.built.append((config.optimizer.method, data))
    return _Experiment(config, data, self.steps_per_call, self.num_params)

  def _leave(self, experiment, seed, workdir):
    self.ran.append((experiment, seed, workdir.relative_to(self.folder)))
    config = experiment_lib.replace(experiment.config, {'seed': seed})
    method = config.optimizer.method
    summary = _summary(
      top1=0.1 * (seed + 1),
      tail={'sgd': 0.2, 'sam': 0.3, 'rsam': None}.get(method, 0.4),
      seconds=12.34,
      seed=seed,
    )
    workdir.mkdir(parents=True)
    training.write_json(workdir / 'config.json', fields.to_json(config))
    training.write_csv(
      workdir / 'per_class.csv',
      [
        {'train_count': 9, 'accuracy': 0.1 * (seed + 1)},
        {'train_count': 4, 'accuracy': None},
      ],
    )
    training.write_json(workdir / 'summary.json', summary)
    return summary

  def _run(self, experiment, *, seed, workdir, progress):
    summary = self._leave(experiment, seed, workdir)
    if progress:
      progress([{'step': experiment.num_steps, 'loss': 0.0}])
    return types.SimpleNamespace(summary=summary)

  def _run_stacked(self, members, *, progress):
    self.stacked.append([(m.experiment, m.seed) for m in members])
    for member in members:
      self._leave(*member)
    progress([])

  def _compile_ahead(self, experiments, *, say):
    assert say == self.said.append
    self.compiled.append([e.config.optimizer.method for e in experiments])

  def _progress(self, total, title):
    entry = [total, title]
    self.shown.append(entry)
    shown = mock.Mock(side_effect=lambda records: entry.append(len(records)))
    shown.close = lambda: entry.append('closed')
    return shown

  def _compare(self, configs, **options):
    return experiment_lib.compare(
      configs,
      workdir=self.folder,
      say=self.said.append,
      **{'progress': True} | options,
    )

  def test_every_method_on_every_seed(self):
    found = self._compare(
      {'sgd': _config('sgd', epochs=2.0), 'sam': _config('sam', epochs=3.0)},
      seeds=2,
      command='mine',
    )
    self.assertEqual(
      [(e.config.optimizer.method, s, str(f)) for e, s, f in self.ran],
      [
        ('sgd', 0, 'sgd/seed_0'),
        ('sgd', 1, 'sgd/seed_1'),
        ('sam', 0, 'sam/seed_0'),
        ('sam', 1, 'sam/seed_1'),
      ],
    )
    self.assertEqual(self.compiled, [['sgd', 'sam']])
    self.assertEmpty(self.stacked)
    self.assertEqual(
      self.said,
      [
        "about sgd, ['sgd', 'sam'], 2 seeds\n",
        # Runs of 20 SGD steps, and of 30 steps that cost two each.
        '1/4 sgd seed 0  top-1 10.0  tail 20.0  12.3 s, about 4 min left',
        '2/4 sgd seed 1  top-1 20.0  tail 20.0  12.3 s, about 3 min left',
        '3/4 sam seed 0  top-1 10.0  tail 30.0  12.3 s, about 54 s left',
        '4/4 sam seed 1  top-1 20.0  tail 30.0  12.3 s',
      ],
    )
    self.assertEqual(
      self.shown,
      [
        [20, '1/4 sgd seed 0', 1, 'closed'],
        [20, '2/4 sgd seed 1', 1, 'closed'],
        [30, '3/4 sam seed 0', 1, 'closed'],
        [30, '4/4 sam seed 1', 1, 'closed'],
      ],
    )
    self.assertEqual(found.config, _config('sgd', epochs=2.0))
    self.assertEqual(
      [[s['seed'] for s in runs] for runs in found.summaries.values()],
      [[0, 1], [0, 1]],
    )
    self.assertEqual([s['tail'] for s in found.summaries['sam']], [0.3, 0.3])
    self.assertEqual(
      [rows[0]['accuracy'] for rows in found.per_class['sam']], ['0.1', '0.2']
    )
    self.assertIn('mine', (self.folder / 'comparison.md').read_text())
    self.assertEqual(found.links, ())

  def test_a_function_is_told_of_which_run_records_are(self):
    found = []
    record = {'step': 20, 'loss': 0.0}
    configs = {'sgd': _config('sgd', epochs=2.0), 'a+b': _config('sam')}
    self._compare(configs, seeds=2, progress=found.append)
    self.assertEqual(
      found[:2],
      [[record | {'method': 'sgd', 'seed': seed}] for seed in (0, 1)],
    )
    self.assertEqual(found[2][0]['method'], 'a+b')
    self.assertLen(found, 4)
    self.assertEmpty(self.shown)

  @parameterized.parameters(False, None)
  def test_nothing_is_shown_unless_asked_for(self, progress):
    self._compare({'sgd': _config('sgd')}, seeds=1, progress=progress)
    self.assertLen(self.ran, 1)
    self.assertEmpty(self.shown)

  def test_complete_runs_are_not_repeated(self):
    configs = {'sgd': _config('sgd'), 'rsam': _config('rsam')}
    self._compare({'sgd': configs['sgd']}, seeds=2)
    del self.ran[:], self.said[:], self.shown[:], self.compiled[:]
    self._compare(configs, seeds=3)
    self.assertEqual(
      [str(folder) for _, _, folder in self.ran],
      ['sgd/seed_2', 'rsam/seed_0', 'rsam/seed_1', 'rsam/seed_2'],
    )
    self.assertEqual(
      self.said[1:5],
      [
        '1/6 sgd  seed 0  top-1 10.0  tail 20.0  12.3 s (complete before)',
        '2/6 sgd  seed 1  top-1 20.0  tail 20.0  12.3 s (complete before)',
        # Of the three of rsam.
        '3/6 sgd  seed 2  top-1 30.0  tail 20.0  12.3 s, about 90 s left',
        '4/6 rsam seed 0  top-1 10.0  tail n/a  12.3 s, about 60 s left',
      ],
    )
    self.assertLen(self.shown, 4)
    self.assertEqual(self.compiled, [['sgd', 'rsam']])
    del self.compiled[:]
    self._compare(configs, seeds=3)
    # Nor is anything compiled for them.
    self.assertEqual(self.compiled, [[]])

  def test_the_same_examples_are_read_once(self):
    other = _config('sam', data__subset_seed=7)
    self._compare(
      {
        'sgd': _config('sgd'),
        'sam': _config('sam', data__sampler='class_balanced'),
        'other': other,
        'vs': _config('sgd,vs'),
      },
      seeds=1,
    )
    first = self.ran[0][0]
    self.assertEqual(
      self.built,
      [('sgd', None), ('sam', first.data), ('sam', None), ('sgd', first.data)],
    )

  def test_an_experiment_is_taken_as_it_is(self):
    own = _Experiment(_config('sam'))
    found = self._compare({'own': own, 'sgd': _config('sgd')}, seeds=1)
    self.assertIs(self.ran[0][0], own)
    self.assertEqual(self.built, [('sgd', own.data)])
    self.assertEqual(found.config, own.config)

  def test_eight_are_compiled_together(self):
    words = [f'm{k}' for k in range(9)]
    found = self._compare({word: _config('sgd') for word in words}, seeds=1)
    self.assertEqual([len(group) for group in self.compiled], [8, 1])
    # The ninth is not built yet, and counts as the others.
    self.assertEndsWith(self.said[1], ', about 4 min left')
    self.assertEqual(_compare.jax.clear_caches.call_count, 1)
    self.assertEqual(list(found.summaries), words)
    # The first is built once, for its header and its runs.
    self.assertLen(self.built, 9)

  def test_what_does_not_fit_is_said_before_anything_runs(self):
    bad = _config('sam', optimizer__rho=-1.0)
    with self.assertRaises(experiment_lib.ConfigError):
      self._compare({'sgd': _config('sgd'), 'sam': bad}, seeds=1)
    own = _config('sam', data__name='own')
    with self.assertRaisesRegex(experiment_lib.ConfigError, "is 'own'"):
      self._compare({'sgd': _config('sgd'), 'sam': own}, seeds=1)
    self.assertEmpty(self.ran)

  def test_methods_that_a_table_by_link_has_no_place_for(self):
    for words in (['sgd', 'sam', 'sgd+vs'], ['sgd', 'vs']):
      with self.assertRaisesRegex(
        experiment_lib.ConfigError, r'the methods must be sgd, sam, sgd\+vs'
      ):
        experiment_lib.compare(
          dict.fromkeys(words, _config('sgd')), links=('sgd', 'sam')
        )

  @parameterized.parameters(({}, 1), ({'sgd': None}, 0))
  def test_nothing_to_run(self, configs, seeds):
    with self.assertRaisesRegex(experiment_lib.ConfigError, 'at least'):
      self._compare(configs, seeds=seeds)

  def _groups(self):
    return [
      [(e.config.optimizer.method, e.config.optimizer.rho, s) for e, s in group]
      for group in self.stacked
    ]

  def test_runs_that_fit_are_stacked(self):
    self._compare({'wide': _config('sam', optimizer__rho=0.2)}, seeds=1)
    del self.ran[:]
    self._compare(
      {
        'sam': _config('sam', optimizer__rho=0.1),
        'sgd': _config('sgd', optimizer__rho=0.1),
        'wide': _config('sam', optimizer__rho=0.2),
      },
      seeds=2,
      stacked=True,
    )
    self.assertEqual(
      self._groups(),
      [
        [('sam', 0.1, 0), ('sam', 0.1, 1), ('sam', 0.2, 1)],
        [('sgd', 0.1, 0), ('sgd', 0.1, 1)],
      ],
    )
    self.assertLen(self.ran, 5)
    self.assertEqual(
      [entry[1:] for entry in self.shown[-2:]],
      [['3 stacked runs', 0, 'closed'], ['2 stacked runs', 0, 'closed']],
    )
    self.assertEqual(self.shown[-1][0], 400)
    self.assertEqual(
      self.said[3:5],
      [
        '3 of 6 runs go side by side: compiling 2 programs ...',
        '2 of 6 runs go side by side: compiling 2 programs ...',
      ],
    )
    # One was complete, the others have just been trained.
    self.assertEqual(
      [line for line in self.said if 'complete before' in line],
      ['5/6 wide seed 0  top-1 10.0  tail 30.0  12.3 s (complete before)'],
    )

  def test_a_run_alone_is_not_stacked(self):
    self._compare({'sam': _config('sam')}, seeds=1, stacked=True)
    self.assertEmpty(self.stacked)
    self.assertLen(self.ran, 1)

  @parameterized.parameters((1, None, 0), (2, None, 1), (2, False, 0))
  def test_stacked_where_several_steps_are_one_call(
    self, steps, stacked, number
  ):
    self.steps_per_call = steps
    self._compare({'sam': _config('sam')}, seeds=2, stacked=stacked)
    self.assertLen(self.stacked, number)
    self.assertLen(self.ran, 2)

  def test_runs_of_a_large_network_are_stacked_only_where_one_says_so(self):
    self.steps_per_call = 10
    self.num_params = 100_001
    self._compare({'sam': _config('sam')}, seeds=2, stacked=None)
    self.assertEmpty(self.stacked)
    self._compare({'rsam': _config('rsam')}, seeds=2, stacked=True)
    self.assertLen(self.stacked, 1)

  def test_without_a_folder(self):
    # Folders are noted from here on.
    self.folder = pathlib.Path(self.folder.anchor)
    found = experiment_lib.compare(
      {'sgd': _config('sgd'), 'sgd+vs': _config('sgd,vs')},
      seeds=3,
      stacked=True,
      links=['sgd'],
      say=self.said.append,
      progress=True,
    )
    self.assertLen(found.summaries['sgd+vs'], 3)
    self.assertEqual(found.links, ('sgd',))
    self.assertLen(self.stacked, 2)
    self.assertLen(self.said, 1 + 2 + 6)
    self.assertLen(self.shown, 2)
    for _, _, folder in self.ran:
      self.assertFalse((self.folder / folder).exists())


class FitsTest(parameterized.TestCase):
  """Which runs go side by side."""

  def _fits(self, one, other):
    one, other = _Experiment(one), _Experiment(other)
    found = _stacked_runs.fits(one, other)
    self.assertEqual(_stacked_runs.fits(other, one), found)
    return found

  def test_radii_may_differ(self):
    one = _config('sam', optimizer__rho=0.1)
    self.assertTrue(self._fits(one, _config('sam', optimizer__rho=0.2)))
    self.assertTrue(self._fits(one, one))

  @parameterized.parameters(
    {'optimizer__rho': 0.0},
    {'optimizer__learning_rate': 0.7},
    {'optimizer__head_rho': 0.2},
    {'data__sampler': 'instance'},
    {'epochs': 7.0},
    {'seed': 1},
  )
  def test_nothing_else_may(self, **changes):
    one = _config('sam', optimizer__rho=0.1)
    self.assertFalse(self._fits(one, _config('sam', **changes)))

  @parameterized.parameters('data__name', 'model__name', 'objective__loss')
  def test_own_parts_are_alike_in_name_only(self, name):
    config = _config('sam', **{name: 'own'})
    self.assertFalse(self._fits(config, config))
    one = _Experiment(config)
    self.assertTrue(_stacked_runs.fits(one, one))


if __name__ == '__main__':
  absltest.main()
