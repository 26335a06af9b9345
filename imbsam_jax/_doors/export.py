# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes a trained run into files that are served or kept.

python -m imbsam_jax export --workdir=runs/imbsam --output=exported
"""

from absl import flags

from imbsam_jax._doors import calls
from imbsam_jax._doors import evaluate
from imbsam_jax._doors import predict


def define(values: flags.FlagValues) -> None:
  """Defines the flags."""
  flags.DEFINE_string('workdir', None, 'Folder of the run.', flag_values=values)
  flags.DEFINE_string(
    'output', None, 'Folder to write; nothing may be there.', flag_values=values
  )
  flags.DEFINE_list(
    'format',
    ['stablehlo', 'safetensors'],
    'What to write: stablehlo, the function for JAX; safetensors, the arrays; '
    'onnx, the function for other programs.',
    flag_values=values,
  )
  flags.DEFINE_enum(
    'outputs',
    'probabilities',
    ['probabilities', 'logits', 'features'],
    'What the function gives.',
    flag_values=values,
  )
  flags.DEFINE_enum(
    'input',
    None,
    ['uint8', 'float32'],
    'What it takes; float32 are pixels in [0, 1]. Default is uint8 of a run on '
    'images.',
    flag_values=values,
  )
  predict.define_correction(values)
  evaluate.define_step(values)


def main(call: calls.Call) -> None:
  """Loads, exports, prints."""
  from imbsam_jax import experiment as experiment_lib

  given = call.flags
  call.require(
    workdir='FOLDER, the folder of a run', output='FOLDER, a new one'
  )
  classifier = experiment_lib.load_run(
    predict.begin(given.workdir),
    checkpoint=given.checkpoint,
    calibration=given.calibration,
    target_prior=given.target_prior,
    trunk=given.trunk,
    batch_size=8,
  )
  done = experiment_lib.export(
    classifier,
    given.output,
    formats=given.format,
    outputs=given.outputs,
    input=given.input,
  )
  print(
    f'step {classifier.step} of {classifier.content["num_steps"]}, calibration '
    f'{classifier.calibration}\n{done}'
  )
