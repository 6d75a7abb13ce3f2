"""Batch size changed under AdamW: which rule for its hyperparameters keeps training as it was?

3 rules x 3 batch sizes x 7 learning rates x 5 trials = 315 lanes of a small MLP on scikit-learn's
digits, in one program: b1, b2 and eps are numbers of each lane. They are given at batch size 32 and
kept at 8 and 128, changed to hold half-lives in examples (Marek et al. 2025), or changed by the
square-root rule of Malladi et al. (2022). Each rule has the whole grid of learning rates at each
batch size, so that rules are compared at their best rates.

  python -m bsjax.main --config=configs/rule_tournament.py --workdir=runs/rule_tournament
"""

from bsjax.config.keys import base_config


def get_config():
  config = base_config()
  config.batch_sizes = (8, 32, 128)
  config.learning_rates = tuple(0.0005 * 2**i for i in range(7))
  config.scaling.hyperparameters = 'keep,half_life,adam_sqrt'
  config.scaling.base_batch_size = 32
  config.trials = 5
  config.epochs = 30.0
  config.evaluations = 16
  config.optimizer.name = 'adamw'
  config.optimizer.b2 = 0.99
  config.optimizer.weight_decay = 0.01
  config.schedule.name = 'cosine'
  config.data.source = 'digits'
  config.model.name = 'mlp'
  config.model.width = 64
  config.model.normalization = 'none'
  config.micro_batch = 8  # fixed, though not the fastest, so that the published numbers come back
  return config
