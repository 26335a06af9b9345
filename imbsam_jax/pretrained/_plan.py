# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a file is, from its headers: format, sizes, and where each leaf is."""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Sequence
import difflib
import re
from typing import NamedTuple

from imbsam_jax import _checks
from imbsam_jax.pretrained import _google
from imbsam_jax.pretrained import _presets
from imbsam_jax.pretrained import _refusals
from imbsam_jax.pretrained import _resnet
from imbsam_jax.pretrained import _rules
from imbsam_jax.pretrained import _source
from imbsam_jax.pretrained import _spellings
from imbsam_jax.pretrained import _torch_vit

Source = _source.Source
Outside = Callable[[set[str]], list[str]]

_MOST_BLOCKS = 1000
POSITIONS = ('params', 'position_embedding')


class Plan(NamedTuple):
  """How a file is to be read.

  Attributes:
    format: Name of the format.
    kind: Kind of the network.
    default: Name of the preset that goes with the format.
    rules: Where each leaf comes from.
    dims: Sizes of a ViT; None for a ResNet.
    resnet: Sizes of a ResNet; None for a ViT.
    pre_norm: Whether the ViT has a normalization before the blocks.
    patch_bias: Whether its patches have a bias.
  """

  format: str
  kind: _presets.Kind
  default: str
  rules: list[_rules.Rule]
  dims: _rules.Dims | None = None
  resnet: _resnet.Dims | None = None
  pre_norm: bool = False
  patch_bias: bool = True


def plan_of(
  source: Source,
  *,
  preset: str | _presets.Preset | None,
  num_heads: int | None,
) -> tuple[Plan, _presets.Preset]:
  """Recognizes a file by its keys, and checks all keys, shapes and dtypes.

  Args:
    source: The file.
    preset: What the file does not say; None for the default of the format.
    num_heads: Number of attention heads; None for that of the preset.

  Raises:
    ValueError: If the file is not one of a trunk, or does not fit the preset.
  """
  name, prefix, spelling = _recognized(source)
  if name == _google.NAME:
    plan, outside = _google_plan(source, prefix)
  elif name == _resnet.NAME:
    plan, outside = _resnet_plan(source)
  else:
    assert spelling is not None
    plan, outside = _torch_plan(source, prefix, spelling, preset, num_heads)
  _check_keys(source, plan, outside)
  chosen = _presets.preset_of(preset, plan.default)
  _check_preset(source, plan, chosen)
  if plan.dims is not None:
    _check_dims(source, plan.dims, num_heads)
    chosen = chosen._replace(num_heads=plan.dims.num_heads)
  _check_shapes(source, plan)
  return plan, chosen


def _recognized(
  source: Source,
) -> tuple[str, str, _spellings.Spelling | None]:
  """Format, prefix and spelling of a file."""
  keys = source.entries.keys()
  marks: list[tuple[str, str, str, _spellings.Spelling | None]] = [
    (_google.NAME, _google.MARKER, prefix, None) for prefix in _google.PREFIXES
  ]
  for marker, prefixes, spelling in _spellings.MARKERS:
    marks += [(spelling.name, marker, prefix, spelling) for prefix in prefixes]
  marks.append((_resnet.NAME, _resnet.MARKER, '', None))
  seen = [mark for mark in marks if mark[2] + mark[1] in keys]
  # Another tower, of text, may have what its trunk must not.
  prefixes = tuple(prefix for _, _, prefix, _ in seen) or ('',)
  _refusals.check([k for k in keys if k.startswith(prefixes)], source.path)
  if len(seen) == 1:
    name, _, prefix, spelling = seen[0]
    return name, prefix, spelling
  if seen:
    raise ValueError(
      f'{source.path} has the names of several networks, with '
      f'{", ".join(repr(mark[2] + mark[1]) for mark in seen)}. Save the '
      'tensors of one by themselves.'
    )
  markers = ', '.join(prefix + marker for _, marker, prefix, _ in marks)
  raise ValueError(
    f'{source.path} is of no known format. It begins with the keys '
    f'{_some(sorted(keys))}, and has none of {markers}. If it is a '
    'ViT of another code, rename its tensors to those of timm.'
  )


def _google_plan(source: Source, prefix: str) -> tuple[Plan, Outside]:
  layout = _google.layout_of(source.entries.keys(), prefix)
  if f'{prefix}cls' not in source.entries:
    raise ValueError(
      f'{source.path} lacks {prefix}cls: it is a ViT whose features are means '
      'of the patches. Take one with a class token.'
    )
  depth = _depth(
    layout.keys, r'Transformer/encoderblock_([0-9]{1,4})/.*', source
  )
  dims = _google.dims_of(layout, source.entries, depth)
  _check_depth(source, dims.depth)
  plan = Plan(
    _google.NAME, 'vit', 'vit', _google.rules_of(layout, dims), dims=dims
  )
  return plan, lambda keys: _google.outside(layout, keys)


def _resnet_plan(source: Source) -> tuple[Plan, Outside]:
  _refusals.check_bottleneck(source.entries, source.path)
  dims = _resnet.dims_of(source.entries)
  plan = Plan(
    _resnet.NAME, 'resnet', 'resnet50', _resnet.rules_of(dims), resnet=dims
  )
  return plan, lambda keys: _resnet.outside(source.entries, keys)


def _torch_plan(
  source: Source,
  prefix: str,
  spelling: _spellings.Spelling,
  preset: str | _presets.Preset | None,
  num_heads: int | None,
) -> tuple[Plan, Outside]:
  layout = _torch_vit.layout_of(source.entries.keys(), prefix, spelling)
  if layout.spelling is _spellings.TIMM:
    _refusals.check_timm(layout.keys, source.path)
    if layout.projects and _has_head(source):
      layout = layout._replace(projects=False)
  pattern = re.escape(layout.spelling.block).replace(
    re.escape('{}'), '([0-9]{1,4})'
  )
  depth = _depth(layout.keys, pattern + '.*', source)
  clip = 'clip' if layout.pre_norm else None
  default = clip or ('dinov2' if layout.gains else 'vit')
  dims = _torch_vit.dims_of(layout, source.entries, depth, 1)
  if num_heads is None:
    num_heads = _presets.preset_of(preset, default).num_heads
  if num_heads is None and source.metadata.get('num_heads', '').isdecimal():
    num_heads = int(source.metadata['num_heads'][:6])
  if num_heads is None:
    num_heads = dims.width // 64 if dims.width % 64 == 0 else 0
  dims = dims._replace(num_heads=num_heads)
  plan = Plan(
    layout.spelling.name,
    'clip' if layout.pre_norm else 'vit',
    default,
    _torch_vit.rules_of(layout, dims),
    dims=dims,
    pre_norm=layout.pre_norm,
    patch_bias=layout.patch_bias,
  )
  return plan, lambda keys: _torch_vit.outside(layout, keys)


def _has_head(source: Source) -> bool:
  """Whether timm's `head` is a classifier: no projection has a bias."""
  entry = source.entries.get('head.bias')
  if entry is None or entry.dtype is None or len(entry.shape) != 1:
    return entry is not None
  # Not before it is known to fit: what is read has to be small.
  weight = source.entries['head.weight']
  return weight.shape[:1] != entry.shape or bool(source.read('head.bias').any())


def _depth(keys: Collection[str], pattern: str, source: Source) -> int:
  """One more than the largest number of a block, and no more than the keys."""
  numbers = {
    int(match[1]) for key in keys if (match := re.fullmatch(pattern, key))
  }
  depth = min(max(numbers, default=-1) + 1, len(keys))
  _check_depth(source, depth)
  return depth


def _check_depth(source: Source, depth: int) -> None:
  if depth > _MOST_BLOCKS:
    raise ValueError(
      f'{source.path} would have {depth} blocks, more than the {_MOST_BLOCKS} '
      'that are read. Download it again, and compare the sizes.'
    )


def _check_keys(source: Source, plan: Plan, outside: Outside) -> None:
  wanted = {rule.key for rule in plan.rules}
  wanted |= {rule.gain for rule in plan.rules if rule.gain is not None}
  missing = sorted(wanted - source.entries.keys())
  extra = outside(wanted)
  if missing:
    raise ValueError(
      f'{source.path} lacks {len(missing)} of {len(wanted)} keys of a '
      f'{plan.format}: {_some(missing)}. It has {_blocks(plan)}'
      f'{_nearest(missing[0], extra)}. If it is one of several shards, '
      'pass the folder.'
    )
  if extra:
    raise ValueError(
      f'{source.path} has {len(extra)} keys that a {plan.format} does not have'
      f': {_some(extra)}{_nearest(extra[0], sorted(wanted))}. It is another '
      'network, or more than one: save the tensors of the trunk by themselves.'
    )


def _nearest(key: str, names: Sequence[str]) -> str:
  near = difflib.get_close_matches(key[:200], [n[:200] for n in names[:500]], 1)
  return f'; {near[0]!r} is most like the first' if near else ''


def _blocks(plan: Plan) -> str:
  if plan.dims is not None:
    return f'{plan.dims.depth} blocks'
  assert plan.resnet is not None
  return f'{"+".join(map(str, plan.resnet.stage_sizes))} blocks'


def _some(keys: Sequence[str]) -> str:
  shown = ', '.join(repr(key[:100]) for key in keys[:5])
  more = len(keys) - 5
  return shown + (f' and {more} more' if more > 0 else '')


def _check_preset(source: Source, plan: Plan, preset: _presets.Preset) -> None:
  if preset.kind != plan.kind:
    names = [p.name for p in _presets.PRESETS.values() if p.kind == plan.kind]
    raise ValueError(
      f'{source.path} is a {plan.format} of the kind {plan.kind!r}, and '
      f'the preset {preset.name!r} is for {preset.kind!r}. Pass one of {names}.'
    )
  if plan.dims is None:
    return
  for field in ('width', 'depth', 'patch_size'):
    wanted, got = getattr(preset, field), getattr(plan.dims, field)
    if wanted is not None and wanted != got:
      raise ValueError(
        f'{source.path} has {field}={got}, and the preset {preset.name!r} is '
        f'for {field}={wanted}. Pass preset={plan.default!r}, or the right '
        'file.'
      )


def _check_dims(
  source: Source, dims: _rules.Dims, num_heads: int | None
) -> None:
  for field in ('width', 'depth', 'mlp_width', 'patch_size'):
    if getattr(dims, field) < 1:
      raise ValueError(
        f'{source.path} has tensors from which no {field} can be read: their '
        'shapes are not those of a ViT. Download it again.'
      )
  if num_heads is not None:
    _checks.integer('num_heads', num_heads, hint='ViT-B/16 has num_heads=12.')
  heads = dims.num_heads
  if heads < 1:
    raise ValueError(
      f'{source.path} does not say its number of heads, and its width '
      f'{dims.width} is no multiple of 64. Pass num_heads=..., as the code has '
      'it that made the file.'
    )
  if dims.width % heads:
    raise ValueError(
      f'{source.path}: `num_heads` must divide the width {dims.width}, got '
      f'{heads}. Most networks have width / 64.'
    )
  if num_heads is not None and heads != num_heads:
    raise ValueError(
      f'{source.path} has {heads} heads by the shapes of its attention, got '
      f'num_heads={num_heads}. Leave it out.'
    )


def _check_shapes(source: Source, plan: Plan) -> None:
  for rule in plan.rules:
    entry = source.entries[rule.key]
    if entry.dtype is None:
      raise ValueError(
        f'{source.path}: {rule.key!r} must be of a float dtype, got '
        f'{entry.dtype_name}. Save the weights as float32.'
      )
    if entry.shape != rule.shape or not all(entry.shape):
      raise ValueError(
        f'{source.path}: {rule.key!r} has the shape {_short(entry.shape)}, and '
        f'must have {_short(rule.shape)} {_because(plan)}. Is the file of this '
        'network, and whole?'
      )
    if rule.gain is not None:
      gain = source.entries[rule.gain]
      if gain.dtype is None or gain.shape != _rules.shape_of(rule)[-1:]:
        raise ValueError(
          f'{source.path}: {rule.gain!r} must be a float for each of '
          f'{_rules.shape_of(rule)[-1]} entries, got {gain.dtype_name} '
          f'{_short(gain.shape)}.'
        )


def _short(shape: Sequence[int]) -> str:
  return str(list(shape))[:80]


def _because(plan: Plan) -> str:
  if plan.dims is not None:
    dims = plan.dims
    return (
      f'with width {dims.width}, {dims.num_heads} heads, MLP {dims.mlp_width}, '
      f'patches of {dims.patch_size} and {dims.num_rows} positions'
    )
  return f'in a ResNet of {plan.resnet}'
