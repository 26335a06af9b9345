# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is one's own in a run, such as its network: whether it is still that.

The folder of a run keeps it in ``own.json``, by part: 'about', how it shows
itself; 'computes', a checksum of what it computes, as JAX of the version
'jax' traces it; and of a network 'variables', their shapes and dtypes.
"""

from collections.abc import Mapping
import pathlib
from typing import Any

from imbsam_jax import _errors
from imbsam_jax import training
from imbsam_jax._runs import run_files

_FILE = 'own.json'

Own = Mapping[str, Mapping[str, Any]]


def write(workdir: pathlib.Path, own: Own | None) -> None:
  """Writes ``own.json``, or takes that of a run that never began away.

  Args:
    workdir: Folder of the run.
    own: What is known of each part that is one's own, by the name of the part;
      None, where nothing is one's own.
  """
  if own:
    training.write_json(workdir / _FILE, own)
  else:
    (workdir / _FILE).unlink(missing_ok=True)


def check(
  workdir: pathlib.Path, own: Own | None, advice: str, *, mend: bool = False
) -> None:
  """Refuses another network or loss than that of a run.

  Args:
    workdir: Folder of the run; those of earlier versions do not tell.
    own: What is known of each part that is one's own now, by its name.
    advice: What to do instead.
    mend: Whether a file that cannot be read is written anew from its copy.

  Raises:
    ConfigError: If the network or loss is not that of the run.
  """
  path = workdir / _FILE
  if_same = 'If the network, loss or words are the same, remove the file.'
  # Whoever has removed it was told to.
  mending = run_files.Mending(write=mend, advice=if_same)
  for part, there in (run_files.read(path, _parts, mending) or {}).items():
    now = (own or {}).get(part)
    difference = _difference(there, now) if now else ''
    if difference:
      raise _errors.ConfigError(
        f'{workdir} holds a run of another {part} ({difference}); {advice}. '
        f'If it is the same, remove {path}.'
      )


def _parts(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
  """The content of ``own.json``.

  Raises:
    ValueError: If it is not such a file.
  """
  for part, known in content.items():
    told = isinstance(known, dict) and all(
      type(known.get(name)) is str for name in ('about', 'computes', 'jax')
    )
    if not told or not isinstance(known.get('variables', {}), dict | None):
      raise ValueError(f'it does not tell what {part!r} is')
  return dict(content)


def _difference(there: Mapping[str, Any], now: Mapping[str, Any]) -> str:
  """In what two differ; nothing, if they are the same."""
  same_version = there['jax'] == now['jax']
  variables = there.get('variables') == now.get('variables')
  # Another JAX may trace the same function otherwise.
  told = 'computes' if same_version else 'about'
  if variables and there[told] == now[told]:
    return ''
  if there['about'] != now['about']:
    return f'{there["about"]} there, {now["about"]} now'
  if variables:
    return f'{now["about"]} computes something else now'
  ours, theirs = now.get('variables') or {}, there.get('variables') or {}
  names = dict.fromkeys([*theirs, *ours, 'variables'])
  name = next(n for n in names if theirs.get(n, '') != ours.get(n))
  return (
    f'{now["about"]} had {name} {theirs.get(name, "not")} there, and has it '
    f'{ours.get(name, "not")} now'
  )
