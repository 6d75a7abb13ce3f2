"""Batch size doubled: learning rate kept, times the square root of two, or doubled?

Six architectures, narrow enough for a CPU, on a subset of CIFAR-10: each is a study of its own, with
batch sizes 32, 64 and 128 and every learning rate, given at 32, carried to the others by all three
rules. All arms share the seed, so their trials are paired. Cost: not measured.

  python -m bsjax.main --config=configs/scaling_rule.py --workdir=runs/scaling_rule
"""

from ml_collections import ConfigDict

from bsjax.config import base_config

# Name of the model -> width and, at batch size 32, the learning rates of SGD with momentum.
ARMS = {
  'resnet18': (8, (0.02, 0.08)),
  'vgg16': (8, (0.01, 0.04)),
  'vgg11': (8, (0.01, 0.04)),
  'efficientnet_b0': (8, (0.02, 0.08)),
  'vit_tiny': (48, (0.005, 0.02)),
  'mobilenet_v2': (8, (0.02, 0.08)),
}


def get_config():
  config = base_config()
  config.batch_sizes = (32, 64, 128)
  config.scaling.rule = 'none,sqrt,linear'
  config.scaling.base_batch_size = 32
  config.trials = 4
  config.epochs = 6.0
  config.evaluations = 12
  config.data.source = 'tfds'
  config.data.name = 'cifar10'
  config.data.train_examples = 5_120
  config.data.validation_share = 0.1
  config.data.flip = True
  config.model.normalization = 'group'
  config.optimizer.weight_decay = 5e-4
  config.schedule.name = 'cosine'
  config.schedule.warmup_epochs = 0.5
  config.arms.order = tuple(ARMS)
  for name, (width, rates) in ARMS.items():
    model = ConfigDict({'name': name, 'width': width})
    config.arms[name] = ConfigDict({'model': model, 'learning_rates': rates})
  return config
