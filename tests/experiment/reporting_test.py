# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How results are reported, and runs that share a program or a call."""

import functools
import json
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imbsam_jax import experiment as experiment_lib
from imbsam_jax import training
from imbsam_jax._runs import compilation
from tests import programs
from tests.experiment import runs

_config = functools.partial(runs.small_config, epochs=3.0)


class _Linear:
  """Stands for a model: logits that a mirror image changes."""

  def apply(self, variables, images, *, train):
    assert not train
    return images.reshape(len(images), -1) @ variables['w']


def test_flip_adds_the_logits_of_the_mirror_image():
  rng = np.random.RandomState(0)
  images = rng.randn(40, 4, 3, 2).astype(np.float32)
  variables = {'w': rng.randn(24, 3).astype(np.float32)}
  predict = training.make_predict_step(_Linear(), jnp.asarray, flip=True)
  classes, confidences = predict(variables, images)
  flat = [
    x.reshape(40, -1) @ variables['w'] for x in (images, images[:, :, ::-1])
  ]
  logits = (flat[0] + flat[1]) / 2
  probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  np.testing.assert_array_equal(classes, logits.argmax(1))
  np.testing.assert_allclose(confidences, probabilities.max(1), rtol=1e-5)
  assert (np.asarray(classes) != flat[0].argmax(1)).any()


def test_best_on_test_is_not_validation(tfds_dir):
  with pytest.raises(ValueError, match='best_on_test. reports the test set'):
    experiment_lib.check_config(
      _config(tfds_dir, best_on_test=True, final_split='validation')
    )


def test_programs_of_shuffled_batches_are_known_ahead(tfds_dir):
  experiment = experiment_lib.build(_config(tfds_dir, data__stratify=False))
  planned = experiment.programs()
  batches = experiment.batches(0, decode=False)
  found = {
    experiment.program(step, batches[step])
    for step in range(experiment.num_steps)
  }
  assert 1 < len(found) <= len(planned)
  assert found <= set(planned)


def test_several_steps_in_a_call_have_one_program(tfds_dir):
  config = _config(tfds_dir, data__stratify=False)
  experiment = experiment_lib.build(config, steps_per_call=4)
  (planned,) = experiment.programs()
  batches = experiment.batches(1, decode=False)
  for step in range(experiment.num_steps):
    assert experiment.program(step, batches[step]) == planned
  # And it is compiled before the run.
  with (
    mock.patch.object(experiment.scanned_steps[planned.kind], 'lower') as lower,
    mock.patch.object(experiment.train_steps[planned.kind], 'lower'),
  ):
    compilation.compile_ahead([experiment])
  (state, stacked), _ = lower.call_args
  assert state is experiment.abstract_state
  assert [x.shape for x in stacked.weights] == [
    (4, *shape) for shape in planned.shapes
  ]


@pytest.mark.extended
def test_several_steps_in_a_call(tfds_dir, tmp_path):
  config = _config(tfds_dir)
  experiments = [experiment_lib.build(config, steps_per_call=n) for n in (1, 4)]
  one, four = (
    experiment_lib.run(experiment, seed=0, workdir=tmp_path / str(k)).summary
    for k, experiment in enumerate(experiments)
  )
  for name in ('top1', 'tail', 'cost_sgd_steps', 'steps'):
    assert one[name] == pytest.approx(four[name], abs=0.01)
  assert one['train_loss'] == pytest.approx(four['train_loss'], rel=1e-4)
  # The usual report, by the way.
  assert one['reporting'] == 'last step'
  assert one['reported_step'] == experiments[0].num_steps == one['steps']
  assert one['step_programs'] == 1  # Stratified.
  assert one['step_programs_after_first_epoch'] == 0


@pytest.mark.extended
def test_stacked_runs_are_the_runs(tfds_dir, tmp_path):
  configs = {
    f'imbsam@{rho}': _config(tfds_dir, optimizer__rho=rho) for rho in (0.1, 0.3)
  } | {'sgd': _config(tfds_dir, 'sgd')}
  found = {}
  for name in (True, False):
    folder = tmp_path / str(name)
    experiment_lib.compare(configs, seeds=2, workdir=folder, stacked=name)
    found[name] = {
      path.parent.relative_to(folder): json.loads(path.read_text())
      for path in folder.glob('*/*/summary.json')
    }
  assert len(found[True]) == len(found[False]) == 6
  for folder, alone in found[False].items():
    together = found[True][folder]
    # Four of ImbSAM in one program, two of SGD in another.
    assert together['side_by_side'] == (2 if folder.parts[0] == 'sgd' else 4)
    assert together['train_loss'] == pytest.approx(
      alone['train_loss'], rel=1e-4
    )
    assert together['top1'] == pytest.approx(alone['top1'], abs=0.01)
    assert together['seed'] == alone['seed']
  losses = {found[True][f]['train_loss'] for f in found[True]}
  assert len(losses) == 6


@pytest.mark.parametrize('layout', ['bfloat16', 'per_device', 'tail_only'])
@pytest.mark.extended
def test_other_ways_to_train(tfds_dir, tmp_path, layout):
  changes = {
    'bfloat16': {'model__dtype': 'bfloat16'},
    'per_device': {'optimizer__ascent': 'per_device'},
    'tail_only': {'optimizer__rows': 'tail_only', 'model__norm': 'batch'},
  }[layout]
  config = _config(
    tfds_dir, model__name='small_conv_net', epochs=1.0, **changes
  )
  experiment = experiment_lib.build(config)
  state = experiment.init(0)
  before = jax.device_get(state.params)
  batches = experiment.batches(0)
  for step in range(2):
    train_step = experiment.train_step(step)
    state, metrics = train_step(state, experiment.put(batches[step]))
  assert np.isfinite(metrics['loss'])
  assert not metrics['skipped']
  for old, new in zip(
    jax.tree.leaves(before), jax.tree.leaves(state.params), strict=True
  ):
    assert new.dtype == jnp.float32
    assert (old != np.asarray(new)).any()


@pytest.mark.extended
def test_benchmark_counts_what_the_methods_must_reach(tmp_path):
  # In a process of its own, with one device.
  path = tmp_path / 'benchmark.json'
  arguments = '--model=strided_conv_net --rows=steps --pairs=1 --steps=1'
  done = programs.run(
    'experiments.benchmark', *arguments.split(), f'--json={path}'
  )
  assert done.returncode == 0, done.stderr
  rows = json.loads(path.read_text())['rows']
  flops = {row['name']: row['flops'] for row in rows}
  for part, most in (
    ('tail 12/64', 1.20),
    ('threshold 20', 1.06),
    ('SSE-SAM', 1.85),
    ('RSAM', 1.05),
    ('exact BatchNorm', 2.7),
    ('tail_only', 1.42),
  ):
    (value,) = [flops[name] for name in flops if part in name]
    assert 1 <= value <= most, (part, value)
    assert part in done.stdout
