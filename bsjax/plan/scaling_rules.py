"""How a learning rate given at one batch size becomes that of another: rules, one or several."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from bsjax.config.errors import Problem, unknown


@dataclasses.dataclass(frozen=True)
class ScalingRule:
  """What is known of a rule of `scaling.rule`."""

  exponent: float  # of the ratio of batch sizes
  title: str  # what it is called after 'with', such as square-root scaling
  way: str  # what it is called as a way to train, such as the learning rate kept
  method: str  # what the paragraph on method says became of the learning rates


RULES = {
  'none': ScalingRule(0.0, 'an unchanged learning rate', 'the learning rate kept', 'kept'),
  'sqrt': ScalingRule(
    0.5, 'square-root scaling', 'square-root scaling', 'scaled by the square root of'
  ),
  'linear': ScalingRule(1.0, 'linear scaling', 'linear scaling', 'scaled in proportion to'),
}
SAME = 1e-9  # relative: rates so close differ by rounding only


def learning_rates_of(config: ConfigDict, batch_size: int) -> list[float]:
  """Returns the learning rates of a batch size in a study: those of all its scaling rules."""
  rule, base_batch_size = config.scaling.rule, config.scaling.base_batch_size
  return rates(rule, config.learning_rates, batch_size, base_batch_size)


def rate_factor(config: Mapping[str, Any] | ConfigDict, batch_size: int) -> float:
  """The learning rates of a batch size as a multiple of those given; 1 with several rules."""
  scaling = config['scaling']
  rules = names(scaling['rule'])
  return 1.0 if len(rules) > 1 else scaled(rules[0], 1.0, batch_size, scaling['base_batch_size'])


def names(rule: str) -> list[str]:
  """The rules that `scaling.rule` names, such as 'none,sqrt,linear', in its order."""
  return [name.strip() for name in rule.split(',')]


def scaled(rule: str, learning_rate: float, batch_size: int, base_batch_size: int) -> float:
  """The learning rate of a batch size by one rule, from the one given at the base batch size."""
  return learning_rate * (batch_size / base_batch_size) ** RULES[rule].exponent


def rates(
  rule: str, learning_rates: Sequence[int | float], batch_size: int, base_batch_size: int
) -> list[float]:
  """All learning rates that a batch size gets: the union over rules, ascending.

  Rates of two rules that differ by rounding only are one, and the less scaled of them is taken, so
  that a rate of the grid is the same number at every batch size. One rule merges nothing.
  """
  given, rules = sorted(map(float, learning_rates)), names(rule)
  if len(rules) == 1:
    return [scaled(rules[0], rate, batch_size, base_batch_size) for rate in given]
  merged: list[float] = []
  for name in sorted(rules, key=lambda name: RULES[name].exponent):
    for rate in given:
      value = scaled(name, rate, batch_size, base_batch_size)
      if not any(same(value, other) for other in merged):
        merged.append(value)
  return sorted(merged)


def same(a: float, b: float) -> bool:
  """Whether two learning rates differ by rounding only."""
  return math.isclose(a, b, rel_tol=SAME)


def conflicts(rule: str) -> list[Problem]:
  """Lists the names in `scaling.rule` that are no rules, or stand there twice."""
  given = names(rule)
  sentences = [unknown('scaling.rule', name, RULES) for name in given if name not in RULES]
  if len(set(given)) < len(given):
    sentence = f'scaling.rule={rule!r} names a rule twice; give each once'
    sentences.append(Problem(sentence, 'scaling.rule'))
  return sentences
