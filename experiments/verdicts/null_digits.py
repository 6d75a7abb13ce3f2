"""60 real trials of one batch size: whatever a study made of them finds between sizes is luck.

  python -m bsjax.main --config=experiments/verdicts/null_digits.py --workdir=runs/null_digits
  python experiments/verdicts/null_digits.py runs/null_digits

The first trains them in less than a minute on two CPU cores, as configs/digits.py does but at batch
size 64 alone, with 32 evaluations and over as many examples as blocks of 256 fill, so that a study
of batch sizes 8 to 256 could have been evaluated at the same positions. The second keeps what the
analysis reads of the records in null_digits.csv.gz, which `tests/helpers/null_studies.py` deals.
"""

import csv
import gzip
import io
import sys
from pathlib import Path

from bsjax.config import base_config
from bsjax.storage import records

TABLE = Path(__file__).parent / 'null_digits.csv.gz'
COLUMNS = ('trial', 'learning_rate', 'examples', 'epoch', 'diverged')
MEASURED = ('train_loss', 'train_accuracy', 'val_loss', 'val_accuracy')
TRAINING_EXAMPLES, BLOCKS = 1438, 160


def get_config():
  config = base_config()
  config.batch_sizes = (64,)
  config.learning_rates = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
  config.trials = 60
  config.epochs = BLOCKS * 256 / TRAINING_EXAMPLES
  config.evaluations = 32
  config.micro_batch = 64
  config.noise_scale.online = False
  config.data.source = 'digits'
  config.model.name = 'mlp'
  config.model.width = 64
  config.model.normalization = 'none'
  return config


def main(workdir):
  lanes = {row['lane']: row for row in records.read_plan(workdir / 'plan.csv')}
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow((*COLUMNS, *MEASURED))
  for row in records.read(workdir / 'records.jsonl'):
    lane = lanes[row['lane']]
    about = lane['trial'], lane['learning_rate'], row['examples'], f'{row["epoch"]:.6g}'
    measured = ['' if row[key] is None else f'{row[key]:.6g}' for key in MEASURED]
    writer.writerow((*about, int(row['diverged']), *measured))
  with open(TABLE, 'wb') as file, gzip.GzipFile('', 'wb', mtime=0, fileobj=file) as packed:
    packed.write(text.getvalue().encode())


if __name__ == '__main__':
  main(Path(sys.argv[1]))
