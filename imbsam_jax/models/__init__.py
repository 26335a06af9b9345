# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Flax (Linen) classifiers for images and vectors, and their parts.

Every model maps normalized float inputs to float32 logits,
``model.apply(variables, x, train=...)``, and gives the features under its head
by ``method='features'``. With ``norm='group'`` or ``'none'`` the rows of a
batch do not depend on each other.
"""

from imbsam_jax import _extras

# Before anything is imported that may be missing.
_extras.check('models')

from imbsam_jax._cosine import cosine_logits
from imbsam_jax.models import tuning
from imbsam_jax.models._bbn import bbn_logits
from imbsam_jax.models._cifar_resnet import CifarResNet
from imbsam_jax.models._cifar_resnet import CifarResNet34
from imbsam_jax.models._cifar_resnet import ResNet20
from imbsam_jax.models._cifar_resnet import ResNet32
from imbsam_jax.models._classifier import Classifier
from imbsam_jax.models._conv_net import SmallConvNet
from imbsam_jax.models._conv_net import StridedConvNet
from imbsam_jax.models._convolution import convolution
from imbsam_jax.models._dar_batch_norm import dar_batch_norm
from imbsam_jax.models._feature_classifier import FeatureClassifier
from imbsam_jax.models._heads import CosineHead
from imbsam_jax.models._heads import HEADS
from imbsam_jax.models._heads import LinearHead
from imbsam_jax.models._mlp import MLP
from imbsam_jax.models._multiplications import multiplications
from imbsam_jax.models._nnx import from_nnx
from imbsam_jax.models._nnx import NnxModel
from imbsam_jax.models._normalization import BATCH_NORMS
from imbsam_jax.models._normalization import Normalization
from imbsam_jax.models._normalization import NORMS
from imbsam_jax.models._normalization import num_groups
from imbsam_jax.models._projector import Projected
from imbsam_jax.models._projector import Projector
from imbsam_jax.models._prototypes import EtfHead
from imbsam_jax.models._prototypes import optimal_prototypes
from imbsam_jax.models._prototypes import PrototypeHead
from imbsam_jax.models._prototypes import simplex_etf
from imbsam_jax.models._registry import create_model
from imbsam_jax.models._registry import MODEL_NAMES
from imbsam_jax.models._resnet50 import BottleneckResNet
from imbsam_jax.models._resnet50 import ResNet50
from imbsam_jax.models._resnet50 import ResNeXt50
from imbsam_jax.models._trunk_classifier import TrunkClassifier
from imbsam_jax.models._two_branches import TwoBranches
from imbsam_jax.models._vision_transformer import VisionTransformer
from imbsam_jax.models._wide_resnet import WideResNet
from imbsam_jax.models._wide_resnet import WideResNet28x10

__all__ = (
  'BATCH_NORMS',
  'BottleneckResNet',
  'CifarResNet',
  'CifarResNet34',
  'Classifier',
  'CosineHead',
  'EtfHead',
  'FeatureClassifier',
  'HEADS',
  'LinearHead',
  'MLP',
  'MODEL_NAMES',
  'NORMS',
  'NnxModel',
  'Normalization',
  'Projected',
  'Projector',
  'PrototypeHead',
  'ResNeXt50',
  'ResNet20',
  'ResNet32',
  'ResNet50',
  'SmallConvNet',
  'StridedConvNet',
  'TrunkClassifier',
  'TwoBranches',
  'VisionTransformer',
  'WideResNet',
  'WideResNet28x10',
  'bbn_logits',
  'convolution',
  'cosine_logits',
  'create_model',
  'dar_batch_norm',
  'from_nnx',
  'multiplications',
  'num_groups',
  'optimal_prototypes',
  'simplex_etf',
  'tuning',
)
