"""A bucket of fsspec in a folder, `bucket-like://FOLDER-OF-IT/...`, which outlives its processes.

Like a real one it puts objects whole or not at all, creates one exclusively if asked to, has no
folders, appends to nothing and renames nothing. Operations pass `BucketLike.operation`, which a
test may have fail.
"""

import datetime
import os
import tempfile
from pathlib import Path
from urllib.parse import quote, unquote

import fsspec

HOME = 'BUCKET_LIKE'  # in the environment: the folder that holds all buckets


def nothing(kind, path):
  """The operation goes on."""


class BucketLike(fsspec.AbstractFileSystem):
  protocol = 'bucket-like'
  cachable = False
  operation = staticmethod(nothing)  # called with kind and path before each of them
  done = staticmethod(nothing)  # and after it

  def _of(self, path):
    name, _, key = self._strip_protocol(path).partition('/')
    folder = Path(os.environ[HOME], name)
    if not folder.is_dir():
      raise FileNotFoundError(f'The specified bucket does not exist: {name}')
    return folder / quote(key, safe='')

  def _do(self, kind, path, call):
    type(self).operation(kind, path)
    result = call(self._of(path))
    type(self).done(kind, path)
    return result

  def ls(self, path, detail=True, **_):
    def listed(file):
      prefix = f'{unquote(file.name)}/'
      keys = [unquote(p.name) for p in file.parent.iterdir() if not p.name.startswith('.')]
      found = sorted({k[len(prefix) :].split('/')[0] for k in keys if k.startswith(prefix)})
      if not found:
        raise FileNotFoundError(path)
      return [f'{path}/{name}' for name in found]

    names = self._do('list', path, listed)
    return [{'name': name, 'type': 'file', 'size': 0} for name in names] if detail else names

  def info(self, path, **_):
    size = self._do('info', path, lambda file: file.stat().st_size)
    return {'name': path, 'type': 'file', 'size': size}

  def modified(self, path):
    then = self._do('info', path, lambda file: file.stat().st_mtime)
    return datetime.datetime.fromtimestamp(then, datetime.UTC)

  def cat_file(self, path, start=None, end=None, **_):
    return self._do('get', path, lambda file: file.read_bytes())

  def pipe_file(self, path, value, mode='overwrite', **_):
    def put(file):
      with tempfile.NamedTemporaryFile(dir=file.parent, prefix='.', delete=False) as part:
        part.write(value)
      try:
        if mode == 'create':
          os.link(part.name, file)
        else:
          os.replace(part.name, file)
      finally:
        Path(part.name).unlink(missing_ok=True)

    self._do('create' if mode == 'create' else 'put', path, put)

  def put_file(self, lpath, rpath, **_):
    self.pipe_file(rpath, Path(lpath).read_bytes())

  def get_file(self, rpath, lpath, **_):
    Path(lpath).write_bytes(self.cat_file(rpath))

  def rm_file(self, path):
    self._do('remove', path, lambda file: file.unlink())


fsspec.register_implementation('bucket-like', BucketLike, clobber=True)
