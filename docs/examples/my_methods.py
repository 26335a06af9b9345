"""Three methods of one's own: a loss, a mixing, and a scheme.

Importing this file registers them; `experiment.config('digits_lt', 'imbsam,
rarity_loss')` then knows the words.
"""

import jax.numpy as jnp
import numpy as np

from imbsam_jax import data
from imbsam_jax import losses
from imbsam_jax import methods
from imbsam_jax import training


# A loss: of each row by itself. `class_counts` is given if it is asked for; the
# parameters behind the asterisk can be set, 'rarity_loss(power=1.0)'.
@methods.word(
  'rarity_loss',
  axis='loss',
  about='cross entropy, larger for rare classes',
  head='linear',
  corrects_prior=True,
)
def rarity_loss(logits, labels, class_counts, *, power=0.5):
  """The cross entropy times (n_max / n_y)^power."""
  factors = (class_counts.max() / class_counts) ** power
  factors = jnp.asarray(factors, jnp.float32)
  return factors[labels] * losses.cross_entropy(logits, labels)


# A mixing: of each row with a partner, here another row of the batch.
@methods.word('halves', axis='mixing', about='the mean of two images')
def halves(setup, *, share=0.5):
  """Images x = s x1 + (1 - s) x2, and both labels by their shares."""

  def mix(key, step, batch, partner):
    del key, step
    images = share * batch[0] + (1 - share) * partner[0]
    lam = jnp.full(batch[1].shape, share)
    return images, losses.MixedLabels(batch[1], partner[1], lam)

  return methods.Part(mix=mix, partners=methods.batch_partners)


# A scheme: whatever is more than that. This one has a second stream of data, in
# which all classes are alike, and adds its loss.
class SecondLook(training.WrappedObjective):
  """The loss of the batch, and `weight` times that of a balanced one."""

  def __init__(self, base, weight):
    super().__init__(base)
    self.weight = weight
    self.coupled = True  # Head and tail rows go through each pass together,
    self.pass_cost = 2.0  # and as many rows of the stream with them.

  def __call__(self, ctx, apply, rows):
    outcome = self.base(ctx, apply, rows)
    balanced = ctx.streams['balanced']
    logits = apply(balanced['image'])
    loss = losses.cross_entropy(logits, balanced['label']).mean()
    return outcome.plus(self.weight * loss)


@methods.word(
  'second_look',
  axis='scheme',
  about='adds the loss of a balanced stream',
  needs_batch=True,
)
def second_look(setup, *, weight=0.5):
  """See `SecondLook`."""

  num_classes = len(setup.class_counts)

  def balanced(seed):
    order = data.sampled_order(
      setup.data.train.labels,
      lambda step: np.full(num_classes, 1 / num_classes),
      batch_size=setup.time.batch_size,
      seed=(seed, 2),
    )
    return data.Stream(order, setup.data.train)

  return methods.Part(
    objective=lambda base: SecondLook(base, weight),
    streams={'balanced': balanced},
  )
