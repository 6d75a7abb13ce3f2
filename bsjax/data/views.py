"""A data set as a stage sees it: its share of the examples, its image size."""

import dataclasses

import numpy as np
from jaxtyping import Int
from PIL import Image

from bsjax.data import Dataset, Split
from bsjax.data.stratify import stratified
from bsjax.plan.stages import Stage


def examples_in_use(
  stage: Stage, labels: Int[np.ndarray, ' example'], seed: int
) -> Int[np.ndarray, ' used'] | None:
  """Returns the training examples of a stage's share, or None for all of them."""
  count = stage.share(len(labels))
  return None if count == len(labels) else stratified(labels, count, seed)


def view(dataset: Dataset, stage: Stage) -> Dataset:
  """Returns the data set with images of the stage's size; all its examples stay."""
  size = stage.image_size
  if not size or dataset.mean is None or dataset.image_shape[:2] == (size, size):
    return dataset
  train, validation = (
    Split(_resized(split.images, size), split.labels)
    for split in (dataset.train, dataset.validation)
  )
  return dataclasses.replace(dataset, train=train, validation=validation)


def _resized(images: np.ndarray, size: int) -> np.ndarray:
  """Bilinear, over all the pixels that a new one covers."""
  out = np.empty((len(images), size, size, images.shape[-1]), np.uint8)
  for i, image in enumerate(images):
    plain = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    out[i] = np.asarray(plain.resize((size, size), Image.Resampling.BILINEAR)).reshape(out[i].shape)
  return out
