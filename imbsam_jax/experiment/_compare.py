# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods x seeds: runs, mean +- std, a table and a picture."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
import os
import pathlib
import tempfile
import time
from typing import Any
import warnings

import jax

from imbsam_jax import _checks
from imbsam_jax import _errors
from imbsam_jax import metrics
from imbsam_jax import training
from imbsam_jax._runs import compilation
from imbsam_jax._runs import console
from imbsam_jax._runs import folder as folder_lib
from imbsam_jax._runs import origin
from imbsam_jax._runs import statistics
from imbsam_jax.experiment import _base_run
from imbsam_jax.experiment import _build
from imbsam_jax.experiment import _comparison_tables
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _data_sets
from imbsam_jax.experiment import _experiment
from imbsam_jax.experiment import _header
from imbsam_jax.experiment import _own
from imbsam_jax.experiment import _pace
from imbsam_jax.experiment import _run
from imbsam_jax.experiment import _stacked_runs
from imbsam_jax.experiment import _summary

# Methods that are compiled together.
_AT_ONCE = 8
# Of networks whose runs are stacked where nobody says so.
_MAX_STACKED_PARAMETERS = 100_000

Method = _config.Config | _experiment.Experiment


@dataclasses.dataclass(frozen=True, repr=False)
class Comparison:
  """What came out of the runs of several methods; ``print`` shows it.

  So do a prompt, and a notebook after the last line of a cell.

  Attributes:
    config: The configuration of the first method.
    summaries: By method the ``summary.json`` of each run.
    per_class: By method the rows of ``per_class.csv`` of each run.
    links: Update rules in columns, where the words are ``<rule>+<method>``.
  """

  config: _config.Config
  summaries: Mapping[str, list[dict[str, Any]]]
  per_class: Mapping[str, list[list[dict[str, Any]]]]
  links: tuple[str, ...] = ()

  @functools.cached_property
  def methods(self) -> dict[str, dict[str, dict[str, Any]]]:
    """``{word: {metric: {'mean': .., 'std': .., 'runs': n}}}``."""
    return {
      word: statistics.over_runs(summaries)
      for word, summaries in self.summaries.items()
    }

  @property
  def content(self) -> dict[str, Any]:
    """The content of ``comparison.json``."""
    return {'methods': self.methods, 'split': self.config.final_split}

  def table(self) -> str:
    """Mean +- standard deviation over seeds, as a Markdown table."""
    if self.links:
      return _comparison_tables.comparison_table_by_link(
        self.content, self.links
      )
    return _comparison_tables.comparison_table(self.content)

  def finding(self) -> str:
    """What the table shows, in a sentence or two."""
    return _comparison_tables.finding(self.content)

  def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
    """Draws accuracy against class frequency.

    Of more methods than can be told apart, the first and the best are drawn.

    Args:
      path: File of the picture, a PNG; None writes none.

    Returns:
      The Matplotlib figure.
    """
    words = _comparison_tables.best_methods(self.content)
    rows = self.per_class[words[0]][0]
    return metrics.plot_accuracy_by_frequency(
      path,
      [int(row['train_count']) for row in rows],
      {
        word: [
          [float(row['accuracy'] or 'nan') for row in rows]
          for rows in self.per_class[word]
        ]
        for word in words
      },
      tail_below=self.config.optimizer.threshold,
      title=f'{self.config.data.name}: accuracy on the '
      f'{self.config.final_split} set, '
      + console.counted(len(self.per_class[words[0]]), 'seed'),
    )

  def __str__(self) -> str:
    text = f'{self.table()}\n\n{self.finding()}\n'
    reported = _summary.reporting(self.config)
    return text + (
      '' if reported == 'last step' else f'\nReported are: {reported}.\n'
    )

  __repr__ = __str__

  def _repr_markdown_(self) -> str:
    return str(self)

  def write(
    self, workdir: str | os.PathLike[str], *, command: str = 'compare'
  ) -> None:
    """Writes ``comparison.json``, ``comparison.md`` and the picture.

    Args:
      workdir: Folder that these are written into.
      command: What made the numbers, for ``comparison.md``.
    """
    workdir = pathlib.Path(workdir).expanduser()
    workdir.mkdir(parents=True, exist_ok=True)
    training.write_json(workdir / 'comparison.json', self.content)
    training.write_text(
      workdir / 'comparison.md',
      f'# {self.config.data.name}\n\n{self}\n{origin.origin(command)}\n',
    )
    self.plot(workdir / 'accuracy_by_frequency.png')


def compare(
  configs: Mapping[str, Method],
  *,
  seeds: int = 5,
  workdir: str | os.PathLike[str] | None = None,
  links: Sequence[str] = (),
  stacked: bool | None = None,
  command: str = 'imbsam_jax.experiment.compare',
  say: console.Say | None = None,
  progress: bool | console.Report | None = None,
) -> Comparison:
  """Trains every method on every seed and compares them.

  Args:
    configs: By method word, or any other name, a configuration; or an
      `Experiment`, for what is one's own beside the words. In `init_from` of a
      configuration ``{word}`` stands for the words but those that fine-tune a
      finished run: for 'imbsam' of 'imbsam+crt', for 'sgd' of 'crt'.
    seeds: Number of seeds, 0 to seeds - 1.
    workdir: ``<word>/seed_<n>/`` are the runs, ``comparison.json``,
      ``comparison.md`` and ``accuracy_by_frequency.png`` what came out. Runs
      that are complete are not repeated. None leaves no files.
    links: Update rules, where the words are ``<rule>+<method>``: one column
      each, methods in rows.
    stacked: Whether runs that differ in seed and radius alone go through one
      program together; None does so on accelerators, for images that stay
      there.
    command: What is told as the origin of the numbers.
    say: Called with the header, a line for each run that tells how many there
      are and about how long the rest takes, and what is compiled in between;
      such as ``print``.
    progress: True shows a line over the steps of each run; a
      function is called with the records of new steps, which have the 'method'
      and the 'seed' of the run besides. Of runs that go through one program
      together, these are the records of the first.

  Returns:
    The comparison: ``.table()``, ``.finding()``, ``.plot()``.

  Raises:
    ConfigError: If a configuration does not fit, or a folder is that of
      another.
  """
  _checks.integer('seeds', seeds, low=1, error=_errors.ConfigError)
  if not isinstance(configs, Mapping) or not configs:
    raise _errors.ConfigError(
      '`configs` must be a mapping of at least one name to a configuration or '
      f'an experiment, got {configs!r}.'
    )
  for name in configs:
    if name in ('', '.', '..') or '/' in name or os.sep in name:
      raise _errors.ConfigError(
        f'a method is named by the folder of its runs, got {name!r}. Leave out '
        'slashes; words are joined by plus signs.'
      )
  console.check_progress(progress)
  _comparison_tables.check_links(list(configs), links)
  if workdir is None:
    with tempfile.TemporaryDirectory() as temporary:
      return compare(
        configs,
        seeds=seeds,
        workdir=temporary,
        links=links,
        stacked=stacked,
        say=say,
        progress=progress,
      )
  folder = pathlib.Path(workdir).expanduser()
  folder_lib.check_writable(folder)
  configs = {
    name: method
    if isinstance(method, _experiment.Experiment)
    else _base_run.of_method(method, name)
    for name, method in configs.items()
  }
  compared = _Compared(folder, seeds, say or _silent, progress)
  folders_of = compared.run(configs, stacked)
  first = next(iter(configs.values()))
  comparison = Comparison(
    first if isinstance(first, _config.Config) else first.config,
    {
      w: [training.read_json(f / 'summary.json') for f in folders]
      for w, folders in folders_of.items()
    },
    {
      w: [training.read_csv(f / 'per_class.csv') for f in folders]
      for w, folders in folders_of.items()
    },
    tuple(links),
  )
  comparison.write(folder, command=command)
  return comparison


def _is_small(experiment: _experiment.Experiment) -> bool:
  """Whether stacked runs take less time than runs one after the other.

  On an H100, 8 runs of a convolutional net of 24,000 parameters took half the
  time, 3 runs of a ResNet-32 (464,000) took 1.25 times as long: convolutions
  with kernels of their own for each run have no fast kernels there.
  """
  state = experiment.abstract_state
  leaves = jax.tree.leaves((state.params, state.frozen))
  return sum(leaf.size for leaf in leaves) <= _MAX_STACKED_PARAMETERS


class _Compared:
  """Runs of a comparison, in one folder."""

  def __init__(
    self,
    workdir: pathlib.Path,
    num_seeds: int,
    say: console.Say,
    progress: bool | console.Report | None,
  ):
    self._workdir = workdir
    self._num_seeds = num_seeds
    self._say = say
    self._progress = progress
    self._number = 0  # Runs that a line was said of.
    self._total = 0
    self._stacked: set[pathlib.Path] = set()

  def run(
    self, methods: Mapping[str, Method], stacked: bool | None
  ) -> dict[str, list[pathlib.Path]]:
    """Folders of all runs; what is missing is trained."""
    words = list(methods)
    self._total = len(words) * self._num_seeds
    self._pace = _pace.Pace(
      {word: len(self._missing_seeds(word)) for word in words}
    )
    begin = {}
    for word, method in methods.items():
      config = method if isinstance(method, _config.Config) else method.config
      _base_run.check_seeds(config, self._num_seeds)
      begin[word] = config.init_from
    first = _as_experiment(methods[words[0]], like=None)
    self._say(f'{_header.of_comparison(first, begin, self._num_seeds)}\n')
    # What cannot work is said before hours are spent on what can.
    for word in words[1:]:
      one = methods[word]
      if isinstance(one, _config.Config):
        _own.name_in(one, model=None, data=None, loss=None)
        _build.check_config(one)
    if stacked is None:
      stacked = first.steps_per_call > 1 and _is_small(first)
    runs: dict[str, list[pathlib.Path]] = {}
    for begin in range(0, len(words), _AT_ONCE):
      part = {
        word: first
        if word == words[0]
        else _as_experiment(methods[word], like=first)
        for word in words[begin : begin + _AT_ONCE]
      }
      runs |= self._run_part(part, max(map(len, words)), stacked)
      if begin + _AT_ONCE < len(words):
        # Programs of many methods are more than a process may map.
        jax.clear_caches()
    return runs

  def _run_part(
    self,
    experiments: Mapping[str, _experiment.Experiment],
    width: int,
    stacked: bool,
  ) -> dict[str, list[pathlib.Path]]:
    for word, experiment in experiments.items():
      self._pace.know(word, experiment.expected_work())
    if stacked:
      for group in self._groups(experiments):
        self._run_stacked(group)
    # Before the first run, whose time would otherwise be mostly this.
    compilation.compile_ahead(
      [
        experiment
        for word, experiment in experiments.items()
        if self._missing_seeds(word)
      ],
      say=self._say,
    )
    return {
      word: [
        self._run(word, width, experiment, seed)
        for seed in range(self._num_seeds)
      ]
      for word, experiment in experiments.items()
    }

  def _run_stacked(self, group: list[_stacked_runs.Member]) -> None:
    first = group[0]
    programs = console.counted(len(first.experiment.programs()), 'program')
    self._say(
      f'{len(group)} of {self._total} runs go side by side: compiling '
      f'{programs} ...'
    )
    begin = time.perf_counter()
    with console.shown(
      self._progress,
      first.experiment.num_steps,
      f'{len(group)} stacked runs',
      # Folders are <word>/seed_<n>.
      method=first.workdir.parent.name,
      seed=first.seed,
    ) as report:
      _stacked_runs.run_stacked(group, progress=report)
    seconds = (time.perf_counter() - begin) / len(group)
    for member in group:
      self._stacked.add(member.workdir)
      self._pace.trained(member.workdir.parent.name, seconds)

  def _groups(
    self, experiments: Mapping[str, _experiment.Experiment]
  ) -> list[list[_stacked_runs.Member]]:
    """Runs that can be stacked, none of them begun."""
    groups: list[list[_stacked_runs.Member]] = []
    for word, experiment in experiments.items():
      if experiment.search is not None:
        continue  # Each begins with what its own search gives.
      members = [
        _stacked_runs.Member(experiment, seed, folder)
        for seed in range(self._num_seeds)
        if not (folder := self._folder(word, seed)).exists()
      ]
      for group in groups:
        if group and _stacked_runs.fits(group[0].experiment, experiment):
          group += members
          break
      else:
        groups.append(members)
    return [group for group in groups if len(group) > 1]

  def _folder(self, word: str, seed: int) -> pathlib.Path:
    return self._workdir / word / f'seed_{seed}'

  def _missing_seeds(self, word: str) -> list[int]:
    return [
      seed
      for seed in range(self._num_seeds)
      if not (self._folder(word, seed) / 'summary.json').exists()
    ]

  def _run(
    self,
    word: str,
    width: int,
    experiment: _experiment.Experiment,
    seed: int,
  ) -> pathlib.Path:
    workdir = self._folder(word, seed)
    summary = folder_lib.read_summary(
      workdir,
      experiment.config_of(seed),
      experiment.fingerprint,
      experiment.own,
    )
    if summary is not None:
      lacking = _summary.lacking(
        summary, workdir, len(experiment.data.class_counts)
      )
      if lacking:
        warnings.warn(
          f'{workdir}: {lacking}; the files of the run are written anew.',
          stacklevel=2,
        )
        summary = None
    how = ' (complete before)' if workdir not in self._stacked else ''
    self._number += 1
    if summary is None:
      how, begin = '', time.perf_counter()
      with console.shown(
        self._progress,
        experiment.num_steps,
        f'{self._number}/{self._total} {word} seed {seed}',
        method=word,
        seed=seed,
      ) as report:
        summary = _run.run(
          experiment, seed=seed, workdir=workdir, progress=report
        ).summary
      self._pace.trained(word, time.perf_counter() - begin)
    number = f'{self._number:>{len(str(self._total))}}/{self._total}'
    self._say(
      f'{number} {word:<{width}} seed {seed}  '
      f'top-1 {console.percent(summary["top1"])}  '
      f'tail {console.percent(summary["tail"])}  '
      f'{summary["seconds"]:.1f} s{how}{self._pace.left()}'
    )
    return workdir


def _as_experiment(
  method: Method, *, like: _experiment.Experiment | None
) -> _experiment.Experiment:
  """An experiment, on the data of another where these are the same."""
  if isinstance(method, _experiment.Experiment):
    return method
  shared = like is not None and _data_sets.same_examples(
    method.data, like.config.data
  )
  if like is None or not shared:
    return _build.build(method)
  return _build.build_on(method, like.source)


def _silent(text: str) -> None:
  del text
