"""Keys of a stage, each at config.stages.NAME (`plan.stages.add` makes one)."""

from bsjax.config.key import Key, zero

RUNNING, BATCH = 'running', 'batch'  # what frozen BatchNorm layers do

STAGE = (
  Key('epochs', 1.0, 'Passes over its share of the training set.', above=0, method='{} epochs'),
  Key('examples', 0, "The stage's length.", **zero('by epochs'), method='{} examples'),
  Key('trainable', (), "Paths such as '*/kernel'; none: all.", item=str, method='training {} only'),
  Key(
    'frozen_batch_norm',
    RUNNING,
    'Whether BatchNorm layers whose parameters are all frozen use their running statistics '
    "('running'), or go on normalizing by batches and updating them ('batch').",
    choices=(RUNNING, BATCH),
    method={BATCH: 'frozen BatchNorm layers still normalizing by batches'},
  ),
  Key(
    'batch_size',
    ('keep',),
    'Rules of batch_size_rules.py; several make a branch of lanes each.',
    fewest=1,
    twice="names a rule twice; give different rules, such as 'keep'",
    method='batch size {}',
  ),
  Key(
    'smallest_batch_size',
    0,
    'Bound of rules.',
    'examples',
    **zero('the size a lane begins with'),
    method='batch sizes of {} or more',
  ),
  Key(
    'largest_batch_size',
    0,
    'Bound of rules.',
    'examples',
    **zero("a tenth of the stage's examples"),
    method='batch sizes of {} or less',
  ),
  Key(
    'learning_rate_factor', 1.0, 'On the rates of lanes.', low=0, method='learning rate times {}'
  ),
  Key('reset_optimizer', False, 'Where it begins.', method={True: 'a fresh optimizer state'}),
  Key(
    'image_size',
    0,
    'A side that images are resized to.',
    'pixels',
    **zero('as they are'),
    method='images of {} pixels a side',
  ),
  Key(
    'data_share',
    1.0,
    'Of the training set, stratified; smaller shares lie within larger ones.',
    'share',
    above=0,
    high=1,
    method='{} of the training set',
  ),
  Key(
    'crop',
    -1,
    'As data.crop.',
    'pixels',
    low=-1,
    remedy='-1: as data.crop',
    method='crops after padding by {} pixels',
  ),
  Key(
    'flip',
    -1,
    'Of images, left to right.',
    choices=(-1, 0, 1),
    remedy='1: random flips, 0: none, -1: as data.flip',
    method={1: 'left-right flips', 0: 'no flips'},
  ),
)
