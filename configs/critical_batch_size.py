"""What is the critical batch size of a small MLP on MNIST, and do the noise scales predict it?

8 batch sizes x 8 learning rates x 4 trials = 256 lanes, ten epochs of 10,000 digits, plain SGD at
constant learning rates. Results and cost on two CPU cores: experiments/critical_batch_size.

  python -m bsjax.main --config=configs/critical_batch_size.py --workdir=runs/critical_batch_size
"""

from bsjax.config.keys import base_config


def get_config():
  config = base_config()
  config.batch_sizes = (8, 16, 32, 64, 128, 256, 512, 1024)
  config.learning_rates = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)
  config.trials = 4
  config.epochs = 10.0
  config.evaluations = 24
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
