"""Extended studies beside those run at once."""

from bsjax.storage import records, workdirs
from helpers.small import small_config


def config_of(**overrides):
  """Batch sizes that update together every 32 examples, in a program of one lane after another."""
  small = {'batch_sizes': (8, 32), 'epochs': 1.28, 'micro_batch': 8, 'execution__devices': 1}
  return small_config(**small | {'learning_rates': (0.1,)} | overrides)


def stored(workdir, config):
  """The configuration of a workdir, run as `config`."""
  kept = workdirs.read_config(workdir)
  kept.execution = config.execution
  return kept


MEASURED = ('noise', 'noise_early', 'b_simple', 'b_simple_ci95')


def same_but_for_noise(workdir, whole):
  """The same where programs are cheap, which round variances as the number of lanes has it."""
  assert (workdir / 'plan.csv').read_bytes() == (whole / 'plan.csv').read_bytes()
  pairs = zip(*(records.read(path / 'records.jsonl') for path in (workdir, whole)), strict=True)
  for one, other in pairs:
    assert {k: v for k, v in one.items() if k not in MEASURED} == {
      k: v for k, v in other.items() if k not in MEASURED
    }
