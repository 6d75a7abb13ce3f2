"""How a tick becomes a program: repeated over time, and over the lanes of a device."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree

TRIAL, LANE = 'trial', 'lane'  # the axes of `vmap`
# What micro-batches read at once may take: much less than a core's cache, which they share with a
# lane's weights. Where images are small, each read costs more than what it reads.
READ_BYTES = 2**18


def scan(tick: Callable, read: Callable, block_ticks: int, read_ticks: int) -> Callable:
  """Repeats a tick for `blocks` blocks of `block_ticks` ticks, from tick `first` on.

  The blocks are counted at run time, so one program serves every distance between evaluations; the
  ticks of a block are counted at compile time, so a GPU need not ask the host after each of them.
  `read(lane_params, source, first, count)` gives the micro-batches of `count` ticks; those of
  `read_ticks` ticks, a divisor of `block_ticks`, are read at once.
  """

  def run(
    state: Any, lane_params: Any, source: Any, first: Int[Array, ''], blocks: Int[Array, '']
  ) -> Any:
    def one(state: Any, at: tuple[Int[Array, ''], Any]) -> tuple[Any, None]:
      return tick(state, lane_params, source, *at), None

    def stretch(state: Any, begin: Int[Array, '']) -> tuple[Any, None]:
      batches = read(lane_params, source, begin, read_ticks)
      if read_ticks == 1:
        return one(state, (begin, jax.tree.map(lambda x: x[0], batches)))
      return jax.lax.scan(one, state, (begin + jnp.arange(read_ticks), batches))

    def block(number: Int[Array, ''], state: Any) -> Any:
      begins = first + number * block_ticks + jnp.arange(0, block_ticks, read_ticks)
      return jax.lax.scan(stretch, state, begins)[0]

    return jax.lax.fori_loop(0, blocks, block, state)

  return run


def ticks_read_at_once(block_ticks: int, tick_bytes: int) -> int:
  """Returns how many ticks of a block to read at once: as many as `READ_BYTES` hold, a divisor."""
  fits = [n for n in range(1, block_ticks + 1) if block_ticks % n == 0]
  return max(n for n in fits if n == 1 or n * tick_bytes <= READ_BYTES)


def over_lanes(function: Callable, how: str, rows: int | None = None) -> Callable:
  """Turns `function(state, lane_params, *shared)` of one lane into one of all lanes of a device.

  - 'map': one lane after the other, each with its weights in the processor's cache.
  - 'vmap': side by side in every operation. The lanes are `rows` rows of equal length, each of one
    trial (None: every lane a row), and what depends on the trial alone is computed once per row:
    reading, augmentation, and of a first layer one product with the kernels of all its lanes.
  - 'unrolled': side by side, each with operations of its own, for a `function` of tuples of lanes
    (`side_by_side`).
  """
  return {'map': _map, 'vmap': _vmap, 'unrolled': _unrolled}[how](function, rows)


def _map(function: Callable, rows: int | None) -> Callable:
  return lambda states, lane_params, *shared: jax.lax.map(
    lambda lane: function(*lane, *shared), (states, lane_params)
  )


def _vmap(function: Callable, rows: int | None) -> Callable:
  def run(states: PyTree, lane_params: Any, *shared: Any) -> PyTree:
    lanes = len(lane_params.trial)
    height = rows or lanes
    states, lane_params = jax.tree.map(
      lambda x: x.reshape(height, -1, *x.shape[1:]), (states, lane_params)
    )
    lane_params = lane_params.replace(trial=lane_params.trial[:, 0])
    within = jax.tree.map(lambda _: 0, lane_params).replace(trial=None)
    row = jax.vmap(lambda *lane: function(*lane, *shared), in_axes=(0, within), axis_name=LANE)
    results = jax.vmap(row, axis_name=TRIAL)(states, lane_params)
    return jax.tree.map(lambda x: x.reshape(lanes, *x.shape[2:]), results)

  return run


def _unrolled(function: Callable, rows: int | None) -> Callable:
  def run(states: PyTree, lane_params: Any, *shared: Any) -> PyTree:
    states, lane_params = (
      tuple(jax.tree.map(lambda x, i=i: x[i], tree) for i in range(len(lane_params.trial)))
      for tree in (states, lane_params)
    )
    return jax.tree.map(lambda *xs: jnp.stack(xs), *function(states, lane_params, *shared))

  return run


def if_live(function: Callable) -> Callable:
  """Turns `function(state, lane_params, *shared)` into one that is passed over by lanes not live.

  Of them it returns zeros. It is for lanes that run one after the other.
  """

  def run(state: PyTree, lane_params: Any, *shared: Any) -> PyTree:
    def of_live() -> PyTree:
      return function(state, lane_params, *shared)

    def zeros() -> PyTree:
      return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(of_live))

    return jax.lax.cond(lane_params.live, of_live, zeros)

  return run


def side_by_side(tick: Callable, read: Callable) -> tuple[Callable, Callable]:
  """Turns a tick of one lane, and what reads for it, into those of a tuple of lanes."""

  def ticks(states: tuple, lane_params: tuple, source: Any, index: Any, batches: tuple) -> tuple:
    lanes = zip(states, lane_params, batches, strict=True)
    return tuple(tick(state, params, source, index, batch) for state, params, batch in lanes)

  def reads(lane_params: tuple, *shared: Any) -> tuple:
    return tuple(read(params, *shared) for params in lane_params)

  return ticks, reads


def any_lane(flag: Bool[Array, '']) -> Bool[Array, '']:
  """Whether the flag is set in any lane that runs side by side with this one under `vmap`.

  It is the same for all of them, so under `vmap` a condition on it stays a branch.
  """
  return jax.lax.pmax(flag.astype(jnp.int32), (TRIAL, LANE)) > 0
