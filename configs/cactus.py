"""Transfer to aerial images of cacti: which batch size generalizes, and is it the batch size?

A MobileNetV2 with BatchNorm is first trained on CIFAR-10 (10,000 images), then its weights are
lent to 4 batch sizes x 3 learning rates x 6 trials = 72 lanes: five epochs in which only the new
head is trained, with RMSprop, and six at a fifth of the rate in which the last layers are too.
3,840 images to train on, 3,500 to validate, stratified. BatchNorm sees whole batches. The report
compares batch sizes at epochs 8 and 11, at equal epochs and at equal updates, by running and by
re-estimated statistics. Results and time on two CPU cores: experiments/cactus.

  python -m bsjax.main --config=configs/cactus.py --workdir=runs/cactus \\
    --config.data.path=FOLDER_WITH_TRAIN_CSV

On an accelerator the published width, and all of CIFAR-10:

  python -m bsjax.main --config=configs/cactus.py --workdir=runs/cactus \\
    --config.data.path=FOLDER_WITH_TRAIN_CSV --config.model.width=32 \\
    --config.model.small_stride=8 --config.pretrain.data.train_examples=0 \\
    --config.pretrain.epochs=30
"""

import os

from ml_collections import ConfigDict

from bsjax.config.keys import base_config
from bsjax.plan import stages

LAST_LAYERS = ('InvertedResidual_14', 'InvertedResidual_15', 'InvertedResidual_16')
HEAD = ('Conv_1', 'BatchNorm_1', 'head')


def get_config():
  config = base_config()
  config.batch_sizes = (16, 32, 64, 128)
  config.learning_rates = (1e-4, 3e-4, 1e-3)
  config.trials = 6
  config.evaluations = 8
  config.micro_batch = 'batch'
  config.data.source = 'image_folder'
  config.data.path = os.path.join(os.environ.get('BSJAX_DATA_DIR', 'data'), 'aerial_cactus')
  config.data.validation_share = 0.2
  config.data.train_examples = 3_840
  config.model.name = 'mobilenet_v2'
  config.model.width = 16
  config.model.small_stride = 16
  config.model.normalization = 'batch'
  config.optimizer.name = 'rmsprop'
  config.optimizer.eps = 1e-7
  stages.add(config, 'head', epochs=5.0, trainable=('head',))
  last = (*LAST_LAYERS, *HEAD)
  stages.add(config, 'last', epochs=6.0, trainable=last, learning_rate_factor=0.2)
  config.report.epochs = (8.0, 11.0)
  with config.unlocked():
    config.pretrain = pretraining()
  return config


def pretraining():
  """What differs in the study that lends its weights."""
  return ConfigDict(
    {
      'batch_sizes': (32,),
      'learning_rates': (0.1,),
      'trials': 1,
      'epochs': 6.0,
      'evaluations': 2,
      'data': {'source': 'tfds', 'name': 'cifar10', 'path': '', 'train_examples': 10_000}
      | {'validation_share': 0.05, 'crop': 4, 'flip': True},
      'optimizer': {'name': 'sgd', 'nesterov': True, 'weight_decay': 5e-4},
      'schedule': {'name': 'cosine', 'warmup_epochs': 0.5},
      'report': {'epochs': ()},
    }
  )
