"""Models that give one number per position: reward and value."""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from instructgpt_jax.models.axes import named
from instructgpt_jax.models.config import ModelConfig
from instructgpt_jax.models.decoder import Trunk
from instructgpt_jax.types import Params


class ScalarHead(nn.Module):
  """hidden . kernel + bias in float32.

  The kernel starts as N(0, 1 / (D + 1)), the bias at 0 (Stiennon et al. 2020,
  appendix B.1): scores of a fresh head then have a variance near 1.
  """

  cfg: ModelConfig

  @nn.compact
  def __call__(self, hidden: jax.Array) -> jax.Array:
    cfg, width = self.cfg, hidden.shape[-1]
    init = named(nn.initializers.normal(1 / math.sqrt(width + 1)), ('norm',))
    kernel = self.param('kernel', init, (width,), cfg.param_dtype)
    bias = self.param('bias', nn.initializers.zeros, (), cfg.param_dtype)
    # A product and a sum rather than a dot: no TPU rounds it to bfloat16.
    score = (hidden.astype(jnp.float32) * kernel.astype(jnp.float32)).sum(-1)
    return score + bias.astype(jnp.float32)


class ScalarModel(nn.Module):
  """A decoder with the unembedding replaced by a projection to one scalar.

  Params are {'trunk': ..., 'head': {'kernel': [D], 'bias': []}}
  (InstructGPT appendix C: reward model and value network alike).
  """

  cfg: ModelConfig

  @nn.compact
  def __call__(
    self,
    tokens: jax.Array,
    positions: jax.Array | None = None,
    segments: jax.Array | None = None,
    deterministic: bool = True,
    first: int = 0,
  ) -> jax.Array:
    """Returns float32 [B T-first]: each prefix's score, at its last token.

    Arguments and errors as of LanguageModel.
    """
    hidden, _ = Trunk(self.cfg, name='trunk')(
      tokens, positions, segments, None, deterministic, first=first
    )
    return ScalarHead(self.cfg, name='head')(hidden)


def scalar_from_language(lm_params: Params, scalar_params: Params) -> Params:
  """Returns scalar params with the language model's trunk and a fresh head.

  Raises ValueError naming the first weight whose shape differs.
  """
  old, new = scalar_params['trunk'], lm_params['trunk']
  shapes = lambda tree: {  # noqa: E731
    jax.tree_util.keystr(path): leaf.shape
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }
  old, found = shapes(old), shapes(new)
  for name in sorted(old.keys() | found.keys()):
    if old.get(name) != found.get(name):
      raise ValueError(
        f'the language model does not fit the scalar model: trunk{name} is '
        f'{found.get(name, "absent")} there and {old.get(name, "absent")} '
        'here; give both the same model settings, vocab_multiple too'
      )
  return {**scalar_params, 'trunk': new}


def shift_bias(params: Params, delta: jax.typing.ArrayLike) -> Params:
  """Returns scalar params whose every score is `delta` higher."""
  head = params['head']
  bias = head['bias'] + jnp.asarray(delta, head['bias'].dtype)
  return {**params, 'head': {**head, 'bias': bias}}
