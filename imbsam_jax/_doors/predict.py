# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Predicts the classes of new images with a trained run.

python -m imbsam_jax predict --workdir=runs/imbsam --source=new \
  --output=predictions.csv
"""

import pathlib
import sys

from absl import flags

from imbsam_jax._doors import calls
from imbsam_jax._doors import evaluate


def define(values: flags.FlagValues) -> None:
  """Defines the flags."""
  flags.DEFINE_string('workdir', None, 'Folder of the run.', flag_values=values)
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
  evaluate.define_step(values)


def main(call: calls.Call) -> None:
  """Loads, predicts, writes, prints."""
  from imbsam_jax import experiment as experiment_lib
  from imbsam_jax._runs import compilation
  from imbsam_jax._runs import folder

  given = call.flags
  for name, about in (
    ('workdir', 'FOLDER, the folder of a run'),
    ('source', 'IMAGES, such as a folder of new images'),
    ('output', 'FILE.csv or FILE.jsonl'),
  ):
    if not getattr(given, name):
      raise experiment_lib.ConfigError(f'pass --{name}={about}.')
  workdir = pathlib.Path(given.workdir).expanduser()
  config = folder.read_config(workdir, experiment_lib.Config)
  # XLA looks once, when JAX begins.
  compilation.ask_for_same_bits(config.deterministic)
  experiment_lib.cache_compilations()
  classifier = experiment_lib.load_run(
    workdir,
    checkpoint=given.checkpoint,
    batch_size=given.batch_size,
    resize=given.resize,
    trunk=given.trunk,
  )
  summary = experiment_lib.predict_files(
    classifier,
    given.source,
    given.output,
    kind=given.format,
    top=given.top,
    recursive=given.recursive,
    on_error=given.on_error,
  )
  # What is on the standard output is read by programs.
  shown = sys.stderr if given.output == '-' else sys.stdout
  print(
    f'step {classifier.step} of {classifier.content["num_steps"]}\n{summary}',
    file=shown,
  )
