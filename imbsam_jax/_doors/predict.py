# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Predicts the classes of new images with a trained run.

python -m imbsam_jax predict --workdir=runs/imbsam --source=new \
    --output=predictions.csv
"""

import pathlib
import sys
from typing import Any

from absl import flags

from imbsam_jax._doors import calls
from imbsam_jax._doors import evaluate


def define(values: flags.FlagValues) -> None:
  """Defines the flags."""
  flags.DEFINE_string(
    'workdir',
    None,
    'Folder of the run, or of an export.',
    flag_values=values,
  )
  flags.DEFINE_string(
    'source',
    None,
    'A folder of images, an image, a list of paths (.txt), a pattern in quotes '
    "such as 'new/*.jpg', or an array (.npy, .npz).",
    flag_values=values,
  )
  flags.DEFINE_string(
    'output',
    None,
    "File to write, .csv or .jsonl; '-' is the standard output.",
    flag_values=values,
  )
  flags.DEFINE_enum(
    'format',
    None,
    ['csv', 'jsonl'],
    'Format of the file, if its name does not tell.',
    flag_values=values,
  )
  flags.DEFINE_integer(
    'top', 5, 'How many classes of each image.', 1, flag_values=values
  )
  flags.DEFINE_integer(
    'batch_size',
    256,
    'Images that go through the network together.',
    1,
    flag_values=values,
  )
  flags.DEFINE_bool(
    'recursive',
    False,
    'Whether images of inner folders are taken too.',
    flag_values=values,
  )
  flags.DEFINE_bool(
    'resize',
    False,
    'Whether images of another size than those of the run are resized.',
    flag_values=values,
  )
  flags.DEFINE_enum(
    'on_error',
    'fail',
    ['fail', 'skip'],
    'What to do about an image that cannot be read: stop, or write why.',
    flag_values=values,
  )
  define_correction(values)
  _define_array(values, 'probabilities', 'The probabilities of all classes')
  _define_array(values, 'features', 'What the head of the network reads')
  flags.DEFINE_bool(
    'spreadsheet_safe',
    False,
    "Whether cells of a CSV that begin with =, +, -, @ or a tab get a ' before "
    'them, so that no spreadsheet takes them for formulas.',
    flag_values=values,
  )
  evaluate.define_step(values)


class _FileOrBeside(flags.ArgumentParser[Any]):
  """A file, or True where the flag is given alone."""

  syntactic_help = 'a file, .npz; alone it is one beside the output'

  def parse(self, argument: Any) -> Any:
    """What is meant by an argument."""
    return {'true': True, 'false': None}.get(argument, argument)


def _define_array(values: flags.FlagValues, name: str, about: str) -> None:
  flags.DEFINE_flag(
    flags.Flag(
      _FileOrBeside(),
      None,
      name,
      None,
      f'{about}, as an array in a file, .npz. Without a value it is beside the '
      f'output, such as predictions.{name}.npz.',
      boolean=True,
    ),
    values,
  )


def define_correction(values: flags.FlagValues) -> None:
  """Defines the flags that say what is made of the logits of a run."""
  flags.DEFINE_string(
    'calibration',
    'selected',
    "'selected', the best of `calibrate` if the run has any; 'none'; "
    "'temperature'; or a method, such as 'crt'.",
    flag_values=values,
  )
  flags.DEFINE_string(
    'target_prior',
    None,
    "Prior of the images to come, for runs of plain cross entropy: 'uniform', "
    "'train', or a JSON file with a share of each class.",
    flag_values=values,
  )


def begin(workdir: str) -> pathlib.Path:
  """Prepares JAX for the run of a folder, before it is loaded.

  Args:
    workdir: The folder, as it was typed.

  Returns:
    Its path.

  Raises:
    ConfigError: If it holds no run.
  """
  from imbsam_jax import experiment as experiment_lib
  from imbsam_jax._runs import compilation
  from imbsam_jax._runs import folder

  path = pathlib.Path(workdir).expanduser()
  config = folder.read_config(path, experiment_lib.Config)
  # XLA looks once, when JAX begins.
  compilation.ask_for_same_bits(config.deterministic)
  experiment_lib.cache_compilations()
  return path


def main(call: calls.Call) -> None:
  """Loads, predicts, writes, prints."""
  from imbsam_jax import experiment as experiment_lib

  given = call.flags
  call.require(
    workdir='FOLDER, the folder of a run or export',
    source='IMAGES, such as a folder of new images',
    output='FILE.csv or FILE.jsonl',
  )
  workdir = begin(given.workdir)
  if (workdir / 'model.jaxexport').exists():
    # All of this is inside.
    for name in ('checkpoint', 'calibration', 'target_prior', 'trunk'):
      if given[name].present:
        raise experiment_lib.ConfigError(
          f'--{name} is for a run, and {workdir} is an export. Leave it '
          'out, or export the run again with it.'
        )
    classifier = experiment_lib.load_export(
      workdir, batch_size=given.batch_size, resize=given.resize
    )
  else:
    classifier = experiment_lib.load_run(
      workdir,
      checkpoint=given.checkpoint,
      batch_size=given.batch_size,
      resize=given.resize,
      trunk=given.trunk,
      calibration=given.calibration,
      target_prior=given.target_prior,
    )
  summary = experiment_lib.predict_files(
    classifier,
    given.source,
    given.output,
    kind=given.format,
    top=given.top,
    recursive=given.recursive,
    on_error=given.on_error,
    probabilities=given.probabilities,
    features=given.features,
    spreadsheet_safe=given.spreadsheet_safe,
  )
  # What is on the standard output is read by programs.
  shown = sys.stderr if given.output == '-' else sys.stdout
  print(
    f'step {classifier.step} of {classifier.content["num_steps"]}, '
    f'calibration: {classifier.calibration}\n{summary}',
    file=shown,
  )
