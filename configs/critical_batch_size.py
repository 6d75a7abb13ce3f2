"""What is the critical batch size of a small MLP on MNIST, and do the noise scales predict it?

7 batch sizes x 10 learning rates x 4 trials = 280 lanes, ten epochs of 10,000 digits, plain SGD at
constant learning rates. Results and cost on two CPU cores: experiments/critical_batch_size.

  python -m bsjax.main --config=configs/critical_batch_size.py --workdir=runs/critical_batch_size
"""

from bsjax.config.keys import base_config


def get_config():
  config = base_config()
  config.batch_sizes = (8, 16, 32, 64, 128, 256, 512)
  config.learning_rates = (0.02, 0.032, 0.05, 0.08, 0.125, 0.2, 0.32, 0.5, 0.8, 1.25)
  config.trials = 4
  config.epochs = 10.0
  config.evaluations = 48
  config.data.source = 'tfds'
  config.data.name = 'mnist'
  config.data.train_examples = 10_000
  config.model.name = 'mlp'
  config.model.width = 64
  config.model.normalization = 'none'
  config.optimizer.momentum = 0.0
  config.micro_batch = 8  # fixed, though not the fastest, so that the published numbers come back
  config.noise_scale.every, config.noise_scale.probe_every = 1, 16
  config.noise_scale.exact_examples = 256
  config.noise_scale.curvature_blocks = 4
  return config
