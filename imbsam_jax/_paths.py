# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Paths that people type, and names of files that are shown to them."""

import os


def printable(name: str | os.PathLike[str]) -> str:
  r"""A name that can be shown: bytes that are no UTF-8 become ``\xff``.

  >>> printable('caf\udce9.jpg')
  'caf\\xe9.jpg'
  """
  return os.fsencode(name).decode('utf-8', 'backslashreplace')
