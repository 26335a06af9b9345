# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is printed of a run that goes on, and of where numbers come from."""

import os
import re
import sys
import types
from unittest import mock

import pytest

from imbsam_jax._runs import compilation
from imbsam_jax._runs import console
from imbsam_jax._runs import origin
from imbsam_jax._runs import signals


def _record(step, loss=0.5):
  return [{'step': step, 'loss': loss, 'train_accuracy': 0.75}]


def test_a_file_gets_a_line_now_and_then(capsys, monkeypatch):
  monkeypatch.delitem(sys.modules, 'ipykernel', raising=False)
  clock = iter([1000.0, 1005.0, 1025.0, 1035.0, 1045.0, 1065.0])
  monkeypatch.setattr(
    console, 'time', types.SimpleNamespace(monotonic=lambda: next(clock))
  )
  progress = console.Progress(200, 'imbsam')
  # It goes on from step 50: ten steps in 20 s.
  for step in (50, 60, 65, 70):
    progress(_record(step))
  progress(_record(80, loss=None))
  progress.close()
  assert capsys.readouterr().err.splitlines() == [
    'imbsam: step 65 of 200, loss 0.500, accuracy 75%, 4 min left',
    'imbsam: step 80 of 200, 4 min left',
  ]


@pytest.mark.parametrize(
  ('title', 'begin'),
  [
    ('imbsam', 'imbsam |'),
    ('12/25 imbsam+ldam_drw seed 0', '12/25 imbsam+ldam_.. |'),
  ],
)
def test_the_bar_has_room_in_a_narrow_terminal(
  title, begin, capsys, monkeypatch
):
  # As if this was one.
  monkeypatch.setitem(sys.modules, 'ipykernel', types.ModuleType('it'))
  progress = console.Progress(210, title)
  progress(_record(105))
  bar = progress._bar
  line = bar.format_meter(**bar.format_dict | {'ncols': 80, 'ascii': True})
  progress.close()
  assert capsys.readouterr().err
  shown, full, rest = line.split('|')
  assert f'{shown}|' == begin and len(line) <= 80
  assert len(full) >= 10 and 0 < full.count('#') < len(full)
  assert re.fullmatch(
    r' 105/210, \d\d:\d\d left, loss 0.500, accuracy 75%', rest
  )


def test_words_of_a_signal_take_the_place_of_the_bar(monkeypatch):
  screen, terminal = os.openpty()
  reading, writing = os.pipe()
  try:
    for file in (terminal, writing):
      monkeypatch.setattr(
        sys, 'stderr', types.SimpleNamespace(fileno=lambda file=file: file)
      )
      signals._say('SIGINT: stopped.')
    # The line is begun anew and cleared, bar and ^C with it.
    assert os.read(screen, 99) == b'\r\x1b[KSIGINT: stopped.\r\n'
    assert os.read(reading, 99) == b'SIGINT: stopped.\n'
  finally:
    for file in (screen, terminal, reading, writing):
      os.close(file)


def test_what_is_compiled_is_said_before():
  said = []
  one, other, several = (
    mock.Mock(
      steps_per_call=calls,
      programs=dict.fromkeys(range(number)).copy,
      search=None,
    )
    for number, calls in ((1, 1), (2, 1), (2, 10))
  )
  with mock.patch.object(compilation.futures, 'ThreadPoolExecutor') as pool:
    pool.side_effect = lambda _: said.append('begins') or mock.MagicMock()
    compilation.compile_ahead([one, other], say=said.append)
    compilation.compile_ahead([several], say=said.append)
    compilation.compile_ahead([one])
    compilation.compile_ahead([], say=said.append)
    # A run that comes before is compiled with it.
    one.search = mock.Mock(experiment=other)
    compilation.compile_ahead([one], say=said.append)
  assert said == [
    # Two initial states, and three steps.
    'compiling 5 programs ...',
    'begins',
    'compiling 5 programs ...',
    'begins',
    'begins',
    'begins',
    'compiling 5 programs ...',
    'begins',
  ]


@pytest.mark.parametrize(
  ('seconds', 'text'), [(0.4, '0 s'), (119.4, '119 s'), (121.0, '2 min')]
)
def test_times_to_wait(seconds, text):
  assert console.duration(seconds) == text


def test_one_is_not_several():
  assert console.counted(1, 'class', 'classes') == '1 class'
  assert console.counted(0, 'class', 'classes') == '0 classes'
  assert console.counted(1, 'seed') == '1 seed'
  assert console.counted(2, 'seed') == '2 seeds'


def test_origin_names_the_processor():
  assert re.search(
    r'^`it`, .*, \d+ x cpu \(\S.*, \d+ cores?\)\.$', origin.origin('it')
  )
