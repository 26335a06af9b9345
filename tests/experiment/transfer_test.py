# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A trunk of one's own helps with classes that it has not seen."""

from imbsam_jax import experiment
from results import transfer


def test_digits_5_to_9_by_a_trunk_of_digits_0_to_4(tmp_path):
  """In heads on its features; chance is 0.2, margins are half the gain."""
  files = transfer.trunks(tmp_path, epochs=20.0)
  study = transfer.Study(files, transfer.digits(range(5, 10)))
  plain = study.of_head('ce', tmp_path)
  adjusted = study.of_head('logit_adjustment', tmp_path)
  untrained = study.of_head('ce', tmp_path, trunk='untrained')
  # Class means alone.
  begin = experiment.evaluate(plain, plain.init(0)).scores['balanced']
  assert begin is not None and begin > 0.3
  other = experiment.run(untrained).summary
  for seed in range(2):
    found = experiment.run(plain, seed=seed).summary
    assert found['balanced'] > other['balanced'] + 0.1
    assert (
      experiment.run(adjusted, seed=seed).summary['few'] > found['few'] + 0.2
    )
