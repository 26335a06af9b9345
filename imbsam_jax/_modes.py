# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whether and how a network is told that it trains."""

import inspect
from typing import Any


def call_parameters(model: Any) -> dict[str, inspect.Parameter]:
  """Parameters of a call by name, without `self`."""
  function = model if inspect.isroutine(model) else type(model).__call__
  parameters = dict(inspect.signature(function).parameters)
  parameters.pop('self', None)
  return parameters


def takes_train(model: Any) -> bool:
  """Whether ``model(images, train=...)`` can be called.

  `flax.linen.Sequential` takes any argument, and hands it to its first layer.
  """
  if type(model).__name__ == 'Sequential' and getattr(model, 'layers', ()):
    return takes_train(model.layers[0])
  try:
    parameters = call_parameters(model).values()
  except (TypeError, ValueError):  # Some compiled functions have none.
    return False
  return any(
    parameter.name == 'train' or parameter.kind is inspect.Parameter.VAR_KEYWORD
    for parameter in parameters
  )
