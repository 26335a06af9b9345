# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the class vectors of a head over a pre-trained trunk begin with."""

from collections.abc import Callable
import re

import numpy as np

from imbsam_jax import _errors
from imbsam_jax import _specs
from imbsam_jax import calibration
from imbsam_jax import data as data_lib
from imbsam_jax.experiment import _trunk

# Heads that have class vectors.
_WITH_VECTORS = ('cosine', 'scaled_cosine')
_FIELD = 'model.head_init'


def class_vectors(
  text: str,
  head: str,
  data: data_lib.LongTailedData,
  trunk: _trunk.Trunk,
  features: Callable[[data_lib.Examples], np.ndarray],
) -> Callable[[], np.ndarray] | None:
  """A function that gives the first class vectors, or None for random ones.

  Args:
    text: 'random', 'class_means(shots=None)' or 'text(PATH)'.
    head: Name of the head.
    data: The examples.
    trunk: What was read from the file of the trunk.
    features: Features of examples.

  Raises:
    ConfigError: If the text is none of these, or the head has no class vectors.
  """
  if text == 'random':
    return None
  if head not in _WITH_VECTORS:
    raise _errors.ConfigError(
      f'`{_FIELD}={text}` is about class vectors, which the {head} head has '
      "not. Pass `model.head='scaled_cosine(scale=25.0)'`, or a loss on "
      'cosines.'
    )
  path = re.fullmatch(r"""text\((?:path=)?["']?(.*?)["']?\)""", text)
  if path:
    rows = _of_text(path[1], data, trunk)
    return lambda: rows
  shots = _specs.bind(
    _FIELD,
    text,
    {'random': lambda: None, 'class_means': _checked_shots, 'text': _no_path},
  )()

  def means():
    empty = np.flatnonzero(data.class_counts == 0)
    if empty.size:
      raise _errors.ConfigError(
        f'`{_FIELD}=class_means`: the class {data.class_names[empty[0]]!r} has '
        f'no training image. Leave it out of the data, or pass '
        f'`{_FIELD}=random`.'
      )
    chosen = _first_of_each(data.train.labels, len(data.class_names), shots)
    examples = data.train.at(chosen)
    rows = np.asarray(
      calibration.class_means(
        features(examples),
        examples.labels,
        num_classes=len(data.class_names),
      )
    )
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)

  return means


def _checked_shots(*, shots: int | None = None) -> int | None:
  if shots is not None and (type(shots) is not int or shots < 1):
    raise _errors.ConfigError(
      f'`{_FIELD}`: `shots` is the number of images of each class that are '
      f'averaged, 1 or more, or None for all, got {shots!r}.'
    )
  return shots


def _no_path() -> None:
  raise _errors.ConfigError(
    f"`{_FIELD}=text` needs a file of text features: `{_FIELD}='text(PATH)'`."
  )


def _first_of_each(
  labels: np.ndarray, num_classes: int, shots: int | None
) -> np.ndarray:
  """Indices of the first examples of each class."""
  return np.concatenate(
    [np.flatnonzero(labels == c)[:shots] for c in range(num_classes)]
  )


def _of_text(
  path: str, data: data_lib.LongTailedData, trunk: _trunk.Trunk
) -> np.ndarray:
  """Text features as rows of a cosine head over features of images.

  A class c has the row ``t_c W^T`` of length 1, where ``x W`` are features of
  images in the joint space of CLIP and ``t_c`` is that of the text: so the
  cosine is high where the image would be near the text (LIFT, ICML 2024).
  """
  from imbsam_jax import pretrained

  if trunk.projection is None:
    raise _errors.ConfigError(
      f"`{_FIELD}='text({path})'` needs the projection of CLIP, which "
      f'{trunk.summary} has not. Pass `{_FIELD}=class_means`, or a trunk of '
      'CLIP with its projection.'
    )
  try:
    texts = pretrained.read_text_features(path).of_classes(data.class_names)
    rows = pretrained.pulled_back(texts, np.asarray(trunk.projection))
  except ValueError as error:
    raise _errors.ConfigError(f'`{_FIELD}`: {error}') from error
  return rows
