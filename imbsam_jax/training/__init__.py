# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A small trainer: state, step, devices, checkpoints, loop."""

from imbsam_jax import _extras

# Before anything is imported that may be missing.
_extras.check('training')

from imbsam_jax._errors import CheckpointError
from imbsam_jax._errors import DivergedError
from imbsam_jax._errors import OtherProcessError
from imbsam_jax._errors import PreemptedError
from imbsam_jax.training import update_rules
from imbsam_jax.training._checkpoint import Checkpoints
from imbsam_jax.training._evaluate import over_examples
from imbsam_jax.training._evaluate import predict
from imbsam_jax.training._inputs import Inputs
from imbsam_jax.training._layer_decay import layer_factors
from imbsam_jax.training._layouts import Layout
from imbsam_jax.training._layouts import layout_of
from imbsam_jax.training._layouts import LAYOUTS
from imbsam_jax.training._lock import WorkdirLock
from imbsam_jax.training._loop import fit
from imbsam_jax.training._loop import ScannedSteps
from imbsam_jax.training._manifest import best_checkpoints
from imbsam_jax.training._manifest import inspect_checkpoints
from imbsam_jax.training._manifest import StepReport
from imbsam_jax.training._objective import Apply
from imbsam_jax.training._objective import Context
from imbsam_jax.training._objective import Objective
from imbsam_jax.training._objective import Outcome
from imbsam_jax.training._objective import Outer
from imbsam_jax.training._objective import WrappedApply
from imbsam_jax.training._objective import WrappedObjective
from imbsam_jax.training._optimizer import learning_rate_schedule
from imbsam_jax.training._optimizer import make_optimizer
from imbsam_jax.training._param_plan import begun_with
from imbsam_jax.training._param_plan import loaded
from imbsam_jax.training._param_plan import ParamPlan
from imbsam_jax.training._per_device import per_device
from imbsam_jax.training._per_device import per_device_link
from imbsam_jax.training._predict import make_feature_step
from imbsam_jax.training._predict import make_logit_step
from imbsam_jax.training._predict import make_predict_step
from imbsam_jax.training._predict import make_score_step
from imbsam_jax.training._processes import from_each_process
from imbsam_jax.training._processes import in_any_process
from imbsam_jax.training._processes import in_first_process
from imbsam_jax.training._processes import is_first_process
from imbsam_jax.training._scanned import scan_steps
from imbsam_jax.training._sharding import data_mesh
from imbsam_jax.training._sharding import host_share
from imbsam_jax.training._sharding import replicate
from imbsam_jax.training._sharding import shard_batch
from imbsam_jax.training._sharding import shard_rows
from imbsam_jax.training._stacked import fit_stacked
from imbsam_jax.training._stacked import stack_runs
from imbsam_jax.training._state import create_train_state
from imbsam_jax.training._state import initial_variables
from imbsam_jax.training._state import state_of
from imbsam_jax.training._state import TrainState
from imbsam_jax.training._step import make_train_step
from imbsam_jax.training._supervised import mixed_losses
from imbsam_jax.training._supervised import Supervised
from imbsam_jax.training._supervised import takes_key
from imbsam_jax.training._writers import History
from imbsam_jax.training._writers import params_sha256
from imbsam_jax.training._writers import read_csv
from imbsam_jax.training._writers import read_history
from imbsam_jax.training._writers import read_json
from imbsam_jax.training._writers import set_aside
from imbsam_jax.training._writers import TornFileError
from imbsam_jax.training._writers import whole_steps
from imbsam_jax.training._writers import write_csv
from imbsam_jax.training._writers import write_json
from imbsam_jax.training._writers import write_text
from imbsam_jax.training.update_rules import Method
from imbsam_jax.training.update_rules import Stage
from imbsam_jax.training.update_rules import step_cost

__all__ = [
  'Apply',
  'CheckpointError',
  'Checkpoints',
  'Context',
  'DivergedError',
  'History',
  'Inputs',
  'LAYOUTS',
  'Layout',
  'Method',
  'Objective',
  'OtherProcessError',
  'Outcome',
  'Outer',
  'ParamPlan',
  'PreemptedError',
  'ScannedSteps',
  'Stage',
  'StepReport',
  'Supervised',
  'TornFileError',
  'TrainState',
  'WorkdirLock',
  'WrappedApply',
  'WrappedObjective',
  'begun_with',
  'best_checkpoints',
  'create_train_state',
  'data_mesh',
  'fit',
  'fit_stacked',
  'from_each_process',
  'host_share',
  'in_any_process',
  'in_first_process',
  'initial_variables',
  'inspect_checkpoints',
  'is_first_process',
  'layer_factors',
  'layout_of',
  'learning_rate_schedule',
  'loaded',
  'make_feature_step',
  'make_logit_step',
  'make_optimizer',
  'make_predict_step',
  'make_score_step',
  'make_train_step',
  'mixed_losses',
  'over_examples',
  'params_sha256',
  'per_device',
  'per_device_link',
  'predict',
  'read_csv',
  'read_history',
  'read_json',
  'replicate',
  'scan_steps',
  'set_aside',
  'shard_batch',
  'shard_rows',
  'stack_runs',
  'state_of',
  'step_cost',
  'takes_key',
  'update_rules',
  'whole_steps',
  'write_csv',
  'write_json',
  'write_text',
]
