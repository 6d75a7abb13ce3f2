"""Writers of one study beside another: identities, folders of an earlier start, what fails."""

import sys
import types

import pytest
from helpers import synthetic

from bsjax import writers
from bsjax.config.keys import base_config
from bsjax.storage import records, workdirs
from bsjax.writers import TensorBoard, Trackio, WeightsAndBiases

PLAN = synthetic.plan((8,), (0.1,), 2)


class Service:
  """Stands in for both libraries, and notes how runs are opened."""

  Settings = dict

  def __init__(self, steps=0, offline=False):
    self.given, self.logged, self.steps, self.offline = [], [], steps, offline

  def init(self, **given):
    self.given.append(given)
    folder = f'{given["dir"]}/wandb/offline-run-2-{given["id"]}/files' if 'dir' in given else ''
    run = types.SimpleNamespace(step=self.steps, resumed=self.steps > 0, offline=self.offline)
    run._next_step, run.dir = self.steps, folder
    run.log = lambda values, step: self.logged.append(step)
    run.finish = lambda: None
    return run


def served(monkeypatch, **about):
  service = Service(**about)
  for name in ('wandb', 'trackio'):
    monkeypatch.setitem(sys.modules, name, service)
  return service


def rows_at(share):
  return [synthetic.record(lane, share) for lane in PLAN]


@pytest.mark.parametrize('project', [None, 'mine'])
def test_runs_are_of_the_project_of_the_environment_or_bsjax(monkeypatch, tmp_path, project):
  service = served(monkeypatch)
  monkeypatch.delenv('WANDB_PROJECT', raising=False)
  if project:
    monkeypatch.setenv('WANDB_PROJECT', project)
  WeightsAndBiases(tmp_path, 'digits').begin(base_config(), PLAN)
  study = records.read_json(tmp_path / 'wandb.json')['study']
  first = service.given[0]
  assert (first['project'], first['group']) == (project or 'bsjax', f'digits-{study}')
  assert [given['id'] for given in service.given] == [f'{study}-0', f'{study}-1']
  assert first['dir'] == tmp_path and first['config']['trial'] == 0


def test_lanes_of_each_part_of_a_study_have_runs_of_their_own(monkeypatch, tmp_path):
  service = served(monkeypatch)
  for part in ('', 'arms/small', 'arms/large'):
    WeightsAndBiases(tmp_path, 'digits', part).begin(base_config(), PLAN)
  study = records.read_json(tmp_path / 'wandb.json')['study']
  assert [given['id'] for given in service.given] == [
    f'{study}-{part}{lane}' for part in ('', 'arms-small-', 'arms-large-') for lane in (0, 1)
  ]


@pytest.mark.parametrize('writer', [WeightsAndBiases, Trackio])
def test_a_run_goes_on_after_the_last_step_that_it_has(monkeypatch, tmp_path, writer):
  last = rows_at(0.5)[0]['examples']
  service = served(monkeypatch, steps=last + 1)
  one = writer(tmp_path)
  one.begin(base_config(), PLAN[:1])
  for share in (0.25, 0.5, 0.75):
    one.rows(rows_at(share)[:1])
  assert service.logged == [rows_at(0.75)[0]['examples']]


def test_offline_runs_replace_those_of_an_earlier_start_and_no_others(monkeypatch, tmp_path):
  served(monkeypatch, offline=True, steps=5)
  records.write_json(tmp_path / 'wandb.json', {'study': 'abc'})
  names = [f'offline-run-{start}-{lane}' for lane in ('abc-0', 'xyz-0') for start in (1, 2)]
  for name in names:
    (tmp_path / 'wandb' / name).mkdir(parents=True)
  writer = WeightsAndBiases(tmp_path)
  writer.begin(base_config(), PLAN[:1])
  left = {path.name for path in (tmp_path / 'wandb').iterdir()}
  assert left == set(names) - {'offline-run-1-abc-0'}
  writer.rows(rows_at(0.0)[:1])  # told from the start, as nothing of it is left


def test_what_is_on_record_is_told_in_order_once(monkeypatch, tmp_path):
  """Lanes of a later part of the program may have been recorded first."""
  service = served(monkeypatch)
  for share in (0.5, 0.0, 0.25):
    records.append(tmp_path / 'records.jsonl', rows_at(share)[:1])
  writer = WeightsAndBiases(tmp_path)
  writer.begin(base_config(), PLAN[:1])
  writer.rows(rows_at(0.5)[:1])
  writer.rows(rows_at(0.75)[:1])
  steps = [rows_at(share)[0]['examples'] for share in (0.0, 0.25, 0.5, 0.75)]
  assert service.logged == steps


def test_a_study_of_its_own_folder_is_no_part(tmp_path):
  config = base_config()
  config.writers = ('wandb',)
  (own,) = writers.chosen_by(config, tmp_path / 'digits', tmp_path / 'digits')
  assert (own.part, own.title, own.workdir) == ('', 'digits', tmp_path / 'digits')


class Failing:
  """A writer that fails while it is told rows."""

  closed = False

  def begin(self, config, plan):
    pass

  def rows(self, rows):
    raise RuntimeError('no connection')

  def summary(self, summary):
    raise AssertionError('there is none')

  def close(self):
    self.closed = True


def test_a_replay_closes_what_fails_and_needs_a_training(tmp_path):
  with pytest.raises(FileNotFoundError):
    writers.replay(tmp_path, Failing())
  records.write_plan(tmp_path / 'plan.csv', PLAN)
  workdirs.write_config(tmp_path, base_config())
  records.append(tmp_path / 'records.jsonl', rows_at(0.0))
  failing = Failing()
  with pytest.raises(RuntimeError, match='no connection'):
    writers.replay(tmp_path, failing)
  assert failing.closed
  again = Failing()
  again.rows = lambda rows: None
  writers.replay(tmp_path, again)  # of a training without a summary


def test_two_starts_in_one_second_have_files_of_their_own(tmp_path, monkeypatch):
  monkeypatch.setattr('bsjax.writers.tensorboard.time.time', lambda: 1e9)
  for _ in range(3):
    TensorBoard(tmp_path).begin(base_config(), PLAN[:1])
  (folder,) = tmp_path.iterdir()
  assert len(list(folder.iterdir())) == 3
