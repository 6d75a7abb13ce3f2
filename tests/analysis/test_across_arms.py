"""Scaling rules over arms: planted laws come back, and the page of arms answers with them."""

import json

import pytest
from helpers import planted_scaling as planted
from helpers.pages import save

from bsjax.analysis.claims import across_arms
from bsjax.analysis.claims.claim import REFUTED, SUPPORTED
from bsjax.report import arms_page
from bsjax.report.summaries import summarize
from bsjax.report.text.across_arms import FEW, UNDECIDED, headline
from bsjax.report.text.rendered import rendered


def rules_across(arms):
  """The rules compared over arms, as summary.json holds it."""
  return rendered(across_arms.rules_across(arms))


def summaries(power, arms=5, sizes=(32, 64), **options):
  """Arms in which learning_rate / (batch size)^power alone counts, each with noise of its own."""
  config = planted.config((0.2,))
  plan = planted.plan(config, sizes, trials=3)

  def own(seed):
    return planted.records(plan, power, seed, **options)

  return {f'arm {seed}': summarize(config, plan, own(seed)) for seed in range(arms)}


@pytest.mark.parametrize(
  ('power', 'text'),
  [
    (1.0, 'Linear scaling keeps the training curve closest.'),
    (0.5, 'Square-root scaling keeps the training curve closest.'),
    (0.0, 'The learning rate kept keeps the training curve closest.'),
  ],
)
def test_the_planted_law_comes_back(power, text):
  found = rules_across(summaries(power, sizes=(32, 64, 128)))
  assert headline(found) == text
  assert {row['n'] for row in found['distances']} == {5}
  assert len(found['distances']) == 6 and found['distances'][0]['confidence'] == pytest.approx(
    1 - 0.05 / 6
  )


def test_ratios_and_differences_are_those_of_the_arms():
  arms = summaries(1.0)
  found = rules_across(arms)
  for each in found['distances']:
    ratios = []
    for summary in arms.values():
      (rate,) = summary['scaling_rules']['rates']
      mean = {run['rule']: run['distance']['mean'] for run in rate['runs']}
      ratios.append(mean[each['first']] / mean[each['second']])
    product = 1.0
    for ratio in ratios:
      product *= ratio ** (1 / len(ratios))
    assert each['effect'] == pytest.approx(product)
    low, high = each['ci95']
    assert low < product < high
    assert each['verdict'] == (SUPPORTED if high < 1 else REFUTED if low > 1 else 'undetermined')
  for row in found['accuracies']:
    values = [
      run['val_accuracy']['mean']
      for summary in arms.values()
      for run in summary['scaling_rules']['rates'][0]['runs']
      if run['rule'] == row['rule']
    ]
    assert row['mean'] == pytest.approx(sum(values) / len(values)) and row['n'] == 5


def test_nothing_is_shown_by_one_arm_or_by_noise():
  assert headline(rules_across(summaries(1.0, arms=1))) == FEW
  single = rules_across(summaries(1.0, arms=1))['distances'][0]
  assert {'code': 'one_trial', 'over': 'arms'} in single['reasons']
  noisy = rules_across(summaries(0.75, own=0.3))
  assert headline(noisy) == UNDECIDED


def test_arms_of_one_rule_have_no_such_part():
  config = planted.config((0.2,), rule='linear')
  plan = planted.plan(config, trials=2)
  assert rules_across({'a': summarize(config, plan, planted.records(plan))}) is None


def test_the_page_of_arms_answers_with_the_rules(tmp_path, blank_figures):
  config = planted.config((0.2,))
  plan = planted.plan(config, (32, 64), trials=3)
  for seed in range(4):
    save(tmp_path / 'arms' / f'a{seed}', config, plan, planted.records(plan, 1.0, seed))
  page = arms_page.write(tmp_path).read_text()
  summary = json.loads((tmp_path / 'summary.json').read_text())
  assert summary['answer'] == 'Linear scaling keeps the training curve closest.'
  assert f'<h1>{summary["answer"]}</h1>' in page and 'id="rules_claims"' in page
  assert page.count('over 4 arms') == 2 and 'So it is in 4 of 4 arms.' in page
  assert summary['claims'][0]['about'] == 'scaling rules'
