# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the trainer asks of a network, said where it is handed over."""

import inspect
from typing import Any

from flax import linen as nn

from imbsam_jax import _modes

_CONTRACT = '`model` must be a Linen module called as model(images, train=...)'


def check_model(model: Any) -> None:
  """Refuses what has no ``apply`` that takes ``train=``.

  Not everything is a Linen module: `models.from_nnx` makes what is alike.

  Raises:
    TypeError: If `model` has no such ``apply``; the message says what to write
      instead.
  """
  if inspect.isclass(model):
    raise TypeError(
      f'{_CONTRACT}, got the class {model.__name__}. Pass a module, such as '
      f'{model.__name__}().'
    )
  kind = type(model).__name__
  if isinstance(model, nn.Module):
    if not _modes.takes_train(model):
      raise TypeError(_without_train(model, kind))
  elif not callable(getattr(model, 'apply', None)):
    raise TypeError(
      f'{_CONTRACT}, got {kind}, which has no methods `init` and `apply` as '
      f'Linen modules have them. Write models.from_nnx(lambda rngs: '
      f'{kind}(rngs=rngs)) for an NNX module; for others see '
      'docs/your_own_loop.md.'
    )


def _without_train(model: nn.Module, kind: str) -> str:
  if isinstance(model, nn.Sequential):
    return (
      f'{_CONTRACT}, got {kind}, whose first layer takes no `train`. Write a '
      'module whose __call__(self, x, *, train) calls it.'
    )
  names = ', '.join(_modes.call_parameters(model))
  return (
    f'{_CONTRACT}, got {kind}, which is called with ({names}). Write def '
    f'__call__(self, x, *, train), and use `train` for Dropout and BatchNorm '
    'or leave it unused; experiment.build(config, model=...) also takes '
    'modules without it.'
  )
