"""Whether the stages of a study fit its model, before anything is compiled."""

from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict
from rich.table import Table

from bsjax.config.errors import ConfigError
from bsjax.data import Dataset, views
from bsjax.engine import memory
from bsjax.engine.device_data import study_devices
from bsjax.engine.own import CONFIGS, Own
from bsjax.engine.own import check as check_own
from bsjax.engine.spec import lane_spec, shapes
from bsjax.optim import freezing
from bsjax.plan.lanes import StudyPlan


def check(
  config: ConfigDict, dataset: Dataset, study_plan: StudyPlan, own: Own = CONFIGS
) -> list[Table]:
  """Returns what each stage freezes; raises ConfigError where a stage does not fit the model.

  Nothing is compiled.
  """
  check_own(own, dataset, config)
  tables, first_shapes = [], None
  for stage_plan in study_plan.stages:
    stage, view = stage_plan.stage, views.view(dataset, stage_plan.stage)
    spec = lane_spec(config, view, stage_plan, stage_plan.groups[0], own=own)
    study_devices(config, stage_plan)
    params = shapes(spec.model, view)['params']
    memory.refuse_too_large(params, len(stage_plan.lanes), config.execution.devices)
    flat = {path: leaf.shape for path, leaf in flatten_dict(params, sep='/').items()}
    first_shapes = first_shapes or flat
    differing = sorted(path for path in flat if flat[path] != first_shapes.get(path))
    if differing:
      path = differing[0]
      raise ConfigError(
        f'stages.{stage.name}.image_size={stage.image_size} changes the shape of {path} from '
        f'{first_shapes.get(path)} to {flat[path]}: this model has parameters for every pixel; '
        'choose one that pools over pixels, or one image size',
        f'stages.{stage.name}.image_size',
      )
    if spec.trainable is not None:
      norms = getattr(spec.model, 'frozen_norms', frozenset())
      title = f'What stage {stage.name} trains'
      tables.append(freezing.table(params, spec.trainable, title, norms))
  return tables
