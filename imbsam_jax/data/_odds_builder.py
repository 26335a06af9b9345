# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""TFDS builder of tables of ODDS; needs no TensorFlow."""

from collections.abc import Iterator
import os
from typing import Any
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from imbsam_jax.data import _errors
from imbsam_jax.data import _table_files
from imbsam_jax.data import _tables

_ADBENCH = (
  'https://github.com/Minqi824/ADBench/raw/main/adbench/datasets/Classical/'
)


class _Facts(NamedTuple):
  rows: int
  features: int
  anomalies: int
  file_name: str | None  # Of ADBench.
  title: str

  @property
  def url(self) -> str | None:
    return None if self.file_name is None else _ADBENCH + self.file_name


TABLES = {
  'arrhythmia': _Facts(452, 274, 66, None, 'arrhythmia'),
  'cardio': _Facts(1831, 21, 176, '6_cardio.npz', 'cardio'),
  'satellite': _Facts(6435, 36, 2036, '30_satellite.npz', 'satellite'),
  'satimage_2': _Facts(5803, 36, 71, '31_satimage-2.npz', 'satimage-2'),
  'shuttle': _Facts(49097, 9, 3511, '32_shuttle.npz', 'shuttle'),
  'thyroid': _Facts(3772, 6, 93, '38_thyroid.npz', 'thyroid'),
}


class Odds(tfds.core.GeneratorBasedBuilder):
  """Tables for anomaly detection, of the Outlier Detection DataSets (ODDS).

  =========== ====== ======== =========
  config      rows   features anomalies
  =========== ====== ======== =========
  arrhythmia     452      274        66
  cardio        1831       21       176
  satellite     6435       36      2036
  satimage_2    5803       36        71
  shuttle      49097        9      3511
  thyroid       3772        6        93
  =========== ====== ======== =========

  All rows are in one split, 'train', in the order of the file.

  All but arrhythmia are downloaded as they are in ADBench (Han et al., NeurIPS
  2022, https://github.com/Minqi824/ADBench). That repository has the BSD-2
  license; the terms of ODDS (Rayana, 2016) and of the UCI sets that the tables
  were made from apply as well.
  """

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'Six tables.'}
  BUILDER_CONFIGS = [
    tfds.core.BuilderConfig(
      name=name,
      description=(
        f'{facts.title}: {facts.rows} rows, {facts.features} features, '
        f'{facts.anomalies} anomalies.'
      ),
    )
    for name, facts in TABLES.items()
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    'Put NAME.mat of ODDS (arrays X and y), NAME.npz, or the file of ADBench '
    'such as 6_cardio.npz into this folder. Only arrhythmia needs this.'
  )

  def _info(self) -> tfds.core.DatasetInfo:
    facts = TABLES[self.builder_config.name]
    return tfds.core.DatasetInfo(
      builder=self,
      description=self.__class__.__doc__,
      features=tfds.features.FeaturesDict(
        {
          # TFDS would store numbers, other than bytes, as float32.
          'features': tfds.features.Tensor(
            shape=(facts.features,),
            dtype=np.float64,
            encoding=tfds.features.Encoding.BYTES,
          ),
          'label': tfds.features.ClassLabel(names=['normal', 'anomaly']),
        }
      ),
      supervised_keys=('features', 'label'),
      homepage='https://odds.cs.stonybrook.edu',
      # A split by a seed is then the same as that of the file itself.
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
    name = self.builder_config.name
    facts = TABLES[name]
    try:
      folder = dl_manager.manual_dir
    except AssertionError:  # It is missing, or empty.
      path = None
    else:
      path = find_file(folder, name)
    if path is None:
      if facts.url is None:
        raise _errors.DataError(
          f'table {name!r} cannot be downloaded. Put one of the files '
          f'{", ".join(file_names(name))} into the manual folder of TFDS, by '
          'default DATA_DIR/downloads/manual.'
        )
      path = dl_manager.download(facts.url)
    is_mat = os.fspath(path).endswith('.mat')
    table = (
      _table_files.read_mat(path) if is_mat else _table_files.read_npz(path)
    )
    sizes = (*table.features.shape, int(table.labels.sum()))
    if sizes != facts[:3]:
      raise _errors.DataError(
        f'{path} is not the table {name!r}: it has {sizes[0]} rows, {sizes[1]} '
        f'features and {sizes[2]} anomalies; {facts.rows}, {facts.features} '
        f'and {facts.anomalies} are expected. Read it by `read_table`, or '
        'remove it.'
      )
    return {'train': self._generate_examples(table)}

  def _generate_examples(
    self, table: _tables.Table
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    for i, (row, label) in enumerate(
      zip(table.features, table.labels, strict=True)
    ):
      yield i, {'features': row, 'label': int(label)}


def file_names(name: str) -> list[str]:
  """What the file of a table may be called in a manual folder."""
  facts = TABLES[name]
  names = [
    f'{stem}{suffix}'
    for stem in dict.fromkeys((name, facts.title))
    for suffix in ('.mat', '.npz')
  ]
  return names + ([facts.file_name] if facts.file_name else [])


def find_file(folder: Any, name: str) -> str | None:
  """The file of a table in a manual folder, if there is one."""
  paths = [os.path.join(folder, file_name) for file_name in file_names(name)]
  return next((path for path in paths if os.path.isfile(path)), None)
