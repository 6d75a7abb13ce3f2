"""One setting after the other in plain JAX: a Python loop over steps, or a scan over them."""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PyTree, Shaped

from benchmark import works
from benchmark.works import Work


@dataclasses.dataclass(frozen=True)
class Sample:
  """One measurement: seconds of training, and the loss of every setting it trained after it."""

  seconds: float
  losses: list[float]
  # Of all cores that this process kept busy meanwhile; None: not known.
  cpu_seconds: float | None = None


# (examples that every setting sees, indices of the settings or None for all) -> what was measured.
Run = Callable[[int, Sequence[int] | None], Sample]


def train_step(
  model: Any,
  state: tuple[PyTree, PyTree],
  learning_rate: Float[Array, ''],
  images: Shaped[Array, 'example ...'],
  labels: Int[Array, 'example ...'],
) -> tuple[PyTree, PyTree]:
  """Returns parameters and momentum after one update on a batch."""
  params, momentum = state

  def loss(params: PyTree) -> Float[Array, '']:
    logits = model.apply({'params': params}, images, train=True)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

  updates, momentum = _optimizer(learning_rate).update(jax.grad(loss)(params), momentum, params)
  return optax.apply_updates(params, updates), momentum


def _optimizer(learning_rate: Float[Array, ''] | float) -> optax.GradientTransformation:
  return optax.sgd(learning_rate, works.MOMENTUM)


def step_loop(work: Work) -> Run:
  """A compiled step for each batch size, called from Python, its batches on the device before."""
  step = jax.jit(functools.partial(train_step, works.model(work)), donate_argnums=0)
  cut = functools.cache(lambda size, trial: _cut(work, size, trial))

  def train(setting: works.Setting, state: tuple, rate: Array, examples: int) -> tuple:
    for batch in cut(setting.batch_size, setting.trial)[: examples // setting.batch_size]:
      state = step(state, rate, *batch)
    return state

  return _runner(work, train, cut)


def scan_loop(work: Work) -> Run:
  """A compiled scan over the steps of a chunk, called from Python for every chunk."""
  form = 'native' if work.accelerator else 'canonical'
  step = functools.partial(train_step, works.model(work, form))

  @functools.partial(jax.jit, donate_argnums=0)
  def steps(state: tuple, rate: Array, images: Array, labels: Array) -> tuple:
    def one_step(state: tuple, batch: tuple) -> tuple[tuple, None]:
      return step(state, rate, *batch), None

    return jax.lax.scan(one_step, state, (images, labels))[0]

  cut = functools.cache(lambda size, trial: _cut(work, size, trial, stacked=True))

  def train(setting: works.Setting, state: tuple, rate: Array, examples: int) -> tuple:
    for chunk in cut(setting.batch_size, setting.trial)[: examples // work.chunk]:
      state = steps(state, rate, *chunk)
    return state

  return _runner(work, train, cut)


def _cut(work: Work, size: int, trial: int, stacked: bool = False) -> list[tuple[Array, Array]]:
  """Returns the batches of a trial on the device; stacked, an entry is a chunk of them."""
  images, labels = works.examples(work, trial)
  shape = (work.chunk // size, size) if stacked else (size,)
  batches = (x.reshape(-1, *shape, *x.shape[1:]) for x in (images, labels))
  return [(jnp.asarray(x), jnp.asarray(y)) for x, y in zip(*batches, strict=True)]


def _runner(work: Work, train: Callable, cut: Callable) -> Run:
  """Times `train` on settings in turn; initial states are on the device before the clock starts."""
  start = functools.cache(lambda trial: works.initial_params(work, trial))
  losses = evaluator(work)

  def run(examples: int, which: Sequence[int] | None = None) -> Sample:
    settings = [work.settings[i] for i in which] if which is not None else work.settings
    states = [initial(start(setting.trial)) for setting in settings]
    rates = [jnp.float32(setting.learning_rate) for setting in settings]
    jax.block_until_ready([cut(s.batch_size, s.trial) for s in settings])
    jax.block_until_ready((states, rates))
    begun, busy = time.perf_counter(), time.process_time()
    for i, setting in enumerate(settings):
      states[i] = train(setting, states[i], rates[i], examples)
    jax.block_until_ready(states)
    seconds, busy = time.perf_counter() - begun, time.process_time() - busy
    return Sample(seconds, [losses(params) for params, _ in states], busy)

  return run


def initial(params: PyTree) -> tuple[PyTree, PyTree]:
  """Returns parameters and momentum before the first update, on the device."""
  params = jax.tree.map(jnp.array, params)
  return params, _optimizer(0.0).init(params)


def evaluator(work: Work) -> Callable[[PyTree], float]:
  """Returns the function from parameters to the mean loss on the examples of `works.evaluated`."""
  model = works.model(work)
  images, labels = (jnp.asarray(x) for x in works.evaluated(work))

  @jax.jit
  def loss(params: PyTree) -> Float[Array, '']:
    logits = model.apply({'params': params}, images, train=False)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

  return lambda params: float(np.asarray(loss(params)))
