# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tables of the Outlier Detection DataSets."""

import contextlib
import io
import os
from typing import Any

import numpy as np

from imbsam_jax.data import _errors
from imbsam_jax.data import _tables


def odds_table(
  name: str,
  *,
  data_dir: str | os.PathLike[str] | None = None,
  download: bool = True,
) -> _tables.Table:
  """A table of ODDS, as a TFDS builder keeps it.

  Prepared on first use, from the manual folder ``DATA_DIR/downloads/manual`` if
  ``NAME.mat``, ``NAME.npz`` or ADBench's file is there, else by a download of
  that file. Rows are in the order of the file.

  Args:
    name: 'arrhythmia' (only from the manual folder), 'cardio', 'satellite',
      'satimage_2', 'shuttle' or 'thyroid'.
    data_dir: Where prepared data sets are; None is TFDS's own default.
    download: Whether a table that is neither prepared nor in the manual folder
      may be downloaded.

  Raises:
    DataError: If the table is not there, cannot be downloaded, or is not the
      one that is expected.
    ValueError: If the name is unknown.
  """
  # Here, so that tables of one's own do not load TFDS.
  import tensorflow_datasets as tfds

  from imbsam_jax.data import _odds_builder

  if name not in _odds_builder.TABLES:
    raise ValueError(
      f'`name` must be one of {", ".join(sorted(_odds_builder.TABLES))}, got '
      f'{name!r}. Read another table by `read_table`.'
    )
  builder = _odds_builder.Odds(
    config=name, data_dir=data_dir, file_format='array_record'
  )
  if not builder.is_prepared():
    manual = builder.data_dir_root / 'downloads' / 'manual'
    names = ', '.join(_odds_builder.file_names(name))
    advice = f'Put one of the files {names} into {manual}'
    if _odds_builder.find_file(manual, name) is None and not (
      download and _odds_builder.TABLES[name].url
    ):
      more = ', or pass download=True' if _odds_builder.TABLES[name].url else ''
      raise _errors.DataError(
        f'table {name!r} is not prepared in {builder.data_dir}. {advice}{more}.'
      )
    # TFDS would tell a lot for a small table.
    tfds.disable_progress_bar()
    try:
      with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare()
    except _errors.DataError:
      raise
    except Exception as error:  # Networks fail in many ways.
      raise _errors.DataError(
        f'table {name!r} cannot be prepared: {error}. {advice}.'
      ) from error
  rows: Any = builder.as_data_source(split='train')
  rows = rows.__getitems__(list(range(len(rows))))
  return _tables.make_table(
    np.stack([row['features'] for row in rows]),
    np.array([row['label'] for row in rows]),
  )
