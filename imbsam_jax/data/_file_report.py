# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`FileReport`: what became of the files of a data set."""

from collections.abc import Mapping
import dataclasses
from typing import Any

from imbsam_jax import _paths
from imbsam_jax.data import _file_listing

# Names in the report on a folder that holds more other things than images.
_LISTED = 100


# No NamedTuple: its texts would be leaves of a tree of arrays.
@dataclasses.dataclass(frozen=True, kw_only=True)
class FileReport:
  """What became of the files of a data set.

  Attributes:
    lines: Remarks by what they are about, such as 'left out'.
    left_out: Why files are no examples, by their paths.
    skipped: Why images that cannot be used were skipped, by their paths.
  """

  lines: Mapping[str, str] = dataclasses.field(default_factory=dict)
  left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)
  skipped: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def content(self) -> dict[str, Any]:
    """The report as it is written: all skipped images, some other files."""
    names = sorted(self.left_out)[:_LISTED]
    return {
      'skipped': {
        _paths.printable(path): why for path, why in self.skipped.items()
      },
      'left_out': {
        'number': len(self.left_out),
        'reasons': _file_listing.reasons(self.left_out),
        'some': {_paths.printable(path): self.left_out[path] for path in names},
      },
    }
