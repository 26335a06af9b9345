# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A program with what was typed."""

from typing import Any
from typing import NamedTuple


class Call(NamedTuple):
  """A program with what was typed.

  Attributes:
    flags: Values of its flags.
    arguments: What are no flags.
    config: Its configuration, fields of the command line included; None if it
      takes none.
    source: The recipe or file of the configuration.
    words: Its method words, or None.
    overrides: The fields of the command line.
    command: What was typed.
  """

  flags: Any
  arguments: list[str]
  config: Any
  source: str
  words: str | None
  overrides: dict[str, Any]
  command: str
