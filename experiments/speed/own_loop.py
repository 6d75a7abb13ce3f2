"""What `bsjax.noise.accumulate` costs in a loop of one's own, against `optax.MultiSteps`.

  python experiments/speed/own_loop.py OUT.json HARDWARE

One MLP (3,072 to 256 to 256 to 10, 855,050 parameters), micro-batches of 32, four to an update:
small products beside gradients as large as the model, so that what is done to gradients shows most.
Both sides run in turns in one process; ratios are of CPU time, ours over optax's, pair by pair.
"""

import json
import pathlib
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen

from bsjax import noise

MICRO_BATCH, MICRO_BATCHES, UPDATES, PAIRS = 32, 4, 4, 15
OPTIMIZERS = {
  'sgd': optax.sgd(0.1),
  'sgd, momentum 0.9': optax.sgd(0.1, momentum=0.9),
  'adam': optax.adam(1e-3),
}


class Mlp(linen.Module):
  @linen.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    for _ in range(2):
      x = linen.relu(linen.Dense(256)(x))
    return linen.Dense(10)(x)


def run_of(optimizer: optax.GradientTransformation) -> Callable[[], float]:
  """A function that trains some updates, and returns the CPU seconds that they took."""
  model = Mlp()
  inputs = jax.random.normal(jax.random.key(0), (MICRO_BATCH, 3072))
  labels = jnp.zeros(MICRO_BATCH, int)
  params = model.init(jax.random.key(1), inputs)

  def loss(params):
    logits = model.apply(params, inputs)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

  @jax.jit
  def train(params, state):
    def step(carry, _):
      params, state = carry
      updates, state = optimizer.update(jax.grad(loss)(params), state, params)
      return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, state), None, UPDATES * MICRO_BATCHES)[0]

  state = optimizer.init(params)
  jax.block_until_ready(train(params, state))

  def seconds() -> float:
    began = time.process_time()
    jax.block_until_ready(train(params, state))
    return time.process_time() - began

  return seconds


def ratios(optimizer: optax.GradientTransformation) -> dict[str, float]:
  ours = run_of(noise.accumulate(optimizer, MICRO_BATCHES, MICRO_BATCH))
  theirs = run_of(optax.MultiSteps(optimizer, MICRO_BATCHES).gradient_transformation())
  pairs = np.array([ours() / theirs() for _ in range(PAIRS)])
  low, middle, high = np.quantile(pairs, [0.1, 0.5, 0.9]).round(3).tolist()
  return {'median': middle, 'tenth': low, 'ninetieth': high, 'pairs': PAIRS}


if __name__ == '__main__':
  found = {name: ratios(optimizer) for name, optimizer in OPTIMIZERS.items()}
  versions = {'jax': jax.__version__, 'optax': optax.__version__, 'hardware': sys.argv[2]}
  result = {'ours over optax.MultiSteps, CPU time': found, **versions}
  pathlib.Path(sys.argv[1]).write_text(json.dumps(result, indent=2) + '\n')
  print(json.dumps(result, indent=2))
