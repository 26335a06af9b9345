# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Trains methods on several seeds and compares them.

  python -m experiments.compare --config=experiments/configs/digits_lt.py \
    --methods=sgd,sam,imbsam --seeds=5 --workdir=runs/digits_lt

Methods combine words with plus signs: --methods=sgd,imbsam+ldam_drw. With
--links=sgd,imbsam every method runs under each of these update rules, and
--methods=all is every word there is.

Runs that are complete are not repeated. Fields for all methods:
--config.epochs=100. To choose a radius, use the validation split:
--config.final_split=validation --rhos=0.05,0.1,0.2
"""

from collections.abc import Sequence
import pathlib

from absl import flags
from ml_collections import config_flags

from experiments import app
from experiments import config as config_lib
from experiments import methods

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'Configuration file, no word.'
)
_METHODS = flags.DEFINE_list(
  'methods',
  'sgd,sam,imbsam,sse_sam,rsam',
  'Method words; the first is the one that others are compared with.',
)
_LINKS = flags.DEFINE_string(
  'links', '', 'Update rules that every method is combined with.'
)
_RHOS = flags.DEFINE_list(
  'rhos', [], 'Radii that every method but SGD is run with, instead of its own.'
)
_SIDE_BY_SIDE = flags.DEFINE_enum(
  'side_by_side',
  'auto',
  ['auto', 'always', 'never'],
  'Runs that differ in seed and radius alone go through one program together; '
  'auto does so on accelerators, for images that stay there.',
)
_SEEDS = flags.DEFINE_integer('seeds', 5, 'Number of seeds: 0, 1, ...', 1)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of all runs.')


def main(argv: Sequence[str]) -> None:
  """Runs what is missing, then writes and prints the comparison."""
  del argv
  app.set_xla_flags(app.read_config(_CONFIG))
  if not _WORKDIR.value:
    raise app.UsageError('pass --workdir=FOLDER for the runs.')
  if not _METHODS.value:
    raise app.UsageError('pass --methods=sgd,imbsam or other method words.')
  try:
    words = methods.combinations(','.join(_METHODS.value), _LINKS.value)
  except ValueError as error:
    raise app.UsageError(str(error)) from error
  reserved = {'optimizer.method': 'methods', 'seed': 'seeds'}
  configs = {
    word: app.config_of_word(_CONFIG, word, reserved) for word in words
  }
  if _RHOS.value:
    configs = _with_radii(configs)
  # Imported here: --help must not wait for JAX.
  from experiments import comparison

  app.cache_compilations()
  comparison.compare(
    configs,
    _SEEDS.value,
    pathlib.Path(_WORKDIR.value).expanduser(),
    links=_LINKS.value.split(',') if _LINKS.value else (),
    side_by_side={'auto': None, 'always': True, 'never': False}[
      _SIDE_BY_SIDE.value
    ],
  )


def _with_radii(
  configs: dict[str, config_lib.Config],
) -> dict[str, config_lib.Config]:
  """``{'sam': ...}`` to ``{'sam@0.05': ..., 'sam@0.1': ...}``."""
  try:
    rhos = [float(rho) for rho in _RHOS.value]
  except ValueError as error:
    raise app.UsageError(
      f'--rhos must be numbers such as 0.05,0.1, got {",".join(_RHOS.value)}.'
    ) from error
  if _LINKS.value:
    raise app.UsageError(
      '--rhos and --links do not go together: a table has one of them in its '
      'columns. Combine words with plus signs: --methods=sam+ldam_drw.'
    )
  found = {}
  for word, config in configs.items():
    if config.optimizer.method == 'sgd':
      found[word] = config
      continue
    for rho in rhos:
      found[f'{word}@{rho:g}'] = config_lib.replace(
        config, {'optimizer.rho': rho}
      )
  return found


if __name__ == '__main__':
  app.run(main)
