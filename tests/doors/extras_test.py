# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The base install says which extra is missing."""

import importlib
import runpy
import sys

import pytest

_ADVICE = (
  "the extra `train`: pip install 'imbsam_jax[train]', in a clone pip install "
  "'.[train]'. Missing: "
)


def _forget(monkeypatch, package):
  """As if a package had not been imported yet."""
  for name in [*sys.modules]:
    if name == package or name.startswith(f'{package}.'):
      monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize('module', ['flax', 'grain', 'orbax', 'tqdm'])
def test_experiment_names_the_extra(module, monkeypatch):
  _forget(monkeypatch, 'imbsam_jax.experiment')
  monkeypatch.setitem(sys.modules, module, None)
  with pytest.raises(ImportError) as found:
    importlib.import_module('imbsam_jax.experiment')
  assert str(found.value) == (f'imbsam_jax.experiment needs {_ADVICE}{module}.')


@pytest.mark.parametrize(
  'program', ['imbsam_jax', 'experiments.train', 'experiments.checkpoint']
)
def test_programs_name_the_extra(program, monkeypatch, capsys):
  _forget(monkeypatch, 'imbsam_jax._doors')
  _forget(monkeypatch, program if '.' in program else 'imbsam_jax.__main__')
  for module in ('tqdm', 'absl', 'ml_collections'):
    monkeypatch.setitem(sys.modules, module, None)
  monkeypatch.setattr(sys, 'argv', [program, 'train'])
  with pytest.raises(SystemExit) as found:
    runpy.run_module(program, run_name='__main__')
  assert found.value.code == 2
  assert capsys.readouterr().err == (
    f'error: the programs need {_ADVICE}tqdm, absl, ml_collections.\n'
  )
