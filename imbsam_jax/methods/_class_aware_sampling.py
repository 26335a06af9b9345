# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Class-aware sampling: Shen et al., ECCV 2016; Kang et al., ICLR 2020."""

from imbsam_jax import _errors
from imbsam_jax import data
from imbsam_jax.methods import _part
from imbsam_jax.methods import _registry


@_registry.word(
  'class_aware_sampling',
  axis='sampler',
  choice_name='class_aware',
  about='class by class in cycles (ICLR 2020)',
  sets={'data.stratify': False},
  corrects_prior=True,
  fixes_counts=True,
)
def class_aware_sampling(
  setup: _part.Setup, *, samples_per_class: int = 4
) -> _part.Part:
  """Classes in shuffled cycles, some rows of each in turn."""

  def order(labels, is_tail, seed):
    if is_tail is not None:
      raise _errors.ConfigError(
        'class_aware sampling decides itself how many tail rows a batch has. '
        'Pass `data.stratify=False`.'
      )
    return data.class_aware_order(
      labels,
      batch_size=setup.time.batch_size,
      seed=seed,
      samples_per_class=samples_per_class,
    )

  return _part.Part(order=order)
