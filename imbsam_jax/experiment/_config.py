# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The configuration of an experiment: all fields, meanings and defaults."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
  """The examples, and how training batches are made of them.

  Attributes:
    name: Name of the data set: 'digits', a name that TFDS knows, or for files
      of one's own 'image_folder', 'image_list' or 'npz'.
    data_dir: Folder of prepared TFDS data sets, where None is TFDS's default;
      or the folder of images, or the .npz file.
    splits: Training, validation and test split: TFDS splits ('SPLIT@LIST' keeps
      the positions that a list file names), folders of an 'image_folder', list
      files of an 'image_list'. Without a validation split there is
      `validation_per_class`.
    test_share: Share of each class that becomes the test images of an
      'image_folder' that has no folders of `splits`, but those of the classes.
    split_seed: Seed that chooses these test images.
    bad_images: What is done about image files that cannot be used, which are
      looked for before a run: 'fail' lists them, 'skip' leaves them out and
      writes them into the run, 'unchecked' does not look.
    exif_orientation: Whether images are turned as their EXIF says, in training,
      evaluation and prediction. Published numbers are without it.
    image_size: Height and width to which images are decoded when a batch needs
      them; None keeps all in memory at their own size.
    resize: How images in memory come to the size of a network that takes
      another: 'bilinear' or 'bicubic'.
    augment: Random changes of the training images in memory, joined by '+':
      'pad_crop(padding=4)', 'flip', 'cutout(size=16)',
      'random_resized_crop(scale=(0.08, 1.0), ratio=(0.75, 1.333))' to the size
      that the network takes,
      'rand_augment(num_ops=2, magnitude=10)', "auto_augment(policy='cifar10')"
      or 'imagenet'; or 'none'. The literature's strong augmentation of CIFAR is
      'pad_crop+flip+auto_augment+cutout'. Images that are decoded when a batch
      needs them get random crops and flips.
    workers: Number of threads that decode images.
    imbalance_factor: Largest class count divided by the smallest.
    profile: How class counts fall from the largest to the smallest: 'exp' or
      'step', or 'natural' for the data set's own distribution.
    max_count: Images of the most frequent class; None is as many as there are.
    class_counts: Number of images of each class, such as (100, 20, 5), in place
      of those from `imbalance_factor` and `profile`.
    subset: Which images of a class are kept: 'shuffled' keeps random ones, as
      LDAM-DRW does, 'first' the first in file order, as ImbSAM and SSE-SAM do.
    subset_seed: Seed that chooses the shuffled subset.
    validation_per_class: Training images of each class that are set aside for
      validation.
    batch_size: Rows of a batch, over all devices.
    sampler: The order of the training images: 'shuffle' takes each once an
      epoch; others, such as 'class_balanced' or 'drs(start=0.8)', draw with
      replacement.
    stratify: Whether every batch has the same number of tail rows.
    auxiliary: Images of other things than the classes, for methods that take
      some: 'textures', which are made here; 'tfds:NAME' or 'tfds:NAME:SPLIT';
      'folder:PATH', all images in it; or 'npz:PATH'. They come to the size of
      the training images.
  """

  name: str = 'digits'
  data_dir: str | None = None
  splits: tuple[str | None, ...] = ('train', None, 'test')
  test_share: float = 0.2
  split_seed: int = 0
  bad_images: str = 'fail'
  exif_orientation: bool = True
  image_size: int | None = None
  resize: str = 'bilinear'
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
  auxiliary: str = 'textures'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
  """The network.

  Attributes:
    name: Name of the network: 'mlp', 'small_conv_net', 'strided_conv_net',
      'resnet20', 'resnet32', 'resnet34' or 'wide_resnet28_10'; for images of
      about 224x224 'resnet50' or 'resnext50'; Vision Transformers for about
      32x32 'vit_tiny_patch4' or 'vit_small_patch4', with `norm` 'none'; or
      'trunk', that of `trunk`.
    norm: Normalization layers: 'group', 'batch', 'dar_batch' (BatchNorm that
      keeps rows of pure noise apart), or 'none' (not for the ResNets).
    head: Last layer: 'auto' is the one that the loss needs, 'linear' or
      'cosine'; 'scaled_cosine(scale=25.0)', a cosine head for any loss, whose
      scale is that of losses that have none; 'etf' and 'prototypes' have fixed
      class vectors.
    head_init: What the class vectors of the head begin with: 'random',
      'class_means(shots=None)' of the features of the trunk, or
      "text(path='FILE')", features of the names of the classes in a file.
    dtype: Type in which the network computes up to the features: 'float32' or
      'bfloat16'. Parameters, perturbations and logits are float32. A network of
      one's own decides for itself.
    trunk: File of a pre-trained network, .safetensors or .npz, whose features
      the head reads. See `imbsam_jax.pretrained`. None begins with a random
      network.
    trunk_sha256: Checksum of that file. A run writes it down, and is refused if
      it goes on and finds another.
    preset: Which published network the file holds, where it does not show:
      'vit_b16_in21k', 'clip_vit_b16' or another of `pretrained.PRESETS`.
    num_heads: Number of heads of its attention, which no file tells. None is
      one for each 64 entries of the features.
    image_size: Height and width in pixels to which images in memory are brought
      for the trunk, within the step. None is that of its file.
    tuning: What of the trunk is trained, and what is added to it: 'full',
      'probe', 'vpt_deep(prompts=10)', 'adaptformer' and others.
    pool: Features of the trunk: 'class', those of its class token, or
      'class_and_prompts', as GNM-PT has them.
    feature_dropout: Share of the features that is dropped out in training.
    remat: Whether blocks of the trunk are computed again in the gradient, which
      takes less memory and more time.
    feature_cache: Folder of features that were computed before. With a trunk of
      which nothing is trained, they are computed once for all runs. None
      computes them in every step.
  """

  name: str = 'small_conv_net'
  norm: str = 'group'
  head: str = 'auto'
  head_init: str = 'random'
  dtype: str = 'float32'
  trunk: str | None = None
  trunk_sha256: str | None = None
  preset: str | None = None
  num_heads: int | None = None
  image_size: int | None = None
  tuning: str = 'full'
  pool: str = 'class'
  feature_dropout: float = 0.0
  remat: bool = False
  feature_cache: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Objective:
  """The loss that is minimized.

  Parameters go into brackets: 'vs(gamma=0.1, tau=1.2)'. Starts and ends are
  shares of the run. `methods.AXES` has all choices of each field, and
  `experiment.words` the words that set them.

  Attributes:
    loss: The loss of an example, such as 'cross_entropy' or 'ldam'.
    weights: Weights of classes or examples in the loss, such as 'absgd' or
      'drw(start=0.8)'; 'none' leaves all alike.
    mixing: How examples are mixed, such as 'mixup' or 'cmo'; 'none' leaves them
      as they are.
    scheme: A method that changes more than one of these, with a stream of data,
      a network or a state of its own; 'none' is none.
    penalty: A term that is added to the loss, such as 'zero_centroid'; 'none'
      is none.
  """

  loss: str = 'cross_entropy'
  weights: str = 'none'
  mixing: str = 'none'
  scheme: str = 'none'
  penalty: str = 'none'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer:
  """The update rule, and the optimizer around it.

  Attributes:
    method: Name of the update rule: 'sgd', 'sam', 'imbsam', 'momentum_imbsam',
      'sse_sam', 'focal_sam', 'rsam', 'look_sam(every=10, alpha=0.7)',
      'friendly_sam(sigma=1.0, lam=0.9)' or 'gsam(alpha=0.1)'.
    rho: Radius of the perturbation: of all classes (sam, focal_sam, look_sam,
      friendly_sam, gsam), of the tail (imbsam, momentum_imbsam, sse_sam), or
      per entry of the parameters (rsam).
    rho_schedule: How rho changes over the run: 'constant',
      'linear(first=0.1, last=1.0)', or 'step(factors=(0.1, 1.0),
      starts=(0.5,))', factors of rho from shares of the run on.
    head_rho: Radius of the perturbation for the head (sse_sam).
    threshold: Classes with fewer training images are tail.
    tail_weight: Factor of the tail's loss (imbsam, momentum_imbsam, sse_sam).
    switch: Share of the epochs after which sse_sam no longer perturbs for the
      head and rsam halves its radius; 1 is never.
    focal_gamma: Exponent with which the perturbed share falls for frequent
      classes (focal_sam).
    focal_lam: Largest share of a class's loss that is perturbed (focal_sam).
    adaptive: Whether weights are perturbed in proportion to their size.
    perturb: Parameters that are perturbed: 'all' that are trained; 'head', the
      network's `classifier`, for rows of all classes alike; or 'tuned', all
      others. The radius is that of what is perturbed.
    rows: Which rows go through the model together: 'split' gives head and tail
      passes of their own, 'joint' sends all rows through each; 'auto' splits
      where that is exact. 'tail_only', for BatchNorm, is an approximation:
      perturbed passes of the tail by itself.
    ascent: Whose rows give the direction of the perturbation: 'global' is all
      rows of a batch; 'per_device' is each device's own rows for itself, so
      that results depend on the number of devices.
    num_microbatches: Number of parts of a batch that go through the model one
      after the other.
    name: Optimizer around the rule: 'sgd', or 'adamw(b1=0.9, b2=0.999,
      eps=1e-8)', for which learning rates near 0.001 are usual.
    learning_rate: Largest learning rate of the run, from which `schedule`
      departs.
    schedule: How the learning rate changes over the run: 'cosine', 'step',
      'ldam' or 'constant', or at the start of each epoch only
      'cosine_by_epoch(lag=0)', late by `lag` epochs. With
      '(from_zero=True)' the warm-up begins with 0.
    warmup_epochs: Epochs of linear warm-up of the learning rate.
    momentum: Decay rate of the momentum of SGD.
    weight_decay: Factor with which the unperturbed parameters are added to
      their gradient, or of AdamW to the update.
    decay: Parameters that `weight_decay` applies to: 'all'; or 'kernels', not
      biases, scales, the class token and the position embedding.
    layer_decay: Factor of the learning rate from each layer of a transformer to
      the one before it, such as 0.75; None is the same rate for all.
    clip_norm: Global norm at which the gradient is clipped; None is never.
    ema_decay: Decay rate of a moving average of the parameters, which is
      evaluated in their place; None keeps none.
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
  perturb: str = 'all'
  rows: str = 'auto'
  ascent: str = 'global'
  num_microbatches: int = 1
  name: str = 'sgd'
  learning_rate: float = 0.1
  schedule: str = 'cosine'
  warmup_epochs: float = 0.0
  momentum: float = 0.9
  weight_decay: float = 5e-4
  decay: str = 'kernels'
  layer_decay: float | None = None
  clip_norm: float | None = None
  ema_decay: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
  """One training run.

  Attributes:
    data: The examples.
    model: The network.
    objective: The loss.
    optimizer: The update rule and its optimizer.
    epochs: Passes over the training set.
    seed: Seed of the initial parameters, the order of the images and the noise.
    save_every: Epochs between checkpoints, and between validations where images
      are set aside; the end is always saved.
    final_split: Images that the summary is about: 'test', or 'validation' while
      anything is still being chosen.
    flip_test: Whether every evaluation adds the logits of the mirrored image,
      as the code of ImbSAM does. The result is marked.
    test_views: What every evaluation sees of an image in memory: 'none' is what
      the network takes, 'five_crop(margin=24)' the corners and the center of
      the image resized to `margin` pixels more, whose logits are averaged, as
      by LIFT; without a number it is 24 of 224, in proportion. An evaluation
      takes five times as long. The result is marked.
    best_on_test: Whether the checkpoint that is best on the test set is
      reported, as by the codes of ImbSAM and SSE-SAM; its accuracy is no
      estimate of accuracy on new images. The result is marked.
    many_above: Classes with more training images are 'many'.
    few_below: Classes with fewer training images are 'few'.
    deterministic: Whether GPUs use only operations that give the same bits
      every time (XLA_FLAGS=--xla_gpu_deterministic_ops=true), which are slower.
      XLA looks once, when JAX begins: `build` sets the flag, or refuses where
      that is too late. CPUs and TPUs always give the same bits.
    log: What else has the metrics of `metrics.jsonl`: 'tensorboard' writes
      event files into the folder `tensorboard` of the run, and needs the extra
      `log`; 'none' is nothing. A run can go on with the other value.
    init_from: Folder of a finished run whose parameters this one begins with,
      'FOLDER', or 'FOLDER:best' for its best checkpoint. ``{seed}`` stands for
      the seed, and in a comparison ``{word}`` for the method. None begins with
      random ones.
    init_from_sha256: Checksum of what was read there. A run writes it down, and
      is refused if it goes on and finds another.
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
  test_views: str = 'none'
  best_on_test: bool = False
  many_above: int = 100
  few_below: int = 20
  deterministic: bool = False
  log: str = 'none'
  init_from: str | None = None
  init_from_sha256: str | None = None
