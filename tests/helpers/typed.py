"""Types and shapes of the package, checked while it runs, at a third of the hook's cost.

`jaxtyping.jaxtyped` binds the arguments of every call by name, checks them, and after the call
checks them again beside what is returned. Here beartype checks each once, within one scope of the
names of axes for every call. Where an argument names an axis, as in '{count}', jaxtyping checks.
"""

import dataclasses
import functools
import inspect

import beartype
import jaxtyping
from jaxtyping import TypeCheckError, config
from jaxtyping._decorator import _destring_annotation
from jaxtyping._storage import pop_shape_memo, push_shape_memo  # of `jaxtyped('context')`

JAXTYPED = jaxtyping.jaxtyped
CHECK = beartype.beartype(conf=beartype.BeartypeConf(violation_type=TypeCheckError))


def install(package):
  """From here on the modules of a package are imported with every annotation checked."""
  jaxtyping.jaxtyped = lambda typechecker: checked  # which the hook writes at all that is defined
  jaxtyping.install_import_hook(package, 'beartype.beartype')


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
