"""The site of docs/, CHANGELOG.md and the experiments' pages: scripts/docs builds it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
project, author, copyright = 'bsjax', 'the authors of bsjax', 'the authors of bsjax, Apache-2.0'
release = re.search(r"^__version__ = '(.+)'$", (ROOT / 'bsjax/__init__.py').read_text(), re.M)[1]

extensions = ['myst_parser', 'sphinx_copybutton']
# The whole repository is the source, so that links between its pages are those of GitHub.
root_doc = 'docs/index'
include_patterns = ['docs/*.md', 'experiments/*/README.md', 'CHANGELOG.md']
exclude_patterns = ['.*', 'bsjax', 'build', 'configs', 'runs', 'scripts', 'site', 'tests']
myst_heading_anchors = 3
nitpicky = True

html_theme = 'furo'
html_title = f'bsjax {release}'
html_show_sourcelink = False
html_copy_source = False
html_css_files = ['site.css']
html_static_path = ['site/static']
html_extra_path = ['site/index.html']  # sends the top of the site to its first page
copybutton_exclude = '.linenos, .gp, .go'

FOLDER_LINK = re.compile(r'\[(`?[^\]\[]+`?)\]\((?!https?:)([^)#]+)\)')


def without_folders(app, name, content):
  """Links to folders, which GitHub lists and a site does not have, become their words."""
  folder = Path(app.env.doc2path(name)).parent

  def shown(link):
    return link[1] if (folder / link[2]).is_dir() else link[0]

  content[0] = FOLDER_LINK.sub(shown, content[0])


def setup(app):
  app.connect('source-read', without_folders)
