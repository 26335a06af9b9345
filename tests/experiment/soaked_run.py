# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A run under faults that a seed draws: `python -m tests.soaked_run ...`.

``python -m tests.experiment.soaked_run FOLDER TFDS SEED FAULTS`` trains a run
alone and one under faults, each part of which is a process of its own, and
fails where the second does not go on or ends otherwise. Parts are forked from
this process, which has imported all and computes nothing, so that none of them
waits for imports.
"""

import collections
import os
import pathlib
import random
import resource
import shutil
import signal
import sys
import threading
import time
import traceback

from imbsam_jax import experiment as experiment_lib
from imbsam_jax import training
from imbsam_jax._runs import signals
from imbsam_jax.experiment.recipes import digits_lt
from tests.experiment import runs

# Steps that a fault takes on average: no run is over before its last fault.
_STEPS_PER_FAULT = 3
_EPOCH = 10.5
# How a part may end, by the fault that was to end it.
_ENDS = {
  'kill': {-signal.SIGKILL},
  'stop': {signals.EXIT_CODE},
  # The second signal may come when all is saved.
  'stop twice': {1, signals.EXIT_CODE, -signal.SIGTERM},
  'full disk': {5},
  None: {0},
}
_RUN_FILES = ('config.json', 'data.json', 'model.json')
# A file system of its own, where there is one.
_OTHER_DISK = pathlib.Path('/dev/shm')


def main() -> None:
  """Trains twice, compares, prints what was done."""
  folder, tfds_dir, seed, number = sys.argv[1:]
  soak = _Soak(pathlib.Path(folder), tfds_dir, int(seed), int(number))
  soak.run()


def _train(
  workdir: pathlib.Path, tfds_dir: str, epochs: float, fault, draw
) -> None:
  """A part of the run: the whole rest, if no fault ends it."""
  if fault is not None:
    _fault_at(fault, draw)
  config = experiment_lib.replace(
    digits_lt.get_config('imbsam'),
    {
      'model.name': 'mlp',
      'model.norm': 'batch',
      'data.batch_size': 32,
      'data.data_dir': tfds_dir,
      'data.validation_per_class': 5,
      'epochs': epochs,
      # A checkpoint after every second step or so.
      'save_every': 0.2,
    },
  )
  experiment = experiment_lib.build(config)
  experiment_lib.run(experiment, seed=1, workdir=workdir)


def _fault_at(fault, draw) -> None:
  """Lets a fault happen some steps after a part has begun."""
  steps = draw.choice([0, 1, 1, 2, 3, 4, 6])
  # Long enough to be in the middle of a save, of an evaluation, or later.
  seconds = draw.choice([0.0, 0.0, 0.003, 0.01, 0.03])
  between = draw.choice([0.0, 0.002, 0.01])
  # Of an array, a manifest, a line.
  size = draw.choice([0, 100, 1000, 10_000])

  def happen():
    time.sleep(seconds)
    if fault == 'kill':
      os.kill(os.getpid(), signal.SIGKILL)
    elif fault == 'full disk':
      # The kernel refuses, as with a quota.
      limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
      resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit))
    else:
      os.kill(os.getpid(), signal.SIGTERM)
      if fault == 'stop twice':
        time.sleep(between)
        os.kill(os.getpid(), signal.SIGTERM)

  fit = training.fit

  def faulty_fit(state, train_step, batches, **arguments):
    num_steps = arguments['num_steps']
    moment = min(int(state.step) + steps, num_steps - 3)

    class Batches:
      def __getitem__(self, index):
        if index == moment:
          threading.Thread(target=happen).start()
        # The fault comes before the run is over.
        if index == num_steps - 1:
          time.sleep(30)
        return batches[index]

    return fit(state, train_step, Batches(), **arguments)

  training.fit = faulty_fit


class _Soak:
  """One run under faults, and the same run alone."""

  def __init__(self, folder, tfds_dir, seed, number):
    self._folder = folder
    self._tfds_dir = tfds_dir
    self._number = number
    self._draw = random.Random(seed)
    self._epochs = round((number * _STEPS_PER_FAULT + 12) / _EPOCH, 2)
    self._workdir = folder / 'faulty'
    self._happened = collections.Counter()
    self._log = []

  def run(self):
    begin = time.monotonic()
    whole = self._folder / 'whole'
    self._part(whole, None)
    while self._happened.total() < self._number:
      self._damage()
      if self._happened.total() < self._number:
        # Several may come in a row, with nothing in between.
        fault = self._draw.choice(['kill', 'stop', 'stop twice', 'full disk'])
        self._count(fault)
        self._part(self._workdir, fault)
    self._part(self._workdir, None)
    runs.assert_same_summary(
      runs.read_summary(self._workdir), runs.read_summary(whole)
    )
    runs.assert_same_files(self._workdir, whole)
    for name in ('config.json', 'data.json'):
      ours, theirs = ((f / name).read_text() for f in (self._workdir, whole))
      assert ours == theirs, name
    seconds = time.monotonic() - begin
    told = ', '.join(f'{n} {what}' for what, n in self._happened.most_common())
    print(f'{self._happened.total()} faults in {seconds:.0f} s: {told}')

  def _count(self, what, detail=''):
    self._happened[what] += 1
    self._log.append(f'{self._happened.total()}: {what} {detail}')

  def _part(self, workdir, fault):
    """Starts a process that trains, and waits for how it ends."""
    draw = random.Random(self._draw.random())
    # Not a file, which might have no place.
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
      os.dup2(writing, 2)
      _child(workdir, self._tfds_dir, self._epochs, fault, draw)
    os.close(writing)
    with open(reading) as errors:
      text = errors.read()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in _ENDS[fault]:
      last = '\n'.join(self._log[-8:])
      raise AssertionError(
        f'{fault}: ended with {code}\n{text}\n{last}\n'
        f'{sorted(p.name for p in (workdir / "checkpoints").iterdir())}'
      )

  def _damage(self):
    """What happens to the files while no process is there."""
    what = self._draw.choice(
      ['nothing', 'flip', 'cut', 'history', 'move', 'run file']
    )
    if what == 'move':
      self._move()
    elif what == 'run file' and self._good():
      path = self._workdir / self._draw.choice(_RUN_FILES)
      self._cut(path)
      self._count('cut file of the run', path.name)
    # One good checkpoint stays, with the steps before it.
    elif what in ('flip', 'cut', 'history') and len(self._good()) > 1:
      *_, older, newest = self._good()
      path = self._draw.choice(self._files(newest))
      if what == 'flip':
        _flip(path, self._draw)
        self._count('flipped bit', path)
      elif what == 'cut':
        self._cut(path)
        self._count('cut checkpoint', path)
      else:
        self._cut_history(older)

  def _good(self):
    checkpoints = self._workdir / 'checkpoints'
    if not checkpoints.is_dir():
      return []
    reports = training.inspect_checkpoints(checkpoints, contents=True)
    return [report.step for report in reports if report.status == 'good']

  def _files(self, step):
    checkpoints = self._workdir / 'checkpoints'
    files = sorted(
      path for path in (checkpoints / f'{step}').rglob('*') if path.is_file()
    )
    return [path for path in files if path.stat().st_size] + [
      checkpoints / f'{step}.manifest.json'
    ]

  def _cut(self, path):
    os.truncate(path, self._draw.randrange(path.stat().st_size))

  def _cut_history(self, step):
    """Cuts within what follows a step, or what it was validated with."""
    path = self._workdir / 'metrics.jsonl'
    lines = path.read_bytes().splitlines(keepends=True)
    kept = sum(
      len(line)
      for line, record in zip(lines, training.read_history(path), strict=False)
      if record['step'] <= step
    )
    size = self._draw.randrange(kept, path.stat().st_size + 1)
    os.truncate(path, size)
    self._count('cut history', size)

  def _move(self):
    if not self._workdir.exists():
      return
    places = [self._folder / f'moved {self._happened.total()}']
    if _OTHER_DISK.is_dir() and os.access(_OTHER_DISK, os.W_OK):
      name = f'imbsam_soak_{os.getpid()}_{self._happened.total()}'
      places.append(_OTHER_DISK / name)
    there = self._draw.choice(places)
    shutil.move(self._workdir, there)
    self._workdir = there
    self._count('moved folder', there)

  def __del__(self):
    if self._workdir.parent == _OTHER_DISK:
      shutil.rmtree(self._workdir, ignore_errors=True)


def _flip(path, draw):
  content = bytearray(path.read_bytes())
  bit = draw.randrange(8 * len(content))
  content[bit // 8] ^= 1 << bit % 8
  path.write_bytes(content)


def _child(*arguments):
  """Trains in a forked process, and leaves as a program does."""
  code = 99
  try:
    with signals.leaving('stopped.'):
      _train(*arguments)
    code = 0
  except training.PreemptedError:
    code = signals.EXIT_CODE
  # A line of metrics.jsonl may be what had no place.
  except (training.CheckpointError, OSError):
    code = 5
    traceback.print_exc()
  except BaseException:
    traceback.print_exc()
  finally:
    os._exit(code)


if __name__ == '__main__':
  main()
