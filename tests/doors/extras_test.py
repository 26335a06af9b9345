# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The base install says which extra is missing."""

import importlib
import pathlib
import runpy
import sys

import pytest

import imbsam_jax

_LIGHT = (
  'augment calibration losses metrics oracles sampling schedules transforms '
  'weights'
).split()
_EXTRAS = {
  'models': 'models',
  'pretrained': 'pretrained',
  'data': 'data',
  'training': 'train',
  'methods': 'train',
  'experiment': 'train',
  'anomaly': 'train',
}
_HEAVY = (
  'absl.app flax grain ml_collections orbax PIL sklearn tensorflow_datasets '
  'tqdm matplotlib array_record safetensors'
).split()


def _advice(extra):
  return (
    f"the extra `{extra}`: pip install 'imbsam_jax[{extra}]', in a clone pip "
    f"install '.[{extra}]'. Missing: "
  )


def _is_in(package, name):
  return name == package or name.startswith(f'{package}.')


def _forget(monkeypatch, package):
  """As if a package had not been imported yet."""
  for name in [*sys.modules]:
    if _is_in(package, name):
      monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def base_install(monkeypatch):
  """The library as it is first imported, without any extra."""
  before = {n: m for n, m in sys.modules.items() if _is_in('imbsam_jax', n)}
  for name in before:
    del sys.modules[name]
  for name in _HEAVY:
    monkeypatch.setitem(sys.modules, name, None)
  yield importlib.import_module('imbsam_jax')
  for name in [n for n in sys.modules if _is_in('imbsam_jax', n)]:
    del sys.modules[name]
  sys.modules.update(before)


def test_light_packages_are_attributes_and_need_no_extra(base_install):
  assert not {'losses', 'oracles', 'transforms'} & vars(base_install).keys()
  assert {*_LIGHT} <= {*dir(base_install)}
  for name in _LIGHT:
    package = getattr(base_install, name)
    assert package.__name__ == f'imbsam_jax.{name}'
    assert package.__all__
  # What `help` asks for is there.
  assert all(hasattr(base_install, name) for name in dir(base_install))
  with pytest.raises(AttributeError, match="no attribute 'loses'"):
    base_install.loses  # noqa: B018


def test_heavy_packages_name_their_extra(base_install):
  for name, extra in _EXTRAS.items():
    assert name not in dir(base_install)
    expected = f'imbsam_jax.{name} needs {_advice(extra)}'
    for load in (
      lambda name=name: getattr(base_install, name),
      lambda name=name: importlib.import_module(f'imbsam_jax.{name}'),
    ):
      with pytest.raises(ImportError) as error:
        load()
      assert str(error.value).startswith(expected)


def test_packages_are_listed():
  root = pathlib.Path(imbsam_jax.__file__).parent
  packages = {
    path.parent.name
    for path in root.glob('*/__init__.py')
    if not path.parent.name.startswith('_')
  }
  assert packages == {*_LIGHT, *_EXTRAS}
  assert packages <= {*dir(imbsam_jax)}
  assert imbsam_jax.data is importlib.import_module('imbsam_jax.data')


@pytest.mark.parametrize(
  'module, package, extra',
  [
    ('flax', 'models', 'models'),
    ('safetensors', 'pretrained', 'pretrained'),
    ('PIL', 'data', 'data'),
    ('grain', 'data', 'data'),
    ('orbax', 'training', 'train'),
    ('tqdm', 'experiment', 'train'),
    ('sklearn', 'anomaly', 'train'),
  ],
)
def test_package_names_what_is_missing(module, package, extra, monkeypatch):
  _forget(monkeypatch, f'imbsam_jax.{package}')
  monkeypatch.setitem(sys.modules, module, None)
  with pytest.raises(ImportError) as error:
    importlib.import_module(f'imbsam_jax.{package}')
  assert str(error.value) == (
    f'imbsam_jax.{package} needs {_advice(extra)}{module}.'
  )


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
    f'error: the programs need {_advice("train")}tqdm, absl, ml_collections.\n'
  )
