"""Squared norms of the gradients of single examples, and their products with a mean gradient.

A dense layer or a convolution has, for one example, the gradient A' D: A [position, input] is what
each place of its output saw, D [position, output] the gradient there. Its norm needs no A' D, only
the two Gram matrices: |A' D|^2 = sum (A A') * (D D') (Goodfellow 2015, arXiv:1510.01799, for one
position; Gray et al. 2024, arXiv:2411.00999, section 3, for many). Where that takes fewer
operations than A' D itself, it is done so; other gradients are formed, a few examples at a time.
"""

import collections
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util
from flax.linen.linear import canonicalize_padding
from jaxtyping import Array, PyTree, Shaped

from bsjax.models import convolution

Loss = Callable[[Array, Array], Array]  # (outputs, targets) -> [example], see models/task.py


class Products(NamedTuple):
  """For every layer `g_i' M g_i` and `g_i' M G` of the examples, in the metric M of a scaling.

  Keys are the paths of layers; values are float32 `[example]`, all chunks in one.
  """

  squares: dict[str, Any]
  with_mean: dict[str, Any]


class Tapped(NamedTuple):
  """A layer whose gradient need not be formed: how many positions its output has, and of what."""

  path: str
  output_shape: tuple[int, ...]
  patches: Callable[[Array], Array]  # its input [1, ...] -> [position, input]


def tapped_layers(
  model: Any, variables: PyTree, image: PyTree[Shaped[Array, '1 ...']], scaled: bool
) -> list[Tapped]:
  """Returns the layers whose Gram matrices cost less than their gradient.

  With a scaling of single coordinates that holds for one position only, where the squared norm is
  (a^2)' P^2 d^2. Layers that are used twice are left out: their norms do not add up. So are all of
  models that are no flax modules of bsjax: it is not known what they do with their layers.
  """
  if hasattr(model, 'training_outputs'):
    return []
  cheaper: list[Tapped] = []
  calls: collections.Counter[str] = collections.Counter()

  def note(next_fun: Callable, args: tuple, kwargs: dict, context: Any) -> Array:
    out = next_fun(*args, **kwargs)
    patches = _patches(context.module) if context.method_name == '__call__' else None
    if patches:
      path = '/'.join(context.module.path)
      calls[path] += 1
      if _is_cheaper(jax.eval_shape(patches, args[0]).shape, out.shape[-1], scaled):
        cheaper.append(Tapped(path, out.shape, patches))
    return out

  def run(image: PyTree) -> Array:
    with nn.intercept_methods(note):
      return model.apply(variables, image, train=False)

  jax.eval_shape(run, image)
  return [layer for layer in cheaper if calls[layer.path] == 1]


def _is_cheaper(patches: tuple[int, int], outputs: int, scaled: bool) -> bool:
  positions, inputs = patches
  if scaled:
    return positions == 1
  return positions**2 * (inputs + outputs) <= positions * inputs * outputs


def _patches(module: nn.Module) -> Callable[[Array], Array] | None:
  """How the input of a layer becomes [position, input]; None for layers of other kinds."""
  if type(module) is nn.Dense:
    return lambda x: x.reshape(-1, x.shape[-1])
  if type(module) is not nn.Conv or len(module.kernel_size) != 2:
    return None
  plain = module.feature_group_count == 1 and module.mask is None
  ones = all(x in (None, 1, (1, 1)) for x in (module.input_dilation, module.kernel_dilation))
  padding = canonicalize_padding(module.padding, 2)
  if not plain or not ones or padding in ('CIRCULAR', 'CAUSAL', 'REFLECT'):
    return None
  strides = module.strides or 1
  strides = (strides, strides) if isinstance(strides, int) else tuple(strides)
  return lambda x: convolution.patches(x, module.kernel_size, strides, padding)


def products(
  model: nn.Module,
  loss: Loss,
  variables: PyTree,
  mean: PyTree,
  scaling: PyTree | None,
  images: PyTree[Shaped[Array, 'chunk example ...']],
  labels: PyTree[Shaped[Array, 'chunk example ...']],
) -> Products:
  """Returns the products of single examples with themselves and with `mean`, layer by layer.

  The examples come in chunks, and only those of one chunk are differentiated at a time.
  `loss` is that of outputs in evaluation mode.
  M is I without, and diag(scaling^2) with a scaling.
  """
  one_image = jax.tree.map(lambda x: x[0, :1], images)
  tapped = tapped_layers(model, variables, one_image, scaling is not None)
  flat = {k: traverse_util.flatten_dict(t, sep='/') for k, t in _trees(variables, mean, scaling)}
  inside = {f'{layer.path}/{name}' for layer in tapped for name in ('kernel', 'bias')}
  rest = {name: x for name, x in flat['params'].items() if name not in inside}
  taps = {layer.path: jnp.zeros(layer.output_shape) for layer in tapped}
  forward = functools.partial(_tapped_loss, model, loss, variables, flat['params'], tapped)

  def one(image: PyTree, label: PyTree) -> tuple[dict, dict]:
    alone = jax.tree.map(lambda x: x[None], (image, label))
    (grads, deltas), seen = jax.grad(forward, argnums=(0, 1), has_aux=True)(rest, taps, *alone)
    squares, with_mean = _leaf_products(grads, flat)
    for layer in tapped:
      gram = _gram_products(layer, seen[layer.path], deltas[layer.path], flat)
      squares[layer.path], with_mean[layer.path] = gram
    return squares, with_mean

  chunks = jax.lax.map(lambda chunk: jax.vmap(one)(*chunk), (images, labels))
  return Products(*jax.tree.map(jnp.ravel, chunks))


def _trees(variables: PyTree, mean: PyTree, scaling: PyTree | None) -> list[tuple[str, PyTree]]:
  params = variables['params']
  scaling = jax.tree.map(jnp.ones_like, params) if scaling is None else scaling
  metric = jax.tree.map(jnp.square, scaling)
  lowered = jax.tree.map(jnp.multiply, metric, mean)
  return [('params', params), ('metric', metric), ('lowered', lowered)]


def _tapped_loss(model, loss, variables, params, tapped, rest, taps, image, label):
  """The loss with something added to the output of tapped layers; beside it, what these saw."""
  seen, paths = {}, {layer.path for layer in tapped}

  def tap(next_fun: Callable, args: tuple, kwargs: dict, context: Any) -> Array:
    out = next_fun(*args, **kwargs)
    path = '/'.join(context.module.path)
    if context.method_name != '__call__' or path not in paths:
      return out
    seen[path] = args[0]
    return out + taps[path].astype(out.dtype)

  full = traverse_util.unflatten_dict({**params, **rest}, sep='/')
  with nn.intercept_methods(tap):
    outputs = model.apply({**variables, 'params': full}, image, train=False)
  return loss(outputs, label).mean(), seen


def _leaf_products(grads: dict, flat: dict) -> tuple[dict, dict]:
  """Products of gradients that were formed, summed over the parameters of a layer."""
  squares, with_mean = {}, {}
  for name, grad in grads.items():
    layer = name.rpartition('/')[0]
    squares[layer] = squares.get(layer, 0) + jnp.vdot(grad * flat['metric'][name], grad)
    with_mean[layer] = with_mean.get(layer, 0) + jnp.vdot(grad, flat['lowered'][name])
  return squares, with_mean


def _gram_products(layer: Tapped, seen: Array, delta: Array, flat: dict) -> tuple[Array, Array]:
  """Products of a gradient A' D that is not formed, and of the bias's, the sum of D."""
  a = layer.patches(seen).astype(jnp.float32)
  d = delta.reshape(len(a), -1)
  metric, lowered = (
    flat[kind][f'{layer.path}/kernel'].reshape(a.shape[1], d.shape[1])
    for kind in ('metric', 'lowered')
  )
  single = len(a) == 1
  square = (a[0] ** 2) @ metric @ (d[0] ** 2) if single else jnp.vdot(a @ a.T, d @ d.T)
  with_mean = jnp.vdot(a @ lowered, d)
  bias = f'{layer.path}/bias'
  if bias in flat['params']:
    total = d.sum(0)
    square += jnp.vdot(flat['metric'][bias] * total, total)
    with_mean += jnp.vdot(flat['lowered'][bias], total)
  return square, with_mean
