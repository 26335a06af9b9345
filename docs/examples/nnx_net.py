"""ImbSAM on a Flax NNX module with BatchNorm and Dropout.

`nnx.split` takes the parameters out of the module, and `nnx.merge` puts those
of each pass back. It copies: the passes of a step begin from the same
statistics and the same random numbers, and leave the module that is trained
alone. Without `copy=True` Flax raises a TraceContextError.
"""

from flax import nnx
import jax
import optax

from imbsam_jax import gradient_oracle
from imbsam_jax import head_tail_weights
from imbsam_jax import imbsam

CLASS_COUNTS = [900, 300, 12]  # Training images of each class.


class Net(nnx.Module):
  def __init__(self, rngs):
    self.first = nnx.Linear(4, 8, rngs=rngs)
    self.norm = nnx.BatchNorm(8, rngs=rngs)
    self.dropout = nnx.Dropout(0.2, rngs=rngs)
    self.last = nnx.Linear(8, 3, rngs=rngs)

  def __call__(self, x):
    x = nnx.relu(self.norm(self.first(x)))
    return self.last(self.dropout(x))


@nnx.jit
def train_step(model, optimizer, batch):
  graph, params, rest = nnx.split(model, nnx.Param, ...)

  def loss_fn(params, batch, weights):
    module = nnx.merge(graph, params, rest, copy=True)
    losses = optax.softmax_cross_entropy_with_integer_labels(
      module(batch['x']), batch['y']
    )
    # Statistics, and how many random numbers were drawn.
    return (weights * losses).sum(), nnx.state(module, nnx.Not(nnx.Param))

  weights = head_tail_weights(batch['y'], CLASS_COUNTS, threshold=20)
  (loss, changed), grads, grad_fn = gradient_oracle(
    loss_fn, params, batch, group_weights=weights
  )
  optimizer.update(model, grads, grad_fn=grad_fn)
  nnx.update(model, changed)  # Of the clean pass.
  return loss


def train(batches, rho=0.2):
  model = Net(nnx.Rngs(0))
  tx = optax.chain(imbsam(rho), optax.sgd(0.1, momentum=0.9))
  optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
  model.train()
  losses = [train_step(model, optimizer, batch) for batch in batches]
  model.eval()  # For `model(images)`.
  return model, losses


if __name__ == '__main__':
  key_x, key_y = jax.random.split(jax.random.key(0))
  batch = {
    'x': jax.random.normal(key_x, (16, 4)),
    'y': jax.random.randint(key_y, (16,), 0, 3),
  }
  for loss in train([batch] * 20)[1]:
    print(f'{loss:.3f}')
