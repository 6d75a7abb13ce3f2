"""Runs a study to its end: one, one after those it takes its weights from, or several arms."""

from pathlib import Path

from ml_collections import ConfigDict
from rich.console import Console

from bsjax import (
  arms,
  arms_report,
  data,
  execution,
  memory,
  methods,
  plan,
  plan_table,
  program,
  records,
  stage_run,
  workdirs,
)
from bsjax.config import ConfigError, validate
from bsjax.data_facts import data_facts
from bsjax.device_data import DeviceData
from bsjax.host_loop import Study
from bsjax.progress import make_console


def run_study(config: ConfigDict, workdir: str | Path, dry_run: bool = False) -> bool:
  """Trains a study to its end in `workdir`, from wherever an earlier call left it.

  Returns whether nothing is left to do. Raises ConfigError, before anything is compiled, when the
  configuration cannot run or is not the one that `workdir` was begun with.
  """
  validate(config)
  workdir = Path(workdir)
  if config.arms.order:
    return _run_arms(config, workdir, dry_run)
  if lender := arms.pretraining(config):
    _check(config, workdir)  # which must not wait for the other study to end
    if not run_study(lender, workdir / arms.PRETRAIN, dry_run):
      return False
  return _run_one(config, workdir, dry_run)


def _run_arms(config: ConfigDict, workdir: Path, dry_run: bool) -> bool:
  """Runs all arms, each where it is not finished, and writes what compares them."""
  console = make_console()
  workdirs.refuse_another(workdir, config)
  for name, own in arms.configs(config).items():
    try:
      _check(own, arms.workdir(workdir, name))
    except ConfigError as error:
      raise ConfigError(f'arm {name}: {error}') from None
  if not dry_run:
    workdirs.write_config(workdir, config)
  for name, own in arms.configs(config).items():
    console.print(f'Arm {name}:')
    if not run_study(own, arms.workdir(workdir, name), dry_run) and not dry_run:
      return False
  if not dry_run:
    path = arms_report.write(workdir)
    methods.write(workdir)
    console.print(f'Report of all arms: {path}', soft_wrap=True)
  return True


def _check(config: ConfigDict, workdir: Path) -> None:
  """Raises ConfigError where a valid configuration does not fit its data or its model.

  A study that has begun did.
  """
  if (workdir / 'config.json').exists():
    return
  dataset = data.load(config.data, config.seed)
  study = plan.make_plan(config, len(dataset.train.labels))
  stage_run.check(config, dataset, study, lambda _: None)


def _run_one(config: ConfigDict, workdir: Path, dry_run: bool) -> bool:
  console = make_console()
  dataset = data.load(config.data, config.seed)
  recorded = execution.read(workdir)
  workdirs.refuse_another(workdir, config)
  if recorded and not dry_run and workdirs.is_finished(workdir, config, dataset, recorded, console):
    return True
  chosen = execution.choose(config, dataset, recorded, console.print)
  study = plan.make_plan(config, len(dataset.train.labels), chosen.micro_batches)
  stage_run.check(config, dataset, study, console.print)
  if dry_run:
    groups = program.create(config, dataset, study, chosen.strategies)
    on_device = DeviceData(dataset, config, study)
    bytes_per_lane = {g.group.index: memory.bytes_per_lane(g, on_device) for g in groups}
    _say_plan(console, study, chosen, bytes_per_lane)
    return True
  workdirs.claim(workdir, config, study)
  execution.write(workdir, chosen)
  if not (workdir / 'data.json').exists():
    records.write_json(workdir / 'data.json', data_facts(config, dataset, study))
  _say_plan(console, study, chosen)
  weights = arms.lent_weights(config, workdir)
  return Study(config, workdir, dataset, study, chosen, console, weights).run()


def _say_plan(
  console: Console,
  study: plan.Plan,
  chosen: execution.Execution,
  bytes_per_lane: dict[int, int] | None = None,
) -> None:
  of_stages = plan_table.stages_table(study)
  console.print(plan_table.table(study, bytes_per_lane), *chosen.lines(), sep='\n')
  if of_stages:
    console.print(of_stages)
