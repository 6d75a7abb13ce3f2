"""Does too small a batch hurt the rare classes? Long-tailed CIFAR-10, drawn evenly by class.

The most frequent class keeps 4,500 images and the rarest 45 (Cao et al. 2019); a batch is drawn
with the same chance for each class. 3 batch sizes x 3 learning rates x 8 trials = 72 lanes of
a small CNN with GroupNorm; the rates given at batch size 32 are scaled linearly, so that they lie
around the best of each. The report gives accuracy on rare, medium and frequent classes,
and the number of different classes in a batch. A light check, and the same study without the
weights:

  python -m bsjax.main --config=configs/long_tail.py --workdir=runs/long_tail
  python -m bsjax.main --config=configs/long_tail.py --workdir=runs/light --config.epochs=2
  python -m bsjax.main --config=configs/long_tail.py --workdir=runs/uniform \\
    --config.data.sampler=uniform

On an accelerator a ResNet and more epochs:

  python -m bsjax.main --config=configs/long_tail.py --workdir=runs/long_tail \\
    --config.model.name=resnet20 --config.model.width=16 --config.epochs=100 --config.data.crop=4
"""

from bsjax.config.keys import base_config


def get_config():
  config = base_config()
  config.batch_sizes = (8, 32, 128)
  config.learning_rates = (0.012, 0.024, 0.048)  # at batch size 32
  config.scaling.rule = 'linear'
  config.scaling.base_batch_size = 32
  config.trials = 8
  config.epochs = 4.0
  config.schedule.name = 'cosine'
  config.evaluations = 4
  config.data.source = 'tfds'
  config.data.name = 'cifar10'
  config.data.validation_share = 0.1
  config.data.imbalance_factor = 100.0
  config.data.sampler = 'inverse_frequency'
  config.data.flip = True
  config.model.name = 'cnn'
  config.model.width = 8
  config.model.normalization = 'group'
  config.optimizer.weight_decay = 5e-4
  return config
