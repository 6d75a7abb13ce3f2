"""The gradient noise scale in a JAX loop of one's own: gradient accumulation, and replicas.

python docs/examples/noise_in_jax.py
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

from bsjax import noise
from bsjax.stats.estimate import Estimate

MICRO_BATCH, MICRO_BATCHES, EPOCHS = 16, 4, 5


def loss(params: dict, images: jax.Array, labels: jax.Array) -> jax.Array:
  logits = images @ params['kernel'] + params['bias']
  return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def digits() -> tuple[np.ndarray, np.ndarray]:
  images, labels = load_digits(return_X_y=True)
  return images[:1536].astype(np.float32) / 16, labels[:1536].astype(np.int32)


def train() -> list[Estimate]:
  """Trains with accumulated gradients; returns the noise scale of every epoch."""
  images, labels = digits()
  params = {'kernel': jnp.zeros((64, 10)), 'bias': jnp.zeros(10)}
  # In the place of optax.MultiSteps(optax.sgd(0.5), MICRO_BATCHES):
  tx = noise.accumulate(optax.sgd(0.5), MICRO_BATCHES, MICRO_BATCH, population=len(images))
  state = tx.init(params)

  @jax.jit
  def step(params, state, images, labels):
    updates, state = tx.update(jax.grad(loss)(params, images, labels), state, params)
    return optax.apply_updates(params, updates), state

  scales, rng = [], np.random.default_rng(0)
  for _ in range(EPOCHS):
    for batch in rng.permutation(len(images)).reshape(-1, MICRO_BATCH):
      params, state = step(params, state, images[batch], labels[batch])
    scales.append(noise.estimate(state.window))
    state = state._replace(window=tx.init(params).window)  # the next epoch is measured by itself
  return scales


def replicas(batches: int = 100) -> Estimate:
  """Measures at the start of training, each micro-batch on a replica of its own."""
  images, labels = digits()
  params = {'kernel': jnp.zeros((64, 10)), 'bias': jnp.zeros(10)}

  def of_replica(images, labels, window):
    grads = jax.tree.map(lambda g: g[None], jax.grad(loss)(params, images, labels))
    return noise.observe(grads, MICRO_BATCH, window, axis_name='replica')

  # So it is written under jax.pmap or jax.shard_map, too.
  observe = jax.jit(jax.vmap(of_replica, (0, 0, None), None, axis_name='replica'))
  rng = np.random.default_rng(0)
  window = noise.start()
  for _ in range(batches):
    batch = rng.integers(0, len(images), (MICRO_BATCHES, MICRO_BATCH))
    window = observe(images[batch], labels[batch], window)
  return noise.estimate(window)


def shown(scale: Estimate) -> str:
  if scale.value is None:
    return 'undefined'
  high = 'unbounded' if scale.unbounded else f'{scale.high:.0f}'
  return f'{scale.value:.0f} examples, 95% interval {scale.low:.0f} to {high}'


if __name__ == '__main__':
  for epoch, scale in enumerate(train(), 1):
    print(f'epoch {epoch}: {shown(scale)}')
  print(f'at the start, by replicas: {shown(replicas())}')
