# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Flags, configurations and texts of the programs, in one process."""

import importlib
import pathlib
import runpy
import subprocess
import sys
import typing
import warnings

from absl import flags
import pytest

from imbsam_jax import experiment
from imbsam_jax._doors import calls
from imbsam_jax._doors import configs
from imbsam_jax._doors import door
from imbsam_jax._runs import fields
from imbsam_jax.anomaly import study
from imbsam_jax.experiment import recipes
from tests import programs

_PLAIN = (bool, int, float, str)
_ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.trains
def test_nothing_is_registered_in_the_flags_of_the_process():
  code = (
    'import sys\n'
    'from absl import flags\n'
    'from imbsam_jax import experiment\n'
    'from imbsam_jax.anomaly import study\n'
    'from imbsam_jax._doors import door, train, evaluate, compare\n'
    'modules = flags.FLAGS.flags_by_module_dict()\n'
    'print([m for m in modules if "imbsam" in m])\n'
    'print("ml_collections" in sys.modules)\n'
  )
  done = subprocess.run(
    [sys.executable, '-c', code], cwd=_ROOT, capture_output=True, text=True
  )
  assert done.stdout.split('\n')[:2] == ['[]', 'False'], done.stderr


def test_two_programs_of_one_process_have_their_own_flags(tmp_path):
  before = set(flags.FLAGS)
  for name in ('train', 'evaluate', 'compare', 'train'):
    done = programs.call(name, '--help')
    assert done.returncode == 0 and '--workdir' in done.stdout
  done = programs.call('evaluate', f'--workdir={tmp_path}')
  assert done.returncode == 2
  assert (
    f'there is no run in {tmp_path}, which has no config.json' in done.stderr
  )
  assert set(flags.FLAGS) == before


@pytest.mark.parametrize('name', door.PROGRAMS)
def test_both_names_are_one_program(name):
  source = (_ROOT / 'experiments' / f'{name}.py').read_text()
  assert f"door.run('{name}', called='python -m experiments.{name}')" in source
  help_text = programs.call(name, '--help').stdout
  assert help_text.startswith(
    sys.modules[f'imbsam_jax._doors.{name}'].__doc__ or '?'
  )
  assert '--debug' not in help_text or 'traceback' in help_text


@pytest.mark.parametrize('name', door.PROGRAMS)
def test_a_program_runs_as_a_file(name, monkeypatch):
  seen = []
  monkeypatch.setattr(
    door, 'run', lambda *names, called: seen.append((*names, sys.path[0]))
  )
  # As Python does: the package is not in the folder of the file.
  path = _ROOT / 'experiments' / f'{name}.py'
  monkeypatch.setattr(sys, 'path', [str(path.parent), *sys.path])
  runpy.run_path(str(path), run_name='__main__')
  assert seen == [(name, str(_ROOT))]


# What is one's own is passed in Python.
@pytest.mark.parametrize(
  'name', [name for name in experiment.recipe_names() if name != 'own']
)
def test_recipe_is_a_file_too(name):
  module = importlib.import_module(f'experiments.configs.{name}')
  recipe = importlib.import_module(f'{recipes.__name__}.{name}')
  assert module.get_config is recipe.get_config
  if name != 'from_json':
    config = configs.load(name, None, recipes, experiment.Config)
    path = f'experiments/configs/{name}.py'
    assert configs.load(path, None, recipes, experiment.Config) == config


@pytest.mark.parametrize(
  ('arguments', 'expected'),
  [
    (['--config=a:b,c', '--x=1'], ('a', 'b,c', ['--x=1'])),
    (['--x=1', '--config', 'a'], ('a', None, ['--x=1'])),
    (['-config=f.py:w'], ('f.py', 'w', [])),
    (['--config=from_json:/x/a:b.json'], ('from_json', '/x/a:b.json', [])),
  ],
)
def test_takes_the_configuration_out_of_a_command_line(arguments, expected):
  assert configs.take(arguments, 'digits_lt') == expected


@pytest.mark.parametrize('arguments', [[], ['--config'], ['--config=']])
def test_command_line_without_a_configuration(arguments):
  with pytest.raises(experiment.ConfigError, match='--config=digits_lt'):
    configs.take(arguments, 'digits_lt:imbsam')


@pytest.mark.parametrize(
  ('program', 'expected'),
  [
    ('train', '--config=digits_lt:imbsam or --config=FILE.py:imbsam.'),
    ('compare', '--config=digits_lt or --config=FILE.py; method words go into'),
    ('anomaly', '--config=anomaly:imbsam or --config=FILE.py:imbsam.'),
    ('compare_anomaly', '--config=anomaly or --config=FILE.py; method words'),
  ],
)
def test_example_of_a_configuration_is_one_of_the_program(program, expected):
  done = programs.call(program, '--workdir=x')
  assert done.returncode == 2
  assert f'Pass a configuration, such as {expected}' in done.stderr
  module = sys.modules[f'imbsam_jax._doors.{program}']
  recipe, _, word = module.EXAMPLE.partition(':')
  package = importlib.import_module(module.RECIPES)
  importlib.import_module(f'{package.__name__}.{recipe}').get_config(
    word or 'sgd'
  )


def _config_of(*arguments):
  """The configuration that a program gets, without running one."""
  seen = []

  class Program:
    """Keeps its call."""

    __doc__ = 'Keeps.'
    RECIPES = 'imbsam_jax.experiment.recipes'
    EXAMPLE = 'digits_lt'
    CONFIG_HELP = ''
    define = staticmethod(lambda values: None)
    main = staticmethod(seen.append)

  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(sys.modules, 'imbsam_jax._doors.keep', Program)
    assert door.main('keep', arguments) == 0
  return seen[0]


def test_fields_of_every_type():
  call = _config_of(
    '--config=digits_lt:imbsam',
    '--config.epochs=3',
    '--config.data.max_count=50',
    '--config.data.stratify=False',
    '--noconfig.flip_test',
    '--config.best_on_test',
    '--config.data.name=npz',
    '--config.data.splits=("a", None, "b")',
    '--config.objective.loss=vs(gamma=0.1)',
  )
  config = call.config
  assert config == experiment.config(
    'digits_lt',
    'imbsam',
    {
      'epochs': 3.0,
      'data.max_count': 50,
      'data.stratify': False,
      'flip_test': False,
      'best_on_test': True,
      'data.name': 'npz',
      'data.splits': ('a', None, 'b'),
      'objective.loss': 'vs(gamma=0.1)',
    },
  )
  assert type(config.epochs) is float
  assert call.overrides['epochs'] == 3
  assert call.command.startswith('python -m imbsam_jax keep --config=digits')


@pytest.mark.parametrize(
  'typed',
  [
    ['--config.data.max_count=None'],
    ['--config.data.max_count', 'None'],
    ['-config.data.max_count=None'],
    ['--config.data.max_count=7', '--config.data.max_count=None'],
  ],
)
def test_fields_that_are_none(typed):
  # digits_lt sets 100 of them.
  call = _config_of('--config=digits_lt', *typed, '--config.epochs=3')
  assert call.overrides == {'data.max_count': None, 'epochs': 3.0}
  assert call.config.data.max_count is None


def test_the_last_value_of_a_field_counts():
  call = _config_of(
    '--config=digits_lt',
    '--config.optimizer.clip_norm=None',
    '--config.optimizer.clip_norm=2',
    '--config.data.data_dir=None',
  )
  assert call.overrides == {'optimizer.clip_norm': 2.0, 'data.data_dir': None}


@pytest.mark.parametrize(
  'kind', [experiment.Config, study.Config], ids=['train', 'anomaly']
)
def test_all_optional_fields_can_be_none(kind):
  config = kind()
  optional = [
    name
    for name, hint in fields.types(kind).items()
    if type(None) in typing.get_args(hint)
  ]
  assert len(optional) >= 3
  rest, nones = configs.take_nones(
    [f'--config.{name}=None' for name in optional], config
  )
  assert (rest, nones) == ([], dict.fromkeys(optional))
  assert not any(
    fields.flatten(fields.replace(config, nones))[name] for name in optional
  )


@pytest.mark.parametrize(
  ('typed', 'expected'),
  [
    ('optimizer.rho', 'must be float, such as 0.2, got None.'),
    ('data.name', "must be str, such as 'digits', got None."),
    ('flip_test', 'must be bool, such as False, got None.'),
    ('data.splits', "must be tuple[str | None, ...], such as ('train', None,"),
  ],
)
def test_fields_that_cannot_be_none(typed, expected):
  done = programs.call(
    'train', '--config=digits_lt:imbsam', f'--config.{typed}=None'
  )
  assert done.returncode == 2
  assert done.stderr.startswith(f'error: --config.{typed} {expected}')
  assert done.stderr.count('\n') == 1


@pytest.mark.parametrize(
  ('name', 'config'),
  [
    ('train', experiment.Config()),
    ('compare', experiment.Config()),
    ('anomaly', study.Config()),
    ('compare_anomaly', study.Config()),
  ],
)
def test_help_lists_every_field(name, config):
  lines = programs.call(name, '--help').stdout.splitlines()
  assert max(map(len, lines)) <= 80
  hints = {
    # `Optional[int]` as it is written.
    field: getattr(hint, '__name__', str(hint)) if hint in _PLAIN else str(hint)
    for field, hint in fields.types(type(config)).items()
  }
  shown = [line.strip() for line in lines if line.startswith('  --config.')]
  assert shown == [
    f'--config.{field}  {hints[field]}  {value!r}'
    for field, value in fields.flatten(config).items()
  ]


def test_help_says_what_a_field_is():
  lines = programs.call('train', '--help').stdout.splitlines()
  place = lines.index('  --config.optimizer.rho  float  0.05')
  # The whole sentence, which three lines of its docstring have.
  assert lines[place + 1 : place + 4] == [
    '    Radius of the perturbation: of all classes (sam, focal_sam, look_sam,',
    '    friendly_sam, gsam), of the tail (imbsam, momentum_imbsam, sse_sam), '
    'or per',
    '    entry of the parameters (rsam).',
  ]
  # Of several sentences the first one.
  place = lines.index("  --config.model.dtype  str  'float32'")
  assert lines[place + 2] == "    'bfloat16'."
  assert not [line for line in lines if 'result is marked' in line]
  undocumented = [
    line
    for line, after in zip(lines, [*lines[1:], ''], strict=True)
    if line.startswith('  --config.') and not after.startswith('    ')
  ]
  assert not undocumented


@pytest.mark.parametrize('name', ['evaluate', 'calibrate', 'benchmark'])
def test_help_of_a_program_without_a_configuration(name):
  assert '--config.' not in programs.call(name, '--help').stdout


def test_spaces_between_words_are_no_part_of_them():
  spaced = _config_of('--config=digits_lt:imbsam, ldam + drw ').config
  assert spaced == experiment.config('digits_lt', 'imbsam,ldam,drw')


def test_configurations_are_frozen():
  with pytest.raises(AttributeError):
    experiment.config('digits_lt').epochs = 3.0  # pyrefly: ignore


def test_words_of_a_comparison_share_the_fields_of_the_command_line():
  call = calls.Call(
    flags=None,
    arguments=[],
    config=experiment.Config(),
    source='digits_lt',
    words=None,
    overrides={'epochs': 3.0},
    command='',
  )
  config = configs.of_word(call, 'imbsam', recipes, {'seed': 'seeds'})
  assert config == experiment.config('digits_lt', 'imbsam', {'epochs': 3.0})
  with pytest.raises(experiment.ConfigError, match='--config.seed is set by'):
    configs.of_word(
      call._replace(overrides={'seed': 1}), 'sgd', recipes, {'seed': 'seeds'}
    )
  with pytest.raises(experiment.ConfigError, match='go into --methods'):
    configs.of_word(call._replace(words='sam'), 'sgd', recipes, {})


class _Trains:
  RECIPES = 'imbsam_jax.experiment.recipes'


@pytest.mark.parametrize(
  ('text', 'expected'),
  [
    ('pass `data.batch_size=64`.', 'pass --config.data.batch_size=64.'),
    ('`epochs` is', '--config.epochs is'),
    ('another `workdir`', 'another --workdir'),
    ("`data_dir='DIR'`", '--config.data.data_dir=DIR'),
    ('`clip_norm=1.0`', '--config.optimizer.clip_norm=1.0'),
    (
      "`objective.loss='cosface(margin=0.0)'`",
      "--config.objective.loss='cosface(margin=0.0)'",
    ),
    (
      "`data.splits=('A', None, 'B')`",
      "--config.data.splits='('\"'\"'A'\"'\"', None, '\"'\"'B'\"'\"')'",
    ),
    # `name` is a field of the data and of the model, `x` none at all.
    ('`name=x` and `x` and `rho`', '`name=x` and `x` and `rho`'),
    ('see `experiment.words()`', 'see --config=NAME:help'),
  ],
)
def test_texts_of_the_library_become_flags(text, expected):
  values = flags.FlagValues()
  flags.DEFINE_string('workdir', None, '', flag_values=values)
  assert door._as_flags(text, values, _Trains) == expected


def test_texts_of_programs_without_a_configuration():
  values = flags.FlagValues()
  flags.DEFINE_string('checkpoint', None, '', flag_values=values)
  found = door._as_flags(
    'train with `data.validation_per_class=20`; `checkpoint=last`', values, None
  )
  assert found == (
    'train with --config.data.validation_per_class=20; --checkpoint=last'
  )


def test_warnings_are_lines_while_a_program_runs(monkeypatch):
  before = warnings.showwarning

  def main(call):
    del call
    with warnings.catch_warnings():
      warnings.simplefilter('default')
      warnings.warn('something', UserWarning, stacklevel=1)

  checkpoint = importlib.import_module('imbsam_jax._doors.checkpoint')
  monkeypatch.setattr(checkpoint, 'main', main)
  done = programs.call('checkpoint')
  assert (done.returncode, done.stderr) == (0, 'warning: something\n')
  assert warnings.showwarning is before


def test_unknown_program():
  done = subprocess.run(
    [sys.executable, '-m', 'imbsam_jax', 'trian'],
    cwd=_ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 2
  assert "Did you mean 'train'?" in done.stderr
  assert 'Traceback' not in done.stderr
  for name in door.PROGRAMS:
    assert f'  {name} ' in done.stderr


def test_no_text_of_the_library_names_a_flag():
  for path in sorted((_ROOT / 'imbsam_jax').rglob('*.py')):
    inside = path.relative_to(_ROOT / 'imbsam_jax')
    if inside.parts[0] == '_doors' or 'recipes' in inside.parts:
      continue
    for number, line in enumerate(path.read_text().splitlines(), 1):
      if '--' in line.replace('---', ''):
        words = [w for w in line.split() if w.lstrip('`"\'(f').startswith('--')]
        assert not [w for w in words if not _is_of_others(w)], (
          f'{inside}:{number}: {line}'
        )


def _is_of_others(word: str) -> bool:
  """Flags of XLA, and of git."""
  return any(
    name in word for name in ('--xla', '--always', '--dirty', '--help')
  )
