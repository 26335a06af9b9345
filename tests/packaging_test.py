# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The version stands in one place, and what is released is described."""

from importlib import metadata
import pathlib
import re
import tomllib

import imbsam_jax

_ROOT = pathlib.Path(__file__).parents[1]
_PROJECT = tomllib.loads((_ROOT / 'pyproject.toml').read_text())


def test_installed_version_is_that_of_the_source():
  assert metadata.version('imbsam_jax') == imbsam_jax.__version__, (
    'the installed metadata are older than the source: make install'
  )


def test_version_stands_in_the_source_alone():
  assert 'version' not in _PROJECT['project']
  assert _PROJECT['project']['dynamic'] == ['version']
  source = (_ROOT / 'imbsam_jax' / '__init__.py').read_text()
  # A literal: setuptools reads it as text, without importing JAX.
  assert re.findall(r"^__version__ = '(.*)'$", source, re.MULTILINE) == [
    imbsam_jax.__version__
  ]


def test_changelog_describes_the_version():
  sections = re.findall(
    r'^## (.*)$', (_ROOT / 'CHANGELOG.md').read_text(), re.MULTILINE
  )
  assert sections[0] == 'Unreleased'
  name, dash, date = sections[1].partition(' - ')
  assert (name, dash) == (imbsam_jax.__version__, ' - ')
  assert re.fullmatch(r'\d{4}-\d\d-\d\d', date)


def test_every_development_package_is_pinned():
  pinned = {
    re.sub(r'[-_.]+', '-', line.partition('==')[0].lower())
    for line in (_ROOT / 'constraints.txt').read_text().splitlines()
    if '==' in line
  }
  extras = dict(_PROJECT['project']['optional-dependencies'])
  del extras['onnx']  # With another JAX, in an environment of its own.
  wanted = [*_PROJECT['project']['dependencies'], *sum(extras.values(), [])]
  names = {
    re.sub(r'[-_.]+', '-', re.match(r'[\w.-]+', text)[0].lower())
    for text in wanted
    if not text.startswith('imbsam_jax[')
  }
  assert names <= pinned
