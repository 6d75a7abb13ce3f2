"""Optimizers, schedules, tasks and models on fixed numbers; tests/studies/test_kept_runs.py."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict

from bsjax import models
from bsjax.config.keys import base_config
from bsjax.models import convolution, initializers, pooling, small_images, vgg
from bsjax.models.normalization import group_size
from bsjax.models.task import CLASSIFICATION, Metric, Task
from bsjax.optim import freezing, optimizers, preconditioners, schedules
from bsjax.optim.entries import OPTIMIZERS, SCHEDULES
from bsjax.optim.own import OwnOptimizer
from bsjax.plan import scaling_rules
from helpers.built_models import SMALL, build
from helpers.kept import Kept, text
from helpers.kept_arrays import drawn, filled, plain, said
from helpers.small_models import short

LAYERS = {'Dense_0': {'kernel': (3, 4), 'bias': (4,)}, 'Conv_0': {'kernel': (2, 2, 1, 2)}}
UNUSUAL = {'decay_all': True, 'weight_decay': 0.2, 'nesterov': True, 'momentum': 0.8, 'b1': 0.7}
UNUSUAL |= {'b2': 0.9, 'eps': 1e-3, 'rmsprop_decay': 0.8, 'rmsprop_momentum': 0.5}
UNUSUAL |= {'trust_coefficient': 0.02}
VARIED = {'sgd': 'weight_decay', 'adam': 'b2', 'adamw': 'weight_decay', 'rmsprop': 'eps'}


def layers(number: float) -> Any:
  shapes = {layer: list(leaves.items()) for layer, leaves in LAYERS.items()}
  return {
    layer: {name: drawn(number + i, *shape) for i, (name, shape) in enumerate(leaves)}
    for layer, leaves in shapes.items()
  }


def optimizer_steps() -> Kept:
  """Parameters after each of three updates by every optimizer, and how it scales gradients."""
  steps = [layers(number) for number in (3, 5, 8)]
  grads = jax.tree.map(lambda *leaves: np.stack(leaves), *steps)
  made, shown = {}, {}
  for name in OPTIMIZERS:
    keys = {'usual': {'weight_decay': 0.1}, 'unusual': UNUSUAL, 'varied': {}}
    for kind, changes in keys.items():
      if kind == 'varied' and name not in VARIED:
        continue
      config = base_config().optimizer
      config.name = name
      config.update(changes)
      varied = (VARIED[name],) if kind == 'varied' else ()
      made[f'{name}, {kind}'] = config, varied
    shown[name] = said(lambda name=name: [optimizers.arguments(name), OPTIMIZERS[name].shown])

  @jax.jit
  def train(params: Any, grads: Any) -> Any:
    return {name: _steps(*one, params, grads) for name, one in made.items()}

  return Kept({'steps': plain(train(layers(0), grads)), 'arguments': shown}, {})


def _steps(config: Any, varied: tuple[str, ...], params: Any, grads: Any) -> Any:
  optimizer = optimizers.create(config, varied)
  scaling = preconditioners.preconditioner(config, varied)
  names = optimizers.arguments(config.name)
  values = {names[key]: jnp.float32(0.3) for key in varied}

  def step(carry: Any, grads: Any) -> Any:
    params, state, made = carry
    rate = 0.1 / (1 + made)
    state = optimizers.with_learning_rate(state, rate.astype(jnp.float32), values)
    updates, state = optimizer.update(grads, state, params)
    params = optax.apply_updates(params, updates)
    scales = scaling(state, made + 1) if scaling else ()
    return (params, state, made + 1), (params, scales)

  return jax.lax.scan(step, (params, optimizer.init(params), jnp.int32(0)), grads)[1]


def schedule_factors() -> Kept:
  """Every schedule with and without a warm-up, and rates by every scaling rule."""
  numbers: dict[str, Any] = {}
  positions = np.array([0, 1, 49, 50, 51, 99, 100, 101, 199, 200, 201, 299, 300, 399, 400, 450])
  for name, warmup in itertools.product(SCHEDULES, (0.0, 0.5, 2.0)):
    config = base_config()
    config.schedule.name, config.schedule.warmup_epochs = name, warmup
    config.schedule.boundaries, config.epochs = (0.5, 0.75), 4.0
    factor = jax.vmap(schedules.create_schedule(config.schedule, 400, 100))
    numbers[f'{name} {warmup}'] = plain(factor(jnp.asarray(positions, jnp.int32)))
  for boundaries, warmup in itertools.product(((0.5, 0.25), (0.25,), (0.5, 1.0)), (0.0, 1.0, 4.0)):
    config = base_config()
    config.schedule.name, config.schedule.warmup_epochs, config.epochs = 'step', warmup, 4.0
    config.schedule.boundaries = boundaries
    numbers[f'{boundaries} {warmup}'] = list(map(str, schedules.conflicts(config)))
  for rule in ('none', 'sqrt', 'linear', 'sqrt,linear', 'linear, none,sqrt', 'cubic', 'sqrt,sqrt'):
    numbers[f'conflicts {rule}'] = list(map(str, scaling_rules.conflicts(rule)))
    numbers[f'rates {rule}'] = said(
      lambda rule=rule: [scaling_rules.rates(rule, (0.4, 0.1), size, 64) for size in (16, 64, 256)]
    )
  return Kept(numbers, {})


def frozen_parts() -> Kept:
  """Patterns, halves of trees, norms that stay, and states that are carried over."""
  params, stats = layers(0) | {'Block_1': layers(1)}, {'Block_1': {'Conv_0': {'mean': (0.0,)}}}
  numbers: dict[str, Any] = {}
  words: dict[str, str] = {}
  for name, patterns in {
    **{'none': (), 'layer': ('Dense_0',), 'wild': ('*/bias', 'Block_1/Dense_0/*')},
    **{'block': ('Block_1/*',), 'wrong': ('Dense_1', 'dense_0', 'Dense_0/kern'), 'part': ('Den',)},
  }.items():
    numbers[name] = said(lambda p=patterns: freezing.trainable_paths(params, p, 'stages.a'))
    if not isinstance(numbers[name], str):
      kept = freezing.trainable_paths(params, patterns, '')
      halves = freezing.split(params, kept)
      numbers[name] = [numbers[name], *(sorted(flatten_dict(half, sep='/')) for half in halves)]
      numbers[name].append(plain(freezing.frozen_norms(params, stats, kept)))
      numbers[name].append(sorted(flatten_dict(freezing.join(*halves), sep='/')))
      words[name] = text(freezing.table(params, kept, 'made up', frozenset({'Block_1/Conv_0'})))
  old = {'a': np.ones(2), 'b': np.ones(3), 'count': np.int32(7)}
  fresh = {'a': np.zeros(2), 'b': np.zeros(4), 'c': np.zeros(1), 'count': np.int32(0)}
  numbers['carried'] = plain(freezing.carry_over(fresh, old))
  factories = optax.adam, optax.sgd, optax.contrib.muon, optax.apply_if_finite, 3, lambda rate: rate
  for i, factory in enumerate(factories):
    numbers[f'own {i}'] = said(lambda f=factory: [OwnOptimizer(f).name])
  numbers['own numbers'] = OwnOptimizer(optax.lion).hyperparameters
  return Kept(numbers, words)


def _metrics() -> dict[str, Task]:
  """Tasks of several kinds: by classes, positions with a mask, without metrics."""

  def error(outputs: Any, targets: Any) -> Any:
    return jnp.abs(outputs - targets)

  close = Metric('close', lambda o, t: error(o, t) < 0.4, True, unit='fraction', plural='hits')
  far = Metric('far_off', error, False, 'Far off', unit='m', lowest=0, margin=0.05)
  square = Task(lambda o, t: error(o, t) ** 2, (far, close), guessing=2.0, lowest=0, title='error')
  masked = Task(lambda o, t: error(o, t) ** 2, (close,), mask=lambda t: t > 0, unit='bits')
  return {'classes': CLASSIFICATION, 'square': square, 'masked': masked, 'bare': Task(error)}


def task_values() -> Kept:
  """Losses and metrics of single examples, and what is stored of them."""
  outputs, labels = drawn(2, 6, 4), np.array([0, 1, 2, 3, 1, 0], np.int32)
  labels[2] = outputs[2].argmax()
  targets = drawn(4, 6, 4)
  targets[3] = -1  # nothing of it counts where there is a mask
  numbers: dict[str, Any] = {}
  for name, task in _metrics().items():
    given = (outputs, labels if name == 'classes' else targets)
    numbers[name] = {'loss': plain(task.loss(*given)), 'entry': plain(task.entry)}
    numbers[name] |= {'stored': plain(task.stored()), 'guessing': task.guessing}
    numbers[name]['metrics'] = {m: plain(task.measure(m, *given)) for m in task.metrics}
  wrong = {
    'mean': lambda: Task(lambda o, t: (o - t).mean()).loss(outputs, targets),
    'few': lambda: Task(lambda o, t: (o - t)[:3]).loss(outputs, targets),
    'mask': lambda: Task(lambda o, t: o - t, mask=lambda t: t[:, :2] > 0).loss(outputs, targets),
    'twice': lambda: Task(lambda o, t: o, [Metric('a', jnp.add, True), Metric('a', jnp.add, True)]),
    'name': lambda: Task(lambda o, t: o, [Metric('val loss', jnp.add, True)]),
    'class': lambda: Task(lambda o, t: o, [Metric('a', jnp.add, True, by_class=True)]),
  }
  return Kept(numbers | {name: said(call) for name, call in wrong.items()}, {})


def model_shapes() -> Kept:
  """What models have for parameters, at their usual width, on small images and on large ones."""
  numbers: dict[str, Any] = {}
  sizes = {'mlp': 32, 'cnn': 32, 'resnet20': 32, 'mobilenet_v2': 32, 'vit_tiny': 32, 'vgg11': 80}
  for name, size in sizes.items():
    model = build(name, normalization='batch' if name in ('cnn', 'vgg11') else 'group')
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    made = jax.eval_shape(lambda x, m=model: m.init(jax.random.key(0), x, train=False), images)
    flat = flatten_dict(made, sep='/')
    numbers[f'{name} {size}'] = {path: list(leaf.shape) for path, leaf in flat.items()}
    numbers[f'{name} {size}']['head'] = models.head(made['params'])
  return Kept(numbers, {})


FORWARD = {
  'mlp none': lambda: build('mlp', width=6, normalization='none', depth=1),
  'mlp batch': lambda: build('mlp', width=6, normalization='batch'),
  'mlp group': lambda: build('mlp', width=6, normalization='group'),
  'mlp deep 0': lambda: build('mlp', width=6, depth=0),
  'cnn batch': lambda: build('cnn', width=2, normalization='batch'),
  'cnn frozen': lambda: build('cnn', width=2, normalization='batch').clone(
    frozen_norms=frozenset({'BatchNorm_1'})
  ),
  'resnet8 none': lambda: build('resnet8', width=2, normalization='none'),
  'resnet8 batch': lambda: build('resnet8', width=2, normalization='batch'),
  'resnet18 group': lambda: short('resnet18', width=2),
  'mobilenet': lambda: short('mobilenet_v2', width=2),
  'efficientnet': lambda: short('efficientnet_b0', width=2),
  'vit group': lambda: short('vit_tiny'),
  'vit none': lambda: short('vit_tiny', normalization='none', small_stride=2),
}


def model_outputs() -> Kept:
  """Outputs of small models with given weights, in both modes, and the statistics after them."""
  images = drawn(1, 3, 8, 8, 1)
  made = {name: make() for name, make in FORWARD.items()}
  key = jax.random.key(0)
  variables = {
    name: filled(jax.eval_shape(lambda m=model: m.init(key, images, train=False)))
    for name, model in made.items()
  }

  @functools.partial(jax.jit, static_argnums=0)
  def outputs(model: Any, variables: Any, images: Any) -> Any:
    training = model.apply(variables, images, train=True, mutable=['batch_stats'])
    return model.apply(variables, images, train=False), training

  found = {name: outputs(model, variables[name], images) for name, model in made.items()}
  return Kept(plain(found), {})


def small_parts() -> Kept:
  """What models are made of: groups, strides, windows, convolutions, initial weights."""
  numbers: dict[str, Any] = {
    'group_size': [group_size(channels) for channels in (1, 2, 6, 16, 17, 24, 30, 32, 48, 100)],
    'late_strides': [small_images.late_strides((2, 2, 1, 2, 2), n) for n in small_images.STRIDES],
    'parts': [plain(vgg._parts(size)) for size in (3, 7, 10)],
    'small': {f'{n}': bool(small_images.is_small(np.zeros((1, n, 8, 1)))) for n in (8, 64, 65)},
    'head': said(lambda: models.head({'Dense_9': 0, 'Dense_10': 0, 'Dense_1': 0, 'Conv_0': 0})),
    'no head': said(lambda: models.head({'Conv_0': 0, 'Dense': 0})),
    'widths': SMALL,
  }
  for name in ('he_normal', 'lecun_normal', 'small_normal'):
    initializer = getattr(initializers, name)
    numbers[name] = plain(initializer(jax.random.key(3), (2, 3, 5)))
  images = drawn(1, 2, 6, 4, 2)
  images[0, 2:4, 2:4] = 0.5  # equal maxima
  kernels = {'all': drawn(2, 3, 3, 2, 3), 'apart': drawn(3, 3, 3, 1, 2)}

  @jax.jit
  def found(images: Any, kernels: Any) -> Any:
    results = {}
    for window, strides, padding in (((2, 2), (2, 2), 'VALID'), ((3, 2), (2, 1), 'SAME')):
      pool = functools.partial(pooling.max_pool, window=window, strides=strides, padding=padding)
      pooled, back = jax.vjp(pool, images)
      results[f'pool {window}'] = pooled, back(pooled)
    forms = [form for form in convolution.FORMS if form != 'pallas']
    cases = ((1, 1), 'SAME', (1, 1)), ((2, 1), ((1, 0), (0, 2)), (1, 1)), ((1, 1), 'VALID', (2, 1))
    for form, (kind, kernel), case in itertools.product(forms, kernels.items(), cases):
      (strides, padding, dilation), groups = case, 2 if kind == 'apart' else 1
      keys = {'rhs_dilation': dilation, 'feature_group_count': groups}
      conv = convolution.conv(form)

      def convolved(x: Any, k: Any, conv=conv, strides=strides, padding=padding, keys=keys) -> Any:
        layout = convolution.LAYOUT
        return conv(x, k, strides, padding, dimension_numbers=layout, **keys)

      out, back = jax.vjp(convolved, images, kernel)
      results[f'{form} {kind} {case}'] = out, back(out)
    wide, kernel = drawn(5, 2, 12, 12, 32), drawn(6, 3, 3, 32, 8)  # of whose images no axis moves
    keys = {'dimension_numbers': convolution.LAYOUT}
    same = functools.partial(convolution.conv('canonical'), **keys)
    out, back = jax.vjp(lambda x, k: same(x, k, (1, 1), ((1, 1), (0, 2))), wide, kernel)
    results['wide'] = out, back(out)
    return results

  return Kept(numbers | plain(found(images, kernels)), {})


LEARNING: dict[str, Callable[[], Kept]] = {
  'optimizer_steps': optimizer_steps,
  'schedule_factors': schedule_factors,
  'frozen_parts': frozen_parts,
  'task_values': task_values,
  'model_shapes': model_shapes,
  'model_outputs': model_outputs,
  'small_parts': small_parts,
}
