# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The generated parts of pages are what their sources say."""

import json
import pathlib
import re

import numpy as np
import pytest

from results import momentum_study
from results import render
from results import share_of_gain

_ROOT = pathlib.Path(__file__).parents[1]


def _metric(mean):
  return {'mean': mean, 'std': 0.01, 'runs': 2}


def _method(tail):
  names = ('top1', 'balanced', 'many', 'medium', 'few', 'head', 'tail')
  return {name: _metric(tail) for name in names} | {
    'cost_sgd_steps': _metric(1.5),
    'seconds': _metric(2.0),
  }


@pytest.fixture(name='data')
def _data(tmp_path):
  content = {
    'methods': {'sgd': _method(0.5), 'sam': _method(0.625)}
    | {'sgd+focal': _method(0.25), 'sam+focal': _method(0.75)}
  }
  (tmp_path / 'few.json').write_text(json.dumps(content))
  return tmp_path


def test_pages_are_up_to_date():
  pages = render.pages(_ROOT)
  assert {*(_ROOT / 'results').glob('*.md')} < pages.keys()
  for path, text in pages.items():
    assert path.read_text() == text, f'{path} is not up to date: make results'


def test_every_json_is_shown():
  shown = re.findall(
    r'<!-- (?:table|radii|anomalies): (\S+)',
    ''.join(path.read_text() for path in (_ROOT / 'results').glob('*.md')),
  )
  files = [path.name for path in (_ROOT / 'results' / 'data').glob('*')]
  assert sorted(set(shown)) == sorted(files)


def test_table_replaces_what_stands_there(data):
  page = 'a\n<!-- table: few.json -->\nold\n\n| x |\n<!-- end -->\nb\n'
  text = render.render(page, data, '')
  assert text.startswith('a\n<!-- table: few.json -->\n\n| accuracy, %')
  assert re.search(r'^\| sam +\| +62\.5 \+- 1\.0 \|', text, re.MULTILINE)
  assert text.endswith(' |\n\n<!-- end -->\nb\n')
  assert 'old' not in text
  assert render.render(text, data, '') == text


def test_links_are_columns(data):
  page = '<!-- table: few.json links=sgd,sam -->\n<!-- end -->'
  rows = render.render(page, data, '').splitlines()
  assert [row.split('|')[1].strip() for row in rows[4:6]] == ['ce', 'focal']
  assert 'tail, sam' in rows[2]
  assert '75.0 +- 1.0' in rows[5]


def test_radii_are_columns(tmp_path):
  methods = {
    f'{word}@{rho}': _method(value)
    for word, rho, value in (
      ('sam', '0.1', 0.5),
      ('sam', '0.2', 0.625),
      ('sam(average_decay=0)', '0.1', 0.25),
      ('sam(average_decay=0)', '0.2', 0.75),
    )
  }
  (tmp_path / 'radii.json').write_text(json.dumps({'methods': methods}))
  text = render.render('<!-- radii: radii.json -->\n<!-- end -->', tmp_path, '')
  assert text.splitlines()[2:6] == [
    '| balanced accuracy, %, at radius | 0.1 | 0.2 |',
    '| :--- | ---: | ---: |',
    '| `sam` | 50.0 | 62.5 |',
    '| `sam(average_decay=0)` | 25.0 | 75.0 |',
  ]


def test_anomalies_by_share_of_labels(tmp_path):
  content = {
    'tables': {
      f'{k}_{name}': {
        ratio: {'methods': {'sgd': {'auprc': _metric(mean)}}}
        for ratio, mean in (('0.01', 0.25 * k), ('0.1', 0.5 * k))
      }
      for k, name in ((1, 'first'), (2, 'second'))
    }
  }
  (tmp_path / 'it.json').write_text(json.dumps(content))
  text = render.render(
    '<!-- anomalies: it.json -->\n<!-- end -->', tmp_path, ''
  )
  assert text.splitlines()[2:6] == [
    '| AUPRC, % | first | second | mean |',
    '| :--- | ---: | ---: | ---: |',
    '| sgd, 0.01 labeled | 25.0 +- 1.0 | 50.0 +- 1.0 | 37.5 |',
    '| sgd, 0.1 labeled | 50.0 +- 1.0 | 100.0 +- 1.0 | 75.0 |',
  ]


def test_finding_is_a_sentence(data):
  page = '<!-- finding: few.json -->\n<!-- end -->'
  assert 'sam+focal is best with 75.0 +- 1.0 %, +25.0 points' in render.render(
    page, data, ''
  )


@pytest.mark.parametrize(
  'page',
  [
    '<!-- tabel: few.json -->\n<!-- end -->',
    '<!-- table: few.json -->\nno end',
    '<!-- table: few.json -->\n<!-- table: few.json -->\n<!-- end -->',
    '<!-- table few.json -->\n<!-- end -->',
    'no start\n<!-- end -->',
    '<!-- address: telephone -->\n<!-- end -->',
  ],
)
def test_what_is_no_block_is_refused(page, data):
  with pytest.raises(ValueError, match='block|shown as'):
    render.render(page, data, 'ADDRESS')


def _copy_with_address(folder, address):
  project = (_ROOT / 'pyproject.toml').read_text()
  (folder / 'results').mkdir()
  (folder / 'results' / 'data').symlink_to(_ROOT / 'results' / 'data')
  (folder / 'pyproject.toml').write_text(
    re.sub(r'^address = ".*"$', f'address = "{address}"', project, flags=re.M)
  )
  (folder / 'README.md').write_text((_ROOT / 'README.md').read_text())
  (text,) = render.pages(folder).values()
  return text


def test_address_brings_badge_and_install_line(tmp_path):
  text = _copy_with_address(tmp_path, 'ADDRESS/')
  assert '(ADDRESS/actions/workflows/tests.yml/badge.svg)' in text
  assert "pip install 'imbsam_jax[train] @ git+ADDRESS'" in text


def test_without_address_there_is_neither(tmp_path):
  text = _copy_with_address(tmp_path, '')
  assert 'badge.svg' not in text
  assert 'git+' not in text
  assert '<!-- address: badge -->\n<!-- end -->' in text


def test_share_of_a_gain():
  rng = np.random.RandomState(1)
  plain = 0.8 + 0.02 * rng.randn(10)
  whole = plain + 0.05 + 0.01 * rng.randn(10)
  # A third of each gain: whatever is drawn, the share is that.
  value, interval = share_of_gain.share(
    plain, whole, plain + (whole - plain) / 3
  )
  np.testing.assert_allclose([value, *interval], [1 / 3] * 3)
  noisy = plain + (whole - plain) / 3 + 0.01 * rng.randn(10)
  value, (low, high) = share_of_gain.share(plain, whole, noisy)
  gains = (noisy - plain).mean() / (whole - plain).mean()
  np.testing.assert_allclose(value, gains)
  # About 4 standard errors wide: that of the noise, in gains.
  assert low < value < high
  np.testing.assert_allclose(high - low, 4 * 0.01 / 10**0.5 / 0.05, rtol=0.5)


@pytest.mark.parametrize('of_tables', [False, True])
def test_shares_of_a_folder(of_tables, tmp_path, capsys, monkeypatch):
  # Two seeds: gains of 4 and 6 points, of which 1 and 3 are kept.
  for word, values in (
    ('sgd', (0.5, 0.5)), ('imbsam', (0.54, 0.56)), ('form', (0.51, 0.53))
  ):  # fmt: skip
    if of_tables:
      for name, shift in (('one', 0.1), ('two', -0.1)):
        folder = tmp_path / name / '0.1' / word
        folder.mkdir(parents=True)
        runs = [{'auprc': value + shift} for value in values]
        (folder / 'summary.json').write_text(json.dumps({'runs': runs}))
      continue
    for seed, value in enumerate(values):
      folder = tmp_path / f'{word}+vs' / f'seed_{seed}'
      folder.mkdir(parents=True)
      (folder / 'summary.json').write_text(json.dumps({'tail': value}))
  monkeypatch.setattr(
    'sys.argv', ['share_of_gain', str(tmp_path), 'imbsam', 'form']
  )
  share_of_gain.main()
  method = '0.1 labeled' if of_tables else 'vs'
  assert capsys.readouterr().out == (
    f'{method}: imbsam +5.0 (+4.0 to +6.0), form +2.0 (+1.0 to +3.0), a share '
    'of 0.40 (0.25 to 0.50, 2 seeds)\n'
  )
  # The other way round there is nothing to keep a share of.
  monkeypatch.setattr(
    'sys.argv', ['share_of_gain', str(tmp_path), 'sgd', 'form']
  )
  share_of_gain.main()
  assert ', no gain to have a share of (2 seeds)' in capsys.readouterr().out


def test_momentum_study_chooses_on_validation_images_and_tests_the_chosen():
  study = momentum_study.Study('digits_lt', 'sam', 'sam', {'epochs': 2.0})
  rhos, decays = [0.1, 0.25], [0, 0.9]
  found = study.candidates(
    'ldam', rhos, decays, {'data.validation_per_class': 7}
  )
  assert list(found) == [
    'sam+ldam@0.1', 'sam+ldam@0.25',
    'sam(average_decay=0)+ldam@0.1', 'sam(average_decay=0)+ldam@0.25',
    'sam(average_decay=0.9)+ldam@0.1', 'sam(average_decay=0.9)+ldam@0.25',
  ]  # fmt: skip
  for name, config in found.items():
    assert config.final_split == 'validation' and config.epochs == 2.0
    assert config.data.validation_per_class == 7
    assert config.objective.loss == 'ldam'
    assert config.optimizer.rho == float(name.partition('@')[2])
    assert config.optimizer.method == name.partition('+')[0]
  numbers = (0.5, 0.6, 0.4, 0.7, 0.65, 0.3)
  chosen = study.best(
    'ldam',
    {
      name: {'balanced': _metric(n)}
      for name, n in zip(found, numbers, strict=True)
    },
    rhos,
    decays,
  )
  assert chosen == {
    'sam': ('sam', 0.25),
    'momentum_sam': ('sam(average_decay=0)', 0.25),
  }
  tested = study.tested('ldam', chosen)
  assert list(tested) == ['sgd+ldam', 'sam+ldam', 'momentum_sam+ldam']
  assert all(one.final_split == 'test' for one in tested.values())
  assert tested['momentum_sam+ldam'].optimizer.method == 'sam(average_decay=0)'
  assert tested['sam+ldam'].optimizer.rho == 0.25
  alone = study.tested('ce', chosen)
  assert list(alone) == ['sgd', 'sam', 'momentum_sam']
