"""The content of data.json: what the analysis wants to know of the data of a study."""

from typing import Any

import jax.numpy as jnp
from ml_collections import ConfigDict

from bsjax.data import Dataset, doubts, sampler, stream, views
from bsjax.plan.lanes import StudyPlan


def data_facts(config: ConfigDict, dataset: Dataset, study: StudyPlan) -> dict[str, Any]:
  """Names and counts of the classes, and how many of them the batches of a study hold.

  {'fingerprint', 'class_names', 'class_counts': {split: [count]}, 'copies': {kind: count},
  'doubts': [sentence], 'classes_per_batch': [row]} with the rows of `sampler.distinct_classes`;
  where there are several stages each row has its 'stage', and batch sizes are those foreseen.
  Without classes nothing is said of them.
  """
  about = {
    'fingerprint': dataset.fingerprint(),
    'copies': doubts.copies(dataset)._asdict(),
    'doubts': doubts.doubts(dataset),
  }
  if not dataset.class_names:
    return about
  labels, trials = dataset.train.labels, range(config.trials)
  rows = []
  for part in study.stages:
    stage = {'stage': part.stage.index} if len(study.stages) > 1 else {}
    indices = views.examples_in_use(part.stage, labels, config.seed)
    distinct = sampler.distinct_classes(
      sampler.create(config.data, labels, indices),
      labels,
      [stream.stream_key(config.seed, jnp.int32(trial), part.stream) for trial in trials],
      sorted({lane.batch_size for lane in part.lanes}),
      (part.start - part.origin, part.end - part.origin),
      part.train_examples,
    )
    rows += [stage | row for row in distinct]
  return {
    'class_names': list(dataset.class_names),
    'class_counts': dataset.class_counts(),
    **about,
    'classes_per_batch': rows,
  }
