# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Several processes on one run: the first writes files, all agree.

Everything here is called by all processes, in the same order; where there is
only one, nothing is sent.
"""

import collections
from collections.abc import Callable
import json
from typing import Any

import jax
from jax.experimental import multihost_utils
import numpy as np

from imbsam_jax import _errors
from imbsam_jax.training import _sharding

# Steps that a device may be ahead of the answer of `in_any_process`.
_LAG = 2


def is_first_process() -> bool:
  """Whether this is the process that writes files and prints."""
  return jax.process_index() == 0


def in_first_process(function: Callable[[], Any]) -> Any:
  """Calls a function in the first process, and tells all what it gave.

  Args:
    function: Without arguments; what it gives must fit into JSON.

  Returns:
    What it gave.

  Raises:
    OtherProcessError: If the function raised an error, in all processes but the
      first, which raises that error itself.
  """
  if jax.process_count() == 1:
    return function()
  outcome, error = None, None
  if is_first_process():
    try:
      outcome = {'value': json.loads(json.dumps(function()))}
    except Exception as caught:
      error, outcome = caught, {'error': str(caught)}
  outcome = from_each_process(outcome)[0]
  if error is not None:
    raise error
  if 'error' in outcome:
    raise _errors.OtherProcessError(f'process 0: {outcome["error"]}')
  return outcome['value']


def from_each_process(value: Any) -> list[Any]:
  """A value of each process, in order, in all of them.

  Args:
    value: What fits into JSON, and comes back as what JSON has for it.
  """
  if jax.process_count() == 1:
    return [value]
  text = np.frombuffer(json.dumps(value).encode(), np.uint8)
  sizes = multihost_utils.process_allgather(np.array([len(text)], np.int32))
  # A few sizes only, as each is a program to compile.
  size = 1 << (int(np.max(sizes)) - 1).bit_length()
  padded = np.zeros(size, np.uint8)
  padded[: len(text)] = text
  texts = np.asarray(multihost_utils.process_allgather(padded))
  return [
    json.loads(row[: int(size)].tobytes())
    for row, size in zip(texts, np.ravel(sizes), strict=True)
  ]


def in_any_process(condition: Callable[[], bool]) -> Callable[[], bool]:
  """A condition that holds in all processes once it holds in one of them.

  What one call is told, all processes learn two calls later, so that devices
  need not be waited for.

  Args:
    condition: A condition of this process, such as that a signal came.

  Returns:
    The condition for `fit`.
  """
  if jax.process_count() == 1:
    return condition
  mesh = _sharding.data_mesh()
  either = jax.jit(
    lambda votes: votes.any(),
    out_shardings=jax.sharding.NamedSharding(mesh, jax.P()),
  )
  waiting: collections.deque[Any] = collections.deque()

  def anywhere() -> bool:
    votes = np.full(mesh.size, condition())
    waiting.append(either(_sharding.shard_rows(mesh, votes)))
    return len(waiting) > _LAG and bool(waiting.popleft())

  return anywhere
