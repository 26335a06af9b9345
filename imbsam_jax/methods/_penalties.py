# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Terms beside the loss: Zhou et al., ICLR 2022."""

from imbsam_jax import _checks
from imbsam_jax import losses
from imbsam_jax.methods import _part
from imbsam_jax.methods import _registry

_ON_COSINES = {'objective.loss': 'cosface(margin=0.0, scale=30.0)'}


@_registry.word(
  'zero_centroid',
  axis='penalty',
  about='class vectors sum to zero (ICLR 2022)',
  suggests=_ON_COSINES,
  head='class_vectors',
)
def zero_centroid(
  setup: _part.Setup, *, weight: float = 5.0, mean: bool = True
) -> _part.Part:
  """The paper's mean with the coefficient of the code, which has the sum."""
  del setup
  _checks.number('weight', weight, low=0)

  def penalty(params):
    vectors = params['classifier']['class_vectors']
    return weight * losses.zero_centroid_penalty(vectors, mean=mean)

  return _part.Part(penalty=penalty)


@_registry.word(
  'margin_penalty',
  axis='penalty',
  choice_name='sample_margin',
  about='adds the sample margin to the loss (ICLR 2022)',
  suggests=_ON_COSINES,
  head='cosine',
)
def sample_margin(setup: _part.Setup, *, weight: float = 0.5) -> _part.Part:
  """The sample margin of a row, added to its loss."""
  del setup
  _checks.number('weight', weight, low=0)
  return _part.Part(
    term=lambda logits, labels: (
      weight * losses.sample_margin_loss(logits, labels)
    )
  )
