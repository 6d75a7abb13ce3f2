"""Which batch size, at which learning rate, on CIFAR-10 with a ResNet?

7 batch sizes x 5 learning rates x 3 trials = 105 lanes of a ResNet-20 with GroupNorm. Needs an
accelerator; on an H100 a tick of its lanes takes 30 ms (experiments/speed), so training would take
42 minutes; a whole run was not measured. Two lanes of a small CNN for two CPU cores, 3 epochs
in 7 minutes, validation accuracy 0.744 (one trial, seed 0, see experiments/cifar):

  python -m bsjax.main --config=configs/cifar.py --workdir=runs/cifar \\
    --config.model.name=cnn --config.batch_sizes=16,64 --config.learning_rates=0.05 \\
    --config.trials=1 --config.epochs=3 --config.evaluations=3 --config.data.crop=0 \\
    --config.schedule.warmup_epochs=0.2
"""

from bsjax.config.keys import base_config


def get_config():
  config = base_config()
  config.batch_sizes = (16, 32, 64, 128, 256, 512, 1024)
  config.learning_rates = (0.01, 0.03, 0.1, 0.3, 1.0)
  config.trials = 3
  config.epochs = 30.0
  config.evaluations = 15
  config.data.source = 'tfds'
  config.data.name = 'cifar10'
  config.data.validation_share = 0.1
  config.data.crop = 4
  config.data.flip = True
  config.model.name = 'resnet20'
  config.model.normalization = 'group'
  config.optimizer.nesterov = True
  config.optimizer.weight_decay = 5e-4
  config.schedule.name = 'cosine'
  config.schedule.warmup_epochs = 1.0
  return config
