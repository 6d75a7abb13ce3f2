"""Parts from outside: what a config says of them, what does not go with them, and their marks."""

import contextlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.small import put, small_config

from bsjax.config.errors import ConfigError
from bsjax.config.keys import base_config
from bsjax.data.own import Data, dataset
from bsjax.engine import own
from bsjax.models.own import adapted
from bsjax.models.task import Metric, Task
from bsjax.optim.own import OwnOptimizer
from bsjax.plan import stages

X, Y = np.ones((12, 4), np.float32), np.arange(12, dtype=np.float32)


class Line(nn.Module):
  @nn.compact
  def __call__(self, x):
    return nn.Dense(1)(x)[:, 0]


class Normed(nn.Module):
  """A model with batch statistics, of which a layer may keep something else."""

  counts: bool = False

  @nn.compact
  def __call__(self, x, train):
    if self.counts:
      self.variable('batch_stats', 'seen', jnp.zeros, ())
    return nn.BatchNorm(use_running_average=not train)(x)[:, 0]


def squared(outputs, targets):
  return (outputs - targets) ** 2


def regression(loss=squared):
  return Task(loss, [Metric('off_by', lambda o, t: jnp.abs(o - t), False)])


NUMBERS = dataset(Data((X, Y), (X, Y)), classes=False)
ALL = own.Own(adapted(Line()), regression(), OwnOptimizer(optax.adam), NUMBERS)


def said_of(parts, **keys):
  """The base config with these parts, and with keys given as `data__crop=1`."""
  config = base_config()
  for name, value in keys.items():
    put(config, name.replace('__', '.'), value)
  return own.with_own(config, parts)


def test_a_config_says_what_comes_from_outside_and_nothing_else_changes():
  plain = small_config()
  assert own.with_own(plain, own.CONFIGS).to_dict() == plain.to_dict()
  config = said_of(ALL, model__normalization='group')
  assert (config.model.name, config.data.source, config.optimizer.name) == ('own',) * 3
  assert config.model.normalization == 'none'  # no model from outside has the usual one
  assert set(config.own) == {'model', 'task', 'optimizer', 'data'}
  assert config.own.data.images is False and config.own.model.name == 'Line'
  assert config.own.optimizer.hyperparameters.b1 == 0.9
  assert said_of(ALL, model__normalization='batch').model.normalization == 'batch'
  only_task = said_of(own.Own(task=regression()), model__normalization='group')
  assert only_task.model.normalization == 'group' and set(only_task.own) == {'task'}
  assert not own.CONFIGS.any and all(
    own.Own(**{part: getattr(ALL, part)}).any for part in ('model', 'task', 'optimizer', 'data')
  )


def found(config):
  return [problem.keys for problem in own.conflicts(config)]


def test_all_that_is_left_as_it_was_is_fine():
  assert found(said_of(ALL)) == []
  assert found(said_of(ALL, data__cache_dir='somewhere')) == []
  assert found(small_config()) == []


@pytest.mark.parametrize(
  ('keys', 'named'),
  [
    ({'model__width': 4}, ['model.width']),
    ({'optimizer__b1': 0.5}, ['optimizer.b1']),
    ({'data__train_examples': 7}, ['data.train_examples']),
    ({'data__crop': 1}, ['data.crop']),
    ({'data__crop': 1, 'data__flip': True}, ['data.crop', 'data.flip']),
    ({'data__sampler': 'inverse_frequency'}, ['data.sampler']),  # of no classes
    ({'native_cost__measure': True}, ['native_cost.measure']),
    ({'transfer__workdir': 'lender'}, ['transfer.workdir']),
  ],
)
def test_what_does_not_go_with_parts_from_outside_is_named(keys, named):
  assert [keys[0] for keys in found(said_of(ALL, **keys))] == named


def test_group_normalization_and_pretraining_are_not_for_models_from_outside():
  config = said_of(ALL)
  config.model.normalization = 'group'
  assert found(config) == [('model.normalization',)]
  config = said_of(ALL)
  with config.unlocked():
    config.pretrain = {'epochs': 1.0}
  assert found(config) == [('transfer.workdir', 'pretrain')]


def test_stages_of_other_inputs_have_nothing_of_images():
  config = said_of(ALL)
  stages.add(config, 'a', epochs=1.0, image_size=4, flip=True)
  stages.add(config, 'b', epochs=1.0)
  assert found(config) == [('stages.a.image_size',), ('stages.a.flip',)]


def test_classes_from_outside_can_be_weighed():
  """Where the task is the config's, or one whose metric is taken by class."""
  by_class = Metric('right', lambda o, t: o == t, True, unit='fraction', by_class=True)
  for task in (own.CONFIGS.task, Task(squared, [by_class])):
    parts = own.Own(ALL.model, task, data=NUMBERS)
    assert found(said_of(parts, data__sampler='inverse_frequency')) == []


@pytest.mark.parametrize(
  ('key', 'name'), [('model', 'name'), ('data', 'source'), ('optimizer', 'name')]
)
def test_a_name_without_its_part_is_refused(key, name):
  config = small_config()
  config[key][name] = 'own'
  (problem,) = own.conflicts(config)
  assert problem.keys == (f'{key}.{name}',) and f'give bsjax.Study({key}=...)' in problem


def test_marks_differ_where_what_is_computed_does():
  def marks(**parts):
    return own.fingerprints(own.Own(**{'model': ALL.model, 'task': ALL.task, **parts}), NUMBERS)

  assert own.fingerprints(own.CONFIGS, NUMBERS) == {}
  plain = marks(optimizer=ALL.optimizer)
  assert plain == marks(optimizer=OwnOptimizer(optax.adam)) and 'jax' in plain

  def differing(**parts):
    other = marks(**{'optimizer': ALL.optimizer, **parts})
    return [name for name in plain if plain[name] != other[name]]

  assert differing(optimizer=OwnOptimizer(optax.sgd)) == ['optimizer']
  assert differing(task=regression(lambda o, t: squared(o, t) / 2)) == ['task']
  weights = [jnp.arange(4.0), jnp.arange(4.0) + 1]  # constants of a program

  def model(constant):
    return adapted(
      (lambda key: {'w': jnp.zeros(4)}, lambda params, x: x @ (params['w'] + constant))
    )

  found = [marks(model=model(w))['model'] for w in (weights[0], weights[0] + 0, weights[1])]
  assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
  ('model', 'kind', 'said'),
  [
    (Line(), 'none', None),
    (Normed(), 'batch', None),
    (Normed(), 'none', "has batch statistics: set config.model.normalization='batch'"),
    (Line(), 'batch', 'Line has no batch statistics'),
    (Normed(counts=True), 'batch', 'other batch statistics than a mean and a var'),
    (None, 'none', 'targets are no classes'),
  ],
)
def test_model_task_and_data_go_together_or_are_refused(model, kind, said):
  parts = own.Own(model and adapted(model), regression(), data=NUMBERS)
  config = small_config(model__normalization=kind)
  with pytest.raises(ConfigError, match=said) if said else contextlib.nullcontext():
    own.check(parts, NUMBERS, config)


def test_a_model_that_is_another_each_time_has_one_mark():
  """Keys of random numbers in a program are no part of what it is."""
  key = jax.random.key(3)
  model = adapted(
    (lambda _: {'w': jnp.zeros(4)}, lambda params, x: x @ params['w'] + jax.random.normal(key))
  )
  assert own.fingerprints(own.Own(model=model), NUMBERS)['model']
