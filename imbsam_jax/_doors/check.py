# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Checks a data set before anything is trained on it, and says how to start.

  python -m imbsam_jax check --source=DIR
  python -m imbsam_jax check --config=image_folder:imbsam \
    --config.data.data_dir=DIR

A source is a folder of images, DIR/train/CLASS and DIR/test/CLASS or DIR/CLASS;
an .npz file; lists TRAIN.txt,TEST.txt with --data_dir=DIR; or the name of a
TFDS set. The exit code is 0 if nothing forbids training, and 3 if something
does.
"""

from collections.abc import Sequence
import os
import pathlib
import re
import shlex
import sys
from typing import Any

from absl import flags

from imbsam_jax._doors import calls
from imbsam_jax._doors import door

RECIPES = 'imbsam_jax.experiment.recipes'
EXAMPLE = 'image_folder:imbsam'
CONFIG_HELP = 'Recipe, or configuration file, whose data are checked.'
CONFIG_OPTIONAL = True


def define(values: flags.FlagValues) -> None:
  """Defines the flags."""
  flags.DEFINE_string(
    'source',
    None,
    'A folder of images, an .npz file, lists TRAIN.txt,TEST.txt, or the name '
    'of a TFDS set.',
    flag_values=values,
  )
  flags.DEFINE_string(
    'data_dir',
    None,
    'Folder of prepared TFDS sets, or of the images of lists.',
    flag_values=values,
  )
  flags.DEFINE_bool(
    'headers',
    False,
    'Whether only headers and ends of files are looked at, which takes '
    'seconds; nothing is estimated then.',
    flag_values=values,
  )
  flags.DEFINE_bool(
    'estimate',
    True,
    'Whether some steps are rehearsed to estimate time and memory.',
    flag_values=values,
  )
  flags.DEFINE_string(
    'output', None, 'File to write all of it to, as JSON.', flag_values=values
  )


def main(call: calls.Call) -> int:
  """Checks, prints, writes; returns the exit code."""
  from imbsam_jax import experiment as experiment_lib
  from imbsam_jax import training

  given = call.flags
  if (call.config is None) == (given.source is None):
    raise experiment_lib.ConfigError(
      'pass --source=DIR or --config=NAME, one of them.'
    )
  output = None
  if given.output:
    output = pathlib.Path(given.output).expanduser()
    if not output.parent.is_dir():
      raise experiment_lib.ConfigError(
        f'--output={given.output}: there is no folder {output.parent}.'
      )
  experiment_lib.cache_compilations(shared=not door.is_one_of_several())
  report = experiment_lib.check(
    call.config or given.source,
    whole=not given.headers,
    estimate=given.estimate and not given.headers,
    data_dir=given.data_dir,
    command=_suggested if call.config is None else _given(call),
    say=lambda line: print(line, file=sys.stderr, flush=True),
  )
  # Fields as flags, as programs have them.
  print(re.sub(r'`(data\.[^`]+)`', r'--config.\1', str(report)))
  if output is not None:
    training.write_json(output, report.content)
    print(f'\nall of it is in {output}')
  return 3 if report.forbids_training else 0


def _suggested(suggestion: Any) -> str:
  """The command that trains with a suggested configuration."""
  flags_of_config = [
    f'--config={suggestion.recipe}:{suggestion.words}',
    *(f'--config.{name}={value}' for name, value in suggestion.fields.items()),
  ]
  return _command(flags_of_config)


def _given(call: calls.Call) -> str:
  """The command that trains with the configuration that was passed."""
  words = shlex.split(call.command)
  return _command([w for w in words if w.startswith(('--config', '-config'))])


def _command(flags_of_config: Sequence[str]) -> str:
  """A command of `train` for a shell, a flag on each line."""
  words = map(_quoted, [*flags_of_config, '--workdir=runs/first'])
  return ' \\\n  '.join(['python -m imbsam_jax train', *words])


def _quoted(word: str) -> str:
  """A word of a shell; of what cannot be printed, byte by byte."""
  if word.isprintable():
    return shlex.quote(word)
  parts = [
    chr(byte)
    if 32 <= byte < 127 and chr(byte) not in "'\\"
    else f'\\x{byte:02x}'
    for byte in os.fsencode(word)
  ]
  return f"$'{''.join(parts)}'"
