"""Maxima over windows, and gradients of models that no rounding can lose."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.built_models import SMALL, build, shapes, step_gradient

from bsjax import models
from bsjax.models.mobilenet import relu6
from bsjax.models.pooling import larger, max_pool


def same(actual, expected):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), actual, expected)


@pytest.mark.parametrize(
  ('size', 'window', 'strides', 'padding'),
  [
    ((8, 6), (2, 2), (2, 2), 'VALID'),
    ((9, 6), (3, 2), (3, 2), 'SAME'),
    ((7, 7), (2, 2), (2, 2), 'VALID'),
    ((7, 7), (2, 2), (2, 2), 'SAME'),
    ((8, 8), (2, 2), (2, 2), ((1, 1), (1, 1))),
    ((8, 8), (3, 3), (2, 2), ((1, 1), (1, 1))),
  ],
)
def test_it_equals_that_of_flax(size, window, strides, padding):
  images = jnp.asarray(np.random.default_rng(0).normal(size=(2, *size, 3)), jnp.float32)

  def value_and_gradient(pool):
    pooled, vjp = jax.vjp(lambda x: pool(x, window, strides, padding), images)
    return pooled, vjp(jnp.cos(pooled))

  same(value_and_gradient(max_pool), value_and_gradient(nn.max_pool))


def test_the_first_of_equal_maxima_gets_the_gradient():
  """In a tile the first of a row, then of the rows."""
  tiles = jnp.array([[1.0, 1, 0, 2], [1, 1, 2, 2]])[None, :, :, None]
  gradient = jax.grad(lambda x: max_pool(x, (2, 2), (2, 2)).sum())(tiles)
  np.testing.assert_array_equal(gradient[0, ..., 0], [[1, 0, 0, 1], [0, 0, 0, 0]])
  assert jax.grad(larger, (0, 1))(jnp.float32(2), jnp.float32(2)) == (1.0, 0.0)


def test_what_is_not_a_number_stays_so():
  images = jnp.zeros((1, 4, 4, 1)).at[0, 1, 2, 0].set(jnp.nan).at[0, 2, 0, 0].set(-jnp.inf)
  pooled = max_pool(images, (2, 2), (2, 2))[0, ..., 0]
  np.testing.assert_array_equal(pooled, [[0, jnp.nan], [0, 0]])
  assert jnp.isnan(relu6(jnp.float32(jnp.nan)))


def test_products_with_the_hessian_are_those_of_flax():
  images = jnp.asarray(np.random.default_rng(1).normal(size=(2, 4, 6, 3)), jnp.float32)

  def product(pool):
    gradient = jax.grad(lambda x: jnp.sin(pool(x, (2, 2), (2, 2))).sum())
    return jax.jvp(gradient, (images,), (jnp.cos(images),))[1]

  same(product(max_pool), product(nn.max_pool))


def float_comparisons(function, *arguments):
  """How often a program asks whether two floats are equal."""
  lowered = jax.jit(function).lower(*arguments).as_text()
  return len(re.findall(r'stablehlo\.compare +EQ,[^:]*\bFLOAT\b', lowered))


@pytest.mark.parametrize('name', models.MODELS)
def test_no_gradient_asks_whether_two_floats_are_equal(name):
  """As a value that is computed anew beside it may be rounded otherwise than before.

  Flax's normalization asks this of each variance, which it holds above zero.
  """
  model = build(name, num_classes=7, width=SMALL[name], normalization='none')
  images, labels = jnp.zeros((8, 32, 32, 3)), jnp.zeros(8, int)
  start = shapes(model, (1, 32, 32, 3))
  params = start.pop('params')
  assert not float_comparisons(step_gradient(model, images, labels), params, start)


@pytest.mark.parametrize('maximum', [lambda x: x.max(), lambda x: jnp.maximum(x, 1).sum()])
def test_such_a_question_would_be_noticed(maximum):
  assert float_comparisons(jax.grad(maximum), jnp.arange(3.0))
  assert not float_comparisons(jax.grad(lambda x: larger(x, 1 - x).sum()), jnp.arange(3.0))
