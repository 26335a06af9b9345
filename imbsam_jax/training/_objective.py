# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a step minimizes: the interface of every method but the update rules.

A method is an `Objective`. `make_train_step` calls its parts in this order:

1. `prepare`, once a step, before any pass: mixing, noise, adversaries;
2. ``__call__``, in every pass: from the model at the point of that pass to
   losses;
3. `weigh`, after the clean pass: weights of examples from their losses, which
   all passes of the step then have;
4. `after`, once a step: what is remembered, a queue of features for example.

Every so many steps an `Outer` step on other data comes after `prepare`, whose
rows it gets.
"""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

from flax import linen as nn
import jax

from imbsam_jax import _device_axis
from imbsam_jax import _modes

Rows = Mapping[str, Any]

# Collections that no pass changes: class vectors of a fixed head.
_FIXED = ('prototypes',)


class Apply:
  """The model at the point of a pass; ``apply(images)`` are its outputs.

  Attributes:
    params: All parameters at that point, frozen ones too.
    changed: Collections that calls in training have changed so far, such as
      BatchNorm statistics. Each call goes on from those of the one before.
  """

  def __init__(
    self,
    model: nn.Module,
    params: Any,
    model_state: Mapping[str, Any],
    key: jax.Array,
  ):
    self.params = params
    self.changed: dict[str, Any] = {}
    self._model = model
    self._model_state = dict(model_state)
    self._key = key
    self._calls = 0

  def takes(self, name: str) -> bool:
    """Whether the model has an argument of this name."""
    return name in _modes.call_parameters(self._model)

  def with_options(self, **options: Any) -> 'Apply':
    """The model at the same point, called with these options where none are.

    Its calls count as calls of this one.

    Args:
      **options: As those of a call, such as ``method=``.
    """

    def call(*inputs, **given):
      return self(*inputs, **{**options, **given})

    return WrappedApply(self, call)

  def __call__(self, *inputs: Any, train: bool = True, **options: Any) -> Any:
    """Outputs of the model.

    Args:
      *inputs: What the model takes, such as images ``[B, ...]``.
      train: Whether it trains. Otherwise nothing is drawn or changed.
      **options: Further arguments of `flax.linen.Module.apply` and of the
        model, such as ``method=``.
    """
    variables = {'params': self.params, **self._model_state, **self.changed}
    if not train:
      return self._model.apply(variables, *inputs, train=False, **options)
    key = self._key
    if self._calls:
      key = jax.random.fold_in(jax.random.fold_in(key, 0), self._calls)
    self._calls += 1
    outputs, changed = self._model.apply(
      variables,
      *inputs,
      train=True,
      mutable=[name for name in self._model_state if name not in _FIXED],
      rngs={'dropout': key},
      **options,
    )
    self.changed |= changed
    return outputs


class WrappedApply(Apply):
  """An `Apply` whose calls a wrapped objective changes, for its base.

  Args:
    apply: The model at the point of the pass.
    call: ``call(*inputs, **options)`` in the place of `apply`, which it calls.
  """

  def __init__(self, apply: Apply, call: Callable[..., Any]):
    self.params = apply.params
    self.changed = apply.changed  # One dictionary, which calls go on to fill.
    self._apply = apply
    self._call = call

  def takes(self, name: str) -> bool:
    """Whether the model has an argument of this name."""
    return self._apply.takes(name)

  def __call__(self, *inputs: Any, **options: Any) -> Any:
    """Outputs of the model, as `call` has them."""
    return self._call(*inputs, **options)


class Context(NamedTuple):
  """What is fixed within a step, whichever pass asks.

  Attributes:
    step: Number of completed steps, int32 ``[]``.
    key: Key of the step. Fold a number of your own into it for each purpose;
      0 to 2 are taken.
    state: What the objective remembers.
    streams: By name the rows of further streams of data, in no class group.
    clean: The model at w, before any perturbation, as `Apply` is called. All
      its calls draw alike, and what they change is dropped.
    axis_name: Axis of devices within `jax.shard_map` or `jax.pmap`, or None
      where arrays are those of all devices.
  """

  step: jax.Array
  key: jax.Array
  state: Any
  streams: Mapping[str, Rows]
  clean: Callable[..., Any]
  axis_name: str | None = None

  @property
  def num_devices(self) -> int:
    """Number of devices that `axis_name` has; 1 without."""
    return _device_axis.size(self.axis_name)

  def summed(self, tree: Any) -> Any:
    """The sum over devices, where there is an axis of them."""
    return _device_axis.summed(tree, self.axis_name)

  def gathered(self, rows: Any) -> Any:
    """The rows of all devices, where there is an axis of them."""
    return _device_axis.gathered(rows, self.axis_name)

  def own(self, rows: jax.Array) -> jax.Array:
    """The rows of this device among those of `gathered`."""
    return _device_axis.own(rows, self.axis_name)


class Outcome(NamedTuple):
  """What a pass over the rows of a batch gives.

  Attributes:
    losses: float32 ``[B]``; of mixed rows the pair of `mixed_losses`.
    logits: ``[B, C]``, for the training accuracy.
    labels: int32 ``[B]``, or `losses.MixedLabels` of ``[B]`` pairs.
    shared: A scalar that belongs to no row, such as a penalty on parameters or
      the loss of a further stream. It is added once, whatever the weights of
      the rows; class groups share it by theirs, and within `axis_name` it is
      the mean over devices. None is none.
    record: What `Objective.after` needs, arrays with rows first, such as
      features for a queue.
  """

  losses: Any
  logits: jax.Array
  labels: Any
  shared: jax.Array | None = None
  record: Any = ()

  def plus(self, shared: jax.Array) -> 'Outcome':
    """The outcome with a further scalar that belongs to no row."""
    before = 0.0 if self.shared is None else self.shared
    return self._replace(shared=before + shared)


class Outer(NamedTuple):
  """A step on other data that changes what the objective remembers.

  Attributes:
    update: ``update(ctx, apply_at, params, rows) -> state``. ``apply_at(p)`` is
      the `Apply` at the trained parameters p, so that gradients can be taken;
      `params` are those of now; `rows` are the prepared rows of the batch.
    every: Number of steps from one outer step to the next.
    stream: Name of the stream that these steps, and no others, have.
    start: The first step with an outer step.
    cost: Cost of an outer step, in SGD steps.
  """

  update: Callable[..., Any]
  every: int
  stream: str
  start: int = 0
  cost: float = 0.0

  def at(self, step: int) -> bool:
    """Whether a step has an outer step before it."""
    return step >= self.start and (step - self.start) % self.every == 0


class Objective:
  """What a step minimizes. Methods override what they change.

  Attributes:
    coupled: Whether the loss of a row depends on others, or the objective
      remembers rows. Such rows stay together: they are not split by class group
      nor cut into micro-batches.
    logit_scale: Factor of the logits before the softmax, for probabilities.
    num_views: How many times each image is augmented; ``rows['views']`` is the
      tuple of them, and ``rows['image']`` the first.
    outer: The outer step, or None.
    pass_cost: What a pass costs, in passes that see each row of the batch once:
      2 for two views of every row.
    prepare_cost: What `prepare` costs, in SGD steps.
  """

  coupled: bool = False
  logit_scale: float = 1.0
  num_views: int = 1
  outer: Outer | None = None
  pass_cost: float = 1.0
  prepare_cost: float = 0.0

  def init(self, key: jax.Array, variables: Mapping[str, Any]) -> Any:
    """What is remembered at first, a tree of arrays.

    Args:
      key: Key of `jax.random`.
      variables: Initial variables of the model.
    """
    del key, variables
    return ()

  def prepare(self, ctx: Context, rows: Rows) -> Rows:
    """The rows as the passes of this step see them.

    Called within the compiled step, once for all rows that go together. Rows
    that draw draw by ``rows['place']``, or by `ctx.key` if `coupled`.
    """
    del ctx
    return rows

  def __call__(self, ctx: Context, apply: Apply, rows: Rows) -> Outcome:
    """One pass; `apply` is the model at the point of that pass."""
    raise NotImplementedError

  def weigh(
    self, ctx: Context, losses: jax.Array
  ) -> tuple[jax.Array, Any] | None:
    """Factors of the losses ``[B]`` of the clean pass, and the new state.

    The factors are constants of the step: exponentials of perturbed losses
    would explode. None are ones. RSAM, which has no pass at w, pays a forward
    pass for them.
    """
    del ctx, losses

  def after(self, ctx: Context, record: Any) -> Any:
    """The new state, dropped if the update is skipped.

    Args:
      ctx: The context of the step, with the state that `weigh` left.
      record: That of the clean pass (for RSAM of its only pass), of the rows of
        all devices.
    """
    del record
    return ctx.state

  def predict(self, apply: Callable[..., Any], images: Any) -> jax.Array:
    """Logits ``[B, C]`` at test; `apply` does not train."""
    return apply(images)


class WrappedObjective(Objective):
  """An objective that changes another one; methods override what they change.

  Args:
    base: The other one, ``self.base``, to which all else is left.
  """

  def __init__(self, base: Objective):
    self.base = base
    self.coupled = base.coupled
    self.logit_scale = base.logit_scale
    self.num_views = base.num_views
    self.outer = base.outer
    self.pass_cost = base.pass_cost
    self.prepare_cost = base.prepare_cost

  def init(self, key, variables):
    """That of the base."""
    return self.base.init(key, variables)

  def prepare(self, ctx, rows):
    """That of the base."""
    return self.base.prepare(ctx, rows)

  def __call__(self, ctx, apply, rows):
    """That of the base."""
    return self.base(ctx, apply, rows)

  def weigh(self, ctx, losses):
    """That of the base."""
    return self.base.weigh(ctx, losses)

  def after(self, ctx, record):
    """That of the base."""
    return self.base.after(ctx, record)

  def predict(self, apply, images):
    """That of the base."""
    return self.base.predict(apply, images)
