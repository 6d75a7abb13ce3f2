"""Which batch size for a language model? Next characters of real text, by a small transformer.

5 batch sizes x 4 learning rates x 3 trials = 60 lanes. The text is the reference that comes with
Python itself (`pydoc_data.topics`, 465,000 characters in Python 3.11, under the PSF licence; other
versions differ a little), in windows of 64 characters, so a batch of 8 holds 512 tokens. The last
tenth is held out.

  python -m bsjax.main --config=configs/char_lm.py --workdir=runs/char_lm

On a GPU, more trials and a wider range:

  python -m bsjax.main --config=configs/char_lm.py --workdir=runs/char_lm \\
    --config.batch_sizes=8,32,128,512 --config.trials=8 --config.epochs=20
"""

import math
import pydoc_data.topics
from typing import Any

import numpy as np
from ml_collections import ConfigDict

import bsjax
from bsjax.config.keys import base_config

LENGTH = 64  # characters of a window
LAYERS = 1
HELD_OUT = 0.1


def text() -> str:
  """All topics of Python's reference, in order of their names."""
  topics = pydoc_data.topics.topics
  return '\n'.join(topics[name] for name in sorted(topics))


def windows(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """(tokens, the tokens after them), int32 [window, place], one after the other."""
  count = (len(tokens) - 1) // LENGTH
  pairs = tokens[: count * LENGTH], tokens[1 : count * LENGTH + 1]
  inputs, targets = (one.reshape(count, LENGTH).astype(np.int32) for one in pairs)
  return inputs, targets


def parts(config: ConfigDict) -> dict[str, Any]:
  """The model, the data and the task of the study, which are none of bsjax's own."""
  import optax

  from bsjax.models.transformer import Decoder

  letters, tokens = np.unique(list(text()), return_inverse=True)
  cut = round(len(tokens) * (1 - HELD_OUT))

  def cross_entropy(logits, targets):
    return optax.softmax_cross_entropy_with_integer_labels(logits, targets)

  def bits(logits, targets):
    return cross_entropy(logits, targets) / math.log(2)

  words = {'title': 'bits per character', 'plural': 'bits per character', 'unit': 'bits'}
  task = bsjax.Task(
    cross_entropy,
    [bsjax.Metric('bits', bits, higher_is_better=False, lowest=0, margin=0.02, **words)],
    title='cross entropy',
    unit='nats',
    guessing=math.log(len(letters)),
    lowest=0,
  )
  data = bsjax.Data(windows(tokens[:cut]), windows(tokens[cut:]), name="Python's reference")
  return {'model': Decoder(len(letters), layers=LAYERS), 'data': data, 'task': task}


def get_config() -> ConfigDict:
  config = base_config()
  config.batch_sizes = (8, 16, 32, 64, 128)
  config.learning_rates = tuple(0.002 * 2**i for i in range(4))
  config.trials = 3
  config.epochs = 2.0
  config.evaluations = 5
  config.optimizer.name = 'adamw'
  config.optimizer.b2 = 0.99
  config.optimizer.weight_decay = 0.01
  config.schedule.warmup_epochs = 0.1
  config.evaluation.batch_size = 16  # what fits a core's cache: three times as fast as 256
  config.micro_batch = 8  # fixed, so that the published numbers come back
  return config
