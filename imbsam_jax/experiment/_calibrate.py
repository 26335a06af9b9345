# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods of calibration on the features of a trained network."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import _checks
from imbsam_jax import _errors
from imbsam_jax import data as data_lib
from imbsam_jax import metrics
from imbsam_jax import training
from imbsam_jax._runs import console
from imbsam_jax._runs import statistics
from imbsam_jax.experiment import _calibration_methods
from imbsam_jax.experiment import _chosen_checkpoint
from imbsam_jax.experiment import _experiment
from imbsam_jax.experiment import _own
from imbsam_jax.experiment import _restore
from imbsam_jax.experiment import _scores

METHODS = _calibration_methods.METHODS
_SHOWN = ('top1', 'balanced', 'many', 'medium', 'few', 'tail', 'ece')

# Of the same examples, in different views: their images or, with `test_views`,
# crops of them, and with `flip_test` also the mirror images.
_Views = Sequence[_calibration_methods.Outputs]


@dataclasses.dataclass(frozen=True, repr=False)
class Calibration:
  """What `calibrate` finds; at a prompt and in a notebook it shows its table.

  Attributes:
    step: Number of steps of the checkpoint.
    methods: For each method ``{'chosen': hyper-parameters, 'validation':
      metrics, 'test': metrics}``; None for one that the network does not admit.
    needs: What those that are None would need.
  """

  step: int
  methods: Mapping[str, Any]
  needs: Mapping[str, str] = dataclasses.field(default_factory=dict)

  @property
  def content(self) -> dict[str, Any]:
    """The content of ``calibration.json``."""
    return {'step': self.step, 'methods': dict(self.methods)}

  def table(self) -> str:
    """One line per method, as a Markdown table."""
    return calibration_table([self])

  def __repr__(self) -> str:
    return self.table()

  def _repr_markdown_(self) -> str:
    return self.table()


@dataclasses.dataclass(frozen=True, repr=False)
class Calibrations:
  """What `calibrate_runs` finds; at a prompt and in a notebook its table.

  Attributes:
    runs: The `Calibration` of each run, by its folder.
  """

  runs: Mapping[pathlib.Path, Calibration]

  def table(self) -> str:
    """One line per method: of several runs mean +- standard deviation."""
    return calibration_table(list(self.runs.values()))

  def __repr__(self) -> str:
    return self.table()

  def _repr_markdown_(self) -> str:
    return self.table()


def calibrate(
  experiment: _experiment.Experiment,
  state: training.TrainState,
  names: Sequence[str] = tuple(METHODS),
  *,
  seed: int = 0,
) -> Calibration:
  """Fits every method on the training set and chooses on the validation set.

  Args:
    experiment: The experiment of the run.
    state: The state of a checkpoint.
    names: Methods: 'none' (the state itself), 'logit_adjustment',
      'tau_normalization', 'ncm', 'lws', 'marc' and 'crt', or some of them.
      'tau_normalization' needs a linear head, and it, 'ncm', 'marc' and 'crt'
      need features, which a network of one's own tells if it is a
      `models.Classifier`.
    seed: Seed of the fits.

  Returns:
    What was chosen, and the metrics. The test set is looked at with the chosen
    values only.

  Raises:
    ConfigError: If a method is unknown, or the run has no validation images.
  """
  _check_arguments(names, seed)
  data = experiment.data
  if data.validation is None:
    raise _errors.ConfigError(
      'this run has set no validation images aside to choose by. Train with '
      '`data.validation_per_class=20`'
      + (
        ', or pass Sources(..., validation=(images, labels)).'
        if experiment.config.data.name == _own.OWN
        else '.'
      )
    )
  classifier = state.variables['params'].get('classifier', {})
  kernel = classifier.get('kernel') if experiment.feature_step else None
  trained = _calibration_methods.Trained(
    train=_outputs(experiment, state, data.train),
    kernel=None if kernel is None else np.asarray(kernel),
    class_counts=data.class_counts,
    key=jax.random.key(seed),
  )
  sets = {
    'validation': _views(experiment, state, data.validation),
    'test': _views(experiment, state, data.test),
  }
  methods = {
    name: _choose(experiment, METHODS[name](trained), sets) for name in names
  }
  return Calibration(
    int(state.step),
    methods,
    {
      name: 'needs a linear head'
      if experiment.feature_step
      else 'needs features, such as those of a models.Classifier'
      for name, result in methods.items()
      if result is None
    },
  )


def calibrate_runs(
  workdir: str | os.PathLike[str],
  names: Sequence[str] = tuple(METHODS),
  *,
  checkpoint: str | int = 'last',
  seed: int = 0,
  model: Any = None,
  data: Any = None,
  loss: Any = None,
  data_dir: str | None = None,
  trunk: str | None = None,
  say: Callable[[str], Any] | None = None,
) -> Calibrations:
  """Restores a run, or the runs of several seeds, and calibrates each.

  Every run gets a ``calibration.json`` in its folder.

  Args:
    workdir: Folder of a run, or of its seeds, as `compare` leaves it.
    names: Methods, as `calibrate` takes them.
    checkpoint: 'last', 'best', or a number of steps, as `restore` takes it.
    seed: Seed of the fits.
    model: The network that was passed to `build`, if it is one's own.
    data: The data that were passed to `build`, if they are one's own.
    loss: The loss that was passed to `build`, if it is one's own.
    data_dir: Folder of prepared data sets, if not that of the runs.
    trunk: File of the pre-trained network, if it was moved.
    say: Called with a line for each run, such as ``print``.

  Returns:
    What was found for each run, and a table of all.

  Raises:
    ConfigError: If a method is unknown, a run has no validation images, the
      folder has no runs, or there is no such checkpoint.
    CheckpointError: If a checkpoint cannot be read.
  """
  _check_arguments(names, seed)
  _chosen_checkpoint.check_checkpoint(checkpoint)
  workdir = pathlib.Path(workdir).expanduser()
  # By number: 2 before 10.
  seeds = sorted(workdir.glob('seed_*'), key=lambda p: (len(p.name), p.name))
  one = not seeds or (workdir / 'config.json').exists()
  runs = {}
  for folder in [workdir] if one else seeds:
    experiment, state = _restore.restore(
      folder,
      checkpoint,
      model=model,
      data=data,
      loss=loss,
      data_dir=data_dir,
      trunk=trunk,
    )
    runs[folder] = calibrate(experiment, state, names, seed=seed)
    training.write_json(folder / 'calibration.json', runs[folder].content)
    if say:
      say(f'{folder}: step {runs[folder].step} of {experiment.num_steps}')
  return Calibrations(runs)


def _check_arguments(names: Sequence[str], seed: int) -> None:
  """Refuses unknown methods, and none, and what is no seed."""
  for name in names or ['']:
    if name not in METHODS:
      raise _errors.ConfigError(
        f'unknown method {name!r}; there are {", ".join(METHODS)}.'
      )
  _checks.integer(
    'seed', seed, low=0, high=2**32 - 1, error=_errors.ConfigError
  )


def calibration_table(calibrations: Sequence[Calibration]) -> str:
  """One line per method: what was chosen, and the metrics of the test set.

  Args:
    calibrations: What `calibrate` gave, for one run or for several seeds.

  Returns:
    A Markdown table; of several seeds with mean +- standard deviation.
  """
  columns = ['method', 'chosen', 'validation']
  columns += [f'test {_scores.COLUMNS[name]}' for name in _SHOWN]
  rows = []
  for name in calibrations[0].methods:
    results = [one.methods[name] for one in calibrations]
    if results[0] is None:
      rows.append(
        [
          name,
          calibrations[0].needs.get(name, ''),
          *['n/a'] * (len(_SHOWN) + 1),
        ]
      )
      continue
    test = [result['test'] for result in results]
    rows.append(
      [
        name,
        _choices([result['chosen'] for result in results]),
        _percent([result['validation'] for result in results], 'balanced'),
        *(_percent(test, metric) for metric in _SHOWN),
      ]
    )
  return console.markdown_table(columns, rows)


def _choices(chosen: Sequence[dict[str, Any]]) -> str:
  """``tau 1.0``, or of several runs ``tau 0.8, 1.0``."""
  return ' '.join(
    f'{name} {", ".join(map(str, sorted({c[name] for c in chosen})))}'
    for name in chosen[0]
  )


def _percent(scores: Sequence[dict[str, Any]], name: str) -> str:
  if len(scores) == 1:
    return console.percent(scores[0][name])
  values = [{name: score[name]} for score in scores]
  return statistics.mean_std(statistics.over_runs(values)[name])


def _choose(
  experiment: _experiment.Experiment,
  candidates: _calibration_methods.Candidates,
  sets: dict[str, _Views],
) -> dict[str, Any] | None:
  """The candidate of the best balanced accuracy on validation, tested."""
  best: tuple[float, Any] = (-1.0, None)
  for chosen, corrected in candidates:
    scores = _score(experiment, corrected, sets['validation'])
    if scores['balanced'] > best[0]:
      best = scores['balanced'], (chosen, corrected, scores)
  if best[1] is None:
    return None
  chosen, corrected, scores = best[1]
  return {
    'chosen': chosen,
    'validation': scores,
    'test': _score(experiment, corrected, sets['test']),
  }


def _score(
  experiment: _experiment.Experiment,
  corrected: _calibration_methods.Corrected,
  views: _Views,
) -> dict[str, Any]:
  logits = np.mean(
    [np.asarray(corrected(outputs), np.float64) for outputs in views], axis=0
  )
  probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
  confidences = 1 / probabilities.sum(axis=1)
  config = experiment.config
  return metrics.classification_metrics(
    views[0].labels,
    logits.argmax(axis=1),
    confidences,
    class_counts=experiment.data.class_counts,
    many_above=config.many_above,
    few_below=config.few_below,
    tail_below=config.optimizer.threshold,
  )


def _views(
  experiment: _experiment.Experiment,
  state: training.TrainState,
  examples: data_lib.Examples,
) -> _Views:
  """What an evaluation looks at."""
  number = 1
  if experiment.views is not None:
    shape = (1, *examples.images.shape[1:])
    number = len(
      jax.eval_shape(
        experiment.views, jax.ShapeDtypeStruct(shape, examples.images.dtype)
      )
    )
  flips = (False, True) if experiment.config.flip_test else (False,)
  return [
    _outputs(experiment, state, examples, view=view, mirrored=mirrored)
    for view in range(number)
    for mirrored in flips
  ]


def _outputs(
  experiment: _experiment.Experiment,
  state: training.TrainState,
  examples: data_lib.Examples,
  *,
  view: int | None = None,
  mirrored: bool = False,
) -> _calibration_methods.Outputs:
  def step(variables, images):
    if view is not None and experiment.views is not None:
      images = experiment.views(images)[view]
    if mirrored:
      images = jnp.flip(images, -2)
    # As the objective makes them, which may not be the network's own.
    logits = experiment.logit_step(variables, images)
    if experiment.feature_step is None:
      return logits
    return experiment.feature_step(variables, images)[0], *logits

  outputs = training.over_examples(
    jax.jit(step),
    state.variables,
    examples,
    batch_size=experiment.config.data.batch_size,
    mesh=experiment.mesh,
    num_threads=experiment.num_threads,
  )
  scale = np.float32(experiment.objective.logit_scale)
  return _calibration_methods.Outputs(
    outputs[0] if experiment.feature_step else None,
    scale * outputs[-1],
    examples.labels,
  )
