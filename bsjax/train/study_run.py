"""Runs a study to its end: one, one after those it takes its weights from, or several arms."""

from pathlib import Path

from ml_collections import ConfigDict
from rich.console import Console

from bsjax import data
from bsjax.autotune import execution
from bsjax.config.errors import ConfigError
from bsjax.console import make_console
from bsjax.data.facts import data_facts
from bsjax.engine import device_lanes, memory
from bsjax.engine.device_data import DeviceData
from bsjax.engine.validate import validate
from bsjax.plan import arms, plan, table
from bsjax.report import arms_page, methods, study_page
from bsjax.storage import records, workdirs
from bsjax.storage.workdirs import write_config
from bsjax.train import stage_run, transfer
from bsjax.train.loop import Study


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
    path = arms_page.write(workdir)
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
  if recorded and not dry_run and is_finished(workdir, config, dataset, recorded, console):
    return True
  chosen = execution.choose(config, dataset, recorded, console.print)
  study = plan.make_plan(config, len(dataset.train.labels), chosen.micro_batches)
  stage_run.check(config, dataset, study, console.print)
  if dry_run:
    groups = device_lanes.create(config, dataset, study, chosen.strategies)
    on_device = DeviceData(dataset, config, study)
    bytes_per_lane = {g.group.index: memory.bytes_per_lane(g, on_device) for g in groups}
    _say_plan(console, study, chosen, bytes_per_lane)
    return True
  claim(workdir, config, study)
  execution.write(workdir, chosen)
  if not (workdir / 'data.json').exists():
    records.write_json(workdir / 'data.json', data_facts(config, dataset, study))
  _say_plan(console, study, chosen)
  weights = transfer.lent_weights(config, workdir)
  return Study(config, workdir, dataset, study, chosen, console, weights).run()


def _say_plan(
  console: Console,
  study: plan.Plan,
  chosen: execution.Execution,
  bytes_per_lane: dict[int, int] | None = None,
) -> None:
  of_stages = table.stages_table(study)
  console.print(table.table(study, bytes_per_lane), *chosen.lines(), sep='\n')
  if of_stages:
    console.print(of_stages)


def is_finished(
  workdir: Path,
  config: ConfigDict,
  dataset: data.Dataset,
  recorded: execution.Execution,
  console: Console,
) -> bool:
  """Whether nothing is left to do in a workdir; checks that it was begun with these data."""
  claim(workdir, config, plan.make_plan(config, len(dataset.train.labels), recorded.micro_batches))
  if not (workdir / 'summary.json').exists():
    return False
  path = workdir / 'report.html'
  console.print(f'This study is finished: {path if path.exists() else study_page.write(workdir)}')
  return True


def claim(workdir: Path, config: ConfigDict, study: plan.Plan) -> None:
  """Writes config and plan to a new workdir, or checks that an old one has this training set."""
  path = workdir / 'config.json'
  if not path.exists():
    workdir.mkdir(parents=True, exist_ok=True)
    records.write_plan(workdir / 'plan.csv', plan.lane_rows(study))
    write_config(workdir, config)
  elif records.read_plan(workdir / 'plan.csv') != plan.lane_rows(study):
    raise ConfigError(
      f'{workdir / "plan.csv"} was made for another training set than the one read now, of '
      f'{study.train_examples} examples; restore the data, or choose another --workdir'
    )
