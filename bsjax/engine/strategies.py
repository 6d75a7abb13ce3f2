"""Ways to run the lanes of a device, and which of them are worth timing where."""

import dataclasses
import importlib.util
from typing import Any

from bsjax.models import convolution

# The most lanes a device unrolls: every one of them is compiled apart.
MOST_UNROLLED = {'cpu': 4}
MOST_UNROLLED_ELSEWHERE = 16


@dataclasses.dataclass(frozen=True)
class Strategy:
  """How lanes run beside each other (vectorize.over_lanes), and convolve (convolution.FORMS)."""

  vectorize: str
  conv: str

  @property
  def name(self) -> str:
    return f'{self.vectorize}-{self.conv}'


STRATEGIES = {
  strategy.name: strategy
  for strategy in (
    Strategy(vectorize, conv)
    for vectorize in ('map', 'vmap', 'unrolled')
    for conv in convolution.FORMS
  )
}


# Worth timing on a kind of device, the usual one first. Left out is what cannot win. On a CPU,
# native convolutions inside a loop and grouped ones, which `vmap` makes of them, are 10 to 50 times
# slower (models/convolution.py). On an NVIDIA GPU the weight gradient of a grouped convolution is:
# a tick of 105 lanes of ResNet-20 took 136 ms on an H200 in float32, and 39 as im2col
# (experiments/speed).
WORTH_TIMING = {
  'cpu': ('map-canonical', 'map-im2col', 'vmap-im2col', 'unrolled-canonical'),
  'nvidia': ('vmap-pallas', 'vmap-im2col', 'map-native', 'unrolled-native'),
}
WORTH_TIMING_ELSEWHERE = ('vmap-native', 'vmap-im2col', 'map-native', 'unrolled-native')
# Products of numbers whose parts are tf32 need a tensor core that knows these.
OLDEST_TENSOR_CORE = (8, 0)  # compute capability
KERNELS = 'jax.experimental.pallas.triton'  # which JAX may move


def kind(device: Any) -> str:
  """Returns a device's platform, or 'nvidia' if `lane_convolution` has programs for it."""
  capability = str(getattr(device, 'compute_capability', ''))
  if device.platform != 'gpu' or not capability.replace('.', '').isdigit():
    return device.platform  # ROCm names its architectures otherwise
  new = tuple(int(part) for part in capability.split('.')) >= OLDEST_TENSOR_CORE
  return 'nvidia' if new and _installed(KERNELS) else device.platform


def _installed(module: str) -> bool:
  try:
    return importlib.util.find_spec(module) is not None
  except ModuleNotFoundError:  # of what it is in
    return False


def usual(kind: str) -> Strategy:
  """The strategy that needs no timing to be a fair choice on a kind of device, such as 'cpu'."""
  return STRATEGIES[WORTH_TIMING.get(kind, WORTH_TIMING_ELSEWHERE)[0]]


def candidates(kind: str, convolutions: bool, lanes_per_device: int) -> list[Strategy]:
  """What is worth timing on a kind of device, the usual strategy first.

  Without convolutions the forms are all the same.
  """
  worth = [STRATEGIES[name] for name in WORTH_TIMING.get(kind, WORTH_TIMING_ELSEWHERE)]
  if not convolutions:
    first_of = {strategy.vectorize: strategy for strategy in reversed(worth)}
    worth = [strategy for strategy in worth if first_of[strategy.vectorize] is strategy]
  if lanes_per_device == 1:  # then side by side is one after the other
    worth = [strategy for strategy in worth if strategy.vectorize == worth[0].vectorize]
  most = MOST_UNROLLED.get(kind, MOST_UNROLLED_ELSEWHERE)
  return [s for s in worth if s.vectorize != 'unrolled' or lanes_per_device <= most]
