# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The configuration of anomaly detection: fields, meanings, defaults, words."""

import dataclasses
import difflib
from typing import Any

from imbsam_jax import _errors
from imbsam_jax._runs import console
from imbsam_jax._runs import fields


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
  """The rows, and which of their labels are known.

  Attributes:
    path: File of the table: .npz or .mat with X and y, or .csv; labels are 1
      for anomalies and 0 for normal rows.
    name: Name of a table of ODDS, in place of a path: 'cardio', 'satellite',
      'satimage_2', 'shuttle', 'thyroid' or 'arrhythmia'.
    data_dir: Folder of prepared TFDS data sets, for `name`.
    label: Column of the labels in a .csv, by name or position.
    protocol: How rows are split: 'deep_sad' (60/40 by class, clean training
      rows) or 'adbench' (70/30, unlabeled anomalies stay among the training
      rows).
    labeled_anomaly_ratio: Number of labeled anomalies, as a share of all
      training rows (deep_sad) or of the training anomalies (adbench).
    labeled_normal_ratio: Number of labeled normal rows, as a share of all
      training rows (deep_sad).
    pollution_ratio: Share of anomalies among the unlabeled rows (deep_sad).
    max_rows: Number of rows that are drawn first from a table with more
      (adbench).
  """

  path: str | None = None
  name: str | None = None
  data_dir: str | None = None
  label: str | None = None
  protocol: str = 'deep_sad'
  labeled_anomaly_ratio: float = 0.01
  labeled_normal_ratio: float = 0.0
  pollution_ratio: float = 0.0
  max_rows: int = 10_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Detector:
  """Arguments of `imbsam_jax.anomaly.DeepSAD`, which says what they mean."""

  method: str = 'sgd'
  rho: float = 0.02
  head_rho: float = 0.02
  switch: float = 0.7
  average_decay: float = 0.99
  normalization: str = 'group'
  eta: float = 1.0
  hidden_sizes: tuple[int, ...] | None = None
  embedding_size: int | None = None
  norm: str = 'batch'
  optimizer: str = 'sgd'
  learning_rate: float = 0.01
  weight_decay: float = 5e-7
  clip_norm: float | None = 1.0
  batch_size: int = 128
  epochs: int = 50
  pretrain_epochs: int = 50
  pretrain_learning_rate: float = 1e-3
  contamination: float = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
  """One detector.

  Attributes:
    data: The rows.
    detector: The network and its training.
    seed: Seed of the split, the initial weights, the order and the noise.
    final_split: Rows that the summary is about: 'test', or 'validation' while
      anything is still being chosen: the training rows are split once more and
      the test rows not looked at.
  """

  data: Data = dataclasses.field(default_factory=Data)
  detector: Detector = dataclasses.field(default_factory=Detector)
  seed: int = 0
  final_split: str = 'test'


# Word: what it is, the fields that it sets.
WORDS: dict[str, tuple[str, dict[str, Any]]] = {
  'deep_sad': (
    'Deep SAD as published: the mean over the batch (ICLR 2020)',
    {'detector.method': 'sgd', 'detector.normalization': 'batch'},
  ),
  'deep_svdd': (
    'Deep SVDD: no label is known (ICML 2018)',
    {
      'detector.method': 'sgd',
      'data.labeled_anomaly_ratio': 0.0,
      'data.labeled_normal_ratio': 0.0,
    },
  ),
  'sgd': (
    'Deep SAD, anomalies and other rows each divided by their own number',
    {'detector.method': 'sgd'},
  ),
  'sam': ('the same under SAM', {'detector.method': 'sam'}),
  'imbsam': (
    'the same under ImbSAM: anomalies are the tail (ICCV 2023)',
    {'detector.method': 'imbsam'},
  ),
  'sse_sam': ('the same under SSE-SAM', {'detector.method': 'sse_sam'}),
  'momentum_imbsam': (
    'the same along a running average, for the price of SAM',
    {'detector.method': 'momentum_imbsam'},
  ),
  'rsam': (
    'the same under RSAM',
    {'detector.method': 'rsam', 'detector.rho': 0.005},
  ),
}


def with_word(config: Config, word: str) -> Config:
  """A configuration for a word.

  Args:
    config: What does not depend on the word.
    word: One of `WORDS`.

  Raises:
    ValueError: If the word is unknown; the message names the nearest one.
  """
  if word not in WORDS:
    near = difflib.get_close_matches(word, WORDS, n=1)
    hint = f' Did you mean {near[0]!r}?' if near else ''
    raise _errors.ConfigError(
      f'there is no method {word!r}; there are {", ".join(WORDS)}.{hint}'
    )
  return fields.replace(config, WORDS[word][1])


def help_text() -> str:
  """All words, a line each."""
  return console.fields({word: about for word, (about, _) in WORDS.items()})


def check(config: Config) -> None:
  """Refuses what has to be known before a table is read.

  Raises:
    ValueError: If a value does not fit; the message names the field, the value,
      and what it can be.
  """
  for name, value, choices in (
    ('data.protocol', config.data.protocol, ('deep_sad', 'adbench')),
    ('final_split', config.final_split, ('test', 'validation')),
  ):
    if value not in choices:
      raise _errors.ConfigError(
        f'`{name}` must be one of {", ".join(choices)}, got {value!r}.'
      )
  only_deep_sad = ('labeled_normal_ratio', 'pollution_ratio')
  if config.data.protocol == 'adbench':
    for name in only_deep_sad:
      if getattr(config.data, name):
        raise _errors.ConfigError(
          f'`data.{name}` belongs to `data.protocol=deep_sad`: '
          'in the protocol of ADBench all anomalies that are not labeled stay '
          'among the training rows, and no normal row is labeled.'
        )
