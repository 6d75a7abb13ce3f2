"""Every reason has a sentence, every sentence a reason, and no English stands in the analysis."""

import ast
import json
from pathlib import Path

import pytest

from bsjax.analysis.claims.claim import ABOVE, SUPPORTED, Claim, Kind
from bsjax.analysis.goals_to_target import GOALS
from bsjax.report.text import claims, reasons
from bsjax.report.text.audit_reasons import OF_AUDIT
from bsjax.report.text.claim_blocks import blocks
from bsjax.report.text.claim_reasons import OF_CLAIMS
from bsjax.report.text.goal_reasons import OF_GOALS, TITLES
from bsjax.report.text.reasons import TEMPLATES
from bsjax.stats.estimate import Estimate, Reason

PACKAGE = Path(__file__).parents[2] / 'bsjax'
FILES = sorted(PACKAGE.rglob('*.py'))
OUTSIDE = [path for path in FILES if PACKAGE / 'report' / 'text' not in path.parents]
MAKERS = ('Reason', 'undefined')


def codes_of(path):
  """The codes that a file gives as the first argument of a reason."""
  calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
  for call in calls:
    name = call.func.id if isinstance(call.func, ast.Name) else ''
    if name in MAKERS and call.args and isinstance(call.args[0], ast.Constant):
      yield call.args[0].value


def texts_of(path):
  return {
    node.value
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.Constant) and isinstance(node.value, str)
  }


def test_every_code_has_one_sentence():
  parts = reasons.OF_INTERVALS, reasons.OF_NOISE, OF_CLAIMS, OF_GOALS, reasons.OF_RUNS, OF_AUDIT
  assert len(TEMPLATES) == sum(map(len, parts))


def test_every_reason_has_a_sentence():
  used = {code: path for path in FILES for code in codes_of(path)}
  assert len(used) > 40
  missing = {code: path.name for code, path in used.items() if code not in TEMPLATES}
  assert not missing


def test_every_sentence_has_a_reason():
  given = set().union(*map(texts_of, OUTSIDE))
  assert not set(TEMPLATES) - given
  assert not {*OF_CLAIMS, *OF_GOALS} - {code for path in OUTSIDE for code in codes_of(path)}


def test_a_reason_that_was_json_is_the_same():
  """Batch sizes and rates are keys of its details."""
  reason = Reason('outer', trials={8: 3, 128: 2}, rates={0.1: 'x'}, why=[Reason('inner', size=16)])
  assert reasons.decoded(json.loads(json.dumps(reasons.coded(reason)))) == reason


def test_every_kind_of_claim_and_every_goal_has_words():
  assert set(claims.KINDS) == set(Kind) and set(TITLES) == set(GOALS)


def test_a_claim_of_a_new_kind_is_one_entry(monkeypatch):
  """Beside what asks it: the sentence and the place on the page of a study stand together."""
  wording = claims.Wording('{where}, {0} forgets less than {1}', block='Forgetting')
  monkeypatch.setitem(claims.KINDS, 'forgetting', wording)
  estimate = Estimate(value=0.02, low=0.01, high=0.03, n=5)
  claim = Claim('forgetting', (8, 64), 'val_accuracy', 'epochs', ABOVE, estimate, SUPPORTED)
  row = claims.claim_row(claim)
  assert (row['kind'], row['claim']) == ('forgetting', 'at equal epochs, 8 forgets less than 64')
  (block,), pairs = blocks([row])
  assert (block.title, block.rows[0].verdict, pairs.rows) == ('Forgetting', SUPPORTED, ())


@pytest.mark.parametrize(
  'path', sorted((PACKAGE / 'analysis' / 'claims').glob('*.py')), ids=lambda path: path.name
)
def test_claims_are_codes_and_no_sentences(path):
  """But for docstrings and what is raised."""
  tree = ast.parse(path.read_text())
  raised = [n for r in ast.walk(tree) if isinstance(r, ast.Raise) for n in ast.walk(r)]
  docstrings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
  sentences = [
    node.value
    for node in ast.walk(tree)
    if isinstance(node, ast.Constant) and isinstance(node.value, str)
    if node not in raised and node not in docstrings and node.value.count(' ') > 2
  ]
  assert not sentences
