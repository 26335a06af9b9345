# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The configuration of an experiment: all fields, meanings and defaults.

`ml_collections` sets fields in place while flags are read, so these classes are
not frozen; nothing changes them afterwards.
"""

import dataclasses
import difflib
import json
import pathlib
import typing
from typing import Any


@dataclasses.dataclass(kw_only=True)
class Data:
  """Which examples.

  Attributes:
    name: TFDS name, or 'digits'; or of one's own 'image_folder', 'image_list',
      'npz'.
    data_dir: Folder of prepared TFDS data sets, None is TFDS's default; folder
      of images; or the .npz file.
    splits: Train, validation, test: TFDS splits ('SPLIT@LIST' keeps the
      positions that a list file names), folders of an 'image_folder', list
      files of an 'image_list'. Without a validation split there is
      `validation_per_class`.
    image_size: Height and width to which images are decoded when a batch needs
      them; None keeps all in memory at their own size.
    augment: Of images in memory, joined by '+': 'pad_crop(padding=4)', 'flip',
      'cutout(size=16)', 'rand_augment(num_ops=2, magnitude=10)'; 'none'.
      Others get random crops and flips.
    workers: Threads that decode images.
    imbalance_factor: Largest over smallest class count.
    profile: 'exp' or 'step', or 'natural' for the data set's own distribution.
    max_count: Images of the most frequent class; None is as many as there are.
    class_counts: Counts of one's own instead, such as (100, 20, 5).
    subset: 'shuffled' keeps random images of each class, as LDAM-DRW does,
      'first' the first in file order, as ImbSAM and SSE-SAM do.
    subset_seed: Chooses the shuffled subset.
    validation_per_class: Images of each class set aside to choose by.
    batch_size: Rows of a batch, over all devices.
    sampler: 'shuffle', or with replacement 'instance', 'square_root',
      'class_balanced', 'reversed', 'power(power=0.5)', 'effective_number',
      'progressive', 'drs(start=0.8)', 'pps', 'class_aware'.
    stratify: The same number of tail rows in every batch.
  """

  name: str = 'digits'
  data_dir: str | None = None
  splits: tuple[str | None, ...] = ('train', None, 'test')
  image_size: int | None = None
  augment: str = 'none'
  workers: int = 16
  imbalance_factor: float = 20.0
  profile: str = 'exp'
  max_count: int | None = None
  class_counts: tuple[int, ...] | None = None
  subset: str = 'shuffled'
  subset_seed: int = 0
  validation_per_class: int = 0
  batch_size: int = 64
  sampler: str = 'shuffle'
  stratify: bool = False


@dataclasses.dataclass(kw_only=True)
class Model:
  """Which network.

  Attributes:
    name: 'mlp', 'small_conv_net', 'strided_conv_net', 'resnet20', 'resnet32' or
      'resnet34'; for images of about 224x224 'resnet50' or 'resnext50'.
    norm: 'group', 'batch', or 'none' (not for the ResNets).
    head: 'auto' is what the loss needs, 'linear' or 'cosine'; or fixed class
      vectors: 'etf', 'prototypes'.
    dtype: 'float32' or 'bfloat16', of the computation up to the features.
      Parameters, perturbations and logits are float32.
  """

  name: str = 'small_conv_net'
  norm: str = 'group'
  head: str = 'auto'
  dtype: str = 'float32'


@dataclasses.dataclass(kw_only=True)
class Objective:
  """What is minimised. Parameters go into brackets: 'vs(gamma=0.1, tau=1.2)'.

  Starts and ends are shares of the run.

  Attributes:
    loss: On a linear head 'cross_entropy', 'focal', 'sigmoid_focal',
      'balanced_softmax', 'logit_adjustment', 'cdt', 'vs', 'arb',
      'distribution_balanced'; on cosines 'ldam', 'mm', 'mm_ldam', 'gcl', 'cri',
      'cosface', 'lm_softmax', 'gm_softmax', 'sample_margin'.
    weights: Of classes: 'none', 'class_balanced', 'power(power=1.0)',
      'drw(start=0.8)', 'ppw'; of examples: 'absgd'.
    mixing: 'none', 'mixup', 'remix', 'ppmix', 'cmo', 'dbn_mix'.
    penalty: 'none', 'zero_centroid', 'sample_margin'.
  """

  loss: str = 'cross_entropy'
  weights: str = 'none'
  mixing: str = 'none'
  penalty: str = 'none'


@dataclasses.dataclass(kw_only=True)
class Optimizer:
  """Which update rule, and the optimiser around it.

  Attributes:
    method: 'sgd', 'sam', 'imbsam', 'sse_sam', 'focal_sam' or 'rsam'.
    rho: Radius: of all (sam, focal_sam), of the tail (imbsam, sse_sam), per
      entry (rsam).
    rho_schedule: 'constant', 'linear(first=0.1, last=1.0)', or
      'step(factors=(0.1, 1.0), starts=(0.5,))', factors of rho from shares of
      the run on.
    head_rho: Radius of the head (sse_sam).
    threshold: Classes with fewer training images are tail.
    tail_weight: Factor of the tail's loss (imbsam, sse_sam).
    switch: Share of the epochs after which sse_sam lets go of the head and
      rsam halves its radius; 1 is never.
    focal_gamma: Exponent of the class weights (focal_sam).
    focal_lam: Share of the perturbed part (focal_sam).
    adaptive: Perturbs in proportion to the size of each weight.
    rows: 'split' gives head and tail passes of their own, 'joint' sends all
      rows through each; 'auto' splits where that is exact. 'tail_only', for
      BatchNorm, is an approximation: perturbed passes of the tail by itself.
    ascent: 'global', or 'per_device': each device takes the direction of its
      own rows, and results depend on their number.
    num_microbatches: Parts of a batch that go through one after the other.
    learning_rate: At its largest.
    schedule: 'cosine', 'step', 'ldam' or 'constant'.
    warmup_epochs: Epochs of linear warm-up.
    momentum: Of SGD.
    weight_decay: Coupled, at the unperturbed parameters.
    decay: Which leaves decay: 'kernels' or 'all'.
    clip_norm: Global norm at which the gradient is clipped; None is never.
    ema_decay: Keeps a moving average of the parameters and evaluates it.
  """

  method: str = 'sgd'
  rho: float = 0.05
  rho_schedule: str = 'constant'
  head_rho: float = 0.05
  threshold: int = 20
  tail_weight: float = 1.0
  switch: float = 1.0
  focal_gamma: float = 1.0
  focal_lam: float = 0.8
  adaptive: bool = False
  rows: str = 'auto'
  ascent: str = 'global'
  num_microbatches: int = 1
  learning_rate: float = 0.1
  schedule: str = 'cosine'
  warmup_epochs: float = 0.0
  momentum: float = 0.9
  weight_decay: float = 5e-4
  decay: str = 'kernels'
  clip_norm: float | None = None
  ema_decay: float | None = None


@dataclasses.dataclass(kw_only=True)
class Config:
  """One training run.

  Attributes:
    data: Which examples.
    model: Which network.
    objective: What is minimised.
    optimizer: Which update rule.
    epochs: Passes over the training set.
    seed: Of parameters, order and noise.
    save_every: Epochs between checkpoints, and validations where images are
      set aside; the end is always saved.
    final_split: 'test', or 'validation' while anything is still being chosen.
    flip_test: Adds the logits of the mirrored image in every evaluation, as
      the code of ImbSAM does. Marks the result.
    best_on_test: Reports the checkpoint that is best on the test set, as the
      codes of ImbSAM and SSE-SAM do; its accuracy is no estimate of accuracy on
      new images. Marks the result.
    many_above: Classes with more training images are 'many'.
    few_below: Classes with fewer training images are 'few'.
    deterministic: On GPUs, only operations that give the same bits every time
      (XLA_FLAGS=--xla_gpu_deterministic_ops=true), which are slower. CPUs and
      TPUs always do.
  """

  data: Data = dataclasses.field(default_factory=Data)
  model: Model = dataclasses.field(default_factory=Model)
  objective: Objective = dataclasses.field(default_factory=Objective)
  optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
  epochs: float = 40.0
  seed: int = 0
  save_every: float = 20.0
  final_split: str = 'test'
  flip_test: bool = False
  best_on_test: bool = False
  many_above: int = 100
  few_below: int = 20
  deterministic: bool = False


_CHOICES = {
  'data.profile': ('exp', 'step', 'natural'),
  'data.subset': ('shuffled', 'first'),
  'model.dtype': ('float32', 'bfloat16'),
  'model.norm': ('group', 'batch', 'none'),
  'model.head': ('auto', 'linear', 'cosine', 'etf', 'prototypes'),
  'optimizer.rows': ('auto', 'split', 'joint', 'tail_only'),
  'optimizer.ascent': ('global', 'per_device'),
  'optimizer.schedule': ('cosine', 'step', 'ldam', 'constant'),
  'optimizer.decay': ('kernels', 'all'),
  'final_split': ('test', 'validation'),
}

_ALMOST_ONE = 1 - 1e-9
_RANGES = {
  'data.batch_size': (1, 2**31),
  'data.image_size': (1, 2**14),
  'data.workers': (1, 2**10),
  'data.validation_per_class': (0, 2**31),
  'optimizer.rho': (0, 1e6),
  'optimizer.head_rho': (0, 1e6),
  'optimizer.tail_weight': (0, 1e6),
  'optimizer.switch': (0, 1),
  'optimizer.focal_gamma': (0, 1e6),
  'optimizer.focal_lam': (0, 1e6),
  'optimizer.num_microbatches': (1, 2**31),
  'optimizer.learning_rate': (0, 1e30),
  'optimizer.warmup_epochs': (0, 1e6),
  'optimizer.momentum': (0, _ALMOST_ONE),
  'optimizer.weight_decay': (0, 1e6),
  'optimizer.clip_norm': (1e-30, 1e30),
  'optimizer.ema_decay': (0, _ALMOST_ONE),
  'epochs': (1e-6, 1e6),
  'save_every': (1e-6, 1e6),
  'seed': (0, 2**32 - 1),
}


def check(config: Config) -> None:
  """Refuses values that no program could run with.

  Raises:
    ValueError: Names the field, the value, and what it can be.
  """
  fields = flatten(config)
  for name, hint in _types(type(config)).items():
    if not _fits(fields[name], hint):
      raise ValueError(
        f'--config.{name} must be {_type_name(hint)}, got {fields[name]!r}.'
      )
  if len(config.data.splits) != 3:
    raise ValueError(
      "--config.data.splits must be like ('train', None, 'test'), got "
      f'{config.data.splits!r}.'
    )
  for name, choices in _CHOICES.items():
    if fields[name] not in choices:
      raise ValueError(
        f'--config.{name} must be one of {", ".join(choices)}, got '
        f'{fields[name]!r}.'
      )
  for name, (low, high) in _RANGES.items():
    value = fields[name]
    if value is not None and not low <= value <= high:
      raise ValueError(
        f'--config.{name} must be from {low:g} to {high:g}, got {value!r}.'
      )
  if config.many_above < config.few_below:
    raise ValueError(
      '--config.many_above must be at least --config.few_below, got '
      f'{config.many_above} and {config.few_below}.'
    )
  if (
    config.final_split == 'validation'
    and not config.data.validation_per_class
    and not config.data.splits[1]
  ):
    raise ValueError(
      '--config.final_split=validation needs images to be set aside: pass '
      '--config.data.validation_per_class=20 as well.'
    )
  if config.best_on_test and config.final_split != 'test':
    raise ValueError(
      '--config.best_on_test reports the test set. Leave '
      '--config.final_split=test.'
    )


def _types(kind: type) -> dict[str, Any]:
  """Types of the fields, by dotted name."""
  found: dict[str, Any] = {}
  for name, hint in typing.get_type_hints(kind).items():
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
      found |= {f'{name}.{k}': v for k, v in _types(hint).items()}
    else:
      found[name] = hint
  return found


def _fits(value: Any, hint: Any) -> bool:
  arguments = typing.get_args(hint)
  origin = typing.get_origin(hint)
  if origin is tuple:
    return isinstance(value, tuple) and all(
      _fits(entry, arguments[0]) for entry in value
    )
  if arguments:  # A union.
    return any(_fits(value, argument) for argument in arguments)
  if isinstance(value, bool):
    return hint is bool
  return isinstance(value, (int, float) if hint is float else hint)


def _type_name(hint: Any) -> str:
  return str(hint) if typing.get_args(hint) else hint.__name__


def flatten(config: Any) -> dict[str, Any]:
  """Fields by dotted name, ``{'data.name': 'digits', ...}``."""
  fields = {}
  for field in dataclasses.fields(config):
    value = getattr(config, field.name)
    if dataclasses.is_dataclass(value):
      fields |= {f'{field.name}.{k}': v for k, v in flatten(value).items()}
    else:
      fields[field.name] = value
  return fields


def replace(config: Any, changes: dict[str, Any]) -> Any:
  """A copy with some fields, by dotted name, changed.

  Raises:
    ValueError: There is no such field; the nearest one is named.
  """
  known = flatten(config)
  for name in changes:
    if name not in known:
      raise ValueError(unknown_field(name, config))
  values = known | changes
  parts = {
    field.name: type(part)(
      **{
        inner.name: values[f'{field.name}.{inner.name}']
        for inner in dataclasses.fields(part)
      }
    )
    if dataclasses.is_dataclass(part := getattr(config, field.name))
    else values[field.name]
    for field in dataclasses.fields(config)
  }
  return type(config)(**parts)


def unknown_field(name: str, config: Any) -> str:
  """What to say about a field that does not exist."""
  fields = list(flatten(config))
  last = name.rsplit('.', 1)[-1]
  near = difflib.get_close_matches(name, fields, n=1)
  near = near or [f for f in fields if f.rsplit('.', 1)[-1] == last]
  near = near or difflib.get_close_matches(
    last, [f.rsplit('.', 1)[-1] for f in fields], n=1
  )
  hint = f' Did you mean {near[0]!r}?' if near else ''
  return f'there is no field {name!r} in the configuration.{hint}'


def to_json(config: Any) -> dict[str, Any]:
  """The configuration as nested dictionaries, for ``config.json``."""
  return json.loads(json.dumps(dataclasses.asdict(config)))


def from_json(path: pathlib.Path, kind: type = Config) -> Any:
  """The configuration that a run wrote.

  Raises:
    ValueError: The file cannot be read, or has unknown fields.
  """
  try:
    nested = json.loads(path.read_text())
  except (OSError, ValueError, RecursionError) as error:
    raise ValueError(
      f'{path} is not a readable config.json: {error}'
    ) from error
  if not isinstance(nested, dict):
    raise ValueError(f'{path} is not a config.json: it holds no fields.')
  changes = {}
  for name, value in nested.items():
    if isinstance(value, dict):
      changes |= {f'{name}.{k}': v for k, v in value.items()}
    else:
      changes[name] = value
  # JSON knows no tuples, and no field is a list.
  changes = {
    name: tuple(value) if isinstance(value, list) else value
    for name, value in changes.items()
  }
  return replace(kind(), changes)
