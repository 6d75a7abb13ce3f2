"""Keys of what is measured beside training, and of how a study is run, saved and shown."""

import functools
from typing import Any

from bsjax.config.key import Key, zero

_how = functools.partial(Key, computes=False)  # how a study runs, not what it computes
_DEVICE: dict[str, Any] = {'unit': 'GiB', 'low': 0, 'remedy': 'GiB; 0 is what the device reports'}

MATCHED, EVEN = 'matched', 'even'  # how evaluations are placed
AUTO, ON_DEVICE, ON_HOST = 'auto', 'device', 'host'  # where the data are while lanes train

RUNNING = (
  Key('noise_scale.online', True, 'Measured while training, from the micro-batches of updates.'),
  Key(
    'noise_scale.every',
    32,
    'Of the updates that begin in so many ticks the first is measured, whole; in the first eighth '
    'of an epoch eight times as many. 1: every update, for narrower intervals at a higher cost.',
    'ticks',
    low=1,
  ),
  Key(
    'noise_scale.probe_every',
    32,
    'Lanes that update every tick compare two micro-batches only every so many ticks, and eight '
    'times as often in the first eighth of an epoch.',
    'ticks',
    **zero('never'),
  ),
  Key(
    'noise_scale.exact_examples',
    0,
    'Training examples whose single gradients give the noise scale, whole and by layer, at every '
    "evaluation, whatever a lane's batches are; as many as there are make it exact.",
    'examples',
    **zero('none'),
  ),
  Key(
    'noise_scale.curvature_blocks',
    0,
    'Blocks of those examples whose Hessians give the curvature-weighted noise scale.',
    **zero('none'),
  ),
  Key('evaluation.batch_size', 1024, 'At a time, unrelated to training.', 'examples', low=1),
  Key(
    'evaluation.positions',
    MATCHED,
    "Where evaluations fall. 'matched': where batch sizes have made equally many updates, as near "
    'to the end of the largest as can be, and the others closer together at first; evenly all the '
    "same where batch sizes follow a measurement. 'even': at equal distances, as in versions "
    'without this key.',
    choices=(MATCHED, EVEN),
    before=EVEN,
  ),
  Key(
    'evaluation.at',
    (),
    'Where evaluations fall, besides the start and the ends of stages, in place of those that '
    '`evaluations` and `evaluation.positions` would choose: as where batch sizes were added to a '
    'study.',
    'examples',
    item=int,
    low=1,
    remedy='(): by evaluation.positions',
    before=(),
  ),
  Key(
    'evaluation.subset',
    0,
    'Training and as many validation examples, drawn by the seed and the same for all, on which '
    'lanes are also evaluated, besides whole splits: there, and at all further positions at which '
    'batch sizes have made equally many updates. Into subset_records.jsonl.',
    'examples',
    **zero('none'),
  ),
  _how('execution.devices', 0, 'How many; on a CPU one per core.', **zero('all there are')),
  _how(
    'execution.devices_per_lane',
    0,
    'On how many devices each lane runs, which have a share of every micro-batch each.',
    **zero('on those too that would have no lane, where shares are large; on a CPU on one'),
  ),
  _how('execution.replicate', 'shard_map', 'Lanes over devices: shard_map, pmap.'),
  _how(
    'execution.strategy',
    'auto',
    'How the lanes of a device run and convolve: one of strategies.STRATEGIES, such as '
    'map-canonical or vmap-im2col; auto: the fastest, timed once for a model, machine and version, '
    'and remembered.',
  ),
  _how(
    'execution.frozen_features',
    True,
    'Whether what frozen layers make of every image is computed once per stage, where all lanes '
    'begin it with the same ones and images are not augmented; otherwise in every tick.',
  ),
  _how('execution.memory', 0.0, 'What a program may take on a device.', **_DEVICE),
  _how(
    'execution.data',
    AUTO,
    "Where the data are: 'device'; 'host', from where each stretch of training and of evaluations "
    'is fed with its examples, with the same result; auto: on the host where they would take more '
    'than half of what a device has.',
    choices=(AUTO, ON_DEVICE, ON_HOST),
  ),
  _how(
    'execution.profile',
    0,
    'Blocks of training of each group and stage that are traced, into profile/ of the workdir.',
    'blocks',
    **zero('none'),
  ),
  _how('native_cost.measure', False, 'Whether to time batch sizes alone, into native_cost.json.'),
  _how('native_cost.memory', 0.0, 'What a step may take.', **_DEVICE),
  # A median and a range of fewer than five mean little.
  _how('native_cost.repeats', 5, 'Timings of each batch size, whose median is given.', low=5),
  _how(
    'native_cost.batch_sizes',
    (),
    'Those to time.',
    'examples',
    item=int,
    low=1,
    remedy='() is those of the study',
    twice='names a batch size twice; give each once',
  ),
  _how(
    'checkpoint.seconds',
    60.0,
    'From a save to the next; 0: at every evaluation. The last is saved.',
    'seconds',
    low=0,
  ),
  _how(
    'checkpoint.keep_all',
    False,
    'Every evaluation is saved and kept, e.g. for sharpness along training; give it again when the '
    'study continues, or all but the newest two are deleted.',
  ),
  _how(
    'writers',
    (),
    'Who is told of the rows beside records.jsonl: tensorboard, wandb, trackio.',
    item=str,
    remedy='() is none',
  ),
  _how(
    'report.epochs',
    (),
    'Epochs at which a study of stages compares its batch sizes.',
    'epochs',
    item=float,
    above=0,
    remedy='() is where stages end',
  ),
)
