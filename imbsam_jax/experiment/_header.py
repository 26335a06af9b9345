# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What an experiment says about itself before it runs."""

from typing import Any

import jax

from imbsam_jax import methods
from imbsam_jax import metrics
from imbsam_jax import training
from imbsam_jax._runs import console
from imbsam_jax.experiment import _choices
from imbsam_jax.experiment import _config


def header(experiment: Any) -> str:
  """What a run is about, on one screen.

  Args:
    experiment: An `Experiment`, which shows itself by this.
  """
  config, counts = experiment.config, experiment.data.class_counts
  params = experiment.abstract_state.params
  groups = metrics.class_groups(
    counts, many_above=config.many_above, few_below=config.few_below
  )
  tail = counts < config.optimizer.threshold
  num_params, num_frozen = (
    sum(x.size for x in jax.tree.leaves(tree))
    for tree in (params, experiment.abstract_state.frozen)
  )
  trained = f', {num_params:,} of them trained' if num_frozen else ''
  validation = experiment.data.validation
  return console.fields(
    {
      'data': f'{config.data.name}, {_classes(len(counts))}, '
      f'{experiment.num_train} training images '
      f'({counts.max()} to {counts.min()} per class, imbalance factor '
      f'{counts.max() / counts.min():.4g}), '
      f'{0 if validation is None else len(validation.labels)} validation, '
      f'{len(experiment.data.test.labels)} test',
      'groups': f'{groups["many"].sum()} many (> {config.many_above}), '
      f'{groups["medium"].sum()} medium, '
      f'{groups["few"].sum()} few (< {config.few_below}); '
      f'tail (< {config.optimizer.threshold}): {_classes(tail.sum())}, '
      f'{counts[tail].sum() / counts.sum():.1%} of the images',
      'model': f'{_model(config.model, experiment.head)}, '
      f'{num_params + num_frozen:,} parameters{trained}',
      'method': f'{_choices.describe(config)}, '
      f'{training.LAYOUTS[experiment.layout].about}, expected cost '
      f'{experiment.expected_cost():.2f} SGD steps',
      'run': f'{config.epochs:g} epochs, {experiment.num_steps} steps of '
      f'{config.data.batch_size} on '
      + console.counted(
        experiment.mesh.size,
        f'{experiment.mesh.devices.flat[0].platform} device',
      )
      + f', seed {config.seed}',
    }
  )


def _classes(number: int) -> str:
  return console.counted(number, 'class', 'classes')


def _model(model: _config.Model, head: str) -> str:
  if model.name == methods.OWN:
    # What is said of it is what was declared, or found.
    parts = ['your own network']
    parts += ['BatchNorm'] if model.norm == 'batch' else []
    parts += [f'{head} head'] if head != 'linear' else []
    return ', '.join(parts)
  norm = 'no' if model.norm == 'none' else model.norm
  return f'{model.name}, {norm} norm, {head} head'
