# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the programs share at their edge: flags, errors, exit codes.

A program is a module of this package with a docstring, ``define(values)`` for
its flags and ``main(call)``; `RECIPES` names the package of its recipes, if it
takes a configuration, `EXAMPLE` one of these as it is typed, `CONFIG_OPTIONAL`
says that it does without one too, `POSITIONAL` that it takes arguments that are
no flags, and `STOPPED` is what a signal makes it say where nothing has to be
saved. ``main`` may return an exit code.

Exit codes: 0 done, 2 usage, 3 data, 4 diverged, 5 checkpoint, 141 nobody reads
the output any more, 143 stopped by SIGTERM or SIGINT, all steps that were taken
saved where the program saves any; 1, or 134 from JAX, where another process of
the run has failed.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import difflib
import importlib
import os
import re
import shlex
import sys
import time
import traceback
from typing import Any
from typing import NoReturn
import warnings

from absl import flags
from absl import logging

from imbsam_jax import _memory
from imbsam_jax._doors import calls
from imbsam_jax._doors import field_help

PROGRAMS = (
  'check',
  'train',
  'evaluate',
  'predict',
  'export',
  'compare',
  'calibrate',
  'checkpoint',
  'anomaly',
  'score',
  'compare_anomaly',
  'benchmark',
)
_HELP = ('-h', '-help', '--help', '--helpshort', '--helpfull')
_AGAIN = 'The same command again goes on from there.'
# JAX ends the other processes with the first one, which waits these seconds so
# that they can print why they stop.
_LAST_WORDS = 3.0
# As of a program that SIGPIPE ends, which Python does not let it.
_BROKEN_PIPE = 141
# Fields of a run that programs without a configuration have as flags.
_MOVED = ('data.data_dir', 'model.trunk')
# The number of this process, if there are several.
_process: int | None = None


def run(name: str | None = None, called: str | None = None) -> NoReturn:
  """Runs a program on the command line of this process, and leaves.

  Args:
    name: Name of the program; None takes the first argument.
    called: Command that starts the program, as its texts show it.
  """
  logging.use_absl_handler()
  logging.set_verbosity(logging.WARNING)
  # Orbax tells of its errors with a traceback, and raises them too.
  logging.get_absl_logger().addFilter(lambda r: 'orbax' not in r.pathname)
  arguments = sys.argv[1:]
  if name is None:
    name, *arguments = arguments or ['']
    if name in ('', 'help', *_HELP):
      _print(_overview())
      sys.exit(0 if name else 2)
    if name not in PROGRAMS:
      near = difflib.get_close_matches(name, PROGRAMS, n=1)
      hint = f' Did you mean {near[0]!r}?' if near else ''
      _complain(f'there is no program {name!r}.{hint}\n{_overview()}')
      sys.exit(2)
  if _keeps_memory(arguments) and _memory.pays():
    _memory.keep_memory()
  _leave(main(name, arguments, called=called))


def main(
  name: str, arguments: Sequence[str], *, called: str | None = None
) -> int:
  """Runs a program; a user's mistake ends in a message, not a traceback.

  Args:
    name: One of `PROGRAMS`.
    arguments: Arguments of the program.
    called: Command that starts the program, as its texts show it; default is
      ``python -m imbsam_jax NAME``.

  Returns:
    The exit code.
  """
  program = importlib.import_module(f'imbsam_jax._doors.{name}')
  called = called or f'python -m imbsam_jax {name}'
  values = flags.FlagValues()
  values.set_gnu_getopt(True)
  flags.DEFINE_bool(
    'debug', False, 'Shows the traceback of errors.', flag_values=values
  )
  flags.DEFINE_integer(
    'verbosity',
    logging.WARNING,
    'Which messages of libraries are shown: -1 warnings, 0 information, 1 all.',
    flag_values=values,
  )
  flags.DEFINE_multi_string(
    'import',
    [],
    'Python file of yours that registers method words; may be repeated.',
    flag_values=values,
  )
  _define_keep_memory(values)
  program.define(values)
  if any(argument in _HELP for argument in arguments):
    _print(_help(program, values))
    return 0
  with _told_warnings():
    try:
      code = _main(program, values, called, arguments)
      # What is left in the buffer would fail where nobody can answer for it.
      sys.stdout.flush()
      return code
    except BrokenPipeError:
      _drop_output()
      return _BROKEN_PIPE
    except Exception as error:
      code = _exit_code(error)
      debug = {'--debug', '-debug', '--debug=true', '--debug=True'}
      if code is None or debug & {*arguments}:
        if _process is None:
          raise
        traceback.print_exc()
        return 1 if code is None else code
      text = str(error)
      if code == 143:
        print(f'{text} {_AGAIN}', file=sys.stderr)
      else:
        _complain(_as_flags(text, values, program))
      return code


def one_of_several(process: int) -> None:
  """Says that this is one of several processes: it leaves and speaks as such.

  Args:
    process: Its number.
  """
  global _process
  _process = process
  if process:  # The first one prints for all.
    sys.stdout = open(os.devnull, 'w')  # noqa: SIM115


def is_one_of_several() -> bool:
  """Whether there are several processes."""
  return _process is not None


def _main(
  program: Any, values: Any, called: str, arguments: Sequence[str]
) -> int:
  # Imported here: --help must not wait for JAX.
  from imbsam_jax import _errors
  from imbsam_jax._doors import configs
  from imbsam_jax._runs import fields
  from imbsam_jax._runs import recipes as recipes_lib
  from imbsam_jax._runs import signals

  source, words, config, overrides, nones = '', None, None, {}, {}
  rest = list(arguments)
  # Before the words of a configuration are read.
  for path in configs.imports(rest):
    recipes_lib.run_file(path)
  if _takes_config(program, rest):
    source, words, rest = configs.take(rest, program.EXAMPLE)
    recipes = importlib.import_module(program.RECIPES)
    study = importlib.import_module(program.RECIPES.rpartition('.')[0])
    if words == 'help':
      configs.check_source(source, recipes)
      _print(study.words())
      return 0
    config = configs.load(source, words, recipes, study.Config)
    rest, nones = configs.take_nones(rest, config)
    configs.define(values, config, rest)
  try:
    _, *others = values([called, *rest])
  except flags.Error as error:
    text = str(error)
    field = getattr(error, 'flagname', '')
    if config is not None and field in fields.flatten(config):
      text = (
        f'Unknown command line flag {field!r}. Did you mean --config.{field}?'
      )
    raise _errors.ConfigError(text) from error
  if config is not None:
    overrides = configs.overrides(values) | nones
    if 'init_from' in values and values.init_from is not None:
      overrides['init_from'] = values.init_from
    config = fields.replace(config, overrides)
  logging.set_verbosity(values.verbosity)
  if others and not getattr(program, 'POSITIONAL', False):
    raise _errors.ConfigError(
      f'unexpected argument {others[0]!r}; flags begin with --'
    )
  command = ' '.join([called, *map(shlex.quote, arguments)])
  call = calls.Call(values, others, config, source, words, overrides, command)
  # Where there is something to save, `signals.deferred` takes its place.
  with signals.leaving(getattr(program, 'STOPPED', 'stopped.')):
    return program.main(call) or 0


def _takes_config(program: Any, arguments: Sequence[str]) -> bool:
  """Whether a configuration is to be read."""
  if not getattr(program, 'CONFIG_OPTIONAL', False):
    return hasattr(program, 'RECIPES')
  return any(
    argument.lstrip('-').startswith('config') for argument in arguments
  )


def _define_keep_memory(values: flags.FlagValues) -> None:
  flags.DEFINE_bool(
    'keep_memory',
    True,
    'On CPUs: keeps memory from step to step, which is faster; false gives it '
    'back to the machine.',
    flag_values=values,
  )


def _keeps_memory(arguments: Sequence[str]) -> bool:
  """The flag, which is read before the others: JAX is not imported yet."""
  values = flags.FlagValues()
  values.set_gnu_getopt(True)
  _define_keep_memory(values)
  try:
    values(['', *arguments], known_only=True)
  except flags.Error:  # Said when all are read.
    return False
  return values.keep_memory


def _overview() -> str:
  """The programs, a line each."""
  lines = [f'  {name:<16} {_first_line(name)}' for name in PROGRAMS]
  return '\n'.join(
    ['python -m imbsam_jax PROGRAM --help tells of its flags.', *lines]
  )


def _first_line(name: str) -> str:
  module = importlib.import_module(f'imbsam_jax._doors.{name}')
  return (module.__doc__ or '').splitlines()[0]


def _help(program: Any, values: Any) -> str:
  takes_config = hasattr(program, 'RECIPES')
  if takes_config:
    flags.DEFINE_string('config', None, program.CONFIG_HELP, flag_values=values)
  parts = [program.__doc__, f'flags:\n{values.get_help()}']
  if takes_config:
    parts.append(f'\n{field_help.text(program.RECIPES)}')
  return '\n'.join(parts)


def _print(text: str) -> None:
  try:
    print(text, flush=True)
  except BrokenPipeError:
    _drop_output()


def _drop_output() -> None:
  """The reader of ``... | head`` has seen enough."""
  with contextlib.suppress(
    OSError, ValueError
  ):  # That of a test has no number.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _told_warnings() -> Iterator[None]:
  """Shows warnings in a line each."""
  before = warnings.showwarning
  warnings.showwarning = _show_warning
  try:
    yield
  finally:
    warnings.showwarning = before


def _show_warning(message: Warning | str, *args: Any, **kwargs: Any) -> None:
  del args, kwargs
  print(f'{_who()}warning: {message}', file=sys.stderr)


def _complain(text: str) -> None:
  print(f'{_who()}error: {text}', file=sys.stderr)


def _who() -> str:
  return '' if _process is None else f'process {_process}: '


def _exit_code(error: Exception) -> int | None:
  from imbsam_jax import _errors
  from imbsam_jax import data

  codes = {
    _errors.ConfigError: 2,
    OSError: 2,
    data.DataError: 3,
    _errors.DivergedError: 4,
    _errors.CheckpointError: 5,
    _errors.OtherProcessError: 1,
    _errors.PreemptedError: 143,
  }
  return next((c for kind, c in codes.items() if isinstance(error, kind)), None)


def _as_flags(text: str, values: Any, program: Any) -> str:
  """A text of the library with names in backticks as flags of the program."""
  text = text.replace('`experiment.words()`', '--config=NAME:help')
  fields: list[str] = []
  if hasattr(program, 'RECIPES'):
    from imbsam_jax._doors import configs

    fields = configs.field_names(program.RECIPES)

  def as_flag(match: re.Match[str]) -> str:
    name, value = match['name'], match['value'] or ''
    endings = [f for f in fields if f.rpartition('.')[2] == name]
    if name in fields:
      flag = f'--config.{name}'
    elif name in values:
      flag = f'--{name}'
    elif value and len(endings) == 1:
      flag = f'--config.{endings[0]}'
    elif name in _MOVED and name.rpartition('.')[2] in values:
      flag = f'--{name.rpartition(".")[2]}'
    elif '.' in name and not fields:
      flag = f'--config.{name}'  # Of the program that trained the run.
    else:
      return match[0]
    return flag + ('=' + shlex.quote(value[1:].strip('\'"')) if value else '')

  return re.sub(r'`(?P<name>[a-z_0-9.]+)(?P<value>=[^`]+)?`', as_flag, text)


def _leave(code: int) -> NoReturn:
  """Ends the process; of several, without waiting for the others as JAX does.

  They may be waiting for this one. JAX ends them when it is missed.
  """
  if not code or _process is None:
    sys.exit(code)
  from imbsam_jax._runs import signals

  try:
    # A launcher that kills the others must not overwrite this exit code.
    signals.ignore()
    sys.stdout.flush()
    if _process == 0:
      time.sleep(_LAST_WORDS)
  except OSError:  # Nobody reads any more.
    pass
  os._exit(code)
