# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Programs: flags, command lines and exit codes. Imported by nothing else."""

from imbsam_jax import _extras

# Before the modules of this package import what is missing.
_extras.check_programs()
