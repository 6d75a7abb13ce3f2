"""How often each claim of an audit contradicts what was planted, and how often it is decided.

  python experiments/audit/claims.py --out=experiments/audit/claims.json --tables=100

Tables are simulated (`tests/helpers/audit_worlds.py`) with two more columns: seconds, which are as
the power `SECONDS` of the batch size, and a sharpness that does not depend on it. It goes on where
the file ends, and writes its table of the README beside it anew.
"""

import argparse
import collections
import json
import sys
import time
import zlib
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]

from helpers import audit_worlds  # noqa: E402
from helpers.world_catalogue import WORLDS  # noqa: E402

from bsjax.audit.judgement import Options, judge_frame  # noqa: E402

SECONDS = {'no_effect': -1.0, 'best_rate_scales': -0.7, 'real_effect': -1.0, 'heavy_tails': -0.7}
TRIALS = 3, 5, 8
DECIDED = 'supported', 'refuted'
ALIKE = 'no_effect', 'best_rate_scales', 'heavy_tails'  # at best rates, all batch sizes
HEAD = '| claim | world | n = 3: false; decided, % | n = 5 | n = 8 |\n|---|---|---|---|---|\n'


def false_verdicts(code, name):
  """The verdicts that contradict the truth, or None where the claim has no plain truth there."""
  kind, _, power = code.partition(' ')
  if kind == 'exponent':
    true = float(power) == WORLDS[name].optimum_power
    return ('refuted',) if true else ('supported',)
  if kind == 'halves_time':
    return ('refuted',) if SECONDS[name] == -1.0 else ('supported',)
  if kind == 'rate_is_cause':
    if name == 'best_rate_scales':
      return ('refuted',)
    return ('supported',) if name == 'real_effect' else DECIDED
  return {
    'val_accuracy': DECIDED if name in ALIKE else ('refuted',),
    'gap': DECIDED,
    'more_alike': DECIDED,
    'flatter_minima': DECIDED,
    'good_rates_narrow': DECIDED,
    'one_power_law': ('refuted',),
  }.get(kind)


def code_of(claim):
  """What the claims of the file are called, or None for those that are not held against a truth."""
  if claim.kind == 'exponent':
    return f'exponent {claim.subject[0]:g}'
  if claim.kind == 'trend' and claim.budget == 'epochs':
    return claim.quantity
  return claim.subject[0] if claim.kind == 'audit' else None


def table(name, trials, number):
  seed = trials, number, zlib.crc32(name.encode())
  frame = audit_worlds.of_world(WORLDS[name], trials, seed)
  random = np.random.default_rng([*seed, 1])
  runs = frame.groupby(['batch_size', 'learning_rate', 'trial']).ngroup()
  spread = np.exp(random.normal(0, 0.05, runs.max() + 1))[runs]
  frame['seconds'] = frame['epoch'] * 100 * frame['batch_size'] ** SECONDS[name] * spread
  frame['sharpness'] = np.exp(random.normal(0, 0.3, runs.max() + 1))[runs]
  return frame


def one(name, trials, number):
  """code -> verdict of the claims of one table."""
  judged = judge_frame(table(name, trials, number), Options(batch_norm='none'))
  named = ((code_of(claim), claim.verdict) for claim in judged.cells[0].claims)
  return {code: str(verdict) for code, verdict in named if code}


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('--out', type=Path, required=True)
  parser.add_argument('--tables', type=int, default=100)
  given = parser.parse_args()
  result = json.loads(given.out.read_text()) if given.out.exists() else {}
  for trials in TRIALS:
    for name in SECONDS:
      cell = result.setdefault(
        f'{name}, n = {trials}', {'tables': 0, 'cpu_seconds': 0, 'claims': {}}
      )
      while cell['tables'] < given.tables:
        start = time.process_time()
        for code, verdict in one(name, trials, cell['tables']).items():
          of_claim = cell['claims'].setdefault(code, {})
          of_claim[verdict] = of_claim.get(verdict, 0) + 1
        cell['tables'] += 1
        cell['cpu_seconds'] = round(cell['cpu_seconds'] + time.process_time() - start, 1)
        given.out.write_text(json.dumps(result, indent=1) + '\n')
      print(name, trials, cell, flush=True)
  readme = given.out.with_name('README.md')
  if readme.exists():
    head, _, rest = readme.read_text().partition(HEAD)
    readme.write_text(head + HEAD + lines(result) + rest[rest.index('\n\n') :])


def lines(result):
  """The rows of the README: claim, world, then share of false and of decided ones by trials."""
  rows, asked = collections.defaultdict(dict), set()
  for key, cell in result.items():
    name, _, trials = key.partition(', n = ')
    for code, verdicts in cell['claims'].items():
      if not (false := false_verdicts(code, name)):
        continue
      decided, wrong = (sum(verdicts.get(v, 0) for v in of) for of in (DECIDED, false))
      interval = binomtest(wrong, cell['tables']).proportion_ci(method='wilson')
      low, high = (100 * float(end) for end in interval)
      shares = [100 * count / cell['tables'] for count in (wrong, decided)]
      rows[code, name][trials] = f'{shares[0]:.1f} [{low:.1f}, {high:.1f}]; {shares[1]:.0f}'
      asked |= {(code, name)} if decided else set()
  return '\n'.join(
    f'| `{code}` | `{name}` | {" | ".join(rows[code, name].get(str(n), "–") for n in TRIALS)} |'
    for code, name in sorted(asked)
  )


if __name__ == '__main__':
  main()
