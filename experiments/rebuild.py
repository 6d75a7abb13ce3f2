"""Rebuilds READMEs, figures and the table of the front page from the results of experiments.

  python experiments/rebuild.py [NAME ...] [--workdir=RUNS]

Without names it takes all experiments that have a README.md.j2; docs/faq.md is written in any case.
With --workdir the results are taken from RUNS/NAME first; else all is read from the JSON files:
summary.json (or result.json) holds what the study found, config.json what was run, and run.json
what neither knows: {"seconds", "hardware", "jax", "python", "beside": what else ran meanwhile}.

A template writes README.md; its macro `row` writes the experiment's row of the table. Both get the
JSON files by their names without the ending, and the functions of words.py. figure.py beside it has

  figures(data) -> {file name: matplotlib Figure}    from the same files, by the same names
  data_of(workdir) -> {file name: content}           optional: what to keep of a workdir besides
                                                     (or, by their names, instead of) summary.json

Where analyze.py stands beside it, what its analyze(workdir) returns is kept as result.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jinja2
import words
from matplotlib.figure import Figure

from bsjax.plan.arms import FOLDER
from bsjax.report import arms_page, stored_study
from bsjax.report.summaries import summarize
from bsjax.storage import records

EXPERIMENTS = Path(__file__).parent
FRONT = EXPERIMENTS.parent / 'README.md'
QUESTIONS = EXPERIMENTS.parent / 'docs' / 'faq.md'
TABLE = '<!-- rows by experiments/rebuild.py -->', '<!-- end of rows -->'
LARGEST = 1_000_000  # bytes of a JSON file that is kept
DPI = 150
WIDTH = 140  # characters of a line of text
KEPT = '#', '|', '!', '- ', '* ', '```', '<', '    '  # how blocks begin that are no paragraphs

Data = Mapping[str, Any]


class Rendered(NamedTuple):
  """A README, its row of the front page, and its guarded sentences with whether they hold."""

  text: str
  row: str
  said: list[tuple[bool, str]]


def with_template(experiments: Path = EXPERIMENTS) -> list[str]:
  """The experiments whose README is rendered."""
  return sorted(path.parent.name for path in experiments.glob('*/README.md.j2'))


def read(folder: Path) -> dict[str, Any]:
  """All JSON files of an experiment, by their names without the ending."""
  return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob('*.json'))}


def everything(experiments: Path = EXPERIMENTS) -> dict[str, dict[str, Any]]:
  """The JSON files of all experiments, by their names."""
  return {path.parent.name: read(path.parent) for path in sorted(experiments.glob('*/README.md'))}


def render(folder: Path, data: Data, strict: bool = True) -> Rendered:
  """The README of an experiment.

  Raises:
    words.Unsupported: a guarded sentence is not what `data` shows (unless not `strict`).
    jinja2.UndefinedError: the data lack what the template shows.
  """
  sentences = words.Sentences(strict)
  values = {**data, 'require': sentences.require}
  module = _environment(folder).get_template('README.md.j2').make_module(values)
  return Rendered(filled(str(module)), module.row().strip(), sentences.said)


def _environment(folder: Path) -> jinja2.Environment:
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(folder),
    undefined=jinja2.StrictUndefined,
    extensions=['jinja2.ext.do'],
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
  )
  environment.globals |= words.FUNCTIONS
  return environment


def questions(data: Mapping[str, Data], strict: bool = True) -> str:
  """The page of questions, from the JSON files of all experiments by their names.

  Its template has these as `data`, and `finding(name)`: the answer in an experiment's row of the
  front page, how many trials it is from, and where to read more.
  """

  def finding(name: str) -> str:
    answer = render(EXPERIMENTS / name, data[name], strict).row.split('|')[2].strip().rstrip('.')
    trials = '' if 'n = ' in answer else f' (n = {data[name]["config"]["trials"]})'
    return f'{answer[0].upper()}{answer[1:]}{trials} ([more](../experiments/{name}/README.md)).'

  template = _environment(QUESTIONS.parent).get_template(f'{QUESTIONS.name}.j2')
  return filled(template.render(data=data, finding=finding))


def filled(text: str) -> str:
  """The page with its paragraphs in lines of equal length, however long their numbers are.

  Headings, tables, lists, images, code and comments stay as they are.
  """
  blocks = re.split(r'\n\s*\n', text.strip('\n'))
  return '\n\n'.join(block if block.startswith(KEPT) else _fill(block) for block in blocks) + '\n'


def _fill(block: str) -> str:
  return textwrap.fill(
    ' '.join(block.split()), WIDTH, break_long_words=False, break_on_hyphens=False
  )


def figures(folder: Path, data: Data) -> dict[str, Figure]:
  """The figures of an experiment by their file names; none without a figure.py."""
  module = _module(folder / 'figure.py')
  return module.figures(data) if module else {}


def save(figure: Figure, path: Path) -> None:
  """Writes a PNG, which says the version of matplotlib that drew it, and no date."""
  figure.savefig(path, dpi=DPI)


def with_rows(page: str, rows: Mapping[str, str]) -> str:
  """The front page with the rows of these experiments; rows of others stay as they are.

  Raises:
    ValueError: the page has no table between the two comments, or no row of an experiment.
  """
  start, end = (page.find(mark) for mark in TABLE)
  if not 0 <= start < end:
    raise ValueError(f'{FRONT.name} has no rows between {TABLE[0]} and {TABLE[1]}')
  lines = page[start:end].splitlines(keepends=True)
  for name, row in rows.items():
    places = [i for i, line in enumerate(lines) if f'](experiments/{name}/README.md)' in line]
    if len(places) != 1:
      raise ValueError(f'the table of {FRONT.name} has {len(places)} rows of {name}, and not one')
    lines[places[0]] = row + '\n'
  return page[:start] + ''.join(lines) + page[end:]


def take(folder: Path, workdir: Path) -> None:
  """Keeps what a finished workdir shows: its summary, its config, and what figure.py asks for.

  Raises:
    ValueError: a file would be too large to keep.
  """
  module, analysis = _module(folder / 'figure.py'), _module(folder / 'analyze.py')
  kept = module.data_of(workdir) if hasattr(module, 'data_of') else {}
  if analysis:
    kept['result.json'] = analysis.analyze(workdir)
  if not {'summary.json', 'result.json'} & kept.keys():
    kept = {'summary.json': summary_of(workdir), **kept}
  kept['config.json'] = config = json.loads((workdir / 'config.json').read_text())
  config['data']['path'] = Path(config['data']['path']).name  # where a machine has it is its own
  for name, content in kept.items():
    records.write_text(folder / name, as_json(content))
    if (size := (folder / name).stat().st_size) > LARGEST:
      raise ValueError(f'{folder / name} has {size} bytes: let data_of of figure.py thin it out')


def as_json(content: Any) -> str:
  """JSON with lists of plain values on one line; NaN and infinity are an error."""
  text = json.dumps(content, indent=2, allow_nan=False)
  # Strings of JSON hold no line ends, so this finds lists only.
  return re.sub(r'\[\n[^][{}"]*\n *\]', _on_one_line, text) + '\n'


def _on_one_line(found: re.Match[str]) -> str:
  return f'[{" ".join(found[0][1:-1].split())}]'


def summary_of(workdir: Path) -> dict[str, Any]:
  """The summary of a finished study by the analysis as it is now, whatever lies in the workdir."""
  if not (workdir / FOLDER).is_dir():
    return dict(_summarized(workdir).summary)
  arms = {name: _summarized(workdir / FOLDER / name) for name in arms_page.arm_names(workdir)}
  summary = arms_page.summarize(arms)
  summary.pop('provenance', None)  # of what ran it, run.json says what others need to know
  return summary


def _summarized(workdir: Path) -> stored_study.StoredStudy:
  study = stored_study.load(workdir)
  if study.progress < 1:
    raise ValueError(f'{workdir} is not finished')
  path = workdir / 'data.json'
  facts = json.loads(path.read_text()) if path.is_file() else None
  hardware = study.summary.get('hardware', '')
  summary = summarize(study.config, study.plan, study.rows, hardware, facts)
  return dataclasses.replace(study, summary=summary)


def _module(path: Path) -> ModuleType | None:
  """The module of an experiment's file; None where it has none."""
  if not path.is_file():
    return None
  spec = importlib.util.spec_from_file_location(f'{path.stem}_of_{path.parent.name}', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def rebuild(names: Iterable[str], runs: Path | None = None) -> None:
  """Writes all files of these experiments, and their rows of the front page."""
  rows = {}
  for name in names:
    folder = EXPERIMENTS / name
    if runs:
      take(folder, runs / name)
    data = read(folder)
    rendered = render(folder, data)
    records.write_text(folder / 'README.md', rendered.text)
    for file, figure in figures(folder, data).items():
      save(figure, folder / file)
    rows[name] = rendered.row
    print(folder / 'README.md')
  records.write_text(FRONT, with_rows(FRONT.read_text(), rows))
  records.write_text(QUESTIONS, questions(everything()))


if __name__ == '__main__':
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('names', nargs='*', help='experiments; without any all that have a template')
  parser.add_argument('--workdir', type=Path, help='folder of workdirs, one for each experiment')
  flags = parser.parse_args()
  rebuild(flags.names or with_template(), flags.workdir)
