"""What a task says of its loss and metrics, and what it refuses."""

import contextlib
import math

import jax.numpy as jnp
import numpy as np
import pytest

from bsjax.config.errors import ConfigError
from bsjax.models.task import CLASSIFICATION, Metric, Task


def off_by(outputs, targets):
  return jnp.abs(outputs - targets)


def test_a_fraction_lies_between_0_and_1_and_other_metrics_where_they_say():
  fraction = Metric('hits', off_by, True, unit='fraction', lowest=-5, highest=5).entry
  assert (fraction.lowest, fraction.highest) == (0, 1)
  bits = Metric('bits', off_by, False, unit='bits', lowest=0).entry
  assert (bits.lowest, bits.highest, bits.higher_is_better) == (0, math.inf, False)


def test_names_for_people_follow_from_that_of_the_metric():
  plain = Metric('absolute_error', off_by, False).entry
  assert (plain.title, plain.plural) == ('absolute error', 'absolute error values')
  titled = Metric('x', off_by, False, title='miss', margin=0.5).entry
  assert (titled.title, titled.plural, titled.margin) == ('miss', 'miss values', 0.5)
  assert Metric('x', off_by, False, title='miss', plural='misses').entry.plural == 'misses'


def test_the_first_metric_judges_and_without_any_the_loss():
  two = Task(off_by, [Metric('a', off_by, True), Metric('b', off_by, False)])
  assert two.entry.name == 'a' and two.stored()['metrics'] == ['a', 'b']
  none = Task(off_by, title='next-token loss', unit='nats', lowest=0)
  entry = none.entry
  assert (entry.name, entry.title, entry.unit) == ('loss', 'next-token loss', 'nats')
  assert not entry.higher_is_better and entry.lowest == 0
  assert CLASSIFICATION.entry.name == 'accuracy' and CLASSIFICATION.entry.by_class


@pytest.mark.parametrize(
  ('better', 'unit', 'refused'),
  [(True, 'fraction', False), (False, 'fraction', True), (True, 'mm', True), (False, '', True)],
)
def test_only_a_fraction_of_which_more_is_better_is_taken_by_class(better, unit, refused):
  metric = Metric('hits', off_by, better, unit=unit, by_class=True)
  words = 'by_class goes with a fraction of which more is better'
  with pytest.raises(ConfigError, match=words) if refused else contextlib.nullcontext():
    Task(off_by, [metric])


def test_a_name_can_be_had_once():
  with pytest.raises(ConfigError, match='have a name twice'):
    Task(off_by, [Metric('a', off_by, True), Metric('b', off_by, True), Metric('a', off_by, True)])


@pytest.mark.parametrize('shape', [(), (3,), (1, 4)])
def test_a_loss_that_is_not_one_of_each_example_is_refused(shape):
  task = Task(lambda outputs, targets: jnp.zeros(shape))
  with pytest.raises(ConfigError, match='for 4 examples: give one value'):
    task.loss(jnp.zeros((4, 2)), jnp.zeros(4))


def test_a_mask_has_the_shape_of_what_it_masks():
  task = Task(off_by, mask=lambda targets: jnp.ones((2, 1), bool))
  with pytest.raises(ConfigError, match=r'the mask has the shape \(2, 1\) and the loss \(2, 3\)'):
    task.loss(jnp.zeros((2, 3)), jnp.zeros((2, 3)))
  of_examples = Task(off_by, mask=lambda targets: jnp.zeros((2, 3), bool))
  np.testing.assert_array_equal(of_examples.loss(jnp.ones(2), jnp.zeros(2)), [1, 1])
