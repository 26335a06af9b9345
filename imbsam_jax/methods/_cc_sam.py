# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""CC-SAM: Zhou et al., CVPR 2023."""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import _checks
from imbsam_jax import losses as losses_lib
from imbsam_jax import training
from imbsam_jax.methods import _head_only
from imbsam_jax.methods import _part
from imbsam_jax.methods import _registry

_LINEAR = {'kernel', 'bias'}


class ClassConditional(training.WrappedObjective):
  r"""A share of the loss at a head that is perturbed for each class.

  .. math::
    (1 - \phi) \, \ell(W z_i, y_i) + \phi \, \ell((W + e_{y_i}) z_i, y_i)

  with the base's loss and e of `losses.cc_sam_shift`, from the class means of
  the rows, which count alike there whatever their weights. Features z are those
  of one pass, and have the gradients of both terms; e is a constant, so that
  the head has that of the second term at W + e. A step costs what one of the
  base does.

  .. note::
    Mixed rows are of the class of their own image, and have both labels in both
    terms. In the released code, which trains with mixup, the second term has
    the own label alone, so that a radius of 0 is not the training without.
  """

  def __init__(
    self,
    base: training.Objective,
    class_counts: np.ndarray,
    *,
    phi: float,
    noise_ratio: float,
  ):
    super().__init__(base)
    self.coupled = True
    self._class_counts = class_counts
    self._phi = phi
    self._noise_ratio = noise_ratio

  def __call__(self, ctx, apply, rows):
    """A pass, and the losses of its features at both heads."""
    features, logits = apply(rows['image'], method='features_and_logits')

    def outcome_of(logits):
      return self.base(ctx, _Known(apply, logits), rows)

    def total(logits):
      return sum(map(jnp.sum, jax.tree.leaves(outcome_of(logits).losses)))

    clean = outcome_of(logits)
    mixed = isinstance(clean.labels, losses_lib.MixedLabels)
    shift = losses_lib.cc_sam_shift(
      features,
      jax.grad(total)(jax.lax.stop_gradient(logits)),
      clean.labels.first if mixed else clean.labels,
      **_linear(apply.params),
      class_counts=self._class_counts,
      noise_ratio=self._noise_ratio,
      axis_name=ctx.axis_name,
    )
    perturbed = outcome_of(logits + shift)
    return clean._replace(
      losses=jax.tree.map(
        lambda one, other: (1 - self._phi) * one + self._phi * other,
        clean.losses,
        perturbed.losses,
      )
    )


class _Known(training.Apply):
  """The model at the point of a pass, with logits that are known."""

  def __init__(self, apply: training.Apply, logits: jax.Array):
    self.params = apply.params
    self.changed = apply.changed
    self._logits = logits

  def __call__(self, *inputs, **options):
    del inputs, options
    return self._logits


def _linear(params: Any) -> dict[str, jax.Array]:
  head = params['classifier']
  if set(head) != _LINEAR:
    raise ValueError(
      f'`cc_sam` perturbs a linear head, with kernel and bias; this one has '
      f'{", ".join(sorted(head))}. Leave the head of models.Classifier.'
    )
  return dict(head)


def _network(network: nn.Module) -> nn.Module:
  """Refuses a network without features, or with a head of cosines."""
  network = _head_only.with_features('cc_sam')(network)
  if network.head != 'linear':
    raise ValueError(
      f'`cc_sam` is made for a linear head, got one of head={network.head!r}. '
      "Pass a network with head='linear'."
    )
  return network


@_registry.word(
  'cc_sam',
  axis='scheme',
  about='CC-SAM, the head perturbed for each class (CVPR 2023)',
  head='linear',
  needs_batch=True,
  perturbs=True,
)
def cc_sam(
  setup: _part.Setup, *, phi: float = 0.3, noise_ratio: float = 0.003
) -> _part.Part:
  """The first stage of CC-SAM, for the price of SGD.

  Phi is 0.3 on CIFAR-10-LT, 0.5 on CIFAR-100-LT. The noise ratio is that of the
  radii, see `losses.cc_sam_shift`. The released one is 1e-6, which perturbs by
  what rounding does; 0.003 gives lengths like the radii of SAM. Without mixing
  the gradient of a class that is learned vanishes, its perturbation grows, and
  from 0.005 on the loss of digits-LT went up again; with ``cc_sam,mixup``, as
  the authors train, 0.03 was no harm.

  The second stage, a new training of the head with perturbed features, is left
  out.
  """
  _checks.number('phi', phi, low=0, high=1)
  _checks.number('noise_ratio', noise_ratio, low=0)
  return _part.Part(
    objective=lambda base: ClassConditional(
      base, setup.class_counts, phi=phi, noise_ratio=noise_ratio
    ),
    model=_network,
  )
