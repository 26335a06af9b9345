# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0

# %% [markdown]
# # imbsam_jax: a quick start
#
# Classifiers for data in which a few classes have many examples and most have a
# handful. This notebook shows the problem, puts ImbSAM into a training loop,
# and then trains, compares, calibrates and draws by words, on a recipe and on
# arrays and a network of one's own. It takes about a minute on two CPU cores,
# and downloads nothing.
#
# Where `imbsam_jax` is not installed yet, put
#
# ```
# %pip install -e ".[train]"
# ```
#
# into a cell of its own, run it in the folder of a clone of the repository, and
# start the kernel again.

# %%
import imbsam_jax

print('imbsam_jax', imbsam_jax.__version__)

# %% [markdown]
# ## 1. The problem in one plot
#
# A small network learns scikit-learn's digits with plain SGD. The most frequent
# class has 100 training images, the rarest has 5; the test set has 50 images of
# each.

# %%
from imbsam_jax import experiment

EPOCHS = 40

plain = experiment.build(
  experiment.config('digits_lt', 'sgd', {'epochs': EPOCHS})
)
plain_result = experiment.run(plain)
plain_result

# %%
experiment.plot(plain, plain_result)

# %% [markdown]
# The mean over all test images, top-1, looks fine: nine in ten are right. The
# rarest classes fail: of the two with the fewest training images, about four in
# ten are taken for another digit.

# %% [markdown]
# ## 2. ImbSAM as a link in a loop of your own
#
# ImbSAM takes the gradient of the rare classes' loss at parameters that are
# moved by `rho` to where this loss is higher; the frequent classes are trained
# as by SGD. It is the first link of an optax chain. The oracle computes the
# gradients that the link asks for, from a loss with a weight for each example.
# Any model will do; this one is bare JAX.
#
# First the data, digits again, cut by hand:

# %%
import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn import datasets

class_counts = np.array([100, 72, 51, 37, 26, 19, 13, 10, 7, 5])
digits = datasets.load_digits()
images, labels = np.float32(digits.data / 16), digits.target
rng = np.random.default_rng(0)
train_rows = np.concatenate(
  [
    rng.choice(np.flatnonzero(labels == k), count, replace=False)
    for k, count in enumerate(class_counts)
  ]
)
test_rows = np.setdiff1d(np.arange(len(labels)), train_rows)


def logits_fn(params, x):
  return jax.nn.relu(x @ params['in'] + params['bias']) @ params['out']


def init(seed):
  keys = jax.random.split(jax.random.key(seed))
  return {
    'in': jax.random.normal(keys[0], (64, 128)) / 8,
    'bias': jnp.zeros((1, 128)),
    'out': jax.random.normal(keys[1], (128, 10)) / 11,
  }


# %% [markdown]
# Then the loop. `link` is all that tells ImbSAM from SGD:


# %%
def loss_fn(params, batch, weights):
  logits = logits_fn(params, batch['x'])
  losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch['y'])
  return (weights * losses).sum(), logits


def train(link, num_seeds=3, num_steps=200):
  tx = optax.chain(link, optax.sgd(0.1, momentum=0.9))

  @jax.jit
  def step(params, state, batch):
    weights = imbsam_jax.head_tail_weights(
      batch['y'], class_counts, threshold=20
    )
    _, grads, grad_fn = imbsam_jax.gradient_oracle(
      loss_fn, params, batch, group_weights=weights
    )
    updates, state = tx.update(grads, state, params, grad_fn=grad_fn)
    return optax.apply_updates(params, updates), state

  for seed in range(num_seeds):
    params, rng = init(seed), np.random.default_rng(seed)
    state = tx.init(params)
    for _ in range(num_steps):
      rows = rng.choice(train_rows, 64, replace=False)
      batch = {'x': images[rows], 'y': labels[rows]}
      params, state = step(params, state, batch)
    yield params


# %%
def accuracies(params):
  right = logits_fn(params, images[test_rows]).argmax(1) == labels[test_rows]
  per_class = [right[labels[test_rows] == k].mean() for k in range(10)]
  return np.mean(per_class), np.mean(np.array(per_class)[class_counts < 20])


for name, link in {
  'SGD': optax.identity(),
  'ImbSAM': imbsam_jax.imbsam(rho=0.2),
}.items():
  found = [accuracies(params) for params in train(link)]
  over_all, over_tail = 100 * np.mean(found, axis=0)
  print(f'{name:6}  all classes {over_all:.1f} %  tail {over_tail:.1f} %')

# %% [markdown]
# These are means over three seeds, of the classes' accuracies. The radius is
# that of the recipe below, where it was chosen on validation images for another
# network; nothing was tuned for this one.
#
# Here every pass sees all rows. For networks without BatchNorm
# `split_gradient_oracle` sends head rows and tail rows through apart, so that
# only the tail pays for a second pass;
# [docs/your_own_loop.md](../docs/your_own_loop.md) tells how.

# %% [markdown]
# ## 3. Ten lines
#
# `imbsam_jax.experiment` does all of this by words. A configuration is a recipe
# for a data set, the words of a method, and any fields that should be
# otherwise.

# %% tags=["ten_lines"]
from imbsam_jax import experiment

fields = {'epochs': EPOCHS}
exp = experiment.build(experiment.config('digits_lt', 'imbsam', fields))
print(exp)

# %% [markdown]
# The line `method` says what a step costs: head and tail rows go through the
# network apart, and ImbSAM takes a sixth more than SGD. Training is one line:

# %% tags=["ten_lines"]
result = experiment.run(exp)
result

# %% [markdown]
# `result` also has the trained `state`, the metrics as a dictionary
# (`summary`), a row for each class and a record of each step. In a script,
# `print(result.table())` is what the cell shows.
#
# One run says little. A comparison trains every method on several seeds:

# %% tags=["ten_lines"]
sgd = experiment.config('digits_lt', 'sgd', fields)
comparison = experiment.compare({'sgd': sgd, 'imbsam': exp}, seeds=2)
comparison

# %% tags=["ten_lines"]
comparison.plot()

# %% [markdown]
# The curves lie on each other where there are ten training images or more. On
# the two rarest classes ImbSAM's is above, and the bars are apart. Two seeds
# show how it is done, not how much it helps;
# [README.md](../README.md#what-to-expect) has five, and five methods.

# %% [markdown]
# A trained network can also be corrected afterwards. `crt` trains its
# classifier again on balanced batches, `lws` learns one scale for each class;
# what is chosen is chosen on validation images, and the test set is looked at
# once.

# %% tags=["ten_lines"]
experiment.calibrate(exp, result.state, ['none', 'crt', 'lws'])

# %% [markdown]
# `none` is the network as it was trained. The others differ from it by less
# than a point, which on 50 test images of each class is nothing.

# %% [markdown]
# ## 4. Your own arrays and your own network
#
# What is yours goes into `build`, beside the words. The arrays here are made
# up: five classes of points with 16 features, around centers that are close to
# one another.

# %% tags=["own"]
from flax import linen as nn
import numpy as np

from imbsam_jax import experiment

rng = np.random.default_rng(0)
centres = 0.9 * rng.normal(size=(5, 16))


def points(counts):
  y = np.repeat(np.arange(5), counts)
  return np.float32(centres[y] + rng.normal(size=(len(y), 16))), y


sources = experiment.Sources(
  train=points([300, 150, 50, 15, 8]),
  validation=points([40] * 5),
  test=points([200] * 5),
)


class Net(nn.Module):
  @nn.compact
  def __call__(self, x):
    x = nn.relu(nn.Dense(64)(x))
    return nn.Dense(5)(nn.relu(nn.Dense(64)(x)))


# %% [markdown]
# Then the same lines.

# %% tags=["own"]
fields = {'epochs': EPOCHS}
own = {
  words: experiment.build(
    experiment.config('own', words, fields), data=sources, model=Net()
  )
  for words in ('sgd', 'imbsam')
}
print(own['imbsam'])

# %% tags=["own"]
result = experiment.run(own['imbsam'])
result

# %% tags=["own"]
comparison = experiment.compare(own, seeds=2)
comparison

# %% tags=["own"]
comparison.plot()

# %% tags=["own"]
experiment.calibrate(own['imbsam'], result.state, ['none', 'logit_adjustment'])

# %% [markdown]
# ImbSAM's curve is above in the tail again, but on the rarest class the bars
# overlap: two seeds do not tell the methods apart there.
#
# `logit_adjustment` helps most here, and it costs no training: the points were
# made so that nothing but the frequencies is wrong. It looks at logits alone;
# what needs features, such as `crt`, says so where a network of your own has
# none to show.
#
# An NNX network is passed as `model=models.from_nnx(lambda rngs:
# Net(rngs=rngs))`, and a loss of your own as `loss=`, a function of logits and
# labels with one value for each example.

# %% [markdown]
# ## 5. Where to go
#
# - `print(experiment.words())` lists all words: update rules, losses, weights,
#   samplers, mixings, heads.
# - [experiments/README.md](../experiments/README.md): the same from the command
#   line, with runs that resume, and your own folders of images.
# - [docs/methods.md](../docs/methods.md): every word with its equation, cost
#   and source; [docs/your_own_loop.md](../docs/your_own_loop.md) and
#   [docs/piece_by_piece.md](../docs/piece_by_piece.md): the library without the
#   trainer.
# - [results/](../results/README.md): what was measured, and what did not help.
