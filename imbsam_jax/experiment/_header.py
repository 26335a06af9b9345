# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What an experiment says about itself before it runs."""

from typing import Any

import jax

from imbsam_jax import metrics
from imbsam_jax import training
from imbsam_jax._runs import console
from imbsam_jax.experiment import _choices


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
      'data': f'{config.data.name}, {len(counts)} classes, '
      f'{experiment.num_train} training images '
      f'({counts.max()} to {counts.min()} per class, imbalance factor '
      f'{counts.max() / counts.min():.4g}), '
      f'{0 if validation is None else len(validation.labels)} validation, '
      f'{len(experiment.data.test.labels)} test',
      'groups': f'{groups["many"].sum()} many (> {config.many_above}), '
      f'{groups["medium"].sum()} medium, '
      f'{groups["few"].sum()} few (< {config.few_below}); '
      f'tail (< {config.optimizer.threshold}): {tail.sum()} classes, '
      f'{counts[tail].sum() / counts.sum():.1%} of the images',
      'model': f'{config.model.name}, {config.model.norm} norm, '
      f'{experiment.head} head, {num_params + num_frozen:,} '
      f'parameters{trained}',
      'method': f'{_choices.describe(config)}, '
      f'{training.LAYOUTS[experiment.layout].about}, expected cost '
      f'{experiment.expected_cost():.2f} SGD steps',
      'run': f'{config.epochs:g} epochs, {experiment.num_steps} steps of '
      f'{config.data.batch_size} on {experiment.mesh.size} '
      f'{experiment.mesh.devices.flat[0].platform} device(s), '
      f'seed {config.seed}',
    }
  )
