"""Ways to run the lanes of a device, and which of them are worth timing where."""

import dataclasses

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


def usual(platform: str) -> Strategy:
  """The strategy that needs no timing to be a fair choice on a platform, such as 'cpu'."""
  return STRATEGIES['map-canonical' if platform == 'cpu' else 'vmap-native']


def candidates(platform: str, convolutions: bool, lanes_per_device: int) -> list[Strategy]:
  """What is worth timing, the usual strategy first.

  Left out is what cannot win: on a CPU, native convolutions inside a loop and grouped ones, which
  `vmap` makes of them, are 10 to 50 times slower (models/convolution.py); elsewhere the forms made
  for a CPU. Without convolutions the forms are all the same.
  """
  cpu = platform == 'cpu'
  names = [usual(platform).name]
  if cpu:
    names += ['map-im2col', 'vmap-im2col', 'unrolled-canonical']
  else:
    names += ['vmap-im2col', 'map-native', 'unrolled-native']
  worth = [STRATEGIES[name] for name in names]
  if not convolutions:
    first_of = {strategy.vectorize: strategy for strategy in reversed(worth)}
    worth = [strategy for strategy in worth if first_of[strategy.vectorize] is strategy]
  if lanes_per_device == 1:  # then side by side is one after the other
    worth = [strategy for strategy in worth if strategy.vectorize == worth[0].vectorize]
  most = MOST_UNROLLED.get(platform, MOST_UNROLLED_ELSEWHERE)
  return [s for s in worth if s.vectorize != 'unrolled' or lanes_per_device <= most]
