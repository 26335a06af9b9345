# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is printed of a run that goes on, and of where numbers come from."""

import re
import sys
import types

import pytest

from imbsam_jax._runs import console
from imbsam_jax._runs import origin


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
