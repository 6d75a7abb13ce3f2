"""Is batch size 32 good enough, among 16, 32 and 64? A light check on long-tailed CIFAR-10.

The most frequent class keeps 4,500 images and the rarest 45 (Cao et al. 2019); a batch is drawn
with the same chance for each class, as in long_tail.py. 3 batch sizes x 3 learning rates x
2 trials = 18 lanes of a small CNN are the first round; others follow until each other batch size is
shown to be worse than the best one or within two points of it. The check may take 30 minutes; then
it says what a decision would take.

  python -m bsjax.main --config=configs/light_check.py --workdir=runs/light_check
"""

from bsjax.config.keys import base_config


def get_config():
  config = base_config()
  config.batch_sizes = (16, 32, 64)
  config.learning_rates = (0.01, 0.03, 0.1)
  config.trials = 2
  config.epochs = 2.0
  config.evaluations = 2
  config.noise_scale.online = False
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
  config.decide.question = 'best_batch_size'
  config.decide.margin = 0.02  # two points of accuracy
  config.decide.budget = 30.0
  config.decide.budget_unit = 'minutes'
  return config
