# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a data set, or worth to know of it, from its facts."""

import collections
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import os
import re
from typing import Any
from typing import Literal
from typing import NamedTuple
import unicodedata

import numpy as np

from imbsam_jax import data as data_lib
from imbsam_jax._runs import console

Severity = Literal['error', 'warning', 'note']

_ENDINGS = {
  'JPEG': ('.jpg', '.jpeg', '.jfif', '.jpe', '.pjpeg'),
  'MPO': ('.jpg', '.jpeg', '.mpo'),
  'PNG': ('.png', '.apng'),
  'WEBP': ('.webp',),
  'BMP': ('.bmp', '.dib'),
  'GIF': ('.gif',),
  'PPM': ('.ppm', '.pgm', '.pbm', '.pnm'),
  'TIFF': ('.tif', '.tiff'),
}
# Shorter sides below this share of the median are conspicuous.
_TINY_SHARE = 1 / 4
_LEFT_BY_SYSTEMS = ('hidden', 'thumbnails of a system')
_EVALUATED = ('validation', 'test')


class Finding(NamedTuple):
  """Something that is wrong with a data set, or worth to know of it.

  Attributes:
    name: What it is called in programs, such as 'unreadable'.
    severity: 'error' if training is refused or its numbers would mean nothing,
      'warning' if they may mislead, 'note' if it is only worth to know.
    text: What it is.
    advice: What to do about it.
    items: All images, files, classes or groups of these that it is about.
  """

  name: str
  severity: Severity
  text: str
  advice: str = ''
  items: Sequence[Any] = ()


def findings(
  facts: data_lib.DataFacts, *, exif_orientation: bool = True
) -> list[Finding]:
  """All findings, errors first.

  Args:
    facts: The facts.
    exif_orientation: Whether a run turns images as EXIF says.
  """
  listed = [
    *_of_classes(facts),
    *_of_arrays(facts),
    *_of_files(facts),
    *_of_images(facts, exif_orientation),
    *_of_copies(facts),
  ]
  order = ('error', 'warning', 'note')
  return sorted(listed, key=lambda finding: order.index(finding.severity))


def sort_copies(
  facts: data_lib.DataFacts,
) -> dict[str, list[Sequence[data_lib.Copy]]]:
  """Groups of images that are the same, by what is wrong about them."""
  kinds: dict[str, list[Sequence[data_lib.Copy]]] = collections.defaultdict(
    list
  )
  for copies in facts.same:
    splits = {copy.split for copy in copies}
    if 'train' in splits and splits & set(_EVALUATED):
      kinds['leak'].append(copies)
    elif len(splits) > 1:
      kinds['between'].append(copies)
    if len({copy.label for copy in copies}) > 1:
      kinds['conflict'].append(copies)
    elif len(splits) == 1:
      kinds['within'].append(copies)
  return kinds


def _of_classes(facts: data_lib.DataFacts) -> Iterator[Finding]:
  names = np.array(facts.class_names, object)
  train = facts.splits['train']
  empty = np.flatnonzero(train.counts == 0)
  if len(names) == 1:
    yield Finding(
      'one_class',
      'error',
      f'there is one class alone: {_some(names.tolist())}',
      'A classifier tells at least two apart; put images of another one beside '
      'it.',
      names.tolist(),
    )
  if len(empty) == 1 and empty[0] == 0 and len(names) > 1:
    if train.array is not None:
      yield Finding(
        'labels_from_1',
        'error',
        'no image has the label 0: labels seem to begin with 1',
        'Subtract 1 from the labels of all splits, or number the classes that '
        'occur from 0.',
        [names[0]],
      )
      empty = empty[1:]
  if empty.size:
    yield Finding(
      'class_without_training_images',
      'error',
      f'{_classes(len(empty))} without training images: '
      f'{_some(names[empty].tolist())}',
      'Put images of it into the training split, or remove it from all.',
      names[empty].tolist(),
    )
  for split in _EVALUATED:
    if split not in facts.splits:
      continue
    lacking = (facts.splits[split].counts == 0) & (train.counts > 0)
    missing = names[lacking].tolist()
    if missing:
      yield Finding(
        f'class_without_{split}_images',
        'warning',
        f'{_classes(len(missing))} without {split} images: {_some(missing)}',
        'Nothing is known of its accuracy; set images of it aside.',
        missing,
      )
  if 'test' not in facts.splits:
    yield Finding(
      'no_test_images',
      'error',
      'there are no test images',
      'Put some into a folder test, beside the folder train.',
    )
  yield from _of_names(facts)


def _of_names(facts: data_lib.DataFacts) -> Iterator[Finding]:
  """Class names that look like one another."""
  twice = sorted(
    {
      tuple(folders)
      for split in facts.splits.values()
      for folders in split.folders.values()
      if len(folders) > 1
    }
  )
  if twice:
    yield Finding(
      'class_names_of_other_bytes',
      'error',
      f'{console.counted(len(twice), "class")} with several folders, whose '
      'names look alike and are written in other bytes (Unicode normal forms): '
      f'{_some([folders[0] for folders in twice])}',
      'Move the images into one of them.',
      [list(map(ascii, folders)) for folders in twice],
    )
  alike: dict[str, list[str]] = collections.defaultdict(list)
  for name in facts.class_names:
    plain = unicodedata.normalize('NFKC', str(name)).casefold()
    alike[re.sub(r'[\s_-]+', ' ', plain).strip()].append(str(name))
  groups = [group for group in alike.values() if len(group) > 1]
  if groups:
    yield Finding(
      'class_names_alike',
      'warning',
      'classes whose names differ in case, blanks or signs alone: '
      f'{_some([" / ".join(map(repr, group)) for group in groups])}',
      'If they are one class, rename one of them.',
      groups,
    )


def _of_arrays(facts: data_lib.DataFacts) -> Iterator[Finding]:
  """What the values of images in memory tell."""
  train = facts.splits['train'].array
  if train is None:
    return
  shape = train.shape
  if len(shape) == 3 and shape[0] in (1, 3, 4) and shape[2] not in (1, 3, 4):
    yield Finding(
      'channels_first',
      'error',
      f'images have the shape {list(shape)}: channels seem to come first',
      'Channels come last: save images.transpose(0, 2, 3, 1).',
    )
  for name in _EVALUATED:
    split = facts.splits.get(name)
    if split is None or split.array is None:
      continue
    other = split.array
    if (other.shape, other.dtype) != (shape, train.dtype):
      yield Finding(
        'other_shapes',
        'error',
        f'training images are {train.dtype} {list(shape)}, {name} images '
        f'{other.dtype} {list(other.shape)}',
        'Bring them to one shape and dtype.',
      )
    elif train.dtype != 'uint8' and _scale(train) != _scale(other):
      yield Finding(
        'other_scales',
        'error',
        f'training images are in [{train.low:g}, {train.high:g}], {name} '
        f'images in [{other.low:g}, {other.high:g}]',
        'Bring them to one scale.',
      )


def _scale(array: data_lib.ArrayFacts) -> bool:
  """Whether values are those of bytes rather than of fractions."""
  return max(abs(array.low), abs(array.high)) > 16


def _of_files(facts: data_lib.DataFacts) -> Iterator[Finding]:
  problems = _all(facts, lambda split: split.problems)
  deep = {p: why for p, why in problems.items() if 'more than 8 bits' in why}
  broken = {p: why for p, why in problems.items() if p not in deep}
  for name, chosen, text, advice in (
    (
      'unreadable',
      broken,
      'cannot be read or decoded',
      'Replace or remove them',
    ),
    (
      'deep_pixels',
      deep,
      'with pixels of more than 8 bits',
      'Convert them to 8 bits',
    ),
  ):
    if chosen:
      yield Finding(
        name,
        'error',
        f'{_images(len(chosen))} {text}',
        f'{advice}, or pass `data.bad_images=skip`, which leaves out those '
        'whose header or last bytes are wrong.',
        [{'path': path, 'why': why} for path, why in chosen.items()],
      )
  left_out = _all(facts, lambda split: split.left_out)
  of_systems = {p: w for p, w in left_out.items() if w in _LEFT_BY_SYSTEMS}
  others = {p: w for p, w in left_out.items() if p not in of_systems}
  formats = {p: w for p, w in others.items() if 'format' in w}
  others = {p: w for p, w in others.items() if p not in formats}
  for name, severity, chosen, text, advice in (
    (
      'formats_not_read',
      'warning',
      formats,
      'of formats that are not read, left out',
      'Convert them to JPEG or PNG.',
    ),
    ('left_out', 'note', others, 'that are no images, left out', ''),
    (
      'left_by_systems',
      'note',
      of_systems,
      'that are hidden or left by systems, left out',
      '',
    ),
  ):
    if chosen:
      yield Finding(
        name,
        severity,
        f'{console.counted(len(chosen), "file")} {text}',
        advice,
        [{'path': path, 'why': why} for path, why in chosen.items()],
      )
  odd = [
    path
    for path in [*_all(facts, lambda split: dict.fromkeys(split.names, ''))]
    if re.search(r'\\x[0-9a-f]{2}', path)
  ]
  if odd and any(split.files for split in facts.splits.values()):
    yield Finding(
      'names_not_utf8',
      'note',
      f'{console.counted(len(odd), "name")} that are no UTF-8',
      'Rename them if other programs are to read them.',
      odd,
    )


def _of_images(
  facts: data_lib.DataFacts, exif_orientation: bool
) -> Iterator[Finding]:
  """What headers tell of images that are read."""
  rotated = _named(facts, lambda image: image.orientation != 1)
  if rotated:
    turned = 'turned as it says' if exif_orientation else 'not turned'
    yield Finding(
      'exif_orientation',
      'note' if exif_orientation else 'warning',
      f'{_images(len(rotated))} with an orientation in EXIF; they are {turned}',
      ''
      if exif_orientation
      else 'They lie on their sides; pass `data.exif_orientation=True`.',
      rotated,
    )
  misnamed = [
    {'path': _joined(part, path), 'is': image.format}
    for part, split in facts.splits.items()
    for path, image in split.images.items()
    if _is_misnamed(path, image.format)
  ]
  if misnamed and any(split.folders for split in facts.splits.values()):
    yield Finding(
      'other_endings',
      'note',
      f'{_images(len(misnamed))} of another format than the ending says; they '
      'are read',
      '',
      misnamed,
    )
  for name, severity, condition, text, advice in (
    (
      'cmyk',
      'warning',
      lambda image: image.mode in ('CMYK', 'YCCK', 'LAB'),
      'in CMYK, whose colors as RGB are approximate',
      'Convert them to sRGB with their color profile.',
    ),
    (
      'transparent',
      'note',
      lambda image: image.is_transparent,
      'with transparency, which is dropped: what is behind it shows',
      'Paste them onto a background if that looks odd.',
    ),
    (
      'animated',
      'note',
      lambda image: image.num_frames > 1,
      'of several frames, of which the first is taken',
      '',
    ),
  ):
    names = _named(facts, condition)
    if names:
      yield Finding(
        name, severity, f'{_images(len(names))} {text}', advice, names
      )
  gray = _named(facts, lambda image: image.mode in ('1', 'L', 'LA'))
  number = sum(len(split.images) for split in facts.splits.values())
  if gray and len(gray) < number:
    yield Finding(
      'gray_and_color',
      'note',
      f'{_images(len(gray))} of {number} in gray, the others in color',
      'If that goes with the class, a network may learn it.',
      gray,
    )
  shorter = [
    min(image.width, image.height)
    for split in facts.splits.values()
    for image in split.images.values()
  ]
  if shorter:
    limit = _TINY_SHARE * float(np.median(shorter))
    tiny = _named(facts, lambda image: min(image.width, image.height) < limit)
    if tiny:
      yield Finding(
        'tiny',
        'warning',
        f'{_images(len(tiny))} with a side below a quarter of the median of '
        'the shorter sides',
        'Look at them: thumbnails and icons are often there by mistake.',
        tiny,
      )


def _of_copies(facts: data_lib.DataFacts) -> Iterator[Finding]:
  kinds = sort_copies(facts)

  def named(groups):
    return [
      [
        {
          'split': copy.split,
          'name': facts.splits[copy.split].names[copy.row],
          'class': str(facts.class_names[copy.label]),
        }
        for copy in copies
      ]
      for copies in groups
    ]

  if kinds['leak']:
    leaked = [
      copy
      for copies in kinds['leak']
      for copy in copies
      if copy.split != 'train'
    ]
    for name in _EVALUATED:
      number = sum(copy.split == name for copy in leaked)
      if not number:
        continue
      total = len(facts.splits[name].labels)
      groups = [
        copies
        for copies in kinds['leak']
        if any(copy.split == name for copy in copies)
      ]
      # What is left would be no test at all.
      is_all = number == total
      yield Finding(
        f'training_images_in_{name}',
        'error' if is_all else 'warning',
        f'{number} of {total} {name} images are training images too '
        f'({number / total:.1%})',
        f'Remove them from one of the splits: accuracy on {name} images is '
        'overstated by them.',
        named(groups),
      )
  for name, severity, groups, text, advice in (
    (
      'same_image_in_several_classes',
      'warning',
      kinds['conflict'],
      'in several classes',
      'Keep each in the class where it belongs.',
    ),
    (
      'validation_images_in_test',
      'warning',
      kinds['between'],
      'in validation and test',
      'Remove them from one of the splits.',
    ),
    (
      'copies',
      'warning',
      kinds['within'],
      'more than once within a class',
      'Remove the copies: they count as so many images, of rare classes most '
      'of all.',
    ),
  ):
    if groups:
      yield Finding(
        name,
        severity,
        f'{console.counted(len(groups), "image")} {text}',
        advice,
        named(groups),
      )


def _is_misnamed(path: str, image_format: str) -> bool:
  ending = os.path.splitext(path)[1].lower()
  return ending not in _ENDINGS.get(image_format, (ending,))


def _named(
  facts: data_lib.DataFacts,
  condition: Callable[[data_lib.ImageFacts], bool],
) -> list[str]:
  return [
    _joined(part, name)
    for part, split in facts.splits.items()
    for name in split.named(condition)
  ]


def _all(
  facts: data_lib.DataFacts,
  choose: Callable[[data_lib.SplitFacts], Mapping[str, str]],
) -> dict[str, str]:
  return {
    _joined(part, name): why
    for part, split in facts.splits.items()
    for name, why in choose(split).items()
  }


def _joined(split: str, name: str) -> str:
  """A name with its split."""
  return f'{split}: {name}'


def _classes(number: int) -> str:
  return console.counted(number, 'class', 'classes')


def _images(number: int) -> str:
  return console.counted(number, 'image')


def _some(names: Sequence[Any]) -> str:
  listed = ', '.join(map(str, names[:5]))
  return listed + (f' and {len(names) - 5} more' if len(names) > 5 else '')
