# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The imports of the library: no circles, downwards only, nothing private."""

import ast
from collections.abc import Mapping
import graphlib
import pathlib

import pytest

_TOP = 'imbsam_jax'

# From low to high. A package may import those of the lines above its own, and a
# sub-package may have a line of its own. '' is `imbsam_jax` itself. Modules and
# packages `imbsam_jax._x` that are not here may be imported by all, and import
# one another only.
_LAYERS = (
  ('losses', 'metrics', 'oracles', 'sampling', 'transforms', 'weights'),
  ('', 'augment', 'schedules'),
  ('calibration',),
  ('models',),
  ('pretrained',),
  ('data',),
  ('training', 'analysis'),
  ('_runs',),
  ('methods',),
  ('experiment', 'anomaly'),
  ('anomaly.study', 'estimators', 'report'),
  ('_doors',),
  ('__main__',),
)
_LEVELS = {name: i for i, layer in enumerate(_LAYERS) for name in layer}

# Who brings what: lower packages do without it.
_FROM_OUTSIDE = {
  'flax': 'models',
  'grain': 'data',
  'tensorflow_datasets': 'data',
  'orbax': 'training',
  'absl': '_doors',
  'ml_collections': '_doors',
}


def _read_library() -> dict[str, str]:
  """The source of every module, by its dotted name."""
  root = pathlib.Path(__file__).parent.parent
  found = {}
  for path in sorted((root / _TOP).rglob('*.py')):
    *parents, name = path.relative_to(root).with_suffix('').parts
    parts = parents if name == '__init__' else [*parents, name]
    found['.'.join(parts)] = path.read_text(encoding='utf-8')
  return found


def _imports(source: str) -> set[str]:
  """All that is imported, also in functions and under `TYPE_CHECKING`."""
  found = set()
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      found.update(alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, 'imports are absolute'
      found.update(f'{node.module}.{alias.name}' for alias in node.names)
  return found


def _prefixes(name: str) -> list[str]:
  parts = name.split('.')
  return ['.'.join(parts[:i]) for i in range(len(parts), 0, -1)]


def _layer(module: str) -> str | None:
  """The line of `_LAYERS` that a module is on; None is below all of them."""
  inside = module.removeprefix(_TOP).removeprefix('.')
  return next((p for p in _prefixes(inside) if p in _LEVELS), None)


def _package(module: str) -> str:
  return '.'.join(module.split('.')[:2])


def _problems(sources: Mapping[str, str]) -> list[str]:
  graph, found = {}, []
  for module, source in sources.items():
    layer, graph[module] = _layer(module), set()
    level = -1 if layer is None else _LEVELS[layer]
    for name in sorted(_imports(source)):
      outside = _FROM_OUTSIDE.get(name.split('.')[0])
      if outside is not None and level < _LEVELS[outside]:
        found.append(f'{module} has to do without {name}')
      if name.split('.')[0] != _TOP:
        continue
      # `name` is a module, or something in one.
      other = next(p for p in _prefixes(name) if p in sources)
      graph[module].add(other)
      private = [p for p in name.split('.')[2:] if p.startswith('_')]
      if private and _package(other) != _package(module):
        found.append(f'{module} imports {name}, which is private')
      other_layer = _layer(other)
      if (
        other_layer is not None
        and other_layer != layer
        and _LEVELS[other_layer] >= level
      ):
        found.append(f'{module} imports {name}, which is not below it')
  try:
    graphlib.TopologicalSorter(graph).prepare()
  except graphlib.CycleError as error:
    found.append(f'a circle: {" -> ".join(error.args[1])}')
  return found


def test_library():
  assert not _problems(_read_library())


_SKETCH = dict.fromkeys(
  [
    _TOP,
    *(
      f'{_TOP}.{name}' for name in ('_checks', '_errors', '__main__', '_doors')
    ),
    *(f'{_TOP}.{name}' for name in ('losses', 'losses._mixed', 'losses._ldam')),
    *(f'{_TOP}.{name}' for name in ('data', 'training', 'experiment')),
    *(f'{_TOP}.{name}' for name in ('anomaly', 'anomaly.study')),
  ],
  '',
)


@pytest.mark.parametrize(
  'module, source',
  [
    ('losses', 'from imbsam_jax.losses._mixed import MixedLabels'),
    ('losses._ldam', 'from imbsam_jax import _checks'),
    ('training', 'from imbsam_jax import losses'),
    ('training', 'import imbsam_jax'),
    ('training', 'from orbax.checkpoint import v1'),
    ('anomaly.study', 'from imbsam_jax import anomaly, experiment'),
    ('_doors', 'from absl import app\nfrom imbsam_jax import experiment'),
    ('__main__', 'from imbsam_jax import _doors'),
  ],
)
def test_what_is_allowed(module, source):
  assert not _problems(_SKETCH | {f'{_TOP}.{module}': source})


@pytest.mark.parametrize(
  'module, source, message',
  [
    ('training', 'from imbsam_jax.losses import _mixed', 'private'),
    ('training', 'from imbsam_jax.losses._mixed import halves', 'private'),
    ('training', 'from imbsam_jax.losses import _halves', 'private'),
    ('losses', 'from imbsam_jax import data', 'not below'),
    ('losses', 'import imbsam_jax', 'not below'),
    ('_checks', 'from imbsam_jax import losses', 'not below'),
    ('experiment', 'from imbsam_jax import anomaly', 'not below'),
    ('anomaly', 'from imbsam_jax import experiment', 'not below'),
    ('anomaly', 'from imbsam_jax.anomaly import study', 'not below'),
    ('experiment', 'from imbsam_jax import _doors', 'not below'),
    ('losses', 'import flax', 'without flax'),
    ('data', 'def f():\n  import orbax.checkpoint', 'without orbax'),
    ('experiment', 'from absl import flags', 'without absl.flags'),
  ],
)
def test_what_is_not(module, source, message):
  found = _problems(_SKETCH | {f'{_TOP}.{module}': source})
  assert len(found) == 1 and message in found[0], found


@pytest.mark.parametrize(
  'back',
  [
    'from imbsam_jax.losses import _mixed',
    'def f():\n  from imbsam_jax.losses import _mixed',
    'if TYPE_CHECKING:\n  from imbsam_jax.losses._mixed import MixedLabels',
  ],
)
def test_circles(back):
  sources = _SKETCH | {
    f'{_TOP}.losses._mixed': 'from imbsam_jax.losses import _ldam',
    f'{_TOP}.losses._ldam': back,
  }
  assert [p.split(':')[0] for p in _problems(sources)] == ['a circle']
