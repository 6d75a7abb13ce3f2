"""Keys of what is trained: the grid of runs, their data and their model."""

from bsjax.config.key import Key, zero

# Of which a study may get more: settings, and with these all of its lanes are longer or are
# evaluated more often.
SETTINGS = 'batch_sizes', 'learning_rates', 'trials', 'rounds'
LENGTHS = 'epochs', 'evaluations', 'evaluation.at'
STAGE_LENGTHS = 'epochs', 'examples'  # of each of config.stages
_TWICE = 'names one twice; use trials for repetitions'

GRID = (
  Key('seed', 0, 'Of everything random; a trial folds its number into it.', low=0, high=2**32 - 1),
  Key(
    'batch_sizes',
    (8, 16, 32, 64, 128, 256),
    'Examples per update.',
    'examples',
    low=1,
    fewest=1,
    twice=_TWICE,
  ),
  Key('learning_rates', (0.1,), 'Each with every batch size.', above=0, fewest=1, twice=_TWICE),
  Key(
    'trials',
    3,
    'Of each setting, with another initialization and example order.',
    low=1,
    high=10_000,
  ),
  Key(
    'rounds',
    (),
    'Boxes of batch sizes, learning rates and a number of trials, in the order in which a study '
    'got them: its runs are those of any of them, within the keys above. '
    'plan.rounds.extended(config, boxes) adds some.',
    item=object,
    remedy='(): every batch size with every learning rate and all trials',
    before=(),
  ),
  Key('epochs', 30.0, 'Passes over the training set, the same for every lane.', above=0),
  Key(
    'evaluations',
    15,
    'At most, after the start; the last is at the end. Those at the ends of stages come besides.',
    low=1,
    high=100_000,
  ),
  Key(
    'micro_batch',
    'auto',
    "Examples per tick: an integer that divides every batch size, 'batch' (a group of lanes and a "
    'compiled program per batch size; BatchNorm then sees whole batches), or '
    "'auto': what is fastest on this machine, none above the largest common divisor (up to 32) "
    'that leaves fewer than grouping.FEWEST_TICKS ticks per update; with BatchNorm, which sees it, '
    'that divisor. plan.csv says which.',
    'examples',
    item=object,
  ),
  Key('data.source', 'digits', 'digits, tfds, image_folder, npz.'),
  Key('data.name', '', "Of the TFDS set, such as 'cifar10'."),
  Key(
    'data.path',
    '',
    'TFDS data_dir (empty: TFDS_DATA_DIR), image folder, or .npz file; the same data may move.',
  ),
  Key('data.label_csv', 'train.csv', "An image folder's names and labels.", method='labels of {}'),
  Key(
    'data.label_column',
    '',
    'Its column with the labels; empty: the second of two.',
    method='the column {}',
  ),
  Key('data.validation', 'split', "'split' of the training data, or a split such as 'test'."),
  Key('data.validation_share', 0.2, 'Of the training data, stratified.', 'share', above=0, below=1),
  Key(
    'data.train_examples',
    0,
    'A stratified subset of so many of what is left.',
    'examples',
    **zero('all'),
    method='a stratified subset of {} examples',
  ),
  Key(
    'data.imbalance_factor',
    1.0,
    'A long tail, cut from the training data and not from those held out: class c of C, in order '
    'of labels, keeps n * factor^(-c / (C - 1)) examples; the ratio of the first to the last.',
    low=1,
    remedy='1 leaves the classes as they are, 100 keeps a hundredth of the first in the last',
    method='a long tail, exponential in the order of labels, whose first class has {} times the '
    'examples of the last',
  ),
  Key(
    'data.max_per_class',
    0,
    'Training examples that a class keeps.',
    'examples',
    **zero('all'),
    method='at most {} examples of each class',
  ),
  Key('data.sampler', 'uniform', 'One of sampling.SAMPLERS, such as inverse_frequency.'),
  Key(
    'data.sampler_beta',
    0.9999,
    'Of effective_number.',
    low=0,
    below=1,
    remedy='near 1, such as 0.9999, it evens classes out, and 0 leaves them as they are',
  ),
  Key(
    'data.crop',
    0,
    'Padding before a random crop back to size.',
    'pixels',
    **zero('no crop'),
    method='crops after padding by {} pixels',
  ),
  Key('data.flip', False, 'Random left-right flips.', method={True: 'left-right flips'}),
  Key('data.cache_dir', '', "Of decoded images; empty: the user's.", computes=False),
  Key('model.name', 'mlp', 'One of models.MODELS, such as cnn, resnet20, vgg16 or vit_tiny.'),
  Key(
    'model.width',
    0,
    "Hidden units, channels of the first layer, or of a vit's tokens.",
    low=0,
    high=65_536,
    remedy="0 is the model's usual width",
    method='width {}',
  ),
  Key(
    'model.depth',
    2,
    'Hidden layers of the mlp.',
    low=0,
    high=1_000,
    remedy='0 is a linear classifier',
  ),
  Key(
    'model.small_stride',
    0,
    'What a mobilenet_v2 or efficientnet_b0 shrinks images of up to 64 pixels by, and the size of '
    "a vit's patches there; the usual is 8, or 4 in a vit. Twice as much costs as little as a "
    'quarter.',
    'pixels',
    remedy="0 is the model's usual",
    choices=(0, 1, 2, 4, 8, 16, 32),
  ),
  Key('model.normalization', 'group', 'group (LayerNorm in a vit), batch, none.'),
  Key(
    'model.dtype',
    'float32',
    'Of the arithmetic of layers: float32; tf32, which multiplies with ten bits of the mantissa on '
    'accelerators that can, and is float32 on a CPU; bfloat16. All else is float32 in each.',
  ),
)


def may_grow(name: str) -> bool:
  """Whether a study may get more of a key."""
  section, _, last = name.rpartition('.')
  of_stage = section.startswith('stages.') and last in STAGE_LENGTHS
  return of_stage or name in (*SETTINGS, *LENGTHS)
