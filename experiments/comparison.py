# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods x seeds: runs, mean +- std, a table and a picture."""

from collections.abc import Mapping
from collections.abc import Sequence
import json
import pathlib
from typing import Any

import jax

from experiments import build
from experiments import config as config_lib
from experiments import console
from experiments import datasets
from experiments import report
from experiments import run
from experiments import side_by_side as side_by_side_lib
from experiments import workdir as workdir_lib
from imbsam_jax import metrics
from imbsam_jax import training

_ACCURACIES = (
  'top1', 'balanced', 'many', 'medium', 'few', 'head', 'tail',
)  # fmt: skip
_BY_LINK = ('balanced', 'tail')


# Methods that are compiled together.
_AT_ONCE = 8
# Methods in a picture; more cannot be told apart.
_MAX_CURVES = 6


def compare(
  configs: Mapping[str, config_lib.Config],
  num_seeds: int,
  workdir: pathlib.Path,
  *,
  links: Sequence[str] = (),
  side_by_side: bool | None = None,
) -> dict[str, Any]:
  """Trains every method on every seed, writes and prints the comparison.

  Args:
    configs: A configuration for each method word.
    num_seeds: Seeds 0 .. num_seeds - 1.
    workdir: ``<word>/seed_<n>/`` are the runs, ``comparison.json``,
      ``comparison.md`` and ``accuracy_by_frequency.png`` what came out.
    links: Update rules, where the words are ``<rule>+<method>``: one column
      each, methods in rows.
    side_by_side: Whether runs that differ in seed and radius alone go through
      one program together; None does so on accelerators, for images that stay
      there.

  Returns:
    The content of ``comparison.json``.
  """
  words = list(configs)
  experiment = build.build(configs[words[0]])
  print(report.header(experiment), end='\n\n')
  # What cannot work is said before hours are spent on what can.
  for word in words[1:]:
    build.check(configs[word])
  runs: dict[str, list[pathlib.Path]] = {}
  width = max(map(len, words))
  for first in range(0, len(words), _AT_ONCE):
    part = {word: configs[word] for word in words[first : first + _AT_ONCE]}
    runs |= _runs(
      part,
      num_seeds,
      workdir,
      like=experiment,
      width=width,
      side_by_side=experiment.steps_per_call > 1
      if side_by_side is None
      else side_by_side,
    )
    # Compiled programs of many methods are more than a process may map.
    jax.clear_caches()
  summaries = {
    word: [json.loads((f / 'summary.json').read_text()) for f in folders]
    for word, folders in runs.items()
  }
  content = {
    'methods': {
      word: report.statistics(found) for word, found in summaries.items()
    }
  }
  training.write_json(workdir / 'comparison.json', content)
  first_config = configs[words[0]]
  shown = table_by_link(content, links) if links else table(content)
  text = f'{shown}\n\n{finding(content)}\n'
  if run.reporting(first_config) != 'last step':
    text += f'\nReported are: {run.reporting(first_config)}.\n'
  training.write_text(
    workdir / 'comparison.md',
    f'# {first_config.data.name}\n\n{text}\n'
    f'{report.origin("experiments.compare")}\n',
  )
  curves = {word: runs[word] for word in _best(content)}
  _plot(first_config, curves, workdir / 'accuracy_by_frequency.png')
  print(
    f'\n{text}\nfiles in {workdir}: comparison.json, comparison.md, '
    'accuracy_by_frequency.png, and a folder for each run'
  )
  return content


def table(content: Mapping[str, Any]) -> str:
  """Mean +- standard deviation over seeds, one line per method."""
  shown = [
    name
    for name in _ACCURACIES
    if any(
      found[name]['mean'] is not None for found in content['methods'].values()
    )
  ]
  columns = [
    'accuracy, %',
    *(report.COLUMNS[name] for name in shown),
    'cost, SGD steps',
    'seconds',
  ]
  rows = []
  for word, found in content['methods'].items():
    cells = [report.mean_std(found[name]) for name in shown]
    cost = f'{found["cost_sgd_steps"]["mean"]:.2f}'
    seconds = f'{found["seconds"]["mean"]:.1f}'
    rows.append([word, *cells, cost, seconds])
  return console.markdown_table(columns, rows)


def table_by_link(content: Mapping[str, Any], links: Sequence[str]) -> str:
  """Methods in rows; balanced and tail accuracy by update rule in columns."""
  methods = content['methods']
  columns = ['accuracy, %']
  columns += [f'{name}, {link}' for name in _BY_LINK for link in links]
  columns += [f'cost, {link}' for link in links]
  rows: dict[str, list[str]] = {}
  for word in methods:
    rows.setdefault(word.partition('+')[2] or 'ce', [])
  for method, cells in rows.items():
    found = [
      methods[link if method == 'ce' else f'{link}+{method}'] for link in links
    ]
    cells += [report.mean_std(f[name]) for name in _BY_LINK for f in found]
    cells += [f'{f["cost_sgd_steps"]["mean"]:.2f}' for f in found]
  return console.markdown_table(
    columns, [[method, *cells] for method, cells in rows.items()]
  )


def _best(content: Mapping[str, Any]) -> list[str]:
  """The first method and those with the best balanced accuracy."""
  methods = content['methods']
  if len(methods) <= _MAX_CURVES:
    return list(methods)
  first, *others = methods
  others.sort(key=lambda word: -methods[word]['balanced']['mean'])
  return [first, *others[: _MAX_CURVES - 1]]


def finding(content: Mapping[str, Any]) -> str:
  """What the table shows, in a sentence or two."""
  methods = content['methods']
  words = [w for w in methods if methods[w]['tail']['mean'] is not None]
  if len(words) < 2:
    return 'One method, or no tail classes: nothing to compare.'
  base, *others = words
  best = max(others, key=lambda word: methods[word]['tail']['mean'])
  tail, base_tail = methods[best]['tail'], methods[base]['tail']
  gain = 100 * (tail['mean'] - base_tail['mean'])
  if gain <= 0:
    return (
      f'No method is better than {base} on the tail classes, which reaches '
      f'{report.mean_std(base_tail)} %; mean +- std over '
      f'{tail["runs"]} seeds.'
    )
  top1_gain = 100 * (
    methods[best]['top1']['mean'] - methods[base]['top1']['mean']
  )
  return (
    f'On the tail classes {best} is best with {report.mean_std(tail)} %, '
    f'{gain:+.1f} points against {base} ({top1_gain:+.1f} over all classes), '
    f'at {methods[best]["cost_sgd_steps"]["mean"]:.2f} SGD steps per step; '
    f'mean +- std over {tail["runs"]} seeds.' + _best_of_all(methods, best)
  )


def _best_of_all(methods: Mapping[str, Any], best_tail: str) -> str:
  best = max(methods, key=lambda word: methods[word]['balanced']['mean'])
  if best == best_tail:
    return ''
  return (
    f' Over all classes {best} is best with '
    f'{report.mean_std(methods[best]["balanced"])} % balanced accuracy.'
  )


def _runs(
  configs: Mapping[str, config_lib.Config],
  num_seeds: int,
  workdir: pathlib.Path,
  *,
  like: build.Experiment,
  width: int,
  side_by_side: bool,
) -> dict[str, list[pathlib.Path]]:
  """Folders of the runs of some methods; what is missing is trained."""
  experiments = {
    word: like
    if config is like.config
    else build.build(
      config,
      data=like.data
      if datasets.same_examples(config.data, like.config.data)
      else None,
    )
    for word, config in configs.items()
  }
  if side_by_side:
    for group in _groups(experiments, num_seeds, workdir):
      title = f'{len(group)} runs side by side'
      progress = console.Progress(group[0].experiment.num_steps, title)
      side_by_side_lib.run_side_by_side(group, progress=progress)
      progress.close()
  # Before the first run, whose time would otherwise be mostly this.
  build.compile_ahead(
    [
      experiment
      for word, experiment in experiments.items()
      if not all(_is_complete(workdir, word, s) for s in range(num_seeds))
    ]
  )
  return {
    word: [
      _run(word.ljust(width), experiment, seed, _folder(workdir, word, seed))
      for seed in range(num_seeds)
    ]
    for word, experiment in experiments.items()
  }


def _groups(
  experiments: Mapping[str, build.Experiment],
  num_seeds: int,
  workdir: pathlib.Path,
) -> list[list[side_by_side_lib.Member]]:
  """Runs that can go side by side, none of them begun."""
  groups: list[list[side_by_side_lib.Member]] = []
  for word, experiment in experiments.items():
    members = [
      side_by_side_lib.Member(experiment, seed, folder)
      for seed in range(num_seeds)
      if not (folder := _folder(workdir, word, seed)).exists()
    ]
    for group in groups:
      if side_by_side_lib.fits(group[0].experiment, experiment):
        group += members
        break
    else:
      groups.append(members)
  return [group for group in groups if len(group) > 1]


def _folder(workdir: pathlib.Path, word: str, seed: int) -> pathlib.Path:
  return workdir / word / f'seed_{seed}'


def _is_complete(workdir: pathlib.Path, word: str, seed: int) -> bool:
  return (_folder(workdir, word, seed) / 'summary.json').exists()


def _run(
  title: str, experiment: build.Experiment, seed: int, workdir: pathlib.Path
) -> pathlib.Path:
  config = config_lib.replace(experiment.config, {'seed': seed})
  summary = workdir_lib.read_summary(workdir, config)
  done = ' (complete before)' if summary else ''
  if summary is None:
    progress = console.Progress(experiment.num_steps, f'{title} seed {seed}')
    summary = run.run(experiment, seed, workdir, progress=progress)
    progress.close()
  print(
    f'{title} seed {seed}  top-1 {console.percent(summary["top1"])}  '
    f'tail {console.percent(summary["tail"])}  '
    f'{summary["seconds"]:.1f} s{done}',
    flush=True,
  )
  return workdir


def _plot(
  config: config_lib.Config,
  runs: Mapping[str, list[pathlib.Path]],
  path: pathlib.Path,
) -> None:
  accuracies: dict[str, Any] = {}
  class_counts: list[int] = []
  for word, folders in runs.items():
    tables = [training.read_csv(f / 'per_class.csv') for f in folders]
    class_counts = [int(row['train_count']) for row in tables[0]]
    accuracies[word] = [
      [float(row['accuracy'] or 'nan') for row in rows] for rows in tables
    ]
  metrics.plot_accuracy_by_frequency(
    path,
    class_counts,
    accuracies,
    tail_below=config.optimizer.threshold,
    title=f'{config.data.name}: accuracy on the {config.final_split} set, '
    f'{len(next(iter(runs.values())))} seeds',
  )
