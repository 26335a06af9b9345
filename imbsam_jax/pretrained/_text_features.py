# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Features of class names, from a file that a text encoder made elsewhere.

A ``.npz`` or ``.safetensors`` file with `text_features`, float ``[C, E]``, or
``[T, C, E]`` of T templates, and the names of the classes: `classes`, an array
of text in a ``.npz`` file, a list in JSON in the metadata of the other. What
else the metadata say (`model`, `template`) is for people.
"""

from collections.abc import Sequence
import difflib
import json
import os
from typing import NamedTuple

import numpy as np

from imbsam_jax.pretrained import _source

# What CLIP multiplies cosines by: exp of its `logit_scale`.
SCALE = 100.0
_LISTED = 5


class TextFeatures(NamedTuple):
  """Features of class names.

  Attributes:
    vectors: Float32 array, shape ``[C, E]``, rows of length 1: the mean of the
      normalized features of all templates, normalized.
    classes: Names of the C classes.
    path: File that they were read from.
  """

  vectors: np.ndarray
  classes: tuple[str, ...]
  path: str

  def of_classes(self, names: Sequence[str]) -> np.ndarray:
    """The rows of classes, in their order.

    Names count, not places; underscores are spaces, and letters are small.

    Args:
      names: Names of the classes of a data set.

    Returns:
      Float32 array, shape ``[len(names), E]``.

    Raises:
      ValueError: If a class has no row, or two.
    """
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(self.classes):
      rows.setdefault(_plain(name), []).append(row)
    missing = [name for name in names if _plain(name) not in rows]
    if missing:
      near = difflib.get_close_matches(missing[0], self.classes, n=1)
      raise ValueError(
        f'{self.path} has no text features of {len(missing)} of the '
        f'{len(names)} classes: {", ".join(map(repr, missing[:_LISTED]))}'
        + (', ...' if missing[_LISTED:] else '')
        + f'. It has {len(self.classes)} classes'
        + (f', and {near[0]!r} is near {missing[0]!r}' if near else '')
        + '. Make the features of the names of this data set.'
      )
    twice = [name for name in names if len(rows[_plain(name)]) > 1]
    if twice:
      raise ValueError(
        f'{self.path} has the class {twice[0]!r} more than once. Make the '
        'features of each class once.'
      )
    return self.vectors[[rows[_plain(name)][0] for name in names]]


def read_text_features(path: str | os.PathLike[str]) -> TextFeatures:
  """Reads a file of text features.

  Args:
    path: A ``.npz`` or ``.safetensors`` file.

  Raises:
    ValueError: If the file cannot be read or lacks the features or the names,
      their numbers differ, or a row is zero or not finite.
  """
  source = _source.open_source(path)
  if 'text_features' not in source.entries:
    keys = ', '.join(map(repr, list(source.entries)[:_LISTED]))
    raise ValueError(
      f'{source.path} has no `text_features`, but {keys}. It is to have '
      '`text_features` [C, E] and the names of the C `classes`.'
    )
  features = np.asarray(source.read('text_features'), np.float64)
  if features.ndim not in (2, 3):
    raise ValueError(
      f'{source.path}: `text_features` must be [C, E] or [templates, C, E], '
      f'got {list(features.shape)}.'
    )
  classes = _classes(source)
  if len(classes) != features.shape[-2]:
    raise ValueError(
      f'{source.path} has {features.shape[-2]} rows of `text_features` and '
      f'{len(classes)} names of `classes`. Each class has one row.'
    )
  lengths = np.linalg.norm(features, axis=-1, keepdims=True)
  wrong = ~(np.isfinite(lengths) & (lengths > 0))
  if wrong.any():
    which = classes[np.argwhere(wrong[..., 0])[0][-1]]
    raise ValueError(
      f'{source.path}: the text feature of {which!r} is zero or not finite. '
      'Make it again.'
    )
  features = features / lengths
  if features.ndim == 3:
    features = features.mean(axis=0)
    features /= np.linalg.norm(features, axis=-1, keepdims=True)
  return TextFeatures(features.astype(np.float32), classes, source.path)


def pulled_back(texts: np.ndarray, projection: np.ndarray) -> np.ndarray:
  r"""Class vectors of a cosine head over features that are not projected.

  .. math::
    w_c = \frac{W t_c}{\|W t_c\|}

  Shi et al., `Long-Tail Learning with Foundation Model: Heavy Fine-Tuning Hurts
  <https://arxiv.org/abs/2309.10019>`_, ICML 2024 (LIFT). It is no zero-shot
  classifier: the lengths of features in the joint space do not count.

  Args:
    texts: Text features, float array of shape ``[C, E]``.
    projection: Kernel W of the trunk's projection, shape ``[D, E]``.

  Returns:
    Float32 array, shape ``[C, D]``, rows of length 1.

  Raises:
    ValueError: If the two are not of the same joint space.
  """
  check_width(texts, projection)
  rows = np.asarray(texts, np.float64) @ np.asarray(projection, np.float64).T
  return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def zero_shot_logits(
  features: np.ndarray, projection: np.ndarray, texts: np.ndarray
) -> np.ndarray:
  r"""CLIP's logits of images, ``100 cos(f W, t_c)``.

  Radford et al., `Learning Transferable Visual Models From Natural Language
  Supervision <https://arxiv.org/abs/2103.00020>`_, ICML 2021.

  Args:
    features: Features f of images that the trunk gives, shape ``[N, D]``.
    projection: Kernel W of the trunk's projection, shape ``[D, E]``.
    texts: Text features t_c of the classes, shape ``[C, E]``, of any length.

  Returns:
    Float32 array, shape ``[N, C]``.

  Raises:
    ValueError: If text features and projection are not of the same joint space.
  """
  check_width(texts, projection)
  images = np.asarray(features, np.float64) @ np.asarray(projection, np.float64)
  images /= np.linalg.norm(images, axis=1, keepdims=True)
  texts = np.asarray(texts, np.float64)
  texts = texts / np.linalg.norm(texts, axis=1, keepdims=True)
  return (SCALE * images @ texts.T).astype(np.float32)


def check_width(texts: np.ndarray, projection: np.ndarray) -> None:
  """Refuses text features of another model than the trunk.

  Args:
    texts: Text features, ``[C, E]``.
    projection: Kernel of the trunk's projection, ``[D, E]``.

  Raises:
    ValueError: If their widths E differ.
  """
  if texts.shape[1] != projection.shape[1]:
    raise ValueError(
      f'the text features have {texts.shape[1]} entries, and the projection of '
      f'the trunk gives {projection.shape[1]}: they are of another model '
      '(ViT-B/16 of CLIP has 512, ViT-L/14 has 768). Make them with the text '
      'encoder of the trunk.'
    )


def _plain(name: str) -> str:
  return name.replace('_', ' ').strip().lower()


def _classes(source: _source.Source) -> tuple[str, ...]:
  if 'classes' in source.entries:
    names = source.read('classes')
  elif 'classes' in source.metadata:
    try:
      names = json.loads(source.metadata['classes'])
    except ValueError as error:
      raise ValueError(
        f'{source.path}: `classes` in the metadata must be a list of names in '
        f'JSON, got {source.metadata["classes"][:40]!r}.'
      ) from error
  else:
    raise ValueError(
      f'{source.path} does not name its classes: it is to have `classes`, an '
      'array of text in a .npz file, a list in JSON in the metadata of a '
      '.safetensors file.'
    )
  if not isinstance(names, (list, np.ndarray)) or not all(
    isinstance(name, str) for name in names
  ):
    raise ValueError(f'{source.path}: `classes` must be a list of names.')
  return tuple(map(str, names))
