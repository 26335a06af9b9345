# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Method words: what they set, what they refuse, what combines."""

import contextlib
import dataclasses
import itertools
import re

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

import imbsam_jax
from imbsam_jax import _specs
from imbsam_jax import data
from imbsam_jax import experiment as experiment_lib
from imbsam_jax import losses
from imbsam_jax import methods
from imbsam_jax import schedules
from imbsam_jax.experiment import _choices
from imbsam_jax.experiment import _update_rule
from imbsam_jax.experiment.recipes import _published
from imbsam_jax.experiment.recipes import cifar10_lt
from imbsam_jax.experiment.recipes import cifar100_lt
from imbsam_jax.experiment.recipes import digits_lt
from tests import problems

_COUNTS = np.array([100, 40, 16, 5])


def _config(words='sgd', **changes):
  config = digits_lt.get_config(words)
  changes = {name.replace('__', '.'): value for name, value in changes.items()}
  return experiment_lib.replace(config, changes)


def _data():
  """Of the counts, black images."""
  labels = np.repeat(np.arange(4), _COUNTS).astype(np.int32)
  images = np.zeros((len(labels), 8, 8, 1), np.uint8)
  examples = data.Examples(images, labels)
  return data.LongTailedData(examples, examples, examples, _COUNTS, 'abcd')


def _differences(words):
  plain = experiment_lib.flatten(_config('sgd'))
  found = experiment_lib.flatten(_config(words))
  return {k: v for k, v in found.items() if v != plain[k]}


def _make_method(config, key):
  """Of 100 steps, with the switch at the tenth."""
  return _update_rule.make_method(
    config, methods.RuleSetup(_COUNTS, 10, key), 100
  )


class WordsTest(parameterized.TestCase):
  @parameterized.parameters(*methods.words())
  def test_every_word_is_known_to_the_builders(self, word):
    """Names, parameters and combinations of each word are accepted."""
    run = 'runs/base' if methods.fine_tunes(word) else None
    config = _config(word, init_from=run)
    if config.model.tuning != 'full':  # Whether there is a file is asked first.
      config = experiment_lib.replace(config, {'model.trunk': __file__})
    experiment_lib.check_config(config)
    time = schedules.Timeline(_COUNTS, config.epochs, 16)
    combined = methods.combine(
      _choices.choices_of(config), methods.Setup(time, (8, 8, 1), _data())
    )
    labels = np.repeat(np.arange(4), _COUNTS)
    is_tail = (_COUNTS < 20) if config.data.stratify else None
    self.assertLen(combined.order(labels, is_tail, 0)[3].indices, 16)
    _make_method(config.optimizer, jax.random.key(0))

  @parameterized.parameters(
    ('imbsam', {'optimizer.method': 'imbsam', 'optimizer.rho': 0.2}),
    (
      'ldam_drw',
      {
        'objective.loss': 'ldam',
        'objective.weights': 'drw',
        'optimizer.clip_norm': 1.0,
      },
    ),
    (
      'ppl_cri',
      {
        'objective.loss': 'cri',
        'objective.weights': 'ppw',
        'objective.mixing': 'ppmix',
        'data.sampler': 'pps',
        'optimizer.clip_norm': 1.0,
      },
    ),
    (
      'class_aware_sampling',
      {'data.sampler': 'class_aware', 'data.stratify': False},
    ),
  )
  def test_a_word_sets_its_fields_and_no_others(self, word, expected):
    self.assertEqual(_differences(word), expected)

  def test_words_combine(self):
    one = _differences('imbsam,ldam_drw,cmo')
    self.assertEqual(one, _differences('imbsam+ldam+drw+cmo'))
    self.assertEqual(one, _differences('cmo,drw,ldam,imbsam'))
    self.assertEqual(
      one,
      _differences('imbsam') | _differences('ldam_drw') | _differences('cmo'),
    )

  def test_a_suggestion_gives_way(self):
    self.assertIn('cosface', _differences('pal')['objective.loss'])
    self.assertEqual(_differences('pal,ldam')['objective.loss'], 'ldam')
    self.assertEqual(_differences('ldam,pal')['objective.loss'], 'ldam')

  @parameterized.parameters(
    ('ldam,vs', "'ldam' and 'vs' cannot be combined: both choose"),
    ('sam,imbsam', 'both choose optimizer.method'),
    ('drw,cb', 'both choose objective.weights'),
    ('mixup,cmo', 'both choose objective.mixing'),
    ('drs,class_balanced_sampling', 'both choose data.sampler'),
    ('etf,pal', 'both choose model.head'),
    ('ldma', "Did you mean 'ldam'"),
    ('imbsam,', "unknown method word ''"),
  )
  def test_refuses(self, words, message):
    with self.assertRaisesRegex(ValueError, re.escape(message)):
      _config(words)

  def test_the_preset_of_more_words_counts(self):
    found = {
      'sam': {'optimizer.rho': 1.0},
      'sam,ldam_drw': {'optimizer.rho': 3.0},
      'drw,sam': {'optimizer.rho': 2.0},
      'vs': {'optimizer.rho': 9.0},
    }

    def rho(words):
      config = experiment_lib.with_words(experiment_lib.Config(), words, found)
      return config.optimizer.rho

    self.assertEqual(
      [rho(w) for w in ('sam', 'sam,drw', 'sam,drw,ldam', 'sam,mixup', 'sgd')],
      [1.0, 2.0, 3.0, 1.0, experiment_lib.Config().optimizer.rho],
    )

  def test_combinations_of_a_comparison(self):
    self.assertEqual(
      methods.combinations('sgd,imbsam+vs', ''), ['sgd', 'imbsam+vs']
    )
    everything = methods.combinations('all', 'sgd,sam')
    self.assertLen(everything, len(set(everything)))
    # All but the update rules and what needs a run, twice.
    num_words = sum(not methods.fine_tunes(word) for word in methods.words())
    num_words -= len(methods.AXES['update rule'].words)
    self.assertLen(everything, 2 * num_words)
    self.assertEqual(everything[:2], ['sgd', 'sam'])
    with self.assertRaisesRegex(ValueError, 'unknown method word'):
      methods.combinations('vss', 'sgd')
    with self.assertRaisesRegex(ValueError, "'drw' is no update rule"):
      methods.combinations('vs', 'sgd,drw')

  def test_help_explains_every_word(self):
    text = methods.help_text()
    for word, meaning in methods.words().items():
      self.assertRegex(text, rf'(?m)^  {word} .*{re.escape(meaning.about)}')

  def test_describe(self):
    self.assertEqual(_choices.describe(_config('sgd')), 'sgd')
    self.assertEqual(
      _choices.describe(_config('imbsam,ldam_drs,mixup')),
      'imbsam ldam drs mixup',
    )


class CompatibilityTest(parameterized.TestCase):
  @parameterized.parameters(
    ('balanced_softmax,drw', '`balanced_softmax` and `drw` both correct for'),
    ('logit_adjustment,cb', '`logit_adjustment` and `cb` both correct for'),
    ('vs,class_balanced_sampling', '`vs` and `class_balanced_sampling` both'),
    ('cdt,drs', '`cdt` and `drs` both correct for'),
    ('arb,inverse_frequency', '`arb` and `inverse_frequency` both correct'),
    ('drw,drs', '`drw` and `drs` both correct for'),
    ('ldam_drw,class_aware_sampling', '`drw` and `class_aware_sampling` both'),
    ('arb,cmo', 'another stream. Use balanced_softmax'),
    ('pal,vs', 'cannot be fitted to the cosines of the prototypes head'),
    ('etf,zero_centroid', 'learned class vectors, which the etf head'),
    ('vs,margin_penalty', 'made for cosines'),
    ('vs,absgd', '`vs` and `absgd` both correct for'),
    ('cmo,drs', 'would re-balance both'),
    ('bilateral_mix,drw', '`drw` and `bilateral_mix` both correct for'),
    (
      'bilateral_mix,balanced_softmax',
      '`balanced_softmax` and `bilateral_mix` both',
    ),
  )
  def test_pairs_of_words_that_cannot_work(self, words, message):
    with self.assertRaisesRegex(ValueError, message):
      _choices.check(_config(words))

  @parameterized.parameters(
    ({'objective__loss': 'ldam', 'model__head': 'linear'}, 'made for cosines'),
    (
      {'objective__loss': 'gcl(scale=20.0)', 'model__head': 'linear'},
      'model.head=auto',
    ),
    ({'model__head': 'cosine'}, 'word normface'),
    ({'model__head': 'cosine()'}, 'word normface'),
    (
      {'data__sampler': 'class_aware'},
      '`class_aware_sampling` decides itself .*stratify=False',
    ),
    (
      {'objective__mixing': 'mixup', 'optimizer__rows': 'split'},
      '`mixup` looks at the whole batch, which `optimizer.rows=split`',
    ),
    (
      {'objective__mixing': 'mixup', 'optimizer__num_microbatches': 2},
      'num_microbatches=1',
    ),
    (
      {'objective__weights': 'dwr', 'objective__loss': 'vs'},
      "`objective.weights` must be one of .*Did you mean 'drw'",
    ),
  )
  def test_fields_that_cannot_work(self, changes, message):
    with self.assertRaisesRegex(ValueError, message):
      _choices.check(_config(**changes))

  @parameterized.parameters(
    'ppl_cri', 'arb,class_balanced_sampling', 'arb,mixup', 'imbsam,absgd,ldam',
    'distribution_balanced,class_aware_sampling',
    'balanced_softmax,cmo', 'cdt,bilateral_mix', 'pal,ldam_drw', 'rsam,gcl_drw',
    'sam,ldam_drw', 'vs,instance_sampling', 'sse_sam,ldam_drw,cmo',
  )  # fmt: skip
  def test_pairs_that_are_published_are_accepted(self, words):
    _choices.check(_config(words))

  def test_absgd_without_class_weights_goes_with_a_corrected_prior(self):
    _choices.check(_config('vs', objective__weights='absgd(beta=0)'))

  def test_every_pair_of_axes_combines_or_says_why(self):
    words = [
      next(iter(axis.words)) for axis in methods.AXES.values() if axis.words
    ]  # One of each axis.
    for pair in itertools.combinations(words, 2):
      try:
        _choices.check(_config(','.join(pair)))
      except ValueError as error:
        self.assertRegex(str(error), r'(Use|Leave|Pass|both choose)')

  def test_class_aware_rows_are_not_stratified_too(self):
    time = schedules.Timeline(_COUNTS, 10, 16)
    order = methods.combine(
      {'sampler': 'class_aware'}, methods.Setup(time)
    ).order
    labels = np.repeat(np.arange(4), _COUNTS)
    with self.assertRaisesRegex(ValueError, 'stratify=False'):
      order(labels, _COUNTS < 20, 0)


def _combine(time=None, image_shape=(8, 8, 1), **choices):
  time = time or schedules.Timeline(_COUNTS, 10, 16)
  return methods.combine(choices, methods.Setup(time, image_shape))


class LossTest(parameterized.TestCase):
  @parameterized.parameters(
    ('arb', losses.arb_loss, False),
    ('balanced_softmax', losses.balanced_softmax, True),
    ('cdt', losses.cdt_loss, True),
    ('cri', losses.cri_loss, True),
    ('cross_entropy', losses.cross_entropy, False),
    ('distribution_balanced', None, True),
    ('focal', losses.focal_loss, False),
    ('ldam', losses.ldam_loss, True),
    ('logit_adjustment', losses.logit_adjusted_cross_entropy, True),
    ('mm', losses.mm_loss, False),
    ('mm_ldam', losses.mm_ldam_loss, True),
    ('vs', losses.vs_loss, True),
  )
  def test_which_counts_it_takes(self, name, function, of_the_data):
    """Those of the data, or, as `arb` does, those of its batch."""
    logits = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    labels = np.array([0, 3, 3])
    found = _combine(loss=name).objective.loss(logits, labels)
    others = methods.combine(
      {'loss': name},
      methods.Setup(schedules.Timeline(_COUNTS[::-1], 10, 16), (8, 8, 1)),
    ).objective.loss(logits, labels)
    self.assertEqual(not np.allclose(found, others), of_the_data)
    if function is not None:
      counts = (_COUNTS,) if of_the_data else ()
      np.testing.assert_array_equal(found, function(logits, labels, *counts))


class ParametersTest(parameterized.TestCase):
  @parameterized.parameters(
    ('ldam', ('ldam', {})),
    ('vs(gamma=0.1, tau=1.2)', ('vs', {'gamma': 0.1, 'tau': 1.2})),
    ("cri(cutoff=0.1, mode='fix')", ('cri', {'cutoff': 0.1, 'mode': 'fix'})),
    (' gm_softmax(beta1=-0.1) ', ('gm_softmax', {'beta1': -0.1})),
  )
  def test_parse(self, text, expected):
    self.assertEqual(_specs.parse(text), expected)

  @parameterized.parameters(
    'ldam(0.3)', 'ldam(max_margin=open("x"))', 'ldam max', '', 'a.b(c=1)',
    'f(**{})', '__import__("os")', 'ldam(max_margin=0.3',
  )  # fmt: skip
  def test_refuses_what_is_no_choice(self, text):
    with self.assertRaisesRegex(ValueError, 'cannot be read'):
      _specs.parse(text)

  @parameterized.parameters(
    ('ldamm', "must be one of .*Did you mean 'ldam'"),
    (
      'ldam(gamma=1.0)',
      r'ldam has no parameter .gamma.. It has max_margin=0.5',
    ),
    ('ldam(label_smoothing=0.1)', 'no meaning for losses with margins'),
    ('lm_softmax(label_smoothing=0.1)', 'no meaning for losses with margins'),
    ('mm(key=1)', 'no parameter'),
    ('arb(axis_name="x")', 'no parameter'),
    ('focal(gamma=-1.0)', '`gamma` must be finite and at least 0, got -1.0'),
    ('vs(tau=-0.5)', '`tau`'),
    ('ldam(max_margin=-0.5)', '`max_margin`'),
    ('ldam(scale=0.0)', '`scale`'),
    ('cri(cutoff=2.0)', '`cutoff`'),
    ("cri(mode='one')", '`mode`'),
  )
  def test_refuses_losses(self, text, message):
    with self.assertRaisesRegex(ValueError, message):
      _combine(loss=text)

  @parameterized.parameters(
    ({'weights': 'drw(beta=2.0)'}, 'beta'),
    ({'weights': 'drv'}, "Did you mean 'drw'"),
    ({'weights': 'ppw(start=0.9, end=0.5)'}, 'start'),
  )
  def test_refuses_weights(self, fields, message):
    time = schedules.Timeline(_COUNTS, 10, 16)
    with self.assertRaisesRegex(ValueError, message):
      found = _combine(time, **fields).reweighting
      found.weights(100)

  @parameterized.parameters(
    ('mixup(alpha=-1.0)', (8, 8, 1), 'alpha'),
    ('cmo(probability=2.0)', (8, 8, 1), 'probability'),
    ('cmo', (8,), 'H, W, channels'),
    ('remix(kappa=0.5)', (8, 8, 1), 'kappa'),
  )
  def test_refuses_mixing(self, text, image_shape, message):
    with self.assertRaisesRegex(ValueError, message):
      _combine(mixing=text, image_shape=image_shape)

  @parameterized.parameters(
    'absgd(lam=0.0)', 'absgd(gamma=2.0)', 'absgd(start=160)',
    'absgd(lambda_=1.0)',
  )  # fmt: skip
  def test_refuses_absgd(self, text):
    time = schedules.Timeline(_COUNTS, 10, 16)
    with self.assertRaisesRegex(ValueError, 'lam|gamma|shares of the run'):
      _combine(time, weights=text)

  @parameterized.parameters('drw(start=160)', 'drw(start=-0.1)', 'ppw(end=2.0)')
  def test_starts_are_shares(self, text):
    time = schedules.Timeline(_COUNTS, 200, 16)
    with self.assertRaisesRegex(ValueError, '160 of 200 epochs is 0.8'):
      _combine(time, weights=text).reweighting.weights(0)

  @parameterized.parameters((7, True), (8, False))
  def test_cmo_without_an_epoch_to_mix_in(self, num_epochs, refused):
    time = schedules.Timeline(_COUNTS, num_epochs, 16)
    with contextlib.ExitStack() as stack:
      if refused:
        stack.enter_context(self.assertRaisesRegex(ValueError, 'idle_epochs=0'))
      _combine(time, mixing='cmo')

  def test_label_smoothing_of_cross_entropy(self):
    built = _combine(loss='cross_entropy(label_smoothing=0.2)').objective
    logits = np.array([[2.0, -1.0, 0.5, 0.0]])
    log_p = logits - np.log(np.exp(logits).sum())
    target = 0.05 + 0.8 * np.eye(4)[[1]]
    np.testing.assert_allclose(
      built.loss(logits.astype(np.float32), np.array([1])),
      -(target * log_p).sum(axis=1),
      rtol=1e-6,
    )

  def test_scale_of_probabilities_is_that_of_the_loss(self):
    scales = {
      text: _combine(loss=text).objective.logit_scale
      for text in ('ldam', 'ldam(scale=20.0)', 'mm', 'vs', 'sample_margin')
    }
    self.assertEqual(
      scales,
      {
        'ldam': 30.0,
        'ldam(scale=20.0)': 20.0,
        'mm': 19.0,
        'vs': 1.0,
        'sample_margin': 30.0,
      },
    )


class RadiusTest(parameterized.TestCase):
  def test_saddle_longtail_on_cifar10(self):
    for words, rho in (('sam', 0.1), ('sam,drw', 0.5), ('sam,ldam_drw', 0.8)):
      config = cifar10_lt.get_config(words)
      self.assertEqual(config.optimizer.rho, rho)
      self.assertEqual(config.optimizer.rho_schedule, 'constant')
    self.assertEqual(cifar100_lt.get_config('sam,drw').optimizer.rho, 0.8)

  @parameterized.parameters(
    ('imagenet_lt', 'sam,drw', (0.05, 0.1, 0.5, 0.5)),
    ('imagenet_lt', 'sam,ldam_drw', (0.05, 0.1, 0.5, 0.5)),
    ('i_naturalist2018', 'sam,drw', (0.05, 0.1, 0.1, 0.2)),
    ('i_naturalist2018', 'sam,ldam_drw', (0.05, 0.1, 0.5, 0.5)),
  )
  def test_saddle_longtail_in_steps(self, name, words, radii):
    config = experiment_lib.with_words(
      experiment_lib.Config(epochs=90.0),
      words,
      _published.saddle_longtail(name),
    )
    steps_per_epoch = 7
    rho = _update_rule.make_radius(
      config.optimizer.rho, config.optimizer.rho_schedule, 90 * steps_per_epoch
    )
    # One-based epochs: up to 5, 6 to 60, 61 to 75, above.
    epochs = np.array([0, 4, 5, 59, 60, 74, 75, 89])
    for place in (0, steps_per_epoch - 1):
      found = [float(rho(e * steps_per_epoch + place)) for e in epochs]
      np.testing.assert_allclose(found, np.repeat(radii, 2), rtol=1e-5)
    time = schedules.Timeline(np.array([70, 14]), 90, 12)
    weights = _combine(
      time, weights=config.objective.weights
    ).reweighting.weights
    self.assertEqual(weights(60 * 7 - 1).tolist(), [1, 1])
    self.assertGreater(weights(60 * 7)[1], 1.1)

  def test_the_default_steps_are_those_of_the_code_on_cifar(self):
    rho = _update_rule.make_radius(0.5, 'step()', 200)
    np.testing.assert_allclose(
      [float(rho(e)) for e in (4, 5, 159, 160, 179, 180)],
      [0.05, 0.1, 0.1, 0.5, 0.5, 0.6],
      rtol=1e-6,
    )

  def test_linear(self):
    rho = _update_rule.make_radius(0.4, 'linear(first=0.5, last=1.0)', 11)
    np.testing.assert_allclose(
      [float(rho(c)) for c in (0, 5, 10, 20)], [0.2, 0.3, 0.4, 0.4], rtol=1e-6
    )

  @parameterized.parameters(
    ('sgd', [(0, (False,))]),
    ('sam', [(0, (True,))]),
    ('imbsam', [(0, (False, True))]),
    ('sse_sam', [(0, (True, True)), (10, (False, True))]),
    ('focal_sam', [(0, (False, True))]),
    ('rsam', [(0, (False,))]),
    ('momentum_imbsam', [(0, (False, True))]),
    ('look_sam', [(0, (False,)), (0, (True,))]),
    ('friendly_sam', [(0, (True,))]),
    ('gsam', [(0, (True,))]),
  )
  def test_stages_of_a_configuration(self, name, expected):
    config = _config(
      **{'optimizer.method': name, 'optimizer.threshold': 20,
         'optimizer.rho': 0.3}
    ).optimizer  # fmt: skip
    method = _make_method(config, jax.random.key(0))
    self.assertEqual([(s.start, s.perturbed) for s in method.stages], expected)
    still = dataclasses.replace(config, rho=0.0, head_rho=0.0)
    method = _make_method(still, jax.random.key(0))
    self.assertFalse(any(any(s.perturbed) for s in method.stages))

  @parameterized.parameters('sam', 'imbsam', 'sse_sam', 'focal_sam')
  def test_links_of_a_configuration(self, name):
    for adaptive in (False, True):
      config = _config(
        **{'optimizer.method': name, 'optimizer.threshold': 20,
           'optimizer.rho': 0.3, 'optimizer.head_rho': 0.1,
           'optimizer.adaptive': adaptive}
      ).optimizer  # fmt: skip
      found = _make_method(config, jax.random.key(0))
      links = {
        'sam': [imbsam_jax.sam(0.3, adaptive=adaptive)],
        'imbsam': [imbsam_jax.imbsam(0.3, adaptive=adaptive)],
        'sse_sam': [
          imbsam_jax.sse_sam(0.1, 0.3, adaptive=adaptive),
          imbsam_jax.imbsam(0.3, adaptive=adaptive),
        ],
        'focal_sam': [imbsam_jax.focal_sam(0.3, adaptive=adaptive)],
      }[name]
      for stage, link in zip(found.stages, links, strict=True):
        groups = len(stage.perturbed)
        np.testing.assert_array_equal(
          problems.quartic_gradient(stage.link, groups),
          problems.quartic_gradient(link, groups),
        )

  @parameterized.parameters(
    ('momentum_imbsam', 'average_decay', 0.5),
    ('sam', 'average_decay', 0.5),
    ('sse_sam', 'average_decay', 0.5),
    ('look_sam', 'alpha', 0.4),
    ('friendly_sam', 'sigma', 0.5),
    ('friendly_sam', 'lam', 0.5),
    ('gsam', 'alpha', 0.4),
  )
  def test_numbers_of_a_configuration(self, name, argument, value):
    # Choices and links have the same defaults.
    config = _config(
      **{'optimizer.method': f'{name}({argument}={value})',
         'optimizer.threshold': 20, 'optimizer.rho': 0.3}
    ).optimizer  # fmt: skip
    stages = _make_method(config, jax.random.key(0)).stages
    # The optimizer has a field `decay`, for what weight decay is applied to.
    if name == 'momentum_imbsam':
      argument = argument.removeprefix('average_')
    options = {argument: value}
    radii = (config.head_rho, 0.3) if name == 'sse_sam' else (0.3,)
    if name == 'look_sam':
      self.assertEqual([stage.every for stage in stages], [1, 10])
      options['every'] = None
    link = getattr(imbsam_jax, name)(*radii, **options)
    groups = len(stages[0].perturbed)
    other = getattr(imbsam_jax, name)(*radii, **{**options, argument: 0.25})
    found, expected, different = [
      problems.second_quartic_gradient(each, groups)
      for each in (stages[0].link, link, other)
    ]
    np.testing.assert_array_equal(found, expected)
    self.assertGreater(np.abs(different - found).max(), 1e-3)

  def test_turns_of_a_configuration(self):
    config = _config(**{'optimizer.method': 'look_sam(every=4)'}).optimizer
    method = _make_method(config, jax.random.key(0))
    found = [method.stages.index(method.stage(step)) for step in range(9)]
    self.assertEqual(found, [1, 0, 0, 0, 1, 0, 0, 0, 1])

  def test_the_noise_of_rsam_is_halved_at_the_switch(self):
    config = _config(
      **{'optimizer.method': 'rsam', 'optimizer.rho': 0.3}
    ).optimizer
    key = jax.random.key(4)
    method = _make_method(config, key)
    for count, rho in ((9, 0.3), (10, 0.15)):
      np.testing.assert_allclose(
        problems.quartic_gradient(method.stages[0].link, 1, count),
        problems.quartic_gradient(imbsam_jax.rsam(rho, key=key), 1, count),
        rtol=1e-5,
      )

  def test_groups_of_a_configuration(self):
    changes = {
      'optimizer.threshold': 20,
      'optimizer.tail_weight': 2.0,
      'optimizer.focal_gamma': 2.0,
      'optimizer.focal_lam': 0.5,
    }
    rare = 0.5 * (1 - _COUNTS / 161) ** 2
    for name, expected in (
      ('sgd', [[1, 1, 1, 1]]),
      ('imbsam', [[1, 1, 0, 0], [0, 0, 2, 2]]),
      ('focal_sam', [1 - rare, rare]),
    ):
      config = _config(**{'optimizer.method': name, **changes}).optimizer
      method = _make_method(config, jax.random.key(0))
      np.testing.assert_allclose(
        method.group_weights_by_class, expected, rtol=1e-5
      )

  def test_unknown_rule(self):
    config = dataclasses.replace(_config().optimizer, method='samm')
    with self.assertRaisesRegex(
      experiment_lib.ConfigError, "`optimizer.method` must .*mean 'sam'"
    ):
      _make_method(config, jax.random.key(0))

  def test_constant_stays_a_number(self):
    # The links leave a constant 0 out.
    self.assertEqual(_update_rule.make_radius(0.0, 'constant', 10), 0.0)

  @parameterized.parameters(
    'step(factors=(1.0,), starts=(0.5,))',
    'step(factors=(1.0, 2.0), starts=(1.5,))',
    'step(factors=(1.0, -2.0), starts=(0.5,))',
    'step(factors=0.1)',
    'step(starts=0.5)',
    'linear(first=-1.0)',
    'cosine',
  )
  def test_refuses(self, schedule):
    with self.assertRaisesRegex(ValueError, 'rho_schedule'):
      _update_rule.make_radius(0.1, schedule, 10)


if __name__ == '__main__':
  absltest.main()
