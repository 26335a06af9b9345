# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The flag ``--init_from``, short for the field of that name."""

from absl import flags


def define(values: flags.FlagValues, *, of: str = '') -> None:
  """Defines the flag.

  Args:
    values: Flags of the program.
    of: What is filled in beside the seed, in words.
  """
  flags.DEFINE_string(
    'init_from',
    None,
    'Folder of a finished run to begin with, FOLDER or FOLDER:best; {seed} '
    f'stands for the seed{of}.',
    flag_values=values,
  )
