"""The commands of reports in this process, and the overview of every kind of study."""

from pathlib import Path

import pytest
from absl import app, flags
from helpers import planted_scaling, staged, synthetic
from helpers.pages import save
from matplotlib.figure import Figure

from bsjax.report import __main__ as command
from bsjax.report import arms_page, compared, overview
from bsjax.report.figures import scaling, study
from bsjax.report.figures.comparisons import FOREST
from bsjax.report.stored_study import load
from bsjax.report.text import extension
from bsjax.storage import records


@pytest.fixture
def said(monkeypatch):
  """Sets the flags of a command."""
  found = flags.FlagValues()
  flags.DEFINE_string('workdir', None, '', found)
  flags.DEFINE_string('overview', None, '', found)
  flags.DEFINE_bool('compare', False, '', found)
  flags.DEFINE_string('out', None, '', found)
  monkeypatch.setattr(flags, 'FLAGS', found)
  return lambda *words: found(['report', *words])


def plain(folder, seed=0):
  plan = synthetic.plan((8, 16), (0.1,), 2)
  save(folder, synthetic.config(), plan, synthetic.realistic(plan, evaluations=4, seed=seed))
  return folder


def test_a_page_is_written_of_a_workdir(said, tmp_path, blank_figures, capsys):
  folder = plain(tmp_path / 'a')
  said(f'--workdir={folder}')
  command.main(['report'])
  assert capsys.readouterr().out.strip() == str(folder / 'report.html')
  assert (folder / 'report.html').is_file() and not (tmp_path / 'x.png').exists()
  said(f'--workdir={folder}', f'--overview={tmp_path / "x.png"}')
  command.main(['report'])
  assert (tmp_path / 'x.png').read_bytes().startswith(b'\x89PNG')


def test_what_a_command_is_not_told_is_said(said, tmp_path):
  said()
  with pytest.raises(app.UsageError, match='Say which study: --workdir=DIR'):
    command.main(['report'])
  said(f'--workdir={tmp_path}')
  with pytest.raises(app.UsageError, match='Unknown arguments: more words'):
    command.main(['report', 'more', 'words'])
  with pytest.raises(SystemExit, match='lacks config'):
    command.main(['report'])
  (tmp_path / 'arms').mkdir()
  with pytest.raises(SystemExit, match='holds no arm that has started'):
    command.main(['report'])
  said('--compare')
  with pytest.raises(app.UsageError, match='Say where the page is written: --out=DIR'):
    command.main(['report', 'a'])
  said('--compare', f'--out={tmp_path / "out"}')
  one = plain(tmp_path / 'one')
  with pytest.raises(SystemExit, match='Error: There is one study'):
    command.main(['report', str(one)])


def test_studies_are_compared_by_the_command(said, tmp_path, blank_figures, capsys):
  folders = [str(plain(tmp_path / name, seed)) for seed, name in enumerate('ab')]
  said('--compare', f'--out={tmp_path / "out"}')
  command.main(['report', *folders])
  assert capsys.readouterr().out.strip() == str(tmp_path / 'out' / 'compare.html')
  assert [one.name for one in compared.read_all(folders)] == ['a', 'b']


def test_the_overview_is_that_of_the_kind_of_study(tmp_path, monkeypatch):
  drawn = []

  def draw(drawing, source):
    drawn.append(drawing)
    return Figure()

  monkeypatch.setattr(overview, 'draw', draw)
  overview._of_study(load(plain(tmp_path / 'plain')))
  assert drawn.pop() is study.OVERVIEW
  rules = planted_scaling.config()
  lanes = planted_scaling.plan(rules, trials=2)
  save(tmp_path / 'rules', rules, lanes, planted_scaling.records(lanes, evaluations=4))
  overview._of_study(load(tmp_path / 'rules'))
  assert drawn.pop() is scaling.ACCURACIES
  branches = 'tail:keep', 'tail:multiply:2'
  config = staged.config(batch_size=['keep', 'multiply:2'])
  save(tmp_path / 'stages', config, *staged.made(branches=branches))
  overview._of_study(load(tmp_path / 'stages'))
  found = drawn.pop()
  assert (found.name, found.facts['branch'], found.facts['clock']) == (
    'overview', branches[0], 'epochs',
  )  # fmt: skip
  records.write_json(tmp_path / 'summary.json', {'conditions': {'names': []}})
  records.write_json(tmp_path / 'config.json', {})
  overview._of_arms(tmp_path)
  assert drawn.pop() is FOREST


def test_lanes_of_an_extension_go_on_or_begin_anew():
  assert extension.longer(6, '', Path('there')) == '6 lanes go on from where those in there are.'
  assert extension.longer(6, 'schedule', Path('there')) == (
    '6 lanes are trained again from their beginning, because the learning rate goes by the length '
    'of training; what is in there is kept, at last in extensions.'
  )


def test_the_page_of_arms_needs_one_that_has_started(tmp_path):
  (tmp_path / 'arms' / 'a').mkdir(parents=True)
  with pytest.raises(FileNotFoundError, match=r"no arm that has started, of \['a'\]"):
    arms_page.write(tmp_path)
