# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Detectors on tables: splits, runs with their files, comparisons.

What the programs ``anomaly``, ``score`` and ``compare_anomaly`` call.
"""

from imbsam_jax.anomaly.study._compare import compare
from imbsam_jax.anomaly.study._config import check
from imbsam_jax.anomaly.study._config import Config
from imbsam_jax.anomaly.study._config import Data
from imbsam_jax.anomaly.study._config import Detector
from imbsam_jax.anomaly.study._config import help_text as words
from imbsam_jax.anomaly.study._config import with_word
from imbsam_jax.anomaly.study._run import fit
from imbsam_jax.anomaly.study._run import header
from imbsam_jax.anomaly.study._run import read
from imbsam_jax.anomaly.study._run import Run
from imbsam_jax.anomaly.study._run import Split
from imbsam_jax.anomaly.study._run import split
from imbsam_jax.anomaly.study._run import write
from imbsam_jax.anomaly.study._score import score
from imbsam_jax.anomaly.study._score import write_columns

__all__ = [
  'Config',
  'Data',
  'Detector',
  'Run',
  'Split',
  'check',
  'compare',
  'fit',
  'header',
  'read',
  'score',
  'split',
  'with_word',
  'words',
  'write',
  'write_columns',
]
