# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`zero_shot`: CLIP by the names of the classes alone."""

import os

import numpy as np

from imbsam_jax import _errors
from imbsam_jax.experiment import _evaluate
from imbsam_jax.experiment import _experiment


def zero_shot(
  experiment: _experiment.Experiment,
  path: str | os.PathLike[str],
  split: str = 'test',
) -> _evaluate.Evaluation:
  """Metrics of CLIP's trunk and text features, without any training.

  An image x is of the class c with the largest ``100 cos(f(x) W, t_c)``: f is
  the trunk of the experiment, W the projection of its file, and t_c the feature
  of a text about the class. Radford et al., `Learning Transferable Visual
  Models From Natural Language Supervision <https://arxiv.org/abs/2103.00020>`_,
  ICML 2021. What training is worth is seen beside it.

  Args:
    experiment: An experiment on a trunk of CLIP.
    path: File of text features, see `pretrained.read_text_features`. Classes go
      together by their names.
    split: 'test' or 'validation'.

  Raises:
    ConfigError: If the trunk has no projection, or the text features are not
      those of its classes and its model.
  """
  from imbsam_jax import pretrained

  foundation = experiment.foundation
  if foundation is None or foundation.projection is None:
    raise _errors.ConfigError(
      'zero-shot classification needs a trunk of CLIP with its projection, '
      '`model.trunk=FILE`.'
    )
  examples = _evaluate.examples_of(experiment, split)
  try:
    texts = pretrained.read_text_features(path).of_classes(
      experiment.data.class_names
    )
    logits = pretrained.zero_shot_logits(
      foundation.features(examples), foundation.projection, texts
    )
  except ValueError as error:
    raise _errors.ConfigError(str(error)) from error
  probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
  probabilities /= probabilities.sum(axis=1, keepdims=True)
  return _evaluate.of_predictions(
    experiment, split, logits.argmax(axis=1), probabilities.max(axis=1)
  )
