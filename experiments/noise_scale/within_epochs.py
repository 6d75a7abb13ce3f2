"""The noise scale by part of the epoch: of all examples, and of those an online estimate may see.

  python experiments/noise_scale/within_epochs.py

trains the MLP of configs/digits.py, and writes within_epochs.json beside itself. At points of the
last 15 of 30 epochs the gradients of all examples give the exact noise scale, and those of the
examples not yet drawn in this epoch what an online estimate has for its expectation there. No
sampling noise is left but that of the trials.
"""

import functools
import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from bsjax import data
from bsjax.config import base_config
from bsjax.stats.intervals import mean_interval
from bsjax.storage import records

HERE = Path(__file__).parent
TRIALS, EPOCHS, WIDTHS, MOMENTUM = 6, 30, (64, 64, 64, 10), 0.9
# batch size, learning rate, updates between two points
SETTINGS = [(8, 0.01, 3), (8, 0.003, 3), (32, 0.03, 1), (32, 0.1, 1)]
SETTINGS += [(128, 0.1, 1), (128, 0.3, 1), (256, 0.3, 1)]


def digits():
  """The training images, normalized and flat, and their labels."""
  config = base_config().data
  config.source = 'digits'
  dataset = data.load(config, 0)
  images = (np.asarray(dataset.train.images, np.float32) - dataset.mean) / dataset.std
  return jnp.asarray(images.reshape(len(images), -1)), jnp.asarray(dataset.train.labels)


IMAGES, LABELS = digits()
COUNT = len(LABELS)


def init(key):
  """Weights and biases of every layer."""
  sizes = itertools.pairwise(WIDTHS)
  return [
    (jax.random.normal(k, (a, b)) / np.sqrt(a), jnp.zeros(b))
    for k, (a, b) in zip(jax.random.split(key, 3), sizes, strict=True)
  ]


def backward(params, images, labels):
  """The inputs of every layer, and the derivatives of each example's loss by its outputs."""
  inputs = [images]
  for number, (weights, bias) in enumerate(params):
    out = inputs[-1] @ weights + bias
    inputs.append(jax.nn.relu(out) if number < 2 else out)
  deltas = [jax.nn.softmax(inputs[-1]) - jax.nn.one_hot(labels, WIDTHS[-1])]
  for layer in (2, 1):
    deltas.insert(0, (deltas[0] @ params[layer][0].T) * (inputs[layer] > 0))
  return inputs[:-1], deltas


def gradient(params, images, labels):
  """The mean gradient."""
  inputs, deltas = backward(params, images, labels)
  return [(a.T @ d / len(labels), d.mean(0)) for a, d in zip(inputs, deltas, strict=True)]


def noise(params, chosen):
  """tr(Sigma) and |G|^2 of the chosen examples, and how many they are; `chosen` is 0 or 1."""
  inputs, deltas = backward(params, IMAGES, LABELS)
  count = chosen.sum()
  squares, grad_sq = 0.0, 0.0
  for a, d in zip(inputs, deltas, strict=True):
    squares += ((a**2).sum(1) + 1) * (d**2).sum(1)
    mean = chosen[:, None] * d / count
    grad_sq += ((a.T @ mean) ** 2).sum() + (mean.sum(0) ** 2).sum()
  return (squares @ chosen / count - grad_sq) * count / jnp.maximum(count - 1, 1), grad_sq, count


@functools.partial(jax.jit, static_argnums=(1, 2))
def run(seed, batch_size, stride, rate):
  """Rows of (place in the epoch, exact trace and |G|^2, online trace and |G|^2) of one trial."""
  key = jax.random.key(seed)
  order_key = jax.random.fold_in(key, 1)
  orders = jnp.stack(
    [jax.random.permutation(jax.random.fold_in(order_key, e), COUNT) for e in range(EPOCHS + 1)]
  )
  places = jnp.argsort(orders, axis=1)  # of every example in every epoch
  updates = EPOCHS * COUNT // batch_size
  half = updates // 2

  def step(state, update):
    params, momentum = state
    drawn = jax.lax.dynamic_slice(orders.ravel(), (update * batch_size,), (batch_size,))
    grads = gradient(params, IMAGES[drawn], LABELS[drawn])
    momentum = jax.tree.map(lambda m, g: MOMENTUM * m + g, momentum, grads)
    return (jax.tree.map(lambda p, m: p - rate * m, params, momentum), momentum), None

  def point(state, number):
    update = half + number * stride
    epoch, place = jnp.divmod(update * batch_size, COUNT)
    exact = noise(state[0], jnp.ones(COUNT))
    trace, grad_sq, left = noise(state[0], (places[epoch] >= place).astype(jnp.float32))
    # As estimators.from_variances corrects for all COUNT examples, of which only `left` are drawn.
    online = trace, grad_sq + trace * (1 / COUNT - 1 / left)
    state, _ = jax.lax.scan(step, state, update + jnp.arange(stride))
    return state, jnp.stack([place / COUNT, *exact[:2], *online])

  params = init(jax.random.fold_in(key, 0))
  state = params, jax.tree.map(jnp.zeros_like, params)
  state, _ = jax.lax.scan(step, state, jnp.arange(half))
  return jax.lax.scan(point, state, jnp.arange((updates - half) // stride))[1]


def over_exact(trials, low, high, column):
  """A noise scale between two places in the epoch, over the exact one of whole epochs."""
  logs = []
  for rows in trials:
    here = rows[(rows[:, 0] >= low) & (rows[:, 0] < high)].mean(0)
    whole = rows.mean(0)
    logs.append(np.log(here[column] / here[column + 1]) - np.log(whole[1] / whole[2]))
  mean = mean_interval(logs)
  ends = [mean.value, mean.low, mean.high]
  return [None if x is None else round(float(np.exp(x)), 3) for x in ends]


def main():
  """One row per setting: geometric means over trials, with Student's interval for their log."""
  result = []
  for batch_size, rate, stride in SETTINGS:
    trials = [np.asarray(run(seed, batch_size, stride, rate), np.float64) for seed in range(TRIALS)]
    row = {'batch_size': batch_size, 'learning_rate': rate, 'n': TRIALS}
    row['exact'] = [round(float(rows[:, 1].mean() / rows[:, 2].mean())) for rows in trials]
    row['online, whole epochs'] = over_exact(trials, 0, 1, 3)
    row['online, first eighth'] = over_exact(trials, 0, 1 / 8, 3)
    row['exact, first eighth'] = over_exact(trials, 0, 1 / 8, 1)
    row['exact, at the end'] = over_exact(trials, 0, max(8, batch_size) / COUNT, 1)
    quarters = [(k / 4, (k + 1) / 4) for k in range(4)]
    row['online, by quarter'] = [over_exact(trials, *quarter, 3)[0] for quarter in quarters]
    row['exact, by quarter'] = [over_exact(trials, *quarter, 1)[0] for quarter in quarters]
    result.append(row)
    print(row, flush=True)
  records.write_json(HERE / 'within_epochs.json', result)


if __name__ == '__main__':
  main()
