# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The package as others install it: a wheel, outside of the repository."""

import json
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

_ROOT = pathlib.Path(__file__).parents[2]
_SOURCES = ('imbsam_jax', 'pyproject.toml', 'README.md', 'LICENSE')


def _run(*command, folder):
  done = subprocess.run(
    list(map(str, command)), cwd=folder, capture_output=True, text=True
  )
  assert done.returncode == 0, f'{done.stdout[-2000:]}\n{done.stderr[-2000:]}'
  return done.stdout


@pytest.mark.extended
def test_wheel_in_a_fresh_environment_trains_by_words(tmp_path):
  # A copy: building leaves folders beside the sources.
  sources = tmp_path / 'sources'
  sources.mkdir()
  for name in _SOURCES:
    path = _ROOT / name
    copy = shutil.copytree if path.is_dir() else shutil.copy
    copy(path, sources / name)
  _run(
    sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps',
    '--disable-pip-version-check', '--wheel-dir', tmp_path, sources,
    folder=tmp_path,
  )  # fmt: skip
  (wheel,) = tmp_path.glob('imbsam_jax-*.whl')
  names = zipfile.ZipFile(wheel).namelist()
  for name in ('__main__.py', '_doors/train.py', 'py.typed'):
    assert f'imbsam_jax/{name}' in names
  assert 'imbsam_jax/experiment/recipes/digits_lt.py' in names
  assert not [n for n in names if n.startswith(('tests/', 'experiments/'))]
  _run(sys.executable, '-m', 'venv', tmp_path / 'fresh', folder=tmp_path)
  python = tmp_path / 'fresh' / 'bin' / 'python'
  _run(
    python, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check',
    '--constraint', _ROOT / 'constraints.txt', f'{wheel}[train]',
    folder=tmp_path,
  )  # fmt: skip
  outside = tmp_path / 'outside'
  outside.mkdir()
  out = _run(
    python, '-m', 'imbsam_jax', 'train', '--config=digits_lt:imbsam',
    '--config.model.name=mlp', '--config.epochs=2', '--workdir=run',
    f'--config.data.data_dir={tmp_path / "tfds"}', folder=outside,
  )  # fmt: skip
  assert '| top-1 | balanced |' in out
  summary = json.loads((outside / 'run' / 'summary.json').read_text())
  assert summary['num_train'] == 335 and summary['top1'] > 0.2
