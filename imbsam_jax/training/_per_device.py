# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Ascent directions by device: the SAM paper's m-sharpness."""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax
import optax

from imbsam_jax.training import _sharding
from imbsam_jax.training import _state

Step = Callable[..., tuple[_state.TrainState, dict[str, Any]]]


def per_device_link(
  link: optax.GradientTransformation, *, axis_name: str = 'data'
) -> optax.GradientTransformationExtraArgs:
  """A link whose gradients are summed over devices after its perturbation.

  Args:
    link: The sharpness-aware link, which then sees the rows of one device. It
      gets the extra argument `axis_name`, by which links that remember
      gradients remember the same on all devices.
    axis_name: Axis of `jax.shard_map` or `jax.pmap`.

  Returns:
    The link, for `make_optimizer`.
  """
  inner = optax.with_extra_args_support(link)

  def update_fn(
    updates: optax.Updates,
    state: Any,
    params: Any = None,
    **extra_args: Any,
  ) -> tuple[optax.Updates, optax.OptState]:
    extra_args['axis_name'] = axis_name
    return inner.update(updates, state, params, **extra_args)

  return optax.chain(
    optax.GradientTransformationExtraArgs(inner.init, update_fn),
    optax.stateless(lambda updates, _: jax.lax.psum(updates, axis_name)),
  )


def per_device(train_step: Step, mesh: jax.sharding.Mesh) -> Step:
  """A step in which every device ascends on its own rows.

  Foret et al., ICLR 2021, section 4.1: m-sharpness, with m rows per device, so
  that results depend on the number of devices, which they do not otherwise.
  BatchNorm sees the rows of a device, too.

  Args:
    train_step: From `make_train_step` with ``axis_name='data'``, its chain with
      `per_device_link`; not jitted.
    mesh: Mesh of devices, from `data_mesh`.

  Returns:
    The step for batches of `shard_batch`, not yet jitted.
  """
  rows, whole = jax.P('data'), jax.P()

  def step(state, batch):
    weights = jax.tree.map(
      lambda w: jax.P(*(None,) * (w.ndim - 1), 'data'), batch.weights
    )
    specs = dataclasses.replace(
      batch,
      rows=rows,
      weights=weights,
      resident_images=None if batch.resident_images is None else whole,
      streams={
        name: jax.P(_sharding.stream_axis(mesh, len(own['label'])))
        for name, own in batch.streams.items()
      },
    )
    # Gradients are to stay those of a device until the link sums them.
    return jax.shard_map(
      train_step,
      mesh=mesh,
      in_specs=(whole, specs),
      out_specs=whole,
      check_vma=False,
    )(state, batch)

  return step
