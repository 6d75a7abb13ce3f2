"""Rounds of a study until its question is decided, the budget spent, or nothing is left to try."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from bsjax.analysis.decide import power
from bsjax.analysis.decide.decision import Done, coming, decision, rounds_of
from bsjax.analysis.decide.planning import Plan
from bsjax.analysis.runs.judging import judged_by
from bsjax.config.decide_keys import FACTORS, FIXED, asked
from bsjax.config.errors import ConfigError
from bsjax.config.metrics import judged, judged_of, judging
from bsjax.console import make_console
from bsjax.engine import processes
from bsjax.engine.own import CONFIGS, Own, with_own
from bsjax.engine.validate import validate
from bsjax.plan import rounds
from bsjax.report.text import decision_plans as text
from bsjax.storage import extensions, lock, records, workdirs
from bsjax.storage.writers import Writer
from bsjax.train import finish
from bsjax.train.extension import extend, settle
from bsjax.train.study_run import StudyRun


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
  processes.first(lambda: _settle(path))
  done = processes.first(lambda: _begun(path, config))
  # Of what an earlier call has begun it is not known how long it took.
  timed = not processes.first((path / 'config.json').exists)
  console = make_console(processes.is_first())
  while True:
    begin = time.monotonic()
    now = with_rounds(config, done)
    if not extend(now, path, writers=writers, own=own):
      return False
    if timed:
      done[-1] = done[-1]._replace(seconds=time.monotonic() - begin)
    plan = processes.first(lambda: _next(path, config, done))
    if not plan.boxes:
      break
    done.append(Done(plan.boxes, plan.why))
    timed = not processes.first((extensions.folder(path) / 'config.json').exists)
    console.print(text.begins(len(done), plan), soft_wrap=True)
  answer = processes.first(lambda: _answer(path))
  console.print(*answer, sep='\n', markup=False, highlight=False, soft_wrap=True)
  return True


def _answer(path: Path) -> tuple[str, ...]:
  """Writes what follows from all rounds, and returns what is said at the end."""
  page = finish.again(path)
  said = records.read_json(path / 'summary.json')['answer']
  return said['headline'], said['detail'], f'Report: {page}'


def show(config: ConfigDict, workdir: str | Path, target: str = '', own: Own = CONFIGS) -> bool:
  """Prints the plan of the rounds there, or of what the first adds, what is next, `foreseen`."""
  validate(config)
  path = workdirs.local(workdir)
  begun = processes.first(lambda: _begun(path, config))
  now = with_rounds(config, begun)
  if processes.first((path / 'config.json').exists):  # which batch sizes may have been added to
    now.evaluation.at = tuple(processes.first(lambda: workdirs.read_config(path)).evaluation.at)
  if not target and processes.first(lambda: _adds(path, with_own(now, own))):
    done = extend(now, path, dry_run=True, own=own)
  else:
    done = StudyRun(now, path, own=own).run(dry_run=True, target=target)
  print(*processes.first(lambda: _next_said(path, config, begun)), sep='\n', end='')
  print(*foreseen(config, path), sep='\n')
  return done


def _next_said(path: Path, config: ConfigDict, done: Sequence[Done]) -> list[str]:
  """A sentence on the round after those there, once they have ended; lines, or none."""
  rounds_there = (path / 'config.json').exists() and workdirs.read_config(path).decide.rounds
  if not rounds_there or not (path / 'summary.json').exists():
    return []
  plan = _planned(path, config, done)[1]
  said = text.begins(len(done) + 1, plan) if plan.boxes else text.ended(plan)
  return [f'Next: {said}\n']


def _adds(path: Path, config: ConfigDict) -> bool:
  return (path / 'config.json').exists() and bool(workdirs.differences(path, config))


def foreseen(config: ConfigDict, workdir: str | Path) -> list[str]:
  """Sentences on what the planned trials can see, from `decide.spread` or the runs in `workdir`."""
  path, decide = workdirs.local(workdir), config.decide
  with judging(judged_of(config)):
    question = asked(decide)
    if question is None or question.kind in FACTORS:
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
  decided = decision(config, records.read_plan(path / 'plan.csv'), rows)
  return power.spread_of(decided['claims'])


def with_rounds(config: ConfigDict, done: Sequence[Done]) -> ConfigDict:
  """The config of the study that has the runs of all rounds."""
  whole = rounds.extended(config, [box for one in done[1:] for box in one.boxes])
  whole.decide.rounds = tuple(one.plain for one in done)
  return whole


def _settle(path: Path) -> None:
  """Ends what an interruption left halfway, before config.json is read, which may be away."""
  if extensions.taking_its_place(path):
    with lock.held(path):
      settle(path)


def _begun(path: Path, config: ConfigDict) -> list[Done]:
  """The rounds of a workdir; the first alone where none was begun."""
  first = Done(rounds.of(config))
  if not (path / 'config.json').exists():
    return [first]
  stored = workdirs.read_config(path)
  if not stored.decide.question:
    return [first]
  done = rounds_of(stored.to_dict())
  for key in FIXED:
    if config.decide[key] != stored.decide[key]:
      raise ConfigError(
        f'decide.{key}={config.decide[key]!r}, and {path} was asked with {stored.decide[key]!r}: '
        'its looks have spent the error on that; give the same, or choose another --workdir',
        f'decide.{key}',
      )
  if first.boxes != done[0].boxes:
    raise ConfigError(
      f'the rounds of {path} began with {done[0].plain[0]}, and this configuration is '
      f'{first.plain[0]}: give the same, or choose another --workdir'
    )
  return done


def _next(path: Path, config: ConfigDict, done: Sequence[Done]) -> Plan:
  """Notes what is asked now, and how long the rounds took; plans the one after them."""
  stored, plan = _planned(path, config, done)
  records.write_json(path / 'config.json', stored)
  return plan


def _planned(path: Path, config: ConfigDict, done: Sequence[Done]) -> tuple[dict[str, Any], Plan]:
  """The config.json of the rounds there with what is asked now, and the round after them."""
  stored, rows = records.read_json(path / 'config.json'), records.read_all(path)
  # A study that was whole keeps its config.json, with another budget or no question.
  stored['decide'] = json.loads(with_rounds(config, done).to_json())['decide']
  with judging(judged_by(stored, rows)):
    return stored, coming(stored, records.read_plan(path / 'plan.csv'), rows)
