# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What words choose, as `methods.check` takes it."""

from imbsam_jax import methods


def of_words(words):
  """Choices by axis, all but those of the words plain."""
  fields = methods.field_values(words, {})
  return {
    name: fields.get(axis.field, axis.plain or 'sgd')
    for name, axis in methods.AXES.items()
    if axis.field
  }
