"""What of a study comes from outside in place of the config's: model, task, optimizer.

What is said of them stands in `config.own` of config.json, so that a stored study is read without
them. A study goes on with the same ones, which are known by their names and by `fingerprints`: the
computations that they are, in the words of JAX.
"""

import dataclasses
import hashlib
import re
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from jaxtyping import PyTree
from ml_collections import ConfigDict

from bsjax.config import bounds
from bsjax.config.errors import ConfigError, Problem
from bsjax.config.keys import BY_NAME, base_config, section
from bsjax.config.own import OWN, lacking
from bsjax.data import Dataset
from bsjax.engine import lanes
from bsjax.models.task import CLASSIFICATION, Task
from bsjax.optim.own import OwnOptimizer
from bsjax.plan import stages


@dataclasses.dataclass(frozen=True, eq=False)
class Own:
  """The parts from outside; what is None, or the task of classification, is the config's."""

  model: Any = None  # an OwnModel, or anything with init and apply as linen has them
  task: Task = CLASSIFICATION
  optimizer: OwnOptimizer | None = None
  data: Dataset | None = None

  @property
  def any(self) -> bool:
    """Whether something comes from outside."""
    return self.task is not CLASSIFICATION or any((self.model, self.optimizer, self.data))

  def said(self) -> dict[str, Any]:
    """What config.json says of them."""
    said: dict[str, Any] = {}
    if self.task is not CLASSIFICATION:
      said['task'] = self.task.stored()
    if self.model:
      said['model'] = {'name': self.model.name}
    if self.data:
      said['data'] = {'name': self.data.name, 'images': self.data.mean is not None}
    if self.optimizer:
      numbers = self.optimizer.hyperparameters
      said['optimizer'] = {'name': self.optimizer.name, 'hyperparameters': numbers}
    return said


CONFIGS = Own()  # nothing comes from outside


def with_own(config: ConfigDict, own: Own) -> ConfigDict:
  """Returns the config of a study with these parts."""
  config = config.copy_and_resolve_references()
  if not own.any:
    return config
  with config.unlocked():
    config[OWN] = ConfigDict(own.said())
    if own.model:
      config.model.name = OWN
      usual = BY_NAME['model.normalization'].default
      if config.model.normalization == usual:
        config.model.normalization = 'none'
    if own.data:
      config.data.source, config.data.name = OWN, own.data.name
    if own.optimizer:
      config.optimizer.name = OWN
  return config


def conflicts(config: ConfigDict) -> list[Problem]:
  """Lists the keys that say nothing where a part comes from outside, and names without a part."""
  said = config.get(OWN) or {}
  named = {'model': 'model.name', 'data': 'data.source', 'optimizer': 'optimizer.name'}
  sentences = [
    Problem(f'{part} is called {OWN!r}, but none was given: give bsjax.Study({part}=...)', key)
    for part, key in named.items()
    if bounds.at(config, key) == OWN and part not in said
  ]
  free = {
    'model': ('name', 'normalization'),
    'data': ('source', 'name', 'crop', 'flip', 'sampler', 'sampler_beta', 'cache_dir'),
    'optimizer': ('name',),
  }
  base = base_config()
  for part in set(said) & set(free):
    names = [key.name.partition('.')[2] for key in section(part)]
    changed = [n for n in names if n not in free[part] and config[part][n] != base[part][n]]
    sentences += [
      Problem(
        f'{part}.{name}={config[part][name]!r} says nothing where bsjax.Study has its {part} from '
        'outside; leave it as it is',
        f'{part}.{name}',
      )
      for name in changed
    ]
  if 'data' in said and not said['data']['images']:
    sentences += _no_images(config)
  if 'model' in said:
    sentences += _of_model(config)
  classes = 'task' not in said or said['task']['metric'].get('by_class')
  if 'data' in said and not classes and config.data.sampler != 'uniform':
    sentence = f'data.sampler={config.data.sampler!r} weighs classes, and targets are none'
    sentences.append(Problem(sentence, 'data.sampler'))
  if said and config.native_cost.measure:
    sentence = 'native_cost.measure=True measures models and data of bsjax alone'
    sentences.append(Problem(sentence, 'native_cost.measure'))
  return sentences


def _no_images(config: ConfigDict) -> list[Problem]:
  asked = [f'data.{key}' for key in ('crop', 'flip') if config.data[key]]
  for name in config.stages.order:
    stage = config.stages.get(name, {})
    usual = stages.DEFAULTS
    keys = [key for key in ('image_size', 'crop', 'flip') if stage.get(key) != usual[key]]
    asked += [f'stages.{name}.{key}' for key in keys if key in stage]
  return [Problem(f'{key} is for images, and inputs are none', key) for key in asked]


def _of_model(config: ConfigDict) -> list[Problem]:
  if config.transfer.workdir or config.pretrain:
    sentence = 'transfer.workdir and pretrain begin with weights of models of bsjax alone'
    return [Problem(sentence, 'transfer.workdir', 'pretrain')]
  if config.model.normalization == 'group':
    sentence = "model.normalization='group': a model from outside has 'batch', or else 'none'"
    return [Problem(sentence, 'model.normalization')]
  return []


def refuse_without(config: ConfigDict, own: Own) -> None:
  """Raises ConfigError where a config names parts that are not there."""
  if sentence := lacking(config, own.said()):
    raise ConfigError(sentence)


def fingerprints(own: Own, dataset: Dataset) -> dict[str, str]:
  """A checksum of what each part computes; the same in every process of this version of JAX."""
  marks = {'jax': jax.__version__}
  if not own.any:
    return {}
  params = {'w': jax.ShapeDtypeStruct((2, 3), np.float32)}
  if own.optimizer:
    marks['optimizer'] = _mark(_updated, own.optimizer, params)
  if own.model:
    blank = jax.eval_shape(lambda: lanes.blank(dataset.image_shape))
    variables = jax.eval_shape(lambda x: own.model.init(jax.random.key(0), x), blank)
    marks['model'] = _mark(lambda _, x: own.model.init(jax.random.key(0), x), None, blank)
    marks['model'] += _mark(lambda _, v, x: own.model.apply(v, x), None, variables, blank)
    if own.task is not CLASSIFICATION:
      outputs = jax.eval_shape(own.model.apply, variables, blank)
      marks['task'] = _mark(_measured, own.task, outputs, lanes.shapes_of(dataset.train.labels, 1))
  return marks


def _measured(task: Task, outputs: PyTree, targets: PyTree) -> PyTree:
  return task.loss(outputs, targets), [task.measure(x, outputs, targets) for x in task.metrics]


def _updated(optimizer: OwnOptimizer, params: PyTree) -> PyTree:
  transformation = optimizer.create()
  return transformation.update(params, transformation.init(params), params)


def _mark(function: Any, part: Any, *like: PyTree) -> str:
  traced = jax.make_jaxpr(lambda *arguments: function(part, *arguments))(*like)
  text = re.sub(r'0x[0-9a-f]+', '', str(traced))  # addresses
  digest = hashlib.blake2b(text.encode(), digest_size=6)
  for constant in traced.consts:
    digest.update(np.ascontiguousarray(constant) if not _is_key(constant) else b'key')
  return digest.hexdigest()


def _is_key(constant: Any) -> bool:
  return jax.dtypes.issubdtype(constant.dtype, jax.dtypes.prng_key)


def check(own: Own, dataset: Dataset, config: ConfigDict) -> None:
  """Raises ConfigError where model, task and data do not go together; nothing is compiled."""
  if own.model is None:
    if not dataset.class_names:
      raise ConfigError(
        'the models of a config end in one output for each class, and targets are no classes: give '
        'bsjax.Study(model=...)'
      )
    return
  variables = jax.eval_shape(
    lambda: own.model.init(jax.random.key(0), lanes.blank(dataset.image_shape))
  )
  has_statistics = bool(jax.tree.leaves(variables['batch_stats']))
  if has_statistics != (config.model.normalization == 'batch'):
    what = "has batch statistics: set config.model.normalization='batch'"
    raise ConfigError(
      f'{own.model.name} {what if has_statistics else "has no batch statistics"}, not '
      f'{config.model.normalization!r}; micro-batches, and what is re-estimated, go by it',
      'model.normalization',
    )
  paths = {path[:-1] for path in flatten_dict(variables['batch_stats'])}
  layers = {(*path, name) for path in paths for name in ('mean', 'var')}
  if layers != set(flatten_dict(variables['batch_stats'])):
    raise ConfigError(
      f'{own.model.name} keeps other batch statistics than a mean and a var for each layer, and '
      'what others are cannot be re-estimated'
    )
  outputs = jax.eval_shape(own.model.apply, variables, lanes.blank(dataset.image_shape))
  jax.eval_shape(
    lambda o, t: _measured(own.task, o, t), outputs, lanes.shapes_of(dataset.train.labels, 1)
  )
