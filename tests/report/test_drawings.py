"""Figures of a study as objects: those of its page, by name; and what a notebook shows of it."""

import re

import pytest
from helpers import planted_scaling, synthetic
from helpers.pages import save
from helpers.staged import config, made
from matplotlib.figure import Figure

import bsjax
from bsjax.report import arms_page, study_page
from bsjax.report.figures import drawing
from bsjax.storage import records
from bsjax.study import StudyResults


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
  """Finished studies: plain, of stages and branches, of arms, of scaling rules in two arms."""
  folder = tmp_path_factory.mktemp('studies')
  plan = synthetic.plan((8, 16), (0.05, 0.1), 3)
  save(folder / 'plain', synthetic.config(), plan, synthetic.realistic(plan))
  branches = made(branches=('tail:keep', 'tail:multiply:2'))
  save(folder / 'branches', config(batch_size=['keep', 'multiply:2']), *branches)
  for seed, name in enumerate(('a<b>', 'c')):
    rows = synthetic.realistic(plan, seed=seed)
    save(folder / 'arms' / 'arms' / name, synthetic.config(), plan, rows)
  rules = planted_scaling.config()
  lanes = planted_scaling.plan(rules, trials=4)
  rows = planted_scaling.records(lanes, evaluations=6)
  save(folder / 'rules' / 'arms' / 'one', rules, lanes, rows)
  other = rules | {'model': {'name': 'cnn', 'normalization': 'group'}}
  save(folder / 'rules' / 'arms' / 'two', other, lanes, rows)
  return folder


@pytest.mark.parametrize('kind', ['plain', 'branches', 'arms', 'rules'])
def test_figures_are_those_of_the_page(folders, kind, monkeypatch):
  drawn = []

  def draw(drawing, source):
    drawn.append((drawing.name, source))
    return Figure((1, 1))

  monkeypatch.setattr(drawing, 'draw', draw)
  write = arms_page.write if (folders / kind / 'arms').is_dir() else study_page.write
  write(folders / kind)  # of arms their own pages, too
  drawn.clear()
  page = write(folders / kind)
  names = re.findall(r'<figure class="[^"]*" id="([^"]+)"', page.read_text())
  on_page, study = list(drawn), StudyResults(folders / kind)
  drawn.clear()
  figures = study.figures()
  assert sorted(figures) == sorted(names) and len(names) > 2
  # Drawn from the same things, too.
  sources = [sorted((name, repr(source)) for name, source in each) for each in (on_page, drawn)]
  assert sources[0] == sources[1]


def test_a_figure_is_one_of_matplotlib(folders):
  study = bsjax.load(folders / 'plain')
  figure = study.figure('accuracy')
  assert isinstance(figure, Figure) and figure.axes[0].get_xlabel()
  with pytest.raises(ValueError, match="no figure 'acuracy'; this study has accuracy, gap, "):
    study.figure('acuracy')


def test_before_any_result_there_are_no_figures(folders, tmp_path):
  study = StudyResults(tmp_path)
  with pytest.raises(FileNotFoundError, match='a study that has started'):
    study.figures()
  for name in ('config.json', 'plan.csv'):
    (tmp_path / name).write_bytes((folders / 'plain' / name).read_bytes())
  (tmp_path / 'records.jsonl').touch()
  assert study.figures() == {}
  with pytest.raises(ValueError, match='has none yet'):
    study.figure('accuracy')


def test_a_notebook_shows_plan_progress_and_answer(folders, tmp_path):
  html = bsjax.load(folders / 'plain')._repr_html_()
  headline = records.read_json(folders / 'plain' / 'summary.json')['answer']['headline']
  assert f'{folders / "plain"}</b><br>batch size 8 and 16, learning rates: 2, trials: 3' in html
  assert html.endswith(f'; lanes: 12, 100% done<br>{headline}</p>') and headline
  arms_page.write(folders / 'arms')
  html = StudyResults(folders / 'arms')._repr_html_()
  assert '<br>arms a&lt;b&gt; and c<br>' in html and '<b>c' not in html
  study = StudyResults(tmp_path / '<i>')
  assert '&lt;i&gt;</b><br>nothing has begun here</p>' in study._repr_html_()
  study.workdir.mkdir()
  (study.workdir / 'plan.csv').write_bytes((folders / 'plain' / 'plan.csv').read_bytes())
  assert study._repr_html_().endswith('lanes: 12, 0% done</p>')
  rows = records.read(folders / 'plain' / 'records.jsonl')
  half = [row for row in rows if 2 * row['epoch'] <= rows[-1]['epoch']]
  records.append(study.workdir / 'records.jsonl', half)
  assert study._repr_html_().endswith(
    f'lanes: 12, {half[-1]["epoch"] / rows[-1]["epoch"]:.0%} done</p>'
  )
