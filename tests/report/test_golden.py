"""The English of two made-up studies, word for word: every kind of claim, and the recommendations.

After a sentence was changed on purpose, write the file anew and read what changed:
`PYTHONPATH=tests:. python tests/report/test_golden.py`.
"""

from pathlib import Path

from helpers import planted_scaling, staged

from bsjax.analysis.claims.claim import Kind
from bsjax.report.summaries import summarize

GOLDEN = Path(__file__).parent / 'golden.txt'

OTHERS = {'no_exponent', 'target_unknown'}  # which hold sentences of measures


def summaries():
  """Of stages and branches, and of scaling rules over class-imbalanced data."""
  config = staged.config(batch_size=['keep', 'multiply:2'], normalization='batch')
  plan, rows = staged.made(staged.turning, branches=('keep', 'multiply:2'))
  yield summarize(config, plan, rows)
  config = planted_scaling.config()
  plan = planted_scaling.plan(config, trials=4)
  rows = planted_scaling.records(plan, evaluations=6)
  for row in rows:
    row['val_class_accuracy'] = [row['val_accuracy'] - 0.1 * label for label in range(3)]
  counts = {'train': [400, 100, 20], 'validation': [20] * 3}
  facts = {'class_names': ['a', 'b', 'c'], 'class_counts': counts, 'classes_per_batch': []}
  yield summarize(config, plan, rows, facts=facts)


def rows_in(tree):
  """Every row that has a reason why, at any depth."""
  if isinstance(tree, dict):
    if 'why' in tree and 'reasons' in tree:
      yield tree
    for value in tree.values():
      yield from rows_in(value)
  elif isinstance(tree, list):
    for value in tree:
      yield from rows_in(value)


def text():
  """One line for each kind of claim and goal, quantity and set of reasons."""
  lines = {}
  for summary in summaries():
    for row in rows_in(summary):
      codes = [reason['code'] for reason in row['reasons']]
      if set(codes) & OTHERS:
        continue
      what = row.get('claim') or row.get('goal') or f'closest at batch size {row["batch_size"]}'
      shown = row['verdict'] if 'verdict' in row else row['batch_size']
      side = row.get('question', {}).get('side')
      key = row.get('kind'), row.get('quantity'), row.get('budget'), side, *codes
      lines.setdefault(key, f'{shown}: {what}. {row["why"]}')
  return '\n'.join(lines.values()) + '\n'


def test_the_english_of_claims_and_recommendations():
  assert text() == GOLDEN.read_text()


def test_it_has_every_kind_of_claim_of_one_study():
  kinds = {row['kind'] for summary in summaries() for row in rows_in(summary) if 'kind' in row}
  assert kinds == set(Kind) - {Kind.ARMS, Kind.AUDIT}  # those of arms and of others' curves


if __name__ == '__main__':
  GOLDEN.write_text(text())
