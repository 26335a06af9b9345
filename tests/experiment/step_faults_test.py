# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Faults F8 to F13: steps that are not finite, batches of unusual groups."""

import dataclasses
import functools
import json
from unittest import mock
import warnings

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imbsam_jax import data
from imbsam_jax import experiment as experiment_lib
from imbsam_jax import losses
from imbsam_jax import training
from imbsam_jax._runs import console
from tests import programs
from tests import trees
from tests.experiment import runs
from tests.training import tiny_training as tiny

pytestmark = pytest.mark.faults

_config = functools.partial(
  runs.small_config, epochs=1.0, data__validation_per_class=0
)
methods = training.update_rules
# Of classes in the digits; those below 20 are tail.
_COUNTS = (100, 70, 50, 30, 20, 10, 5, 3, 2, 1)


def _learned(state):
  """What a skipped step leaves as it is, copied off buffers it may donate."""
  kept = (
    state.params,
    state.model_state,
    state.ema_params,
    state.opt_state.inner_state,
  )
  return jax.tree.map(lambda x: np.array(x, copy=True), kept)


def _images(labels):
  return np.random.RandomState(0).randn(len(labels), 6).astype(np.float32)


def _batch(images, labels, group_weights_by_class, layout, **options):
  """One batch of all of them."""
  examples = data.Examples(images, np.asarray(labels, np.int32))
  order = data.shuffled_order(len(labels), batch_size=len(labels), seed=0)
  make = data.split_batches if layout == 'split' else data.joint_batches
  return make(order, examples, group_weights_by_class, **options)[0]


_METHODS = {
  'sgd': lambda rho: methods.sgd(tiny.COUNTS),
  'sam': lambda rho: methods.sam(tiny.COUNTS, rho),
  'imbsam': lambda rho: methods.imbsam(tiny.COUNTS, rho, threshold=10),
  'sse_sam': lambda rho: methods.sse_sam(
    tiny.COUNTS, rho, rho, threshold=10, switch_step=9
  ),
  'focal_sam': lambda rho: methods.focal_sam(
    tiny.COUNTS, rho, gamma=1.0, lam=0.8
  ),
}
# With the layout of the rows.
_PERTURBED = [
  ('imbsam', 'joint'),
  ('imbsam', 'split'),
  *(
    pytest.param(*both, marks=pytest.mark.extended)
    for both in (
      *((word, 'joint') for word in ('sam', 'sse_sam', 'focal_sam')),
      ('sse_sam', 'split'),
    )
  ),
]


@functools.cache
def _made(word, **options):
  """Initial state and step, which tests share: compiling takes most time."""
  return tiny.make(_METHODS[word](0.3), weight_decay=0.01, **options)


# --------------------------------------------------------------------- F8


@pytest.mark.extended
def test_f8_bad_image_costs_its_steps_only(tmp_path, tfds_dir, capsys):
  changes = {'model__norm': 'batch', 'epochs': 2.0}
  experiment = experiment_lib.build(_config(tfds_dir, **changes))
  # Whoever reads data refuses NaN: it must come in later.
  row = 17
  images = np.array(experiment.data.train.images, np.float32)
  images[row, 3, 3] = np.nan
  experiment = dataclasses.replace(
    experiment, resident_images=training.replicate(experiment.mesh, images)
  )
  batches = experiment.batches(0)
  bad = [
    step + 1
    for step in range(experiment.num_steps)
    if row in batches[step].rows['image']
  ]
  assert 0 < len(bad) < 4
  unchanged = []
  fit = training.fit

  def watching_fit(state, train_step, batches, **options):
    def watched(number):
      def step(state, batch):
        before = _learned(state)
        after, metrics = train_step(number)(state, batch)
        if metrics['skipped']:
          unchanged.append(number + 1)
          trees.assert_equal(_learned(after), before)
        else:
          trees.assert_differ(_learned(after)[0], before[0], 0.0)
          trees.assert_differ(_learned(after)[1], before[1], 0.0)
        return after, metrics

      return step

    return fit(state, watched, batches, **options)

  progress = console.Progress(experiment.num_steps, 'bad')
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(training, 'fit', watching_fit)
    summary = experiment_lib.run(
      experiment, seed=0, workdir=tmp_path, progress=progress
    ).summary
  progress.close()
  assert unchanged == bad
  assert summary['skipped_steps'] == len(bad)
  assert summary['steps'] == experiment.num_steps
  lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
  noted = [r['step'] for r in map(json.loads, lines) if r.get('skipped')]
  assert noted == bad
  printed = capsys.readouterr().out.splitlines()
  assert printed == [
    f'step {step}: the update was not finite and was skipped' for step in bad
  ]


# --------------------------------------------------------------------- F9


@pytest.mark.extended
def test_f9_program_exits_4_and_leaves_finite_checkpoints(tmp_path, tfds_dir):
  # Builds, so that the digits are prepared.
  experiment = experiment_lib.build(_config(tfds_dir))
  changes = {
    'model.name': 'mlp',
    'epochs': 2.0,
    'save_every': 0.2,
    'data.batch_size': 32,
    'data.data_dir': tfds_dir,
    'data.validation_per_class': 0,
    # The first step leaves huge parameters; no gradient is finite there.
    'optimizer.learning_rate': 1e25,
  }
  # The second time from the checkpoint after step 5.
  for _ in range(2):
    done = programs.run(
      'experiments.train',
      f'--workdir={tmp_path}',
      '--config=experiments/configs/digits_lt.py:imbsam',
      *(f'--config.{name}={value}' for name, value in changes.items()),
    )
    assert done.returncode == 4, done.stderr
    assert 'Traceback' not in done.stderr
    assert 'error: too many updates in a row were not finite' in done.stderr
    # The limit is 5.
    assert 'steps 2 to 7. None was applied' in done.stderr
    assert not (tmp_path / 'summary.json').exists()
  reports = training.inspect_checkpoints(
    tmp_path / 'checkpoints', contents=True
  )
  assert [(r.step, r.status) for r in reports] == [(3, 'good'), (5, 'good')]
  with training.Checkpoints(
    tmp_path / 'checkpoints', read_only=True
  ) as checkpoints:
    for report in reports:
      state, _ = checkpoints.restore(experiment.init(0), report.step)
      chex.assert_tree_all_finite(_learned(state))
      assert max(np.abs(x).max() for x in tiny.leaves(state.params)) > 1e20


# -------------------------------------------------------------------- F10


@pytest.mark.parametrize(('word', 'layout'), _PERTURBED)
def test_f10_overflow_at_the_perturbed_point_only(word, layout):
  # The largest float is 3.4e38.
  method = _METHODS[word](lambda count: jnp.where(count == 1, 3e38, 0.1))
  state, train_step = tiny.make(
    # BatchNorm ties rows together, so that they cannot be split.
    method,
    batch_norm=layout == 'joint',
    ema_decay=0.9,
  )
  batches = tiny.batches(method, split=layout == 'split')
  state, metrics = train_step(0)(state, batches[0])
  assert not metrics['skipped']
  after, metrics = train_step(1)(state, batches[1])
  assert np.isfinite(metrics['loss'])
  assert metrics['skipped'] and not metrics['exhausted']
  assert (after.opt_state.skipped, after.step) == (1, 2)
  trees.assert_equal(_learned(after), _learned(state))


# -------------------------------------------------------------------- F11


def _step(word, labels, layout, *, batch_norm, factor=1.0):
  """One step from the start, with `factor` on the tail's or SAM's loss."""
  options = {'tail_weight': factor} if word == 'imbsam' else {}
  group_weights_by_class = (
    methods.imbsam(tiny.COUNTS, 0.3, threshold=10, **options)
    if word == 'imbsam'
    else _METHODS[word](0.3)
  ).group_weights_by_class
  if word == 'sam':
    group_weights_by_class = group_weights_by_class * np.float32(factor)
  state, train_step = _made(word, batch_norm=batch_norm)
  after, metrics = train_step(0)(
    state, _batch(_images(labels), labels, group_weights_by_class, layout)
  )
  assert not metrics['skipped']
  return after.params, after.model_state


@pytest.mark.parametrize(
  ('layout', 'batch_norm'),
  [('joint', False), ('joint', True), ('split', False)],
)
class TestF11Groups:
  def test_f11_batch_without_tail_is_the_sgd_step(self, layout, batch_norm):
    labels = [0, 0, 1, 0] * 4
    trees.assert_equal(
      _step('imbsam', labels, layout, batch_norm=batch_norm),
      _step('sgd', labels, 'joint', batch_norm=batch_norm),
    )

  @pytest.mark.parametrize('factor', [1.0, 2.0])
  def test_f11_batch_of_tail_only_is_the_sam_step(
    self, layout, batch_norm, factor
  ):
    labels = [2, 3, 2, 2] * 4
    options = {'batch_norm': batch_norm, 'factor': factor}
    trees.assert_equal(
      _step('imbsam', labels, layout, **options),
      _step('sam', labels, 'joint', **options),
    )


@pytest.fixture(scope='module')
def shuffled(tfds_dir):
  """Of 22 steps, with any number of tail rows; one class has one example."""
  config = _config(
    tfds_dir, data__class_counts=_COUNTS, data__stratify=False, epochs=2.4
  )
  choose = data.choose_tail_sizes
  # Sizes are chosen by the batches of seed 0; one compiles faster than four.
  with mock.patch.object(
    data,
    'choose_tail_sizes',
    lambda *found, **options: choose(*found, **options | {'num_sizes': 1}),
  ):
    return experiment_lib.build(config)


@pytest.mark.extended
def test_f11_class_of_one_example(shuffled, tmp_path):
  batches = shuffled.batches(0)
  examples = [
    np.concatenate(
      [
        rows['image'][weights != 0]
        for rows, weights in zip(batch.rows, batch.weights, strict=True)
      ]
    )
    for batch in (batches[step] for step in range(shuffled.num_steps))
  ]
  [only] = np.flatnonzero(shuffled.data.train.labels == 9)
  assert sum(int((rows == only).sum()) for rows in examples) >= 2
  summary = experiment_lib.run(shuffled, seed=0, workdir=tmp_path).summary
  assert summary['skipped_steps'] == 0
  assert np.isfinite(summary['train_loss'])
  rows = training.read_csv(tmp_path / 'per_class.csv')
  assert [int(row['train_count']) for row in rows] == list(_COUNTS)
  assert all(0 <= float(row['accuracy']) <= 1 for row in rows)


@pytest.mark.extended
def test_f11_threshold_above_all_counts_is_sam_and_warns_once(
  tmp_path, tfds_dir
):
  found = {}
  with warnings.catch_warnings(record=True) as caught:
    # As the programs have it.
    warnings.simplefilter('default')
    for word in ('imbsam', 'sam'):
      config = _config(
        tfds_dir, word, optimizer__threshold=1000, optimizer__rho=0.1
      )
      found[word] = experiment_lib.run(
        experiment_lib.build(config), seed=0, workdir=tmp_path / word
      ).summary
  messages = [str(w.message) for w in caught if w.category is UserWarning]
  assert len(messages) == 1, messages
  assert '`threshold`=1000 makes every class tail' in messages[0]
  assert found['imbsam']['skipped_steps'] == 0
  for name in ('params_sha256', 'train_loss', 'top1', 'ece'):
    assert found['imbsam'][name] == found['sam'][name]


@pytest.mark.parametrize('word', ['imbsam', 'sse_sam'])
def test_f11_threshold_below_all_counts_is_refused(word, tfds_dir):
  config = _config(tfds_dir, word, optimizer__threshold=5)
  with pytest.raises(
    experiment_lib.ConfigError,
    match='leaves no tail class .* 5 images.*threshold=6` or',
  ):
    experiment_lib.build(config)


# -------------------------------------------------------------------- F12


class _Dead(nn.Module):
  """ReLUs that give nothing, and no gradient, for negative images."""

  @nn.compact
  def __call__(self, images, *, train):
    del train
    x = nn.Dense(8, use_bias=False, kernel_init=_positive)(images)
    return nn.Dense(len(tiny.COUNTS), use_bias=False)(nn.relu(x))


def _positive(key, shape, dtype=jnp.float32):
  return jax.random.uniform(key, shape, dtype, 0.1, 1.0)


@functools.cache
def _dead_parts(word, adaptive=False):
  rho = 0.3
  method = (
    methods.imbsam(tiny.COUNTS, rho, threshold=10, adaptive=True)
    if adaptive
    else _METHODS[word](rho)
  )
  tx = training.make_optimizer(method.stages[0].link, 0.1, momentum=0.9)
  state = training.create_train_state(
    _Dead(), tx, jax.random.key(0), jnp.zeros((1, 6))
  )
  step = jax.jit(
    training.make_train_step(_Dead(), tx, losses.cross_entropy, lambda x: x)
  )
  return method, state, step


def _dead_step(word, layout, dead, **options):
  """Parameters before and after a step; `dead` labels have no gradient."""
  labels = np.array([0, 1, 2, 3, 2, 0, 0, 1] * 2)
  images = np.abs(_images(labels))
  images[np.isin(labels, dead)] *= -1
  method, state, step = _dead_parts(word, **options)
  after, metrics = step(
    state, _batch(images, labels, method.group_weights_by_class, layout)
  )
  assert not metrics['skipped']
  assert np.isfinite(metrics['loss'])
  return state.params, after.params


@pytest.mark.parametrize(('word', 'layout'), _PERTURBED)
def test_f12_no_gradient_at_all_moves_nothing(word, layout):
  before, after = _dead_step(word, layout, (0, 1, 2, 3))
  trees.assert_equal(after, before)


@pytest.mark.parametrize('adaptive', [False, True])
@pytest.mark.parametrize('layout', ['joint', 'split'])
def test_f12_tail_without_gradient_is_the_sgd_step(layout, adaptive):
  before, found = _dead_step('imbsam', layout, (2, 3), adaptive=adaptive)
  _, expected = _dead_step('sgd', 'joint', (2, 3))
  trees.assert_differ(found, before, 0.001)
  trees.assert_close(found, expected, 1e-7)


# -------------------------------------------------------------------- F13


@pytest.mark.parametrize('tail_sizes', [(0,), (1, 5)])
def test_f13_more_tail_rows_than_the_largest_size(tail_sizes):
  method = _METHODS['imbsam'](0.3)
  labels = [2, 3, 2, 0, 1, 2, 0, 0] * 2
  rows = (_images(labels), labels, method.group_weights_by_class)
  split = _batch(*rows, 'split', tail_sizes=tail_sizes)
  # Every row is there once, the tail in passes as large as the batch.
  assert [int((w != 0).sum()) for w in split.weights] == [8, 8]
  assert len(split.weights[1]) == 16
  state, train_step = _made('imbsam', batch_norm=False)
  found, metrics = train_step(0)(state, split)
  expected, joint_metrics = train_step(0)(state, _batch(*rows, 'joint'))
  trees.assert_close(found.params, expected.params, 1e-6)
  trees.assert_close(metrics['loss'], joint_metrics['loss'], 1e-6)
  cost = training.step_cost(method.stage(0), split, batch_size=16)
  assert cost == (16 - 1 - tail_sizes[-1] + 2 * 16) / 16


@pytest.mark.extended
def test_f13_run_with_unforeseen_numbers_of_tail_rows(shuffled, tmp_path):
  planned = shuffled.programs()

  def unforeseen(seed):
    batches = shuffled.batches(seed, decode=False)
    return [
      step
      for step in range(shuffled.num_steps)
      if shuffled.program(step, batches[step]) not in planned
    ]

  # Compiling in the first epoch is expected.
  seed, steps = next(
    (seed, steps)
    for seed in range(1, 999)
    if (steps := unforeseen(seed)) and steps[0] >= shuffled.steps(1)
  )
  summary = experiment_lib.run(shuffled, seed=seed, workdir=tmp_path).summary
  assert summary['skipped_steps'] == 0
  assert summary['step_programs_after_first_epoch'] == 1
  lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
  costs = [json.loads(line)['cost'] for line in lines]
  # The tail takes two passes as large as the batch.
  assert [step for step, cost in enumerate(costs) if cost > 2] == steps
