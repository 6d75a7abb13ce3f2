"""Parameters of any library as nested dicts, which is how the engine holds them."""

import jax
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import PyTree

from bsjax.config.errors import ConfigError


class Named:
  """Nested dicts for a tree of any kind, by the paths of its leaves, and back."""

  def __init__(self, like: PyTree):
    paths, self.treedef = jax.tree_util.tree_flatten_with_path(like)
    names = [jax.tree_util.keystr(path, simple=True, separator='/') for path, _ in paths]
    self.names = [name.removesuffix('/value') or 'params' for name in names]
    if len(set(self.names)) < len(self.names):
      raise ConfigError(f'two parameters have one name among {self.names}')

  def dicts(self, tree: PyTree) -> PyTree:
    flat = dict(zip(self.names, jax.tree.leaves(tree), strict=True))
    return unflatten_dict(flat, sep='/')

  def tree(self, dicts: PyTree) -> PyTree:
    flat = flatten_dict(dicts, sep='/')
    return jax.tree.unflatten(self.treedef, [flat[name] for name in self.names])
