"""What is said of drawn studies, some to a file; `tests/report/test_kept.py` keeps it.

Of their many numbers the sums are kept, one for each name: which study says something else, and of
what, is seen, and files stay small.
"""

from __future__ import annotations

import functools
import itertools
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bsjax.analysis.runs.judging import judged_by
from bsjax.config.metrics import judging
from bsjax.report import arms_page, methods
from bsjax.report.text.results import results
from bsjax.storage import records
from helpers import drawn_studies, kept_figures, kept_studies
from helpers.draw import Draw
from helpers.kept import Kept, text, visible
from helpers.world_files import Made, facts

SEEDS: tuple[int, ...] = tuple(range(39))
TOGETHER = 13  # studies in a file, which say much alike
SHORT = 24  # characters of a text that is kept wherever it is said


def sums(tree: Any, said: str = '') -> Any:
  """A tree with one entry for all that rows of a list have under one name.

  Of numbers it is how many there are, how many are finite, and the sum of these, in which each has
  another weight; texts are as they are, and '' where they are part of what is said anyway.
  """
  if isinstance(tree, dict):
    return {key: sums(value, said) for key, value in tree.items()}
  if isinstance(tree, str):
    return '' if len(tree) > SHORT and ' '.join(tree.split()) in said else tree
  if not isinstance(tree, list):
    return tree
  if tree and all(isinstance(item, dict) for item in tree):
    names = dict.fromkeys(itertools.chain(*tree))
    columns = {name: sums([row[name] for row in tree if name in row], said) for name in names}
    return {'rows': len(tree), **columns}
  if any(isinstance(item, list) for item in tree):
    flat = itertools.chain(*(item if isinstance(item, list) else [item] for item in tree))
    lengths = [len(item) if isinstance(item, list) else -1 for item in tree]
    return [sums(lengths), sums(list(flat), said)]
  texts = [sums(item, said) for item in tree if isinstance(item, str | dict)]
  weighted = [(1 + 5 * i % 11 / 10) * value for i, value in enumerate(tree) if _finite(value)]
  return [len(tree), len(weighted), sum(weighted), *texts]


def _finite(value: Any) -> bool:
  return isinstance(value, int | float) and math.isfinite(value)


def studies(seeds: Sequence[int]) -> Kept:
  """Those of some seeds."""
  numbers, words = {}, {}
  for seed in seeds:
    study = drawn_studies.drawn(seed)
    kept = kept_studies.kept_of(study, plain=seed % 8 == 0)
    with judging(judged_by(study.config, study.rows)):
      kept.words['printed'] = text(results(kept.numbers['summary']))
    said = ' '.join(' '.join(kept.words.values()).split())
    numbers[str(seed)] = sums(kept.numbers['summary'], said)
    words |= {f'{topic} of {seed}': told for topic, told in kept.words.items()}
  return Kept(numbers, words)


def arms(seed: int) -> Kept:
  """Whole studies that differ in a key and in what they reach; the last may not have ended."""
  draw = Draw((seed, 99))
  sizes, rates = draw.one(*drawn_studies.FEW), draw.one(*drawn_studies.RATES[:4])
  with kept_figures.noted(drawn=False), tempfile.TemporaryDirectory() as folder:
    path = Path(folder)
    for number in range(draw.one(2, 3)):
      alike = Draw((seed, 100))  # the same world and keys in each arm
      config, _, lanes, rows = drawn_studies.grid(alike, sizes, rates, unfinished=0)
      rows = [row for row in rows if 'val_examples' not in row]
      better, wiggle = number * draw.one(0.0, 0.01, -0.03), number * draw.one(0.0, 0.003)
      for row in rows:
        by = (better + wiggle * lanes[row['lane']]['trial']) * (row['examples'] > 0)
        row['val_accuracy'] = min(1.0, max(0.0, row['val_accuracy'] + by))
      if number == 2 and draw.chance(0.5):
        rows = [row for row in rows if row['examples'] < 0.8 * lanes[0]['examples']]
      config.model.name = ('mlp', 'cnn', 'resnet20')[number]
      (path / 'arms' / f'arm{number}').mkdir(parents=True)
      Made(config, lanes, rows, facts(5000)).write(path / 'arms' / f'arm{number}')
    # Compared in this order, which is not that of their names.
    order = sorted((one.name for one in (path / 'arms').iterdir()), reverse=seed % 2 == 1)
    records.write_json(path / 'config.json', {'arms': {'order': order}})
    page, method = arms_page.write(path).read_text(), methods.write(path).read_text()
    summary = records.read_json(path / 'summary.json')
  words = {'page': visible(page), 'methodology.txt': method}
  return Kept(sums(summary, ' '.join(words['page'].split())), words)


DRAWN: dict[str, Callable[[], Kept]] = {
  f'drawn_{at // TOGETHER}': functools.partial(studies, SEEDS[at : at + TOGETHER])
  for at in range(0, len(SEEDS), TOGETHER)
}
DRAWN |= {f'drawn_arms_{seed}': functools.partial(arms, seed) for seed in range(2)}
