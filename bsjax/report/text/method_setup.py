"""What a study was set to do, in sentences for its paragraph on method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bsjax.analysis.runs.histories import Row
from bsjax.format import joined, number
from bsjax.models import MODELS

Config = Mapping[str, Any]

_NORMS = {'group': 'GroupNorm', 'batch': 'BatchNorm', 'none': 'no normalization'}
_ADAM = (('b1', 'β1'), ('b2', 'β2'), ('eps', 'ε'))
_OPTIMIZERS = {
  'sgd': ('SGD', (('momentum', 'momentum'),)),
  'adam': ('Adam', _ADAM),
  'adamw': ('AdamW', _ADAM),
  'rmsprop': (
    'RMSProp',
    (('rmsprop_decay', 'decay'), ('rmsprop_momentum', 'momentum'), ('eps', 'ε')),
  ),
  'lars': ('LARS', (('momentum', 'momentum'), ('trust_coefficient', 'trust coefficient'))),
  'lamb': ('LAMB', _ADAM),
}
_WITH_NESTEROV = ('sgd', 'adam', 'adamw', 'lars')


def model(config: Config) -> str:
  model = config.get('model', {})
  if 'name' not in model:
    return ''
  parts = [f'width {model["width"]}'] if model.get('width') else []
  if model['name'] == 'mlp' and 'depth' in model:
    parts.append(f'{model["depth"]} hidden layers')
  if 'normalization' in model:
    norm = _NORMS.get(model['normalization'], model['normalization'])
    layer_norm = model['name'].startswith('vit') and model['normalization'] == 'group'
    parts.append('LayerNorm' if layer_norm else norm)  # as models.vit has it
  parts += [f'{model["dtype"]} arithmetic'] if 'dtype' in model else []
  about = f' ({", ".join(parts)})' if parts else ''
  return f'The model is {_named(model["name"])}{about}.'


def _named(model: str) -> str:
  return MODELS[model].title if model in MODELS else model


def data(config: Config, plan_rows: Sequence[Row], summary: Mapping[str, Any]) -> str:
  data, splits = config.get('data', {}), summary.get('splits', {})
  if not plan_rows or not data:
    return ''
  row = plan_rows[0]
  train = splits.get('train', round(row['examples'] / row['epochs']))
  text = f'We trained on {train:,} examples of {data.get("name") or data.get("source")}'
  if data.get('validation', 'split') == 'split':
    held = f'{100 * data["validation_share"]:g}%' if 'validation_share' in data else 'a share'
    validation = f'{held} of the training data, stratified by class and held out'
  else:
    validation = f'the split {data["validation"]!r}'
  count = f', {splits["validation"]:,} examples' if 'validation' in splits else ''
  text += f' and validated on {validation}{count}.'
  changes = [f'crops after padding by {data["crop"]} pixels'] if data.get('crop') else []
  changes += ['left-right flips'] if data.get('flip') else []
  return text + (f' Training images were augmented by random {joined(changes)}.' if changes else '')


def length(config: Config, plan_rows: Sequence[Row], sizes: Sequence[int]) -> str:
  if not plan_rows:
    return ''
  row = plan_rows[0]
  epoch = row['examples'] / row['epochs']
  each = [f'{number(epoch / size)} at batch size {size}' for size in sizes]
  stages = config.get('stages', {})
  rules = {rule for name in stages.get('order', ()) for rule in stages[name].get('batch_size', ())}
  where = ', at the batch sizes that runs began with,' if rules - {'keep'} else ''
  return (
    f'Every run took {row["epochs"]:.3g} epochs ({row["examples"]:,} examples); updates an '
    f'epoch{where} were {joined(each)}.'
  )


def optimizer(config: Config) -> str:
  found = config.get('optimizer', {})
  name = found.get('name')
  if name is None:
    return ''
  title, keys = _OPTIMIZERS.get(name, (name, ()))
  parts = [f'{label} {found[key]:g}' for key, label in keys if key in found]
  parts += ['Nesterov momentum'] if found.get('nesterov') and name in _WITH_NESTEROV else []
  if 'weight_decay' in found:
    kind = 'decoupled weight decay' if name in ('adamw', 'lamb') else 'L2 weight decay'
    what = 'all parameters' if found.get('decay_all') else 'kernels only'
    decay = found['weight_decay']
    parts.append(f'{kind} {decay:g} of {what}' if decay else 'no weight decay')
  about = f' ({", ".join(parts)})' if parts else ''
  return f'We optimized with {title}{about}.'


def schedule(config: Config) -> str:
  schedule = config.get('schedule', {})
  name = schedule.get('name')
  if name is None:
    return ''
  texts = {'constant': 'was constant', 'cosine': 'decayed to zero along a cosine'}
  text = texts.get(name, f'followed the schedule {name!r}')
  if name == 'step' and {'factor', 'boundaries'} <= schedule.keys():
    at = joined(f'{100 * share:g}%' for share in schedule['boundaries'])
    text = f'was multiplied by {schedule["factor"]:g} after {at} of training'
  warmup = schedule.get('warmup_epochs')
  after = f' after a linear warm-up of {warmup:g} epochs' if warmup else ''
  return f'The learning rate {text}{after}, in examples seen and so alike for all batch sizes.'


def stages(config: Config) -> str:
  stages = config.get('stages', {})
  order = stages.get('order') or ()
  texts = []
  for name in order:
    stage, parts = stages.get(name, {}), []
    examples, epochs = stage.get('examples'), stage.get('epochs')
    if examples or epochs:
      parts.append(f'{examples:,} examples' if examples else f'{epochs:g} epochs')
    if stage.get('trainable'):
      parts.append(f'training {joined(stage["trainable"])} only')
    rules = stage.get('batch_size') or ()
    parts += [f'batch size {joined(rules, "or")}'] if rules else []
    if stage.get('learning_rate_factor', 1.0) != 1.0:
      parts.append(f'learning rate times {stage["learning_rate_factor"]:g}')
    texts.append(f'{name} ({", ".join(parts)})' if parts else name)
  return f'Training had {len(order)} stages: {joined(texts)}.' if texts else ''


def rates(config: Config) -> str:
  rates = config.get('learning_rates')
  if not rates:
    return ''
  base = config.get('scaling', {})
  where = f' at batch size {base["base_batch_size"]}' if base.get('rule', 'none') != 'none' else ''
  if len(rates) == 1:
    return f'One learning rate was tried{where}, {rates[0]:g}.'
  return f'Learning rates of {joined(f"{rate:g}" for rate in sorted(rates))} were tried{where}.'


def trials(config: Config, plan_rows: Sequence[Row]) -> str:
  trials = len({row['trial'] for row in plan_rows})
  seed = f' from seed {config["seed"]}' if 'seed' in config else ''
  if trials < 2:
    return f'Every setting was run once{seed}.' if trials else ''
  return (
    f'Every setting was run in {trials} trials{seed}, which differ in initialization and example '
    'order; runs of one trial share both.'
  )


def batch_norm(config: Config, plan_rows: Sequence[Row]) -> str:
  if config.get('model', {}).get('normalization') != 'batch' or not plan_rows:
    return ''
  seen = sorted({row['micro_batch'] for row in plan_rows})
  whole = all(row['micro_batch'] == row['batch_size'] for row in plan_rows)
  what = 'whole batches' if whole else f'micro-batches of {joined(seen)} examples'
  return (
    f'BatchNorm normalized over {what}; accuracies were also measured with its statistics '
    're-estimated on training data.'
  )


def evaluation(config: Config, plan_rows: Sequence[Row]) -> str:
  """How often and how; evaluations fall where all lanes have just updated, which may be fewer."""
  count, size = config.get('evaluations'), config.get('evaluation', {}).get('batch_size')
  if count is None or not plan_rows:
    return ''
  blocks = plan_rows[0]['examples'] // math.lcm(*(row['batch_size'] for row in plan_rows))
  batches = f', in batches of {size:,}' if size else ''
  return (
    f'Training and validation sets were evaluated {min(count, blocks)} times while training, '
    f'whole, in evaluation mode{batches}.'
  )
