"""What a study was set to do, in sentences for its paragraph on method."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from bsjax.analysis.runs.histories import Row
from bsjax.config.keys import BY_NAME, computes, section
from bsjax.config.metrics import judged
from bsjax.config.own import OWN
from bsjax.config.stage_keys import STAGE
from bsjax.data.sampling import SAMPLERS
from bsjax.format import from_to, joined, number
from bsjax.models import MODELS
from bsjax.optim.entries import OPTIMIZERS, SCHEDULES
from bsjax.plan import hyperparameters, rounds
from bsjax.report.text.key_phrases import phrase, phrases, shown
from bsjax.report.text.own_parts import model_name, own_part

Config = Mapping[str, Any]

_NORMS = {'group': 'GroupNorm', 'batch': 'BatchNorm', 'none': 'no normalization'}


def model(config: Config) -> str:
  model = config.get('model', {})
  if 'name' not in model:
    return ''
  if own_part(config, 'model'):
    norm = ', with BatchNorm' if model['normalization'] == 'batch' else ''
    return f'The model is {model_name(config)}, of our own{norm}.'
  name = model['name']
  parts = phrases(model, [BY_NAME['model.width']])
  if name == 'mlp' and 'depth' in model:
    parts.append(f'{model["depth"]} hidden layers')
  stride = MODELS[name].stride if name in MODELS else ''
  if stride and model.get('small_stride'):
    parts.append(f'{stride.format(model["small_stride"])} on images of up to 64 pixels')
  if 'normalization' in model:
    norm = _NORMS.get(model['normalization'], model['normalization'])
    layer_norm = name.startswith('vit') and model['normalization'] == 'group'
    parts.append('LayerNorm' if layer_norm else norm)  # as models.vit has it
  parts += [f'{model["dtype"]} arithmetic'] if 'dtype' in model else []
  about = f' ({", ".join(parts)})' if parts else ''
  return f'The model is {_named(name)}{about}.'


def _named(model: str) -> str:
  return MODELS[model].title if model in MODELS else model


def data(config: Config, plan_rows: Sequence[Row], summary: Mapping[str, Any]) -> str:
  data, splits = config.get('data', {}), summary.get('splits', {})
  if not plan_rows or not data:
    return ''
  row = plan_rows[0]
  train = splits.get('train', round(row['examples'] / row['epochs']))
  text = f'We trained on {train:,} examples of {data_name(data)}'
  if own_part(config, 'data'):
    validation = 'a validation set of their own'
  elif data.get('validation', 'split') == 'split':
    share = f'{100 * data["validation_share"]:g}%' if 'validation_share' in data else 'a share'
    validation = f'{share} of the training data, stratified by class and held out'
  else:
    validation = f'the split {data["validation"]!r}'
  count = f', {splits["validation"]:,} examples' if 'validation' in splits else ''
  text += f' and validated on {validation}{count}.'
  cut = ('data.imbalance_factor', 'data.max_per_class', 'data.train_examples')
  if kept := phrases(data, [BY_NAME[name] for name in cut]):
    text += f' Of the data to train on we kept {joined(kept)}.'
  if changes := phrases(data, [BY_NAME['data.crop'], BY_NAME['data.flip']]):
    text += f' Training images were augmented by random {joined(changes)}.'
  return text


def data_name(data: Config) -> str:
  """The set by its name or file, and the source that read it where that says more."""
  source = data.get('source', '')
  name = data.get('name') or PurePath(data.get('path') or source).stem
  if source in ('', name, OWN):
    return name
  keys = ('label_csv', 'label_column')
  label = [phrase(BY_NAME[f'data.{key}'], data[key]) for key in keys if data.get(key)]
  return f'{name} ({", ".join([source, *(label if source == "image_folder" else [])])})'


def sampling(config: Config) -> str:
  """How examples were drawn."""
  data = config.get('data', {})
  entry = SAMPLERS.get(data.get('sampler'))
  return entry.method.format_map(_shown_section(data, 'data')) if entry else ''


def length(config: Config, plan_rows: Sequence[Row], sizes: Sequence[int]) -> str:
  if not plan_rows:
    return ''
  row = plan_rows[0]
  epoch = row['examples'] / row['epochs']
  updates = [f'{number(epoch / size)} at batch size {size}' for size in sizes]
  stages = config.get('stages', {})
  rules = {rule for name in stages.get('order', ()) for rule in stages[name].get('batch_size', ())}
  where = ', at the batch sizes that runs began with,' if rules - {'keep'} else ''
  halved = config.get('halving', {}).get('rungs')
  every = 'Every run that was not dropped' if halved else 'Every run'
  return (
    f'{every} took {row["epochs"]:.3g} epochs ({row["examples"]:,} examples); updates per '
    f'epoch{where} were {joined(updates)}.'
  )


def optimizer(config: Config) -> str:
  settings = config.get('optimizer', {})
  name = settings.get('name')
  if name is None:
    return ''
  if own := own_part(config, 'optimizer'):
    numbers = ', '.join(f'{key} {value:g}' for key, value in own['hyperparameters'].items())
    return f'We optimized with {own["name"]}{f" ({numbers})" if numbers else ""}.'
  entry = OPTIMIZERS.get(name)
  if entry is None:
    return f'We optimized with {name}.'
  given = {key: [value] for key, value in settings.items()} | hyperparameters.axes(config)
  parts = [f'{label} {_either(given[key])}' for key, label in entry.shown.items() if key in given]
  parts += ['Nesterov momentum'] if settings.get('nesterov') and entry.nesterov else []
  if 'weight_decay' in settings:
    kind = 'decoupled weight decay' if entry.decoupled_decay else 'L2 weight decay'
    what = 'all parameters' if settings.get('decay_all') else 'arrays of two axes or more only'
    if config.get('model', {}).get('name', '').startswith('vit') and not settings.get('decay_all'):
      what += ', position embeddings included'
    decays = given['weight_decay']
    parts.append(f'{kind} {_either(decays)} of {what}' if any(decays) else 'no weight decay')
  about = f' ({", ".join(parts)})' if parts else ''
  return f'We optimized with {entry.title}{about}.'


def _either(values: Sequence[float]) -> str:
  return joined([f'{value:g}' for value in values], 'or')


def schedule(config: Config) -> str:
  schedule = config.get('schedule', {})
  name = schedule.get('name')
  if name is None:
    return ''
  text = f'followed the schedule {name!r}'
  if name in SCHEDULES:
    text = SCHEDULES[name].method.format_map(_shown_section(schedule, 'schedule'))
  warmup = schedule.get('warmup_epochs')
  after = f' after a linear warm-up of {warmup:g} epochs' if warmup else ''
  return f'The learning rate {text}{after}, in examples seen and so alike for all batch sizes.'


def _shown_section(values: Config, name: str) -> dict[str, str]:
  """The values of a section as people read them; the usual ones where none is known."""
  parts = {key.name.partition('.')[2]: key for key in section(name)}
  return {part: shown(key, values.get(part, key.default)) for part, key in parts.items()}


def initial_weights(config: Config) -> str:
  """The study that lent the weights which runs began with, if any did."""
  transfer, changes = config.get('transfer', {}), dict(_flat(config.get('pretrain', {})))
  changes = {key: value for key, value in changes.items() if computes(key)}
  lane = transfer.get('lane', -1)
  which = (
    f'lane {lane}' if lane >= 0 else f'the run of the {judged().best_mean} {judged().val_title}'
  )
  if config.get('pretrain'):
    but = joined(f'{key}={value}' for key, value in changes.items())
    study = f'this study trained first{f", with {but}" if but else ""}'
  elif transfer.get('workdir'):
    study = f'the study in {transfer["workdir"]}'
  else:
    return ''
  return (
    f'All runs began with the weights of {which} of {study}; their last layer was initialized anew.'
  )


def _flat(tree: Config, prefix: str = '') -> Iterator[tuple[str, Any]]:
  for key, value in tree.items():
    if isinstance(value, Mapping):
      yield from _flat(value, f'{prefix}{key}.')
    else:
      yield f'{prefix}{key}', value


def stages(config: Config) -> str:
  stages = config.get('stages', {})
  order = stages.get('order') or ()
  texts = []
  for name in order:
    parts = _stage(stages.get(name, {}))
    texts.append(f'{name} ({", ".join(parts)})' if parts else name)
  return f'Training had {len(order)} stages: {joined(texts)}.' if texts else ''


def _stage(stage: Config) -> list[str]:
  """Its length, in examples where these are given, and what of it is not as usual."""
  by_name = {key.name: key for key in STAGE}
  epochs, examples = by_name.pop('epochs'), by_name.pop('examples')
  unit = examples if stage.get('examples') else epochs
  length = [phrase(unit, stage[unit.name])] if unit.name in stage else []
  if stage.get('batch_size'):
    stage = {**stage, 'batch_size': joined(stage['batch_size'], 'or')}
  return [*length, *phrases(stage, by_name.values())]


def rates(config: Config) -> str:
  rates = config.get('learning_rates')
  if not rates:
    return ''
  base = config.get('scaling', {})
  where = f' at batch size {base["base_batch_size"]}' if base.get('rule', 'none') != 'none' else ''
  if len(rates) == 1:
    return f'One learning rate was tried{where}, {rates[0]:g}.'
  some = ', not all of them at every batch size' if _lacks_rates(config) else ''
  return (
    f'Learning rates of {joined(f"{rate:g}" for rate in sorted(rates))} were tried{where}{some}.'
  )


def _lacks_rates(config: Config) -> bool:
  """Whether a study that was put together of rounds lacks a learning rate at a batch size."""
  settings = {
    setting
    for box in map(rounds.Box.of, config.get('rounds') or ())
    for setting in itertools.product(box.batch_sizes, box.learning_rates)
  }
  return 0 < len(settings) < len(config['batch_sizes']) * len(config['learning_rates'])


def trials_of_settings(plan_rows: Sequence[Row]) -> list[int]:
  """How many trials each setting has."""
  settings = ((row['batch_size'], row['learning_rate'], row.get('branch', '')) for row in plan_rows)
  return list(collections.Counter(settings).values())


def trials(config: Config, plan_rows: Sequence[Row]) -> str:
  counts = trials_of_settings(plan_rows)
  trials = max(counts, default=0)
  seed = f' from seed {config["seed"]}' if 'seed' in config else ''
  if trials < 2:
    return f'Every setting was run once{seed}.' if trials else ''
  lent = ' of the last layer' if initial_weights(config) else ''
  every = 'Every setting was' if min(counts) == trials else 'Settings were'
  return (
    f'{every} run in {from_to(counts)} trials{seed}, which differ in initialization{lent} and '
    'example order; runs of one trial share both.'
  )
