# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Ways of tuning a pre-trained trunk: what is trained of it, what is added.

Descriptions without arrays, for the argument `tuning` of
`models.VisionTransformer` and `models.TrunkClassifier`. The methods with leaves
of their own, and `LayerNormTuning`, are for transformers alone; the others can
tune a residual network too.
"""

from imbsam_jax.models.tuning._adapters import Adapter
from imbsam_jax.models.tuning._adapters import AdaptFormer
from imbsam_jax.models.tuning._adapters import lift_bottleneck
from imbsam_jax.models.tuning._bit_fit import BitFit
from imbsam_jax.models.tuning._full import Full
from imbsam_jax.models.tuning._layer_norm_tuning import LayerNormTuning
from imbsam_jax.models.tuning._lora import Lora
from imbsam_jax.models.tuning._partial import Partial
from imbsam_jax.models.tuning._probe import Probe
from imbsam_jax.models.tuning._prompts import VptDeep
from imbsam_jax.models.tuning._prompts import VptShallow
from imbsam_jax.models.tuning._ssf import Ssf
from imbsam_jax.models.tuning._tuning import Tuning

__all__ = (
  'AdaptFormer',
  'Adapter',
  'BitFit',
  'Full',
  'LayerNormTuning',
  'Lora',
  'Partial',
  'Probe',
  'Ssf',
  'Tuning',
  'VptDeep',
  'VptShallow',
  'lift_bottleneck',
)
