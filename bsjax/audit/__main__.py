"""`python -m bsjax.audit FILE... [--train_examples=N] [--out=DIR]`: what stands on these curves."""

from __future__ import annotations

import sys

from absl import app, flags

import bsjax.audit
from bsjax.audit.problem import Problem
from bsjax.console import make_console, printable

SAID = ('train_examples', 'momentum', 'weight_decay', 'price_per_hour')


def main(argv: list[str]) -> None:
  given = flags.FLAGS
  if len(argv) < 2:
    raise app.UsageError('Give the files: python -m bsjax.audit FILE... [--out=DIR]')
  said = {name: given[name].value for name in SAID}
  try:
    said['batch_norm'] = batch_norm(given.batch_norm)
    judged = bsjax.audit.audit(argv[1:], given.columns, **said)
    page = judged.write(given.out) if given.out else None
  except (Problem, OSError) as error:
    raise SystemExit(printable(f'Error: {error}', sys.stderr.encoding)) from error
  make_console().print(judged.table())
  if page:
    print(printable(str(page), sys.stdout.encoding))


def batch_norm(text: str | None) -> float | str | None:
  """The momentum of a flag, or 'none'; raises Problem for anything else."""
  if text in (None, 'none'):
    return text
  try:
    value = float(text)
  except ValueError:
    value = -1.0
  if not 0 <= value < 1:
    remedy = 'Give the momentum of running statistics, such as 0.99, or none'
    raise Problem('--batch_norm', 1, 'batch_norm', f'{text!r} is neither', remedy)
  return value


def define_flags() -> None:
  """Defines what may be said beside the files."""
  flags.DEFINE_string('columns', '', 'Which column is which: batch_size=bs,val_loss=loss,cell=N+D.')
  flags.DEFINE_integer('train_examples', None, 'Examples in the training set.', lower_bound=1)
  flags.DEFINE_string('out', None, 'Where audit.json, audit.html, audit.md and CSVs are written.')
  text = 'Momentum of BatchNorm statistics as Keras counts it (PyTorch: 1 less it), or none.'
  flags.DEFINE_string('batch_norm', None, text)
  flags.DEFINE_float('momentum', None, 'Of the optimizer; 0 for none.', 0.0, 1.0)
  flags.DEFINE_float('weight_decay', None, 'Of the optimizer; 0 for none.', 0.0)
  flags.DEFINE_float('price_per_hour', None, 'Of the device, for what a run costs.', 0.0)


if __name__ == '__main__':
  define_flags()
  app.run(main)
