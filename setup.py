"""Installs bsjax: batch-size studies, every lane in one compiled program."""

from setuptools import find_packages, setup

setup(
  name='bsjax',
  version='0.1.0',
  description='Which batch size, at which learning rate, and is the difference real?',
  package_dir={'': '.'},  # so that an editable install works in the folder of the clone, too
  packages=find_packages(include=['bsjax', 'bsjax.*']),
  package_data={'bsjax.report': ['templates/*']},
  python_requires='>=3.11,<3.14',
  install_requires=[
    'jax>=0.8',
    'jaxlib>=0.8',
    'flax>=0.12',
    'optax>=0.2.5',
    'orbax-checkpoint>=0.11.25',
    'tensorflow-datasets>=4.9.9',
    'array-record>=0.8.1; sys_platform == "linux"',  # the record files tfds.data_source reads
    'importlib_resources>=6.0',  # tensorflow-datasets imports it without declaring it
    'absl-py>=2.1',
    'ml-collections>=1.0',
    'scikit-learn>=1.4',  # the digits data set
    'scipy>=1.12',
    'numpy>=1.26',
    'filelock>=3.12',  # one process at a time in a workdir
    'jaxtyping>=0.3',
    'pillow>=10.0',  # decodes the images of TFDS records and image folders
    'matplotlib>=3.8',
    'jinja2>=3.1',  # the report's page
    'rich>=13.7',  # tables and the live progress line
  ],
  extras_require={
    'test': [
      'pytest>=8.0',
      'pytest-xdist>=3.5',
      'beartype>=0.18',
      'equinox>=0.11.4',  # one of the libraries whose models a study takes
      'hypothesis>=6.100',  # malformed inputs of every kind
      'ruff>=0.6',
      'setuptools>=70.1',  # builds a wheel without fetching anything
    ],
    'bench': ['torch>=2.4'],
  },
)
