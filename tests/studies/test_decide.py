"""The loop of rounds: what it trains, notes and refuses. Training is made up, files are real."""

import json
import os
import shutil

import numpy as np
import pytest
from helpers import blank
from helpers.rounds import missing
from helpers.small import small_config
from helpers.world_files import VALIDATION_EXAMPLES, config_of, rows, write_workdir
from helpers.world_runs import simulate
from helpers.worlds import TRAIN_EXAMPLES, World

from bsjax import Study
from bsjax.analysis.decide.decision import budget_left, rounds_of
from bsjax.analysis.decide.looks import holds, replay
from bsjax.analysis.decide.planning import Plan, next_round
from bsjax.autotune import execution
from bsjax.config.errors import ConfigError
from bsjax.plan import plan
from bsjax.plan import rounds as boxes_of
from bsjax.report.text import decision_plans as text
from bsjax.stats.looks import ladder
from bsjax.storage import extensions, records, workdirs
from bsjax.train import decide as loop
from bsjax.train import extension
from bsjax.train.loop import TrainLoop

pytestmark = pytest.mark.usefixtures('blank_figures')

WORLD = World('two', batch_sizes=(16, 32), learning_rates=(0.03, 0.1, 0.3), lane_sd=0.2)


class Trainer:
  """Stands where `extend` does: makes what the config has and the workdir lacks, in its place."""

  def __init__(self, stops_after: int | None = None):
    self.calls: list[int] = []  # runs trained by each
    self.stops_after = stops_after

  def __call__(self, config, workdir, writers=(), own=None):
    extension.settle(workdir)
    base = config_of(WORLD, 2)
    planned = plan.make_plan(base, TRAIN_EXAMPLES)
    examples = np.array(planned.first.evaluations)
    lanes = records.read_plan(workdir / 'plan.csv') if (workdir / 'plan.csv').exists() else []
    old = records.read_all(workdir) if lanes else []
    boxes = boxes_of.of(config)
    assert all(any(holds(box, lane) for box in boxes) for lane in lanes), 'something is taken away'
    new = missing(boxes, lanes, plan.lane_rows(planned)[0])
    folder = extensions.folder(workdir) if lanes else workdir
    if self.stops_after == len(self.calls):
      workdirs.write_config(folder, config)
      return False
    self.calls.append(len(new))
    if not new:  # nothing is written then, the config neither
      return True
    made = [*old, *rows(simulate(WORLD, new, examples, len(lanes)), new, examples)]
    folder.mkdir(parents=True, exist_ok=True)
    write_workdir(folder, config, [*lanes, *new], iter(made), VALIDATION_EXAMPLES)
    records.write_json(folder / 'summary.json', {'hardware': 'none'})
    if lanes:
      extensions.take_place(workdir)
    return True


def asking():
  config = config_of(WORLD, 3)
  config.evaluations = 2
  config.decide.question = 'equivalent:16,32'
  return config


@pytest.fixture
def config():
  return asking()


def run(monkeypatch, config, workdir, **how):
  trainer = Trainer(**how)
  monkeypatch.setattr(loop, 'extend', trainer)
  return loop.decide(config, workdir), trainer


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """A decided study, with the runs that each round trained."""
  with pytest.MonkeyPatch.context() as monkeypatch:
    blank.figures(monkeypatch)
    workdir = tmp_path_factory.mktemp('whole')
    done, trainer = run(monkeypatch, asking(), workdir)
  assert done
  return workdir, trainer.calls


def seconds(workdir):
  return [seconds for *_, seconds in workdirs.read_config(workdir).decide.rounds]


def test_trains_rounds_notes_them_and_goes_on_after_an_interruption(
  tmp_path, monkeypatch, config, whole
):
  workdir, calls = whole
  assert len(calls) > 1
  assert len(seconds(workdir)) == len(calls)
  assert None not in seconds(workdir)
  summary = records.read_json(workdir / 'summary.json')
  assert summary['decision']['decided']
  assert summary['hardware'] == 'none'
  assert [one['lanes'] for one in summary['decision']['rounds']] == calls
  assert (workdir / 'report.html').exists()

  done, first = run(monkeypatch, config, tmp_path, stops_after=1)
  assert not done
  done, second = run(monkeypatch, config, tmp_path)
  assert done
  assert second.calls[0] == 0  # what is there is not trained again
  assert first.calls + second.calls[1:] == calls
  assert (tmp_path / 'records.jsonl').read_bytes() == (workdir / 'records.jsonl').read_bytes()
  # How long a round took is not known where it was interrupted, and said of the others.
  assert [one is None for one in seconds(tmp_path)] == [False, True] + [False] * (len(calls) - 2)
  detail = records.read_json(tmp_path / 'summary.json')['answer']['detail']
  assert f'minutes for {len(calls) - 1} of the rounds' in detail


def test_a_study_that_is_there_is_the_first_round(tmp_path, monkeypatch, config, whole):
  plain = config.copy_and_resolve_references()
  plain.decide.question = ''
  assert Trainer()(plain, tmp_path)
  done, trainer = run(monkeypatch, config, tmp_path)
  assert done
  assert [18, *trainer.calls[1:]] == whole[1]
  assert seconds(tmp_path)[0] is None
  assert None not in seconds(tmp_path)[1:]
  with pytest.raises(ConfigError, match='was asked with'):
    loop.decide(plain, tmp_path)


def test_killed_while_files_are_moved_it_goes_on_by_the_same_command(tmp_path, monkeypatch, config):
  """Without config.json, which is moved first and comes last, the rounds are not known."""
  first, replace, moves = tmp_path / 'first', os.replace, []
  assert not run(monkeypatch, config, first, stops_after=1)[0]
  shutil.rmtree(first / 'extensions')
  coming = loop._next(first, config, loop._begun(first, config))
  monkeypatch.setattr(
    loop, '_next', lambda _, __, done: coming if len(done) == 1 else Plan((), 'decided')
  )
  monkeypatch.setattr(loop, '_answer', lambda _: ())

  def counted(here, there):
    if os.path.dirname(here) != os.path.dirname(there) or str(there).endswith('before'):
      moves.append(there)
      if len(moves) == cut:
        raise KeyboardInterrupt
    replace(here, there)

  def cut_short(workdir):
    moves.clear()
    with monkeypatch.context() as patch:
      patch.setattr(os, 'replace', counted)
      return run(monkeypatch, config, workdir)

  cut = 0  # never
  uncut = shutil.copytree(first, tmp_path / 'uncut')
  assert cut_short(uncut)[0]
  number = len(moves)
  assert number > 8
  for cut in range(1, number + 1):
    workdir = shutil.copytree(first, tmp_path / str(cut))
    with pytest.raises(KeyboardInterrupt):
      cut_short(workdir)
    done, trainer = run(monkeypatch, config, workdir)
    assert done
    assert trainer.calls == [0]
    assert (workdir / 'records.jsonl').read_bytes() == (uncut / 'records.jsonl').read_bytes()
    assert rounds_of(workdirs.read_config(workdir).to_dict())[1].boxes == coming.boxes


def test_another_question_or_grid_is_refused(config, whole):
  config.decide.margin = 0.02
  with pytest.raises(ConfigError, match=r'decide.margin=0.02.*was asked with 0.0'):
    loop.decide(config, whole[0])
  config.decide.margin = 0.0
  config.learning_rates = (0.03, 0.1)
  with pytest.raises(ConfigError, match='began with'):
    loop.decide(config, whole[0])


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


def test_minutes_are_converted_by_how_long_rounds_took(whole):
  workdir, _ = whole
  stored = json.loads((workdir / 'config.json').read_text())
  stored['decide'] |= {'budget': 1.0, 'budget_unit': 'minutes'}
  stored['decide']['rounds'] = [[boxes, why, 30.0] for boxes, why, _ in stored['decide']['rounds']]
  assert len(stored['decide']['rounds']) > 2  # at 30 seconds each more than the minute
  lanes, made = records.read_plan(workdir / 'plan.csv'), records.read_all(workdir)
  done = rounds_of(stored)
  found = replay(stored, [one.boxes for one in done], lanes, made)
  assert budget_left(stored, found, done) < 0
  assert budget_left(stored, found[:1], done[:1]) == pytest.approx(found[0].lane_examples)
  first, second = (one.lane_examples for one in found[:2])
  untimed = [done[0]._replace(seconds=None), done[1]]
  # Two of the second in a minute, and both are spent.
  assert budget_left(stored, found[:2], untimed) == pytest.approx(2 * second - first - second)


def test_while_no_round_is_timed_the_next_is_as_small_as_can_be(whole):
  workdir, _ = whole
  stored = json.loads((workdir / 'config.json').read_text())
  stored['decide'] |= {'budget': 1e-6, 'budget_unit': 'minutes'}
  stored['trials'] = 3  # as it was at first
  lanes, made = records.read_plan(workdir / 'plan.csv'), records.read_all(workdir)
  done = [one._replace(seconds=None) for one in rounds_of(stored)]
  found = replay(stored, [one.boxes for one in done], lanes, made)[:1]
  left = budget_left(stored, found, done[:1])
  assert left is None
  plan_, usual = next_round(stored, found, left), next_round(stored, found)
  assert plan_.why == usual.why == 'trials'
  assert max(box.trials for box in plan_.boxes) == ladder(3, 30)[1]
  assert plan_.lane_examples <= usual.lane_examples
  assert 'as small as can be' in text.begins(2, plan_)
  assert 'as small as can be' not in text.begins(2, usual)
  assert next_round(stored, found, 0.0).why == 'budget'


@pytest.mark.parametrize(
  ('budget', 'words'),
  [
    ((1151, 'lane_examples'), r'budget=1,151 \(lane_.* takes 1,152 \(8 lanes of 144\); give'),
    ((0.9, 'minutes'), r'decide.budget=0.9 \(minutes\) is 0.9 minutes, .* takes 1 by timings'),
    ((0.9, 'price'), r'decide.budget=0.9 \(price\) is 0.9 minutes, .* takes 1 by timings'),
    ((1152, 'lane_examples'), ''),
    ((1, 'minutes'), ''),
    ((0, 'minutes'), ''),
  ],
)
def test_a_first_round_beyond_the_budget_is_refused_before_it_trains(
  budget, words, tmp_path, monkeypatch
):
  """Of examples before anything is timed; here ticks are said to take a minute in all."""
  study = small_config(batch_sizes=(8, 16), trials=2, epochs=1.0)
  study.decide.question = 'best_batch_size'
  study.decide.budget, study.decide.budget_unit = budget
  study.decide.price_per_hour = 60.0
  timed, choose = [], execution.choose
  monkeypatch.setattr(execution, 'choose', lambda *a, **k: timed.append(1) or choose(*a, **k))
  monkeypatch.setattr(execution, 'training_seconds', lambda *_: 60.0)

  def train(self, finish):
    raise KeyboardInterrupt

  monkeypatch.setattr(TrainLoop, 'run', train)
  with pytest.raises(ConfigError if words else KeyboardInterrupt, match=words or None):
    loop.decide(study, tmp_path)
  assert bool(timed) == (budget[1] != 'lane_examples' or not words)
  assert (tmp_path / 'config.json').exists() == (not words)
  if not words:  # what has begun is no longer asked
    study.decide.budget = 1e-3
    with pytest.raises(KeyboardInterrupt):
      loop.decide(study, tmp_path)


def test_a_dry_run_says_what_the_budget_refuses_and_what_trials_can_see(
  tmp_path, monkeypatch, capsys
):
  study = small_config(batch_sizes=(8, 16), trials=2, epochs=1.0)
  study.decide.question, study.decide.budget = 'best_batch_size', 1151
  monkeypatch.setattr(execution, 'training_seconds', lambda *_: 60.0)
  assert loop.show(study, tmp_path)
  said = ' '.join(capsys.readouterr().out.split())
  assert 'Refused as it stands: decide.budget=1,151 (lane_examples)' in said
  assert said.index('Refused') < said.index('give decide.spread')
  assert not (tmp_path / 'config.json').exists()


def test_a_target_takes_a_dry_run(config, tmp_path):
  with pytest.raises(ConfigError, match='--target=H100 says what would be there; add --dry_run'):
    Study(config, tmp_path).run(target='H100')


def test_dry_run_says_what_trials_can_see(tmp_path, config, whole):
  assert 'give decide.spread' in loop.foreseen(config, tmp_path / 'none')[0]
  config.decide.spread = 0.006
  planned, fewest = loop.foreseen(config, tmp_path)
  assert 'varies by 0.6 percentage points over trials' in planned
  assert 'takes up to' in fewest
  config.decide.margin = 0.02
  assert all('within 2 percentage' in said for said in loop.foreseen(config, tmp_path))
  config.decide.margin = 0.0
  config.decide.spread = 0.0
  assert 'varies by' in loop.foreseen(config, whole[0])[0]  # from the runs there


class Planned:
  """Stands where `StudyRun` does, which refuses another study than that of the workdir."""

  def __init__(self, config, workdir, own):
    self.config, self.workdir = config, workdir

  def run(self, dry_run, target):
    assert dry_run
    workdirs.refuse_another(self.workdir, self.config)
    print('planned', target)
    return True


def test_dry_run_plans_the_study_with_the_rounds_there(
  tmp_path, monkeypatch, config, whole, capsys
):
  monkeypatch.setattr(loop, 'StudyRun', Planned)
  assert Study(config, whole[0]).run(dry_run=True, target='H100')
  said = capsys.readouterr().out
  assert 'planned H100' in said
  assert 'Next: no round; decided.\n' in said
  shutil.copy(whole[0] / 'config.json', tmp_path)
  assert loop._next_said(tmp_path, config, []) == []  # of a round that is not finished
  (tmp_path / 'config.json').unlink()
  assert 'varies by' in said
  # What a first round adds to a study that was begun without a question.
  plain, asked = config_of(WORLD, 2), []
  assert Trainer()(plain, tmp_path)
  monkeypatch.setattr(
    loop, 'extend', lambda now, *_, **how: asked.append((now.trials, how)) or True
  )
  assert Study(config, tmp_path).run(dry_run=True)
  assert asked[0][0] == 3
  assert asked[0][1]['dry_run']
