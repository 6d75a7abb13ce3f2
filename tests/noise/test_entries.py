"""One entry and one module make an estimator: from the tick to the report."""

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.small import small_config, trained
from helpers.still import exact, still_config

from bsjax import data
from bsjax.noise import entries, estimators, online
from bsjax.storage import records
from bsjax.train import study_run

EXAMPLES = Path(__file__).parents[2] / 'docs' / 'examples'


@pytest.fixture
def halves(monkeypatch):
  """The estimator of docs/examples/halves.py, measured beside those of the package."""
  monkeypatch.syspath_prepend(str(EXAMPLES))
  import halves

  monkeypatch.setitem(entries.ONLINE, 'halves', halves.ENTRY)
  yield halves
  sys.modules.pop('halves', None)


def test_entries_have_names_and_columns_of_their_own():
  online_entries = entries.ONLINE.values()
  names = [entry.name for entry in (*online_entries, *entries.EXACT.values())]
  columns = [column for entry in online_entries for column in (entry.scale, entry.window)]
  assert len(set(names)) == len(names) and len(set(columns)) == len(columns)
  assert list(entries.measured(scaling=False)) == [entries.PLAIN]
  assert list(entries.measured(scaling=True)) == [entries.PLAIN, entries.PRECONDITIONED]


# An even number of micro-batches per update, an odd one whose last is left out, and lanes of one,
# which measure pairs: there an estimator without a `pair` takes them for an update of two.
@pytest.mark.parametrize('sizes, micro', [((8, 32), 8), ((24,), 8)])
def test_a_third_estimator_measures_the_noise_of_the_training_set(halves, sizes, micro):
  config = still_config(batch_sizes=sizes, micro_batch=micro, epochs=40.0)
  dataset = data.load(config.data, config.seed)
  _, (group,), on_device = trained(config, dataset)
  params = jax.tree.map(lambda x: jnp.asarray(x[0]), group.to_host().params)
  truth = exact(config, dataset, params)
  windows = group.evaluate(on_device)().noise
  assert list(windows) == ['halves', entries.PLAIN]
  for i, lane in enumerate(group.group.lanes):
    found = estimators.window_summary(jax.tree.map(lambda x, i=i: x[i], windows['halves']))
    assert found['count'] == int(windows[entries.PLAIN].updates.count[i])
    for name, expected in zip(('trace', 'grad_sq'), truth, strict=True):
      error = np.sqrt(found[f'{name}_var'] / found['count'])
      assert error < 0.15 * expected, (lane, name)
      assert abs(found[name] - expected) < 5 * error, (lane, name, found[name], expected)


def test_a_third_estimator_is_recorded_summarized_and_shown(halves, tmp_path):
  config = small_config(batch_sizes=(16, 32), epochs=4.0, evaluations=4, micro_batch=8)
  study_run.run_study(config, tmp_path)
  row = records.read(tmp_path / 'records.jsonl')[-1]
  assert row['halves_noise']['count'] == row['noise']['count'] > 0
  assert {'b_halves', 'b_halves_ci95', 'b_halves_unbounded'} <= set(row)
  summary = json.loads((tmp_path / 'summary.json').read_text())
  for entry in summary['noise_scales']:
    assert entry['late']['halves']['n'] == config.trials
    assert any('halves' in moment for moment in entry['training'])
  assert halves.ENTRY.title in (tmp_path / 'report.html').read_text()


def test_what_was_gathered_before_an_update_is_dropped():
  """In the middle of an update that is not measured estimators see nothing of it."""
  like = {'w': jnp.zeros(3)}
  noise = online.empty(False, like)
  draw = online.Draw(jnp.int32(0), 8, jnp.int32(1), jnp.int32(2), 100)
  grads = online.lengths({'w': jnp.array([1.0, 2.0, 2.0])}, None)
  for _ in range(3):  # the first micro-batch of an update, again and again
    noise = online.add_micro_batch(noise, grads, draw)
  assert noise.micro_sq_norm[entries.PLAIN] == 9.0
  noise = online.add_micro_batch(noise, grads, draw._replace(count=jnp.int32(2)))
  assert noise.micro_sq_norm[entries.PLAIN] == 18.0
  assert noise.micro_factor == pytest.approx(2 * (1 / 8 - 1 / 100))
