"""What a model is trained to do: the loss of an example, and how well it does, in one place."""

from collections.abc import Callable
from typing import NamedTuple

import optax
from jaxtyping import Array, Bool, Float, Int, Num

from bsjax.config.metrics import METRIC, MetricEntry

Outputs = Float[Array, 'example *output']
Targets = Num[Array, ' example']


class Metric(NamedTuple):
  """How well single examples are predicted; records hold the mean over a split.

  Values that are true or false, or whole numbers, are added up exactly.
  """

  per_example: Callable[[Outputs, Targets], Num[Array, ' example'] | Bool[Array, ' example']]
  entry: MetricEntry


class Task(NamedTuple):
  """The loss that is minimized, for each example, and what else is said of the outputs."""

  loss: Callable[[Outputs, Targets], Float[Array, ' example']]
  metrics: dict[str, Metric]  # by the name in columns of records.jsonl


def correct(
  logits: Float[Array, 'example class'], labels: Int[Array, ' example']
) -> Bool[Array, ' example']:
  """Whether the class with the largest logit is the example's."""
  return logits.argmax(-1) == labels


CLASSIFICATION = Task(
  loss=optax.softmax_cross_entropy_with_integer_labels,  # of `config.metrics.LOSS`
  metrics={METRIC.name: Metric(correct, METRIC)},
)
