# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The metrics of an evaluation as a table."""

from collections.abc import Mapping
from typing import Any

from imbsam_jax._runs import console

# Metrics of a table, with the headings of their columns.
COLUMNS = {
  'top1': 'top-1',
  'balanced': 'balanced',
  'many': 'many',
  'medium': 'medium',
  'few': 'few',
  'head': 'head',
  'tail': 'tail',
  'worst_class': 'worst',
  'g_mean': 'G-mean',
  'macro_f1': 'macro-F1',
  'ece': 'ECE',
}
# Those that a comparison shows.
ACCURACIES = (
  'top1', 'balanced', 'many', 'medium', 'few', 'head', 'tail',
)  # fmt: skip


def scores_table(scores: Mapping[str, Any]) -> str:
  """The metrics of one evaluation, in per cent."""
  return console.markdown_table(
    list(COLUMNS.values()),
    [[console.percent(scores[name]) for name in COLUMNS]],
  )
