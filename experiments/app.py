# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the programs share at their edge: flags, errors, exit codes.

Exit codes: 0 done, 2 usage, 3 data, 4 diverged, 5 checkpoint, 143 stopped by
SIGTERM or SIGINT with everything saved; 1, or 134 from JAX, where another
process of the run has failed.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import os
import pathlib
import runpy
import sys
import time
import traceback
from typing import Any
from typing import NoReturn
import warnings

from absl import app
from absl import flags
from absl import logging
from ml_collections import config_flags

from experiments import config as config_lib
from experiments import methods
from experiments import signals

_DEBUG = flags.DEFINE_bool('debug', False, 'Shows the traceback of errors.')

_NO_CONFIG = (
  'Pass a configuration file, such as '
  '--config=experiments/configs/digits_lt.py:imbsam (without the method word '
  'for compare).'
)


_AGAIN = 'The same command again goes on from there.'
# Of several processes, the others end with the first one: time for their words.
_LAST_WORDS = 3.0
# The number of this process, if there are several.
_process: int | None = None


class UsageError(Exception):
  """Something that the user can type differently."""


def run(
  main: Callable[[Sequence[str]], None],
  *,
  kind: type = config_lib.Config,
  words: Callable[[], str] = methods.help_text,
  positional: bool = False,
) -> None:
  """Runs a program; a user's mistake ends in a message, not a traceback.

  Args:
    main: Takes what is left of the command line.
    kind: Class of its configuration.
    words: What ``--config=FILE:help`` prints.
    positional: Whether the program takes arguments that are no flags.
  """
  logging.set_verbosity(logging.WARNING)
  # Orbax tells of its errors with a traceback, and raises them too.
  logging.get_absl_logger().addFilter(lambda r: 'orbax' not in r.pathname)
  warnings.showwarning = _show_warning
  # ml_collections wants the file before its fields, and reads sys.argv.
  sys.argv[1:] = sorted(
    sys.argv[1:], key=lambda argument: not argument.startswith('--config=')
  )
  if any(_asks_for_words(argument) for argument in sys.argv[1:]):
    _print_words(words())
    return
  app.run(
    lambda argv: _guarded(main, argv, positional),
    flags_parser=lambda argv: _parse(argv, kind),
  )


def _asks_for_words(argument: str) -> bool:
  return argument.startswith('--config=') and argument.endswith(':help')


def _print_words(text: str) -> None:
  try:
    print(text, flush=True)
  except BrokenPipeError:  # The reader of `... | head` has seen enough.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def cache_compilations() -> None:
  """Keeps compiled programs on disk: a second run starts at once.

  In ``$JAX_COMPILATION_CACHE_DIR``, or else, if there is one process,
  ``~/.cache/imbsam_jax``. Programs are found by their content, so that methods
  share what they have in common.
  """
  import jax

  if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
    # Of several processes only the first writes, for all who see the folder.
    if _process is not None:
      return
    folder = pathlib.Path('~/.cache/imbsam_jax').expanduser()
    jax.config.update('jax_compilation_cache_dir', str(folder))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)
  jax.config.update('jax_persistent_cache_min_entry_size_bytes', 0)


def set_xla_flags(config: config_lib.Config) -> None:
  """Hands a configuration's wishes to XLA; call it before JAX is used."""
  if config.deterministic:
    flags_before = os.environ.get('XLA_FLAGS', '')
    os.environ['XLA_FLAGS'] = (
      f'{flags_before} --xla_gpu_deterministic_ops=true'.strip()
    )


def read_config(
  holder: flags.FlagHolder, kind: type = config_lib.Config
) -> Any:
  """The configuration of a ``--config`` flag, which has to be of a class."""
  if holder.value is None:
    raise UsageError(_NO_CONFIG)
  # A file that could not be loaded answers with an OSError only when used.
  if not dataclasses.is_dataclass(holder.value):
    raise UsageError(_unreadable(sys.argv))
  if type(holder.value) is not kind:
    raise UsageError(
      f'{sys.argv[0]} takes configurations of {kind.__module__}, got one of '
      f'{type(holder.value).__module__}.'
    )
  return holder.value


def config_of_word(
  holder: flags.FlagHolder,
  word: str,
  reserved: Mapping[str, str],
) -> Any:
  """The configuration of another method word, with the same overrides.

  Args:
    holder: The ``--config`` flag.
    word: Method words.
    reserved: Fields that other flags set here.
  """
  flag = flags.FLAGS[holder.name]
  filename = config_flags.get_config_filename(flag)
  if ':' in filename:
    raise UsageError(
      f'--config={filename} names a method word; here words go into --methods.'
    )
  try:
    config = runpy.run_path(filename)['get_config'](word)
    changes = config_flags.get_override_values(flag)
    for name, instead in reserved.items():
      if name in changes:
        raise UsageError(f'--config.{name} is set by --{instead} here.')
    return config_lib.replace(config, changes)
  except ValueError as error:
    raise UsageError(str(error)) from error


def _guarded(
  main: Callable[[Sequence[str]], None],
  argv: Sequence[str],
  positional: bool,
) -> None:
  try:
    if len(argv) > 1 and not positional:
      raise UsageError(f'unexpected argument {argv[1]!r}; flags begin with --')
    # Where there is something to save, `signals.deferred` takes its place.
    with signals.leaving(_AGAIN):
      main(argv)
  except Exception as error:
    code = _exit_code(error)
    if code is None or _DEBUG.value:
      if _process is None:
        raise
      traceback.print_exc()
      _leave(1 if code is None else code)
    if code == signals.EXIT_CODE:
      print(f'{error} {_AGAIN}', file=sys.stderr)
      _leave(code)
    _fail(str(error), code)


def one_of_several(process: int) -> None:
  """Says that this is one of several processes: it leaves and speaks as such.

  Args:
    process: Its number.
  """
  global _process
  _process = process
  if process:  # The first one prints for all.
    sys.stdout = open(os.devnull, 'w')  # noqa: SIM115


def _show_warning(message: Warning | str, *args: Any, **kwargs: Any) -> None:
  del args, kwargs
  print(f'{_who()}warning: {message}', file=sys.stderr)


def _who() -> str:
  return '' if _process is None else f'process {_process}: '


def _parse(argv: Sequence[str], kind: type) -> list[str]:
  try:
    return flags.FLAGS(argv)
  except KeyError as error:
    # ml_collections names the field without its path.
    _fail(_unknown_field(argv, error, kind), 2)
  except OSError:
    _fail(_unreadable(argv), 2)
  except (flags.Error, ValueError, TypeError, AttributeError) as error:
    fields_only = not any(a.startswith('--config=') for a in argv)
    if fields_only and any(a.startswith('--config.') for a in argv):
      _fail(_NO_CONFIG, 2)
    wrapped = 'Traceback' in str(error)
    _fail(str(_innermost(error) if wrapped else error), 2)


def _innermost(error: BaseException) -> BaseException:
  """The first of a chain: what ml_collections wraps with its traceback."""
  before = error.__cause__ or error.__context__
  return error if before is None else _innermost(before)


def _unreadable(argv: Sequence[str]) -> str:
  given = next((a for a in argv if a.startswith('--config=')), '--config')
  return f'{given} cannot be read. {_NO_CONFIG}'


def _unknown_field(argv: Sequence[str], error: KeyError, kind: type) -> str:
  known = config_lib.flatten(kind())
  for argument in argv[1:]:
    name = argument.lstrip('-').split('=')[0]
    if name.startswith('config.') and name[len('config.') :] not in known:
      name = name[len('config.') :]
      return config_lib.unknown_field(name, kind())
  return str(error)


def _exit_code(error: Exception) -> int | None:
  if isinstance(error, UsageError):
    return 2
  # Imported here: --help must not wait for JAX.
  from imbsam_jax import data
  from imbsam_jax import training

  if isinstance(error, OSError):
    return 2
  codes = {
    data.DataError: 3,
    training.DivergedError: 4,
    training.CheckpointError: 5,
    training.OtherProcessError: 1,
    training.PreemptedError: signals.EXIT_CODE,
  }
  return next((c for kind, c in codes.items() if isinstance(error, kind)), None)


def _fail(message: str, code: int) -> NoReturn:
  print(f'{_who()}error: {message}', file=sys.stderr)
  _leave(code)


def _leave(code: int) -> NoReturn:
  """Ends the process; of several, without waiting for the others as JAX does.

  They may be waiting for this one. JAX ends them when it is missed.
  """
  if _process is None:
    sys.exit(code)
  try:
    # Whoever ends the others for this one's sake shall not hide its code.
    signals.ignore()
    sys.stdout.flush()
    if _process == 0:
      time.sleep(_LAST_WORDS)
  except OSError:  # Nobody reads any more.
    pass
  os._exit(code)
