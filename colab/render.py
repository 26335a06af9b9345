# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Notebooks from the Python files of this folder, with what they show.

  python -m colab.render

executes each in a process of its own, and writes it with its outputs.
"""

import hashlib
import os
import pathlib

import jupytext
import nbclient
import nbformat
from traitlets import config

FOLDER = pathlib.Path(__file__).parent
# Of one cell. How long a notebook takes in all is for its test.
_TIMEOUT_SECONDS = 600


def sources() -> list[pathlib.Path]:
  """The Python files that are notebooks."""
  return sorted(set(FOLDER.glob('*.py')) - {pathlib.Path(__file__).resolve()})


def read(source: pathlib.Path) -> nbformat.NotebookNode:
  """The notebook of a Python file, without outputs.

  Raises:
    ValueError: A cell has a command, such as ``%pip install``.
  """
  notebook = jupytext.read(source, fmt='py:percent')
  notebook.metadata = {
    'kernelspec': {
      'display_name': 'Python 3',
      'language': 'python',
      'name': 'python3',
    },
    'language_info': {'name': 'python'},
  }
  for number, cell in enumerate(notebook.cells):
    # Random otherwise, and another for each time that it is written.
    name = f'{source.stem} {number}'
    cell.id = hashlib.sha256(name.encode()).hexdigest()[:8]
    # jupytext takes even a magic in a comment for one that is to be run.
    lines = cell.source.splitlines() if cell.cell_type == 'code' else []
    if any(line.lstrip().startswith(('%', '!')) for line in lines):
      raise ValueError(
        f'{source.name} has a cell with a command for the shell or IPython, '
        f'which would change the environment: {cell.source!r}. Put it into a '
        'cell of text.'
      )
  return notebook


def execute(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
  """Executes a notebook in place, with the library of this folder.

  Raises:
    nbclient.exceptions.CellExecutionError: A cell has raised an error.
  """
  root = str(FOLDER.parent)
  client = nbclient.NotebookClient(
    notebook,
    timeout=_TIMEOUT_SECONDS,
    kernel_name='python3',
    # Else every cell is written with the time of day.
    record_timing=False,
    # Else what is printed comes in pieces, of which there is not always the
    # same number.
    coalesce_streams=True,
    # Sockets of this machine: nobody else reads them.
    config=config.Config({'KernelManager': {'transport': 'ipc'}}),
    resources={'metadata': {'path': root}},
  )
  client.execute(env={**os.environ, 'PYTHONPATH': root})
  return notebook


def main() -> None:
  """Writes all notebooks."""
  for source in sources():
    nbformat.write(execute(read(source)), source.with_suffix('.ipynb'))


if __name__ == '__main__':
  main()
