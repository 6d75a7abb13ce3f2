"""Nothing that lies in a workdir, a data file or a cache runs code, and no name becomes markup."""

import ast
import json
import os
import pickle
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import synthetic
from helpers.builders import data_config, npz_config, random_images, write_image_folder
from helpers.interrupted import terminated_in_call
from helpers.pages import save
from helpers.small import small_config
from helpers.staged import config as staged
from helpers.staged import made
from jax._src import compilation_cache  # to have it look at another folder

from bsjax import data
from bsjax.autotune import timer
from bsjax.config.errors import ConfigError
from bsjax.plan import plan
from bsjax.report import arms_page, study_page
from bsjax.storage import records
from bsjax.train.study_run import run_study

PACKAGE = Path(__file__).parents[2] / 'bsjax'
NAME = 'a$b^<u>&[/b]{x}\\q_%'  # markup of pages, of matplotlib, of rich and of templates


class Planted:
  """What makes a folder when it is unpickled."""

  def __init__(self, path):
    self.path = str(path)

  def __reduce__(self):
    return os.mkdir, (self.path,)


@pytest.fixture
def planted(tmp_path):
  """A pickle that would leave a trace, and the check that none is there."""
  trace = tmp_path / 'trace'
  content = pickle.dumps(Planted(trace))
  yield Planted(trace), content
  assert not trace.exists()
  pickle.loads(content)  # it would have
  assert trace.exists()


def test_arrays_of_objects_in_data_and_in_their_cache_are_not_read(planted, tmp_path):
  evil, _ = planted
  objects = np.array([evil] * 40, object)
  config = npz_config(tmp_path)
  whole = dict(np.load(config.path))
  for name in ('train_images', 'train_labels'):
    np.savez(config.path, **whole | {name: objects})
    with pytest.raises(data.DataError, match='not objects'):
      data.load(config, seed=0)
  folder = data_config(tmp_path, source='image_folder', path=str(tmp_path / 'folder'))
  write_image_folder(tmp_path / 'folder', random_images(20), np.arange(20) % 2)
  before = data.load(folder, seed=0).train.images.copy()
  (cached,) = [path.parent for path in (tmp_path / 'cache').rglob('fingerprints.json')]
  facts = json.loads((cached / 'fingerprints.json').read_text())
  for name in facts:
    np.save(cached / f'{name}.npy', objects)
    facts[name] = [objects.dtype.str, list(objects.shape), 0]
  (cached / 'fingerprints.json').write_text(json.dumps(facts))
  np.testing.assert_array_equal(data.load(folder, seed=0).train.images, before)


def test_a_file_of_a_workdir_that_is_a_pickle_is_named_and_not_loaded(
  planted, tmp_path, monkeypatch, blank_figures
):
  _, content = planted
  workdir = tmp_path / 'study'
  config = small_config(batch_sizes=(16,), trials=1, evaluations=4, micro_batch=16)
  config.checkpoint.seconds = 0.0
  with terminated_in_call(monkeypatch, 3):
    assert not run_study(config, workdir)
  for path in sorted(workdir.glob('*.*')):
    if path.is_file() and path.name != '.lock':
      whole = path.read_bytes()
      path.write_bytes(content)
      with pytest.raises((records.Damaged, ConfigError), match=re.escape(str(path))):
        run_study(config, workdir)
      path.write_bytes(whole)
  for path in (workdir / 'checkpoints').rglob('*'):
    if path.is_file():
      path.write_bytes(content)
  with pytest.raises(records.Damaged, match=r'no checkpoint of .* can be used'):
    run_study(config, workdir)
  shutil.rmtree(workdir / 'checkpoints')
  assert run_study(config, workdir)
  for name in ('native_cost.json', 'sharpness.json', 'summary.json', 'data.json'):
    (workdir / name).write_bytes(content)
    with pytest.raises(records.Damaged, match=name):
      study_page.write(workdir)
    (workdir / name).unlink()


def test_pickles_in_the_cache_of_the_user_are_not_loaded(planted, tmp_path, monkeypatch):
  """Of timings, and of compiled programs, which JAX reads by itself."""
  _, content = planted
  cache, before = tmp_path / 'cache', jax.config.jax_compilation_cache_dir
  (cache / 'timings').mkdir(parents=True)
  dataset = data.load((config := small_config()).data, 0)
  study_plan = plan.make_plan(config, len(dataset.train.labels))
  path = timer.Timer(config, dataset, study_plan, print, cache / 'timings')._path
  path.write_bytes(content)
  assert timer.Timer(config, dataset, study_plan, print, cache / 'timings').timings == []
  jax.config.update('jax_compilation_cache_dir', str(cache / 'xla'))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
  try:
    for _ in range(2):
      compilation_cache.reset_cache()
      jax.clear_caches()
      assert jax.jit(lambda x: 3 * x + 1)(2) == 7
      files = [file for file in (cache / 'xla').rglob('*') if file.is_file()]
      assert files
      for file in files:
        file.write_bytes(content)
  finally:
    jax.config.update('jax_compilation_cache_dir', before)
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)
    compilation_cache.reset_cache()


def test_only_processes_of_one_study_exchange_pickles():
  """And nothing turns text into code, as far as names tell."""
  unsafe = {'pickle', 'marshal', 'shelve', 'dill', 'cloudpickle', 'joblib', 'yaml'}
  users, calls = set(), []
  for path in PACKAGE.rglob('*.py'):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.Import | ast.ImportFrom):
        names = {alias.name for alias in node.names} | {getattr(node, 'module', None)}
        users |= {path.relative_to(PACKAGE).as_posix()} if names & unsafe else set()
      if isinstance(node, ast.Call):
        name = getattr(node.func, 'id', '')
        keys = {key.arg: getattr(key.value, 'value', None) for key in node.keywords}
        if name in ('eval', 'exec', '__import__') or keys.get('allow_pickle'):
          calls.append((path, node.lineno))
  assert users == {'engine/processes.py'} and calls == []


@pytest.mark.slow
def test_names_with_markup_are_drawn_and_escaped(tmp_path):
  """Of stages, branches and arms by earlier versions, which checked none; and of anything else."""
  branches = f'{NAME}=keep', f'{NAME}=multiply:2'
  settings = staged(order=('head', NAME), batch_size=['keep', 'multiply:2'])
  settings['model'] |= {'name': NAME}
  settings['data'] |= {'name': NAME}
  save(tmp_path / 'staged', settings, *made(branches=branches))
  pages = [study_page.write(tmp_path / 'staged').read_text()]
  arms = tmp_path / 'arms' / 'arms'
  for name in (NAME.replace('/', ''), 'b'):
    plan = synthetic.plan((8, 16), (0.05, 0.1), 2)
    save(arms / name, synthetic.config(), plan, synthetic.realistic(plan))
    (arms / name / 'report.html').write_text('')
  pages.append(arms_page.write(tmp_path / 'arms').read_text())
  for page in pages:
    assert '<u>' not in page and '$b^&lt;u&gt;&amp;[' in page
