# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""DBN-Mix: what its word sets, a step written out, and its old name."""

import json
import pathlib
import re
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import augment
from imbsam_jax import data
from imbsam_jax import experiment
from imbsam_jax import losses
from imbsam_jax import methods
from imbsam_jax import models
from imbsam_jax import schedules
from imbsam_jax import training
from imbsam_jax._runs import fields
from tests.training import tiny_objectives as kinds
from tests.training import tiny_training as tiny

_COUNTS = np.array(tiny.COUNTS)
_GAMMA = 0.2
_SETUP = methods.Setup(schedules.Timeline(_COUNTS, 4, tiny.BATCH_SIZE), (6,))
_SGD = training.update_rules.sgd(tiny.COUNTS)


def _total(params, images, labels, lam, weights):
  """Both branches see the mixed rows; temperatures are those of training."""
  net, head = params['network'], params['classifier']

  def layer(x, name):
    return jnp.maximum(x @ net[name]['kernel'] + net[name]['bias'][None], 0)

  hidden = layer(images, 'dense1')
  features = [layer(hidden, name) for name in ('dense2', 'dense2_second')]
  logits = (
    jnp.concatenate(features, axis=1) @ head['kernel'] + head['bias'][None]
  )
  temperatures = jnp.asarray((_COUNTS.max() / _COUNTS) ** _GAMMA, jnp.float32)
  log_p = jax.nn.log_softmax(logits / temperatures[None])

  def of(half):
    rows = jnp.take_along_axis(log_p, labels[half::2, None], axis=1)
    return -weights[half::2] * rows[:, 0]

  return jnp.sum(lam * of(0) + (1 - lam) * of(1))


class StepTest(absltest.TestCase):
  def test_against_the_formula(self):
    sets = methods.words()['dbn_mix'].sets
    parts = {
      axis: methods.make_part(axis, sets[f'objective.{axis}'], _SETUP)
      for axis in ('scheme', 'mixing', 'loss')
    }
    state, update = kinds.make(
      training.Supervised(parts['loss'].loss, mix=parts['mixing'].mix),
      net=parts['scheme'].model(
        models.MLP(num_classes=kinds.NUM_CLASSES, widths=(7, 5))
      ),
    )
    examples = tiny.examples()
    order = data.shuffled_order(
      sum(tiny.COUNTS), batch_size=tiny.BATCH_SIZE, seed=0
    )
    partners = parts['mixing'].partners(order, examples.labels, 0)
    batch = data.paired_batches(
      order, partners, examples, _SGD.group_weights_by_class
    )[0]
    images, labels = batch.rows['image'], batch.rows['label']
    key = jax.random.fold_in(
      jax.random.wrap_key_data(state.key_data), state.step
    )
    mix_key, _ = jax.random.split(jax.random.fold_in(key, 1))
    _, mixed = augment.dbn_mix(
      mix_key, (images[0::2], labels[0::2]), (images[1::2], labels[1::2])
    )
    lam = np.asarray(mixed.lam)
    rows = lam[:, None] * images[0::2] + (1 - lam[:, None]) * images[1::2]
    loss, gradient = jax.jit(jax.value_and_grad(_total))(
      state.params, rows, labels, lam, batch.weights[0]
    )
    after, metrics = update(state, batch)
    np.testing.assert_allclose(metrics['loss'], loss, rtol=1e-5)
    chex.assert_trees_all_close(
      kinds.gradient(state, after), gradient, rtol=1e-4, atol=1e-5
    )
    # What it predicts has no temperature.
    objective = training.Supervised(losses.cross_entropy)
    net = parts['scheme'].model(
      models.MLP(num_classes=kinds.NUM_CLASSES, widths=(7, 5))
    )
    logits = training.make_logit_step(net, lambda x: x, objective=objective)(
      state.variables, images
    )
    np.testing.assert_allclose(
      logits, net.apply(state.variables, images, train=False), rtol=1e-6
    )


class NamesTest(parameterized.TestCase):
  def test_what_the_word_sets(self):
    config = experiment.config('digits_lt', 'imbsam,dbn_mix')
    self.assertEqual(config.objective.scheme, 'dbn_mix')
    self.assertEqual(config.objective.mixing, 'bilateral_mix')
    self.assertEqual(config.objective.loss, 'cdt')

  @parameterized.parameters(
    ('dbn_mix', 'bilateral_mix'),
    ('dbn_mix(alpha=0.5)', 'bilateral_mix(alpha=0.5)'),
    (' dbn_mix (power=0.0)', ' bilateral_mix (power=0.0)'),
    ('dbn_mixer', 'dbn_mixer'),
    ('mixup', 'mixup'),
  )  # fmt: skip
  def test_old_configurations_are_read(self, old, new):
    config = experiment.config('digits_lt', 'sgd,cdt')
    written = fields.to_json(config)
    written['objective']['mixing'] = old
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder, 'config.json')
      path.write_text(json.dumps(written))
      read = experiment.config('from_json', str(path))
    self.assertEqual(read.objective.mixing, new)
    self.assertEqual(read.objective.scheme, 'none')
    self.assertEqual(
      experiment.replace(read, {'objective.mixing': 'none'}), config
    )

  def test_what_is_typed_is_told_its_new_name(self):
    for text in ('dbn_mix', 'dbn_mix(alpha=0.5)'):
      config = experiment.config('digits_lt', 'sgd', {'objective.mixing': text})
      new = re.escape(text.replace('dbn', 'bilateral'))
      with self.assertRaisesRegex(
        experiment.ConfigError,
        f'dbn_mix` is called bilateral_mix now.*`objective.mixing={new}`',
      ):
        experiment.check_config(config)

  @parameterized.parameters(
    ('mixup', "'dbn_mix' and 'mixup' cannot be combined: both choose"),
    ('focal', "'dbn_mix' and 'focal' cannot be combined: both choose"),
    ('drw', '`cdt`, which `dbn_mix` brings, and `drw` both correct'),
    ('bbn', "'dbn_mix' and 'bbn' cannot be combined: both choose"),
  )
  def test_refuses(self, word, message):
    with self.assertRaisesRegex(experiment.ConfigError, message):
      experiment.check_config(experiment.config('digits_lt', f'dbn_mix,{word}'))

  def test_refuses_a_cosine_head(self):
    config = experiment.config(
      'digits_lt',
      'sgd',
      {'objective.scheme': 'dbn_mix', 'objective.loss': 'ldam'},
    )
    with self.assertRaisesRegex(
      experiment.ConfigError, '`dbn_mix` is made for a linear head'
    ):
      experiment.check_config(config)

  def test_bilateral_mix_alone_has_one_branch(self):
    part = methods.make_part('mixing', 'bilateral_mix', _SETUP)
    self.assertIsNone(part.model)


if __name__ == '__main__':
  absltest.main()
