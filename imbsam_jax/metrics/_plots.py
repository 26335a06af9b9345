# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Accuracy of each class against how often it was seen in training."""

from __future__ import annotations

from collections.abc import Mapping
import os
import textwrap
from typing import Any
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax.metrics import _frequency_curves

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure

# Okabe and Ito's palette, which readers with any kind of color blindness tell
# apart, darkest first and without its yellow, which white paper swallows.
_COLORS = (
  '#0072B2',
  '#D55E00',
  '#009E73',
  '#CC79A7',
  '#E69F00',
  '#56B4E9',
  '#000000',
)
# A second cue for print without color; one more than the colors, so that the
# pairs repeat only after 56 methods.
_MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X', '*')
_TEXT = '#333333'
_MUTED = '#6B6B6B'
_GRID = '#E3E3E3'
_BAND_ALPHA = 0.18
_TAIL = '#F5F0E6'
_TAIL_TEXT = '#7A6132'


def plot_accuracy_by_frequency(
  path: str | os.PathLike[str] | None,
  class_counts: ArrayLike,
  accuracies: Mapping[str, ArrayLike],
  *,
  tail_below: float | None = None,
  title: str | None = None,
) -> Figure:
  r"""Writes a PNG of per-class accuracy over training images per class.

  The most frequent classes are on the left of a logarithmic axis, the tail on
  its right. Each method is a line through its mean over runs; with two runs or
  more, a band (one method) or bars (several) show one sample standard deviation
  (``ddof=1``) to either side. Bars stand side by side, within 2% of the width
  of the axis.

  A point of the line is the mean over the classes with the same number of
  training images. With more than 24 different numbers, as on CIFAR-100-LT,
  neighboring ones are joined into 12 bins of about as many classes each. Where
  a point is more than one class, the legend says so, and a single method shows
  each class as a dot. The deviation is that of the point over runs, not of the
  classes. A class without training images stands at a tick 0 beyond 1.

  Draws on a figure of its own: no pyplot, no window, safe next to a notebook's
  plots. The same input writes the same bytes (for one version of Matplotlib).

  Args:
    path: Path to write to; always a PNG, whatever the suffix. None writes
      nothing.
    class_counts: Int array, shape ``[C]``, training images per class.
    accuracies: Mapping from the name of a method to a float array, shape
      ``[C]`` (one run) or ``[runs, C]``, values in [0, 1]. NaN or None is n/a
      and left out.
    tail_below: Classes with fewer training images than this are shaded.
    title: Heading of the figure.

  Returns:
    The Matplotlib figure. A notebook shows it after the last line of a cell.

  Raises:
    TypeError: If the counts are not integers, or `accuracies` is not a mapping
      of numbers.
    ValueError: If `accuracies` is empty, has a wrong shape, values outside [0,
      1], or a method without any number.

  Examples:
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...   path = os.path.join(folder, 'accuracy.png')
    ...   _ = plot_accuracy_by_frequency(
    ...     path, [100, 10, 5], {'sgd': [0.9, 0.6, None]}, tail_below=20
    ...   )
    ...   with open(path, 'rb') as file:
    ...     file.read(4)
    b'\x89PNG'
  """
  # Not at the top: it takes a while, and most programs that import
  # `imbsam_jax.metrics` draw nothing.
  from matplotlib.backends.backend_agg import FigureCanvasAgg

  from imbsam_jax.metrics._picture import Picture

  counts = _checks.count_array(
    class_counts, zeros=True, all_zero=True, whole=True
  )
  if tail_below is not None:
    _checks.number('tail_below', tail_below, finite=False)
  runs = _frequency_curves.as_runs(accuracies, num_classes=len(counts))
  groups = _frequency_curves.count_groups(counts)
  curves = {
    name: _frequency_curves.curve_of(counts, values, groups)
    for name, values in runs.items()
  }
  # With one method there is room for the classes that a point is the mean of.
  joined = any(len(group) > 1 for group in groups)
  dots = _frequency_curves.mean_known(next(iter(runs.values())), axis=0)
  dots = dots if joined and len(runs) == 1 else None

  figure = Picture(figsize=(8.0, 4.6), dpi=160, layout='constrained')
  FigureCanvasAgg(figure)
  axes = figure.add_subplot(facecolor='white')
  _draw_axes(axes, counts, _lowest(curves, dots))
  shaded = tail_below is not None and counts.min() < tail_below
  if shaded:
    _draw_tail(axes, counts, tail_below)
  # Bands of several methods cover each other, and one of a single point has no
  # width.
  band = len(curves) == 1 and len(groups) > 1
  entries = []
  for index, (name, curve) in enumerate(curves.items()):
    line = _draw_curve(
      axes,
      curve._replace(
        positions=curve.positions * _dodge(axes, index, len(curves))
      ),
      color=_COLORS[index % len(_COLORS)],
      marker=_MARKERS[index % len(_MARKERS)],
      band=band,
    )
    entries.append((name, line))
  if dots is not None:
    entries.append(('one class', _draw_dots(axes, counts, dots)))
  entries += _key_entries(runs, joined=joined, band=band)
  _draw_legend(figure, axes, entries)
  if title is not None:
    axes.set_title(
      textwrap.fill(title, 72),
      loc='left',
      pad=22 if shaded else 12,
      fontsize=13,
      fontweight='bold',
      color=_TEXT,
      parse_math=False,
    )
  # White also where a notebook's style is dark: the texts are not. And no
  # version in the file, so that equal pictures are equal files.
  if path is not None:
    figure.savefig(
      os.path.expanduser(path),
      format='png',
      dpi='figure',
      facecolor='white',
      metadata={'Software': None},
    )
  return figure


def _lowest(
  curves: dict[str, _frequency_curves.Curve], dots: np.ndarray | None
) -> float:
  """The lowest accuracy that is drawn."""
  lows = [
    (curve.mean if curve.std is None else curve.mean - curve.std).min()
    for curve in curves.values()
  ]
  if dots is not None:
    lows.append(np.nanmin(dots))
  return float(min(lows))


def _draw_axes(axes: Axes, counts: np.ndarray, lowest: float) -> None:
  """Scales, ticks and labels."""
  from matplotlib import ticker

  positions = np.unique(_frequency_curves.positions_of(counts))
  # In log units; a balanced set, which spans nothing, still gets a width.
  margin = max((positions[-1] / positions[0]) ** 0.05, 1.1)
  axes.set_xscale('log')
  # From left to right the classes get rarer, as in every long-tail figure.
  axes.set_xlim(positions[-1] * margin, positions[0] / margin)
  axes.xaxis.set_major_locator(ticker.FixedLocator(_count_ticks(positions)))
  axes.xaxis.set_major_formatter(
    ticker.FuncFormatter(lambda x, _: '0' if x < 1 else f'{x:,.0f}')
  )
  axes.xaxis.set_minor_locator(ticker.NullLocator())

  # Low accuracies are shown from zero, high ones with room to tell apart.
  bottom = 0.0 if lowest < 0.4 else np.floor(lowest * 10 - 0.3) / 10
  step = 0.2 if bottom == 0 else 0.1 if bottom < 0.8 else 0.05
  axes.set_ylim(bottom, 1.0)
  axes.yaxis.set_major_locator(ticker.MultipleLocator(step))
  axes.yaxis.set_major_formatter(ticker.PercentFormatter(xmax=1, decimals=0))

  axes.grid(axis='y', color=_GRID, linewidth=0.8)
  axes.set_axisbelow(True)
  for side in ('top', 'right', 'left'):
    axes.spines[side].set_visible(False)
  axes.spines['bottom'].set_color(_MUTED)
  axes.tick_params(
    axis='x', color=_MUTED, labelcolor=_TEXT, labelsize=10, length=4
  )
  axes.tick_params(axis='y', labelcolor=_TEXT, labelsize=10, length=0)
  axes.set_xlabel(
    'training images per class (log scale, most frequent first)',
    fontsize=10.5,
    color=_TEXT,
    labelpad=8,
  )
  axes.set_ylabel('accuracy per class', fontsize=10.5, color=_TEXT, labelpad=8)


def _count_ticks(positions: np.ndarray) -> list[float]:
  """About three to ten ticks for sorted, distinct positions."""
  smallest, largest = positions[0], positions[-1]
  wide = largest / smallest > 2000
  ticks = [
    step * 10.0**exponent
    for exponent in range(int(np.log10(largest)) + 1)
    for step in ((1,) if wide else (1, 2, 5))
    if smallest <= step * 10.0**exponent <= largest
  ]
  if len(ticks) < 3:
    # Hardly a round number in between: the counts themselves, less those too
    # close to the one before.
    space = 0.08 * np.log(largest / smallest)
    ticks = [largest]
    for position in positions[::-1]:
      if np.log(ticks[-1] / position) > space:
        ticks.append(position)
  elif smallest < 1:
    ticks.append(smallest)
  return sorted(float(tick) for tick in ticks)


def _draw_tail(axes: Axes, counts: np.ndarray, tail_below: float) -> None:
  """Shades the tail and says what it is."""
  left, right = axes.get_xlim()
  if counts.max() >= tail_below:
    # Counts are integers: half a count lower is the edge of "fewer than".
    left = max(np.ceil(tail_below) - 0.5, 1.4 * _frequency_curves.ZERO_POSITION)
  axes.axvspan(left, right, color=_TAIL, linewidth=0, zorder=0)
  axes.annotate(
    f'tail: fewer than {tail_below:g} images',
    xy=(1.0, 1.0),
    xycoords='axes fraction',
    xytext=(0, 5),
    textcoords='offset points',
    horizontalalignment='right',
    verticalalignment='bottom',
    fontsize=9.5,
    color=_TAIL_TEXT,
  )


def _dodge(axes: Axes, index: int, number: int) -> float:
  """Factor that sets the error bars of several methods side by side."""
  left, right = axes.get_xlim()
  step = min(0.006, 0.04 / number)
  shift = step * (index - (number - 1) / 2)
  return (right / left) ** shift


def _draw_curve(
  axes: Axes,
  curve: _frequency_curves.Curve,
  *,
  color: str,
  marker: str,
  band: bool,
) -> Any:
  """Line, markers and deviation of one method; returns the legend's handle."""
  if curve.std is not None:
    low = np.maximum(curve.mean - curve.std, 0.0)
    high = np.minimum(curve.mean + curve.std, 1.0)
    if band:
      axes.fill_between(
        curve.positions,
        low,
        high,
        color=color,
        alpha=_BAND_ALPHA,
        linewidth=0,
        zorder=1,
      )
    else:
      axes.vlines(
        curve.positions, low, high, color=color, linewidth=1.3, zorder=2
      )
  (line,) = axes.plot(
    curve.positions,
    curve.mean,
    color=color,
    linewidth=1.7,
    marker=marker,
    markersize=6.5,
    markeredgecolor='white',
    markeredgewidth=0.8,
    # Markers at 100 % are drawn whole.
    clip_on=False,
    zorder=3,
  )
  return line


def _draw_dots(axes: Axes, counts: np.ndarray, dots: np.ndarray) -> Any:
  """One dot per class, at its mean over runs; returns the legend's handle."""
  (handle,) = axes.plot(
    _frequency_curves.positions_of(counts),
    dots,
    linestyle='none',
    marker='o',
    markersize=5,
    markerfacecolor=_COLORS[0],
    markeredgecolor='none',
    alpha=0.3,
    clip_on=False,
    zorder=2,
  )
  return handle


def _key_entries(
  runs: dict[str, np.ndarray], *, joined: bool, band: bool
) -> list[tuple[str, Any]]:
  """Legend entries that say what points, bars and bands are."""
  from matplotlib.lines import Line2D
  from matplotlib.patches import Patch

  entries: list[tuple[str, Any]] = []
  if joined:
    point = Line2D([], [], color=_MUTED, marker='o', markersize=5)
    entries.append(('mean over classes of\nsimilar frequency', point))
  most = max(len(values) for values in runs.values())
  if most > 1:
    if band:
      spread = Patch(color=_COLORS[0], alpha=_BAND_ALPHA, linewidth=0)
    else:
      spread = Line2D(
        [],
        [],
        color=_MUTED,
        linestyle='none',
        marker='|',
        markersize=13,
        markeredgewidth=1.3,
      )
    entries.append((f'\u00b1 1 std over {most} runs', spread))
  return entries


def _draw_legend(
  figure: Figure, axes: Axes, entries: list[tuple[str, Any]]
) -> None:
  """Legend beside the axes, or below if a name is long."""
  names, handles = zip(*entries, strict=True)
  style = {
    'frameon': False,
    'fontsize': 10,
    'labelcolor': _TEXT,
    'handlelength': 1.8,
    'labelspacing': 0.7,
  }
  if max(len(name) for name in names if '\n' not in name) <= 28:
    legend = axes.legend(
      handles,
      names,
      loc='upper left',
      bbox_to_anchor=(1.01, 1.0),
      borderaxespad=0,
      **style,
    )
  else:
    legend = figure.legend(handles, names, loc='outside lower left', **style)
  for text in legend.get_texts():
    # A name is a name, also with a dollar sign in it.
    text.set_parse_math(False)
