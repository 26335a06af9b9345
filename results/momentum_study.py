# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""A rule and its form with a remembered direction, each as well as it can be.

  python -m results.momentum_study digits_lt --workdir=runs/study \
    --methods=ce,balanced_softmax,ldam_drw --rhos=0.1,0.2,0.4,0.8

For each method the radius of the rule, and radius and decay of its form, are
those of the highest balanced accuracy on validation images, mean over the seeds
of ``--choosing_seeds``; the test set is looked at with these alone. In WORKDIR
are ``validation``, ``test`` (a comparison with the columns SGD, rule and form,
for `results.share_of_gain`) and ``chosen.json``. What is complete is not
repeated.

``--rule=sam --form=sam`` compares SAM with `sam(average_decay=...)`, which is
called ``momentum_sam`` in the tables. ``--fields data.data_dir=DIR`` is for all
runs, ``--choosing NAME=VALUE`` for those on validation images.
"""

import argparse
import ast
from collections.abc import Mapping
from collections.abc import Sequence
import json
import pathlib
import sys
from typing import Any

from imbsam_jax import experiment


def main() -> None:
  """Chooses on validation images, then tests once."""
  given = _arguments()
  workdir = pathlib.Path(given.workdir)
  study = Study(given.recipe, given.rule, given.form, _fields(given.fields))
  methods = given.methods.split(',')
  rhos = _numbers(given.rhos)
  decays = _numbers(given.decays)
  experiment.cache_compilations()
  command = ' '.join(['python -m results.momentum_study', *sys.argv[1:]])

  candidates = {
    name: config
    for method in methods
    for name, config in study.candidates(
      method, rhos, decays, _fields(given.choosing)
    ).items()
  }
  found = experiment.compare(
    candidates,
    seeds=given.choosing_seeds,
    workdir=workdir / 'validation',
    command=command,
    say=_say,
  ).methods
  chosen = {
    method: study.best(method, found, rhos, decays) for method in methods
  }
  (workdir / 'chosen.json').write_text(json.dumps(chosen, indent=2))
  tested = {
    name: config
    for method in methods
    for name, config in study.tested(method, chosen[method]).items()
  }
  print(
    experiment.compare(
      tested,
      seeds=given.seeds,
      workdir=workdir / 'test',
      links=('sgd', given.rule, study.form_name),
      command=command,
      say=_say,
    )
  )
  print(json.dumps(chosen))


class Study:
  """Configurations of a rule and of its form, under any method."""

  def __init__(
    self, recipe: str, rule: str, form: str, fields: Mapping[str, Any]
  ):
    self._recipe = recipe
    self._rule = rule
    self._form = form
    self._fields = dict(fields)
    self.form_name = form if form != rule else f'momentum_{rule}'

  def candidates(
    self,
    method: str,
    rhos: Sequence[float],
    decays: Sequence[float],
    fields: Mapping[str, Any],
  ) -> dict[str, Any]:
    """By name, what is compared on validation images.

    Args:
      method: Word of a loss, or 'ce'.
      rhos: Radii of the rule and of the form.
      decays: Decay rates of the form.
      fields: Fields of these runs alone.
    """
    fields = {**fields, 'final_split': 'validation'}
    return {
      _name(word, method, rho): self._config(method, word, rho, fields)
      for word in self._words(decays)
      for rho in rhos
    }

  def best(
    self,
    method: str,
    found: Mapping[str, Mapping[str, Mapping[str, Any]]],
    rhos: Sequence[float],
    decays: Sequence[float],
  ) -> dict[str, tuple[str, float]]:
    """By rule and form, the word and radius of the highest balanced accuracy.

    Args:
      method: Word of a loss, or 'ce'.
      found: Statistics by name of a candidate.
      rhos: Radii, as in `candidates`.
      decays: Decay rates, likewise.
    """
    rule, *forms = self._words(decays)
    return {
      name: max(
        ((word, rho) for word in words for rho in rhos),
        key=lambda it: found[_name(it[0], method, it[1])]['balanced']['mean'],
      )
      for name, words in ((self._rule, [rule]), (self.form_name, forms))
    }

  def tested(
    self, method: str, chosen: Mapping[str, tuple[str, float]]
  ) -> dict[str, Any]:
    """By name, SGD, and rule and form as they were chosen."""
    words = {'sgd': ('sgd', 0.0), **chosen}
    return {
      _joined(name, method): self._config(method, word, rho, {})
      for name, (word, rho) in words.items()
    }

  def _words(self, decays: Sequence[float]) -> list[str]:
    return [
      self._rule,
      *(f'{self._form}(average_decay={decay:g})' for decay in decays),
    ]

  def _config(
    self, method: str, word: str, rho: float, fields: Mapping[str, Any]
  ) -> Any:
    rule, bracket, _ = word.partition('(')
    radius = {} if rule == 'sgd' else {'optimizer.rho': rho}
    own = {'optimizer.method': word} if bracket else {}
    return experiment.config(
      self._recipe,
      _joined(rule, method),
      {**self._fields, **fields, **radius, **own},
    )


def _joined(word: str, method: str) -> str:
  return word if method == 'ce' else f'{word}+{method}'


def _name(word: str, method: str, rho: float) -> str:
  return f'{_joined(word, method)}@{rho:g}'


def _numbers(text: str) -> list[float]:
  return [float(number) for number in text.split(',')]


def _fields(pairs: Sequence[str]) -> dict[str, Any]:
  return {name: _value(value) for name, value in (p.split('=') for p in pairs)}


def _value(text: str) -> Any:
  try:
    return ast.literal_eval(text)
  except (SyntaxError, ValueError):
    return text


def _say(text: str) -> None:
  print(text, flush=True)


def _arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser()
  parser.add_argument('recipe')
  parser.add_argument('--workdir', required=True)
  parser.add_argument('--rule', default='imbsam')
  parser.add_argument('--form', default='momentum_imbsam')
  parser.add_argument('--methods', default='ce')
  parser.add_argument('--rhos', default='0.1,0.2,0.4,0.8')
  parser.add_argument('--decays', default='0,0.6,0.9,0.99')
  parser.add_argument('--choosing_seeds', type=int, default=5)
  parser.add_argument('--seeds', type=int, default=10)
  parser.add_argument('--fields', nargs='*', default=())
  parser.add_argument('--choosing', nargs='*', default=())
  return parser.parse_args()


if __name__ == '__main__':
  main()
