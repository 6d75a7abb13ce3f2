"""Which batch size, at which learning rate, on handwritten digits?

6 batch sizes x 10 learning rates x 5 trials = 300 lanes of a small MLP on scikit-learn's 1,797
digits, real data that need no download.

  python -m bsjax.main --config=configs/digits.py --workdir=runs/digits
"""

from bsjax.config.keys import base_config


def get_config():
  config = base_config()
  config.batch_sizes = (8, 16, 32, 64, 128, 256)
  config.learning_rates = tuple(0.00125 * 2**i for i in range(10))
  config.trials = 5
  config.epochs = 30.0
  config.evaluations = 32
  config.noise_scale.probe_every = 4  # cheap here: only one batch size of six needs pairs
  config.noise_scale.exact_examples = 2048  # more than there are: all are taken, so it is exact
  config.micro_batch = 8  # fixed, though not the fastest, so that the published numbers come back
  config.noise_scale.every = 1
  config.data.source = 'digits'
  config.model.name = 'mlp'
  config.model.width = 64
  config.model.normalization = 'none'
  return config
