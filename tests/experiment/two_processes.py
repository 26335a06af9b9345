# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks that several processes make together, each calling this.

`python -m tests.two_processes FOLDER DATA_DIR HOST:PORT COUNT INDEX`: what was
computed is in FOLDER/INDEX_of_COUNT.json. Four devices in all.
"""

import io
import json
import os
import pathlib
import sys
import traceback
from unittest import mock
import warnings

import jax
import numpy as np
from PIL import Image

from imbsam_jax import data
from imbsam_jax import experiment as experiment_lib
from imbsam_jax import training
from imbsam_jax._runs import folder as folder_lib
from imbsam_jax.experiment import _run
from imbsam_jax.experiment.recipes import digits_lt
from imbsam_jax.training import _manifest

_STEPS = 3
_BATCH = 16
_COUNTS = (30, 12, 6)
# Couplings, ascents, states: method word, other fields.
_CASES = {
  'paired': ('sam+mixup', {}),
  'per_device': ('sam', {'optimizer.ascent': 'per_device'}),
  'states': ('rsam+absgd', {'model.norm': 'batch'}),
}
# Of images that are decoded when a batch needs them.
_LAYOUTS = {
  'joint': ('sam', {}),
  'split': ('imbsam', {}),
  'tail_only': (
    'imbsam',
    {'model.norm': 'batch', 'optimizer.rows': 'tail_only'},
  ),
}


def main() -> None:
  """Joins the others, checks, computes."""
  folder, data_dir, address, count, index = sys.argv[1:]
  several = count != '1'
  experiment_lib.cache_compilations()
  jax.config.update('jax_num_cpu_devices', 4 // int(count))
  if several:
    jax.distributed.initialize(address, int(count), int(index))
  found = {}
  for name, (word, changes) in _CASES.items():
    found[name] = _train(_experiment(data_dir, word, changes), 'test')
  reads = []
  several_steps, single_steps = (
    _experiment(
      data_dir,
      'imbsam',
      {'data.stratify': False, 'optimizer.threshold': 60},
      steps_per_call=number,
    )
    for number in (_STEPS, 1)
  )
  found['several_steps'] = _train(
    several_steps, 'test', single_steps.batches(1)
  )
  for name, (word, changes) in _LAYOUTS.items():
    experiment = _experiment(data_dir, word, changes, images=_encoded(reads))
    reads.clear()
    found[name] = _train(experiment, 'validation') | {'reads': list(reads)}
  if several:
    _check_agreement()
    _check_parts()
    _check_folders(pathlib.Path(folder), _experiment(data_dir, 'sgd', {}))
  path = pathlib.Path(folder) / f'{index}_of_{count}.json'
  path.write_text(json.dumps(found))


def _experiment(data_dir, word, changes, *, images=None, steps_per_call=None):
  config = experiment_lib.replace(
    digits_lt.get_config(word),
    {
      'model.name': 'mlp',
      'epochs': 2.0,
      'data.batch_size': _BATCH,
      'data.data_dir': data_dir,
    }
    | changes,
  )
  return experiment_lib.build(
    config, data=images, steps_per_call=steps_per_call
  )


def _encoded(reads):
  """Images that note by whom they were read."""
  labels = np.repeat(np.arange(3), _COUNTS).astype(np.int32)
  rng = np.random.RandomState(0)
  contents = []
  for label in labels:
    file = io.BytesIO()
    image = rng.randint(80 * label, 80 * label + 80, (20, 24, 3))
    Image.fromarray(image.astype(np.uint8)).save(file, format='PNG')
    contents.append(file.getvalue())

  def read(i):
    reads.append(i)
    return contents[i]

  images = data.EncodedImages(
    read, lambda i: f'image {i}', size=8, indices=np.arange(len(labels))
  )
  examples = data.Examples(images, labels)
  return data.LongTailedData(
    train=examples,
    validation=examples,
    test=examples,
    class_counts=np.array(_COUNTS),
    class_names=['one', 'two', 'three'],
  )


def _train(experiment, split, batches=None):
  """Losses of some steps, sums of parameters, and the metrics after them."""
  state, batches = experiment.init(1), batches or experiment.batches(1)
  losses = []
  if experiment.scanned is not None:
    chunk = data.stack_batches([batches[step] for step in range(_STEPS)])
    # Tails of several sizes, of which all but one are filled up.
    assert len({batches[k].weights[1].shape for k in range(_STEPS)}) > 1
    chunk = experiment.scanned.put_batches(chunk)
    state, metrics = experiment.scanned.steps(0)(state, chunk)
    losses = jax.device_get(metrics['loss']).tolist()
  for step in range(len(losses), _STEPS):
    batch = experiment.put(batches[step])
    state, metrics = experiment.train_step(step)(state, batch)
    losses.append(float(metrics['loss']))
  sums = [float(np.abs(x).sum()) for x in jax.tree.leaves(state.params)]
  scores, *_ = experiment_lib.evaluate(experiment, state, split)
  return {'losses': losses, 'params': sums, 'scores': scores}


def _check_agreement() -> None:
  first = training.is_first_process()
  here = jax.process_index()
  texts = training.from_each_process(['x' * (10 + 1000 * here), None, 1.5])
  assert texts == [['x' * 10, None, 1.5], ['x' * 1010, None, 1.5]]
  calls = []
  told = training.in_first_process(lambda: calls.append(here) or {'seven': 7})
  assert told == {'seven': 7}
  assert calls == ([0] if first else [])

  def fail():
    raise training.CheckpointError('no place')

  expected = training.CheckpointError if first else training.OtherProcessError
  assert 'no place' in _error_of(
    expected, lambda: training.in_first_process(fail)
  )

  # What JSON has no word for is an error in both.
  expected = TypeError if first else training.OtherProcessError
  message = _error_of(expected, lambda: training.in_first_process(set))
  assert 'not JSON serializable' in message

  # What one process sees at its third call, all hear of at the same one.
  asked = []

  def condition():
    asked.append(here)
    return not first and len(asked) == 3

  anywhere = training.in_any_process(condition)
  assert [anywhere() for _ in range(7)] == [False] * 4 + [True] + [False] * 2


def _check_parts() -> None:
  here = jax.process_index()
  assert training.host_share(training.data_mesh()) == data.HostShare(here, 2)
  local = training.data_mesh(jax.local_devices())
  assert training.host_share(local) == data.WHOLE
  own = [d for d in jax.devices() if d.process_index == 0]
  other = [d for d in jax.devices() if d.process_index == 1]
  message = _error_of(
    ValueError,
    lambda: training.host_share(training.data_mesh([own[0], *other])),
  )
  assert 'the same number of devices' in message
  # Each by itself, on its own devices.
  examples = data.Examples(np.arange(1.0, 6.0, dtype=np.float32), np.zeros(5))
  (found,) = training.over_examples(
    jax.jit(lambda variables, images: (variables * images,)),
    training.replicate(local, np.float32(2)),
    examples,
    batch_size=4,
    mesh=local,
  )
  np.testing.assert_array_equal(found, 2 * examples.images)


def _check_folders(folder, experiment) -> None:
  first, here = training.is_first_process(), jax.process_index()
  # The lock, and who has which files and flags.
  config, ours = experiment.config, experiment.fingerprint
  with training.WorkdirLock(folder / 'run'):
    folder_lib.claim(folder / 'run', config, ours)
    assert (folder / 'run' / 'lock').exists()
    training.from_each_process(None)
  other = config if first else experiment_lib.replace(config, {'epochs': 3.0})
  message = _error_of(
    experiment_lib.ConfigError,
    lambda: folder_lib.claim(folder / 'run', other, ours),
  )
  assert 'epochs: 2.0 in process 0, 3.0 in process 1' in message, message
  changed = ours if first else {**ours, 'train': 'another'}
  message = _error_of(
    data.DataError, lambda: folder_lib.claim(folder / 'run', config, changed)
  )
  assert 'another in process 1' in message, message
  message = _error_of(
    experiment_lib.ConfigError,
    lambda: folder_lib.claim(folder / str(here), config, ours),
  )
  assert 'process 1 does not see' in message, message

  _run.check_replicas(experiment.init(1))
  message = _error_of(
    training.CheckpointError,
    lambda: _run.check_replicas(experiment.init(1 + here)),
  )
  assert 'begin with different parameters' in message

  # One saves, all restore; what is damaged is passed over by all.
  state = experiment.init(1)
  states = [state.replace(step=state.step + k) for k in range(3)]
  with training.Checkpoints(folder / 'saved', keep_last=2) as checkpoints:
    assert checkpoints.latest_step is None
    for one in states[1:]:
      checkpoints.save(one, metrics={'balanced': 0.5})
  if first:
    path = next((folder / 'saved' / '2').rglob('manifest.ocdbt'))
    path.write_bytes(b'')
  training.from_each_process(None)
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    with training.Checkpoints(
      folder / 'saved', best_metric='balanced'
    ) as checkpoints:
      restored, _ = checkpoints.restore(experiment.init(2))
      assert checkpoints.best_step == 1
  assert int(restored.step) == 1
  same = jax.tree.map(np.array_equal, restored.params, state.params)
  assert all(jax.tree.leaves(same))
  damaged = [str(w.message) for w in caught if 'damaged' in str(w.message)]
  assert len(damaged) == (1 if first else 0), damaged

  # A save that fails in one process is told to all.
  with mock.patch.object(_manifest, 'write', side_effect=OSError(28, 'full')):
    checkpoints = training.Checkpoints(folder / 'full')
    checkpoints.save(states[1])
    message = _error_of(training.CheckpointError, checkpoints.close)
    assert 'full' in message


def _error_of(kind, call) -> str:
  try:
    call()
  except kind as error:
    return str(error)
  raise AssertionError(f'no {kind.__name__}')


if __name__ == '__main__':
  try:
    main()
  except BaseException:
    # Not with an exit that waits for the other process.
    traceback.print_exc()
    os._exit(1)
