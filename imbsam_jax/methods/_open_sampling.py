# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Open-sampling: Wei et al., ICML 2022."""

from typing import Any

import jax
import jax.numpy as jnp

from imbsam_jax import _checks
from imbsam_jax import data
from imbsam_jax import losses
from imbsam_jax import sampling
from imbsam_jax import training
from imbsam_jax.methods import _part
from imbsam_jax.methods import _registry

# Seed of the stream beside that of the run: partners of a mixing have 1.
_OUT = 3
# What is folded into the key of a step for the labels; up to 2 are taken.
_LABELS = 3


class OpenSampling(training.WrappedObjective):
  r"""The base, and images of other things with labels that balance the prior.

  .. math::
    \ell + \eta \, \frac{\sum_i w_{\tilde y_i} CE(s z_i, \tilde y_i)}
      {\sum_i w_{\tilde y_i}}, \qquad \tilde y_i \sim \Gamma, \quad
    w_c = C \Gamma_c

  over the auxiliary images i of the step, with the logit scale s of the base
  and :math:`\Gamma` of `sampling.complementary_probabilities`.

  Args:
    base: The objective of the training rows.
    probabilities: The distribution :math:`\Gamma` of the labels, ``[C]``.
    eta: Factor of the added loss.
  """

  def __init__(
    self, base: training.Objective, probabilities: jax.Array, eta: float
  ):
    super().__init__(base)
    self.coupled = True  # Rows of the stream belong to no class group.
    self.pass_cost = base.pass_cost + 1.0
    self.probabilities = probabilities
    self.eta = eta

  def __call__(self, ctx, apply, rows):
    out = ctx.streams['out']
    seen = []

    def beside_out(images, **options):
      # One pass of both, so that BatchNorm sees them together; in turns, as
      # each device has its rows of both.
      both = jnp.stack([images, out['image']], axis=1)
      both = apply(both.reshape(-1, *images.shape[1:]), **options)
      logits, out_logits = data.pair_halves(both)
      seen.append(out_logits)
      return logits

    outcome = self.base(ctx, training.WrappedApply(apply, beside_out), rows)
    (out_logits,) = seen
    return outcome.plus(self.eta * self._out_loss(ctx, out_logits, out))

  def _out_loss(self, ctx: Any, logits: jax.Array, out: Any) -> jax.Array:
    labels = self._labels(ctx, out['place'])
    of_rows = losses.cross_entropy(self.logit_scale * logits, labels)
    weights = (len(self.probabilities) * self.probabilities)[labels]
    # The weights of all devices; the sum of their losses, of which the step
    # takes the mean, is left to it.
    total = ctx.summed(jnp.sum(weights))
    return ctx.num_devices * jnp.sum(weights * of_rows) / total

  def _labels(self, ctx: Any, places: jax.Array) -> jax.Array:
    """Labels of the step, by place: the same in all passes and on any cut."""
    key = jax.random.fold_in(ctx.key, _LABELS)

    def draw(place):
      return sampling.sample_labels(
        jax.random.fold_in(key, place), self.probabilities, num_samples=1
      )

    return jax.vmap(draw)(places)[:, 0]


@_registry.word(
  'open_sampling',
  axis='scheme',
  about='other images, labels of rare classes (ICML 2022)',
  corrects_prior=True,
  published_with=frozenset({'drw'}),
  needs_batch=True,
  auxiliary=True,
)
def open_sampling(
  setup: _part.Setup, *, eta: float = 1.0, alpha: float | None = None
) -> _part.Part:
  """See `OpenSampling`; `alpha` is that of `complementary_probabilities`.

  As many auxiliary images as a batch has rows, drawn without replacement epoch
  by epoch of their own; those of training go on as they are. The added labels
  balance the class prior, and their weights favor rare classes once more, so
  that the word corrects the prior: of others that do, it was published with
  `drw` of LDAM-DRW. The paper takes 300,000 photographs; `data.auxiliary` says
  what is taken here.

  Their loss is the cross entropy of the base's logits by its scale, whatever
  the loss of the rows, as released: there the cross entropy is that of the rows
  too.
  """
  _checks.number('eta', eta, low=0)
  probabilities = sampling.complementary_probabilities(
    setup.class_counts, alpha=alpha
  )

  def out(seed):
    examples = setup.auxiliary
    order = data.shuffled_order(
      len(examples.labels), batch_size=setup.time.batch_size, seed=(seed, _OUT)
    )
    return data.Stream(order, examples)

  return _part.Part(
    objective=lambda base: OpenSampling(base, probabilities, eta),
    streams={'out': out},
  )
