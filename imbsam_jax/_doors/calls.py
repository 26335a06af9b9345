# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`Call`: what was typed to start a program, as flags and configuration."""

from typing import Any
from typing import NamedTuple


class Call(NamedTuple):
  """What was typed to start a program.

  Attributes:
    flags: Values of the flags.
    arguments: Arguments that are no flags.
    config: The configuration, with the fields of the command line; None where
      the program takes none.
    source: The recipe or file of the configuration.
    words: Method words, or None.
    overrides: Fields of the configuration that the command line sets.
    command: The whole command line.
  """

  flags: Any
  arguments: list[str]
  config: Any
  source: str
  words: str | None
  overrides: dict[str, Any]
  command: str

  def require(self, **about: str) -> None:
    """Refuses a call without some of its flags.

    Args:
      **about: By name of a flag, what to pass.

    Raises:
      ConfigError: If one has no value.
    """
    from imbsam_jax import _errors

    for name, what in about.items():
      if not getattr(self.flags, name):
        raise _errors.ConfigError(f'pass --{name}={what}.')
