"""What the host loop is made of, before anything is trained."""

import pytest
from helpers.small import small_config
from rich.console import Console

from bsjax import data
from bsjax.autotune.execution import Execution
from bsjax.plan import plan
from bsjax.storage.writers import Mirrors
from bsjax.train import loop


class Made(Exception):
  """Ends the making of a loop here."""


@pytest.mark.parametrize('goes_on', [False, True])
def test_lanes_of_an_extension_are_dropped_at_no_rung(monkeypatch, tmp_path, goes_on):
  def whole(workdir, task, mirrors, halving):
    raise Made(halving.rungs)

  monkeypatch.setattr(loop, 'WholeEvaluations', whole)
  config = small_config(halving__rungs=(0.5,), learning_rates=(0.1, 0.2, 0.4), evaluations=4)
  dataset = data.load(config.data, config.seed)
  study = plan.make_plan(config, len(dataset.train))
  chosen, mirrors = Execution('cpu', {}, {}, []), object.__new__(Mirrors)
  with pytest.raises(Made) as made:
    loop.TrainLoop(config, tmp_path, dataset, study, chosen, Console(), mirrors, goes_on=goes_on)
  (rungs,) = made.value.args
  assert bool(rungs) is not goes_on
