# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the benchmark says to the process of PyTorch, and hears from it."""

import sys
from unittest import mock

import pytest

from imbsam_jax import _errors
from imbsam_jax.experiment.benchmarks import _pytorch

# Speaks as `pytorch_step.py` does; a step of SGD takes a second, and it ends
# when it is asked for SAM.
_STAND_IN = """
import json, sys
print(json.dumps({'torch': '9.9', 'device': 'cuda'}), flush=True)
for number, line in enumerate(sys.stdin):
  asked = json.loads(line)
  if asked['method'] == 'sam':
    sys.exit('RuntimeError: no SAM here')
  seconds = asked['steps'] + 0.001 * number
  print(json.dumps({'seconds': seconds}), flush=True)
"""


def test_answers_are_those_of_the_questions(tmp_path):
  script = tmp_path / 'stand_in.py'
  script.write_text(_STAND_IN)
  with mock.patch.object(_pytorch, '_SCRIPT', script):
    pytorch = _pytorch.PyTorch(sys.executable)
  assert (pytorch.version, pytorch.modes) == ('9.9', ('eager', 'compiled'))
  # Two kinds in two modes, of which the answers are waited for, and dropped.
  pytorch.warm_up([('sgd', 'group'), ('sgd', 'batch'), ('sgd', 'group')])
  pytorch.wait()
  assert pytorch.seconds('sgd', 'group', 'eager', 3) == 3.004
  assert pytorch.seconds('sgd', 'batch', 'compiled', 5) == 5.005
  with pytest.raises(_errors.ConfigError, match='RuntimeError: no SAM here'):
    pytorch.seconds('sam', 'group', 'eager', 1)
