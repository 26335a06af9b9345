# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checksums by which a run that goes on recognizes its data."""

from collections.abc import Callable
from collections.abc import Mapping
import hashlib

import numpy as np

from imbsam_jax.data import _encoded_images
from imbsam_jax.data import _sources
from imbsam_jax.data import _splits

# Before the checksum of files that are known wherever they lie.
_OF_FILES = 'files:'


class Fingerprint(dict[str, str]):
  """Checksums of the parts of a data set.

  Earlier versions knew files by the folder that they lay in, too.

  Args:
    digests: Checksums by part.
    earlier: ``earlier(part)`` is what an earlier version had for it.
  """

  def __init__(self, digests: Mapping[str, str], earlier: Callable[[str], str]):
    super().__init__(digests)
    self._earlier = earlier

  def as_written(self, others: Mapping[str, str]) -> dict[str, str]:
    """These checksums in the form in which others were written."""
    return {
      part: self._earlier(part)
      if _is_earlier(others.get(part), digest)
      else digest
      for part, digest in self.items()
    }

  def knows_places(self, others: Mapping[str, str]) -> bool:
    """Whether others were written by a version that knew files by places."""
    return any(_is_earlier(others.get(part), x) for part, x in self.items())


def fingerprint(
  data: _splits.LongTailedData, auxiliary: _sources.Examples | None = None
) -> Fingerprint:
  """Checksums of the data of a run, to be compared when it goes on.

  Args:
    data: The training, validation and test examples of the run.
    auxiliary: Its auxiliary examples, if it has some.

  Returns:
    SHA-256, as hexadecimal digits, of 'classes' (their names), 'train',
    'validation', 'test' and 'auxiliary': labels and the images' bytes and
    order. Of files that stay encoded it is the names below their folder and
    their sizes that count, not their content: reading all would take longer
    than many a run. Where the folder lies does not count.
  """
  parts = {'train': data.train, 'validation': data.validation}
  parts |= {'test': data.test, 'auxiliary': auxiliary}
  examples = {part: x for part, x in parts.items() if x is not None}
  names = '\n'.join(map(str, data.class_names))
  digests = {'classes': hashlib.sha256(_bytes(names)).hexdigest()}
  digests |= {part: _of_examples(x) for part, x in examples.items()}
  return Fingerprint(
    digests, lambda part: _of_examples(examples[part], by_place=True)
  )


def _is_earlier(theirs: str | None, ours: str) -> bool:
  return (
    theirs is not None
    and ours.startswith(_OF_FILES)
    and not theirs.startswith(_OF_FILES)
  )


def _of_examples(examples: _sources.Examples, *, by_place: bool = False) -> str:
  digest = hashlib.sha256(np.ascontiguousarray(examples.labels).tobytes())
  images = examples.images
  digest.update(f'{images.dtype} {images.shape}'.encode())
  if not isinstance(images, _encoded_images.EncodedImages):
    digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()
  identities = None if by_place else images.identities()
  if identities is None:
    for name in images.names():
      digest.update(_bytes(f'{name}\n'))
    return digest.hexdigest()
  for identity in identities:
    # Names may hold any byte that would stand between them.
    digest.update(hashlib.sha256(identity).digest())
  return _OF_FILES + digest.hexdigest()


def _bytes(name: str) -> bytes:
  """The bytes of a name, of one that is no UTF-8 too."""
  return name.encode('utf-8', 'surrogateescape')
