# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The optimizer and its schedule, from the fields of a configuration."""

from absl.testing import absltest
from absl.testing import parameterized
import jax.numpy as jnp
import numpy as np
import optax

from imbsam_jax import experiment as experiment_lib
from imbsam_jax.experiment import _run_parts
from imbsam_jax.experiment import _update_rule
from imbsam_jax.experiment import used_fields


def _config(**changes):
  changes = {name.replace('__', '.'): value for name, value in changes.items()}
  return experiment_lib.replace(experiment_lib.config('digits_lt'), changes)


class OptimizerFieldsTest(parameterized.TestCase):
  def test_adamw(self):
    # One step: the sign of the gradient, if eps is small beside it, and the
    # decay of what is decayed, all times the rate.
    config = _config(
      optimizer__name='adamw(b1=0.5, b2=0.5, eps=1.0)',
      optimizer__schedule='constant',
      optimizer__learning_rate=0.01,
      optimizer__weight_decay=0.5,
      optimizer__layer_decay=0.5,
    ).optimizer
    tx = _update_rule.make_chain(config, 10, 0, optax.identity())
    params = {
      'block0': {'kernel': jnp.full((1, 1), 4.0)},
      'classifier': {'kernel': jnp.full((1, 1), 4.0)},
    }
    updates, _ = tx.update(params, tx.init(params), params)
    step = -0.01 * (4 / (4 + 1.0) + 0.5 * 4.0)
    np.testing.assert_allclose(updates['classifier']['kernel'], step, rtol=1e-6)
    np.testing.assert_allclose(updates['block0']['kernel'], step / 2, rtol=1e-6)

  def test_schedule_by_epoch(self):
    # 10 images in batches of 4; epoch 2 begins with image 8, in step 2.
    config = _config(
      data__batch_size=4,
      epochs=2.5,
      optimizer__schedule='cosine_by_epoch(lag=1)',
      optimizer__learning_rate=1.0,
      optimizer__momentum=0.0,
    )
    lengths = _run_parts.Lengths(config, 10)
    self.assertEqual(lengths.epoch_starts, [0, 3, 5])
    tx = _update_rule.make_chain(
      config.optimizer,
      lengths.num_steps,
      0,
      optax.identity(),
      epoch_starts=lengths.epoch_starts,
    )
    one, rates = jnp.ones(()), []
    state = tx.init(one)
    for _ in range(lengths.num_steps):
      update, state = tx.update(one, state, one)
      rates.append(-float(update))
    np.testing.assert_allclose(rates, [1] * 5 + [0.75] * 2, rtol=1e-6)

  @parameterized.parameters((0.5, [0]), (1e-6, [0]), (3.0, [0, 3, 5]))
  def test_first_steps_of_epochs(self, epochs, starts):
    config = _config(data__batch_size=4, epochs=epochs)
    self.assertEqual(_run_parts.Lengths(config, 10).epoch_starts, starts)

  @parameterized.parameters(
    ({'optimizer.name': 'adam'}, "must be one of sgd, adamw, got 'adam'"),
    ({'optimizer.name': 'sgd(b1=0.5)'}, 'sgd has no parameter'),
    ({'optimizer.name': 'adamw(b2=1.0)'}, 'optimizer.name: b2'),
    ({'optimizer.name': 'adamw(eps=0.0)'}, 'optimizer.name: eps'),
    ({'optimizer.schedule': 'cos'}, 'must be one of cosine, step'),
    ({'optimizer.schedule': 'cosine(lag=1)'}, 'cosine has no parameter'),
    (
      {'optimizer.schedule': 'cosine_by_epoch(lag=-1)'},
      'optimizer.schedule: lag',
    ),
    ({'optimizer.schedule': 'step(from_zero=1)'}, 'must be True or False'),
    (
      {'optimizer.schedule': 'cosine(from_zero=True)'},
      'there is none. Set `warmup_epochs`',
    ),
    ({'optimizer.layer_decay': 1.5}, '`optimizer.layer_decay` must be from'),
    ({'optimizer.layer_decay': 0.5}, '`layer_decay` needs a network of blocks'),
  )
  def test_what_does_not_fit(self, changes, message):
    config = experiment_lib.replace(experiment_lib.config('digits_lt'), changes)
    with self.assertRaisesRegex(experiment_lib.ConfigError, message):
      experiment_lib.build(config)

  def test_momentum_of_adamw(self):
    given = ['optimizer.momentum']
    sgd, adamw = _config(), _config(optimizer__name='adamw')
    used_fields.check(given, [adamw, sgd])
    with self.assertRaisesRegex(
      experiment_lib.ConfigError,
      '`optimizer.momentum` has no effect on adamw. Leave it out',
    ):
      used_fields.check(given, [adamw])


if __name__ == '__main__':
  absltest.main()
