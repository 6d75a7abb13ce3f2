"""Rounds of a study until its question is decided, the budget spent, or nothing is left to try."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from bsjax.analysis.decide import power
from bsjax.analysis.decide.decision import Done, coming, decision, rounds_of
from bsjax.analysis.decide.planning import Plan
from bsjax.analysis.runs.judging import judged_by
from bsjax.config.decide_keys import BEST_RATE, asked
from bsjax.config.errors import ConfigError
from bsjax.config.metrics import judged, judged_of, judging
from bsjax.console import make_console
from bsjax.engine import processes
from bsjax.engine.own import CONFIGS, Own
from bsjax.engine.validate import validate
from bsjax.plan import rounds
from bsjax.report.text import decision as text
from bsjax.storage import records, workdirs
from bsjax.storage.writers import Writer
from bsjax.train import finish
from bsjax.train.extension import extend

FIXED = 'question', 'margin', 'error', 'most_trials'  # once looks have been taken


def decide(
  config: ConfigDict, workdir: str | Path, writers: Sequence[Writer] = (), own: Own = CONFIGS
) -> bool:
  """Trains round after round until `config.decide` has its answer, or can't get it.

  The first round is the grid of the config; each other one is planned from the runs up to then and
  extends the study in `workdir`, where the same call goes on after an interruption. Returns whether
  nothing is left to do. Raises ConfigError, before anything is compiled, where the workdir holds
  another study or was asked another question.
  """
  validate(config)
  path = workdirs.local(workdir)
  done = processes.first(lambda: _begun(path, config))
  # Of what another command has trained it is not known how long it took.
  untimed = len(done) == 1 and processes.first((path / 'summary.json').exists)
  console = make_console(processes.is_first())
  while True:
    begin = time.monotonic()
    now = with_rounds(config, done)
    if not extend(now, path, writers=writers, own=own):
      return False
    if done[-1].seconds is None and not (untimed and len(done) == 1):
      done[-1] = done[-1]._replace(seconds=time.monotonic() - begin)
    plan = processes.first(lambda: _next(path, done))
    if not plan.boxes:
      break
    done.append(Done(plan.boxes, plan.why))
    console.print(f'Round {len(done)}: {plan.why}, {plan.lane_examples:,} examples.')
  processes.first(lambda: finish.again(path))
  return True


def foreseen(config: ConfigDict, workdir: str | Path) -> list[str]:
  """Sentences on what the planned trials can see, from `decide.spread` or the runs in `workdir`."""
  path, decide = workdirs.local(workdir), config.decide
  with judging(judged_of(config)):
    question = asked(decide)
    if question is None or question.kind == BEST_RATE:
      return []
    spread = config.decide.spread or processes.first(lambda: _spread(path))
    if not spread:
      return [text.no_spread()]
    margin = question.margin or judged().margin
    design = spread, margin, config.trials
    planned = power.seen(*design, decide.most_trials, decide.error)
    return text.foreseen(spread, margin, planned, power.smallest(*design, decide.error))


def _spread(path: Path) -> float | None:
  """That of the last look at the runs of a workdir."""
  if not (path / 'records.jsonl').is_file():
    return None
  config, rows = records.read_json(path / 'config.json'), records.read_all(path)
  if not config.get('decide', {}).get('question'):
    return None
  found = decision(config, records.read_plan(path / 'plan.csv'), rows)
  return power.spread_of(found['claims'])


def with_rounds(config: ConfigDict, done: Sequence[Done]) -> ConfigDict:
  """The config of the study that has the runs of all rounds."""
  whole = rounds.extended(config, [box for one in done[1:] for box in one.boxes])
  whole.decide.rounds = tuple(one.plain for one in done)
  return whole


def _begun(path: Path, config: ConfigDict) -> list[Done]:
  """The rounds of a workdir; the first alone where none was begun."""
  first = Done(rounds.of(config))
  if not (path / 'config.json').exists():
    return [first]
  stored = workdirs.read_config(path)
  if not stored.decide.rounds:
    return [first]
  done = rounds_of(stored.to_dict())
  for key in FIXED:
    if config.decide[key] != stored.decide[key]:
      raise ConfigError(
        f'decide.{key}={config.decide[key]!r}, and {path} was asked with {stored.decide[key]!r}: '
        'its looks have spent the error on that; give the same, or choose another --workdir'
      )
  if first.boxes != done[0].boxes:
    raise ConfigError(
      f'the rounds of {path} began with {done[0].plain[0]}, and this configuration is '
      f'{first.plain[0]}: give the same, or choose another --workdir'
    )
  return done


def _next(path: Path, done: Sequence[Done]) -> Plan:
  """Notes how long the rounds of a workdir took, and plans the one after them."""
  config, rows = records.read_json(path / 'config.json'), records.read_all(path)
  config['decide']['rounds'] = [one.plain for one in done]
  records.write_json(path / 'config.json', config)
  with judging(judged_by(config, rows)):
    return coming(config, records.read_plan(path / 'plan.csv'), rows)
