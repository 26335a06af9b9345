# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Ways of tuning a pre-trained trunk; `models.tuning` has their equations."""

from typing import Any

from imbsam_jax.methods import _head_only
from imbsam_jax.methods import _part
from imbsam_jax.methods import _registry
from imbsam_jax.models import tuning


@_registry.word(
  'full', axis='tuning', about='all of a pre-trained trunk is trained'
)
def full(setup: _part.Setup) -> _part.Part:
  """See `models.tuning.Full`; what a network without a trunk has too."""
  del setup
  return _part.Part()


@_registry.word(
  'probe', axis='tuning', about='the head alone, on a frozen trunk'
)
def probe(setup: _part.Setup) -> _part.Part:
  """See `models.tuning.Probe`; features are computed once a step."""
  del setup
  return _part.Part(tuning=tuning.Probe(), objective=_head_only.HeadOnly)


@_registry.word(
  'partial', axis='tuning', about='the last blocks of a pre-trained trunk'
)
def partial(setup: _part.Setup, *, blocks: int = 1) -> _part.Part:
  """See `models.tuning.Partial`."""
  del setup
  return _part.Part(tuning=tuning.Partial(blocks=blocks))


@_registry.word(
  'bitfit', axis='tuning', about='the biases of the blocks (ACL 2022)'
)
def bitfit(setup: _part.Setup) -> _part.Part:
  """See `models.tuning.BitFit`."""
  del setup
  return _part.Part(tuning=tuning.BitFit())


@_registry.word(
  'layer_norm', axis='tuning', about='the normalizations of the blocks'
)
def layer_norm(setup: _part.Setup) -> _part.Part:
  """See `models.tuning.LayerNormTuning`."""
  del setup
  return _part.Part(tuning=tuning.LayerNormTuning())


@_registry.word(
  'vpt_shallow',
  axis='tuning',
  about='prompts before the first block (ECCV 2022)',
)
def vpt_shallow(
  setup: _part.Setup, *, prompts: int = 10, init: Any = 'uniform'
) -> _part.Part:
  """See `models.tuning.VptShallow`."""
  del setup
  return _part.Part(tuning=tuning.VptShallow(prompts=prompts, init=init))


@_registry.word(
  'vpt_deep',
  axis='tuning',
  about='prompts before every block (ECCV 2022), as in GNM-PT',
)
def vpt_deep(
  setup: _part.Setup, *, prompts: int = 10, init: Any = 'uniform'
) -> _part.Part:
  """See `models.tuning.VptDeep`."""
  del setup
  return _part.Part(tuning=tuning.VptDeep(prompts=prompts, init=init))


@_registry.word(
  'adaptformer',
  axis='tuning',
  about='a bottleneck beside every MLP (NeurIPS 2022), as in LIFT',
)
def adaptformer(
  setup: _part.Setup, *, bottleneck: int | None = None
) -> _part.Part:
  """See `models.tuning.AdaptFormer`; None follows from the classes."""
  del setup
  return _part.Part(tuning=tuning.AdaptFormer(bottleneck=bottleneck))


@_registry.word(
  'adapter', axis='tuning', about='a bottleneck behind every MLP (ICML 2019)'
)
def adapter(setup: _part.Setup, *, bottleneck: int | None = None) -> _part.Part:
  """See `models.tuning.Adapter`; None follows from the classes."""
  del setup
  return _part.Part(tuning=tuning.Adapter(bottleneck=bottleneck))


@_registry.word(
  'lora',
  axis='tuning',
  about='thin matrices beside queries and values (ICLR 2022)',
)
def lora(
  setup: _part.Setup,
  *,
  rank: int = 4,
  scale: float | None = None,
  init: str = 'inputs',
) -> _part.Part:
  """See `models.tuning.Lora`."""
  del setup
  return _part.Part(tuning=tuning.Lora(rank=rank, scale=scale, init=init))


@_registry.word(
  'ssf', axis='tuning', about='scales and shifts in every block (NeurIPS 2022)'
)
def ssf(
  setup: _part.Setup,
  *,
  where: tuple[str, ...] = ('attention', 'mlp', 'norms'),
) -> _part.Part:
  """See `models.tuning.Ssf`."""
  del setup
  return _part.Part(tuning=tuning.Ssf(where=where))
