"""Source 'digits': scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, values 0 to 16."""

import numpy as np
from ml_collections import ConfigDict

from bsjax.data.dataset import Raw


def read(config: ConfigDict, split: str) -> Raw:
  from sklearn.datasets import load_digits  # takes over a second to import

  digits = load_digits()
  return Raw(digits.images.astype(np.uint8)[..., None], digits.target)
