# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whether runs of all networks become ONNX that gives the same classes.

`make onnx-check` runs it in an environment of its own, with jax2onnx; a word
after ``python -m tests.onnx_check`` is a network, all of them otherwise.
"""

import pathlib
import sys
import tempfile
import time

import jax
import numpy as np
import onnxruntime

from imbsam_jax import experiment
from imbsam_jax import models

# A network, and its fields besides the name.
_CASES = {
  **{name: {} for name in models.MODEL_NAMES},
  'mlp': {'model.norm': 'none'},
  'vit_tiny_patch4': {'model.norm': 'none'},
  'vit_small_patch4': {'model.norm': 'none'},
  'mlp, group norm': {'model.norm': 'group'},
  'small_conv_net, flips': {'model.norm': 'batch', 'flip_test': True},
  'small_conv_net, cosines': {'model.head': 'scaled_cosine(scale=9.0)'},
  'small_conv_net, bfloat16': {'model.dtype': 'bfloat16'},
  'mlp, crops': {'test_views': 'five_crop'},
}
# onnxruntime has no convolution in bfloat16. jax2onnx compares symbols in crops
# and takes a mean over no axes for one over all.
_KNOWN_TO_FAIL = (
  'mlp, group norm',
  'small_conv_net, bfloat16',
  'mlp, crops',
)
_SIZE = 16


def main() -> int:
  """Trains a step, exports, compares; the number of those that fail."""
  jax.config.update('jax_disable_most_optimizations', True)
  failures = 0
  for case in sys.argv[1:] or _CASES:
    begin = time.monotonic()
    try:
      text = _check(case)
    except experiment.ConfigError as error:
      is_known = case in _KNOWN_TO_FAIL
      failures += not is_known
      text = f'{"is refused" if is_known else "FAILS"}: {error}'
    print(f'{case:<26} {time.monotonic() - begin:6.1f} s  {text}', flush=True)
  return failures


def _check(case: str) -> str:
  fields = {'model.name': case.partition(',')[0], **_CASES[case]}
  rng = np.random.RandomState(0)
  labels = np.repeat(np.arange(3), (12, 6, 4))
  images = rng.randint(0, 256, (len(labels), _SIZE, _SIZE, 3)).astype(np.uint8)
  config = experiment.config(
    'own',
    'sgd',
    {
      'epochs': 1,
      'data.batch_size': 16,
      'optimizer.threshold': 5,
      'data.augment': 'none',
      # Probabilities stay away from 0 and 1, which tell little.
      'optimizer.learning_rate': 1e-4,
      **fields,
    },
  )
  data = experiment.Sources(train=(images, labels), test=(images, labels))
  exp = experiment.build(config, data=data)
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder)
    experiment.run(exp, workdir=path / 'run')
    classifier = experiment.load_run(path / 'run', batch_size=32)
    done = experiment.export(classifier, path / 'out', formats=['onnx'])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path / 'out' / 'model.onnx', options)
  expected = classifier(images)
  largest = 0.0
  for number in (1, 2, len(images)):
    (probabilities,) = session.run(None, {'images': images[:number]})
    largest = max(largest, np.abs(probabilities - expected[:number]).max())
    assert probabilities.shape == (number, 3)
    if probabilities.argmax(1).tolist() != expected[:number].argmax(1).tolist():
      raise experiment.ConfigError(f'other classes of {number} images.')
  classes = len(set(expected.argmax(1).tolist()))
  size = done.files['model.onnx'] / 2**20
  return f'same classes ({classes}), difference {largest:.1e}, {size:.1f} MB'


if __name__ == '__main__':
  sys.exit(1 if main() else 0)
