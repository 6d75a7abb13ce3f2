"""Programs for accelerators that are not here: all lower; what is foreseen of them; what is said."""

import dataclasses
import subprocess
import sys

import jax
import numpy as np
import pytest
from helpers.small import small_config
from rich.console import Console

from bsjax import data
from bsjax.config.errors import ConfigError
from bsjax.cost import arithmetic, foreseen, targets
from bsjax.engine.strategies import STRATEGIES
from bsjax.plan import plan
from bsjax.report.text import foreseen as text
from bsjax.study import Study

GIVEN = {'model__name': 'cnn', 'noise_scale__exact_examples': 4}


@pytest.fixture(scope='module')
def foreseer():
  """Of a small CNN, with the devices at hand in place of those that are not."""
  config = small_config(**GIVEN)
  config.execution.replicate = 'shard_map'
  dataset = data.load(config.data, config.seed)
  study = plan.make_plan(config, len(dataset.train)).first
  target = targets.TARGETS['H100']
  return foreseen.Foreseer(config, dataset, study, target, jax.devices()[:1])


@pytest.mark.parametrize('name', ['vmap-im2col', 'map-native', 'unrolled-native', 'vmap-native'])
def test_every_program_lowers_for_accelerators(foreseer, name):
  group = foreseer.study.groups[0]
  if name.startswith('unrolled'):
    group = dataclasses.replace(group, lanes=group.lanes[:2])
  calls = foreseen.calls(foreseer, group, STRATEGIES[name])
  wanted = {'init', 'evaluate', 'probe', 'begin_window', 'train', 'watch', 'copy', 'finite', 'choose'}
  assert set(calls) == wanted
  for program in wanted if name == 'vmap-im2col' else ['train']:
    function, *arguments = calls[program]
    traced = function.trace(*arguments)
    for platform in ('cuda', 'tpu'):
      lowered = traced.lower(lowering_platforms=(platform,)).as_text()
      assert 'callback' not in lowered
      assert ('stablehlo.dot_general' in lowered) or program not in ('train', 'watch', 'evaluate')
