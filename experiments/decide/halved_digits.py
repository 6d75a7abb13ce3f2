"""What a finished study of digits would have said had it dropped learning rates.

  python -m bsjax.main --config=configs/digits.py --workdir=runs/digits
  python experiments/decide/halved_digits.py --workdir=runs/digits

writes halved_digits.json. Runs that go on are bitwise those of the study that drops none
(tests/studies/test_halving.py), so that nothing is trained again.
"""

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]  # the analysis is of this checkout

from helpers.halved import halved  # noqa: E402
from helpers.world_files import Made  # noqa: E402

from bsjax.analysis.runs.judging import judged_by  # noqa: E402
from bsjax.config.metrics import judging  # noqa: E402
from bsjax.report.summaries import summarize  # noqa: E402
from bsjax.storage import records, workdirs  # noqa: E402

DESIGNS = {
  'all': (),
  '1/8, 1/4, 1/2': (1 / 8, 1 / 4, 1 / 2),
  '1/4, 1/2': (1 / 4, 1 / 2),
  '1/4': (1 / 4,),
}
OUT = Path(__file__).with_name('halved_digits.json')


def said(made):
  found = summarize(json.loads(made.config.to_json()), made.lanes, made.rows, facts=made.facts)
  ended, critical = found.get('dropped', {}), found['critical_batch_size']
  return {
    'headline': found['answer']['headline'],
    'share_of_examples': ended['lane_examples'] / ended['of'] if ended else 1.0,
    'rungs': ended.get('rungs', []),
    'batch_sizes': [
      {key: row.get(key) for key in ('batch_size', 'learning_rate', 'best_rate', 'beside_dropped')}
      | {'val_accuracy': row['val_accuracy']}
      for row in found['batch_sizes']
    ],
    'b_crit': critical.get('b_crit'),
    'b_crit_ci95': critical.get('ci95'),
    'exponent': found['learning_rate_exponent'].get('value'),
  }


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--workdir', type=Path, required=True)
  workdir = parser.parse_args().workdir
  config, rows = workdirs.read_config(workdir), records.read(workdir / 'records.jsonl')
  lanes, facts = records.read_plan(workdir / 'plan.csv'), records.read_json(workdir / 'data.json')
  made = Made(config, lanes, rows, facts)
  examples = round(lanes[0]['examples'] / lanes[0]['epochs'])
  with judging(judged_by(json.loads(config.to_json()), rows)):
    table = {
      name: said(halved(made, rungs, train_examples=examples) if rungs else made)
      for name, rungs in DESIGNS.items()
    }
  OUT.write_text(json.dumps(table, indent=1) + '\n')
  for name, one in table.items():
    print(name, one['headline'], one['share_of_examples'], one['b_crit'])


if __name__ == '__main__':
  main()
