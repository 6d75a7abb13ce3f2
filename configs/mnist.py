"""Which batch size, at which learning rate, on MNIST with a small CNN?

7 batch sizes x 5 learning rates x 3 trials = 105 lanes of two convolutions with GroupNorm. Cost:
not measured. TFDS downloads the set, which needs TensorFlow the first time.

  python -m bsjax.main --config=configs/mnist.py --workdir=runs/mnist
"""

from bsjax.config.keys import base_config


def get_config():
  config = base_config()
  config.batch_sizes = (16, 32, 64, 128, 256, 512, 1024)
  config.learning_rates = (0.003, 0.01, 0.03, 0.1, 0.3)
  config.trials = 3
  config.epochs = 5.0
  config.evaluations = 10
  config.data.source = 'tfds'
  config.data.name = 'mnist'
  config.data.validation_share = 0.1
  config.model.name = 'cnn'
  config.model.normalization = 'group'
  config.schedule.name = 'cosine'
  return config
