"""Configuration: every key once, and what a wrong one raises."""

from bsjax.config.errors import ConfigError as ConfigError
from bsjax.config.keys import base_config as base_config
