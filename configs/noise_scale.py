"""How does the gradient noise scale grow while a CNN without normalization learns MNIST?

2 batch sizes x 8 trials = 16 lanes of a small CNN, five epochs of 12,000 digits. Every lane
measures its noise in every update, and at every evaluation from single examples too, whole and by
layer.
Results and cost on two CPU cores: experiments/noise_scale.

  python -m bsjax.main --config=configs/noise_scale.py --workdir=runs/noise_scale
"""

from bsjax.config.keys import base_config


def get_config():
  config = base_config()
  config.batch_sizes = (32, 128)
  config.learning_rates = (0.05,)
  config.trials = 8
  config.epochs = 5.0
  config.evaluations = 32
  config.micro_batch = 8
  config.data.source = 'tfds'
  config.data.name = 'mnist'
  config.data.train_examples = 12_000
  config.data.validation_share = 1 / 30  # 2,000 digits
  config.model.name = 'cnn'
  config.model.width = 8
  config.model.normalization = 'none'
  config.optimizer.momentum = 0.0
  config.noise_scale.every, config.noise_scale.probe_every = 1, 16
  config.noise_scale.exact_examples = 1024
  return config
