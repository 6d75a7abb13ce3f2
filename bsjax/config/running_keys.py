"""Keys of what is measured beside training, and of how a study is run, saved and shown."""

from bsjax.config.key import Key

_DEVICE = 'GiB; 0 is what the device reports'

RUNNING = (
  Key('noise_scale.online', True, 'Measured while training, from the micro-batches of updates.'),
  Key(
    'noise_scale.every',
    32,
    'Of the updates that begin in so many ticks the first is measured, whole. 1: every update, for '
    'narrower intervals at a higher cost.',
    unit='ticks',
    low=1,
  ),
  Key(
    'noise_scale.probe_every',
    32,
    'Lanes that update every tick compare two micro-batches only every so many ticks; 0: never.',
    unit='ticks',
    low=0,
    remedy='0: never',
  ),
  Key(
    'noise_scale.exact_examples',
    0,
    'Training examples whose single gradients give the noise scale, whole and by layer, at every '
    "evaluation, whatever a lane's batches are; as many as there are make it exact; 0: none.",
    unit='examples',
    low=0,
    remedy='0: none',
  ),
  Key(
    'noise_scale.curvature_blocks',
    0,
    'Blocks of those examples whose Hessians give the curvature-weighted noise scale; 0: none.',
    low=0,
    remedy='0: none',
  ),
  Key(
    'evaluation.batch_size',
    1024,
    'Examples at a time, unrelated to training.',
    unit='examples',
    low=1,
  ),
  Key(
    'execution.devices',
    0,
    'How many; 0: all there are (on a CPU: one per core).',
    low=0,
    remedy='0: all there are',
    computes=False,
  ),
  Key('execution.replicate', 'pmap', 'Lanes over devices: pmap, shard_map.', computes=False),
  Key(
    'execution.strategy',
    'auto',
    'How the lanes of a device run and convolve: one of strategies.STRATEGIES, such as '
    'map-canonical or vmap-im2col; auto: the fastest, timed once for a model, machine and version, '
    'and remembered.',
    computes=False,
  ),
  Key(
    'execution.frozen_features',
    True,
    'Whether what frozen layers make of every image is computed once per stage, where all lanes '
    'begin it with the same ones and images are not augmented; otherwise it is computed in every '
    'tick.',
    computes=False,
  ),
  Key(
    'execution.memory',
    0.0,
    'What a program may take on a device; 0: what the device reports.',
    unit='GiB',
    low=0,
    remedy=_DEVICE,
    computes=False,
  ),
  Key(
    'native_cost.measure',
    False,
    'What a batch size costs run alone, without lanes (cost/): at the end of training, into '
    'native_cost.json.',
    computes=False,
  ),
  Key(
    'native_cost.memory',
    0.0,
    'What a step may take; 0: what the device has.',
    unit='GiB',
    low=0,
    remedy=_DEVICE,
    computes=False,
  ),
  Key(
    'native_cost.repeats',
    5,
    'Timings of each batch size, of which the median is given.',
    low=5,  # of fewer a median and a range mean little
    computes=False,
  ),
  Key(
    'native_cost.batch_sizes',
    (),
    'Those to time; (): those of the study.',
    unit='examples',
    item=int,
    low=1,
    remedy='() is those of the study',
    twice='names a batch size twice; give each once',
    computes=False,
  ),
  Key(
    'checkpoint.seconds',
    60.0,
    'At least between two saves; the last state is always saved.',
    unit='seconds',
    low=0,
    computes=False,
  ),
  Key(
    'checkpoint.keep_all',
    False,
    'Every evaluation is saved and kept, e.g. for sharpness along training; give it again when the '
    'study continues, or all but the newest two are deleted.',
    computes=False,
  ),
  Key(
    'report.epochs',
    (),
    'Epochs at which a study of stages compares its batch sizes; (): where its stages end.',
    unit='epochs',
    item=float,
    low=0,
    low_open=True,
    remedy='() is where stages end',
    computes=False,
  ),
)
