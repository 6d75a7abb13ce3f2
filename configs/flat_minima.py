"""Do large batches end in sharper minima, or have they only trained less? A small MLP on MNIST.

4 batch sizes x 3 learning rates x 5 trials = 60 lanes, 96 epochs of 2,000 digits; the grid holds
settings of equal learning rate and of equal learning rate per batch size. All evaluations are kept,
at epochs a factor of 1.6 apart, and the sharpness of every lane is measured at each of them.
Results and cost on two CPU cores: experiments/flat_minima.

  python -m bsjax.main --config=configs/flat_minima.py --workdir=runs/flat_minima
  python -m bsjax.sharpness --workdir=runs/flat_minima --checkpoint=all --examples=500 --steps=15 \\
    --starts=1 --probes=4
"""

from bsjax.config.keys import base_config


def get_config():
  config = base_config()
  config.batch_sizes = (16, 64, 256, 1024)
  config.learning_rates = (0.0125, 0.05, 0.2)
  config.trials = 5
  config.epochs = 96.0
  config.evaluations = 12
  config.report.epochs = tuple(96 / 1.6**k for k in range(11, 0, -1))
  config.data.source = 'tfds'
  config.data.name = 'mnist'
  config.data.train_examples = 2_000
  config.data.validation_share = 1 / 12  # 5,000 digits
  config.model.name = 'mlp'
  config.model.width = 64
  config.model.normalization = 'none'
  config.optimizer.momentum = 0.0
  config.micro_batch = 16  # fixed, though not the fastest, so that the published numbers come back
  config.checkpoint.keep_all = True
  return config
