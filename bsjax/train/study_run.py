"""Runs a study to its end: one training, one after another that lends it weights, or arms."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from bsjax import data
from bsjax.config.errors import ConfigError
from bsjax.config.metrics import judged_of, judging
from bsjax.console import make_console
from bsjax.engine import processes
from bsjax.engine.own import CONFIGS, Own, with_own
from bsjax.engine.validate import validate
from bsjax.plan import arms
from bsjax.plan.lanes import StudyPlan
from bsjax.storage import buckets, lock, shards, workdirs
from bsjax.storage.shards import Shard
from bsjax.storage.writers import Mirrors, Writer
from bsjax.train import finish, in_bucket, shard_run
from bsjax.train.training import Training
from bsjax.writers import chosen_by


def run_study(
  config: ConfigDict,
  workdir: str | Path,
  dry_run: bool = False,
  writers: Sequence[Writer] = (),
  shard: str = '',
  own: Own = CONFIGS,
) -> bool:
  """Trains a study to its end in `workdir`, from wherever an earlier call left it.

  Returns whether nothing is left to do. Raises ConfigError, before anything is compiled, when the
  configuration cannot run or is not the one that `workdir` was begun with. `writers` are told all
  that goes into records.jsonl. `shard` is 'i/n' where only this share of the lanes is to be trained
  here; the last shard to end makes one study of all. `own` is what comes from outside.
  """
  return StudyRun(config, workdir, writers, shard, own).run(dry_run)


class StudyRun:
  """The trainings of a study; a data set that several of them use is read once."""

  def __init__(
    self,
    config: ConfigDict,
    workdir: str | Path,
    writers: Sequence[Writer] = (),
    shard: str = '',
    own: Own = CONFIGS,
  ):
    """Raises ConfigError with all problems of the configuration at once."""
    self._shard = Shard.parse(shard) if shard else None
    if shard and config.evaluation.subset:
      raise ConfigError(
        f'--shard={shard}: rows of evaluation.subset={config.evaluation.subset} are not merged '
        'from shards; set it to 0',
        'evaluation.subset',
      )
    self.workdir = workdirs.local(workdir)
    if shard and buckets.of(self.workdir):
      raise ConfigError(
        f'--shard={shard}: the tasks of a job array need one disk, and {workdir} is in a bucket; '
        'give a --workdir that all of them see, or leave --shard out'
      )
    config, self.own = with_own(config, own), own
    processes.together(lambda: validate(config))
    self.config = config
    processes.first(lambda: buckets.fetch(self.workdir))
    self.mirrors, self.console = Mirrors(writers), make_console(processes.is_first())
    self._datasets: dict[tuple[str, int], data.Dataset] = {}
    self._trainings: dict[Path, Training] = {}
    self._target = ''  # the accelerator of a dry run, if not that at hand
    self._asked_to_stop = False  # also while a training was being finished

  def study_plan(self) -> StudyPlan:
    """Returns the plan of a study without arms, as it runs on this machine."""
    if self.config.arms.order:
      raise ConfigError(
        f'each arm has a plan of its own ({", ".join(self.config.arms.order)}): ask for that of '
        'an arm, with a config of bsjax.arms.configs(config)'
      )
    return self._training(self.config, self.workdir, self._shard).study_plan

  def run(self, dry_run: bool = False, target: str = '') -> bool:
    """Trains, or with `dry_run` prints what would be; returns whether nothing is left to do."""
    self._target = target
    if target and not dry_run:
      raise ConfigError(f'--target={target} says what would be there; add --dry_run')
    with judging(judged_of(self.config)), in_bucket.held(self.workdir, dry_run):
      return self._run_all(dry_run)

  def _run_all(self, dry_run: bool) -> bool:
    configs = self.check()
    for training in () if dry_run else self._trainings.values():
      if beyond := training.beyond_budget():
        raise ConfigError(beyond)
    workdir = self._shard.folder(self.workdir) if self._shard else self.workdir
    # What is wrong is said before there is a folder.
    with contextlib.nullcontext() if dry_run else self.held(workdir):
      for path, training in list(self._trainings.items()):
        if training.outdated():
          del self._trainings[path]
      if not configs:
        return self.train(self.config, self.workdir, dry_run, self._shard)
      return self._run_arms(configs, dry_run)

  def check(self) -> dict[str, ConfigDict]:
    """Reads data and plans what is to be trained; nothing is timed, compiled or written.

    Returns the config of each arm. Raises ConfigError where something cannot run.
    """
    configs = arms.configs(self.config)
    if configs:
      self._refuse_another(configs)
      for name, config in configs.items():
        self._check_arm(name, config)
    else:
      self._training(self.config, self.workdir, self._shard)
    return configs

  def _refuse_another(self, configs: Mapping[str, ConfigDict]) -> None:
    """Raises ConfigError where the workdir holds other arms, or an arm is divided otherwise."""
    processes.first(lambda: workdirs.refuse_another(self.workdir, self.config))
    for name in configs:
      arm = arms.workdir(self.workdir, name)
      processes.first(lambda arm=arm: shards.refuse_otherwise(arm, self._shard))

  @contextlib.contextmanager
  def held(self, workdir: Path) -> Iterator[None]:
    """Has the first process hold a workdir."""
    with contextlib.ExitStack() as stack:
      processes.first(lambda: stack.enter_context(lock.held(workdir)))
      yield

  def _turn(
    self, workdir: Path, configs: Mapping[str, ConfigDict]
  ) -> contextlib.AbstractContextManager[None]:
    """Keeps other shards out of a workdir that they share, where there are any."""
    if not self._shard:
      return contextlib.nullcontext()
    return shard_run.turn(workdir, self.console, lambda: self._refuse_another(configs))

  def _run_arms(self, configs: Mapping[str, ConfigDict], dry_run: bool) -> bool:
    if not dry_run:
      with self._turn(self.workdir, configs):
        processes.first(lambda: workdirs.write_config(self.workdir, self.config))
    for name, config in configs.items():
      if self._asked_to_stop:
        return False
      self.console.print(f'Arm {name}:')
      if not self.train(config, arms.workdir(self.workdir, name), dry_run, self._shard):
        return False
    if not dry_run:
      with self._turn(self.workdir, configs):
        self._report_arms(configs)
    return True

  def _report_arms(self, configs: Mapping[str, ConfigDict]) -> None:
    """Writes the page of all arms; the last of several shards does."""
    summaries = [arms.workdir(self.workdir, name) / 'summary.json' for name in configs]
    if processes.first(lambda: all(path.exists() for path in summaries)):
      path = processes.first(lambda: finish.write_report(self.workdir))
      self.console.print(f'Report of all arms: {path}', soft_wrap=True)

  def train(self, config: ConfigDict, workdir: Path, dry_run: bool, shard: Shard | None) -> bool:
    """Runs one training, after that which lends it its weights; returns whether nothing is left."""
    training = self._training(
      config, workdir, shard
    )  # what is wrong must not wait for the lender to end
    lender = arms.pretraining(config)
    if lender and not self._pretrain(lender, workdir / arms.PRETRAIN, dry_run):
      return False
    if self._asked_to_stop:
      return False
    if dry_run:
      training.show(self._target)
      return True
    told = Mirrors([self.mirrors, *chosen_by(config, self.workdir, workdir)])
    done = self._trainings.pop(workdir).run(told)
    self._asked_to_stop |= training.asked_to_stop
    return done

  def _pretrain(self, config: ConfigDict, workdir: Path, dry_run: bool) -> bool:
    """Runs the training that lends its weights, undivided; of several shards one does."""
    if dry_run:
      return self.train(config, workdir, dry_run, None)
    with self._turn(workdir, {}) if self._shard else self.held(workdir):
      return self.train(config, workdir, dry_run, None)

  def _check_arm(self, name: str, config: ConfigDict) -> None:
    """Raises ConfigError where an arm does not fit data or model, as one that has begun did."""
    workdir = arms.workdir(self.workdir, name)
    if processes.first((workdir / 'config.json').exists):
      return
    try:
      self._training(config, workdir, self._shard)
    except (ConfigError, data.DataError) as error:
      where = f'arms.{name}'
      problems = [one.within(f'arm {name}: ', where) for one in error.problems]
      raise ConfigError.of(problems) from None

  def _training(self, config: ConfigDict, workdir: Path, shard: Shard | None = None) -> Training:
    """The training of a workdir, known to fit its data and, before it has begun, its model."""
    if workdir not in self._trainings:
      dataset = self.dataset(config)
      training = Training(config, workdir, dataset, self.console, shard, self.own)
      if not training.recorded:
        training.check()
      self._trainings[workdir] = training
    return self._trainings[workdir]

  def dataset(self, config: ConfigDict) -> data.Dataset:
    """Returns the data set of a config, read once."""
    if self.own.data is not None:
      return self.own.data
    key = config.data.to_json(), config.seed
    if key not in self._datasets:
      self._datasets[key] = processes.together(lambda: data.load(config.data, config.seed))
    return self._datasets[key]
