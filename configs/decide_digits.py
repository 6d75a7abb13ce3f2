"""Which batch size is best on handwritten digits? Asked until it is decided, in rounds.

It begins with 4 batch sizes x 4 learning rates x 3 trials = 48 lanes of a small MLP on
scikit-learn's 1,797 digits, and goes on by itself: learning rates where a best one is at the edge,
more trials of the batch sizes that are not told apart, until each other batch size is shown to be
worse than the best or within a point of it. All looks together err in at most 5% of studies.
Minutes on two cores:

  python -m bsjax.main --config=configs/decide_digits.py --workdir=runs/decide_digits

Another question, with a bound on what it may take:

  python -m bsjax.main --config=configs/decide_digits.py --workdir=runs/pair \\
    --config.decide.question=equivalent:16,32 --config.decide.budget=2 \\
    --config.decide.budget_unit=minutes
"""

from bsjax.config.keys import base_config


def get_config():
  config = base_config()
  config.batch_sizes = (16, 32, 64, 256)
  config.learning_rates = (0.02, 0.04, 0.08, 0.16)
  config.trials = 3
  config.epochs = 15.0
  config.evaluations = 4
  config.micro_batch = 16
  config.noise_scale.online = False
  config.data.source = 'digits'
  config.model.name = 'mlp'
  config.model.width = 64
  config.model.normalization = 'none'
  config.decide.question = 'best_batch_size'
  config.decide.margin = 0.01  # a point of accuracy
  config.decide.most_trials = 40
  return config
