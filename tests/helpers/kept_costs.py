"""Costs of batch sizes, and which follow from them; `tests/report/test_kept.py` keeps the words."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from bsjax.analysis.runs.histories import settings
from bsjax.autotune import grouping
from bsjax.cost import memory
from bsjax.recommend import advice
from bsjax.report.text import advice as advice_text
from bsjax.report.text import cost as cost_text
from bsjax.report.text import foreseen
from helpers.kept import Kept, text


def native_cost() -> dict[str, Any]:
  """Three batch sizes run alone, the last too large for its device."""
  held = {'total': 2**20, 'temporaries': 2**19}
  rows = []
  for size, rate in ((8, 500.0), (32, 1300.0), (128, 1700.0)):
    rates = {'median': rate, 'low': 0.9 * rate, 'high': 1.1 * rate, 'n': 5}
    seconds = {key: 8192 / rates[other] for key, other in _TURNED}
    row = {'stage': '', 'batch_size': size, 'trained_parameters': 910, 'memory_bytes': held}
    row |= {'fits': True, 'examples_per_second': rates, 'seconds_per_epoch': seconds}
    row |= {'seconds': {key: 10 * value for key, value in seconds.items()}, 'suggestion': None}
    rows.append(row | {'compile_seconds': 0.5, 'cores_busy': 2.0, 'problem': None})
  last = rows[-1]
  keys = 'memory_bytes', 'examples_per_second', 'seconds_per_epoch', 'seconds'
  last['suggestion'] = {'micro_batch': 32, 'accumulation': 4} | {key: last[key] for key in keys}
  last |= {'fits': False, 'problem': 'needs 3 MiB of 2.56 MiB: not run'}
  last |= {'memory_bytes': held | {'total': 3 * 2**20}}
  last |= dict.fromkeys(('examples_per_second', 'seconds_per_epoch', 'seconds'))
  about = {'hardware': 'two made-up cores', 'device_memory_gib': 0.0025, 'model': 'mlp'}
  return about | {'parameters': 910, 'rows': rows}


_TURNED = ('median', 'median'), ('low', 'high'), ('high', 'low')


def _short(noise_at: Callable[[int], float], spread: float, online: bool = False) -> Any:
  """A short run whose noise scale is that at each epoch, but for trials' spread."""
  plan, rows = [], []
  for trial in range(4):
    lane = {'lane': trial, 'group': 0, 'batch_size': 64, 'learning_rate': 0.1, 'trial': trial}
    lane |= {'micro_batch': 16, 'accumulation': 4, 'examples': 384, 'epochs': 6.0}
    plan.append(lane | {'branch': '', 'updates': 6})
    for i in range(7):
      factor = math.exp(spread * (trial - 1.5) * (-1) ** i)
      pair = {'trace': noise_at(i) * factor, 'grad_sq': 1.0}
      row = {'lane': trial, 'examples': 64 * i, 'updates': i, 'epoch': float(i), 'stage': ''}
      row |= dict.fromkeys(('train_loss', 'val_loss', 'train_accuracy', 'val_accuracy'), 0.5)
      kind = {'noise': pair | {'count': 5}} if online else {'exact': {'plain': pair}}
      rows.append(row | {'diverged': False} | kind)
  ((setting,),) = settings(plan, rows).values()
  return setting


def advised() -> Kept:
  """Batch sizes for a device: plain, growing, hardly known, at an end, gathered, not known."""
  cost = {'hardware': '1 x TPU v9', 'rows': []}
  for size in (2**i for i in range(3, 13)):
    rates = {'median': 1e6 * size / (64 + size)} if size < 1024 else None
    gathered = {'micro_batch': 512, 'accumulation': size // 512}
    gathered['examples_per_second'] = {'median': 8e5}
    row = {'batch_size': size, 'examples_per_second': rates}
    cost['rows'].append(row | {'suggestion': None if rates or size > 2048 else gathered})
  runs = {
    'plain': _short(lambda _: 500.0, 0.1),
    'growing': _short(lambda epoch: 20.0 * 2**epoch, 0.05, online=True),
    'hardly known': _short(lambda _: 300.0, 0.9),
    'at an end': _short(lambda _: 1e9, 0.1),
    'at the other': _short(lambda _: 1e-3, 0.1),
    'gathered': _short(lambda _: 40_000.0, 0.1),
    'unknown': _short(lambda _: -3.0, 0.1),
  }
  numbers, words = {}, {}
  for name, setting in runs.items():
    numbers[name] = found = advice.advise(setting, cost)
    lines = advice_text.sentences(found, cost)
    if 'fastest' in found:
      lines += [' '.join(pair) for pair in advice_text.trainers(found['fastest'], cost)]
      lines.append(text(advice_text.table(found)))
    words[name] = '\n'.join(lines)
  return Kept(numbers, words)


def costs() -> Kept:
  """Tables of what batch sizes cost, here and elsewhere, and which micro-batches follow."""
  held = {'total': 5 * 2**30, 'temporaries': 2**20}
  row = {'strategy': 'map-native', 'micro_batch': 8, 'lanes': 12, 'parts': 2, 'fits': True}
  row |= {'memory_bytes': held, 'flops': 3.2e9, 'bytes': 4.5e8, 'kernels': [40, 1200]}
  row |= {'roofline_seconds': 0.0021, 'compile_seconds': 12.3}
  row |= {'seconds': {'arithmetic': 0.001, 'memory': 0.0021, 'launches': 0.0003}}
  rows = [row, row | {'fits': False, 'parts': 12}, row | {'memory_bytes': None}]
  along = memory.line({8: 1000, 32: 1900, 64: 3300})
  micro = {
    f'{size} of {most}': memory.largest_micro_batch(size, along, most, lambda m, x=most: 40 * m < x)
    for size in (1, 12, 64, 1000)
    for most in (30, 500, 2500)
  }
  choices, timings = {}, []
  for micro_batch, seconds in ((8, 1.0), (16, 1.3), (32, 1.7)):
    timings.append(grouping.Timing(micro_batch, 'map-native', 4, 0.001 * seconds, 2.0))
  for devices in (1, 3):
    for examples in (10_000, 10_000_000):
      limits = grouping.limits(8, True, 'cpu', devices)
      chosen = grouping.choose({8: 3, 64: 6, 128: 2}, examples, timings, limits)
      choices[f'{devices} {examples}'] = [*chosen.items()]
  numbers = {'micro': micro, 'choices': choices, 'line': [along(size) for size in (1, 100)]}
  tables = {'native': text(cost_text.table(native_cost()))}
  return Kept(numbers, tables | {'foreseen': text(foreseen.table('cnn', 'H100', rows))})


COSTS: dict[str, Callable[[], Kept]] = {'advised': advised, 'costs': costs}
