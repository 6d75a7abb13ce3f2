"""Records to summary.json: what each batch size reached, and what follows from all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from bsjax.analysis.claims import classes
from bsjax.analysis.claims.causes import causes
from bsjax.analysis.claims.claims import all_claims
from bsjax.analysis.claims.condition_contrasts import claims as condition_claims
from bsjax.analysis.claims.condition_contrasts import compare
from bsjax.analysis.claims.conditions import of_study, problems_by_rate
from bsjax.analysis.claims.pairs import JOINT, rank
from bsjax.analysis.claims.scaling_rules import scaling_rules
from bsjax.analysis.claims.stages import stage_claims, stages
from bsjax.analysis.decide.decision import decision
from bsjax.analysis.measures import noise
from bsjax.analysis.measures.critical_batch_size import critical_batch_size
from bsjax.analysis.measures.gap import estimate, generalization_gap
from bsjax.analysis.measures.learning_rate import NO_NOISE_SCALE, learning_rates
from bsjax.analysis.recommend import recommendation
from bsjax.analysis.runs.budgets import CLOCKS, at_end, readings
from bsjax.analysis.runs.diverged import diverged
from bsjax.analysis.runs.dropped import dropped
from bsjax.analysis.runs.histories import Row, Setting, Tried, by_branch, settings
from bsjax.analysis.runs.judging import judged_by
from bsjax.analysis.runs.selection import Chosen, Tuned, select
from bsjax.config.metrics import judged, judging
from bsjax.plan import hyperparameters
from bsjax.stats.estimate import Reason

# The noise scale that the learning-rate rules of an optimizer speak of, the most apt first.
FOR_RULES = ('exact_preconditioned', 'preconditioned', 'b_noise', 'exact', 'b_simple')


def summarize(
  config: Mapping[str, Any],
  plan_rows: Sequence[Row],
  record_rows: Sequence[Row],
  hardware: str = '',
  facts: classes.Facts | None = None,
) -> dict[str, Any]:
  """The content of summary.json.

  `hardware` is a line for people, such as '2 CPU cores'; where given it is kept with the results.
  `facts` are those of data.json, for what depends on the classes. Of a study with branches
  everything but 'conditions' and 'stages' is of the first, 'branch'.
  """
  with judging(judged_by(config, record_rows)):
    return _summarize(config, plan_rows, record_rows, hardware, facts)


def _summarize(
  config: Mapping[str, Any],
  plan_rows: Sequence[Row],
  record_rows: Sequence[Row],
  hardware: str,
  facts: classes.Facts | None,
) -> dict[str, Any]:
  asks = config.get('decide', {}).get('question')
  asked = decision(config, plan_rows, record_rows) if asks else None
  parts = by_branch(plan_rows, record_rows)
  grids = {branch: settings(*part) for branch, part in parts.items()}
  first = next(iter(grids))
  of_first = hyperparameters.of_branch(config, first)
  result = _of_branch(of_first, grids[first], facts, asked)
  if asked:
    result['decision'] = asked
    # Of the difference that the headline is of; else of what the runs of all rounds together show.
    result['confounds'] = asked.pop('confounds') or result['confounds']
  if config.get('stages', {}).get('order'):
    chosen = {branch: select(grid).chosen for branch, grid in grids.items()}
    result['stages'] = stages(config, grids, chosen)
    result['claims'] += stage_claims(result['stages'])
  if len(parts) > 1:
    result['branch'] = first
    result['conditions'] = compare(of_study(config, plan_rows, record_rows))
    result['claims'] += condition_claims(result['conditions'])
  if lost := diverged(plan_rows, record_rows):
    result['diverged'] = lost
  if ended := dropped(config, plan_rows, record_rows):
    result['dropped'] = ended
  return result | ({'hardware': hardware} if hardware else {})


def _of_branch(
  config: Mapping[str, Any],
  grid: Tried,
  facts: classes.Facts | None,
  asked: Mapping[str, Any] | None,
) -> dict[str, Any]:
  """All that follows from one branch, or from a study without any; `asked` is its decision."""
  reestimated = config['model']['normalization'] == 'batch'
  chosen = select(grid).chosen
  scales = [noise.beside(setting) for setting in chosen.values()]
  measured = _noise_for_rules(scales)
  # Both are statements about optimization; those on validation, which overfitting turns, go beside.
  rate = partial(learning_rates, grid, config['optimizer']['name'], measured)
  rates = rate(objective='train_loss') | {'validation': rate(objective=judged().val_cost)}
  rates['noise_scale_of_rules'] = measured
  exponent = rates.pop('exponent')
  critical = critical_batch_size(grid, 'train_loss')
  critical['validation'] = critical_batch_size(grid, 'val_loss')
  read = {budget: readings(chosen, budget) for budget in CLOCKS}
  # The headline's family spends what the last look may, as it is read after others.
  ranking = rank(read['epochs'], joint=(asked and asked['confidence']) or JOINT)
  claims = all_claims(grid, chosen, read, ranking, exponent)
  scaled = scaling_rules(config, grid)
  result = {
    'batch_sizes': [
      _batch_size(tried, chosen[size], reestimated)
      if size in chosen
      else _none_eligible(size, tried, reestimated)
      for size, tried in grid.items()
    ],
    'critical_batch_size': critical,
    'learning_rate_exponent': exponent,
    'learning_rates': rates,
    'noise_scales': scales,
    'generalization_gap': generalization_gap(grid, chosen),
    'claims': claims,
    'confounds': causes(config, grid, chosen, read, claims),
    'recommendation': recommendation(chosen, ranking, critical, grid, asked),
    **(_of_classes(config, grid, chosen, facts) if facts and 'class_counts' in facts else {}),
  }
  return result | ({'scaling_rules': scaled} if scaled else {})


def _of_classes(
  config: Mapping[str, Any], grid: Tried, chosen: Chosen, facts: classes.Facts
) -> dict[str, Any]:
  """What batches hold of the classes; and where these are unequal, what that does to them."""
  result = {'classes_per_batch': facts['classes_per_batch']}
  if judged().metric.by_class and classes.applies(config, facts):
    result['by_class'] = classes.by_class(grid, chosen, facts)
  return result


def _noise_for_rules(scales: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
  """The late noise scale of the middle batch size: of the best kind that was measured."""
  if not scales:
    return NO_NOISE_SCALE
  middle = scales[len(scales) // 2]
  for name in FOR_RULES:
    if name in middle['late']:
      measured = middle['late'][name]
      where = {'kind': name, 'batch_size': middle['batch_size'], 'b_simple': measured['value']}
      return where | {
        key: measured[key] for key in ('ci95', 'unbounded', 'reason') if key in measured
      }
  return NO_NOISE_SCALE


def _batch_size(tried: Sequence[Setting], best: Tuned, reestimated: bool) -> dict[str, Any]:
  rates = [setting.learning_rate for setting in tried]
  reading, near = at_end(best), best.dropped_beside

  def reached(quantity: str) -> dict[str, Any]:
    return estimate(reading.repeated(quantity), quantity)

  result = {
    'batch_size': best.batch_size,
    'learning_rate': best.learning_rate,
    'best_rate': best.best_rate,
    'at_grid_edge': best.learning_rate in (min(rates), max(rates)),
    'trials': len(best.lanes),
    'selection': best.selection,
    'window': [{'learning_rate': part.learning_rate, 'weight': w} for part, w in best.parts],
    'unsafe_rates': list(best.unsafe),
    **({'beside_dropped': list(near)} if near else {}),
    judged().train: reached(judged().train),
    judged().val: reached(judged().val),
    'generalization_gap': reached('gap'),
    'noise_scale': noise.late(best),
  }
  if reestimated:
    result[judged().reestimated_val] = reached(judged().reestimated_val)
  if len(rates) == 1:
    result['note'] = Reason('untuned')
  return result


def _none_eligible(batch_size: int, tried: Sequence[Setting], reestimated: bool) -> dict[str, Any]:
  keys = [judged().train, judged().val, 'generalization_gap']
  keys += [judged().reestimated_val] if reestimated else []
  return {
    'batch_size': batch_size,
    'learning_rate': None,
    'at_grid_edge': None,
    'trials': len(tried[0].lanes),
    **{key: estimate([]) for key in keys},
    'noise_scale': noise.nothing(Reason('no_rate_for_noise')),
    'reason': Reason('all_failed', problems=problems_by_rate(tried)),
  }
