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
from imbsam_jax import calibration as calibration_lib
from imbsam_jax import data as data_lib
from imbsam_jax import metrics
from imbsam_jax import training
from imbsam_jax._runs import console
from imbsam_jax._runs import statistics
from imbsam_jax.experiment import _calibration_file
from imbsam_jax.experiment import _calibration_methods
from imbsam_jax.experiment import _chosen_checkpoint
from imbsam_jax.experiment import _correction
from imbsam_jax.experiment import _evaluate
from imbsam_jax.experiment import _experiment
from imbsam_jax.experiment import _model_file
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
      metrics, 'test': metrics, 'temperature': what the corrected logits are
      divided by, fitted on validation, 1 if all of that is classified right,
      'confidence': {'nll', 'nll_temperature',
      'ece_temperature'}}``, the mean negative log-likelihood of the test set,
      and it and the ECE over the temperature; None for one that the network
      does not admit.
    needs: What those that are None would need.
    corrections: For each of the others the fitted numbers, with the
      temperature.
    params_sha256: Checksum of the parameters of the checkpoint that were
      trained.
  """

  step: int
  methods: Mapping[str, Any]
  needs: Mapping[str, str] = dataclasses.field(default_factory=dict)
  corrections: Mapping[str, _correction.Correction] = dataclasses.field(
    default_factory=dict
  )
  params_sha256: str | None = None

  @property
  def selected(self) -> str | None:
    """The method of the best balanced accuracy on validation.

    Of equals 'none', or else the first; None where no method is admitted.
    """
    accuracies = {
      name: (one['validation']['balanced'], name == 'none')
      for name, one in self.methods.items()
      if one is not None
    }
    return max(accuracies, key=lambda name: accuracies[name], default=None)

  @property
  def content(self) -> dict[str, Any]:
    """The content of ``calibration.json``, all but that of its arrays."""
    return {
      'step': self.step,
      'params_sha256': self.params_sha256,
      'selected': self.selected,
      'methods': dict(self.methods),
    }

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
      'this run has set no validation images aside to choose by. Train '
      + _evaluate.validation_advice(experiment)
      + (
        ' Or pass Sources(..., validation=(images, labels)).'
        if experiment.config.data.name == _own.OWN
        else ''
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
  chosen = {
    name: _choose(experiment, METHODS[name](trained), sets) for name in names
  }
  methods = {name: one and one[0] for name, one in chosen.items()}
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
    {name: one[1] for name, one in chosen.items() if one},
    _model_file.trained_sha256(
      state.variables,
      _model_file.variable_table(experiment),
    ),
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

  Every run gets a ``calibration.json`` and a ``calibration.npz`` in its folder,
  which `load_run` reads.

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
    _calibration_file.write(
      folder, runs[folder].content, runs[folder].corrections
    )
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
  columns += ['test ECE (T)', 'T', 'test NLL', 'test NLL (T)']
  rows = []
  for name in calibrations[0].methods:
    results = [one.methods[name] for one in calibrations]
    if results[0] is None:
      rows.append(
        [
          name,
          calibrations[0].needs.get(name, ''),
          *['n/a'] * (len(columns) - 2),
        ]
      )
      continue
    test = [result['test'] for result in results]
    sure = [result['confidence'] for result in results]
    rows.append(
      [
        name,
        _choices([result['chosen'] for result in results]),
        _percent([result['validation'] for result in results], 'balanced'),
        *(_percent(test, metric) for metric in _SHOWN),
        _percent(sure, 'ece_temperature'),
        _number(results, 'temperature'),
        _number(sure, 'nll'),
        _number(sure, 'nll_temperature'),
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


def _number(results: Sequence[dict[str, Any]], name: str) -> str:
  """Three digits, and n/a for None."""
  if len(results) == 1:
    value = results[0][name]
    return 'n/a' if value is None else f'{value:.3g}'
  values = statistics.over_runs([{name: one[name]} for one in results])[name]
  if values['mean'] is None:
    return 'n/a'
  return f'{values["mean"]:.3g} +- {values["std"]:.2g}'


def _choose(
  experiment: _experiment.Experiment,
  candidates: _calibration_methods.Candidates,
  sets: dict[str, _Views],
) -> tuple[dict[str, Any], _correction.Correction] | None:
  """The candidate of the best balanced accuracy on validation, tested.

  Returns:
    What `Calibration.methods` has of it, and the correction; None of no
    candidate.
  """
  best: tuple[float, Any] = (-1.0, None)
  for chosen, correction in candidates:
    logits = _logits(correction, sets['validation'])
    scores = _score(experiment, logits, sets['validation'][0].labels)
    if scores['balanced'] > best[0]:
      best = scores['balanced'], (chosen, correction, scores, logits)
  if best[1] is None:
    return None
  chosen, correction, scores, logits = best[1]
  temperature = _temperature(correction, logits, sets['validation'][0].labels)
  logits, labels = _logits(correction, sets['test']), sets['test'][0].labels
  result = {
    'chosen': chosen,
    'validation': scores,
    'test': _score(experiment, logits, labels),
    'temperature': temperature,
    'confidence': {
      'nll': _likelihood(logits, labels),
      'nll_temperature': _likelihood(logits / temperature, labels),
      'ece_temperature': _score(experiment, logits / temperature, labels)[
        'ece'
      ],
    },
  }
  return result, dataclasses.replace(correction, temperature=temperature)


def _temperature(
  correction: _correction.Correction, logits: np.ndarray, labels: np.ndarray
) -> float:
  """That of validation, whose classes have the same weight."""
  possible = ~correction.excluded(logits.shape[1])
  rows = possible[labels]
  # Where all are right the likeliest would be 0, and all confidences 1.
  if (logits.argmax(axis=1) == labels)[rows].all():
    return 1.0
  # Classes that are never predicted have no share at any temperature.
  number = np.cumsum(possible) - 1
  return calibration_lib.fit_temperature(
    logits[rows][:, possible], number[labels[rows]]
  )


def _logits(correction: _correction.Correction, views: _Views) -> np.ndarray:
  """Corrected logits, averaged over what an evaluation sees of an image."""
  return np.mean(
    [np.asarray(_corrected(correction, one), np.float64) for one in views],
    axis=0,
  )


def _corrected(
  correction: _correction.Correction, outputs: _calibration_methods.Outputs
) -> Any:
  features = outputs.features if correction.needs_features else None
  return _apply(correction, features, outputs.logits)


@jax.jit
def _apply(
  correction: _correction.Correction, features: Any, logits: Any
) -> jax.Array:
  return correction(features, logits)


def _score(
  experiment: _experiment.Experiment, logits: np.ndarray, labels: np.ndarray
) -> dict[str, Any]:
  probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
  confidences = 1 / probabilities.sum(axis=1)
  config = experiment.config
  return metrics.classification_metrics(
    labels,
    logits.argmax(axis=1),
    confidences,
    class_counts=experiment.data.class_counts,
    many_above=config.many_above,
    few_below=config.few_below,
    tail_below=config.optimizer.threshold,
  )


def _likelihood(logits: np.ndarray, labels: np.ndarray) -> float | None:
  """Mean negative log-likelihood; None where a label has no share."""
  shifted = logits - logits.max(axis=1, keepdims=True)
  own = np.take_along_axis(shifted, np.asarray(labels)[:, None], axis=1)[:, 0]
  losses = np.log(np.exp(shifted).sum(axis=1)) - own
  return float(losses.mean()) if np.isfinite(losses).all() else None


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
