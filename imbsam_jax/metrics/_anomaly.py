# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Metrics of anomaly scores, and a plot of them."""

import os

import numpy as np
from numpy.typing import ArrayLike

# The colors of the other plots.
_NORMAL, _ANOMALY, _MUTED = '#0072B2', '#D55E00', '#6B6B6B'


def anomaly_metrics(scores: ArrayLike, labels: ArrayLike) -> dict[str, float]:
  """How well scores rank anomalies above normal rows.

  - ``auroc``: P(score of an anomaly > score of a normal row), ties count half.
  - ``auprc``: average precision, the sum over thresholds of the precision times
    the gain in recall; a random ranking gives ``prevalence``.
  - ``precision_at_n``: share of anomalies among the n highest scores, n being
    the number of anomalies. Rows that tie for the last places share them.
  - ``prevalence``: share of anomalies among all rows.

  Args:
    scores: Real array, shape ``[N]``, higher is more anomalous.
    labels: Int array, shape ``[N]``: 1 is an anomaly, 0 is normal.

  Returns:
    Dict of the four numbers by name, each in [0, 1].

  Raises:
    ValueError: If a score is NaN or infinite, a label is neither 0 nor 1, the
      lengths differ, or all rows are of one kind, where none of the metrics is
      defined.

  Examples:
    >>> scored = anomaly_metrics([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    >>> scored['auroc'], round(scored['auprc'], 4), scored['precision_at_n']
    (0.75, 0.8333, 0.5)
  """
  from sklearn import metrics

  values, truth = _check(scores, labels)
  count = int(truth.sum())
  last = np.sort(values)[-count]
  above, tied = values > last, values == last
  hits = truth[above].sum() + (count - above.sum()) * truth[tied].mean()
  return {
    'auroc': float(metrics.roc_auc_score(truth, values)),
    'auprc': float(metrics.average_precision_score(truth, values)),
    'precision_at_n': float(hits / count),
    'prevalence': float(truth.mean()),
  }


def plot_anomaly_scores(
  path: str | os.PathLike[str],
  scores: ArrayLike,
  labels: ArrayLike,
  *,
  threshold: float | None = None,
  title: str | None = None,
) -> None:
  r"""Writes a PNG with histograms of the scores, ROC and precision-recall.

  Histograms are shares of the normal rows and of the anomalies, each by itself,
  over a logarithmic axis where all scores are positive.

  Args:
    path: Path to write to; always a PNG.
    scores: Real array, shape ``[N]``, higher is more anomalous.
    labels: Int array, shape ``[N]``: 1 is an anomaly, 0 is normal.
    threshold: A score to mark in the histograms.
    title: Heading of the figure.

  Raises:
    ValueError: If `anomaly_metrics` refuses `scores` or `labels`.

  Examples:
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...   path = os.path.join(folder, 'scores.png')
    ...   plot_anomaly_scores(path, [0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    ...   with open(path, 'rb') as file:
    ...     file.read(4)
    b'\x89PNG'
  """
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure
  from sklearn import metrics

  values, truth = _check(scores, labels)
  scored = anomaly_metrics(values, truth)
  figure = Figure(figsize=(11.0, 3.6), dpi=160, layout='constrained')
  FigureCanvasAgg(figure)
  histogram, roc, recall = figure.subplots(1, 3)
  _draw_histograms(histogram, values, truth, threshold)
  false_rate, true_rate, _ = metrics.roc_curve(truth, values)
  roc.plot(false_rate, true_rate, color=_ANOMALY)
  roc.plot([0, 1], [0, 1], color=_MUTED, linestyle=':')
  roc.set(
    title=f'ROC, area {scored["auroc"]:.3f}',
    xlabel='normal rows above the threshold',
    ylabel='anomalies found',
  )
  precision, recalled, _ = metrics.precision_recall_curve(truth, values)
  recall.step(recalled, precision, where='pre', color=_ANOMALY)
  recall.axhline(scored['prevalence'], color=_MUTED, linestyle=':')
  recall.set(
    title=f'average precision {scored["auprc"]:.3f}',
    xlabel='anomalies found (recall)',
    ylabel='precision',
  )
  for axes in (roc, recall):
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
  for axes in (histogram, roc, recall):
    axes.title.set_fontsize(10)
    axes.spines[['top', 'right']].set_visible(False)
  if title:
    figure.suptitle(title, fontsize=11)
  figure.savefig(
    os.path.expanduser(path), format='png', metadata={'Software': None}
  )


def _draw_histograms(
  axes, values: np.ndarray, truth: np.ndarray, threshold: float | None
) -> None:
  low, high = values.min(), values.max()
  logarithmic = low > 0 and high > low
  if logarithmic:
    bins = np.geomspace(low, high, 41)
    axes.set_xscale('log')
  else:
    bins = np.linspace(low, high if high > low else low + 1, 41)
  for label, color, name in (
    (0, _NORMAL, 'normal'),
    (1, _ANOMALY, 'anomalies'),
  ):
    rows = values[truth == label]
    axes.hist(
      rows,
      bins,
      weights=np.full(len(rows), 1 / len(rows)),
      color=color,
      alpha=0.55,
      label=f'{name} ({len(rows)})',
    )
  if threshold is not None:
    axes.axvline(threshold, color=_MUTED, linestyle='--', label='threshold')
  axes.legend(frameon=False, fontsize=8)
  axes.set(title='scores', xlabel='score', ylabel='share of the rows')


def _check(
  scores: ArrayLike, labels: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
  values = np.asarray(scores, np.float64)
  truth = np.asarray(labels)
  if values.ndim != 1 or values.shape != truth.shape:
    raise ValueError(
      '`scores` and `labels` must have one shape [N], got '
      f'{values.shape} and {truth.shape}.'
    )
  wrong = ~np.isfinite(values)
  if wrong.any():
    row = int(np.argmax(wrong))
    raise ValueError(
      f'`scores` must be finite, got {values[row]} in row {row} ('
      f'{int(wrong.sum())} such in {len(values)} rows).'
    )
  if not np.isin(truth, (0, 1)).all():
    raise ValueError(
      f'`labels` must be 0 (normal) or 1 (anomaly), got '
      f'{np.unique(truth)[:5].tolist()}.'
    )
  truth = truth.astype(np.int64)
  if len(np.unique(truth)) < 2:
    kind = 'no anomaly' if not truth.any() else 'no normal row'
    raise ValueError(
      f'there is {kind} among the {len(truth)} rows of `labels`: ranking '
      'metrics need both kinds. Take another split.'
    )
  return values, truth
