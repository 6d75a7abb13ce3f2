"""The studies in configs/: each is valid, plans as its head comment says, and names its command."""

import importlib.util
from pathlib import Path

import pytest
from helpers.builders import random_images, write_image_folder

from bsjax.engine.validate import validate
from bsjax.plan import arms, stages
from bsjax.plan.plan import make_plan

CONFIGS = sorted((Path(__file__).parents[2] / 'configs').glob('*.py'))
# Training examples of each set, before any are held out: the published figures.
EXAMPLES = {'digits': 1_797, 'mnist': 60_000, 'fashion_mnist': 60_000, 'cifar10': 50_000}
EXAMPLES['aerial_cactus'] = 17_500


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_config(path, tmp_path, monkeypatch):
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))  # valid wherever nothing is prepared yet
  write_image_folder(tmp_path / 'aerial_cactus', random_images(4), [0, 1, 0, 1])
  monkeypatch.setenv('BSJAX_DATA_DIR', str(tmp_path))
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  config = module.get_config()
  validate(config)
  lanes = sum(plan_lanes(each) for each in arms.configs(config).values() or [config])
  assert f'= {lanes} lanes' in ' '.join(module.__doc__.split())
  assert f'python -m bsjax.main --config=configs/{path.name} --workdir=' in module.__doc__


def plan_lanes(config):
  """How many lanes a study has; it must be as long as it says."""
  examples = EXAMPLES[config.data.name or Path(config.data.path).name or config.data.source]
  if config.data.validation == 'split':
    examples -= round(config.data.validation_share * examples)
  examples = min(examples, config.data.train_examples or examples)
  plan = make_plan(config, examples)
  marks = sum(len(part.evaluations) for part in plan.stages)
  assert marks >= 1 + config.evaluations  # the block is short enough for all
  epochs = sum(stage.epochs for stage in stages.of(config))
  assert plan.total_examples == pytest.approx(epochs * examples, rel=0.05)
  return len(plan.lanes)
