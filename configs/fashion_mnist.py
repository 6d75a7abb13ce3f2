"""Is batch size 128 really better than 512 and 1024, or only its learning rate?

Fashion-MNIST with a small CNN and AdamW; a tenth of the training data, stratified by class, is held
out. Every learning rate of the grid is given at batch size 128 and carried to 512 and 1024
unchanged, with the square root, and linearly: the report compares 128 with the others at rates
fixed, scaled and tuned, at equal epochs and equal updates. Rates are
constant, so that runs compared at equal updates stand at the same place of their schedule. 3 rates
at 128, 5 at 512, 9 at 1024, 4 trials = 68 lanes; time on two CPU cores: experiments/cifar10_128.
TFDS downloads the set, which needs TensorFlow the first time.

  python -m bsjax.main --config=configs/fashion_mnist.py --workdir=runs/fashion_mnist

The same study on CIFAR-10:

  python -m bsjax.main --config=configs/fashion_mnist.py --workdir=runs/cifar10_128 \\
    --config.data.name=cifar10
"""

from bsjax.config.keys import base_config


def get_config():
  config = base_config()
  config.batch_sizes = (128, 512, 1024)
  config.learning_rates = (0.002, 0.004, 0.008)  # at batch size 128
  config.scaling.rule = 'none,sqrt,linear'
  config.scaling.base_batch_size = 128
  config.trials = 4
  config.epochs = 4.0
  config.evaluations = 5
  config.data.source = 'tfds'
  config.data.name = 'fashion_mnist'
  config.data.train_examples = 10_240
  config.data.validation_share = 0.1
  config.data.flip = True
  config.model.name = 'cnn'
  config.model.width = 8
  config.model.normalization = 'group'
  config.optimizer.name = 'adamw'
  config.optimizer.weight_decay = 0.01
  config.evaluation.batch_size = 1024  # examples at a time, whatever a lane trains with
  return config
