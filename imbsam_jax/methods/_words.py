# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Method words, such as ``imbsam,ldam_drw``: what they mean and set."""

from collections.abc import Mapping
import difflib
import re
from typing import Any
from typing import NamedTuple

from imbsam_jax import _errors
from imbsam_jax._runs import console


class Word(NamedTuple):
  """One word.

  Attributes:
    about: What it is, with its source.
    sets: The fields, by dotted name, that it is for.
    suggests: Fields that it sets where no other word does.
    means: The words that it stands for, instead of fields of its own.
  """

  about: str
  sets: Mapping[str, Any] = {}
  suggests: Mapping[str, Any] = {}
  means: tuple[str, ...] = ()


def _link(method: str, about: str) -> Word:
  return Word(about, {'optimizer.method': method})


def _loss(loss: str, about: str) -> Word:
  return Word(about, {'objective.loss': loss})


def _weights(weights: str, about: str) -> Word:
  return Word(about, {'objective.weights': weights})


def _sampler(sampler: str, about: str) -> Word:
  return Word(about, {'data.sampler': sampler})


def _mixing(mixing: str, about: str) -> Word:
  return Word(about, {'objective.mixing': mixing})


# By axis; one word of each axis can be combined with one of every other.
AXES: dict[str, dict[str, Word]] = {
  'update rule': {
    'sgd': _link('sgd', 'SGD alone'),
    'sam': _link('sam', 'SAM, all classes perturbed together (ICLR 2021)'),
    'imbsam': _link('imbsam', 'ImbSAM, tail classes perturbed (ICCV 2023)'),
    'sse_sam': _link(
      'sse_sam', 'SSE-SAM, head and tail apart, then the tail (AAAI 2025)'
    ),
    'focal_sam': _link(
      'focal_sam', 'Focal-SAM, classes perturbed by rarity (ICML 2025)'
    ),
    'rsam': _link('rsam', 'RSAM/GNM, random neighbourhood (NeurIPS 2024)'),
  },
  'loss': {
    'ce': _loss('cross_entropy', 'cross entropy'),
    'focal': _loss('focal', 'focal loss (ICCV 2017)'),
    'sigmoid_focal': _loss('sigmoid_focal', 'focal loss of C sigmoids'),
    'balanced_softmax': _loss(
      'balanced_softmax', 'balanced softmax, logits + log n (NeurIPS 2020)'
    ),
    'logit_adjustment': _loss(
      'logit_adjustment', 'logit adjustment in training (ICLR 2021)'
    ),
    'cdt': _loss('cdt', 'class-dependent temperatures (arXiv 2001.01385)'),
    'vs': _loss('vs', 'vector scaling (NeurIPS 2021)'),
    'arb': _loss('arb', 'attraction-repulsion, counts of the batch (2023)'),
    'distribution_balanced': _loss(
      'distribution_balanced', 'multi-label loss, here of one label (ECCV 2020)'
    ),
    'ldam': _loss('ldam', 'margins by label distribution (NeurIPS 2019)'),
    'mm': _loss('mm', 'maximum margin, by example (ICIP 2021)'),
    'mm_ldam': _loss('mm_ldam', 'maximum margin less that of LDAM (ICIP 2021)'),
    'gcl': _loss('gcl', 'Gaussian clouded logits (CVPR 2022)'),
    'cri': _loss('cri', 'focal LDAM of PPL+CRI (arXiv 2205.12117)'),
    'normface': _loss(
      'cosface(margin=0.0, scale=30.0)', 'cross entropy on cosines'
    ),
    'cosface': _loss(
      'cosface(margin=0.1, scale=30.0)', 'one margin for all (CVPR 2018)'
    ),
    'lm_softmax': _loss(
      'lm_softmax(scale=30.0)', 'largest margins, no target below (ICLR 2022)'
    ),
    'gm_softmax': _loss(
      'gm_softmax(beta1=-0.1, scale=30.0)', 'generalised margin (ICLR 2022)'
    ),
    'sample_margin': _loss(
      'sample_margin', 'the sample margin itself (ICLR 2022)'
    ),
  },
  'weights': {
    'cb': _weights('class_balanced', '1 / effective number (CVPR 2019)'),
    'inverse_frequency': _weights('power(power=1.0)', '1 / n'),
    'grw': _weights('power(power=1.2)', 'n^-1.2, generalised (ACML 2022)'),
    'drw': _weights('drw', 'class-balanced, late (LDAM-DRW, NeurIPS 2019)'),
    'ppw': _weights('ppw', 'from none to 1 / n (PPL, arXiv 2205.12117)'),
    'absgd': _weights('absgd', 'by loss of the example, late (TMLR 2023)'),
  },
  'sampler': {
    'instance_sampling': _sampler('instance', 'by frequency, with replacement'),
    'square_root_sampling': _sampler('square_root', 'root of the frequency'),
    'class_balanced_sampling': _sampler('class_balanced', 'all classes alike'),
    'effective_number_sampling': _sampler(
      'effective_number', 'examples by 1 / effective number'
    ),
    'progressive_sampling': _sampler(
      'progressive', 'from natural to class-balanced (ICLR 2020)'
    ),
    'reversed_sampling': _sampler('reversed', 'rare classes most (CVPR 2020)'),
    'class_aware_sampling': Word(
      'class by class in cycles (ICLR 2020)',
      {'data.sampler': 'class_aware', 'data.stratify': False},
    ),
    'drs': _sampler('drs', 'class-balanced, late (LDAM-DRS, NeurIPS 2019)'),
    'pps': _sampler('pps', 'natural, then ever more balanced (PPL)'),
  },
  'mixing': {
    'mixup': _mixing('mixup', 'pairs of the batch (ICLR 2018)'),
    'remix': _mixing('remix', 'mixup, labels to the rarer (ECCV-W 2020)'),
    'ppmix': _mixing('ppmix', 'from mixup to remix (PPL)'),
    'cmo': _mixing('cmo', 'boxes of rare on frequent images (CVPR 2022)'),
    'dbn_mix': _mixing(
      'dbn_mix', 'natural with reversed rows, experimental (2024)'
    ),
  },
  'head': {
    'etf': Word(
      'class vectors fixed, a simplex ETF',
      {'model.head': 'etf'},
      {'objective.loss': 'cosface(margin=0.0, scale=30.0)'},
    ),
    'pal': Word(
      'class vectors fixed, optimal prototypes; experimental (ICML 2022)',
      {'model.head': 'prototypes'},
      {'objective.loss': 'cosface(margin=0.0, scale=30.0)'},
    ),
  },
  'penalty': {
    'zero_centroid': Word(
      'class vectors sum to zero (ICLR 2022)',
      {'objective.penalty': 'zero_centroid'},
      {'objective.loss': 'cosface(margin=0.0, scale=30.0)'},
    ),
    'margin_penalty': Word(
      'adds the sample margin to the loss (ICLR 2022)',
      {'objective.penalty': 'sample_margin'},
      {'objective.loss': 'cosface(margin=0.0, scale=30.0)'},
    ),
  },
  'combination': {
    'cb_focal': Word('class-balanced focal', means=('cb', 'focal')),
    'cb_sigmoid_focal': Word(
      'class-balanced focal of C sigmoids', means=('cb', 'sigmoid_focal')
    ),
    'ldam_drw': Word('LDAM-DRW (NeurIPS 2019)', means=('ldam', 'drw')),
    'ldam_drs': Word('LDAM-DRS (NeurIPS 2019)', means=('ldam', 'drs')),
    'mm_drw': Word('MM-DRW (ICIP 2021)', means=('mm', 'drw')),
    'mm_ldam_drw': Word('MM-LDAM-DRW (ICIP 2021)', means=('mm_ldam', 'drw')),
    'gcl_drw': Word('GCL with DRW, as in GNM-PT', means=('gcl', 'drw')),
    'remix_drw': Word('Remix-DRW (ECCV-W 2020)', means=('remix', 'drw')),
    'cmo_drw': Word('CMO, CE-DRW (CVPR 2022)', means=('cmo', 'drw')),
    'ppl_cri': Word(
      'PPL and CRI (arXiv 2205.12117)',
      means=('cri', 'ppw', 'pps', 'ppmix'),
    ),
  },
}
WORDS: dict[str, Word] = {
  word: meaning for words in AXES.values() for word, meaning in words.items()
}


def split(words: str) -> tuple[str, ...]:
  """The single words of ``'imbsam,ldam_drw'`` or ``'imbsam+ldam_drw'``.

  Raises:
    ConfigError: An unknown word; the nearest one is named.
  """
  found: list[str] = []
  for word in re.split('[,+]', words):
    if word not in WORDS:
      near = difflib.get_close_matches(word, WORDS, n=1)
      hint = f' Did you mean {near[0]!r}?' if near else ''
      raise _errors.ConfigError(
        f'unknown method word {word!r}.{hint} Words, explained by '
        f'`experiment.words()`:\n{_all_words()}'
      )
    found += WORDS[word].means or (word,)
  return tuple(dict.fromkeys(found))


def field_values(
  words: str, presets: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
  """The fields of a configuration that method words set, by dotted name.

  Args:
    words: Method words, joined by commas or plus signs.
    presets: By word or words, the fields that were chosen for it on a data
      set. Of several that fit, the one of more words counts.

  Raises:
    ConfigError: An unknown word, or two that set the same field.
  """
  chosen = split(words)
  changes: dict[str, Any] = {}
  setter: dict[str, str] = {}
  for word in chosen:
    for field, value in WORDS[word].sets.items():
      if changes.get(field, value) != value:
        raise _errors.ConfigError(
          f'{setter[field]!r} and {word!r} cannot be combined: both choose '
          f'{field} ({changes[field]} and {value}). Leave one of them out.'
        )
      changes[field], setter[field] = value, word
  for word in chosen:
    changes = dict(WORDS[word].suggests) | changes
  fitting = [key for key in presets if {*split(key)} <= {*chosen}]
  for key in sorted(fitting, key=lambda key: len(split(key))):
    changes |= presets[key]
  return changes


def combinations(words: str, links: str) -> list[str]:
  """Words of a comparison: each of `words` under each update rule.

  >>> combinations('ce,ldam_drw', 'sgd,sam')
  ['sgd', 'sam', 'sgd+ldam_drw', 'sam+ldam_drw']

  Args:
    words: Joined by commas, words of one method by plus signs; 'all' is every
      word but the update rules.
    links: Update rules, joined by commas; empty takes `words` as they are.

  Raises:
    ConfigError: An unknown word.
  """
  known = [
    word for axis in AXES if axis != 'update rule' for word in AXES[axis]
  ]
  for link in links.split(',') if links else ():
    if link not in AXES['update rule']:
      raise _errors.ConfigError(
        f'{link!r} is no update rule; there are '
        f'{", ".join(AXES["update rule"])}.'
      )
  listed = known if words == 'all' else words.split(',')
  found = []
  for word in listed:
    split(word)
    for link in links.split(',') if links else ('',):
      parts = [part for part in (link, word) if part and part != 'ce']
      found.append('+'.join(parts) or 'sgd')
  return found


def describe(config: Any) -> str:
  """What an `experiment.Config` combines, in words: ``'imbsam ldam drw'``."""
  chosen = [
    config.optimizer.method,
    config.objective.loss,
    config.objective.weights,
    config.data.sampler,
    config.objective.mixing,
    config.objective.penalty,
    'auto' if config.model.name == 'own' else config.model.head,
  ]
  plain = ('cross_entropy', 'none', 'shuffle', 'auto')
  return ' '.join(text for text in chosen if text not in plain)


def _all_words() -> str:
  return '\n'.join(f'  {axis}: {", ".join(AXES[axis])}' for axis in AXES)


def help_text() -> str:
  """All words with what they mean, by axis."""
  parts = []
  for axis, words in AXES.items():
    lines = {
      '  ' + word: meaning.about
      + (f' = {"+".join(meaning.means)}' if meaning.means else '')
      for word, meaning in words.items()
    }
    parts.append(f'{axis}\n{console.fields(lines)}')
  return (
    '\n\n'.join(parts)
    + '\n\nWords of different axes combine: imbsam,ldam_drw. The head follows '
    'the loss. After\ntraining, calibrate corrects the classifier (cRT, LWS, '
    'MARC, tau-normalisation,\nNCM, logit adjustment).'
  )
