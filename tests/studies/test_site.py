"""The site of the documentation is built as scripts/docs does, without a warning or a network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def site(tmp_path_factory):
  for module in ('sphinx', 'furo', 'myst_parser', 'sphinx_copybutton'):
    pytest.importorskip(module)
  folder = tmp_path_factory.mktemp('site')
  script = (ROOT / 'scripts' / 'docs').read_text()
  (command,) = re.findall(r'^python (-m sphinx .*) site "\$@"$', script, re.MULTILINE)
  command = command.replace('build/docs', str(folder / 'read')).split()
  blocked = {'http_proxy': 'http://127.0.0.1:9', 'https_proxy': 'http://127.0.0.1:9'}
  done = subprocess.run(
    [sys.executable, *command, str(folder / 'site')],
    cwd=ROOT,
    env=os.environ | blocked,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  return folder / 'site'


@pytest.mark.slow
def test_every_page_is_in_the_site_and_can_be_reached(site):
  pages = [*ROOT.glob('docs/*.md'), *ROOT.glob('experiments/*/README.md'), ROOT / 'CHANGELOG.md']
  front = (site / 'docs' / 'index.html').read_text()
  for page in pages:
    name = page.relative_to(ROOT).with_suffix('.html')
    assert (site / name).is_file()
    assert page.stem == 'index' or f'href="{os.path.relpath(name, "docs")}"' in front, name
  assert 'url=docs/index.html' in (site / 'index.html').read_text()


@pytest.mark.slow
def test_pages_load_nothing_from_elsewhere_and_have_what_they_link_to(site):
  for page in site.rglob('*.html'):
    text = page.read_text()
    loaded = re.findall(r'<(?:script|img|link|iframe)\b[^>]*?(?:src|href)="([^"]+)"', text)
    assert [link for link in loaded if re.match(r'(https?:)?//', link)] == [], page
    for link in loaded + re.findall(r'<a\b[^>]*?href="([^"#?]+)', text):
      target = link.partition('?')[0].partition('#')[0]
      remote = re.match(r'(https?|mailto|data):', target)
      assert remote or not target or (page.parent / target).exists(), (page, link)
