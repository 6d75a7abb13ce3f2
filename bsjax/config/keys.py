"""Every configuration key, once, with its meaning and unit."""

from ml_collections import ConfigDict, config_dict


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
  # What a mobilenet_v2 or efficientnet_b0 shrinks images of up to 64 pixels by, and the size of a
  # vit's patches there: 1, 2, 4, 8, 16 or 32; 0: the usual 8, or 4 in a vit. Twice as much costs as
  # little as a quarter.
  config.model.small_stride = 0
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

  config.native_cost = ConfigDict()  # of a batch size run alone, without lanes (native_cost/)
  config.native_cost.measure = False  # at the end of training, into native_cost.json
  config.native_cost.memory = 0.0  # GiB a step may take; 0: what the device has
  config.native_cost.repeats = 5  # timings of each batch size, of which the median is given
  config.native_cost.batch_sizes = ()  # examples; (): those of the study

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
