# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Two processes on one run: the numbers of one, and nothing lost.

F1, F3, F16 and F17 are here with several processes; the group `faults` has them
with one. What needs more than a pair that ends at once is in `make test-all`.
"""

from concurrent import futures
import json
import os
import signal
import socket
import time

import numpy as np
import pytest

from imbsam_jax import training
from tests import programs
from tests.experiment import runs

# Six epochs of the digits, with a checkpoint after each.
_TRAIN = [
  '--config=experiments/configs/digits_lt.py:imbsam',
  '--config.model.name=mlp',
  '--config.epochs=6',
  '--config.save_every=1.0',
  '--config.data.batch_size=32',
  '--config.data.validation_per_class=5',
]
_NUM_STEPS = 63


def _address():
  with socket.socket() as free:
    free.bind(('localhost', 0))
    return f'localhost:{free.getsockname()[1]}'


def _start_two(program, *flags, devices=2):
  """Starts two processes that are told of each other."""
  address = _address()
  return [
    programs.start(
      f'experiments.{program}',
      f'--coordinator={address}',
      '--num_processes=2',
      f'--process_id={index}',
      '--process_timeout=10',
      *flags,
      devices=devices,
    )
    for index in range(2)
  ]


def _end(started):
  """Exit codes, and what was printed."""
  try:
    # At once: one that cannot print waits, and the others for it.
    with futures.ThreadPoolExecutor() as pool:
      outputs = list(pool.map(lambda p: p.communicate(timeout=300), started))
  finally:
    for process in started:
      process.kill()
  codes = [process.returncode for process in started]
  return codes, [out for out, _ in outputs], [error for _, error in outputs]


def _assert_well(started):
  codes, outputs, errors = _end(started)
  assert codes == [0, 0], '\n'.join(errors)
  return outputs, errors


def _flags(folder, tfds_dir):
  return [*_TRAIN, f'--config.data.data_dir={tfds_dir}', f'--workdir={folder}']


def _wait_for_checkpoint(folder):
  """Until the first one is complete, long before the last."""
  end = time.monotonic() + 200
  while not list((folder / 'checkpoints').glob('*.manifest.json')):
    assert time.monotonic() < end
    time.sleep(0.05)


def _assert_alike(folder, whole):
  """To the last bit, whenever it was interrupted."""
  runs.assert_same_files(folder, whole)
  sums = [runs.read_summary(f)['params_sha256'] for f in (folder, whole)]
  assert sums[0] == sums[1]


@pytest.fixture(scope='module')
def one(tmp_path_factory, tfds_dir):
  """The run of one process with one device."""
  folder = tmp_path_factory.mktemp('one')
  done = programs.run('experiments.train', *_flags(folder, tfds_dir), devices=1)
  assert done.returncode == 0, done.stderr
  return folder


@pytest.fixture(scope='module')
def two(one, tmp_path_factory, tfds_dir):
  """The same of two processes with two devices each."""
  del one  # It prepares the data.
  folder = tmp_path_factory.mktemp('two')
  (printed, silent), _ = _assert_well(
    _start_two('train', *_flags(folder, tfds_dir))
  )
  assert '32 on 4 cpu devices' in printed
  assert '| top-1' in printed
  assert not [x for x in silent.splitlines() if not x.startswith('[Gloo]')]
  return folder


@pytest.mark.extended
def test_two_processes_train_as_one(one, two):
  runs.assert_close(two, one)
  history = training.read_history(two / 'metrics.jsonl')
  assert sum('loss' in record for record in history) == _NUM_STEPS


@pytest.mark.extended
def test_f3_a_signal_to_one_process_stops_both(two, tmp_path, tfds_dir):
  started = _start_two('train', *_flags(tmp_path, tfds_dir))
  _wait_for_checkpoint(tmp_path)
  started[1].send_signal(signal.SIGTERM)
  codes, _, errors = _end(started)
  assert codes == [143, 143], errors
  assert 'finishing the step and saving' in errors[1]
  stopped = [e.partition('stopped after step ')[2].split()[0] for e in errors]
  assert stopped[0] == stopped[1]
  assert (tmp_path / 'checkpoints' / f'{stopped[0]}.manifest.json').exists()
  assert int(stopped[0]) < _NUM_STEPS
  _assert_well(_start_two('train', *_flags(tmp_path, tfds_dir)))
  _assert_alike(tmp_path, two)


def _assert_ends_alone(process, folder):
  """It does not wait for the other for ever, and does not pretend."""
  _, error = process.communicate(timeout=120)
  assert process.returncode not in (0, 143), error
  assert not (folder / 'summary.json').exists()


@pytest.mark.extended
def test_f1_a_process_does_not_answer(two, tmp_path, tfds_dir):
  first, second = _start_two('train', *_flags(tmp_path, tfds_dir))
  _wait_for_checkpoint(tmp_path)
  second.send_signal(signal.SIGSTOP)
  _assert_ends_alone(first, tmp_path)
  second.kill()
  second.communicate()
  _assert_well(_start_two('train', *_flags(tmp_path, tfds_dir)))
  _assert_alike(tmp_path, two)


@pytest.mark.extended
def test_f17_killed_and_gone_on_with_other_devices(one, tmp_path, tfds_dir):
  flags = _flags(tmp_path, tfds_dir)
  first, second = _start_two('train', *flags)
  _wait_for_checkpoint(tmp_path)
  first.kill()
  _assert_ends_alone(second, tmp_path)
  first.communicate()
  done = programs.run('experiments.train', *flags, devices=8)
  assert done.returncode == 0, done.stderr
  runs.assert_close(tmp_path, one)


@pytest.mark.extended
def test_f16_second_pair_on_one_folder(tmp_path, tfds_dir):
  with training.WorkdirLock(tmp_path):
    codes, _, errors = _end(_start_two('train', *_flags(tmp_path, tfds_dir)))
  assert codes == [5, 1], errors
  assert f'in use by process {os.getpid()} on' in errors[0]
  assert 'in use by process' in errors[1]
  assert not [e for e in errors if 'Traceback' in e]


@pytest.mark.extended
def test_evaluation_under_slurm(two, tfds_dir):
  """Processes that find each other by the variables of Slurm."""
  del tfds_dir
  port = _address().partition(':')[2]
  slurm = {
    'SLURM_JOB_ID': '1',
    'SLURM_STEP_NODELIST': 'localhost',
    'SLURM_NTASKS': '2',
    'JAX_COORDINATOR_PORT': port,
  }
  started = [
    programs.start(
      'experiments.evaluate',
      '--distributed',
      f'--workdir={two}',
      devices=1,
      environment=slurm | {'SLURM_PROCID': index, 'SLURM_LOCALID': index},
    )
    for index in ('0', '1')
  ]
  (printed, silent), _ = _assert_well(started)
  assert f'step {_NUM_STEPS} of {_NUM_STEPS}, test set' in printed
  assert f'{100 * runs.read_summary(two)["top1"]:.1f}' in printed
  assert '|' not in silent


@pytest.mark.extended
def test_checks_of_two_processes(tmp_path, tfds_dir):
  """See `two_processes`."""
  flags = (str(tmp_path), str(tfds_dir), _address())
  _assert_well(
    [
      programs.start('tests.experiment.two_processes', *flags, '2', index)
      for index in ('0', '1')
    ]
  )
  alone = programs.run('tests.experiment.two_processes', *flags, '1', '0')
  assert alone.returncode == 0, alone.stderr
  first, second, expected = (
    json.loads((tmp_path / f'{name}.json').read_text())
    for name in ('0_of_2', '1_of_2', '0_of_1')
  )
  assert set(expected) == {
    *('paired', 'per_device', 'states'),
    *('joint', 'split', 'tail_only', 'several_steps'),
  }
  for name, numbers in expected.items():
    for part in ('losses', 'params'):
      assert first[name][part] == second[name][part]
      np.testing.assert_allclose(
        first[name][part], numbers[part], rtol=1e-5, err_msg=name
      )
    assert first[name]['scores'] == second[name]['scores']
    for metric, value in numbers['scores'].items():
      if value is not None:
        value = pytest.approx(value, rel=1e-5)
      assert first[name]['scores'][metric] == value, (name, metric)

  # Each decodes the images of its own rows; a tail row has two places.
  for name in ('joint', 'split'):
    reads = [run[name]['reads'] for run in (first, second, expected)]
    assert sorted(reads[0] + reads[1]) == sorted(reads[2])
    assert 0.4 < len(reads[0]) / len(reads[2]) < 0.6
  reads = [run['tail_only']['reads'] for run in (first, second, expected)]
  assert len(reads[0] + reads[1]) < 1.2 * len(reads[2])


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    (['--coordinator=localhost:1'], '--num_processes is missing'),
    (['--num_processes=2', '--process_id=0'], '--coordinator is missing'),
  ],
)
def test_flags_that_go_together(flags, message, tmp_path):
  done = programs.call(
    'train', *flags, *_TRAIN, f'--workdir={tmp_path / "run"}'
  )
  assert done.returncode == 2
  assert message in done.stderr
  assert not (tmp_path / 'run').exists()


@pytest.mark.extended
@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    (['--distributed'], 'did not find each other'),
    (
      ['--coordinator=localhost:1', '--num_processes=2', '--process_id=2'],
      'process_id < num_processes',
    ),
  ],
)
def test_what_processes_are_told(flags, message, tmp_path):
  done = programs.run(
    'experiments.train', *flags, *_TRAIN, f'--workdir={tmp_path / "run"}'
  )
  assert done.returncode == 2
  assert message in done.stderr
  assert 'Traceback' not in done.stderr
  assert not (tmp_path / 'run').exists()
