"""Installs bsjax: batch-size studies, every lane in one compiled program."""

import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
CONFIGS = sorted(path.relative_to(HERE).as_posix() for path in HERE.glob('configs/*.py'))

# scripts/docs builds the site with them; the tests do too.
DOCS = ['sphinx>=8.2', 'furo>=2025.7.19', 'myst-parser>=4.0.1', 'sphinx-copybutton>=0.5.2']


class BuildWithConfigs(build_py):
  """Puts the studies of configs/ into the package, as bsjax.configs; a clone reads its own."""

  def run(self):
    super().run()
    if not self.editable_mode:
      for name in CONFIGS:
        self.copy_file(name, str(Path(self.build_lib, 'bsjax', name)))

  def get_source_files(self):
    return [*super().get_source_files(), *CONFIGS]


setup(
  name='bsjax',
  version=re.search(r"^__version__ = '(.+)'$", (HERE / 'bsjax/__init__.py').read_text(), re.M)[1],
  description='Which batch size, at which learning rate, and is the difference real?',
  long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
  long_description_content_type='text/markdown',
  license='Apache-2.0',
  keywords='batch size, learning rate, gradient noise scale, JAX',
  classifiers=[
    'Development Status :: 4 - Beta',
    'Environment :: Console',
    'Intended Audience :: Science/Research',
    'Operating System :: POSIX :: Linux',
    'Programming Language :: Python :: 3',
    'Programming Language :: Python :: 3.11',
    'Programming Language :: Python :: 3.12',
    'Programming Language :: Python :: 3.13',
    'Topic :: Scientific/Engineering :: Artificial Intelligence',
    'Typing :: Typed',
  ],
  cmdclass={'build_py': BuildWithConfigs},
  entry_points={'console_scripts': ['bsjax=bsjax.__main__:main']},
  package_dir={'': '.'},  # so that an editable install works in the folder of the clone, too
  packages=find_packages(include=['bsjax', 'bsjax.*']),
  package_data={'bsjax': ['py.typed'], 'bsjax.report': ['templates/*']},
  python_requires='>=3.11,<3.14',
  install_requires=[
    'jax>=0.8',
    'jaxlib>=0.8',
    'flax>=0.12',
    'optax>=0.2.7',  # muon whose steps are as long as Adam's
    'orbax-checkpoint>=0.11.25',
    'tensorflow-datasets>=4.9.9',
    'array-record>=0.8.1; sys_platform == "linux"',  # the record files tfds.data_source reads
    'importlib_resources>=6.0',  # tensorflow-datasets imports it without declaring it
    'absl-py>=2.1',
    'ml-collections>=1.0',
    'scikit-learn>=1.4.2',  # the digits data set
    'scipy>=1.13',
    'numpy>=2.0',
    'orjson>=3.10',  # writes records in a thirtieth of the time of json, reads them in a quarter
    'pandas>=2.2.2',  # tables: of others' runs, and that of Study.records()
    'filelock>=3.12',  # one process at a time in a workdir
    'fsspec>=2025.2',  # workdirs in buckets
    'jaxtyping>=0.3.3',
    'pillow>=10.0',  # decodes the images of TFDS records and image folders
    'matplotlib>=3.8.4',
    'jinja2>=3.1',  # the report's page
    'rich>=13.7',  # tables and the live progress line
  ],
  extras_require={
    'xarray': ['xarray>=2024.1'],  # Study.to_xarray()
    'buckets': ['s3fs>=2025.2', 'gcsfs>=2025.2'],  # --workdir=s3://... and gs://...
    # config.writers
    'tensorboard': ['tensorboardX>=2.6', 'tensorboard>=2.15'],  # which bsjax.audit reads with
    'wandb': ['wandb>=0.19.10'],
    'trackio': ['trackio>=0.2'],
    # --dry_run --target=H100: compilers for accelerators that are not there, of JAX's own version
    'compile-for': ['jax[tpu]', 'jax[cuda12-local]'],
    'test': [
      *DOCS,
      'pytest>=8.0',
      'pytest-xdist>=3.5',
      'beartype>=0.18',
      'equinox>=0.11.4',  # one of the libraries whose models a study takes
      'hypothesis>=6.100',  # malformed inputs of every kind
      'ruff>=0.6',
      'mypy>=1.13',
      'xarray>=2024.1',
      'tensorboardX>=2.6',
      'setuptools>=70.1',  # builds a wheel without fetching anything
    ],
    'docs': DOCS,
    'bench': ['torch>=2.4'],
  },
)
