"""What the study finds with rates a factor of ten higher, and what its pretraining reached.

  python -m bsjax.main --config=configs/cactus.py --workdir=runs/cactus_higher_rates \\
    --config.learning_rates=0.001,0.003,0.01 --config.trials=8
  python experiments/cactus/higher_rates.py runs/cactus_higher_rates

writes higher_rates.json.
"""

import json
import sys
from pathlib import Path

from bsjax.report import stored_study

QUANTITY = 'val_accuracy'
KEPT = 'kind', 'subject', 'quantity', 'budget', 'question', 'verdict', 'effect', 'ci95', 'n'


def main(workdir: str) -> None:
  study, lender = (stored_study.load(Path(workdir, name)) for name in ('', 'pretrain'))
  claims = [
    {key: claim[key] for key in KEPT if key in claim}
    for claim in study.summary['claims']
    if claim['kind'] in ('pair', 'trend')
    and (claim['quantity'], claim['budget']) == (QUANTITY, 'epochs')
  ]
  found = {
    'learning_rates': list(study.config['learning_rates']),
    'trials': study.config['trials'],
    'batch_sizes': [
      {key: row[key] for key in ('batch_size', 'learning_rate', QUANTITY)}
      for row in study.summary['batch_sizes']
    ],
    'optimum': study.summary['learning_rates']['optimum'],
    'claims': claims,
    'pretraining': lender.summary['batch_sizes'][0][QUANTITY],
  }
  path = Path(__file__).with_suffix('.json')
  path.write_text(json.dumps(found, indent=1) + '\n')


if __name__ == '__main__':
  main(sys.argv[1])
