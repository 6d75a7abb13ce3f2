"""READMEs of experiments, their figures and the front page's table are what their results show."""

import copy
import importlib
import json
import re
import sys
from pathlib import Path

import pytest
from matplotlib.testing.compare import compare_images
from PIL import Image

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ROOT / 'experiments'
sys.path.append(str(EXPERIMENTS))
rebuild, words = (importlib.import_module(name) for name in ('rebuild', 'words'))

TOLERANCE = 0.5  # root mean square of 255: one moved point is above 1
OTHER_VERSION = 15  # of matplotlib, which may place and draw letters differently
# What rows are looked up by.
CODES = 'subject', 'question', 'learning_rate', 'target', 'levels', 'epoch'
NAMES = rebuild.with_template()
every = pytest.mark.parametrize('name', NAMES)


def rendered(name, change=lambda key, value: value, strict=True):
  """The README of an experiment whose values, by their keys at any depth, are changed."""
  data = changed(rebuild.read(EXPERIMENTS / name), change)
  return rebuild.render(EXPERIMENTS / name, data, strict)


def changed(node, change, key=''):
  if key in CODES:
    return node
  node = change(key, node)
  if isinstance(node, dict):
    return {name: changed(value, change, name) for name, value in node.items()}
  return [changed(value, change) for value in node] if isinstance(node, list) else node


def undecided(key, value):
  return 'undetermined' if key == 'verdict' else value


def knowing_nothing(key, value):
  """No verdict, and intervals that hold everything."""
  return [-1e9, 1e9] if key == 'ci95' else undecided(key, value)


def all_supported(key, value):
  return 'supported' if key == 'verdict' else value


def larger(key, value):
  return 1.37 * value if isinstance(value, float) else value


def decided(node):
  """Whether some verdict in the data is one; reasons may hold what a verdict would have been."""
  if isinstance(node, dict):
    inner = [value for key, value in node.items() if key != 'reasons']
    return node.get('verdict') in ('supported', 'refuted') or any(map(decided, inner))
  return isinstance(node, list) and any(map(decided, node))


def difference(committed, drawn):
  """What differs between two images, None where it is nothing but what other versions may do."""
  versions = {Image.open(path).info['Software'] for path in (committed, drawn)}
  tolerance = TOLERANCE if len(versions) == 1 else OTHER_VERSION
  return compare_images(str(committed), str(drawn), tol=tolerance)


def title(text):
  return text.partition('\n')[0].removeprefix('# ')


def test_there_are_experiments_to_check():
  assert NAMES


@every
def test_the_readme_is_what_its_results_show(name):
  assert rendered(name).text == (EXPERIMENTS / name / 'README.md').read_text()


@every
def test_the_front_page_has_the_row_of_each_experiment(name):
  page = (ROOT / 'README.md').read_text()
  assert rebuild.with_rows(page, {name: rendered(name).row}) == page


def test_the_page_of_questions_is_what_the_results_show():
  data = rebuild.everything()
  page = (ROOT / 'docs' / 'faq.md').read_text()
  assert rebuild.questions(data) == page
  for name in ('digits', 'critical_batch_size', 'speed', 'verdicts'):
    other = {**data, name: changed(data[name], larger)}
    assert rebuild.questions(other, strict=False) != page, name
  with pytest.raises(words.Unsupported):
    rebuild.questions({**data, 'digits': changed(data['digits'], knowing_nothing)})


def test_every_experiment_with_a_row_answers_a_question():
  page = (ROOT / 'docs' / 'faq.md').read_text()
  assert [name for name in NAMES if f'(../experiments/{name}/README.md)' not in page] == []


@every
def test_figures_are_what_the_results_show(name, tmp_path):
  folder = EXPERIMENTS / name
  drawn = rebuild.figures(folder, rebuild.read(folder))
  assert {path.name for path in folder.glob('*.png')} == set(drawn)
  for file, figure in drawn.items():
    rebuild.save(figure, tmp_path / file)
    assert difference(folder / file, tmp_path / file) is None


@every
def test_figures_and_links_of_a_readme_are_there(name):
  folder, text = EXPERIMENTS / name, (EXPERIMENTS / name / 'README.md').read_text()
  targets = re.findall(r'\]\(([^)#]+)', text)
  assert [target for target in targets if not (folder / target).exists()] == []
  assert {path.name for path in folder.glob('*.png')} <= set(targets)


@every
def test_a_number_that_changes_changes_the_readme(name):
  before, after = rendered(name), rendered(name, larger, strict=False)
  assert after.text != before.text


@pytest.mark.parametrize('path', [*(f'experiments/{name}/README' for name in NAMES), 'docs/faq'])
def test_no_number_with_decimals_is_written_by_hand(path):
  template = (ROOT / f'{path}.md.j2').read_text()
  by_hand = re.sub(r'\{\{.*?\}\}|\{%.*?%\}|arXiv:\S+', '', template, flags=re.DOTALL)
  assert re.findall(r'\d+\.\d+', by_hand) == []


@every
def test_a_readme_fails_without_its_verdicts(name):
  if decided(rebuild.read(EXPERIMENTS / name)):
    with pytest.raises(words.Unsupported):
      rendered(name, undecided)
  with pytest.raises(words.Unsupported):
    rendered(name, knowing_nothing)


@every
def test_title_and_row_are_guarded_by_what_they_claim(name):
  page = rendered(name)
  sentences = [sentence for _, sentence in page.said if sentence]
  assert title(page.text) in sentences
  assert any(sentence in page.row for sentence in sentences)
  place = sentences.index(title(page.text))
  others = (knowing_nothing, all_supported)
  assert not all(rendered(name, change, strict=False).said[place][0] for change in others)


@every
def test_a_readme_says_how_it_ran(name):
  run = rebuild.read(EXPERIMENTS / name)['run']
  assert run.keys() == {'seconds', 'hardware', 'jax', 'python', 'beside'}
  assert words.ran(run) in ' '.join((EXPERIMENTS / name / 'README.md').read_text().split())


@every
def test_kept_results_are_small(name):
  sizes = {path: path.stat().st_size for path in (EXPERIMENTS / name).glob('*.json')}
  assert max(sizes.values()) <= rebuild.LARGEST


@pytest.mark.skipif('digits' not in NAMES, reason='another picture stands on the front page')
def test_the_picture_of_the_front_page_is_of_as_many_runs_as_it_says():
  plan = rebuild.read(EXPERIMENTS / 'digits')['runs']['plan']
  assert f' digits: {len(plan)} runs,' in (ROOT / 'README.md').read_text()


@pytest.mark.skipif('digits' not in NAMES, reason='another experiment is drawn from its summary')
def test_a_figure_of_other_numbers_is_another_figure(tmp_path):
  folder = EXPERIMENTS / 'digits'
  data = copy.deepcopy(rebuild.read(folder))
  paths = tmp_path / 'committed.png', tmp_path / 'other.png'
  for path, less in zip(paths, (0, 0.001), strict=True):
    data['summary']['batch_sizes'][0]['val_accuracy']['mean'] -= less
    rebuild.save(rebuild.figures(folder, data)['overview.png'], path)
  assert difference(*paths) is not None


def test_only_what_holds_is_said():
  sentences = words.Sentences()
  assert sentences.require(True, 'a holds') == 'a holds'
  assert sentences.require([1], caller=lambda: ' b\n holds ') == 'b holds '
  with pytest.raises(words.Unsupported, match='c holds'):
    sentences.require([], 'c holds')
  assert sentences.said == [(True, 'a holds'), (True, 'b holds'), (False, 'c holds')]


def test_one_row_is_found_by_its_codes():
  rows = [
    {'kind': 'pair', 'subject': [8, 16], 'question': {'side': side}} for side in ('above', 'within')
  ]
  assert words.one(rows, subject=[8, 16], side='within') is rows[1]
  for keys in ({'kind': 'pair'}, {'kind': 'trend'}, {'side': 'below'}, {'other': None}):
    with pytest.raises(LookupError):
      words.one(rows, **keys)


def test_a_contrast_is_read_from_either_side():
  row = {'first': 'a', 'second': 'b', 'batch_size': 'pooled', 'quantity': 'gap'}
  row |= {'effect': 0.1, 'ci95': [-0.2, None], 'verdict': 'refuted'}
  assert words.less([row], 'b', 'a', quantity='gap') is row
  turned = words.less([row], 'a', 'b', quantity='gap')
  assert (turned['effect'], turned['ci95'], turned['verdict']) == (-0.1, [None, 0.2], 'supported')
  with pytest.raises(LookupError):
    words.less([row], 'a', 'c', quantity='gap')


@pytest.mark.parametrize(
  ('row', 'sign', 'text'),
  [
    ({'effect': 0.0145, 'ci95': [0.0023, 0.0267]}, '+', '+1.45 [0.23, 2.67]'),
    ({'value': -0.004, 'ci95': [-0.0046, -0.0033]}, '+', '-0.40 [-0.46, -0.33]'),
    ({'value': -0.004, 'ci95': [-0.0046, 0.0033]}, '', '0.40 [-0.33, 0.46]'),
    ({'effect': 0.01, 'ci95': [None, None]}, '+', '+1.00 –'),
    ({'effect': -1e-6, 'ci95': [-1e-6, None]}, '', '0.00 [−∞, 0.00]'),
  ],
)
def test_effects_are_in_points(row, sign, text):
  assert words.points(row, sign=sign) == text


def test_intervals_say_what_bounds_nothing():
  assert words.interval([211.0, None]) == '[211, ∞]'
  assert words.interval([None, None]) == '–'
  assert words.with_interval(167.2, [145.1, 193.4]) == '167 [145, 193]'
  assert words.above([0.1, None]) and not words.above([-0.1, None]) and not words.above([None] * 2)
  assert words.below([-2, -1]) and not words.below([-2, None]) and not words.below([None] * 2)


def test_rows_are_replaced_where_they_stand():
  start, end = rebuild.TABLE
  old = '| [b](experiments/b/README.md) | old |\n'
  page = (
    f'x\n{start}\n\n| q | a |\n|---|---|\n| [a](experiments/a/README.md) | kept |\n{old}\n{end}'
  )
  new = '| [b](experiments/b/README.md) | new |'
  assert rebuild.with_rows(page, {'b': new}) == page.replace(old, new + '\n')
  for broken, name in (
    (page, 'c'),
    (page.replace(end, ''), 'b'),
    (page.replace(old, 2 * old), 'b'),
  ):
    with pytest.raises(ValueError):
      rebuild.with_rows(broken, {name: new})


def test_kept_json_has_lists_of_values_on_one_line():
  content = {'a': [1, 2.5, None, True], 'b': [{'c': [-1e-9]}, []], 'd': ['[\n 1,\n 2\n]', '[ 3 ]']}
  text = rebuild.as_json(content)
  assert json.loads(text) == content
  assert '"a": [1, 2.5, null, true],' in text


def test_paragraphs_are_filled_and_tables_are_not():
  table, long = '| a | b |\n|---|---|\n| 1 | 2 |', 'word ' * 60
  text = rebuild.filled(f'\n# t\n\n\n{long}\nend-of it\n  \n{table}\n')
  first, paragraph, last = text.split('\n\n')
  assert (first, last) == ('# t', table + '\n')
  assert max(map(len, paragraph.splitlines())) <= rebuild.WIDTH
  assert paragraph.split() == [*long.split(), 'end-of', 'it']


@pytest.mark.parametrize('path', sorted(EXPERIMENTS.glob('*/*.json')), ids=lambda path: path.stem)
def test_results_name_no_machine_of_their_own(path):
  """Neither hosts nor commands with the paths of whoever ran a study: run.json says the rest."""
  text = path.read_text()
  assert '"host": "' not in text and '"command": "' not in text
