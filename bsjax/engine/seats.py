"""Where the lanes of a group sit on the devices, and what makes each of them itself."""

import numpy as np
from jaxtyping import Bool, Int

from bsjax.engine import device_axis
from bsjax.engine.lanes import LaneParams
from bsjax.engine.strategies import Strategy
from bsjax.plan.lanes import Group


def seating(
  strategy: Strategy, trials: Int[np.ndarray, ' lane'], devices: int
) -> tuple[Int[np.ndarray, 'device seat'], int]:
  """Returns which lane sits where, and of how many rows (`vectorize.over_lanes`)."""
  if strategy.vectorize == 'vmap':
    return device_axis.deal_by_trial(trials, devices)
  order = device_axis.deal(len(trials), devices)
  return order, order.shape[1]


def evened(
  order: Int[np.ndarray, 'device seat'], out: Bool[np.ndarray, ' lane']
) -> Int[np.ndarray, 'device seat']:
  """Returns which lane sits where, once those that are out leave devices unequal work.

  `out` is of the lanes of a group. Where no device has more to do than it must, nothing moves.
  """
  live, lanes = ~out, np.unique(order)
  most = live[order].sum(axis=1).max()
  if most <= -(-live[lanes].sum() // len(order)):
    return order
  dealt = np.concatenate([lanes[live[lanes]], lanes[out[lanes]]])
  dealt = np.concatenate([dealt, dealt[-1:].repeat(order.size - len(dealt))])
  return dealt.reshape(-1, len(order)).T


def params_of(group: Group) -> LaneParams:
  """Returns what makes each lane of a group itself, as host arrays `[lane]`."""
  values = [dict(lane.hyperparameters) for lane in group.lanes]
  return LaneParams(
    learning_rate=np.array([lane.learning_rate for lane in group.lanes], np.float32),
    accumulation=np.array([lane.accumulation for lane in group.lanes], np.int32),
    trial=np.array([lane.trial for lane in group.lanes], np.int32),
    hyperparameters={
      name: np.array([own[name] for own in values], np.float32) for name in values[0]
    },
    live=np.ones(len(group.lanes), bool),
  )
