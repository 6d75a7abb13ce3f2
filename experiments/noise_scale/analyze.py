"""Growth of the noise scale, and whether a lane's own batches and single examples agree on it.

  python experiments/noise_scale/analyze.py WORKDIR

reads a finished run of configs/noise_scale.py and writes result.json and figure.png beside itself.
"""

import dataclasses
import math
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from bsjax.analysis.measures import noise
from bsjax.analysis.runs.histories import Setting, settings
from bsjax.report.figures.drawing import themed
from bsjax.report.text.rendered import rendered
from bsjax.stats.estimate import Estimate
from bsjax.stats.intervals import fieller, mean_interval
from bsjax.storage import records

HERE = Path(__file__).parent
COLOURS = {32: '#1f5fbf', 128: '#e8871e'}


def growth(setting):
  """Late over initial noise scale: geometric mean over trials, with its interval.

  Late: from the lane's own batches, or from single examples; initial: from single examples.
  """
  factors = {}
  for name, late in (('online', late_online), ('single_examples', late_exact)):
    starts = [lane.rows[0]['exact']['plain']['noise_scale'] for lane in setting.lanes]
    ratios = [late(lane).value / start for lane, start in zip(setting.lanes, starts, strict=True)]
    mean, low, high, n = dataclasses.astuple(mean_interval(np.log(ratios)))[:4]
    factors[name] = {'factor': math.exp(mean), 'ci95': [math.exp(low), math.exp(high)], 'n': n}
  return factors


def late_online(lane):
  """The noise scale of the last half of training from the lane's own batches."""
  alone = noise.beside(Setting(lane.plan['batch_size'], lane.plan['learning_rate'], (lane,)))
  late = alone['late']['b_simple']
  return Estimate(late['value'], *late['ci95'], unbounded=late['unbounded'])


def late_exact(lane):
  """The same from single examples.

  The interval takes the records as the observations: the noise scale of a single moment moves up
  and down far more than its measurement errs.
  """
  probes = late_probes(lane)
  return fieller(*([p[key] for p in probes] for key in ('trace', 'grad_sq')))


def late_probes(lane, kind='plain'):
  """What single examples said at the records of the last half of training."""
  return [row['exact'][kind] for row in lane.rows if 2 * row['examples'] >= lane.plan['examples']]


def agreement(lane):
  """The late noise scale of one lane by both, and whether their intervals have a part in common."""
  row = {'batch_size': lane.plan['batch_size'], 'trial': lane.plan['trial']}
  ends = []
  for name, ratio in (('online', late_online(lane)), ('single_examples', late_exact(lane))):
    row[name] = {'noise_scale': ratio.value, 'ci95': [ratio.low, ratio.high]}
    ends.append((ratio.low, math.inf if ratio.high is None else ratio.high))
  row['overlap'] = max(low for low, _ in ends) <= min(high for _, high in ends)
  return row


@themed
def draw(settings_by_size, rows):
  """Along training, trials pooled; and the last half of training, lane by lane."""
  figure = Figure(figsize=(11.5, 4.4), layout='constrained')
  along, late, layers = figure.subplots(1, 3, width_ratios=(1.3, 1, 1))
  for size, (setting,) in settings_by_size.items():
    training = noise.beside(setting)['training']
    for name, style in (('exact', 'o-'), ('b_simple', 's--'), ('b_noise', '^:')):
      points = [(t['examples'], t[name]['value']) for t in training if name in t]
      label = {'exact': 'single examples', 'b_simple': 'its own batches', 'b_noise': 'B_noise'}
      x, y = zip(*points, strict=True)
      y = [math.nan if v is None else v for v in y]
      text = f'{label[name]}, batch size {size}'
      along.plot(x, y, style, color=COLOURS[size], markersize=3.5, linewidth=1.3, label=text)
    draw_layers(layers, setting)
  along.set(yscale='log', xlabel='examples seen', title='Noise scale along training')
  along.legend(fontsize=7)
  for place, row in enumerate(rows):
    for shift, name in ((-0.12, 'online'), (0.12, 'single_examples')):
      low, high = row[name]['ci95']
      at = [place + shift] * 2
      colour, mark = COLOURS[row['batch_size']], 's' if name == 'online' else 'o'
      late.plot(at, [low, high or 5e4], color=colour, linewidth=2, alpha=0.5)
      late.plot(at[0], row[name]['noise_scale'], mark, color=colour, markersize=6)
  late.set(yscale='log', title='Last half, lane by lane', ylim=(50, 5e4))
  names = [f'{row["batch_size"]}\n{row["trial"]}' for row in rows]
  late.set_xticks(range(len(rows)), names)
  late.set_xlabel('batch size, trial; square: its own batches, dot: single examples')
  figure.savefig(HERE / 'figure.png', dpi=110)


def draw_layers(axes, setting):
  """The noise scale of every layer, pooled over trials and the records of the last half."""
  probes = [p['layers'] for lane in setting.lanes for p in late_probes(lane)]
  names = sorted(probes[0])
  values = [
    sum(p[name]['trace'] for p in probes) / sum(p[name]['grad_sq'] for p in probes)
    for name in names
  ]
  style = {'color': COLOURS[setting.batch_size], 'label': f'batch size {setting.batch_size}'}
  axes.plot(values, range(len(names)), 'o', **style)
  axes.set_yticks(range(len(names)), names)
  axes.set(xscale='log', title='Last half, by layer', xlabel='examples')
  axes.legend(fontsize=8)


def main(workdir):
  settings_by_size = settings(
    records.read_plan(workdir / 'plan.csv'), records.read(workdir / 'records.jsonl')
  )
  rows = [agreement(lane) for (setting,) in settings_by_size.values() for lane in setting.lanes]
  result = {
    'growth': {size: growth(setting) for size, (setting,) in settings_by_size.items()},
    'agreement': rows,
    'late': {
      size: rendered(noise.beside(setting)['late']) for size, (setting,) in settings_by_size.items()
    },
  }
  records.write_json(HERE / 'result.json', result)
  draw(settings_by_size, rows)


if __name__ == '__main__':
  main(Path(sys.argv[1]))
