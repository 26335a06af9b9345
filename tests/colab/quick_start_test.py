# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The first notebook: its lines, its outputs, its time."""

import math
import resource
import time

from matplotlib.figure import Figure
import nbformat
import pytest

from colab import render

_SOURCE = render.FOLDER / 'quick_start.py'
_NOTEBOOK = _SOURCE.with_suffix('.ipynb')
_ADVICE = 'run `python -m colab.render`'
_MAX_SECONDS = 90
_MAX_BYTES = 400_000


def _lines(tag):
  """The lines of the cells with a tag; what they show gets a name."""
  cells = [
    cell.source
    for cell in render.read(_SOURCE).cells
    if tag in cell.metadata.get('tags', ())
  ]
  assert cells, f'no cell has the tag {tag}'
  return (
    '\n'.join(cells)
    .replace('experiment.calibrate(', 'calibration = experiment.calibrate(')
    .replace('comparison.plot()', 'figure = comparison.plot()')
  )


def _run(tag):
  names = {'EPOCHS': 1}
  exec(compile(_lines(tag), f'{_SOURCE.name}:{tag}', 'exec'), names)
  return names


def _check(names, calibrations):
  summary = names['result'].summary
  for name in ('top1', 'balanced', 'tail', 'train_loss'):
    assert math.isfinite(summary[name]), name
  comparison = names['comparison']
  assert set(comparison.methods) == {'sgd', 'imbsam'}
  assert comparison.methods['imbsam']['top1']['runs'] == 2
  assert isinstance(names['figure'], Figure)
  # What a cell shows after its last line.
  for name in ('result', 'comparison', 'calibration'):
    shown = names[name]._repr_markdown_()
    assert names[name].table() in shown
    assert repr(names[name]) == shown
  assert names['figure']._repr_png_()[0].startswith(b'\x89PNG')
  assert set(names['calibration'].methods) == calibrations
  assert all(found for found in names['calibration'].methods.values())


@pytest.mark.extended
def test_the_ten_lines_and_those_of_ones_own_in_one_process():
  by_words, own = _run('ten_lines'), _run('own')
  _check(by_words, {'none', 'crt', 'lws'})
  _check(own, {'none', 'logit_adjustment'})
  assert repr(by_words['exp']) == str(by_words['exp'])
  # Neither has seen anything of the other.
  assert 'digits, 10 classes' in str(by_words['exp'])
  assert 'own, 5 classes' in str(own['own']['imbsam'])
  assert by_words['exp'].config.data.name == 'digits'


def test_there_are_ten_lines():
  assert len([s for s in _lines('ten_lines').splitlines() if s]) <= 11


def test_the_notebook_is_that_of_its_source():
  stored = nbformat.read(_NOTEBOOK, as_version=4)
  nbformat.validate(stored)
  made = render.read(_SOURCE)

  def content(notebook):
    return [
      (cell.cell_type, cell.source, cell.id, cell.metadata.get('tags'))
      for cell in notebook.cells
    ]

  assert content(stored) == content(made), _ADVICE
  assert stored.metadata.kernelspec == made.metadata.kernelspec


def test_the_stored_outputs():
  assert _NOTEBOOK.stat().st_size < _MAX_BYTES
  cells = nbformat.read(_NOTEBOOK, as_version=4).cells
  code = [cell for cell in cells if cell.cell_type == 'code']
  # One after the other, from a new kernel.
  counts = [cell.execution_count for cell in code]
  assert counts == list(range(1, len(code) + 1)), _ADVICE
  _check_outputs(code)
  pictures = [
    output
    for cell in code
    for output in cell.outputs
    if 'image/png' in output.get('data', {})
  ]
  assert len(pictures) == 3


def test_commands_are_refused(tmp_path):
  # jupytext runs them even where they are commented out.
  source = tmp_path / 'commands.py'
  source.write_text('# %%\n# %pip install anything\n')
  with pytest.raises(ValueError, match='would change the environment'):
    render.read(source)


@pytest.mark.extended
def test_it_executes_in_time():
  notebook = render.read(_SOURCE)
  before = resource.getrusage(resource.RUSAGE_CHILDREN)
  start = time.monotonic()
  render.execute(notebook)
  wall = time.monotonic() - start
  after = resource.getrusage(resource.RUSAGE_CHILDREN)
  used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
  _check_outputs([c for c in notebook.cells if c.cell_type == 'code'])
  # Whoever else is busy on this machine makes it longer, and not slower.
  assert min(wall, used) <= _MAX_SECONDS, f'{wall:.0f} s, {used:.0f} s of CPUs'


def _check_outputs(cells):
  """No error, and nothing on the channel of warnings."""
  for cell in cells:
    for output in cell.outputs:
      assert output.output_type != 'error', output
      assert output.get('name') != 'stderr', output
