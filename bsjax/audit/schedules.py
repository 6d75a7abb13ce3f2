"""Runs that change their batch size, beside those that keep it: shrinking late, growing frozen."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bsjax.analysis.claims.claim import ABOVE, Claim, Kind, Question, judge, within
from bsjax.analysis.measures.contrast import exact
from bsjax.audit.given import unanswered
from bsjax.audit.runs import ID
from bsjax.config.metrics import USUAL
from bsjax.stats.estimate import Reason
from bsjax.stats.intervals import mean_interval

SAME_END = 0.01
_PAIRED = ['cell', 'first_size', 'peak', 'label']


def split(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
  """The rows of runs that keep their batch size, and of those that change it."""
  changes = rows.groupby(ID)['batch_size'].transform('nunique') > 1
  return rows[~changes], rows[changes]


def claims(constant: pd.DataFrame, changing: pd.DataFrame, loss_only: bool) -> list[Claim]:
  """Whether shrinking the batch late helps, and growing it under freezing is harmless."""
  if changing.empty:
    nothing = Reason('no_schedule_runs')
    return [
      unanswered('shrinking_helps', ABOVE, nothing, unit='fraction'),
      unanswered('growing_frozen_harmless', within(), nothing, unit='fraction'),
    ]
  kept, moved = _finals(constant, loss_only), _finals(changing, loss_only)
  shrunk = moved[moved['batch_size'] < moved['first_size']]
  grown = moved[moved['batch_size'] > moved['first_size']]
  harmless = unanswered('growing_frozen_harmless', within(), Reason('freezing_not_given'))
  if 'frozen' in moved:
    frozen = ~grown['frozen'].astype(str).str.lower().isin(['', '0', 'false', 'none', 'nan', 'no'])
    harmless = _paired('growing_frozen_harmless', within(), kept, grown[frozen])
  return [_paired('shrinking_helps', ABOVE, kept, shrunk), harmless]


def _finals(rows: pd.DataFrame, loss_only: bool) -> pd.DataFrame:
  """The last row of each run, with what is compared of it and the name of its trial."""
  last = rows.groupby(ID, sort=False).last().reset_index()
  last['value'] = -np.log(last['val_loss']) if loss_only else last[USUAL.val]
  ways = ['cell', 'first_size', 'peak', 'batch_size']
  last['label'] = last['trial'] if 'trial' in last else last.groupby(ways).cumcount()
  return last[np.isfinite(last['value'])]


def _paired(code: str, question: Question, kept: pd.DataFrame, moved: pd.DataFrame) -> Claim:
  """The difference of runs that begin alike and end at one place, averaged within trials."""
  both = moved.merge(kept, on=_PAIRED, suffixes=('', '_kept'))
  both = both[np.abs(both['examples'] / both['examples_kept'] - 1) < SAME_END]
  if both.empty:
    return unanswered(code, question, Reason('no_schedule_runs'), unit='fraction')
  apart = (both['value'] - both['value_kept']).groupby(both['label']).mean()
  about = {'kind': Kind.AUDIT, 'subject': (code,), 'quantity': USUAL.val, 'budget': 'epochs'}
  return judge(question, exact(mean_interval(apart.to_numpy())), **about)
