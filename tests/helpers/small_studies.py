"""Small studies of many kinds, run one after another by each of several processes, or by one.

`python -m helpers.small_studies WORKDIR` runs them, as one of the processes that the environment
says; with `stop` after it the second process is asked to stop in the middle of the last study.
"""

import os
import signal
import sys
from pathlib import Path

from bsjax import arms, stages
from helpers.small import small_config


def configs():
  """Studies by name: of whole BatchNorm, exact noise and shard_map; and of all that comes later."""
  few = {'learning_rates': (0.1,), 'epochs': 1.0, 'execution__devices': 1, 'micro_batch': 8}
  exact = small_config(
    **few | {'batch_sizes': (8, 16), 'trials': 3},  # six lanes, which four devices do not divide
    model__normalization='batch',
    noise_scale__exact_examples=32,
    execution__replicate='shard_map',
  )
  later = small_config(**few | {'batch_sizes': (16,), 'trials': 3, 'evaluations': 8})
  later.checkpoint.seconds = 0.0
  with later.unlocked():  # so that all lanes begin with the same frozen layer
    later.pretrain = {'epochs': 1.0, 'trials': 1}
  grows = {'batch_size': ('noise:0.3', 'cabs'), 'largest_batch_size': 64}
  stages.add(later, 'frozen', epochs=2.0, trainable=('Dense_1',), **grows)
  stages.add(later, 'whole', epochs=2.0, batch_size=('multiply:0.5',))
  arms.add(later, 'only', {})
  return {'exact': exact, 'arms': later}


LAST = Path('arms', 'arms', 'only')  # the last training of all, in the workdir of them


def main(workdir, stop=''):
  from matplotlib.figure import Figure

  from bsjax import cli
  from bsjax.engine import device_lanes, processes
  from bsjax.report.figures import drawing
  from bsjax.train.study_run import run_study

  cli.set_up_machine()
  drawing.draw = lambda *_: Figure((1, 1))
  count = int(os.environ['BSJAX_PROCESSES'])
  processes.join(os.environ['BSJAX_COORDINATOR'], count, int(os.environ['BSJAX_PROCESS']))
  advance = device_lanes.Lanes.advance

  def advance_and_signal(self, *arguments):
    path = Path(workdir) / LAST / 'records.jsonl'
    if not processes.is_first() and path.exists() and path.read_text().count('\n') > 30:  # of 54
      os.kill(os.getpid(), signal.SIGTERM)
      device_lanes.Lanes.advance = advance
    return advance(self, *arguments)

  if stop:
    device_lanes.Lanes.advance = advance_and_signal
  done = [run_study(config, Path(workdir) / name) for name, config in configs().items()]
  processes.leave()
  print(done)


if __name__ == '__main__':
  main(*sys.argv[1:])
