"""URLs that may be workdirs: what is one, and which package of fsspec it needs."""

import difflib
import os
import re
from pathlib import Path

from bsjax.config.errors import ConfigError

LOCAL = ('file', 'local', 'memory', 'http', 'https')  # protocols of no bucket
EXTRA = ('s3', 's3a', 'gs', 'gcs')  # whose packages are those of bsjax[buckets]


def is_url(path: str | Path) -> bool:
  """Whether a path is a URL, also one with a slash too few."""
  return bool(re.match('[A-Za-z][A-Za-z0-9+.-]+:/', os.fspath(path)))


def normal(url: str) -> str:
  """Returns the one spelling of a URL that may have slashes too many."""
  name, mark, rest = url.partition('://')
  return name + mark + re.sub('/+', '/', rest).rstrip('/')


def check(url: str, key: str) -> None:
  """Raises ConfigError where a URL cannot be a workdir; no request is made.

  What may be a secret is refused, as URLs are printed, and left out of what is said.
  """
  if secret := re.search(r'://[^/]*:[^/]*@|[?#]', url):
    raise ConfigError(
      f'{key}={url[: secret.start()]}...: give no password, ? or # in a URL; credentials are found '
      'in the environment (docs/operations.md, Buckets)'
    )
  import fsspec
  from fsspec.registry import known_implementations

  name = url.partition(':')[0]
  if name in LOCAL:
    raise ConfigError(f'{key}={url} is no bucket; give the path of a folder instead')
  try:
    fsspec.get_filesystem_class(name)
  except ValueError:
    close = difflib.get_close_matches(name, sorted(known_implementations), n=1)
    hint = f'did you mean {close[0]}://? ' if close else ''
    others = 'known are gs://, s3:// and others of the package fsspec'
    raise ConfigError(f'{key}={url}: {name}:// is unknown; {hint}{others}') from None
  except ImportError:
    home = str(known_implementations[name]['class']).partition('.')[0]
    wanted = "'bsjax[buckets]'" if name in EXTRA else home
    sentence = f'{key}={url} needs {home}, which is not installed: pip install {wanted}'
    raise ConfigError(sentence) from None
  if not re.fullmatch(r'[^:]+://[^/:]+[^:]*/[^/]+/*', url):
    raise ConfigError(f'{key}={url}: name a folder of a bucket, as {name}://BUCKET/FOLDER')
  if odd := [part for part in normal(url).split('/')[3:] if part.startswith('.')]:
    raise ConfigError(f'{key}={url}: {odd[0]!r} begins with a dot; give a folder that does not')
