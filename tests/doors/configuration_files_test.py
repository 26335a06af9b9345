# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Mistakes in configuration files, and in the names of recipes."""

import json
import re

import pytest

from imbsam_jax import experiment
from imbsam_jax._runs import fields
from tests import programs


def _refused(*arguments):
  """What a program says of a mistake."""
  done = programs.call('train', *arguments)
  assert done.returncode == 2, (done.stdout, done.stderr)
  assert done.stdout == '' and done.stderr.startswith('error: ')
  assert 'Traceback' not in done.stderr
  return done.stderr.removeprefix('error: ').strip()


@pytest.mark.parametrize(
  ('source', 'expected'),
  [
    ("""
     def get_config(words):
       return 1 +
     """, r'2: SyntaxError: invalid syntax'),
    ("""
     x = 1
     import nothing_of_that_name
     """, r"2: ModuleNotFoundError: No module named 'nothing_of_that_name'"),
    ("""
     from imbsam_jax import experimant
     """, r"1: ImportError: cannot import name 'experimant'"),
    ("""
     x = open('nothing.txt')
     """, r"1: FileNotFoundError: .*'nothing.txt'"),
    # The line of the file, not of what it calls outside.
    ("""
     import json
     def read(text):
       return json.loads(text)
     def get_config(words='sgd'):
       return read('{')
     """, r'3: JSONDecodeError: Expecting'),
    ("""
     def get_config(words='sgd'):
       assert False
     """, r'2: AssertionError$'),
    ("""
     from imbsam_jax import experiment
     def get_config(words='sgd'):
       return experiment.config('digits_lt', 'sgd', {'epoch': 3})
     """, r"3: there is no field 'epoch' .* Did you mean 'epochs'"),
    ("""
     def get_confg(words='sgd'):
       return None
     """, r' has no function get_config\(words\)'),
    ("""
     get_config = 3
     """, r' has no function get_config\(words\)'),
    ("""
     x = 1
     def get_config(words='sgd'):
       return {'epochs': 3}
     """, r'2: get_config gives dict; here it must give imbsam_jax.exp'),
    ("""
     def get_config(words='sgd'):
       pass
     """, r'1: get_config gives None; here it must give'),
    ("""
     def get_config():
       pass
     """, r"1: get_config is called with the words 'sam': too many pos"),
  ],
)  # fmt: skip
def test_mistakes_in_a_file(source, expected, tmp_path):
  path = tmp_path / 'my.py'
  lines = [line[5:] for line in source.strip('\n').splitlines()]
  path.write_text('\n'.join(lines))
  message = rf'{re.escape(str(path))}:?{expected}'
  assert re.match(message, _refused(f'--config={path}:sam'))
  with pytest.raises(experiment.ConfigError, match=message):
    experiment.config(path, 'sam')
  assert re.match(
    message.replace('get_config is called .*', ''),
    _refused(f'--config={path}:sam', '--config.epochs=3'),
  )


@pytest.mark.parametrize('content', [b'x = 1\0', b'x = "\xff"'])
def test_what_is_no_text(content, tmp_path):
  path = tmp_path / 'my.py'
  path.write_bytes(content)
  assert _refused(f'--config={path}:sam').startswith(str(path))


def test_words_that_a_file_needs(tmp_path):
  path = tmp_path / 'my.py'
  path.write_text('def get_config(words):\n  return words\n')
  assert f'{path}:1: get_config is called with no words: miss' in _refused(
    f'--config={path}'
  )


def test_debug_shows_where(tmp_path):
  path = tmp_path / 'my.py'
  path.write_text('def get_config(words):\n  return 1 / 0\n')
  with pytest.raises(experiment.ConfigError) as caught:
    programs.call('train', f'--config={path}:sam', '--debug')
  assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_words_of_a_recipe_are_told_without_a_line():
  for source in ('digits_lt', 'experiments/configs/digits_lt.py'):
    assert not _refused(f'--config={source}:imbsan').startswith(source)


def test_files_that_are_not_there(tmp_path):
  path = tmp_path / 'my.py'
  text = _refused(f'--config={path}:sam')
  assert f'{path} cannot be read: there is none' in text
  path.mkdir()
  text = _refused(f'--config={path}:sam')
  assert f'{path} cannot be read: it is a folder' in text


# ------------------------------------------------------------- from_json


@pytest.mark.parametrize('words', ['', ':'])
def test_from_json_of_nothing(words):
  assert 'such as from_json:runs/' in _refused(f'--config=from_json{words}')


@pytest.mark.parametrize(
  ('content', 'expected'),
  [
    (None, 'there is no such file'),
    ('[', 'is not a readable config.json: Expecting value'),
    ('[1]', 'is not a readable config.json: it holds no object'),
    ('{}', 'is not the config.json of such a run: it holds no fields'),
    ('{"top1": 0.5}', "of such a run: there is no field 'top1'"),
    ('{"data": 3}', "of such a run: there is no field 'data'"),
    ('{"epochs": "many"}', "epochs must be float, got 'many'"),
    ('{"data": {"name": {"a": 1}}}', "name must be str, got {'a': 1}"),
  ],
)
def test_from_json_of_something_else(content, expected, tmp_path):
  path = tmp_path / 'config.json'
  if content is not None:
    path.write_text(content)
  text = _refused(f'--config=from_json:{path}')
  assert str(path) in text and expected in text
  with pytest.raises(experiment.ConfigError, match=re.escape(str(path))):
    experiment.config('from_json', str(path))


def test_from_json_of_a_folder(tmp_path):
  assert 'it is a folder' in _refused(f'--config=from_json:{tmp_path}')


def test_from_json_of_a_run(tmp_path):
  config = experiment.config('digits_lt', 'imbsam', {'data.splits': ('a',) * 3})
  path = tmp_path / 'config.json'
  path.write_text(json.dumps(fields.to_json(config)))
  assert experiment.config('from_json', str(path)) == config


# ------------------------------------------------------------------ help


@pytest.mark.parametrize(
  ('program', 'recipe', 'expected'),
  [
    ('train', 'digits', "no recipe 'digits'. Did you mean 'digits_lt'?"),
    ('train', 'nonsense', 'Recipes are cifar100_lt,'),
    ('train', 'nothing.py', 'nothing.py cannot be read'),
    ('anomaly', 'digits_lt', 'Recipes are anomaly, or'),
    ('compare_anomaly', 'anomly', "Did you mean 'anomaly'?"),
  ],
)
def test_help_of_what_is_not_there(program, recipe, expected):
  done = programs.call(program, f'--config={recipe}:help')
  assert done.returncode == 2 and done.stdout == ''
  assert expected in done.stderr


@pytest.mark.parametrize(
  ('program', 'recipe'),
  [
    ('train', 'digits_lt'),
    ('train', 'experiments/configs/digits_lt.py'),
    ('anomaly', 'anomaly'),
  ],
)
def test_help_of_a_recipe(program, recipe):
  done = programs.call(program, f'--config={recipe}:help')
  assert done.returncode == 0 and 'imbsam ' in done.stdout
