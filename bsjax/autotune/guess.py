"""How long training should take by its arithmetic alone, before anything is compiled."""

import functools

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from bsjax.data import Dataset
from bsjax.engine import arithmetic, lanes
from bsjax.engine.lanes import Weights, blank, shapes_of
from bsjax.engine.own import CONFIGS, Own
from bsjax.engine.spec import lane_spec, shapes
from bsjax.engine.strategies import STRATEGIES
from bsjax.plan.lanes import StudyPlan

# What lanes reach on a core of a CPU (experiments/speed): products and sums per second, and the
# seconds that a tick of a lane takes however little it computes.
RATE, TICK = 3e10, 5e-5


def seconds(
  config: ConfigDict, dataset: Dataset, study_plan: StudyPlan, cores: int, own: Own = CONFIGS
) -> float:
  """Returns the seconds that training takes on so many cores of a CPU, by its gradients alone."""
  each = example_flops(config, dataset, study_plan, own) / RATE
  micro_batches = [study_plan.micro_batches[lane.batch_size] for lane in study_plan.lanes]
  per_example = sum(max(each, TICK / micro) for micro in micro_batches)
  return study_plan.total_examples * per_example / cores


def example_flops(
  config: ConfigDict, dataset: Dataset, study_plan: StudyPlan, own: Own = CONFIGS
) -> float:
  """Returns the products and sums of a lane's gradient, for each example of a micro-batch."""
  first = study_plan.first
  group = first.groups[0]
  spec = lane_spec(config, dataset, first, group, STRATEGIES['map-native'], own)
  variables = shapes(spec.model, dataset)
  weights = Weights(variables['params'], variables.get('batch_stats', {}))
  inputs = jax.eval_shape(lambda: blank(dataset.image_shape))
  images, targets = shapes_of((inputs, dataset.train.labels), group.micro_batch)
  number = jax.ShapeDtypeStruct((), jnp.int32)
  traced = jax.make_jaxpr(functools.partial(lanes.gradients, spec))(
    weights, number, number, images, targets
  )
  return arithmetic.flops(traced.jaxpr) / group.micro_batch
