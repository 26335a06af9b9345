# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is one's own in a run, such as its network: whether it is still that.

The folder of a run keeps it in ``own.json``, by part: 'about', how it shows
itself; 'computes', a checksum of what it computes, as JAX of the version
'jax' traces it; and of a network 'variables', their shapes and dtypes.
"""

from collections.abc import Mapping
import json
import pathlib
from typing import Any

from imbsam_jax import _errors
from imbsam_jax import training

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


def check(workdir: pathlib.Path, own: Own | None, advice: str) -> None:
  """Refuses another network or loss than that of a run.

  Args:
    workdir: Folder of the run; those of earlier versions do not tell.
    own: What is known of each part that is one's own now, by its name.
    advice: What to do instead.

  Raises:
    ConfigError: If the network or loss is not that of the run.
  """
  path = workdir / _FILE
  if not path.exists():
    return
  for part, there in json.loads(path.read_text()).items():
    now = (own or {}).get(part)
    difference = _difference(there, now) if now else ''
    if difference:
      raise _errors.ConfigError(
        f'{workdir} holds a run of another {part} ({difference}); {advice}. '
        f'If it is the same, remove {path}.'
      )


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
  ours, theirs = now['variables'], there['variables']
  name = next(
    name
    for name in dict.fromkeys([*theirs, *ours])
    if theirs.get(name) != ours.get(name)
  )
  return (
    f'{now["about"]} had {name} {theirs.get(name, "not")} there, and has it '
    f'{ours.get(name, "not")} now'
  )
