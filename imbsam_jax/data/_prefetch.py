# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Batches made ahead of the step that needs them."""

from collections.abc import Iterator
from typing import Any

import grain


def prefetch(
  batches: Any, *, start: int, stop: int, num_threads: int = 0
) -> Iterator[Any]:
  """``batches[start]``, ..., ``batches[stop - 1]``, in order.

  What comes out does not depend on the number of threads: a batch is a function
  of its number.

  Args:
    batches: A Grain dataset, or with `num_threads` = 0 anything with an index.
    start: Number of the first batch.
    stop: Number after the last.
    num_threads: Threads that make batches in the background, at most twice as
      many as they are; 0 makes each when it is asked for. Threads pay where
      batches take long, such as decoding images: Pillow lets go of the
      interpreter while it does.

  Returns:
    An iterator of batches.
  """
  if not num_threads:
    return (batches[number] for number in range(start, stop))
  options = grain.ReadOptions(
    num_threads=num_threads, prefetch_buffer_size=2 * num_threads
  )
  return iter(batches[start:stop].to_iter_dataset(options))
