# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A figure that a notebook shows.

Its import brings Matplotlib, so that functions that draw import it themselves.
"""

import io

from matplotlib.figure import Figure


class Picture(Figure):
  """A figure without pyplot, which notebooks show all the same.

  They know how to draw figures only once pyplot has been imported.
  """

  def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
    """The picture, and its size on the page, which is half of its pixels."""
    file = io.BytesIO()
    self.savefig(
      file,
      format='png',
      dpi='figure',
      facecolor='white',
      metadata={'Software': None},
    )
    width, height = self.get_size_inches() * self.dpi / 2
    return file.getvalue(), {'width': round(width), 'height': round(height)}
