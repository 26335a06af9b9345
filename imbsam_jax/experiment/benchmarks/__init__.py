# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What steps cost: against steps of SGD, and in images a second."""

from imbsam_jax.experiment.benchmarks._images_per_second import (
  Throughput as Throughput,
)
from imbsam_jax.experiment.benchmarks._images_per_second import (
  throughputs as throughputs,
)
from imbsam_jax.experiment.benchmarks._pytorch import PyTorch as PyTorch
from imbsam_jax.experiment.benchmarks._ratios import devices_row as devices_row
from imbsam_jax.experiment.benchmarks._ratios import optax_row as optax_row
from imbsam_jax.experiment.benchmarks._ratios import (
  pipeline_row as pipeline_row,
)
from imbsam_jax.experiment.benchmarks._ratios import Row as Row
from imbsam_jax.experiment.benchmarks._ratios import stacked_row as stacked_row
from imbsam_jax.experiment.benchmarks._ratios import step_rows as step_rows
