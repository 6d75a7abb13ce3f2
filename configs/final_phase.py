"""Shrink, keep or grow the batch size in the last phase, at its low learning rate?

2 arms x 3 branches x 24 trials = 144 lanes: a small CNN with GroupNorm on 6,400 images of
CIFAR-10, six epochs at batch size 64, then three at a tenth of the learning rate and batch size
16, 64 or 256; all parameters are trained to the end, or in the last phase all but those of the
first layers. Branches are alike until the last phase, and so are arms. At the end each batch size
of both stages is run alone, to measure what it costs in time and memory.

  python -m bsjax.main --config=configs/final_phase.py --workdir=runs/final_phase

On an accelerator the whole set, a ResNet-18 and 30 epochs:

  python -m bsjax.main --config=configs/final_phase.py --workdir=runs/final_phase \\
    --config.model.name=resnet18 --config.model.width=64 --config.data.train_examples=0 \\
    --config.stages.main.epochs=20 --config.stages.last.epochs=10 \\
    --config.arms.freeze_early.stages.last.trainable=Block_7,Dense_0
"""

from bsjax.config.keys import base_config
from bsjax.plan import arms, stages


def get_config():
  config = base_config()
  config.batch_sizes = (64,)
  config.learning_rates = (0.1,)
  config.trials = 24
  config.evaluations = 6
  config.data.source = 'tfds'
  config.data.name = 'cifar10'
  config.data.train_examples = 6_400
  config.data.validation_share = 0.1
  config.data.flip = True
  config.model.name = 'cnn'
  config.model.width = 8
  config.native_cost.measure = True
  stages.add(config, 'main', epochs=6.0)
  rules = ('keep', 'multiply:0.25', 'multiply:4')
  stages.add(config, 'last', epochs=3.0, batch_size=rules, learning_rate_factor=0.1)
  arms.add(config, 'train_all', {})
  arms.add(config, 'freeze_early', {'stages': {'last': {'trainable': ('Dense_0', 'Dense_1')}}})
  return config
