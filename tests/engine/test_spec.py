"""What lanes share in a stage: the schedule goes on where the stage stands in the study."""

import flax.linen as nn
import numpy as np
import pytest
from helpers.small import small_config

from bsjax import data
from bsjax.config.errors import ConfigError
from bsjax.data import views
from bsjax.engine.own import Own
from bsjax.engine.spec import lane_spec
from bsjax.models.own import adapted
from bsjax.plan import plan, stages


def spec_of(config, place=0, own=None):
  dataset = data.load(config.data, config.seed)
  study = plan.make_plan(config, len(dataset.train)).stages[place]
  view = views.view(dataset, study.stage)
  return study, lane_spec(config, view, study, study.groups[0], own=own or Own())


def test_the_schedule_of_a_later_stream_goes_on_where_the_first_ended():
  """Two epochs of half of 160 examples, then one of all: 320 of a cosine behind a warm-up of 80."""
  config = small_config(
    batch_sizes=(16,),
    data__train_examples=160,
    schedule__name='cosine',
    schedule__warmup_epochs=1.0,
  )
  stages.add(config, 'half', data_share=0.5, epochs=2.0)
  stages.add(config, 'all', epochs=1.0)
  study, spec = spec_of(config, 1)
  assert (study.origin, study.total_examples, study.train_examples) == (160, 320, 160)
  seen = np.array([0, 80, 160])  # of its own stream
  expected = (1 + np.cos(np.pi * (160 + seen - 80) / 240)) / 2
  np.testing.assert_allclose([spec.schedule(at) for at in seen], expected, atol=1e-6)
  _, first = spec_of(config, 0)
  np.testing.assert_allclose([first.schedule(at) for at in (0, 40, 80)], [0, 0.5, 1], atol=1e-6)


class Normed(nn.Module):
  @nn.compact
  def __call__(self, x, train):
    x = nn.BatchNorm(use_running_average=not train)(x.reshape(len(x), -1))
    return nn.Dense(10)(x)


def test_a_model_from_outside_cannot_keep_its_batch_statistics():
  for mode, refused in (('running', True), ('batch', False)):
    config = small_config(batch_sizes=(16,))
    stages.add(config, 'a', epochs=1.0, trainable=('Dense_0',), frozen_batch_norm=mode)
    if refused:
      with pytest.raises(ConfigError, match="frozen_batch_norm='running' is for models of bsjax"):
        spec_of(config, own=Own(model=adapted(Normed())))
    else:
      assert spec_of(config, own=Own(model=adapted(Normed())))[1].trainable


def test_what_a_config_says_of_noise_and_averages_reaches_the_lanes():
  keys = {'noise_scale__every': 3, 'noise_scale__probe_every': 5, 'averaging__half_life': 7.0}
  _, spec = spec_of(small_config(**keys))
  assert (spec.measure_every, spec.probe_every, spec.average_half_life) == (3, 5, 7.0)
  for changes in ({'noise_scale__online': False}, {'batch_sizes': (16, 32), 'micro_batch': 8}):
    assert spec_of(small_config(**keys | changes))[1].probe_every == 0  # no lane asks for pairs
  assert not spec.every_tick and spec_of(small_config(batch_sizes=(16,)))[1].every_tick
