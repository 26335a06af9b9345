# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Lists of image files and their labels: lines of text, or CSV."""

from collections.abc import Iterator
from collections.abc import Sequence
import csv
import io
import os
import pathlib
import stat
from typing import Any
from typing import NamedTuple
import unicodedata

from imbsam_jax import _paths
from imbsam_jax.data import _errors
from imbsam_jax.data import _file_listing

MAX_BYTES = 2**30

_SEPARATORS = ',;\t'
_PATH_COLUMNS = (
  *('path', 'file', 'filename', 'file_name', 'filepath', 'file_path'),
  *('image', 'image_path', 'imagepath', 'img', 'img_path', 'image_name'),
)
# Where a table has several of these, the first one counts.
_LABEL_COLUMNS = (
  *('label', 'labels', 'class', 'target', 'category', 'class_name'),
  *('label_name', 'class_id', 'label_id', 'class_index', 'y'),
)


class Row(NamedTuple):
  """A line of a list.

  Attributes:
    where: File and line, for messages.
    line: Number of the line.
    path: Path below the folder.
    label: Text of the label.
    text: The line, for messages.
  """

  where: str
  line: int
  path: str
  label: str
  text: str


class Labels(NamedTuple):
  """Labels of the lines of a list.

  Attributes:
    numbers: Class of each line.
    names: Names of the classes where the list has these, else None.
  """

  numbers: list[int]
  names: list[str] | None


def read(list_file: str | os.PathLike[str], folder: str) -> list[Row]:
  """The lines of a list, each with a path that has a file.

  Args:
    list_file: The list: CSV if its name ends with .csv or .tsv, else lines of
      a path, a blank and a label.
    folder: Folder that the paths are relative to.

  Raises:
    DataError: If the list cannot be read or is empty, a line is malformed, or a
      path leaves the folder, occurs twice or has no file.
  """
  text = _text(list_file)
  shown = _paths.printable(list_file)
  suffix = pathlib.PurePath(list_file).suffix.lower()
  kind = _csv_rows if suffix in ('.csv', '.tsv') else _plain_rows
  rows = [
    row._replace(path=_below(folder, row))
    for row in kind(text, shown)
    if not _is_comment(row, folder)
  ]
  if not rows:
    raise _errors.DataError(
      f'{shown} is empty; lines such as a/b.jpg 7 are expected.'
    )
  lines: dict[str, int] = {}
  for row in rows:
    if not row.label or _file_listing.promises_image(row.label):
      raise _errors.DataError(
        f'{row.where}: {_paths.printable(row.text[:80].rstrip())!r} must end '
        'with a blank and a label, an integer >= 0 or the name of a class, as '
        'does a/b.jpg 7.'
      )
    if lines.setdefault(row.path, row.line) != row.line:
      raise _errors.DataError(
        f'{row.where}: {_paths.printable(row.path)!r} is on line '
        f'{lines[row.path]} too. Remove one of them.'
      )
  _check_there(rows, folder)
  return rows


def labels_of(rows: Sequence[Row], class_names: Sequence[str] | None) -> Labels:
  """The labels of lines, all numbers or all names.

  Args:
    rows: The lines.
    class_names: Names of the classes, or None if the list tells.

  Raises:
    DataError: If some are numbers and some are names, one looks like a number
      and is no class index, or a name is not that of a class.
  """
  numbers = [natural_number(row.label) for row in rows]
  whole = [number for number in numbers if number is not None]
  if len(whole) == len(rows):
    return Labels(whole, None)
  first = next(
    (
      row
      for row, number in zip(rows, numbers, strict=True)
      if number is None and (whole or _is_like_a_number(row.label))
    ),
    None,
  )
  if first is not None:
    raise _errors.DataError(
      f'{first.where}: {_paths.printable(first.text[:80].rstrip())!r} must end '
      'with a blank and a label, an integer >= 0, as does a/b.jpg 7, or in all '
      'lines the name of a class.'
    )
  names = [_normal(_paths.printable(row.label)) for row in rows]
  if class_names is None:
    class_names = sorted(set(names))
  places = {_normal(name): c for c, name in enumerate(class_names)}
  for row, name in zip(rows, names, strict=True):
    if name not in places:
      listed = ', '.join(list(class_names)[:5])
      raise _errors.DataError(
        f'{row.where}: {name!r} is none of the {len(class_names)} classes of '
        f'the training images ({listed}, ...). Write their names or numbers.'
      )
  return Labels([places[name] for name in names], list(class_names))


def natural_number(text: str) -> int | None:
  """None if it is not one, or has more digits than any index."""
  plain = text.isascii() and text.isdecimal() and len(text) < 19
  return int(text) if plain else None


def check_size(list_file: Any, limit: int) -> None:
  """Refuses what is no text file of so many bytes at most."""
  status = os.stat(list_file)
  # What is no regular file, such as a pipe, may never end.
  if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
    raise _errors.DataError(
      f'{_paths.printable(list_file)} must be a text file of {limit} bytes at '
      f'most, got {stat.filemode(status.st_mode)} of {status.st_size} bytes.'
    )


def _text(list_file: str | os.PathLike[str]) -> str:
  """The content of a list; bytes that are no UTF-8 may be those of names."""
  try:
    check_size(list_file, MAX_BYTES)
    with open(list_file, 'rb') as file:
      content = file.read()
  except OSError as error:
    raise _errors.DataError(
      f'{_paths.printable(list_file)} cannot be read: {error.strerror}.'
    ) from error
  # Windows calls UTF-16 "Unicode", and marks it at the start.
  if content[:2] in (b'\xff\xfe', b'\xfe\xff'):
    return content.decode('utf-16', 'replace')
  return content.removeprefix(b'\xef\xbb\xbf').decode(
    'utf-8', 'surrogateescape'
  )


def _plain_rows(text: str, shown: str) -> Iterator[Row]:
  is_first = True
  for number, line in enumerate(text.split('\n'), 1):
    parts = line.rsplit(maxsplit=1)
    if not parts:
      continue
    if is_first and len(parts) == 2 and _is_header(parts):
      is_first = False
      continue
    is_first = False
    path, label = parts if len(parts) == 2 else (parts[0], '')
    yield Row(f'{shown}:{number}', number, path, label, line)


def _csv_rows(text: str, shown: str) -> Iterator[Row]:
  first = next((line for line in text.splitlines() if line.strip()), '')
  separator = max(_SEPARATORS, key=first.count)
  reader = csv.reader(
    io.StringIO(text, newline=''), delimiter=separator, strict=True
  )
  columns: tuple[int, int] | None = None
  try:
    for cells in reader:
      if not any(cell.strip() for cell in cells):
        continue
      where = f'{shown}:{reader.line_num}'
      cells = [cell.strip() for cell in cells]
      if columns is None:
        columns = _columns(cells, where)
        if _is_header(cells):
          continue
      if len(cells) <= max(columns):
        if cells[0].startswith('#'):
          continue
        raise _errors.DataError(
          f'{where}: there are {len(cells)} cells, and path and label are '
          f'expected in columns {columns[0] + 1} and {columns[1] + 1}.'
        )
      path, label = (cells[column] for column in columns)
      yield Row(where, reader.line_num, path, label, separator.join(cells))
  except csv.Error as error:
    raise _errors.DataError(f'{shown}:{reader.line_num}: {error}.') from error


def _columns(cells: Sequence[str], where: str) -> tuple[int, int]:
  """Which columns are the path and the label."""
  lower = [cell.lower() for cell in cells]
  if _is_header(cells):
    path, label = (
      next(lower.index(name) for name in names if name in lower)
      for names in (_PATH_COLUMNS, _LABEL_COLUMNS)
    )
    return path, label
  if len(cells) == 2:
    return 0, 1
  raise _errors.DataError(
    f'{where}: which of {len(cells)} columns are path and label is not told. '
    'Write a first line with the names of the columns, such as path,label.'
  )


def _is_header(cells: Sequence[str]) -> bool:
  lower = {cell.lower() for cell in cells}
  return not lower.isdisjoint(_PATH_COLUMNS) and not lower.isdisjoint(
    _LABEL_COLUMNS
  )


def _is_comment(row: Row, folder: str) -> bool:
  return row.text.lstrip().startswith('#') and not os.path.isfile(
    os.path.join(folder, row.path)
  )


def _below(folder: str, row: Row) -> str:
  """The path of a line, relative to the folder."""
  path = row.path
  if '\\' in path and not os.path.isfile(os.path.join(folder, path)):
    path = path.replace('\\', '/')  # Written under Windows.
  pure = pathlib.PurePath(path)
  if pure.anchor:
    for above in (os.path.abspath(folder), os.path.realpath(folder)):
      if pure.is_relative_to(above):
        pure = pure.relative_to(above)
        break
  if pure.anchor or pathlib.PureWindowsPath(path).drive or '..' in pure.parts:
    raise _errors.DataError(
      f'{row.where}: the path {_paths.printable(row.path)!r} must be in the '
      f'folder {_paths.printable(folder)}: relative to it, so without / at the '
      "begin, or beginning with it; and stay in it, so have no '..'."
    )
  return str(pure)


def _check_there(rows: Sequence[Row], folder: str) -> None:
  paths = [os.path.join(folder, row.path) for row in rows]
  there = _file_listing.map_files(os.path.isfile, paths)
  missing = [
    row for row, is_there in zip(rows, there, strict=True) if not is_there
  ]
  if missing:
    first = missing[0]
    path = os.path.join(folder, first.path)
    advice = (
      'The list is not UTF-8: save it as UTF-8.'
      if _paths.printable(first.path) != first.path
      else 'Pass the folder that the paths are relative to.'
    )
    raise _errors.DataError(
      f'{first.where}: there is no file {_paths.printable(path)} '
      f'({len(missing)} of {len(rows)} are missing). {advice}'
    )


def _is_like_a_number(label: str) -> bool:
  try:
    float(label)
  except ValueError:
    return label[:2].lower() == '0x'
  return True


def _normal(name: str) -> str:
  return unicodedata.normalize('NFC', name)
