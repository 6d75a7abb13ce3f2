"""Every snippet and every command of README and docs/ runs, page by page, in an empty directory."""

import functools
from pathlib import Path

import pytest
from helpers import snippets

from bsjax import cli
from bsjax.config import keys
from bsjax.data.sampling import SAMPLERS
from bsjax.optim.entries import OPTIMIZERS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / 'README.md', *sorted(ROOT.glob('docs/*.md'))]
WITH_SNIPPETS = [page for page in PAGES if snippets.snippets(page.read_text())]
SLOW = 'README.md', 'own_model.md', 'results.md', 'studies.md'  # of several studies each
CURVES = """batch_size,learning_rate,trial,epoch,train_accuracy,val_accuracy
{rows}"""


BASE = keys.base_config


def quick_config():
  """The defaults, but for what takes time and not what a page is about."""
  config = BASE()
  config.trials = config.evaluations = 2
  config.execution.strategy, config.execution.devices = 'map-canonical', 1
  config.micro_batch = 8
  return config


def restore(entries, kept):
  entries.clear()
  entries.update(kept)


@pytest.fixture
def empty(request, tmp_path, monkeypatch, blank_figures):
  """A directory with nothing in it but curves to audit; this process is set up already."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  monkeypatch.setattr(cli, 'set_up_machine', lambda: None)
  monkeypatch.setattr(keys, 'base_config', quick_config)
  for entries in (OPTIMIZERS, SAMPLERS):  # to which a page adds its own
    request.addfinalizer(functools.partial(restore, entries, dict(entries)))
  rows = [
    f'{size},0.1,{trial},{epoch},{0.9 + 0.01 * epoch},{0.9 + 0.002 * (trial - epoch) + 1 / size}'
    for size in (32, 64)
    for trial in range(3)
    for epoch in (1, 2)
  ]
  (tmp_path / 'runs.csv').write_text(CURVES.format(rows='\n'.join(rows)))


@pytest.mark.parametrize(
  'page',
  [pytest.param(x, marks=[pytest.mark.slow] * (x.name in SLOW)) for x in WITH_SNIPPETS],
  ids=lambda page: page.name,
)
def test_the_snippets_of_a_page_run(page, empty):
  runner = snippets.Page(page.name)
  for snippet in snippets.snippets(page.read_text()):
    runner.run(snippet)


def test_a_snippet_that_fails_is_noticed(empty):
  page = snippets.Page('page.md')
  good, bad, odd, wrong, unknown = snippets.snippets(
    '```python\nx = 1\n```\n\n- list\n\n  ```python\n  y = x + z\n  ```\n```\nplain\n```\n'
    '```sh\nbsjax run --config=digits \\\n  --workdir=x --config.epoch=2\n```\n```sh\nmake\n```\n'
  )
  page.run(good)
  for snippet, error in ((bad, NameError), (odd, ValueError), (wrong, SystemExit)):
    with pytest.raises(error):
      page.run(snippet)
  with pytest.raises(LookupError):
    page.run(unknown)
  assert (bad.line, wrong.text.count('\n')) == (8, 2)
