# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Arrays, a network or a loss of your own, from Python.

  from imbsam_jax import experiment

  exp = experiment.build(
    experiment.config('own', 'imbsam'),
    data=experiment.Sources(train=(x, y), test=(x_test, y_test)),
    model=Net(),  # or leave it out, and take the small network
  )

Images are ``[N, height, width, channels]`` (tables ``[N, features]``), uint8 (0
to 255) or floats, labels whole numbers from 0. All are used, in their own
distribution. Defaults are those of `npz_lt`: batches of 64, learning rate 0.1,
40 epochs, a small convolutional network with GroupNorm; for tables pass
``{'model.name': 'mlp', 'model.norm': 'none'}``. ``{'data.validation_per_class':
10}`` sets images aside to choose by.

All batches have the same number of tail rows (``data.stratify``), so that there
is one step to compile: where head and tail rows go apart, as under ImbSAM,
shuffled batches come in four sizes (4 programs against 1; SSE-SAM 8 against 2).
The expected gradient is the same, and a step costs about as much.

Classes with fewer than 20 training images are the tail, and reported as 'few';
`optimizer.threshold` and `few_below` change that. Not tuned on any data set.
"""

from imbsam_jax._runs import fields
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _configure
from imbsam_jax.experiment.recipes import _published
from imbsam_jax.experiment.recipes import npz_lt

_PRESETS = _published.SHARPNESS_AWARE


def get_config(words: str = 'sgd') -> _config.Config:
  """The configuration for method words."""
  config = fields.replace(
    npz_lt.get_config(), {'data.name': 'own', 'data.stratify': True}
  )
  # Words come last: class-aware sampling does not stratify.
  return _configure.with_words(config, words, _PRESETS)
