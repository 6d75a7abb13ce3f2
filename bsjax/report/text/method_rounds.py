"""How a study went on in rounds until a question was decided, for its paragraph on method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bsjax.analysis.runs.histories import Row
from bsjax.format import joined, sizes_text
from bsjax.report.text.decision import ASKED, STATES, margin_clause


def sentences(summary: Mapping[str, Any]) -> str:
  """What was asked, when it was looked at and how surely, and what was added or left out for it."""
  asked = summary.get('decision')
  if not asked:
    return ''
  return ' '.join(filter(None, (_question(asked), _rounds(asked), _looks(asked), _dropped(asked))))


def level(asked: Mapping[str, Any]) -> str:
  """With what all intervals of the last look hold together; empty before any."""
  errors = [one['error'] for one in asked['rounds'] if one['error']]
  return _percent(1 - errors[-1]) if errors else ''


def _question(asked: Mapping[str, Any]) -> str:
  end = '' if asked['decided'] else f'; the study ended undecided, as {STATES[asked["state"]]}'
  return (
    f'The study went on in rounds to decide {ASKED[asked["kind"]]}, where '
    f'{margin_clause(asked)}{end}.'
  )


def _rounds(asked: Mapping[str, Any]) -> str:
  rounds = asked['rounds']
  whys = [one['why'] for one in rounds[1:]]
  if not whys:
    return 'The first round was the only one.'
  added = [
    f'{what} ({whys.count(why)})'
    for why, what in (
      ('rates', 'learning rates around the best ones'),
      ('trials', 'trials at learning rates near the best ones'),
      ('sizes', 'batch sizes beyond those there'),
    )
    if why in whys
  ]
  return (
    f'After the first, {len(whys)} round{"s" * (len(whys) > 1)} added, by what the runs up to then '
    f'had shown, {joined(added)}.'
  )


def _looks(asked: Mapping[str, Any]) -> str:
  looks = [one for one in asked['rounds'] if one['error']]
  if not looks:
    return 'There was no look at the question yet.'
  trials, levels = (joined(each) for each in zip(*map(_look, looks), strict=True))
  if len(looks) == 1:
    first = f'There was one look at the question, at {trials} trials; its intervals hold together '
    first += f'with {levels}'
  else:
    first = f'There were {len(looks)} looks at the question, at {trials} trials; the intervals of '
    first += f'each hold together with {levels} in turn'
  return f'{first}, and all that may be looked at with {_percent(1 - asked["error"])}.'


def _look(one: Row) -> tuple[str, str]:
  return str(one['trials']), _percent(1 - one['error'])


def _dropped(asked: Mapping[str, Any]) -> str:
  """The batch sizes that had no further trials for what a look had shown of them."""
  last = asked['rounds'][-1]['sizes']
  worse = [one for one in asked['shown'] if one['state'] == 'worse']
  dropped = sorted(one['batch_size'] for one in worse if one['batch_size'] not in last)
  if not dropped:
    return ''
  had = 'was' if len(dropped) == 1 else 'were'
  name = sizes_text(dropped)
  return f'{name[0].upper()}{name[1:]} {had} given no further trials once shown to be worse.'


def _percent(share: float) -> str:
  return f'{100 * share:.4g}%'
