# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What an experiment says about itself before it runs."""

from collections.abc import Mapping
from typing import Any

import jax

from imbsam_jax import _memory
from imbsam_jax import data as data_lib
from imbsam_jax import methods
from imbsam_jax import metrics
from imbsam_jax import models
from imbsam_jax import training
from imbsam_jax._runs import console
from imbsam_jax.experiment import _choices
from imbsam_jax.experiment import _config

# Methods that a line has room for.
_LISTED = 12


def header(experiment: Any) -> str:
  """What a run is about, on one screen.

  Args:
    experiment: An `Experiment`, which shows itself by this.
  """
  config = experiment.config
  return console.fields(
    _examples(experiment)
    | {
      'model': f'{_model(config.model, experiment.head)}, '
      f'{_parameters(experiment)}',
      **_trunk(experiment),
      **_begin(experiment),
      'method': f'{_choices.describe(config)}, '
      f'{training.LAYOUTS[experiment.layout].about}, expected cost '
      f'{experiment.expected_cost():.2f} SGD steps{_of_head(experiment)}',
      'run': f'{_length(experiment)}, seed {config.seed}',
    }
  )


def of_comparison(
  experiment: Any, words: Mapping[str, str | None], num_seeds: int
) -> str:
  """What a comparison is about, on one screen.

  Args:
    experiment: The first of its experiments.
    words: The methods, each with `init_from`.
    num_seeds: How often each is trained.
  """
  names = list(words)
  begin = {word: text for word, text in words.items() if text}
  listed = ', '.join(names[:_LISTED])
  if len(words) > _LISTED:
    listed += f' and {len(words) - _LISTED} more'
  runs = console.counted(len(words) * num_seeds, 'run')
  seeds = 'seed 0' if num_seeds == 1 else f'seeds 0 to {num_seeds - 1}'
  return console.fields(
    _examples(experiment)
    | {
      'model': f'{_model(experiment.config.model)}, '
      f'{_parameters(experiment)} with {names[0]}',
      **_trunk(experiment),
      'methods': listed,
      **({'begin': _listed_begins(begin)} if begin else {}),
      'runs': f'{runs}, {seeds} of each method; {_length(experiment)} each',
    }
  )


def _listed_begins(begin: Mapping[str, str]) -> str:
  """Which methods of a comparison begin with which runs."""
  texts = list(dict.fromkeys(begin.values()))
  listed = ', '.join(texts[:2]) + (
    f' and {len(texts) - 2} more' if texts[2:] else ''
  )
  return f'{", ".join(list(begin)[:_LISTED])} with the runs {listed}'


def _examples(experiment: Any) -> dict[str, str]:
  """The lines on data and class groups."""
  config, counts = experiment.config, experiment.data.class_counts
  groups = metrics.class_groups(
    counts, many_above=config.many_above, few_below=config.few_below
  )
  tail = counts < config.optimizer.threshold
  validation = experiment.data.validation
  return {
    'data': f'{config.data.name}, {_classes(len(counts))}, '
    f'{experiment.num_train} training images '
    f'({counts.max()} to {counts.min()} per class, imbalance factor '
    f'{counts.max() / counts.min():.4g}), '
    f'{0 if validation is None else len(validation.labels)} validation, '
    f'{len(experiment.data.test.labels)} test',
    **_files(experiment),
    **_notes(experiment),
    **_auxiliary(experiment),
    'groups': f'{groups["many"].sum()} many (> {config.many_above}), '
    f'{groups["medium"].sum()} medium, '
    f'{groups["few"].sum()} few (< {config.few_below}); '
    f'tail (< {config.optimizer.threshold}): {_classes(tail.sum())}, '
    f'{counts[tail].sum() / counts.sum():.1%} of the images',
  }


def _files(experiment: Any) -> dict[str, str]:
  """The lines on image files, if the examples are some."""
  files = experiment.data.files
  return {} if files is None else dict(files.lines)


def _notes(experiment: Any) -> dict[str, str]:
  """The line on what is unusual about the examples, if anything is."""
  notes = experiment.data.notes
  return {'note': '; '.join(notes)} if notes else {}


def _auxiliary(experiment: Any) -> dict[str, str]:
  """The line on auxiliary images, where a method takes some."""
  if experiment.auxiliary is None:
    return {}
  text = experiment.config.data.auxiliary
  number = len(experiment.auxiliary.labels)
  if text == data_lib.TEXTURES:
    return {'auxiliary': f'{number:,} textures'}
  name = 'your own' if text == methods.OWN else text
  return {'auxiliary': f'{name}, {number:,} images'}


def _of_head(experiment: Any) -> str:
  """Of what the steps are in which a cost is counted."""
  foundation = experiment.foundation
  return ' of the head' if foundation and foundation.is_cached else ''


def _trunk(experiment: Any) -> dict[str, str]:
  """The line on a pre-trained network, if the run has one."""
  foundation = experiment.foundation
  return {} if foundation is None else {'trunk': foundation.about}


def _begin(experiment: Any) -> dict[str, str]:
  """The runs that come before this one, if any do."""
  lines = {}
  if experiment.bases is not None:
    base = experiment.bases.of_seed(experiment.config.seed)
    lines['begin'] = (
      f'{base.folder} ({_choices.describe(base.config)}), step {base.step}'
    )
  if experiment.search is not None:
    first = experiment.search.experiment
    lines['search'] = (
      f'{first.config.epochs:g} epochs, {first.num_steps} steps, before the '
      f'run: {first.num_train} training and '
      f'{len(first.data.validation.labels)} validation images, expected cost '
      f'{first.expected_cost():.2f} SGD steps'
    )
  return lines


def _parameters(experiment: Any) -> str:
  state = experiment.abstract_state
  num_params, num_frozen = (
    sum(x.size for x in jax.tree.leaves(tree))
    for tree in (state.params, state.frozen)
  )
  trained = f', {num_params:,} of them trained' if num_frozen else ''
  return f'{num_params + num_frozen:,} parameters{trained}'


def _length(experiment: Any) -> str:
  config = experiment.config
  return (
    f'{config.epochs:g} epochs, {experiment.num_steps} steps of '
    f'{config.data.batch_size} on '
    + console.counted(
      experiment.mesh.size,
      f'{experiment.mesh.devices.flat[0].platform} device',
    )
    + (' (memory kept)' if _memory.is_kept() else '')
  )


def _classes(number: int) -> str:
  return console.counted(number, 'class', 'classes')


def _model(model: _config.Model, head: str = '') -> str:
  """The network; in a comparison without its head, which follows the loss."""
  if model.name == methods.OWN:
    # What is said of it is what was declared, or found.
    parts = ['your own network']
    parts += ['BatchNorm'] if model.norm in models.BATCH_NORMS else []
    parts += [f'{head} head'] if head not in ('', 'linear') else []
    return ', '.join(parts)
  norm = 'no' if model.norm == 'none' else model.norm
  return f'{model.name}, {norm} norm' + (f', {head} head' if head else '')
