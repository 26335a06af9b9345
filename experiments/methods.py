# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Method words, ``digits_lt.py:imbsam``: what they mean and set."""

from collections.abc import Mapping
import difflib
from typing import Any

from experiments import config as config_lib

WORDS = {
  'sgd': 'SGD alone',
  'sam': 'SAM, all classes perturbed together (Foret et al., ICLR 2021)',
  'imbsam': 'ImbSAM, tail classes perturbed (Zhou et al., ICCV 2023)',
  'sse_sam': 'SSE-SAM, head and tail apart, then the tail (AAAI 2025)',
  'focal_sam': 'Focal-SAM, classes perturbed by rarity (ICML 2025)',
  'rsam': 'RSAM/GNM, random neighbourhood (NeurIPS 2024)',
}


def apply(
  config: config_lib.Config,
  words: str,
  presets: Mapping[str, Mapping[str, Any]],
) -> config_lib.Config:
  """`config` with the fields that method words set.

  Args:
    config: The configuration of the data set.
    words: One method word.
    presets: By word, the fields (dotted names) that were chosen for it on this
      data set.

  Returns:
    A new configuration.

  Raises:
    ValueError: An unknown word; all words are listed.
  """
  if words not in WORDS:
    near = difflib.get_close_matches(words, WORDS, n=1)
    hint = f' Did you mean {near[0]!r}?' if near else ''
    lines = '\n'.join(f'  {word:<10} {text}' for word, text in WORDS.items())
    raise ValueError(f'unknown method word {words!r}.{hint} Words:\n{lines}')
  changes = {'optimizer.method': words} | dict(presets.get(words, {}))
  return config_lib.replace(config, changes)
