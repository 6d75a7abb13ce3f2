"""Batch size doubled: learning rate kept, times the square root of two, or doubled?

6 arms x 7 settings x 3 trials = 126 lanes: six architectures, narrow enough for a CPU, on 2,048
images of CIFAR-10. Each arm is a study of its own, with batch sizes 32, 64 and 128; the learning
rate given at 32 is carried to the others by all three rules. All arms share the seed, so their
trials are paired. Every batch size is also run alone, for its memory and speed.

  python -m bsjax.main --config=configs/scaling_rule.py --workdir=runs/scaling_rule

On an accelerator all of CIFAR-10 and one architecture at its usual width, here the first:

  python -m bsjax.main --config=configs/scaling_rule.py --workdir=runs/resnet18 \\
    --config.arms.order=resnet18 --config.arms.resnet18.model.width=64 \\
    --config.data.train_examples=0 --config.epochs=30
"""

from bsjax.config.keys import base_config
from bsjax.plan import arms

# Name of the model -> its width and total stride, and the learning rate at batch size 32.
ARMS = {
  'resnet18': (8, 0, 0.02),
  'vgg16': (8, 0, 0.01),
  'vgg11': (8, 0, 0.01),
  'efficientnet_b0': (8, 32, 0.02),
  'vit_tiny': (64, 8, 0.01),
  'mobilenet_v2': (8, 32, 0.02),
}


def get_config():
  config = base_config()
  config.batch_sizes = (32, 64, 128)
  config.scaling.rule = 'none,sqrt,linear'
  config.scaling.base_batch_size = 32
  config.trials = 3
  config.epochs = 4.0
  config.evaluations = 4
  config.data.source = 'tfds'
  config.data.name = 'cifar10'
  config.data.train_examples = 2_048
  config.data.validation_share = 0.04
  config.data.flip = True
  config.model.normalization = 'group'
  config.schedule.name = 'cosine'
  config.schedule.warmup_epochs = 0.5
  config.native_cost.measure = True
  for name, (width, stride, rate) in ARMS.items():
    model = {'name': name, 'width': width, 'small_stride': stride}
    arms.add(config, name, {'model': model, 'learning_rates': (rate,)})
  return config
