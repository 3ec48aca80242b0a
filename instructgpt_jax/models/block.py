"""One layer of the decoder."""

from __future__ import annotations

import flax.linen as nn

from instructgpt_jax.models.attention import Attention
from instructgpt_jax.models.config import ModelConfig
from instructgpt_jax.models.layers import Mlp, Norm, constrain


class Block(nn.Module):
  """Attention and MLP, each added to the stream x; where norms stand:

  pre       x + f(norm(x))               GPT-2, Llama
  both      x + post_norm(f(norm(x)))    Gemma 2 and 3
  post      norm(x + f(x))               OPT-350M
  parallel  x + attention(attention_norm(x)) + mlp(mlp_norm(x))    GPT-NeoX
  """

  cfg: ModelConfig
  deterministic: bool = True
  first: int = 0  # the first token whose stream goes on from here

  @nn.compact
  def __call__(self, carry, place):
    """Returns ((x, kv, layer + 1), None), the form `nn.scan` asks for."""
    x, kv, layer = carry
    cfg = self.cfg
    drop = nn.Dropout(cfg.dropout, deterministic=self.deterministic)

    def norm(name, x):
      return Norm(cfg, cfg.norm, name=name)(x)

    def read(branch, x):
      if cfg.norm_placement != 'post':
        x = norm(f'{branch}_norm', x)
      # A stream split over its length is gathered here, once for q, k and v.
      return constrain(x, 'act_batch', 'act_length', 'act_embed')

    def add(branch, x, y):
      if cfg.norm_placement == 'both':
        y = norm(f'{branch}_post_norm', y)
      x = constrain(x + drop(y), 'act_batch', 'act_stream_length', 'act_embed')
      return norm(f'{branch}_norm', x) if cfg.norm_placement == 'post' else x

    y, kv = Attention(cfg, self.first, name='attention')(
      read('attention', x), place, kv, layer
    )
    x = x[:, self.first :]
    between = add('attention', x, y)
    y = Mlp(cfg, name='mlp')(read('mlp', x if cfg.parallel else between))
    return (add('mlp', between, y), kv, layer + 1), None
