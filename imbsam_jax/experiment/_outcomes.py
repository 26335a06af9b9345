# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a network says of each image of an evaluation, and its files."""

from collections.abc import Callable
from collections.abc import Sequence
import csv
import io
import os
import pathlib
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import data as data_lib

PREDICTIONS = 'predictions.npz'
CONFUSIONS = 'confusions.csv'
# Classes that are kept of each image.
_TOP = 5
# Bytes of logits that are kept: those of 10,000 images in 100 classes.
_MOST_LOGITS = 4 << 20
# Pairs of classes that are kept.
_MOST_CONFUSIONS = 500
_COLUMNS = (
  'true',
  'true_name',
  'predicted',
  'predicted_name',
  'count',
  'share_of_class',
)


class Outcomes(NamedTuple):
  """What a network says of each image, the arrays of ``predictions.npz``.

  Attributes:
    labels: Int32 ``[N]``, the classes.
    predictions: Int32 ``[N]``, the predicted classes.
    confidences: Float32 ``[N]``, the largest probabilities.
    top_classes: Int32 ``[N, k]``, the k = 5 most probable classes, or all if
      there are fewer, the first one first; None where they were not computed.
    top_probabilities: Float32 ``[N, k]``, their probabilities.
    logits: Float32 ``[N, C]``, whose softmax the probabilities are; None if
      they take more than 4 MiB.
  """

  labels: np.ndarray
  predictions: np.ndarray
  confidences: np.ndarray
  top_classes: np.ndarray | None = None
  top_probabilities: np.ndarray | None = None
  logits: np.ndarray | None = None


def keeps_logits(data: data_lib.LongTailedData) -> bool:
  """Whether those of the largest set that is evaluated are few enough.

  Args:
    data: The examples of a run.
  """
  sets = [data.test.labels]
  if data.validation is not None:
    sets.append(data.validation.labels)
  return 4 * max(map(len, sets)) * len(data.class_counts) <= _MOST_LOGITS


def make_step(
  score: Callable[..., tuple[Any, Any]], scale: float, *, keep_logits: bool
) -> Callable[..., tuple[jax.Array, ...]]:
  """Builds ``predict(variables, images)``, not yet jitted.

  Args:
    score: The step of `training.make_score_step`.
    scale: Factor of its logits before the softmax.
    keep_logits: Whether all logits are given.

  Returns:
    The step: classes and largest probabilities ``[B]``, the most probable
    classes and their probabilities ``[B, k]``, and logits ``[B, C]`` if wanted.
  """

  def predict_step(variables, images):
    logits, probabilities = score(variables, images)
    _, top = jax.lax.top_k(logits, min(_TOP, logits.shape[-1]))
    outputs = (
      jnp.argmax(logits, axis=-1),
      jnp.max(probabilities, axis=-1),
      top,
      jnp.take_along_axis(probabilities, top, axis=-1),
    )
    if keep_logits:
      outputs = (*outputs, scale * logits.astype(jnp.float32))
    return outputs

  return predict_step


def of_outputs(labels: np.ndarray, outputs: Sequence[np.ndarray]) -> Outcomes:
  """Outcomes by what a step of `make_step` gave.

  Args:
    labels: The classes.
    outputs: Its outputs; those that are not there are None.
  """
  dtypes = (np.int32, np.float32, np.int32, np.float32, np.float32)
  return Outcomes(
    np.asarray(labels, np.int32),
    *(
      np.asarray(x).astype(dtype)
      for x, dtype in zip(outputs, dtypes, strict=False)
    ),
  )


def confusions(
  outcomes: Outcomes, class_names: Sequence[str]
) -> list[dict[str, Any]]:
  """The most frequent confusions, rows of ``confusions.csv``.

  Args:
    outcomes: The outcomes.
    class_names: One name per class.

  Returns:
    Of each pair of a class and another one that was predicted in its place, how
    often that was, and which share of the images of the class it is; the most
    frequent first, of equal ones the larger share, and 500 at most.
  """
  labels, predictions = outcomes.labels, outcomes.predictions
  counts = np.bincount(labels, minlength=len(class_names))
  wrong = labels != predictions
  pairs, numbers = np.unique(
    np.stack([labels[wrong], predictions[wrong]], axis=1),
    axis=0,
    return_counts=True,
  )
  shares = numbers / counts[pairs[:, 0]] if len(pairs) else numbers
  order = np.lexsort([*pairs.T[::-1], -shares, -numbers])[:_MOST_CONFUSIONS]
  return [
    dict(
      zip(
        _COLUMNS,
        (
          int(pairs[i, 0]),
          class_names[pairs[i, 0]],
          int(pairs[i, 1]),
          class_names[pairs[i, 1]],
          int(numbers[i]),
          float(shares[i]),
        ),
        strict=True,
      )
    )
    for i in order
  ]


def write(
  workdir: pathlib.Path, outcomes: Outcomes, class_names: Sequence[str]
) -> None:
  """Writes ``predictions.npz`` and ``confusions.csv``, the same bytes again.

  Args:
    workdir: Folder of the run.
    outcomes: The outcomes.
    class_names: One name per class.
  """
  buffer = io.BytesIO()
  np.savez(
    buffer,
    **{name: x for name, x in outcomes._asdict().items() if x is not None},
  )
  _replace(workdir / PREDICTIONS, buffer.getvalue())
  lines = io.StringIO(newline='')
  writer = csv.DictWriter(lines, _COLUMNS)
  writer.writeheader()
  writer.writerows(confusions(outcomes, class_names))
  _replace(workdir / CONFUSIONS, lines.getvalue().encode())


def _replace(path: pathlib.Path, content: bytes) -> None:
  """Writes a file that is either the old or the new one."""
  temporary = path.with_name(path.name + '.tmp')
  temporary.write_bytes(content)
  os.replace(temporary, path)
