"""Every configuration key, once, with its meaning and unit, and the check of all of them."""

import math
from pathlib import Path

from ml_collections import ConfigDict, config_dict

from bsjax import arms, data, models, optimizer, replicate, sampler, stages
from bsjax.choices import ConfigError as ConfigError

FEWEST_EXACT = 32  # examples of which the spread of single gradients means something
FEWEST_BLOCKS = 4  # one Hessian, two gradients, and one to leave out


def base_config() -> ConfigDict:
  """Returns the configuration every study starts from; unknown keys are refused."""
  config = ConfigDict()
  config.seed = 0  # of everything random; a trial folds its number into it
  config.batch_sizes = (8, 16, 32, 64, 128, 256)  # examples an update
  config.learning_rates = (0.1,)  # every one with every batch size
  config.trials = 3  # repetitions of each setting, with another initialization and example order
  config.epochs = 30.0  # passes over the training set, the same for every lane
  config.evaluations = 15  # evenly placed on examples seen, the last at the end
  # Examples a tick: an integer that divides every batch size, 'batch' (a group of lanes and a
  # compiled program per batch size; BatchNorm then sees whole batches), or 'auto': what is fastest
  # on this machine, none above the largest common divisor (up to 32) that leaves fewer than
  # grouping.FEWEST_TICKS ticks an update; with BatchNorm, which sees it, that divisor. plan.csv
  # says which.
  config.micro_batch = config_dict.FieldReference('auto', field_type=object)

  config.data = ConfigDict()
  config.data.source = 'digits'  # digits, tfds, image_folder, npz
  config.data.name = ''  # of the TFDS set, such as 'cifar10'
  config.data.path = ''  # TFDS data_dir (empty: TFDS_DATA_DIR), image folder, or .npz file
  config.data.label_csv = 'train.csv'  # in an image folder: file name and label columns
  config.data.validation = 'split'  # a share of the training data, or a split's name such as 'test'
  config.data.validation_share = 0.2  # fraction of the training data, stratified by class
  config.data.train_examples = 0  # a stratified subset of so many of what is left; 0: all
  # A long tail, cut from the training data and not from those held out: class c of C, in order of
  # labels, keeps n * factor^(-c / (C - 1)) examples. The ratio of the first to the last; 1: none.
  config.data.imbalance_factor = 1.0
  config.data.max_per_class = 0  # training examples a class keeps, at most; 0: all
  # How examples are drawn: uniform (every one once an epoch), or with replacement and weighted by
  # class: inverse_frequency, effective_number (Cui et al. 2019).
  config.data.sampler = 'uniform'
  config.data.sampler_beta = 0.9999  # effective_number: 0 weighs examples alike, near 1 classes
  config.data.crop = 0  # pixels of padding before a random crop back to size; 0: none
  config.data.flip = False  # random left-right flips
  config.data.cache_dir = ''  # of decoded images; empty: the user's cache directory

  config.model = ConfigDict()
  # mlp, cnn, resnet8, resnet20, resnet18, resnet34, vgg11, vgg16, mobilenet_v2, efficientnet_b0,
  # vit_tiny, vit_small
  config.model.name = 'mlp'
  # Hidden units, channels of the first layer, or of a vit's tokens; 0: the model's usual.
  config.model.width = 0
  config.model.depth = 2  # hidden layers of the mlp
  # What mobilenet_v2 and efficientnet_b0 shrink images of up to 64 pixels by: 1, 2, 4, 8, 16 or, as
  # published, 32. Half as much costs up to 4 times.
  config.model.small_stride = 8
  config.model.normalization = 'group'  # group (LayerNorm in a vit), batch, none
  # Of the arithmetic of layers: float32; tf32, which multiplies with ten bits of the mantissa on
  # accelerators that can, and is float32 on a CPU; bfloat16. All else is float32 in each.
  config.model.dtype = 'float32'

  config.optimizer = ConfigDict()
  config.optimizer.name = 'sgd'  # sgd, adam, adamw, rmsprop, lars, lamb
  config.optimizer.momentum = 0.9  # sgd and lars
  config.optimizer.nesterov = False  # sgd, adam, adamw and lars
  config.optimizer.b1 = 0.9  # adam, adamw and lamb: decay of the first moment
  config.optimizer.b2 = 0.999  # adam, adamw and lamb: decay of the second moment
  config.optimizer.rmsprop_decay = 0.9  # of the mean square
  config.optimizer.rmsprop_momentum = 0.0
  config.optimizer.eps = 1e-8  # adam, adamw, lamb and rmsprop: added to the denominator
  config.optimizer.trust_coefficient = 0.001  # lars
  # adamw and lamb decay the weights themselves; the others add it to the gradient (L2).
  config.optimizer.weight_decay = 0.0
  config.optimizer.decay_all = False  # decay biases and normalization parameters too

  config.schedule = ConfigDict()
  config.schedule.name = 'constant'  # constant, cosine, step
  config.schedule.warmup_epochs = 0.0  # linear, from 0; epochs, so the same examples for every lane
  config.schedule.boundaries = (0.5, 0.75)  # step: shares of training after which it drops
  config.schedule.factor = 0.1  # step: what the learning rate is multiplied by

  config.scaling = ConfigDict()
  # How a learning rate given at base_batch_size changes with the batch size: none, linear, sqrt;
  # or several to compare, such as 'none,sqrt,linear': a batch size then gets the rates of each.
  config.scaling.rule = 'none'
  config.scaling.base_batch_size = 64  # examples

  # Stages in order, each configured by config.stages.NAME (stages.add makes one, stages.DEFAULTS
  # says what its keys mean); without any, one stage of `epochs` epochs that changes nothing.
  config.stages = ConfigDict()
  config.stages.order = ()

  # Weights that all lanes begin with but for the last layer: those of the study in a workdir ...
  config.transfer = ConfigDict()
  config.transfer.workdir = ''
  config.transfer.lane = -1  # which of its lanes; -1: that of the highest validation accuracy
  # ... or of this study with the keys changed that stand here, trained first, in WORKDIR/pretrain.
  config.pretrain = ConfigDict()
  # Whole studies that are compared: this one with the keys of config.arms.NAME changed (arms.add
  # makes one), in order.
  config.arms = ConfigDict()
  config.arms.order = ()

  config.noise_scale = ConfigDict()
  config.noise_scale.online = True  # measured while training, from the micro-batches of updates
  # Of the updates that begin in so many ticks the first is measured, whole. 1: every update, for
  # narrower intervals at a higher cost.
  config.noise_scale.every = 32
  # Lanes that update every tick compare two micro-batches only every so many ticks; 0: never.
  config.noise_scale.probe_every = 32
  # Training examples whose single gradients give the noise scale, whole and by layer, at every
  # evaluation, whatever a lane's batches are; as many as there are make it exact; 0: none.
  config.noise_scale.exact_examples = 0
  # Blocks of those examples whose Hessians give the curvature-weighted noise scale; 0: none.
  config.noise_scale.curvature_blocks = 0

  config.evaluation = ConfigDict()
  config.evaluation.batch_size = 1024  # examples at a time, unrelated to training

  config.execution = ConfigDict()
  config.execution.devices = 0  # how many; 0: all there are (on a CPU: one a core)
  config.execution.replicate = 'pmap'  # lanes over devices: pmap, shard_map
  # How the lanes of a device run and convolve: one of strategy.STRATEGIES, such as map-canonical or
  # vmap-im2col; auto: the fastest, timed once for a model, machine and version, and remembered.
  config.execution.strategy = 'auto'
  # Whether what frozen layers make of every image is computed once a stage, where all lanes begin
  # it with the same ones and images are not augmented; otherwise it is computed in every tick.
  config.execution.frozen_features = True
  config.execution.memory = 0.0  # GiB a program may take on a device; 0: what the device reports

  config.checkpoint = ConfigDict()
  config.checkpoint.seconds = 60.0  # at least between two saves; the last state is always saved
  # Every evaluation is saved and kept, e.g. for sharpness along training; give it again when the
  # study continues, or all but the newest two are deleted.
  config.checkpoint.keep_all = False

  config.report = ConfigDict()
  # Epochs at which a study of stages compares its batch sizes; (): where its stages end.
  config.report.epochs = ()
  config.lock()
  return config


def validate(config: ConfigDict) -> None:
  """Raises ConfigError with all problems at once, each with its value, bound and remedy."""
  if config.arms.order:
    return _raise(arms.problems(config, validate))
  problems = [*_study_problems(config), *_range_problems(config)]
  problems += _noise_problems(config.noise_scale) + _report_problems(config.report)
  problems += data.problems(config.data) + models.problems(config.model)
  problems += sampler.problems(config)
  problems += optimizer.problems(config) + replicate.problems(config.execution)
  problems += stages.problems(config) + _transfer_problems(config.transfer)
  _raise(problems + arms.problems(config, validate))


def _raise(problems: list[str]) -> None:
  if problems:
    lines = '\n'.join(f'  - {problem}' for problem in problems)
    raise ConfigError(f'{len(problems)} problem(s) in the configuration:\n{lines}')


def _transfer_problems(config: ConfigDict) -> list[str]:
  found = []
  if config.workdir and not (Path(config.workdir) / 'checkpoints').is_dir():
    found.append(
      f'transfer.workdir={config.workdir!r} holds no checkpoints; train that study first'
    )
  if config.lane < -1:
    found.append(f'transfer.lane={config.lane} must be a lane of that study, or -1 for its best')
  return found


def _study_problems(config: ConfigDict) -> list[str]:
  problems = []
  sizes, rates = tuple(config.batch_sizes), tuple(config.learning_rates)
  whole = all(isinstance(b, int) for b in sizes)
  if not sizes or not whole or min(sizes) < 1:
    problems.append(f'batch_sizes={sizes}: give one or more whole numbers, each at least 1')
  if len(set(sizes)) < len(sizes):
    problems.append(f'batch_sizes={sizes} names a batch size twice; use trials for repetitions')
  if not rates or any(not _is_number(rate) or not 0 < rate < math.inf for rate in rates):
    problems.append(f'learning_rates={rates}: give one or more finite numbers above 0')
  if len(set(rates)) < len(rates):
    problems.append(f'learning_rates={rates} names one twice; use trials for repetitions')
  micro = config.micro_batch
  if isinstance(micro, bool) or not (micro in ('auto', 'batch') or isinstance(micro, int)):
    problems.append(f"micro_batch={micro!r}: give 'auto', 'batch' or a whole number")
  elif isinstance(micro, int) and whole and sizes:
    odd = [b for b in sizes if micro < 1 or b % micro]
    if odd:
      problems.append(
        f'micro_batch={micro} does not divide the batch sizes {odd}; '
        f'choose a divisor of {math.gcd(*sizes)}, or micro_batch=auto'
      )
  return problems


def _noise_problems(config: ConfigDict) -> list[str]:
  """What the ranges of the noise scale's keys leave out."""
  examples, blocks = config.exact_examples, config.curvature_blocks
  if 0 < examples < FEWEST_EXACT:
    return [f'noise_scale.exact_examples={examples} must be 0, or at least {FEWEST_EXACT}']
  if blocks and not FEWEST_BLOCKS <= blocks <= examples:
    return [
      f'noise_scale.curvature_blocks={blocks} must be 0, or at least {FEWEST_BLOCKS} and at most '
      f'noise_scale.exact_examples={examples}'
    ]
  return []


def _report_problems(config: ConfigDict) -> list[str]:
  """Epochs that no study has."""
  odd = [epoch for epoch in config.epochs if not _is_number(epoch) or not 0 < epoch < math.inf]
  return [f'report.epochs={odd}: give epochs above 0, or () for the ends of stages'] if odd else []


def _range_problems(config: ConfigDict) -> list[str]:
  bounds = {  # value, lowest allowed, whether the bound itself is allowed
    'seed': (config.seed, 0, True),
    'trials': (config.trials, 1, True),
    'epochs': (config.epochs, 0, False),
    'evaluations': (config.evaluations, 1, True),
    'noise_scale.every': (config.noise_scale.every, 1, True),
    'noise_scale.probe_every': (config.noise_scale.probe_every, 0, True),
    'noise_scale.exact_examples': (config.noise_scale.exact_examples, 0, True),
    'noise_scale.curvature_blocks': (config.noise_scale.curvature_blocks, 0, True),
    'evaluation.batch_size': (config.evaluation.batch_size, 1, True),
    'checkpoint.seconds': (config.checkpoint.seconds, 0, True),
  }
  problems = []
  for key, (value, low, inclusive) in bounds.items():
    if not (value >= low if inclusive else value > low) or not math.isfinite(value):
      word = 'at least' if inclusive else 'above'
      problems.append(f'{key}={value} must be finite and {word} {low}')
  return problems


def _is_number(value: object) -> bool:
  return isinstance(value, int | float) and not isinstance(value, bool)
