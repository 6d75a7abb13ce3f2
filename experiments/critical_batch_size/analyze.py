"""The critical batch size beside the noise scales, from a finished run of the study.

  python experiments/critical_batch_size/analyze.py WORKDIR

reads a finished run of configs/critical_batch_size.py and writes result.json (summary.json less its
curves) and the figures of the report beside itself.
"""

import json
import sys
from pathlib import Path

from bsjax.analysis.runs.histories import settings
from bsjax.report.figures.drawing import draw
from bsjax.report.figures.study import STUDY
from bsjax.report.panels.source import Source
from bsjax.report.summaries import summarize
from bsjax.storage import records

HERE = Path(__file__).parent
KEPT = ('batch_sizes', 'critical_batch_size', 'learning_rate_exponent', 'claims', 'recommendation')


def main(workdir):
  plan, rows = records.read_plan(workdir / 'plan.csv'), records.read(workdir / 'records.jsonl')
  summary = summarize(json.loads((workdir / 'config.json').read_text()), plan, rows)
  result = {key: summary[key] for key in KEPT}
  result['learning_rates'] = {
    key: summary['learning_rates'][key] for key in ('optimum', 'noise_scale', 'rms_log_noise')
  }
  result['rules'] = [
    {key: value for key, value in rule.items() if key != 'curve'}
    for rule in summary['learning_rates']['rules']
  ]
  result['late_noise_scales'] = {row['batch_size']: row['late'] for row in summary['noise_scales']}
  records.write_json(HERE / 'result.json', result)
  source = Source(summary, settings(plan, rows))
  for drawing in STUDY:
    if drawing.name in ('critical_batch_size', 'optimum', 'noise_scale'):
      draw(drawing, source).savefig(HERE / f'{drawing.name}.png', dpi=90)


if __name__ == '__main__':
  main(Path(sys.argv[1]))
