"""Multilayer perceptron."""

from functools import partial

import flax.linen as nn

from bsjax.models.base import ImageClassifier, Images, Logits, classifier, layer_fields, norm_layer


class MLP(ImageClassifier, kw_only=True):
  """Hidden layers of equal width with ReLU; of depth 0, softmax regression, which is convex."""

  width: int = 256
  depth: int = 2

  @nn.compact
  def __call__(self, x: Images, train: bool) -> Logits:
    dense = partial(nn.Dense, **layer_fields(self))
    norm = norm_layer(self, train)
    x = x.reshape(len(x), -1)
    for _ in range(self.depth):
      x = dense(self.width, use_bias=self.normalization == 'none')(x)
      x = nn.relu(norm(x))
    return classifier(self)(x)
