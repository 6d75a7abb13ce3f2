"""The exponent with which the best batch size grows with the learning rate, at several budgets.

  python experiments/temperature/analyze.py WORKDIR

reads a finished run of configs/temperature.py and writes result.json and figure.png beside itself.
"""

import math
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from bsjax.analysis.measures.exponent import exponent, points
from bsjax.analysis.measures.optimum import optimum
from bsjax.analysis.runs.histories import settings
from bsjax.report.figures.drawing import themed
from bsjax.report.text.reasons import sentences
from bsjax.report.text.rendered import rendered
from bsjax.stats.intervals import mean_interval
from bsjax.storage import records

HERE = Path(__file__).parent
EPOCHS = (5, 10)  # budgets: if the law is one of training too little, it moves with them
UNIT = 0.005  # of learning rates, to number them


def at(lane, epoch, key):
  """The value of a lane at the record closest to an epoch; infinite once it has diverged."""
  row = min(lane.rows, key=lambda row: abs(row['epoch'] - epoch))
  return math.inf if row['diverged'] or row[key] is None else row[key]


def grids(settings_by_size, epoch):
  """Validation error and training loss, `[batch size, learning rate, trial]`."""

  def grid(value):
    tried = settings_by_size.values()
    return np.array([[list(map(value, setting.lanes)) for setting in row] for row in tried])

  return grid(lambda lane: error(lane, epoch)), grid(lambda lane: at(lane, epoch, 'train_loss'))


def error(lane, epoch):
  """1 - validation accuracy; infinite once the lane has diverged."""
  accuracy = at(lane, epoch, 'val_accuracy')
  return 1 - accuracy if math.isfinite(accuracy) else math.inf


def budget(settings_by_size, epoch):
  """The best batch size at each learning rate, and the exponent over learning rates."""
  sizes = np.array(list(settings_by_size), dtype=np.float64)
  rates = [setting.learning_rate for setting in next(iter(settings_by_size.values()))]
  errors, losses = grids(settings_by_size, epoch)
  optima = {round(rate / UNIT): optimum(sizes, errors[:, i].T) for i, rate in enumerate(rates)}
  rows = []
  for i, (rate, best) in enumerate(zip(rates, optima.values(), strict=True)):
    lowest = int(np.median(errors[:, i], axis=1).argmin())
    row = {'learning_rate': rate, 'state': best.state, **best.rate.to_json('batch_size')}
    row['reason'] = sentences(best.rate.reasons)
    row |= {'best_tried': int(sizes[lowest])}
    row |= {'train_loss_there': float(np.median(losses[lowest, i]))}
    rows.append(row)
  known = points(optima)
  law = exponent(known)
  if 'undefined' not in law:  # without the doubt about the curve between the points of the grid
    slopes = [np.polyfit(np.log(known.batch_sizes), logs, 1)[0] for logs in known.log_rates]
    law['ci95_over_trials_alone'] = mean_interval(slopes).to_json()['ci95']
  law.pop('batch_sizes', None)
  left = {str(int(k) * UNIT): v for k, v in law.get('left_out', {}).items()}
  return rendered({'epochs': epoch, 'optima': rows, 'exponent': law | {'left_out': left}})


@themed
def draw(settings_by_size, budgets):
  """Every setting's error at the end, and the best batch size against the learning rate."""
  figure = Figure(figsize=(10.5, 4.2), layout='constrained')
  table, law = figure.subplots(1, 2)
  rates = [setting.learning_rate for setting in next(iter(settings_by_size.values()))]
  errors = np.median(grids(settings_by_size, EPOCHS[-1])[0], axis=2)
  shown = table.imshow(np.clip(100 * errors, None, 25), origin='lower', cmap='viridis_r')
  for (row, column), value in np.ndenumerate(errors):
    text = f'{100 * value:.1f}' if value < 1 else 'div.'
    table.text(column, row, text, ha='center', va='center', size=8, color='white')
  table.set_xticks(range(len(rates)), [f'{rate:g}' for rate in rates])
  table.set_yticks(range(len(settings_by_size)), list(settings_by_size))
  table.set(xlabel='learning rate', ylabel='batch size', title='Validation error, %, median trial')
  table.grid(visible=False)
  figure.colorbar(shown, ax=table)
  for number, (result, colour) in enumerate(zip(budgets, ('#a9cbe6', '#0d3b73'), strict=True)):
    for row in result['optima']:
      if row['batch_size']:
        x, (low, high) = row['learning_rate'] * 1.04**number, row['ci95']
        law.plot([x, x], [low, high], color=colour, linewidth=2, alpha=0.6)
        mark = 'o' if row['state'] == 'found' else 'D'
        face = colour if row['state'] == 'found' else 'white'
        law.plot(x, row['batch_size'], mark, color=colour, markerfacecolor=face)
    exponent_found = result['exponent']
    if 'undefined' in exponent_found:
      text = 'undefined'
    else:
      low, high = exponent_found['ci95_over_trials_alone']
      text = f'{exponent_found["value"]:.2f} [{low:.2f}, {high:.2f}] over trials'
    law.plot([], [], 'o', color=colour, label=f'{result["epochs"]} epochs: exponent {text}')
  line = np.array([rates[0], rates[-1]])
  law.plot(line, 76 * line, '--', color='#667085', linewidth=1, label='slope 1')
  law.set(xscale='log', yscale='log', xlabel='learning rate', title='Best batch size')
  law.legend(fontsize=8)
  figure.savefig(HERE / 'figure.png', dpi=110)


def main(workdir):
  settings_by_size = settings(
    records.read_plan(workdir / 'plan.csv'), records.read(workdir / 'records.jsonl')
  )
  budgets = [budget(settings_by_size, epoch) for epoch in EPOCHS]
  records.write_json(HERE / 'result.json', {'budgets': budgets})
  draw(settings_by_size, budgets)


if __name__ == '__main__':
  main(Path(sys.argv[1]))
