# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`build`: an experiment from its configuration."""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

from flax import linen as nn
import jax
import numpy as np

from imbsam_jax import _errors
from imbsam_jax import data as data_lib
from imbsam_jax import methods
from imbsam_jax import models
from imbsam_jax import training
from imbsam_jax._runs import compilation
from imbsam_jax._runs import fields
from imbsam_jax.experiment import _base_run
from imbsam_jax.experiment import _batches
from imbsam_jax.experiment import _choices
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _data_sets
from imbsam_jax.experiment import _event_files
from imbsam_jax.experiment import _experiment
from imbsam_jax.experiment import _field_checks
from imbsam_jax.experiment import _foundation
from imbsam_jax.experiment import _identity
from imbsam_jax.experiment import _outcomes
from imbsam_jax.experiment import _own
from imbsam_jax.experiment import _programs
from imbsam_jax.experiment import _run_parts
from imbsam_jax.experiment import _search
from imbsam_jax.experiment import _test_views
from imbsam_jax.experiment import _update_rule
from imbsam_jax.experiment import used_fields

# Networks that take rows of any rank, rather than images with channels.
_ANY_ROWS = ('mlp', methods.OWN)
# Larger sets stay on the host.
_MAX_TABLE_BYTES = 2**32


def check_config(config: _config.Config) -> None:
  """Refuses what can be refused without the data.

  Raises:
    ConfigError: If a value of the configuration does not fit.
  """
  _field_checks.check(config)
  _choices.check(config)
  _foundation.check(config)


def build(
  config: _config.Config,
  *,
  model: nn.Module | models.NnxModel | None = None,
  data: _data_sets.Sources | data_lib.LongTailedData | None = None,
  loss: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
  steps_per_call: int | None = None,
) -> _experiment.Experiment:
  """Builds an experiment; ``print(experiment)`` shows what it is about.

  What is not in the words of a configuration is passed beside it. The
  configuration then names it ``'own'``, and whoever restores the run passes it
  again. Data are told apart by their checksums, networks and losses by what
  they compute; a folder of another one is refused.

  Args:
    config: The configuration.
    model: A network of one's own instead of `config.model`: a Linen module
      called as ``model(images, train=...)`` or ``model(images)``, or
      `models.from_nnx` of an NNX one. It gives logits ``[B, C]``; that it gives
      cosines is declared by the field ``model.head='cosine'``. Where it has
      BatchNorm, rows are not split. It decides its own dtype.
    data: Examples of one's own: `Sources`, cut as `config.data` says; or a
      `data.LongTailedData`, taken as it is. None reads the data set that
      `config.data` names.
    loss: A loss of one's own instead of `config.objective.loss`: ``(logits
      [B, C], labels [B]) -> losses [B]``, each of its own row alone.
    steps_per_call: Steps in one call of the device; None is several for small
      images on accelerators, which wait for the call otherwise, and 1 on CPUs,
      where XLA runs convolutions within a loop ten times slower.

  Returns:
    The experiment.

  Raises:
    ConfigError: If a value of the configuration does not fit; on GPUs also if
      the field `deterministic` is set and JAX has begun without it.
    DataError: If the data are missing or do not give what is asked for.
  """
  return _build_from(config, model, data, loss, steps_per_call)


def build_again(
  config: _config.Config, *, model: Any, data: Any, loss: Any
) -> _experiment.Experiment:
  """Builds the experiment of a run that was trained, as `build` does.

  The run that it began with may be gone, if it trained all parameters.

  Args:
    config: Its configuration.
    model: See `build`.
    data: See `build`.
    loss: See `build`.
  """
  return _build_from(config, model, data, loss, None, again=True)


def _build_from(
  config: _config.Config,
  model: Any,
  data: Any,
  loss: Any,
  steps_per_call: int | None,
  *,
  again: bool = False,
) -> _experiment.Experiment:
  if not isinstance(config, _config.Config):
    raise _errors.ConfigError(
      '`config` must be a configuration, such as '
      f"experiment.config('digits_lt', 'imbsam'), got {type(config)}."
    )
  fields.check_types(config)
  config = _own.name_in(config, model=model, data=data, loss=loss)
  check_config(config)
  if not again:  # What is evaluated writes none.
    _event_files.check(config)
  compilation.ask_for_same_bits(config.deterministic)
  try:
    if not isinstance(data, data_lib.LongTailedData):
      own_auxiliary = None if data is None else data.auxiliary
      data = _data_sets.load(config.data, data)
      if config.model.name not in _ANY_ROWS:
        data = _data_sets.with_channel_axis(data)
    else:
      own_auxiliary = None
      data_lib.check_same_rows(data)
    return _build(
      config,
      data,
      model,
      loss,
      steps_per_call,
      own_auxiliary=own_auxiliary,
      again=again,
    )
  except data_lib.DataError:
    raise
  except (ValueError, TypeError) as error:
    raise _errors.ConfigError(str(error)) from error


def build_on(
  config: _config.Config, data: data_lib.LongTailedData
) -> _experiment.Experiment:
  """Builds an experiment on the data that its configuration names.

  Args:
    config: The configuration.
    data: What was read for it already.

  Raises:
    ConfigError: If a value of the configuration does not fit.
  """
  check_config(config)
  compilation.ask_for_same_bits(config.deterministic)
  try:
    return _build(config, data, None, None, None)
  except data_lib.DataError:
    raise
  except (ValueError, TypeError) as error:
    raise _errors.ConfigError(str(error)) from error


def _build(
  config: _config.Config,
  data: data_lib.LongTailedData,
  own_model: Any,
  own_loss: Callable[[jax.Array, jax.Array], jax.Array] | None,
  steps_per_call: int | None,
  *,
  own_auxiliary: np.ndarray | None = None,
  again: bool = False,
) -> _experiment.Experiment:
  mesh = training.data_mesh()
  num_classes = len(data.class_names)
  source = data
  config, data, inputs, foundation = _run_parts.examples(config, data, mesh)
  images = data.train.images
  in_memory = isinstance(images, np.ndarray)
  views = _test_views.make(config.test_views, inputs, images)
  sample = _run_parts.sample_of(data)
  row_multiple = _run_parts.row_multiple(config, mesh)
  lengths = _run_parts.Lengths(config, len(data.train.labels))
  combined, auxiliary = _run_parts.combined(
    config, data, loss=own_loss, auxiliary=own_auxiliary, inputs=inputs
  )
  search = None
  if combined.search is not None:
    search = _experiment.SearchRun(
      _build(
        _search.config_of(config, combined.search),
        _search.data_of(source, combined.search),
        own_model,
        own_loss,
        steps_per_call,
      ),
      combined.search.begin,
    )
  objective = combined.objective
  standardized = jax.eval_shape(inputs.preprocess, sample)
  network = _run_parts.network(
    config, own_model, standardized, num_classes, foundation, combined.tuning
  )
  config = dataclasses.replace(
    config, model=dataclasses.replace(config.model, norm=network.norm)
  )
  own = network.own | _run_parts.own_words(_choices.choices_of(config))
  if own_loss is not None:
    own['loss'] = _identity.of_loss(own_loss, num_classes)
  model = combined.model(network.module)
  if combined.pass_cost is not None:
    objective.pass_cost = combined.pass_cost(network.module, standardized)
  plan = combined.params
  if foundation is not None:
    foundation.count_cost(objective, network.module)
    # In a run that begins with another one, of a head that is new.
    begins = config.init_from is None or plan.begins_anew is not None
    plan = foundation.plan(plan, network.module, begins=begins and not again)

  mask = _update_rule.make_mask(config.optimizer.perturb)

  def make_method(key, rho=None):
    optimizer = config.optimizer
    if rho is not None:
      optimizer = dataclasses.replace(optimizer, rho=rho)
    setup = methods.RuleSetup(data.class_counts, lengths.switch_step, key, mask)
    return _update_rule.make_method(optimizer, setup, lengths.num_steps)

  method = make_method(jax.random.key(0))
  layout = _batches.choose_layout(
    config.optimizer.rows,
    method,
    rule=config.optimizer.method,
    batch_norm=config.model.norm in models.BATCH_NORMS,
    num_microbatches=config.optimizer.num_microbatches,
    coupled=objective.coupled,
  )
  steps = _programs.Steps(
    model,
    make_method,
    functools.partial(
      _update_rule.make_chain,
      config.optimizer,
      lengths.num_steps,
      lengths.warmup_steps,
      epoch_starts=lengths.epoch_starts,
    ),
    objective,
    inputs,
    plan=plan,
    sample=sample,
    mesh=mesh,
    ema_decay=config.optimizer.ema_decay,
    num_microbatches=config.optimizer.num_microbatches,
    ascent=config.optimizer.ascent,
  )
  bases = None
  if config.init_from is not None:
    bases = _base_run.BaseRuns(config, source)
    if again and plan.trains is None and bases.are_gone():
      bases = None
  if combined.params.load is not None:
    frozen = steps.init(jax.random.key(0)).frozen
    own['loaded parameters'] = {
      'about': f'{len(jax.tree.leaves(frozen))} arrays that are not trained',
      'computes': training.params_sha256(frozen),
      'jax': '',
    }
  # Where images stay on the devices, batches have places in them for images.
  resident = in_memory and images.nbytes <= _MAX_TABLE_BYTES
  if steps_per_call is None:
    steps_per_call = _run_parts.steps_per_call(
      mesh,
      resident,
      of_head=foundation is not None and foundation.is_cached,
    )
  if steps_per_call > 1 and mesh.is_multi_process and not resident:
    raise ValueError(
      'several processes make several steps in one call only of images that '
      'stay on the devices; leave steps_per_call=1.'
    )
  is_tail = data.class_counts < config.optimizer.threshold
  batches = _batches.Batches(
    data,
    combined,
    method,
    layout=layout,
    batch_size=config.data.batch_size,
    num_steps=lengths.num_steps,
    is_tail=is_tail if config.data.stratify else None,
    outer=objective.outer,
    row_multiple=row_multiple,
    resident=resident,
    scanned=steps_per_call > 1,
    # Indices cost nothing, and are stacked for several steps in one call.
    host_share=data_lib.WHOLE if resident else training.host_share(mesh),
  )
  # Makes a batch now, so that batches that cannot be made are refused at once.
  batches(config.seed, decode=False)[0]

  def begun_with(seed):
    return None if bases is None else bases.of_seed(seed).variables

  abstract_state = jax.eval_shape(
    steps.init, jax.random.key(0), begun_with(config.seed)
  )
  if mask is not None and used_fields.uses(config.optimizer.method, 'perturb'):
    mask(abstract_state.params)  # Refuses what it does not fit, at once.
  sharding = jax.sharding.NamedSharding(mesh, jax.P())
  abstract_state = jax.tree.map(
    lambda x: x.update(sharding=sharding), abstract_state
  )
  kinds = [
    _experiment.StepKind(stage, outer)
    for stage in range(len(method.stages))
    for outer in ((False, True) if objective.outer else (False,))
  ]
  return _experiment.Experiment(
    config=config,
    data=data,
    source=source,
    method=method,
    objective=objective,
    head=network.head,
    layout=layout,
    num_steps=lengths.num_steps,
    mesh=mesh,
    train_steps={
      kind: steps.train(kind.stage, outer=kind.outer) for kind in kinds
    },
    scanned_steps={
      kind: steps.scanned(kind.stage, outer=kind.outer) for kind in kinds
    },
    stacked_steps={
      kind: steps.stacked(kind.stage, outer=kind.outer) for kind in kinds
    },
    steps_per_call=steps_per_call,
    **_programs.evaluations(
      model,
      inputs,
      objective,
      config,
      views,
      keep_logits=_outcomes.keeps_logits(data),
    ),
    init=lambda seed: training.replicate(
      mesh, steps.init(jax.random.key(seed), begun_with(seed))
    ),
    abstract_state=abstract_state,
    own=own or None,
    foundation=foundation,
    bases=bases,
    search=search,
    views=views,
    batches=batches,
    resident_images=training.replicate(mesh, images) if resident else None,
    auxiliary=auxiliary,
    network=model,
    image_inputs=inputs if foundation is None else foundation.image_inputs,
    learning_rate=_update_rule.learning_rate(
      config.optimizer,
      lengths.num_steps,
      lengths.warmup_steps,
      epoch_starts=lengths.epoch_starts,
    ),
  )
