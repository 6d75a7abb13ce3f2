"""What a model is trained to do: the loss of an example, and how well it does, in one place."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Num, PyTree, Shaped

from bsjax.config.errors import ConfigError
from bsjax.config.metrics import (
  ACCURACY,
  CROSS_ENTROPY,
  LossEntry,
  MetricEntry,
  check_name,
  stored,
)

Inputs = PyTree[Shaped[Array, 'example ...']]
Outputs = PyTree[Float[Array, 'example ...']]
Targets = PyTree[Shaped[Array, 'example ...']]
Values = Num[Array, 'example *position'] | Bool[Array, 'example *position']

Mask = Bool[Array, 'example *position']


@dataclasses.dataclass(frozen=True)
class Metric:
  """How well single examples are predicted; records hold the mean over a split.

  `per_example` takes outputs and targets and gives one value for each example, or for each of its
  positions. Values of examples that are true or false, or whole numbers, are added up exactly.
  `title` and `plural` are how people call it, `unit` is that of its values, or 'fraction' for what
  lies between 0 and 1 and is shown in percent. `margin` is the largest difference that counts as
  none; without it a hundredth of the middle final value does. `by_class`: targets are classes, and
  records also hold the means over the examples of each class.
  """

  name: str  # in columns of records.jsonl and keys of summary.json
  per_example: Callable[[Outputs, Targets], Values]
  higher_is_better: bool
  title: str = ''
  plural: str = ''
  unit: str = ''
  lowest: float | int = -math.inf
  highest: float | int = math.inf
  by_class: bool = False
  margin: float | None = None

  @property
  def entry(self) -> MetricEntry:
    """All that is said of it."""
    title = self.title or self.name.replace('_', ' ')
    low, high = (0, 1) if self.unit == ACCURACY.unit else (self.lowest, self.highest)
    words = self.name, title, self.plural or f'{title} values'
    said = self.higher_is_better, self.unit, low, high, self.by_class, self.margin
    return MetricEntry(*words, *said)


class Task:
  """The loss that is minimized, for each example, and metrics, the first of which judges runs.

  `loss` takes outputs and targets `[example, ...]` and gives `[example]`, or `[example, position,
  ...]`: what has positions is averaged over those of each example, with a `mask` (a function of
  targets, true where a position counts, of the shape that the loss has) over those that count.
  Without metrics runs are judged by the loss. `title` and `unit` are how people call the loss and
  its unit, `lowest` is the least that it can be. `guessing` is the loss of a model that knows
  nothing: a run whose loss is far above it has diverged; without it, far above the largest with
  which a run began.
  """

  def __init__(
    self,
    loss: Callable[[Outputs, Targets], Values],
    metrics: Sequence[Metric] = (),
    mask: Callable[[Targets], Mask] | None = None,
    title: str = 'loss',
    unit: str = '',
    guessing: float | None = None,
    lowest: float | int = -math.inf,
  ):
    """Raises ConfigError for a metric that cannot be recorded under its name."""
    self._loss, self._mask, self.said = loss, mask, LossEntry(title, unit, lowest)
    self.metrics = {metric.name: metric for metric in metrics}
    self.guessing = guessing
    _check(metrics)

  def loss(self, outputs: Outputs, targets: Targets) -> Float[Array, ' example']:
    """The losses of single examples."""
    return self._of_examples(self._loss(outputs, targets), targets, 'the loss', outputs)

  def measure(self, name: str, outputs: Outputs, targets: Targets) -> Values:
    """The values of a metric for single examples."""
    values = self.metrics[name].per_example(outputs, targets)
    return self._of_examples(values, targets, f'the metric {name}', outputs)

  def _of_examples(
    self, values: Shaped[Array, '...'], targets: Targets, what: str, outputs: Outputs
  ) -> Array:
    examples = len(jax.tree.leaves(outputs)[0])
    if not jnp.ndim(values) or len(values) != examples:
      raise ConfigError(
        f'{what} has the shape {list(jnp.shape(values))} for {examples} examples: give one value '
        'for each example and take no mean over them'
      )
    if values.ndim == 1:
      return values
    axes, mask = tuple(range(1, values.ndim)), self._mask and self._mask(targets)
    if mask is None:
      return values.mean(axes)
    if mask.shape != values.shape:
      raise ConfigError(f'the mask has the shape {mask.shape} and {what} {values.shape}')
    return jnp.where(mask, values, 0).sum(axes) / jnp.maximum(mask.sum(axes), 1)

  @functools.cached_property
  def entry(self) -> MetricEntry:
    """What is said of that by which runs are judged."""
    if self.metrics:
      return next(iter(self.metrics.values())).entry
    title = self.said.title
    return MetricEntry('loss', title, f'{title} values', False, self.said.unit, self.said.lowest)

  def stored(self) -> dict[str, Any]:
    """What config.json says of it, which is all that a report needs."""
    return stored(self.entry, self.said) | {'metrics': list(self.metrics)}


def _check(metrics: Sequence[Metric]) -> None:
  names = [metric.name for metric in metrics]
  for metric in metrics:
    check_name(metric.name)
    usual = metric.higher_is_better and metric.unit == ACCURACY.unit
    if metric.by_class and not usual:
      raise ConfigError(
        f'metric {metric.name}: by_class goes with a fraction of which more is better'
      )
  if len(set(names)) < len(names):
    raise ConfigError(f'the metrics {names} have a name twice')


def correct(
  logits: Float[Array, 'example class'], labels: Int[Array, ' example']
) -> Bool[Array, ' example']:
  """Whether the class with the largest logit is the example's."""
  return logits.argmax(-1) == labels


OF_CLASSES = Metric(**{**ACCURACY._asdict(), 'per_example': correct})
CLASSIFICATION = Task(
  optax.softmax_cross_entropy_with_integer_labels,
  (OF_CLASSES,),
  title=CROSS_ENTROPY.title,
  unit=CROSS_ENTROPY.unit,
  lowest=CROSS_ENTROPY.lowest,
)
