"""Types and shapes of the package, checked while it runs, at a third of the hook's cost.

`jaxtyping.jaxtyped` binds the arguments of every call by name, checks them, and after the call
checks them again beside what is returned. Here beartype checks each once, within one scope of the
names of axes for every call. Where an argument names an axis, as in '{count}', jaxtyping checks.
"""

import dataclasses
import functools
import inspect
from importlib.machinery import SourceFileLoader
from unittest import mock

import beartype
import jaxtyping
from jaxtyping import TypeCheckError, config
from jaxtyping._decorator import _destring_annotation
from jaxtyping._import_hook import _JaxtypingLoader, _optimized_cache_from_source
from jaxtyping._storage import pop_shape_memo, push_shape_memo  # of `jaxtyped('context')`

JAXTYPED = jaxtyping.jaxtyped
CHECK = beartype.beartype(conf=beartype.BeartypeConf(violation_type=TypeCheckError))


def install(package):
  """From here on the modules of a package are imported with every annotation checked."""
  jaxtyping.jaxtyped = lambda typechecker: checked  # which the hook writes at all that is defined
  jaxtyping.install_import_hook(package, 'beartype.beartype')
  _JaxtypingLoader.get_code = _get_code


def _get_code(loader, name):
  """The code of a module for runpy, kept under the name of checked bytecode, as imports keep it.

  jaxtyping gives the name to imports only: what runpy ran would be kept as bytecode without
  checks, and a command that is run afterwards from the same folder would load it and fail.
  """
  hashed = functools.partial(_optimized_cache_from_source, loader._typechecker.get_hash())
  with mock.patch('importlib._bootstrap_external.cache_from_source', hashed):
    return SourceFileLoader.get_code(loader, name)


def checked(written):
  """A function that checks its types, or the class; a data class checks those of its fields."""
  if inspect.isclass(written):
    if dataclasses.is_dataclass(written) and not hasattr(written.__init__, 'checks'):
      written.__init__ = checked(written.__init__)
    return written
  if any('{' in str(annotation) for annotation in written.__annotations__.values()):
    return JAXTYPED(written, typechecker=beartype.beartype)
  written.__annotations__ = {
    name: _destring_annotation(annotation, written.__globals__)
    for name, annotation in written.__annotations__.items()
  }
  checking = CHECK(written)

  @functools.wraps(written)
  def wrapper(*args, **kwargs):
    __tracebackhide__ = True
    if config.jaxtyping_disable:
      return written(*args, **kwargs)
    push_shape_memo({})
    try:
      return checking(*args, **kwargs)
    finally:
      pop_shape_memo()

  wrapper.checks = True
  return wrapper
