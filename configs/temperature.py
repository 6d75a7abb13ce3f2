"""Is the best batch size proportional to the learning rate? Smith and Le 2018, on 1,000 digits.

12 batch sizes x 5 learning rates x 6 trials = 360 lanes of one hidden layer of 800 units on MNIST,
plain SGD at constant learning rates. Results and cost on two CPU cores: experiments/temperature.

  python -m bsjax.main --config=configs/temperature.py --workdir=runs/temperature
"""

from bsjax.config.keys import base_config


def get_config():
  config = base_config()
  config.batch_sizes = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
  config.learning_rates = (0.03125, 0.0625, 0.125, 0.25, 0.5)
  config.trials = 6
  config.epochs = 10.0
  config.evaluations = 2
  config.micro_batch = 'batch'  # wide layers: a tick costs hardly more for more examples
  config.data.source = 'tfds'
  config.data.name = 'mnist'
  config.data.train_examples = 1_000
  config.data.validation_share = 0.05  # 3,000 digits
  config.model.name = 'mlp'
  config.model.width = 800
  config.model.depth = 1
  config.model.normalization = 'none'
  config.optimizer.momentum = 0.0
  config.noise_scale.probe_every = 0
  return config
