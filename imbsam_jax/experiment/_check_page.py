# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The report on a data set as a page of text."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import textwrap
from typing import Any

from imbsam_jax._runs import console

_WIDTH = 80
# Classes that a page has room for, and how many of more are shown.
_MAX_CLASSES = 12
_ENDS = 4
_LONGEST_NAME = 48
# Lines on the items of a finding.
_MAX_ITEMS = 3
_MAX_FINDINGS_WITH_ITEMS = 6


def page(content: Mapping[str, Any], command: str | None) -> str:
  """The page of a report.

  Args:
    content: The report.
    command: The command to start with, or None.
  """
  sections = [
    _head(content),
    _findings(content['findings']),
    _classes(content),
    _images(content),
    _start(content, command),
  ]
  return '\n\n'.join(section for section in sections if section)


def shown(text: Any) -> str:
  """A text in which nothing moves the cursor, turns lines round or hides."""
  return ''.join(
    c if c.isprintable() else c.encode('unicode_escape').decode()
    for c in str(text)
  )


def _name(text: Any) -> str:
  text = shown(text)
  if len(text) <= _LONGEST_NAME:
    return text
  half = _LONGEST_NAME // 2 - 1
  return f'{text[:half]}..{text[-half:]}'


def _head(content: Mapping[str, Any]) -> str:
  splits = content['splits']
  numbers = ', '.join(
    f'{split["number"]:,} {name}' for name, split in splits.items()
  )
  how = 'whole files' if content['whole'] else 'headers'
  return (
    f'# Check of {shown(content["source"])}\n\n'
    f'{console.counted(len(content["classes"]["names"]), "class", "classes")}; '
    f'images: {numbers}; {how} in {content["seconds"]:.1f} s, '
    f'{content["images_per_second"]:.0f} images/s'
  )


def _findings(findings: Sequence[Mapping[str, Any]]) -> str:
  if not findings:
    return '## Findings\n\nnone'
  most = _MAX_ITEMS if len(findings) <= _MAX_FINDINGS_WITH_ITEMS else 1
  lines = []
  for finding in findings:
    lines += _wrapped(f'{finding["severity"]:<9}', shown(finding['text']))
    items = [
      item for item in finding['items'] if not isinstance(item, str | list)
    ]
    items += [
      item
      for item in finding['items']
      if isinstance(item, list) and item and isinstance(item[0], Mapping)
    ]
    if not items and finding['name'] in _NAMED_IMAGES:
      items = list(finding['items'])
    for item in items[:most]:
      lines += _wrapped(' ' * 11, _item(item))
    if len(items) > most > 0:
      lines.append(f'{"":11}and {len(items) - most} more')
    if finding['advice']:
      lines += _wrapped(f'{"":9}> ', shown(finding['advice']), indent=11)
  return '## Findings\n\n' + '\n'.join(lines)


# Findings whose items are names of images.
_NAMED_IMAGES = frozenset(
  ('exif_orientation', 'cmyk', 'transparent', 'animated', 'tiny')
)


def _item(item: Any) -> str:
  if isinstance(item, str):
    return _name(item)
  if isinstance(item, list):
    copies = [f'{copy["split"]}: {_name(copy["name"])}' for copy in item[:3]]
    return ' = '.join(copies) + (' = ...' if len(item) > 3 else '')
  about = item.get('why') or f'is {item["is"]}'
  return f'{_name(item["path"])}: {shown(about)[:200]}'


def _wrapped(begin: str, text: str, indent: int | None = None) -> list[str]:
  return textwrap.wrap(
    text,
    _WIDTH,
    initial_indent=begin,
    subsequent_indent=' ' * (len(begin) if indent is None else indent),
    break_on_hyphens=False,
  ) or [begin]


def _classes(content: Mapping[str, Any]) -> str:
  classes = content['classes']
  names, counts = classes['names'], classes['counts']
  order = sorted(range(len(names)), key=lambda c: -counts['train'][c])
  chosen: Sequence[int | None] = order
  if len(order) > _MAX_CLASSES:
    middle = len(order) // 2
    chosen = [*order[:_ENDS], None, *order[middle - 1 : middle + 1]]
    chosen = [*chosen, None, *order[-_ENDS:]]
  rows = [
    ['...'] + ['...'] * len(counts)
    if c is None
    else [
      _name(names[c]).replace('|', '\\|'),
      *(f'{of_split[c]:,}' for of_split in counts.values()),
    ]
    for c in chosen
  ]
  groups = classes['groups']
  lines = [
    console.markdown_table(['class', *counts], rows),
    '',
    f'imbalance factor {classes["imbalance_factor"]:.4g}; {groups["many"]} '
    f'many (> {groups["many_above"]}), {groups["medium"]} medium, '
    f'{groups["few"]} few (< {groups["few_below"]})',
    *_wrapped(
      'no threshold: '
      if classes['threshold'] is None
      else f'threshold {classes["threshold"]}: ',
      classes['threshold_reason'],
      indent=2,
    ),
  ]
  return '## Classes\n\n' + '\n'.join(lines)


def _images(content: Mapping[str, Any]) -> str:
  lines: dict[str, str] = {}
  for name, split in content['splits'].items():
    if split['array'] is not None:
      array = split['array']
      lines[name] = (
        f'{array["dtype"]} {array["shape"]}, {array["low"]:g} to '
        f'{array["high"]:g}'
      )
    elif split['sizes']:
      lines[name] = _of_files(split)
  width = max(map(len, lines), default=0) + 2
  wrapped = [
    line
    for name, text in lines.items()
    for line in _wrapped(f'{name:<{width}}', text)
  ]
  return '## Images\n\n' + '\n'.join(wrapped) if wrapped else ''


def _of_files(split: Mapping[str, Any]) -> str:
  sizes = split['sizes']
  parts = [sizes['median']]
  if sizes['smallest'] != sizes['largest']:
    parts = [f'{sizes["smallest"]} to {sizes["largest"]}']
    parts[0] += f', median {sizes["median"]}'
    size, number = sizes['frequent'][0]
    parts[0] += f', most often {size} ({number:,})'
  parts += [_tally(split['modes']), _tally(split['formats'])]
  turned = {k: n for k, n in split['orientations'].items() if k != '1'}
  if turned:
    parts.append(f'EXIF orientation {_tally(turned)}')
  return '; '.join(parts)


def _tally(tally: Mapping[str, int]) -> str:
  return ', '.join(f'{key} {number:,}' for key, number in tally.items())


def _start(content: Mapping[str, Any], command: str | None) -> str:
  if command is None:
    return ''
  lines = list(_estimate(content))
  reasons = content['suggestion'] and content['suggestion']['reasons']
  for name, why in (reasons or {}).items():
    if name != 'threshold':
      lines += _wrapped(f'{name}: ', why, indent=2)
  title = 'To start with'
  if any(f['severity'] == 'error' for f in content['findings']):
    title += ', once the errors are mended'
  return '\n'.join(
    [f'## {title}', '', command, *([''] if lines else []), *lines]
  )


def _estimate(content: Mapping[str, Any]) -> Iterator[str]:
  estimate = content['estimate']
  if estimate is None:
    return
  if 'problem' in estimate:
    yield from _wrapped('no estimate: ', shown(estimate['problem']), indent=2)
    return
  memory = f'{estimate["memory_bytes"] / 2**20:,.0f} MiB'
  if estimate['device_memory_bytes']:
    on_device = estimate['device_memory_bytes'] / 2**20
    memory += f', {on_device:,.0f} MiB on the device'
  yield (
    f'it takes about {console.duration(estimate["seconds"])} for '
    f'{estimate["num_steps"]:,} steps, and {memory}'
  )
