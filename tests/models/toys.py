"""Random weights for tests, made by numpy: nothing to compile."""

import functools

import flax.linen as nn
import jax
import numpy as np

from instructgpt_jax.models import decoder


@functools.cache
def params(model: nn.Module, seed: int = 0):
  """Returns params random everywhere.

  The zero biases and unit scales of a fresh model would hide mistakes.
  """
  rng = np.random.default_rng(seed)

  def draw(path, leaf):
    name = path[-1].key
    stddev = {'bias': 0.1, 'scale': 0.1, 'kernel': 0.3}.get(name, 0.5)
    value = (name == 'scale') + stddev * rng.normal(size=leaf.shape)
    return np.asarray(value, leaf.dtype)

  return jax.tree_util.tree_map_with_path(draw, shapes(model))


def shapes(model: nn.Module, boxed: bool = False):
  """Returns what init_params returns, as shapes only."""
  init = functools.partial(decoder.init_params, model, boxed=boxed)
  return jax.eval_shape(init, jax.random.key(0))
