# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Experiments by words: train, compare, calibrate, restore.

  from imbsam_jax import experiment

  config = experiment.config('digits_lt', 'imbsam,ldam_drw', {'epochs': 20})
  exp = experiment.build(config)
  print(exp)
  result = experiment.run(exp, seed=0)
  print(result.table())

What the programs of ``python -m imbsam_jax`` call; nothing here reads flags or
prints. What one has beside the words, a network, data or a loss, goes into
`build`.
"""

from imbsam_jax import _extras

# Before anything is imported that may be missing.
_extras.check('experiment')

from imbsam_jax._errors import ConfigError
from imbsam_jax._runs.compilation import cache_compilations
from imbsam_jax._runs.console import Progress
from imbsam_jax._runs.fields import flatten
from imbsam_jax._runs.fields import replace
from imbsam_jax.experiment._build import build
from imbsam_jax.experiment._build import check_config
from imbsam_jax.experiment._calibrate import calibrate
from imbsam_jax.experiment._calibrate import calibrate_runs
from imbsam_jax.experiment._calibrate import Calibration
from imbsam_jax.experiment._calibrate import calibration_table
from imbsam_jax.experiment._calibrate import Calibrations
from imbsam_jax.experiment._check_data import check
from imbsam_jax.experiment._check_data import DataReport
from imbsam_jax.experiment._choices import describe
from imbsam_jax.experiment._classifier import Candidate
from imbsam_jax.experiment._classifier import Classifier
from imbsam_jax.experiment._classifier import Prediction
from imbsam_jax.experiment._compare import compare
from imbsam_jax.experiment._compare import Comparison
from imbsam_jax.experiment._comparison_tables import comparison_table
from imbsam_jax.experiment._comparison_tables import comparison_table_by_link
from imbsam_jax.experiment._comparison_tables import finding
from imbsam_jax.experiment._config import Config
from imbsam_jax.experiment._config import Data
from imbsam_jax.experiment._config import Model
from imbsam_jax.experiment._config import Objective
from imbsam_jax.experiment._config import Optimizer
from imbsam_jax.experiment._configure import config
from imbsam_jax.experiment._configure import recipe_names
from imbsam_jax.experiment._configure import with_words
from imbsam_jax.experiment._data_sets import load
from imbsam_jax.experiment._data_sets import Sources
from imbsam_jax.experiment._dry_run import dry_run
from imbsam_jax.experiment._evaluate import evaluate
from imbsam_jax.experiment._evaluate import Evaluation
from imbsam_jax.experiment._experiment import Experiment
from imbsam_jax.experiment._export import Export
from imbsam_jax.experiment._export import export
from imbsam_jax.experiment._findings import Finding
from imbsam_jax.experiment._load_export import load_export
from imbsam_jax.experiment._load_run import load_run
from imbsam_jax.experiment._predict_files import predict_files
from imbsam_jax.experiment._predict_files import PredictionSummary
from imbsam_jax.experiment._restore import restore
from imbsam_jax.experiment._run import run
from imbsam_jax.experiment._summary import plot
from imbsam_jax.experiment._summary import Result
from imbsam_jax.experiment._zero_shot import zero_shot
from imbsam_jax.methods import help_text as words

__all__ = [
  'Calibration',
  'Calibrations',
  'Candidate',
  'Classifier',
  'Comparison',
  'Config',
  'ConfigError',
  'Data',
  'DataReport',
  'Evaluation',
  'Experiment',
  'Export',
  'Finding',
  'Model',
  'Objective',
  'Optimizer',
  'Prediction',
  'PredictionSummary',
  'Progress',
  'Result',
  'Sources',
  'build',
  'cache_compilations',
  'calibrate',
  'calibrate_runs',
  'calibration_table',
  'check',
  'check_config',
  'compare',
  'comparison_table',
  'comparison_table_by_link',
  'config',
  'describe',
  'dry_run',
  'evaluate',
  'export',
  'finding',
  'flatten',
  'load',
  'load_export',
  'load_run',
  'plot',
  'predict_files',
  'recipe_names',
  'replace',
  'restore',
  'run',
  'with_words',
  'words',
  'zero_shot',
]
