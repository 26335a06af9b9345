# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Class directions that are never learned, and their heads."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import optax

from imbsam_jax import models
from imbsam_jax.models import _heads

KEY = jax.random.key(0)


def _gram(vectors):
  vectors = np.asarray(vectors, np.float64)
  return vectors @ vectors.T


def _largest_cosine(vectors):
  gram = _gram(vectors)
  np.fill_diagonal(gram, -1)
  return gram.max()


class SimplexEtfTest(parameterized.TestCase):
  @parameterized.parameters((2, 1), (2, 5), (3, 2), (10, 9), (10, 64), (65, 64))
  def test_equations(self, num_classes, dim):
    vectors = models.simplex_etf(KEY, num_classes, dim)
    self.assertEqual(vectors.shape, (num_classes, dim))
    self.assertEqual(vectors.dtype, jnp.float32)
    expected = np.eye(num_classes) - 1 / num_classes
    expected *= num_classes / (num_classes - 1)
    np.testing.assert_allclose(_gram(vectors), expected, atol=2e-6)
    np.testing.assert_allclose(vectors.sum(axis=0), np.zeros(dim), atol=1e-5)

  def test_key_turns_it(self):
    first = models.simplex_etf(KEY, 5, 8)
    np.testing.assert_array_equal(first, models.simplex_etf(KEY, 5, 8))
    other = models.simplex_etf(jax.random.key(1), 5, 8)
    self.assertGreater(np.abs(first - other).max(), 0.1)

  def test_jit(self):
    jitted = jax.jit(lambda key: models.simplex_etf(key, 5, 8))(KEY)
    np.testing.assert_allclose(jitted, models.simplex_etf(KEY, 5, 8), atol=1e-6)

  @parameterized.parameters(models.simplex_etf, models.optimal_prototypes)
  def test_errors(self, place):
    with self.assertRaisesRegex(ValueError, '`num_classes` must be at least 2'):
      place(KEY, 1, 4)
    with self.assertRaisesRegex(ValueError, '`dim` must be at least 1'):
      place(KEY, 2, 0)
    with self.assertRaisesRegex(TypeError, '`dim` must be an integer, got 4.0'):
      place(KEY, 2, 4.0)

  def test_too_few_dimensions(self):
    with self.assertRaisesRegex(
      ValueError, 'at least num_classes - 1 = 99, got 64.*`optimal_prototypes`'
    ):
      models.simplex_etf(KEY, 100, 64)


class OptimalPrototypesTest(parameterized.TestCase):
  def test_simplex_where_there_is_one(self):
    np.testing.assert_array_equal(
      models.optimal_prototypes(KEY, 10, 9), models.simplex_etf(KEY, 10, 9)
    )

  @parameterized.parameters(
    (5, 2, np.cos(2 * np.pi / 5)),  # Regular polygons.
    (8, 2, np.cos(2 * np.pi / 8)),
    (6, 3, 0.0),  # Octahedron.
    (12, 3, 5**-0.5),  # Icosahedron.
    (8, 4, 0.0),  # Cross polytope.
  )
  def test_known_optima(self, num_classes, dim, cosine):
    vectors = models.optimal_prototypes(KEY, num_classes, dim)
    self.assertEqual(vectors.dtype, jnp.float32)
    self.assertLess(abs(_largest_cosine(vectors) - cosine), 1e-4)
    np.testing.assert_allclose(np.diag(_gram(vectors)), 1.0, atol=1e-6)
    np.testing.assert_allclose(vectors.sum(axis=0), np.zeros(dim), atol=1e-5)

  def test_feasible_without_steps(self):
    vectors = models.optimal_prototypes(KEY, 7, 3, num_steps=0)
    np.testing.assert_allclose(np.diag(_gram(vectors)), 1.0, atol=1e-6)
    np.testing.assert_allclose(vectors.sum(axis=0), np.zeros(3), atol=1e-5)
    spread = models.optimal_prototypes(KEY, 7, 3)
    self.assertLess(_largest_cosine(spread), _largest_cosine(vectors) - 0.05)

  def test_errors(self):
    with self.assertRaisesRegex(ValueError, '`dim` must be at least 2 for 3'):
      models.optimal_prototypes(KEY, 3, 1)
    with self.assertRaisesRegex(ValueError, '`num_steps` must be at least 0'):
      models.optimal_prototypes(KEY, 5, 2, num_steps=-1)
    with self.assertRaisesRegex(
      ValueError, '`scale` must be finite and above 0'
    ):
      models.optimal_prototypes(KEY, 5, 2, scale=0.0)


class HeadsTest(parameterized.TestCase):
  @parameterized.parameters(
    (models.EtfHead, 5, models.simplex_etf),
    (models.PrototypeHead, 5, models.simplex_etf),
    (models.PrototypeHead, 9, models.optimal_prototypes),
  )
  def test_fixed_vectors(self, head, num_classes, place):
    features = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    module = head(num_classes)
    variables = module.init(KEY, features)
    self.assertEqual(
      jax.tree.map(jnp.shape, variables),
      {'prototypes': {'class_vectors': (num_classes, 6)}},
    )
    vectors = variables['prototypes']['class_vectors']
    cosine = _largest_cosine(place(KEY, num_classes, 6))
    self.assertLess(abs(_largest_cosine(vectors) - cosine), 1e-3)
    np.testing.assert_array_equal(
      module.apply(variables, features),
      models.cosine_logits(features, vectors),
    )
    # Under `mutable` too they stay what they are.
    _, updates = module.apply(variables, features, mutable=['prototypes'])
    jax.tree.map(np.testing.assert_array_equal, updates, variables)

  def test_no_gradient_to_the_vectors(self):
    features = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    head = models.EtfHead(3)
    variables = head.init(KEY, features)

    def loss(variables, features):
      return head.apply(variables, features)[:, 0].sum()

    of_vectors, of_features = jax.grad(loss, (0, 1))(variables, features)
    np.testing.assert_array_equal(
      of_vectors['prototypes']['class_vectors'], np.zeros((3, 6))
    )
    self.assertGreater(np.abs(of_features).max(), 1e-3)

  def test_errors(self):
    with self.assertRaisesRegex(ValueError, "head='prototypes'"):
      models.EtfHead(9).init(KEY, jnp.ones((2, 4)))
    with self.assertRaisesRegex(ValueError, '`features` must have two axes'):
      models.EtfHead(3).init(KEY, jnp.ones((2, 3, 4)))
    with self.assertRaisesRegex(TypeError, '`features` must be a float array'):
      models.PrototypeHead(3).init(KEY, jnp.ones((2, 4), jnp.int32))

  @parameterized.parameters(
    ('etf', models.EtfHead), ('prototypes', models.PrototypeHead)
  )
  def test_words(self, word, head):
    features = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    module = _heads.make_head(word, 5)
    variables = module.init(KEY, features)
    self.assertEqual(
      jax.tree.map(jnp.shape, variables),
      {
        'params': {'projection': {'kernel': (6, 6), 'bias': (6,)}},
        'prototypes': {'head': {'class_vectors': (5, 6)}},
      },
    )
    projected = models.LinearHead(6).apply(
      {'params': variables['params']['projection']}, features
    )
    np.testing.assert_array_equal(
      module.apply(variables, features),
      head(5).apply({'prototypes': variables['prototypes']['head']}, projected),
    )

  @parameterized.parameters('etf', 'prototypes')
  def test_relu_network_learns(self, word):
    # Without the projection ReLU features could not reach these directions.
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 64)
    x = (np.eye(4)[labels] + 0.1 * rng.normal(size=(64, 4))).astype(np.float32)
    model = models.MLP(4, widths=(16,), head=word)
    variables = dict(model.init(KEY, x, train=False))
    params = variables.pop('params')
    self.assertEqual(set(variables), {'prototypes'})
    before = jax.tree.map(np.array, variables)

    def loss_fn(params):
      cosines = model.apply({'params': params, **variables}, x, train=True)
      return -jnp.mean(cosines[jnp.arange(64), jnp.asarray(labels)])

    tx = optax.sgd(0.3, momentum=0.9)

    @functools.partial(jax.jit, static_argnums=2)
    def train(params, state, num_steps):
      def step(carry, _):
        params, state = carry
        updates, state = tx.update(jax.grad(loss_fn)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

      return jax.lax.scan(step, (params, state), length=num_steps)[0]

    params, _ = train(params, tx.init(params), 100)
    cosines = model.apply({'params': params, **variables}, x, train=False)
    own = np.asarray(cosines)[np.arange(64), labels]
    self.assertGreater(own.mean(), 0.95)
    jax.tree.map(np.testing.assert_array_equal, variables, before)

  def test_create_model(self):
    for word in ('etf', 'prototypes'):
      model = models.create_model('resnet32', num_classes=10, head=word)
      self.assertEqual(model.head, word)
    model = models.create_model('resnet32', num_classes=100, head='etf')
    with self.assertRaisesRegex(ValueError, "head='prototypes'"):
      jax.eval_shape(
        lambda: model.init(KEY, jnp.zeros((1, 8, 8, 3)), train=False)
      )


if __name__ == '__main__':
  absltest.main()
