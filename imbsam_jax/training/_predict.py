# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Steps that give classes, logits or features of one batch."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from imbsam_jax.training import _model_check
from imbsam_jax.training import _objective


def make_logit_step(
  model: nn.Module,
  preprocess: Callable[[jax.Array], jax.Array],
  *,
  objective: _objective.Objective | None = None,
) -> Callable[[dict[str, Any], jax.Array], jax.Array]:
  """Builds ``logits(variables, images) -> logits [B, C]``, not yet jitted.

  Args:
    model: A Linen module called as ``model(images, train=...)``, or
      `models.from_nnx` of an NNX one.
    preprocess: Function from images of the batch to the model's input.
    objective: Whose `Objective.predict` makes the logits; None is the model's
      own output.
  """
  _model_check.check_model(model)
  predict = (objective or _objective.Objective()).predict

  def logit_step(variables, images):
    return predict(_untrained(model, variables), preprocess(images))

  return logit_step


def make_score_step(
  model: nn.Module,
  preprocess: Callable[[jax.Array], jax.Array],
  *,
  objective: _objective.Objective | None = None,
  logit_scale: float | None = None,
  flip: bool = False,
  views: Callable[[jax.Array], Sequence[jax.Array]] | None = None,
) -> Callable[..., tuple[jax.Array, jax.Array]]:
  """Builds ``score(variables, images, correction=None)``.

  Args:
    model: A Linen module called as ``model(images, train=...)``, or
      `models.from_nnx` of an NNX one.
    preprocess: Function from images of the batch to the model's input.
    objective: Whose `Objective.predict` makes the logits; None is the model's
      own output.
    logit_scale: Factor of the logits before the softmax, that of the loss where
      the model gives cosines; None is that of the objective, 1 without one.
    flip: Adds the logits of the mirrored images ``[B, H, W, channels]`` and
      halves the sum, as the evaluation of some published numbers does.
    views: ``views(images)`` are the images as several views show them, each for
      `preprocess`; logits are averaged over views, and their flips. None is the
      images alone.

  Returns:
    The step, not yet jitted: logits ``[B, C]``, and float32 probabilities, the
    softmax of `logit_scale` times the logits. A correction is a pytree that is
    called as ``correction(features, logits)``, with logits that have their
    scale, and features ``[B, D]`` where its ``needs_features`` is True, which
    takes a `models.Classifier`; else with None. With one, logits are what it
    makes of those of each view, averaged, and the probabilities their softmax.
  """
  _model_check.check_model(model)
  predict = (objective or _objective.Objective()).predict
  if logit_scale is None:
    logit_scale = 1.0 if objective is None else objective.logit_scale

  def score_step(variables, images, correction=None):
    apply = _untrained(model, variables)

    def input_logits(inputs):
      logits: Any = predict(apply, inputs)
      if correction is None:
        return logits
      features: Any = None
      if correction.needs_features:
        features = apply(inputs, method='features_and_logits')[0]
      return correction(features, logit_scale * logits.astype(jnp.float32))

    def view_logits(view):
      inputs = preprocess(view)
      logits = input_logits(inputs)
      if flip:
        logits = (logits + input_logits(jnp.flip(inputs, axis=-2))) / 2
      return logits

    seen = (images,) if views is None else views(images)
    logits = sum(map(view_logits, seen[1:]), view_logits(seen[0]))
    if len(seen) > 1:
      logits = logits / len(seen)
    scale = logit_scale if correction is None else 1.0
    return logits, jax.nn.softmax(scale * logits.astype(jnp.float32))

  return score_step


def make_predict_step(
  model: nn.Module,
  preprocess: Callable[[jax.Array], jax.Array],
  *,
  objective: _objective.Objective | None = None,
  logit_scale: float | None = None,
  flip: bool = False,
  views: Callable[[jax.Array], Sequence[jax.Array]] | None = None,
) -> Callable[[dict[str, Any], jax.Array], tuple[jax.Array, jax.Array]]:
  """Builds ``predict(variables, images) -> (classes [B], confidences [B])``.

  Args:
    model: See `make_score_step`, as all arguments.
    preprocess: Function from images of the batch to the model's input.
    objective: Whose `Objective.predict` makes the logits.
    logit_scale: Factor of the logits before the softmax.
    flip: Whether logits are averaged over images and their mirror images.
    views: ``views(images)``, over which logits are averaged.

  Returns:
    The prediction, not yet jitted: classes and largest probabilities.
  """
  score = make_score_step(
    model,
    preprocess,
    objective=objective,
    logit_scale=logit_scale,
    flip=flip,
    views=views,
  )

  def predict_step(variables, images):
    logits, probabilities = score(variables, images)
    return jnp.argmax(logits, axis=-1), jnp.max(probabilities, axis=-1)

  return predict_step


def make_feature_step(
  model: nn.Module, preprocess: Callable[[jax.Array], jax.Array]
) -> Callable[[dict[str, Any], jax.Array], tuple[jax.Array, jax.Array]]:
  """Builds ``embed(variables, images) -> (features [B, D], logits [B, C])``.

  Args:
    model: A `models.Classifier`.
    preprocess: Function from images of the batch to the model's input.

  Returns:
    The step, not yet jitted, with statistics as in evaluation.
  """

  def feature_step(variables, images):
    features: Any = model.apply(
      variables, preprocess(images), train=False, method='features_and_logits'
    )
    return features

  return feature_step


def _untrained(
  model: nn.Module, variables: dict[str, Any]
) -> Callable[..., Any]:
  """The model as `Objective.predict` calls it."""

  def apply(*inputs, train=False, **options):
    return model.apply(variables, *inputs, train=train, **options)

  return apply
