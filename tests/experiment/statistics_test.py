# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Mean and deviation over runs, tables of metrics, and the header of a run."""

import types

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from imbsam_jax import experiment as experiment_lib
from imbsam_jax._runs import console
from imbsam_jax._runs import statistics
from imbsam_jax.experiment import _header
from imbsam_jax.experiment import _scores


class OverRunsTest(parameterized.TestCase):
  def test_mean_and_sample_deviation(self):
    found = statistics.over_runs([{'top1': 0.5}, {'top1': 0.6}, {'top1': 1.0}])
    self.assertEqual(list(found), ['top1'])
    self.assertAlmostEqual(found['top1']['mean'], 0.7)
    # That of a population would be 0.216.
    self.assertAlmostEqual(found['top1']['std'], 0.07**0.5)
    self.assertEqual(found['top1']['runs'], 3)

  def test_neither_seeds_nor_texts_nor_switches(self):
    run = {
      'seed': 1,
      'steps': 20,
      'method': 'sgd',
      'versions': {},
      'kept': True,
      'tail': 0.5,
    }
    found = statistics.over_runs([run, run | {'seed': 2, 'steps': 30}])
    self.assertEqual(list(found), ['steps', 'tail'])
    self.assertEqual(found['steps']['mean'], 25)

  def test_none_is_left_out(self):
    found = statistics.over_runs(
      [{'many': None}, {'many': 0.4}, {'many': None}, {'many': 0.8}]
    )['many']
    self.assertAlmostEqual(found['mean'], 0.6)
    self.assertAlmostEqual(found['std'], 0.8**0.5 * 0.1 * 10**0.5)
    self.assertEqual(found['runs'], 2)

  @parameterized.parameters(
    ([None], {'mean': None, 'std': None, 'runs': 0}),
    ([None, None], {'mean': None, 'std': None, 'runs': 0}),
    ([0.0], {'mean': 0.0, 'std': 0.0, 'runs': 1}),
    ([None, 0.5], {'mean': 0.5, 'std': 0.0, 'runs': 1}),
  )
  def test_of_no_run_and_of_one(self, values, expected):
    found = statistics.over_runs([{'x': value} for value in values])
    self.assertEqual(found, {'x': expected})

  @parameterized.parameters(
    ({'mean': 0.4567, 'std': 0.01234}, '45.7 +- 1.2'),
    ({'mean': 0.0, 'std': 0.0}, '0.0 +- 0.0'),
    ({'mean': None, 'std': None}, 'n/a'),
  )
  def test_mean_std(self, found, text):
    self.assertEqual(statistics.mean_std(found), text)


class TextTest(parameterized.TestCase):
  @parameterized.parameters(
    (0.4567, '45.7'), (0.0, '0.0'), (1.0, '100.0'), (None, 'n/a')
  )
  def test_percent(self, value, text):
    self.assertEqual(console.percent(value), text)

  def test_names_are_on_the_left_and_numbers_on_the_right(self):
    self.assertEqual(
      console.markdown_table(
        ['method', 'x'], [['a', '10.0'], ['bcdefghi', '1']]
      ),
      '| method   |    x |\n'
      '| :------- | ---: |\n'
      '| a        | 10.0 |\n'
      '| bcdefghi |    1 |',
    )

  def test_fields_are_aligned(self):
    self.assertEqual(
      console.fields({'a': '1', 'long': '2'}), 'a     1\nlong  2'
    )

  def test_every_metric_stands_under_its_name(self):
    scores = {
      'ece': 0.01,
      'top1': 0.02,
      'balanced': 0.03,
      'many': 0.04,
      'medium': None,
      'few': 0.06,
      'head': 0.07,
      'tail': 0.08,
      'worst_class': 0.09,
      'g_mean': 0.10,
      'macro_f1': 0.11,
      'other': 0.5,
    }
    names, rule, numbers = [
      [cell.strip() for cell in line.split('|')[1:-1]]
      for line in _scores.scores_table(scores).splitlines()
    ]
    self.assertTrue(all(set(cell) <= set(':-') for cell in rule))
    self.assertEqual(
      dict(zip(names, numbers, strict=True)),
      {
        'top-1': '2.0',
        'balanced': '3.0',
        'many': '4.0',
        'medium': 'n/a',
        'few': '6.0',
        'head': '7.0',
        'tail': '8.0',
        'worst': '9.0',
        'G-mean': '10.0',
        'macro-F1': '11.0',
        'ECE': '1.0',
      },
    )
    self.assertEqual(
      experiment_lib.Evaluation(scores, []).table(),
      _scores.scores_table(scores),
    )
    self.assertEqual(
      experiment_lib.Result(None, scores, [], [], None).table(),
      _scores.scores_table(scores),
    )


class HeaderTest(parameterized.TestCase):
  @parameterized.parameters(
    ('split', 'head and tail rows apart'),
    ('joint', 'all rows joint'),
    (
      'tail_only',
      'perturbed passes of the tail alone (an approximation)',
    ),
  )
  def test_every_number(self, layout, text):
    config = experiment_lib.replace(
      experiment_lib.config('digits_lt', 'imbsam,ldam_drw'),
      {
        'data.name': 'birds',
        'data.batch_size': 48,
        'model.name': 'mlp',
        'model.norm': 'none',
        'optimizer.threshold': 40,
        'epochs': 2.5,
        'seed': 3,
        'many_above': 70,
        'few_below': 9,
      },
    )
    # Neither in order of frequency, nor any at the edge of a group alone.
    counts = np.array([40, 8, 71, 39, 90, 70, 9])
    experiment = types.SimpleNamespace(
      config=config,
      data=types.SimpleNamespace(
        class_counts=counts,
        validation=types.SimpleNamespace(labels=np.zeros(14)),
        test=types.SimpleNamespace(labels=np.zeros(21)),
        files=None,
        notes=(),
      ),
      num_train=counts.sum(),
      abstract_state=types.SimpleNamespace(
        params={
          'kernel': jax.ShapeDtypeStruct((300, 7), np.float32),
          'bias': jax.ShapeDtypeStruct((7,), np.float32),
        },
        frozen={},
      ),
      head='cosine',
      layout=layout,
      num_steps=18,
      mesh=types.SimpleNamespace(
        size=4,
        devices=np.array([types.SimpleNamespace(platform='tpu')] * 4),
      ),
      expected_cost=lambda: 1.2345,
      foundation=None,
      bases=None,
      search=None,
      auxiliary=None,
    )
    self.assertEqual(
      _header.header(experiment).splitlines(),
      [
        'data    birds, 7 classes, 327 training images (90 to 8 per class, '
        'imbalance factor 11.25), 14 validation, 21 test',
        # 56 of 327 images: 8, 39 and 9.
        'groups  2 many (> 70), 4 medium, 1 few (< 9); tail (< 40): 3 classes, '
        '17.1% of the images',
        'model   mlp, no norm, cosine head, 2,107 parameters',
        f'method  imbsam ldam drw, {text}, expected cost 1.23 SGD steps',
        'run     2.5 epochs, 18 steps of 48 on 4 tpu devices, seed 3',
      ],
    )
    self.assertEqual(
      _header.of_comparison(
        experiment, dict.fromkeys(('sgd', 'sam')), 3
      ).splitlines()[2:],
      [
        'model    mlp, no norm, 2,107 parameters with sgd',
        'methods  sgd, sam',
        'runs     6 runs, seeds 0 to 2 of each method; 2.5 epochs, 18 steps of '
        '48 on 4 tpu devices each',
      ],
    )
    words = [f'm{k}' for k in range(14)]
    found = _header.of_comparison(experiment, dict.fromkeys(words), 1)
    self.assertIn(', m10, m11 and 2 more\n', found)
    self.assertIn('14 runs, seed 0 of each method', found)
    experiment.data.validation = None
    self.assertIn(', 0 validation, 21 test', _header.header(experiment))
    self.assertEqual(self._model(experiment, head='cosine', norm='batch'), (
      'your own network, BatchNorm, cosine head, 2,107 parameters'
    ))  # fmt: skip
    self.assertEqual(
      self._model(experiment, head='linear', norm='none'),
      'your own network, 2,107 parameters',
    )
    experiment.mesh.size = 1
    experiment.config = experiment_lib.replace(
      config, {'optimizer.threshold': 9}
    )
    found = _header.header(experiment)
    self.assertIn('tail (< 9): 1 class, 2.4%', found)
    self.assertIn(' on 1 tpu device, seed 3', found)

  def _model(self, experiment, *, head, norm):
    """The line of a network of one's own."""
    experiment.head = head
    experiment.config = experiment_lib.replace(
      experiment.config, {'model.name': 'own', 'model.norm': norm}
    )
    line = _header.header(experiment).splitlines()[2]
    return line.removeprefix('model   ')


if __name__ == '__main__':
  absltest.main()
