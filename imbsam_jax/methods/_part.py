# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`Part`, what a word brings to a run; `Setup`, what it knows of the run."""

from collections.abc import Callable
from collections.abc import Mapping
import types
from typing import Any
from typing import Literal
from typing import NamedTuple

from flax import linen as nn
import grain
import jax
import numpy as np

from imbsam_jax import _errors
from imbsam_jax import data as data_lib
from imbsam_jax import models
from imbsam_jax import schedules
from imbsam_jax import training

ExampleLoss = Callable[..., jax.Array]


class Setup(NamedTuple):
  """What a word knows of a run.

  Attributes:
    time: Class counts, epochs and batch size, for schedules by epoch.
    image_shape: Shape of one image as the model sees it.
    data: Examples of the run, for further streams.
    auxiliary_examples: Images of other things than the classes, or None; see
      `auxiliary`.
    inputs: Function from stored images to the model's input, or None.
  """

  time: schedules.Timeline
  image_shape: tuple[int, ...] = ()
  data: data_lib.LongTailedData | None = None
  auxiliary_examples: data_lib.Examples | None = None
  inputs: Callable[[jax.Array], jax.Array] | None = None

  @property
  def auxiliary(self) -> data_lib.Examples:
    """Images of other things than the classes, without labels.

    They are read for words with the trait `auxiliary` alone.

    Raises:
      ConfigError: If there are none.
    """
    if self.auxiliary_examples is None:
      raise _errors.ConfigError(
        'there are no auxiliary images: register a word that takes them with '
        'auxiliary=True. `data.auxiliary` says which they are.'
      )
    return self.auxiliary_examples

  @property
  def training(self) -> data_lib.Examples:
    """Training examples.

    Raises:
      ConfigError: If there are no data.
    """
    if self.data is None:
      raise _errors.ConfigError('this method needs the data of a run.')
    return self.data.train

  @property
  def validation(self) -> data_lib.Examples:
    """Validation images.

    Raises:
      ConfigError: If the run sets no validation images aside.
    """
    held_out = None if self.data is None else self.data.validation
    if held_out is None:
      raise _errors.ConfigError(
        'this method needs validation images: pass '
        '`data.validation_per_class=20`, or data with a validation part.'
      )
    return held_out

  @property
  def class_counts(self) -> np.ndarray:
    """Training images of each class, int ``[C]``."""
    return self.time.class_counts


class Search(NamedTuple):
  """A run that comes before a run, and finds what that begins with.

  Attributes:
    fields: Fields in which its configuration differs, by dotted name.
    hold_out: Share of the training images of each class that are set aside as
      its validation images, where the run has none.
    begin: ``begin(found) -> state``, of what its objective remembers in the end
      that which the objective of the run remembers in the beginning.
  """

  fields: Mapping[str, Any]
  hold_out: float
  begin: Callable[[Any], Any]


class Part(NamedTuple):
  """What one word brings to a run; what it leaves out is left to others.

  Attributes:
    loss: ``(logits [B, C], labels [B]) -> losses [B]``, with ``key=`` if it
      draws.
    logit_scale: Factor of the logits for probabilities.
    term: Loss of the same kind that is added to it.
    penalty: ``penalty(params)``, a scalar that is added once.
    weigh: ``(losses [B], step, state) -> (factors [B], state)``, see
      `training.Supervised`.
    weigh_state: Initial state of `weigh`.
    mix: ``mix(key, step, batch, partner)``, see `training.Supervised`.
    partners: ``partners(order, labels, seed) -> order`` of the rows that are
      mixed with those of `order`.
    reweighting: Class weights of the loss.
    probabilities: ``probabilities(step)``, class probabilities ``[C]`` by which
      training rows are drawn with replacement.
    order: ``order(labels, is_tail, seed) -> order`` of the training rows,
      instead of such draws. Where `is_tail`, bool ``[C]``, is not None, every
      batch is to have the same number of rows of these classes.
    objective: ``objective(supervised)`` wraps or replaces what the other words
      make, a `training.Supervised`.
    streams: Functions ``stream(seed)`` of further streams of rows, each a
      `data.Stream`, by name.
    model: ``model(network)`` wraps or replaces the network.
    params: Which parameters are loaded, and which are trained.
    tuning: How a pre-trained trunk is tuned.
    search: A run that comes before.
    pass_cost: ``pass_cost(network, images)`` is `Objective.pass_cost` in passes
      of the network before `model`, where it depends on the network and on the
      shape of images ``[1, ...]``.
  """

  loss: ExampleLoss | None = None
  logit_scale: float | None = None
  term: ExampleLoss | None = None
  penalty: Callable[[Any], jax.Array] | None = None
  weigh: Callable[..., tuple[jax.Array, Any]] | None = None
  weigh_state: Any = None
  mix: Callable[..., Any] | None = None
  partners: Callable[..., grain.MapDataset] | None = None
  reweighting: data_lib.Reweighting | None = None
  probabilities: Callable[[int], np.ndarray] | None = None
  order: Callable[..., grain.MapDataset] | None = None
  objective: Callable[[training.Supervised], training.Objective] | None = None
  streams: Mapping[str, Callable[[int], data_lib.Stream]] = (
    types.MappingProxyType({})
  )
  model: Callable[[nn.Module], nn.Module] | None = None
  params: training.ParamPlan | None = None
  tuning: models.tuning.Tuning | None = None
  search: Search | None = None
  pass_cost: Callable[[nn.Module, jax.ShapeDtypeStruct], float] | None = None


HEADS = ('any', 'linear', 'cosine', 'class_vectors', 'scaled')


class Traits(NamedTuple):
  """What decides with which other words a word can be combined.

  Attributes:
    head: Head that its logits come from: of any kind, 'linear', 'cosine', or
      'class_vectors', a cosine head whose class vectors are learned. That of a
      head may be 'scaled', such class vectors whose cosines are for any loss.
    corrects_prior: Whether it favors rare classes, so that a second word that
      does would do it again; or a function of its parameters.
    counts_batch: Whether the class counts that it corrects by are those of the
      batch, which a sampler has in its hand.
    published_with: Choices, by name, that it was published with, although both
      correct the prior.
    needs_batch: Whether the loss of a row depends on others, so that the rows
      of a batch stay together.
    fixes_counts: Whether it decides how many rows of a class a batch has, which
      then cannot be stratified.
    own_stream: Whether it takes rows from a re-balanced stream of its own, and
      needs the natural one beside it.
    pairs: Whether it gives every row a partner; every mixing does.
    auxiliary: Whether it takes auxiliary images, `Setup.auxiliary`.
    perturbs: Whether gradients are those at perturbed parameters.
    fine_tunes: Whether it begins with a finished run.
    own_loss: Whether it has a loss of its own, in place of cross entropy.
    unmixed: Whether it needs images of one example each, which no word mixes.
  """

  head: Literal['any', 'linear', 'cosine', 'class_vectors', 'scaled'] = 'any'
  corrects_prior: bool | Callable[[Mapping[str, Any]], bool] = False
  counts_batch: bool = False
  published_with: frozenset[str] = frozenset()
  needs_batch: bool = False
  fixes_counts: bool = False
  own_stream: bool = False
  pairs: bool = False
  auxiliary: bool = False
  perturbs: bool = False
  fine_tunes: bool = False
  own_loss: bool = False
  unmixed: bool = False
