"""How does the gradient noise scale grow while a CNN without normalization learns MNIST?

2 batch sizes x 5 trials = 10 lanes of a small CNN, six epochs of 20,000 digits. Every lane measures
its noise while it trains, and 13 times from single examples: whole, by layer and weighted by the
curvature. Results and cost on two CPU cores: experiments/noise_scale.

  python -m bsjax.main --config=configs/noise_scale.py --workdir=runs/noise_scale
"""

from bsjax.config.keys import base_config


def get_config():
  config = base_config()
  config.batch_sizes = (32, 128)
  config.learning_rates = (0.05,)
  config.trials = 5
  config.epochs = 6.0
  config.evaluations = 12
  config.micro_batch = 8
  config.data.source = 'tfds'
  config.data.name = 'mnist'
  config.data.validation = 'test'
  config.data.train_examples = 20_000
  config.model.name = 'cnn'
  config.model.width = 8
  config.model.normalization = 'none'
  config.optimizer.momentum = 0.0
  config.noise_scale.every, config.noise_scale.probe_every = 1, 16
  config.noise_scale.exact_examples = 1024
  config.noise_scale.curvature_blocks = 8
  return config
