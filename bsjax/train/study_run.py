"""Runs a study to its end: one training, one after another that lends it weights, or arms."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from bsjax import data
from bsjax.config.errors import ConfigError
from bsjax.console import make_console
from bsjax.engine import processes
from bsjax.engine.validate import validate
from bsjax.plan import arms, plan
from bsjax.storage import lock, workdirs
from bsjax.storage.writers import Mirrors, Writer
from bsjax.train import finish
from bsjax.train.training import Training
from bsjax.writers import chosen_by


def run_study(
  config: ConfigDict,
  workdir: str | Path,
  dry_run: bool = False,
  writers: Sequence[Writer] = (),
) -> bool:
  """Trains a study to its end in `workdir`, from wherever an earlier call left it.

  Returns whether nothing is left to do. Raises ConfigError, before anything is compiled, when the
  configuration cannot run or is not the one that `workdir` was begun with. `writers` are told all
  that goes into records.jsonl.
  """
  return StudyRun(config, workdir, writers).run(dry_run)


class StudyRun:
  """The trainings of a study; a data set that several of them use is read once."""

  def __init__(self, config: ConfigDict, workdir: str | Path, writers: Sequence[Writer] = ()):
    """Raises ConfigError with all problems of the configuration at once."""
    processes.together(lambda: validate(config))
    self.config, self.workdir = config, Path(workdir).expanduser()
    self._mirrors, self._console = Mirrors(writers), make_console(processes.is_first())
    self._datasets: dict[tuple[str, int], data.Dataset] = {}
    self._trainings: dict[Path, Training] = {}
    self._asked_to_stop = False  # also while a training was being finished

  def study_plan(self) -> plan.StudyPlan:
    """Returns the plan of a study without arms, as it runs on this machine."""
    if self.config.arms.order:
      raise ConfigError(
        f'each arm has a plan of its own ({", ".join(self.config.arms.order)}): ask for that of '
        'an arm, with a config of bsjax.arms.configs(config)'
      )
    return self._training(self.config, self.workdir).study_plan

  def run(self, dry_run: bool = False) -> bool:
    """Trains, or with `dry_run` prints what would be; returns whether nothing is left to do."""
    configs = self.check()
    # What is wrong is said before there is a folder.
    with contextlib.nullcontext() if dry_run else self._held():
      for path, training in list(self._trainings.items()):
        if training.outdated():
          del self._trainings[path]
      if not configs:
        return self._run(self.config, self.workdir, dry_run)
      return self._run_arms(configs, dry_run)

  def check(self) -> dict[str, ConfigDict]:
    """Reads data and plans what is to be trained; nothing is timed, compiled or written.

    Returns the config of each arm. Raises ConfigError where something cannot run.
    """
    configs = arms.configs(self.config)
    if configs:
      processes.first(lambda: workdirs.refuse_another(self.workdir, self.config))
      for name, config in configs.items():
        self._check_arm(name, config)
    else:
      self._training(self.config, self.workdir)
    return configs

  @contextlib.contextmanager
  def _held(self) -> Iterator[None]:
    """Has the first process hold the workdir."""
    with contextlib.ExitStack() as stack:
      processes.first(lambda: stack.enter_context(lock.held(self.workdir)))
      yield

  def _run_arms(self, configs: Mapping[str, ConfigDict], dry_run: bool) -> bool:
    if not dry_run:
      processes.first(lambda: workdirs.write_config(self.workdir, self.config))
    for name, config in configs.items():
      if self._asked_to_stop:
        return False
      self._console.print(f'Arm {name}:')
      if not self._run(config, arms.workdir(self.workdir, name), dry_run):
        return False
    if not dry_run:
      path = processes.first(lambda: finish.write_report(self.workdir))
      self._console.print(f'Report of all arms: {path}', soft_wrap=True)
    return True

  def _run(self, config: ConfigDict, workdir: Path, dry_run: bool) -> bool:
    """Runs one training, after that which lends it its weights, if there is one."""
    training = self._training(config, workdir)  # what is wrong must not wait for the lender to end
    lender = arms.pretraining(config)
    if lender and not self._run(lender, workdir / arms.PRETRAIN, dry_run):
      return False
    if self._asked_to_stop:
      return False
    if dry_run:
      training.show()
      return True
    told = Mirrors([self._mirrors, *chosen_by(config, self.workdir, workdir)])
    done = self._trainings.pop(workdir).run(told)
    self._asked_to_stop |= training.asked_to_stop
    return done

  def _check_arm(self, name: str, config: ConfigDict) -> None:
    """Raises ConfigError where an arm does not fit data or model, as one that has begun did."""
    workdir = arms.workdir(self.workdir, name)
    if processes.first((workdir / 'config.json').exists):
      return
    try:
      self._training(config, workdir)
    except ConfigError as error:
      raise ConfigError(f'arm {name}: {error}') from None

  def _training(self, config: ConfigDict, workdir: Path) -> Training:
    """The training of a workdir, known to fit its data and, before it has begun, its model."""
    if workdir not in self._trainings:
      training = Training(config, workdir, self._dataset(config), self._console)
      if not training.recorded:
        training.check()
      self._trainings[workdir] = training
    return self._trainings[workdir]

  def _dataset(self, config: ConfigDict) -> data.Dataset:
    key = config.data.to_json(), config.seed
    if key not in self._datasets:
      self._datasets[key] = processes.together(lambda: data.load(config.data, config.seed))
    return self._datasets[key]
