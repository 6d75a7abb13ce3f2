"""The loop of rounds: what it trains, notes and refuses. Training is made up, files are real."""

import json

import numpy as np
import pytest
from helpers.rounds import missing
from helpers.world_files import VALIDATION_EXAMPLES, config_of, rows, write_workdir
from helpers.world_runs import simulate
from helpers.worlds import TRAIN_EXAMPLES, World

from bsjax.config.errors import ConfigError
from bsjax.plan import plan
from bsjax.plan import rounds as boxes_of
from bsjax.storage import records, workdirs
from bsjax.train import decide as loop

WORLD = World('two', batch_sizes=(16, 32), learning_rates=(0.03, 0.1, 0.3), lane_sd=0.2)


class Trainer:
  """Stands where `extend` does: writes what the config has and the workdir lacks."""

  def __init__(self, stops_after: int | None = None):
    self.calls: list[int] = []  # runs trained by each
    self.stops_after = stops_after

  def __call__(self, config, workdir, writers=(), own=None):
    if self.stops_after == len(self.calls):
      return False
    base = config_of(WORLD, 2)
    planned = plan.make_plan(base, TRAIN_EXAMPLES)
    examples = np.array(planned.first.evaluations)
    lanes = records.read_plan(workdir / 'plan.csv') if (workdir / 'plan.csv').exists() else []
    old = records.read_all(workdir) if lanes else []
    new = missing(boxes_of.of(config), lanes, plan.lane_rows(planned)[0])
    self.calls.append(len(new))
    made = list(old)
    if new:
      made += rows(simulate(WORLD, new, examples, len(lanes)), new, examples)
    workdir.mkdir(exist_ok=True)
    write_workdir(workdir, config, [*lanes, *new], iter(made), VALIDATION_EXAMPLES)
    records.write_json(workdir / 'summary.json', {'hardware': 'none'})
    return True


@pytest.fixture
def config():
  config = config_of(WORLD, 3)
  config.evaluations = 2
  config.decide.question = 'equivalent:16,32'
  return config


def run(monkeypatch, config, workdir, **how):
  trainer = Trainer(**how)
  monkeypatch.setattr(loop, 'extend', trainer)
  return loop.decide(config, workdir), trainer


def test_trains_rounds_notes_them_and_goes_on_after_an_interruption(tmp_path, monkeypatch, config):
  whole, cut = tmp_path / 'whole', tmp_path / 'cut'
  done, trainer = run(monkeypatch, config, whole)
  assert done
  assert len(trainer.calls) > 1
  stored = workdirs.read_config(whole)
  assert len(stored.decide.rounds) == len(trainer.calls)
  assert all(seconds is not None for *_, seconds in stored.decide.rounds)
  summary = records.read_json(whole / 'summary.json')
  assert summary['decision']['decided']
  assert summary['hardware'] == 'none'
  assert [one['lanes'] for one in summary['decision']['rounds']] == trainer.calls
  assert (whole / 'report.html').exists()

  done, first = run(monkeypatch, config, cut, stops_after=1)
  assert not done
  done, second = run(monkeypatch, config, cut)
  assert done
  assert second.calls[0] == 0  # what is there is not trained again
  assert first.calls + second.calls[1:] == trainer.calls
  assert (cut / 'records.jsonl').read_bytes() == (whole / 'records.jsonl').read_bytes()


def test_another_question_or_grid_is_refused(tmp_path, monkeypatch, config):
  run(monkeypatch, config, tmp_path)
  config.decide.margin = 0.02
  with pytest.raises(ConfigError, match=r'decide.margin=0.02.*was asked with 0.0'):
    loop.decide(config, tmp_path)
  config.decide.margin = 0.0
  config.learning_rates = (0.03, 0.1)
  with pytest.raises(ConfigError, match='began with'):
    loop.decide(config, tmp_path)


def test_budget_is_kept_and_may_be_raised(tmp_path, monkeypatch, config):
  each = int(TRAIN_EXAMPLES * config.epochs)
  config.decide.budget = 19.0 * each  # the 18 runs of the first round, and no other
  done, trainer = run(monkeypatch, config, tmp_path)
  assert done
  assert trainer.calls == [18]
  summary = records.read_json(tmp_path / 'summary.json')
  assert summary['decision']['state'] == 'budget'
  assert 'would take more than the budget leaves' in summary['answer']['detail']
  config.decide.budget = 0.0
  _, trainer = run(monkeypatch, config, tmp_path)
  assert sum(trainer.calls) > 0
  assert records.read_json(tmp_path / 'summary.json')['decision']['decided']


def test_minutes_are_converted_by_how_long_rounds_took(tmp_path, monkeypatch, config):
  run(monkeypatch, config, tmp_path)
  stored = json.loads((tmp_path / 'config.json').read_text())
  stored['decide'] |= {'budget': 1.0, 'budget_unit': 'minutes'}
  stored['decide']['rounds'] = [[boxes, why, 30.0] for boxes, why, _ in stored['decide']['rounds']]
  assert len(stored['decide']['rounds']) > 2  # at 30 seconds each more than the minute
  lanes, made = records.read_plan(tmp_path / 'plan.csv'), records.read_all(tmp_path)
  from bsjax.analysis.decide.decision import budget_left, rounds_of
  from bsjax.analysis.decide.looks import replay

  done = rounds_of(stored)
  found = replay(stored, [one.boxes for one in done], lanes, made)
  assert budget_left(stored, found, done) < 0
  assert budget_left(stored, found[:1], done[:1]) == pytest.approx(found[0].lane_examples)


def test_dry_run_says_what_trials_can_see(tmp_path, monkeypatch, config):
  assert 'give decide.spread' in loop.foreseen(config, tmp_path / 'none')[0]
  config.decide.spread = 0.006
  planned, fewest = loop.foreseen(config, tmp_path)
  assert 'varies by 0.6 percentage points over trials' in planned
  assert 'takes up to' in fewest
  run(monkeypatch, config, tmp_path)
  config.decide.spread = 0.0
  assert 'varies by' in loop.foreseen(config, tmp_path)[0]  # from the runs there
