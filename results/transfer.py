# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Fine-tuning on digits 5 to 9 of a trunk that was trained on digits 0 to 4.

  python -m results.transfer --workdir=runs/transfer

A small Vision Transformer is trained on the first five classes, which are
balanced, and its trunk is saved. On a long tail of the other five it is tuned
in many ways by cross entropy under SGD; beside these are a network from
nothing, and a probe on the trunk as it was before it was trained. Some ways run
under SAM and ImbSAM too, and by logit adjustment. For each way the learning
rate is that of the highest balanced accuracy on validation images under SGD,
and the radius of each rule likewise, both by cross entropy; the test set is
looked at with these alone.

In WORKDIR are ``untrained.safetensors``, ``trained.safetensors``, ``rates`` and
``radii`` (runs on validation images), ``chosen.json``, ``test`` with its
comparisons ``ways.json``, ``rules.json`` and ``losses.json``, and ``features``:
losses, weights and samplers on features that were computed once. What is
complete is not repeated.
"""

import argparse
from collections.abc import Mapping
from collections.abc import Sequence
import json
import pathlib
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn import datasets

from imbsam_jax import experiment
from imbsam_jax import models
from imbsam_jax import pretrained

NUM_CLASSES = 5
TEST_PER_CLASS = 50
IMAGE_SIZE = 8
NETWORK = models.VisionTransformer(
  width=32,
  depth=3,
  num_heads=4,
  mlp_width=64,
  patch_size=2,
  image_size=IMAGE_SIZE,
)
# Ways of tuning a trained trunk, and what stands beside them: a network from
# nothing for twice the epochs, and all of the trunk for as many.
TUNINGS = (
  'full', 'probe', 'partial', 'vpt_deep', 'adaptformer', 'lora', 'bitfit'
)  # fmt: skip
NOTHING = 'from_nothing'
LONGER = 'full_as_long'
UNTRAINED = 'untrained_probe'
WAYS = (*TUNINGS, LONGER, NOTHING, UNTRAINED)
# Under all rules and losses.
SOME = ('full', 'probe', 'adaptformer', 'lora')
# Radii are chosen for these; others take that of the one they resemble.
RADIUS_OF = {
  'full': 'full', 'probe': 'probe', 'lora': 'lora', 'adaptformer': 'lora'
}  # fmt: skip
RULES = ('sgd', 'sam', 'imbsam')
RATES = (0.001, 0.003, 0.01)
RADII = (0.05, 0.2)
# On cached features.
WORDS = (
  'ce', 'focal', 'cb', 'ldam', 'ldam_drw', 'logit_adjustment',
  'vs', 'cdt', 'gcl', 'cosface', 'class_balanced_sampling',
  'square_root_sampling', 'progressive_sampling', 'drw', 'sam', 'imbsam',
  'imbsam,logit_adjustment', 'imbsam,ldam_drw', 'imbsam,gcl', 'imbsam,vs',
)  # fmt: skip

_LONG_TAIL = {
  'data.profile': 'exp',
  'data.imbalance_factor': 20.0,
  'data.max_count': 100,
  'data.validation_per_class': 24,
  'data.batch_size': 32,
  'model.norm': 'none',
  'epochs': 15.0,
  'save_every': 15.0,
  'many_above': 40,
  # SGD at a rate that suits the adapters loses the trunk where all is trained.
  'optimizer.name': 'adamw',
}
_HEAD = {
  'model.head': 'scaled_cosine(scale=25.0)',
  'model.head_init': 'class_means',
}


def main() -> None:
  """Trains the trunk, chooses on validation images, then tests once."""
  given = _arguments()
  workdir = pathlib.Path(given.workdir)
  command = ' '.join(['python -m results.transfer', *sys.argv[1:]])
  experiment.cache_compilations()
  files = trunks(workdir, epochs=given.trunk_epochs)
  study = Study(files, digits(range(5, 10)))

  def compared(
    runs: Mapping[str, Any], part: str, folder: str, seeds: int, **options: Any
  ) -> Any:
    started = time.monotonic()
    found = experiment.compare(
      runs,
      seeds=seeds,
      workdir=workdir / folder,
      command=command,
      say=_say,
      **options,
    )
    text = json.dumps(found.content, indent=2) + '\n'
    (workdir / f'{part}.json').write_text(text)
    _say(f'{part}: {time.monotonic() - started:.0f} seconds\n{found}')
    return found.methods

  choosing = given.choosing_seeds
  rates = study.best(
    compared(study.rates(), 'rates', 'rates', choosing), 'sgd', WAYS
  )
  features = study.on_features(workdir / 'cache')
  compared(features, 'features', 'features', given.seeds)
  found = compared(study.radii(rates), 'radii', 'radii', choosing)
  radii = {
    rule: study.best(found, rule, sorted({*RADIUS_OF.values()}))
    for rule in RULES[1:]
  }
  chosen = {'learning_rate': rates, 'rho': radii}
  (workdir / 'chosen.json').write_text(json.dumps(chosen, indent=2))
  _say(json.dumps(chosen))
  plain = {f'sgd+{way}': study.tested('sgd', way, 'ce', chosen) for way in WAYS}
  compared(plain, 'ways', 'test', given.seeds)
  rules = {
    f'{rule}+{way}': study.tested(rule, way, 'ce', chosen)
    for rule in RULES
    for way in SOME
  }
  compared(rules, 'rules', 'test', given.seeds, links=RULES)
  losses = {
    f'sgd+{way}' + (loss != 'ce') * f'+{loss}': study.tested(
      'sgd', way, loss, chosen
    )
    for way in SOME
    for loss in ('ce', 'logit_adjustment')
  }
  compared(losses, 'losses', 'test', given.seeds)


def digits(classes: Sequence[int]) -> experiment.Sources:
  """Some classes of scikit-learn's digits, with 50 test images of each.

  Args:
    classes: Digits, which become the labels 0, 1, and so on.
  """
  found: Any = datasets.load_digits()
  images = np.round(found.images * (255 / 16)).astype(np.uint8)[..., None]
  rng = np.random.RandomState(0)
  train, test = [], []
  for digit in range(10):  # All draw, so that those of a digit are the same.
    rows = rng.permutation(np.flatnonzero(found.target == digit))
    if digit in classes:
      test.append(rows[:TEST_PER_CLASS])
      train.append(rows[TEST_PER_CLASS:])

  def part(rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat(np.arange(len(rows)), [len(one) for one in rows])
    return images[np.concatenate(rows)], labels

  return experiment.Sources(train=part(train), test=part(test))


def trunks(
  folder: pathlib.Path, *, epochs: float = 60.0
) -> dict[str, pathlib.Path]:
  """The files of a trunk before and after it is trained on digits 0 to 4.

  The untrained one is a file too, so that both see images alike: three
  channels, standardized as the preset of the file says.

  Args:
    folder: Where they are, or are written to.
    epochs: Passes over 651 images.
  """
  folder.mkdir(parents=True, exist_ok=True)
  files = {
    name: folder / f'{name}.safetensors' for name in ('untrained', 'trained')
  }
  if not files['untrained'].exists():
    images = jnp.zeros([1, IMAGE_SIZE, IMAGE_SIZE, 3])
    variables = jax.jit(NETWORK.init)(jax.random.key(0), images)
    pretrained.save(files['untrained'], variables)
  if not files['trained'].exists():
    config = experiment.config(
      'own',
      'full',
      {
        'model.trunk': str(files['untrained']),
        'model.norm': 'none',
        'epochs': epochs,
        'save_every': epochs,
        'optimizer.name': 'adamw',
        'optimizer.learning_rate': 2e-3,
        'optimizer.weight_decay': 0.01,
        'optimizer.warmup_epochs': 2.0,
      },
    )
    result = experiment.run(experiment.build(config, data=digits(range(5))))
    _say(f'trunk: {100 * result.summary["top1"]:.1f} % of its test images')
    params = result.state.variables['params']['trunk']
    pretrained.save(files['trained'], {'params': params})
  return files


class Study:
  """Runs on a long tail of digits, by name.

  Args:
    files: The trunks.
    data: The digits.
  """

  def __init__(
    self, files: Mapping[str, pathlib.Path], data: experiment.Sources
  ):
    self._files = files
    self._data = data

  def run(
    self, rule: str, way: str, loss: str = 'ce', **fields: Any
  ) -> experiment.Experiment:
    """One run.

    Args:
      rule: Word of an update rule.
      way: One of `WAYS`.
      loss: Word of a loss.
      **fields: Fields of the configuration, with two underscores for a dot.
    """
    named = {name.replace('__', '.'): value for name, value in fields.items()}
    if way in (NOTHING, LONGER):
      named |= {'epochs': 30.0, 'save_every': 30.0}
    if way == NOTHING:
      config = experiment.config('own', f'{rule},{loss}', _LONG_TAIL | named)
      network = models.TrunkClassifier(
        NUM_CLASSES, trunk=NETWORK, head='scaled_cosine', head_scale=25.0
      )
      return experiment.build(config, model=network, data=self._data)
    file = self._files['untrained' if way == UNTRAINED else 'trained']
    word = {UNTRAINED: 'probe', LONGER: 'full'}.get(way, way)
    config = experiment.config(
      'own',
      f'{rule},{loss},{word}',
      _LONG_TAIL | _HEAD | {'model.trunk': str(file)} | named,
    )
    return experiment.build(config, data=self._data)

  def rates(self) -> dict[str, experiment.Experiment]:
    """By ``sgd+<way>@<learning rate>``, runs on validation images."""
    return {
      f'sgd+{way}@{rate:g}': self.run(
        'sgd', way, optimizer__learning_rate=rate, final_split='validation'
      )
      for way in WAYS
      for rate in RATES
    }

  def radii(
    self, rates: Mapping[str, float]
  ) -> dict[str, experiment.Experiment]:
    """By ``<rule>+<way>@<radius>``, runs on validation images.

    Args:
      rates: Learning rate of each way.
    """
    return {
      f'{rule}+{way}@{rho:g}': self.run(
        rule,
        way,
        optimizer__learning_rate=rates[way],
        optimizer__rho=rho,
        final_split='validation',
      )
      for rule in RULES[1:]
      for way in sorted({*RADIUS_OF.values()})
      for rho in RADII
    }

  def best(
    self, found: Mapping[str, Any], rule: str, ways: Sequence[str]
  ) -> dict[str, float]:
    """By way, the number of the highest balanced accuracy.

    Args:
      found: Statistics by ``<rule>+<way>@<number>``.
      rule: The update rule.
      ways: The ways.
    """
    chosen = {}
    for way in ways:
      numbers = {
        float(name.rpartition('@')[2]): metrics['balanced']['mean']
        for name, metrics in found.items()
        if name.startswith(f'{rule}+{way}@')
      }
      chosen[way] = max(numbers, key=lambda number: numbers[number])
    return chosen

  def tested(
    self, rule: str, way: str, loss: str, chosen: Mapping[str, Any]
  ) -> experiment.Experiment:
    """A run on the test set.

    Args:
      rule: Word of an update rule.
      way: One of `WAYS`.
      loss: Word of a loss.
      chosen: What was chosen on validation images.
    """
    fields = {'optimizer__learning_rate': chosen['learning_rate'][way]}
    if rule != 'sgd':
      fields['optimizer__rho'] = chosen['rho'][rule][RADIUS_OF[way]]
    return self.run(rule, way, loss, **fields)

  def on_features(self, cache: pathlib.Path) -> dict[str, Any]:
    """By word, runs of the head on features that are computed once.

    Args:
      cache: Folder of the features.
    """
    return {
      words.replace(',', '+'): self.of_head(words, cache) for words in WORDS
    }

  def of_head(
    self, words: str, cache: pathlib.Path, *, trunk: str = 'trained'
  ) -> experiment.Experiment:
    """A run of the head on features that are computed once.

    Args:
      words: Words of methods.
      cache: Folder of the features.
      trunk: Which of the files.
    """
    fields = {
      'model.trunk': str(self._files[trunk]),
      'model.tuning': 'probe',
      'model.feature_cache': str(cache),
      'optimizer.learning_rate': 0.003,
      'epochs': 50.0,
      'save_every': 50.0,
    }
    config = experiment.config('own', words, _LONG_TAIL | _HEAD | fields)
    return experiment.build(config, data=self._data)


def _say(text: str) -> None:
  print(text, flush=True)


def _arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser()
  parser.add_argument('--workdir', required=True)
  parser.add_argument('--trunk_epochs', type=float, default=60.0)
  parser.add_argument('--choosing_seeds', type=int, default=1)
  parser.add_argument('--seeds', type=int, default=5)
  return parser.parse_args()


if __name__ == '__main__':
  main()
