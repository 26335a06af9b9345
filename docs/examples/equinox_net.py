"""ImbSAM on an Equinox module with BatchNorm and Dropout.

`eqx.partition` takes the parameters out of the module, and `eqx.combine` puts
those of each pass back. All passes of a step get the same statistics and the
same key.
"""

import equinox as eqx
import jax
import optax

from imbsam_jax import gradient_oracle
from imbsam_jax import head_tail_weights
from imbsam_jax import imbsam

CLASS_COUNTS = [900, 300, 12]  # Training images of each class.


class Net(eqx.Module):
  first: eqx.nn.Linear
  norm: eqx.nn.BatchNorm
  dropout: eqx.nn.Dropout
  last: eqx.nn.Linear

  def __init__(self, key):
    first_key, last_key = jax.random.split(key)
    self.first = eqx.nn.Linear(4, 8, key=first_key)
    self.norm = eqx.nn.BatchNorm(8, axis_name='batch', mode='batch')
    self.dropout = eqx.nn.Dropout(0.2)
    self.last = eqx.nn.Linear(8, 3, key=last_key)

  def __call__(self, x, state, key):
    x, state = self.norm(self.first(x), state)
    return self.last(self.dropout(jax.nn.relu(x), key=key)), state


def apply(model, images, state, key):
  keys = jax.random.split(key, len(images))
  return jax.vmap(
    model, axis_name='batch', in_axes=(0, None, 0), out_axes=(0, None)
  )(images, state, keys)


@eqx.filter_jit
def train_step(model, state, tx, opt_state, key, batch):
  params, rest = eqx.partition(model, eqx.is_inexact_array)

  def loss_fn(params, batch, weights):
    module = eqx.combine(params, rest)
    logits, changed = apply(module, batch['x'], state, key)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch['y'])
    return (weights * losses).sum(), changed

  weights = head_tail_weights(batch['y'], CLASS_COUNTS, threshold=20)
  (loss, changed), grads, grad_fn = gradient_oracle(
    loss_fn, params, batch, group_weights=weights
  )
  updates, opt_state = tx.update(grads, opt_state, params, grad_fn=grad_fn)
  model = eqx.apply_updates(model, updates)
  return model, changed, opt_state, loss  # Statistics of the clean pass.


def train(batches, rho=0.2):
  model, state = eqx.nn.make_with_state(Net)(jax.random.key(0))
  tx = optax.chain(imbsam(rho), optax.sgd(0.1, momentum=0.9))
  opt_state = tx.init(eqx.filter(model, eqx.is_inexact_array))
  losses = []
  for step, batch in enumerate(batches):
    key = jax.random.fold_in(jax.random.key(1), step)
    model, state, opt_state, loss = train_step(
      model, state, tx, opt_state, key, batch
    )
    losses.append(loss)
  # `apply(eqx.nn.inference_mode(model), images, state, key)` predicts.
  return (model, state), losses


if __name__ == '__main__':
  key_x, key_y = jax.random.split(jax.random.key(0))
  batch = {
    'x': jax.random.normal(key_x, (16, 4)),
    'y': jax.random.randint(key_y, (16,), 0, 3),
  }
  for loss in train([batch] * 20)[1]:
    print(f'{loss:.3f}')
