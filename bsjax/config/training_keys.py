"""Keys of how runs are trained: optimizer, schedule, stages, what they begin with, arms."""

import dataclasses

from bsjax.config.key import Key, zero
from bsjax.config.metrics import judged

_OPTIMIZER = (
  Key('optimizer.name', 'sgd', 'One of optim.entries.OPTIMIZERS, such as sgd, adamw or lamb.'),
  Key('optimizer.momentum', 0.9, 'Of sgd, lars and muon.', low=0, below=1),
  Key('optimizer.nesterov', False, 'Of sgd, adam, adamw, lars and muon.'),
  Key('optimizer.b1', 0.9, 'adam and its like, signum: decay of the first moment.', low=0, below=1),
  Key(
    'optimizer.b2', 0.999, 'Of the second moment; in lion momentum, usually 0.99.', low=0, below=1
  ),
  Key('optimizer.rmsprop_decay', 0.9, 'Of the mean square.', low=0, below=1),
  Key('optimizer.rmsprop_momentum', 0.0, 'Of rmsprop.', low=0, below=1),
  Key(
    'optimizer.eps', 1e-8, 'adam, adamw, lamb, muon and rmsprop: added to the denominator.', low=0
  ),
  Key('optimizer.trust_coefficient', 0.001, 'Of lars.', low=0),
  Key(
    'optimizer.weight_decay',
    0.0,
    'Decoupled in adamw, lamb, lion, signum, muon, adafactor; else L2 in the gradient.',
    low=0,
  ),
  Key('optimizer.decay_all', False, 'Decay all parameters, not only arrays of two axes or more.'),
)


def _axis(key: Key) -> Key:
  """The key of the values that lanes differ in, in place of one of the optimizer for all."""
  name = key.name.partition('.')[2]
  doc = f'Several of optimizer.{name}, with a branch of lanes each; none: that one.'
  twice = 'names one twice; use trials for repetitions'
  return dataclasses.replace(
    key, name=f'axes.{name}', default=(), doc=doc, item=float, twice=twice, remedy=''
  )


TRAINING = (
  *_OPTIMIZER,
  *(_axis(key) for key in _OPTIMIZER if isinstance(key.default, float)),
  Key(
    'averaging.half_life',
    0.0,
    'Of an average of the weights after each update, evaluated beside them: what so many examples '
    'lie behind counts half, so an update decays it by 2^(-batch size / half_life).',
    'examples',
    **zero('no average'),
  ),
  Key('schedule.name', 'constant', 'One of optim.entries.SCHEDULES: constant, cosine, step.'),
  Key(
    'schedule.warmup_epochs', 0.0, 'Linear, the same for all lanes.', 'epochs', **zero('no warm-up')
  ),
  Key('schedule.boundaries', (0.5, 0.75), 'step: shares of training where it drops.', 'share'),
  Key('schedule.factor', 0.1, 'step: what the learning rate is multiplied by.', above=0),
  Key(
    'scaling.rule',
    'none',
    'How a learning rate given at base_batch_size changes with the batch size: none, linear, sqrt; '
    "or several to compare, such as 'none,sqrt,linear': a batch size then gets the rates of each.",
  ),
  Key('scaling.base_batch_size', 64, 'Where learning rates are as given.', 'examples', low=1),
  Key(
    'scaling.hyperparameters',
    'keep',
    'How those of the optimizer, given at base_batch_size, change with the batch size: rules of '
    "plan/hyperparameters.py, joined by '+'; or several to compare, with a branch of lanes each, "
    "such as 'keep,half_life,half_life+decay_time'.",
  ),
  Key(
    'stages.order',
    (),
    'Stages in order, each configured by config.stages.NAME (stages.add makes one, '
    'stage_keys.STAGE says what its keys mean); without any, one stage of `epochs` epochs that '
    'changes nothing.',
    item=str,
    twice='names a stage twice; give the second a name of its own',
  ),
  Key('transfer.workdir', '', 'Of a study whose weights, but for the last layer, all lanes take.'),
  Key(
    'transfer.lane',
    -1,
    f'Which of its lanes; -1: that of the {judged().best_mean} {judged().val_title}.',
    low=-1,
    remedy='give a lane of it, or -1 for its best',
  ),
  Key(
    'pretrain',
    {},
    'Or, instead of transfer.workdir, those of this study with the keys changed that stand here, '
    'trained first, in WORKDIR/pretrain.',
  ),
  Key(
    'arms.order',
    (),
    'Whole studies that are compared: this one with the keys of config.arms.NAME changed '
    '(arms.add makes one), in order.',
    item=str,
  ),
)
