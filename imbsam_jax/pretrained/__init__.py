# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Published weight files to and from the parameters of our networks.

`load` reads the trunk of a ViT, of a CLIP's image encoder or of a ResNet-50
from a ``.npz`` or ``.safetensors`` file, in whichever of the usual names;
`save` writes one; `describe` says what a file is. Nothing is downloaded, and no
pickle is opened.
"""

from imbsam_jax import _extras

# Before anything is imported that may be missing.
_extras.check('pretrained')

from imbsam_jax.pretrained._load import describe
from imbsam_jax.pretrained._load import load
from imbsam_jax.pretrained._positions import POSITION_RULES
from imbsam_jax.pretrained._positions import resize_positions
from imbsam_jax.pretrained._presets import Preset
from imbsam_jax.pretrained._presets import PRESETS
from imbsam_jax.pretrained._save import save
from imbsam_jax.pretrained._text_features import pulled_back
from imbsam_jax.pretrained._text_features import read_text_features
from imbsam_jax.pretrained._text_features import TextFeatures
from imbsam_jax.pretrained._text_features import zero_shot_logits
from imbsam_jax.pretrained._trunk import Description
from imbsam_jax.pretrained._trunk import Trunk

__all__ = (
  'Description',
  'POSITION_RULES',
  'PRESETS',
  'Preset',
  'TextFeatures',
  'Trunk',
  'describe',
  'load',
  'pulled_back',
  'read_text_features',
  'resize_positions',
  'save',
  'zero_shot_logits',
)
