"""Batch size doubled: learning rate kept, times the square root of two, or doubled?

2 arms x 15 settings x 5 trials = 150 lanes: two architectures, narrow enough for a CPU, on 2,048
images of CIFAR-10. Each arm is a study of its own, with batch sizes 32, 64 and 128; three learning
rates given at 32 are carried to the others by all three rules. All arms share the seed, so their
trials are paired. Every batch size is also run alone, for its memory and speed. Results and time on
two CPU cores: experiments/scaling_rule.

  python -m bsjax.main --config=configs/scaling_rule.py --workdir=runs/scaling_rule

On an accelerator all of CIFAR-10 and one architecture at its usual width, here the second:

  python -m bsjax.main --config=configs/scaling_rule.py --workdir=runs/resnet8 \\
    --config.arms.order=resnet8 --config.arms.resnet8.model.width=16 \\
    --config.data.train_examples=0 --config.epochs=30
"""

from bsjax.config.keys import base_config
from bsjax.plan import arms

ARMS = ('cnn', 'resnet8')


def get_config():
  config = base_config()
  config.batch_sizes = (32, 64, 128)
  config.learning_rates = (0.02, 0.04, 0.08)  # at batch size 32
  config.scaling.rule = 'none,sqrt,linear'
  config.scaling.base_batch_size = 32
  config.trials = 5
  config.epochs = 6.0
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
  for name in ARMS:
    arms.add(config, name, {'model': {'name': name, 'width': 8}})
  return config
