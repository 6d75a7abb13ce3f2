"""What code made of fixed inputs, kept in files, and where it makes something else of them now.

A case keeps numbers (nested, as JSON has them) and words (texts by topic). Numbers may differ by
what another version of NumPy or SciPy rounds otherwise; words may not.
"""

from __future__ import annotations

import difflib
import gzip
import io
import json
import lzma
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

FOLDER = Path(__file__).parents[1] / 'report' / 'kept'
DIGITS = 8  # that are written, well within the tolerance
SHOWN = 10  # differences that are said
SEVERAL = 'drawn_'  # names of cases that hold much alike: beyond 32 KB gzip does not see it


class Tolerance(NamedTuple):
  """By how much numbers may differ; `of_lists` relative to the largest of a list, too."""

  relative: float = 1e-6
  absolute: float = 1e-9
  of_lists: bool = False


USUAL = Tolerance()


class Kept(NamedTuple):
  """The numbers and words of one case; words by topic."""

  numbers: Any
  words: Mapping[str, str]


def path_of(name: str, folder: Path = FOLDER) -> Path:
  return folder / f'{name}.json.{"xz" if name.startswith(SEVERAL) else "gz"}'


def write(name: str, kept: Kept, folder: Path = FOLDER, tolerance: Tolerance = USUAL) -> list[str]:
  """Writes a case anew where it changed; returns what changed, as `differences` says it."""
  path = path_of(name, folder)
  changed = differences(read(name, folder), kept, tolerance) if path.exists() else ['new']
  if changed:
    folder.mkdir(exist_ok=True)
    text = json.dumps(_plain(kept, rounded=True), sort_keys=True, separators=(',', ':'))
    packed = lzma.compress(text.encode()) if path.suffix == '.xz' else None
    path.write_bytes(packed or gzip.compress(text.encode(), mtime=0))
  return changed


def write_all(
  cases: Mapping[str, Callable[[], Kept]],
  names: Sequence[str],
  folder: Path = FOLDER,
  tolerance: Tolerance = USUAL,
) -> None:
  """Writes cases of these names anew, or all and nothing else; prints what changed."""
  for name in names or cases:
    if changed := write(name, cases[name](), folder, tolerance):
      print(name, *changed, sep='\n  ')
  for path in () if names else set(folder.iterdir()) - {path_of(name, folder) for name in cases}:
    print(path.name, 'gone', sep='\n  ')
    path.unlink()


def leaves(tree: Any) -> Iterator[Any]:
  """Every value of nested mappings and lists, in their order."""
  if isinstance(tree, Mapping):
    for value in tree.values():
      yield from leaves(value)
  elif isinstance(tree, list | tuple):
    for value in tree:
      yield from leaves(value)
  else:
    yield tree


def read(name: str, folder: Path = FOLDER) -> Kept:
  path = path_of(name, folder)
  unpack = lzma.decompress if path.suffix == '.xz' else gzip.decompress
  return Kept(**json.loads(unpack(path.read_bytes())))


def differences(kept: Kept, now: Kept, tolerance: Tolerance = USUAL) -> list[str]:
  """The first differences, by their paths in the numbers and as lines of the words."""
  before, after = _plain(kept), _plain(now)
  found = list(_unlike('', before['numbers'], after['numbers'], tolerance))
  topics = dict.fromkeys((*before['words'], *after['words']))
  for topic in topics:
    one, other = (words['words'].get(topic, '').splitlines() for words in (before, after))
    lines = list(difflib.unified_diff(one, other, lineterm='', n=0))[2:]
    found += [f'{topic}: {line}' for line in lines if not line.startswith('@@')]
  return found[:SHOWN]


def _plain(kept: Kept, rounded: bool = False) -> dict[str, Any]:
  """As JSON reads it: with lists for tuples, text for keys."""
  tree = json.loads(json.dumps(kept._asdict()))
  return tree | ({'numbers': _rounded(tree['numbers'])} if rounded else {})


def _rounded(tree: Any) -> Any:
  if isinstance(tree, dict):
    return {key: _rounded(value) for key, value in tree.items()}
  if isinstance(tree, list):
    return [_rounded(value) for value in tree]
  return float(f'{tree:.{DIGITS}g}') if isinstance(tree, float) else tree


def _unlike(path: str, kept: Any, now: Any, tolerance: Tolerance) -> Iterator[str]:
  """Where two trees differ."""
  if isinstance(kept, dict) and isinstance(now, dict):
    for key in sorted({*kept, *now}):
      if key not in kept or key not in now:
        yield f'{path}.{key}: {"gone" if key in kept else "new"}'
      else:
        yield from _unlike(f'{path}.{key}', kept[key], now[key], tolerance)
  elif isinstance(kept, list) and isinstance(now, list):
    if len(kept) != len(now):
      yield f'{path}: {len(kept)} items were kept, {len(now)} are there'
    inside = _inside(kept, tolerance)
    for i, (one, other) in enumerate(zip(kept, now, strict=False)):
      yield from _unlike(f'{path}[{i}]', one, other, inside)
  elif not _same(kept, now, tolerance):
    yield f'{path}: {kept!r} was kept, {now!r} is there'


def _inside(kept: list[Any], tolerance: Tolerance) -> Tolerance:
  """The tolerance of the items of a list: numbers of an array are rounded by its largest."""
  sizes = [abs(x) for x in kept if isinstance(x, float) and math.isfinite(x)]
  if not tolerance.of_lists or not sizes:
    return tolerance
  largest = max(tolerance.absolute, tolerance.relative * max(sizes))
  return tolerance._replace(absolute=largest)


def _same(kept: Any, now: Any, tolerance: Tolerance) -> bool:
  if float not in (type(kept), type(now)) or not {type(kept), type(now)} <= {int, float}:
    return type(kept) is type(now) and kept == now
  if math.isnan(kept) or math.isnan(now):
    return math.isnan(kept) and math.isnan(now)
  bound = max(tolerance.absolute, tolerance.relative * max(abs(kept), abs(now)))
  return kept == now or abs(kept - now) <= bound


class _Visible(HTMLParser):
  """Gathers what a reader sees of a page, one line for each piece of text; no figures."""

  HIDDEN = 'style', 'script', 'svg', 'title'

  def __init__(self) -> None:
    super().__init__()
    self.lines: list[str] = []
    self.hidden = 0

  def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
    self.hidden += tag in self.HIDDEN
    # What is shown where the pointer rests is read, too.
    self.lines += [f'({value})' for name, value in attrs if name == 'title' and value]

  def handle_endtag(self, tag: str) -> None:
    self.hidden -= tag in self.HIDDEN

  def handle_data(self, data: str) -> None:
    if not self.hidden and data.strip():
      self.lines.append(' '.join(data.split()))


def visible(page: str) -> str:
  """The text of a page, without the plan, the configuration and versions of libraries."""
  page = re.sub('<h2>Plan and versions</h2>.*?<footer>', '<footer>', page, flags=re.DOTALL)
  page = re.sub('<h2>Versions</h2>.*', '', page, flags=re.DOTALL)
  parser = _Visible()
  parser.feed(page)
  return '\n'.join(parser.lines)


def text(*parts: Any) -> str:
  """What a console shows of tables and sentences, in lines of a hundred characters."""
  file = io.StringIO()
  console = Console(file=file, width=100, color_system=None, legacy_windows=False)
  for part in parts:
    console.print(part)
  return '\n'.join(line.rstrip() for line in file.getvalue().splitlines())
