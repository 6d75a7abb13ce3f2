"""Kinds of bad data that once passed in silence: refused with the file's name, or said."""

import os
import zipfile

import numpy as np
import pytest
from helpers.builders import data_config, npz_config, random_images, write_image_folder, write_npz
from PIL import Image

from bsjax import data
from bsjax.config.errors import ConfigError
from bsjax.config.keys import base_config
from bsjax.data.doubts import doubts
from bsjax.data.sources import tfds_source
from bsjax.plan import plan

ROWS = '0.png,a\n1.png,b\n2.png,a\n3.png,b\n'


def folder_config(folder, table=f'id,label\n{ROWS}'):
  write_image_folder(folder / 'set', random_images(4, 0, (4, 4)), ['a', 'b', 'a', 'b'])
  (folder / 'set' / 'train.csv').write_bytes(table.encode())
  return data_config(folder, source='image_folder', path=str(folder / 'set'), validation_share=0.5)


def refusal(config):
  with pytest.raises(data.DataError) as caught:
    data.load(config, seed=0)
  assert '\n' not in str(caught.value)
  return str(caught.value)


@pytest.mark.parametrize(
  'table, words',
  [
    (ROWS.replace('0.png', 'gone.png'), 'no header'),
    (f'id,label\n{ROWS}'.replace(',a', ',nan'), "empty or 'nan'"),
    (f'id,label\n{ROWS}'.replace('2.png,a', '2.png,a"'), 'quote'),
    (f'id,label\n{ROWS}'.replace('1.png,b\n2.png,a', '1.png,"b\n2.png,a"'), 'line 4'),
    ('id,label\n0.png,0.5\n1.png,1\n2.png,0.5\n3.png,1\n', 'fractions for labels: line 2, 4'),
    (f'id,label\n{ROWS}{"x" * 5000}.png,b\n', 'missing'),
  ],
)
def test_tables(tmp_path, table, words):
  said = refusal(folder_config(tmp_path, table))
  assert 'train.csv' in said and words in said, said


@pytest.mark.parametrize('path', ['~nosuchuser/x.npz', '/tmp/' + 'x' * 5000, '/tmp/a\0b'])
def test_paths_that_cannot_be(tmp_path, path):
  assert 'does not exist' in refusal(data_config(tmp_path, source='npz', path=path))
  config = folder_config(tmp_path)
  config.label_csv = path.removeprefix('/tmp/')
  assert 'cannot be read' in refusal(config)


def test_an_underscore_makes_no_number_and_signs_that_look_alike_are_said(tmp_path):
  rows = ['1_0', '\u00e9', '1_0', 'e\u0301', '1_0', '\u00e9', '1_0', 'e\u0301']
  write_npz(tmp_path / 'a.npz', rows)
  assert 'differ in case' in doubts(data.load(npz_config(tmp_path, validation_share=0.5), 0))[0]
  table = 'id,label\n0.png,1_0\n1.png,1\n2.png,1_0\n3.png,1\n'
  assert data.load(folder_config(tmp_path, table), seed=0).class_names == ('1', '1_0')


def test_16_bits_of_colour_are_refused(tmp_path):
  config = folder_config(tmp_path)
  pixels = np.arange(48, dtype='>u2').tobytes()
  (tmp_path / 'set' / 'train' / '2.png').write_bytes(b'P6 4 4 65535\n' + pixels)
  assert '2.png has more than 8 bits' in refusal(config)


def test_postscript_is_never_run(tmp_path):
  config = folder_config(tmp_path)
  Image.fromarray(random_images(1)[0]).save(tmp_path / 'set' / 'train' / '2.png', 'EPS')
  assert '2.png cannot be decoded: cannot identify' in refusal(config)


@pytest.mark.filterwarnings('ignore::PIL.Image.DecompressionBombWarning')
def test_an_image_of_too_many_pixels_is_refused_unread(tmp_path):
  config = folder_config(tmp_path)
  (tmp_path / 'set' / 'train' / '2.png').write_bytes(b'P5 10000 10000 255\n')
  assert '10,000 x 10,000 pixels' in refusal(config)


def test_archives(tmp_path):
  path = tmp_path / 'a.npz'
  write_npz(path, [0, 1, 0, 1])
  content = path.read_bytes()
  path.write_bytes(content.replace(b"'descr'", b"'desc(("))
  assert 'a.npz' in refusal(npz_config(tmp_path))
  with zipfile.ZipFile(path, 'w') as file:
    for part in ('images', 'labels'):
      file.writestr(f'train_{part}', b'text')
  assert 'a.npz' in (said := refusal(npz_config(tmp_path))) and 'else than arrays' in said
  with zipfile.ZipFile(path, 'a') as file:
    file.writestr('train_labels.npy', b'')
  assert 'arrays of one name' in refusal(npz_config(tmp_path))
  write_npz(path, ['a', 'null', 'b', 'NaN'])
  assert 'a.npz' in (said := refusal(npz_config(tmp_path))) and 'example 1, 3' in said
  write_npz(path, np.zeros(4, int))
  assert 'a.npz' in refusal(npz_config(tmp_path))


def test_what_may_be_meant_is_said(tmp_path):
  own = {'own_images': random_images(2, 1, (4, 4, 2)), 'own_labels': np.asarray([-1, -1])}
  write_npz(tmp_path / 'a.npz', [-1, 1] * 2, train_images=random_images(4, 0, (4, 4, 2)), **own)
  signs, lacking, channels = doubts(data.load(npz_config(tmp_path, validation='own'), seed=0))
  assert '-1' in signs and "no validation example has the label '1'" in lacking
  assert '2 channels' in channels
  write_npz(tmp_path / 'a.npz', ['None', 'cat'] * 2)
  assert "'None'" in doubts(data.load(npz_config(tmp_path, validation_share=0.5), seed=0))[0]


@pytest.mark.parametrize('names', ['square\n', 'disc\ndisc\n', 'a\nb\nc\n'])
def test_names_of_classes_that_are_cut(tmp_path, names):
  (tmp_path / 'label.labels.txt').write_text(names)
  features = '{"featuresDict": {"features": {"label": {"classLabel": {"numClasses": "2"}}}}}'
  (tmp_path / 'features.json').write_text(features)
  with pytest.raises(data.DataError, match=r"data.name='tiny'.*damaged.*for 2 classes.*remove"):
    tfds_source._class_names(data_config(tmp_path, name='tiny'), tmp_path)


def test_batch_norm_of_one_example_is_refused():
  config = base_config()
  config.model.normalization, config.learning_rates = 'batch', (0.01,)
  config.batch_sizes = (15, 16)
  with pytest.raises(ConfigError, match='BatchNorm over one example'):
    plan.make_plan(config, 1000)
  config.micro_batch = 'batch'
  assert {lane.micro_batch for lane in plan.make_plan(config, 1000).lanes} == {15, 16}


def test_the_home_directory_is_meant_by_a_tilde(tmp_path, monkeypatch):
  from bsjax.study import StudyResults

  monkeypatch.setenv('HOME', str(tmp_path))
  assert os.fspath(StudyResults('~/x').workdir) == str(tmp_path / 'x')
