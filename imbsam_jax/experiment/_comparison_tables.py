# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A comparison as tables and sentences, from ``comparison.json``."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from imbsam_jax import _errors
from imbsam_jax._runs import console
from imbsam_jax._runs import statistics
from imbsam_jax.experiment import _scores

_BY_LINK = ('balanced', 'tail')
# Methods in a picture; more cannot be told apart.
_MAX_CURVES = 6


def comparison_table(content: Mapping[str, Any]) -> str:
  """Mean +- standard deviation over seeds, one line per method."""
  shown = [
    name
    for name in _scores.ACCURACIES
    if any(
      by_metric[name]['mean'] is not None
      for by_metric in content['methods'].values()
    )
  ]
  columns = [
    _accuracy(content),
    *(_scores.COLUMNS[name] for name in shown),
    'cost, SGD steps',
    'seconds',
  ]
  rows = []
  for word, by_metric in content['methods'].items():
    cells = [statistics.mean_std(by_metric[name]) for name in shown]
    cost = f'{by_metric["cost_sgd_steps"]["mean"]:.2f}'
    seconds = f'{by_metric["seconds"]["mean"]:.1f}'
    rows.append([word, *cells, cost, seconds])
  return console.markdown_table(columns, rows)


def check_links(words: Sequence[str], links: Sequence[str]) -> None:
  """Refuses methods that a table by update rule has no place for.

  Raises:
    ConfigError: If a method is not there under each of the update rules.
  """
  if not links:
    return
  methods = dict.fromkeys(_method_of(word, links) for word in words)
  expected = [_word(method, link) for method in methods for link in links]
  if {*words} != {*expected}:
    raise _errors.ConfigError(
      f'`links` are {", ".join(links)}, so that the methods must be '
      f'{", ".join(expected)}; got {", ".join(words)}.'
    )


def _method_of(word: str, links: Sequence[str]) -> str:
  """What a word names beside its update rule."""
  link, _, method = word.partition('+')
  return (method or 'ce') if link in links else word


def _word(method: str, link: str) -> str:
  return link if method == 'ce' else f'{link}+{method}'


def comparison_table_by_link(
  content: Mapping[str, Any], links: Sequence[str]
) -> str:
  """Methods in rows; balanced and tail accuracy by update rule in columns."""
  methods = content['methods']
  columns = [_accuracy(content)]
  columns += [f'{name}, {link}' for name in _BY_LINK for link in links]
  columns += [f'cost, {link}' for link in links]
  rows: dict[str, list[str]] = {}
  for word in methods:
    rows.setdefault(_method_of(word, links), [])
  for method, cells in rows.items():
    metrics_by_link = [methods[_word(method, link)] for link in links]
    cells += [
      statistics.mean_std(one[name])
      for name in _BY_LINK
      for one in metrics_by_link
    ]
    cells += [f'{one["cost_sgd_steps"]["mean"]:.2f}' for one in metrics_by_link]
  return console.markdown_table(
    columns, [[method, *cells] for method, cells in rows.items()]
  )


def best_methods(content: Mapping[str, Any]) -> list[str]:
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
  seeds = console.counted(tail['runs'], 'seed')
  where = 'on the tail classes'
  if _on_validation(content):
    where += ' of the validation set'
  if tail['mean'] <= base_tail['mean']:
    return (
      f'No method is better than {base} {where}, which reaches '
      f'{statistics.mean_std(base_tail)} %; mean +- std over {seeds}.'
    )
  top1, base_top1 = methods[best]['top1'], methods[base]['top1']
  return (
    f'O{where[1:]} {best} is best with {statistics.mean_std(tail)} %, '
    f'{_gain(tail, base_tail)} points against {base} '
    f'({_gain(top1, base_top1)} over all classes), '
    f'at {methods[best]["cost_sgd_steps"]["mean"]:.2f} SGD steps per step; '
    f'mean +- std over {seeds}.' + _best_of_all(methods, best)
  )


def _gain(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
  """The difference of two accuracies as they are printed."""
  printed = [round(100 * metric['mean'], 1) for metric in (one, other)]
  return f'{printed[0] - printed[1]:+.1f}'


def _accuracy(content: Mapping[str, Any]) -> str:
  return f'{"validation " if _on_validation(content) else ""}accuracy, %'


def _on_validation(content: Mapping[str, Any]) -> bool:
  # Files of earlier versions do not tell.
  return content.get('split') == 'validation'


def _best_of_all(methods: Mapping[str, Any], best_tail: str) -> str:
  best = max(methods, key=lambda word: methods[word]['balanced']['mean'])
  if best == best_tail:
    return ''
  return (
    f' Over all classes {best} is best with '
    f'{statistics.mean_std(methods[best]["balanced"])} % balanced accuracy.'
  )
