"""Runs that change their batch size: which are compared with which, and in what sign."""

import numpy as np
import pandas as pd
import pytest
from helpers.audit_tables import claims, rising, sweep

from bsjax.audit import audit
from bsjax.audit.problem import Problem

FRAME = sweep(rising)
EPOCH, SIZE = FRAME['epoch'], FRAME['batch_size']


def changing(at=3, to=16, gain=0.02, frame=FRAME):
  """Runs that keep their batch size, beside ones from 64 that come to another after epoch `at`."""
  keep = frame.assign(run=[f'{s}-{t}' for s, t in zip(SIZE, frame['trial'], strict=True)])
  late = keep[SIZE == 64].assign(run=lambda f: f['run'] + '-late')
  late.loc[late['epoch'] > at, 'batch_size'] = to
  late[frame.columns[-1]] += gain * (1 + 0.1 * late['trial'])
  return keep, late


def test_only_runs_that_end_at_one_place_are_compared():
  keep, late = changing()
  longer = late.assign(epoch=late['epoch'] * 2)
  for moved, verdict in ((late, 'supported'), (longer, 'undetermined')):
    found = audit(pd.concat([keep, moved], ignore_index=True))
    assert claims(found, 'shrinking_helps')[0]['verdict'] == verdict
  assert claims(found, 'shrinking_helps')[0]['effect'] is None
  with pytest.raises(Problem, match='every run changes its batch size'):
    audit(late)


@pytest.mark.parametrize(
  'frozen, n', [('conv1', 3), ('True', 3), ('No', 0), ('0', 0), ('False', 0)]
)
def test_growing_under_freezing_is_asked_of_runs_that_freeze(frozen, n):
  keep, late = changing(to=256, gain=0.0005)
  found = audit(pd.concat([keep.assign(frozen=''), late.assign(frozen=frozen)], ignore_index=True))
  grown = claims(found, 'growing_frozen_harmless')[0]
  assert grown['n'] == n and (grown['verdict'] == 'supported') == (n > 0)


def test_of_losses_shrinking_helps_where_it_makes_them_smaller():
  frame = FRAME.assign(val_loss=2.0 - 0.1 * EPOCH).drop(columns='val_accuracy')
  keep, late = changing(gain=-0.3, frame=frame)
  shrink = claims(audit(pd.concat([keep, late], ignore_index=True)), 'shrinking_helps')[0]
  gains = np.log(1.6) - np.log(1.6 - 0.3 * (1 + 0.1 * np.arange(3)))
  assert shrink['verdict'] == 'supported' and shrink['effect'] == pytest.approx(gains.mean())
