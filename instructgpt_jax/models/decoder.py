"""The language model: token ids to hidden states, with or without a cache.

It stops at the hidden state after the last norm. What follows is the
caller's: `algos.likelihood` takes log-probabilities in chunks so that the
logits of a whole batch never exist, and sampling needs them for one token.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from instructgpt_jax.algos import likelihood
from instructgpt_jax.models import cache as kv_cache
from instructgpt_jax.models import kernels, memory, remat, rotary
from instructgpt_jax.models.attention import Place
from instructgpt_jax.models.block import Block
from instructgpt_jax.models.config import ModelConfig
from instructgpt_jax.models.layers import Linear, Norm, constrain, named
from instructgpt_jax.types import KVCache, Params, Unembed


class Trunk(nn.Module):
  """Embedding, blocks and last norm: all but the head of either model."""

  cfg: ModelConfig

  @nn.compact
  def __call__(
    self,
    tokens: jax.Array,
    positions: jax.Array | None = None,
    segments: jax.Array | None = None,
    cache: KVCache | None = None,
    deterministic: bool = True,
    attend: jax.Array | None = None,
    first: int = 0,
  ) -> tuple[jax.Array, KVCache | None]:
    """Returns (hidden [B T-first E], cache); see LanguageModel."""
    cfg = self.cfg
    _check_length(tokens.shape[1], cfg)
    apart = segments  # None: there is nothing to tell apart
    if segments is None:
      segments = jnp.ones_like(tokens)
    if positions is None:
      positions = default_positions(segments, cache)
    start: jax.typing.ArrayLike = 0
    alone = cache is None or kv_cache.is_empty(cache)
    kernel = kernels.choose(
      cfg, kernels.platform(), tokens.shape[1], cached=not alone
    )
    kv = None
    if attend is not None:
      kernel = 'xla'
    elif cache is None and kernel == 'xla':
      attend = segment_mask(segments)
    if cache is not None:
      kv, start = (cache.k, cache.v), cache.length
      cache, attend = kv_cache.advance(cache, segments > 0)
      apart = None if apart is None else (apart > 0).astype(jnp.int32)
    x = self._embed(tokens, positions, segments)
    x = nn.Dropout(cfg.dropout, deterministic=deterministic)(x)
    place = Place(
      attend if kernel == 'xla' else None,
      start,
      rotary.turns(cfg, positions),
      apart,
    )
    x, kv = self._layers(x, kv, place, deterministic, first)
    if cache is not None:
      cache = dataclasses.replace(cache, k=kv[0], v=kv[1])
    if cfg.norm_placement != 'post':  # whose last block ends in a norm
      x = Norm(cfg, cfg.norm, name='final_norm')(x)
    if cfg.embed_width is not None:
      x = self._project('project_out', x, cfg.embed_width, ('embed', 'norm'))
    return x, cache

  def _embed(self, tokens, positions, segments):
    cfg = self.cfg
    init = padded(nn.initializers.normal(cfg.embed_init), cfg.vocab_size)
    shape = cfg.vocab_rows, cfg.hidden_width
    words = self._table('token', shape, 'vocab', init)
    # What stands in a pad slot never matters. Elsewhere an id outside the
    # vocabulary reads NaN ('fill'), which the loop stops at.
    tokens = jnp.where(segments > 0, tokens, 0)
    tokens = jnp.where(tokens < cfg.vocab_size, tokens, cfg.vocab_rows)
    x = jnp.take(words, tokens, axis=0, mode='fill')
    if cfg.embed_scale != 1:
      x = x * jnp.asarray(cfg.embed_scale, x.dtype)
    if cfg.embed_width is not None:
      x = self._project('project_in', x, cfg.width, ('norm', 'embed'))
    if cfg.positions == 'learned':
      shape = cfg.max_length + cfg.position_offset, cfg.width
      init = nn.initializers.normal(cfg.position_init)
      places = self._table('position', shape, 'position', init)
      at = positions + cfg.position_offset
      x = x + jnp.take(places, at, axis=0, mode='clip')
    return constrain(x, 'act_batch', 'act_stream_length', 'act_embed')

  def _project(self, name, x, width, axes):
    return Linear(
      self.cfg, x.shape[-1:], (width,), axes, use_bias=False, name=name
    )(x)

  def _table(self, name, shape, axis, init):
    cfg = self.cfg
    init = named(init, (axis, 'embed'))
    table = self.param(f'{name}_embedding', init, shape, cfg.param_dtype)
    # Gathered whole before the lookup, while many tokens are read at once: a
    # table sharded both ways makes the partitioner replicate its result and
    # reshard it.
    rows = 'act_lookup_vocab' if axis == 'vocab' else None
    return constrain(table.astype(cfg.dtype), rows, 'act_lookup_embed')

  def _layers(self, x, kv, place, deterministic, first):
    cfg = self.cfg
    block: Any = remat.wrap(Block, cfg)
    carry = (x, kv, 0)
    if cfg.scan_layers:
      if memory.on_host(self.variables.get('params', {}).get('layers')):
        block = nn.map_variables(block, 'params', memory.fetch)
      block = nn.scan(
        block,
        variable_axes={'params': 0},
        split_rngs={'params': True, 'dropout': True},
        in_axes=nn.broadcast,
        length=cfg.layers,
        metadata_params={nn.PARTITION_NAME: 'layers'},
      )
      carry = (x, kv, jnp.int32(0))
      carry, _ = block(cfg, deterministic, name='layers')(carry, place)
      return carry[0][:, first:], carry[1]
    for layer in range(cfg.layers):
      # The last layer alone may leave tokens out: others read all of them.
      start = first if layer == cfg.layers - 1 else 0
      carry, _ = block(cfg, deterministic, start, name=f'layer_{layer}')(
        (carry[0], carry[1], layer), place
      )
    return carry[0], carry[1]


class Unembedding(nn.Module):
  """Holds the matrix of an untied model, which others read from params."""

  cfg: ModelConfig

  @nn.compact
  def __call__(self) -> jax.Array:
    cfg = self.cfg
    init = nn.initializers.normal(cfg.embed_init)
    init = named(padded(init, cfg.vocab_size, axis=1), ('embed', 'vocab'))
    shape = (cfg.hidden_width, cfg.vocab_rows)
    return self.param('kernel', init, shape, cfg.param_dtype)


def padded(init: Callable[..., Any], size: int, axis: int = 0):
  """Returns `init` for an axis whose entries from `size` on are to be 0.

  What comes before is what `init` draws without them.
  """

  def make(key, shape, dtype):
    cut = (*shape[:axis], size, *shape[axis + 1 :])
    drawn = init(key, cut, dtype)
    return jnp.pad(drawn, [(0, n - m) for n, m in zip(shape, cut, strict=True)])

  return make


class LanguageModel(nn.Module):
  """A causal decoder; params are {'trunk': ..., 'unembed': ... if untied}."""

  cfg: ModelConfig

  @nn.compact
  def __call__(
    self,
    tokens: jax.Array,
    positions: jax.Array | None = None,
    segments: jax.Array | None = None,
    cache: KVCache | None = None,
    deterministic: bool = True,
    attend: jax.Array | None = None,
    first: int = 0,
  ) -> tuple[jax.Array, KVCache | None]:
    """Returns (hidden [B T-first E] to unembed, the cache with T more).

    E is the width, or `embed_width` where the settings have one. Of tokens
    before `first` nobody wants to know what follows: the last layer computes
    no more of them than others see.

    tokens [B T]; segments [B T] with 0 for pad (default: no pads); positions
    [B T] (default: counted from the start of each segment, or on from what
    the cache holds). A token sees earlier tokens of its own segment, and with
    a cache every real token kept there; without one, `attend` [B 1 T T] may say
    who sees whom, where no layer has a window. Dropout is on when
    `deterministic` is False, with rngs={'dropout': key}. Raises ValueError for
    T > max_length.
    """
    if not self.cfg.tied:
      Unembedding(self.cfg, name='unembed')()
    return Trunk(self.cfg, name='trunk')(
      tokens, positions, segments, cache, deterministic, attend, first
    )


def init_params(model: nn.Module, key: jax.Array, boxed: bool = False):
  """Returns fresh params; boxed ones also carry their logical axis names."""
  tokens = jnp.zeros((1, 1), jnp.int32)
  with nn.logical_axis_rules(()):  # one row cannot be laid out on a mesh
    params = jax.jit(model.init)(key, tokens)['params']
  return params if boxed else unbox(params)


def unbox(tree):
  """Returns the tree without axis names: plain arrays, placed as they are."""
  is_box = lambda x: isinstance(x, nn.meta.AxisMetadata)  # noqa: E731
  return jax.tree.map(
    lambda x: x.value if is_box(x) else x, tree, is_leaf=is_box
  )


def unembedding(params: Params, cfg: ModelConfig) -> Unembed:
  """Returns what leads from hidden states to logits, in cfg.dtype."""
  if cfg.tied:
    matrix = params['trunk']['token_embedding']
  else:
    matrix = params['unembed']['kernel']
  known = cfg.known_ids or cfg.vocab_size
  return Unembed(
    matrix.astype(cfg.dtype),
    softcap=cfg.logits_softcap,
    known=known if known < cfg.vocab_rows else None,
    table=cfg.tied,
  )


def logits(hidden: jax.Array, unembed: Unembed) -> jax.Array:
  """Returns `likelihood.logits`, float32 [... V], laid out on the mesh."""
  y = likelihood.logits(hidden, unembed)
  middle = ('act_length',) * (y.ndim - 2)
  return constrain(y, 'act_rows', *middle, 'act_vocab')


def segment_mask(segments: jax.Array) -> jax.Array:
  """Returns [B 1 T T], True where query t may see key s.

  Both lie in the same segment, which is not pad (0), and s <= t.
  """
  steps = jnp.arange(segments.shape[1])
  same = segments[:, :, None] == segments[:, None, :]
  real = (segments > 0)[:, None, :]
  return (same & real & (steps[None, :] <= steps[:, None]))[:, None]


def default_positions(
  segments: jax.Array, cache: KVCache | None = None
) -> jax.Array:
  """Returns [B T] positions counted from 0 at the start of each segment.

  With a cache they go on from the number of real tokens it holds. Pads get
  some number within range that nothing depends on.
  """
  if cache is not None:
    before = cache.mask.sum(1, keepdims=True, dtype=jnp.int32)
    real = (segments > 0).astype(jnp.int32)
    return jnp.maximum(before + jnp.cumsum(real, axis=1) - 1, 0)
  index = jnp.arange(segments.shape[1])
  first = jnp.pad(
    segments[:, 1:] != segments[:, :-1], ((0, 0), (1, 0)), constant_values=True
  )
  starts = jax.lax.cummax(jnp.where(first, index, 0), axis=1)
  return index - starts


def _check_length(steps: int, cfg: ModelConfig) -> None:
  if steps > cfg.max_length:
    raise ValueError(
      f'a row of {steps} tokens exceeds max_length = {cfg.max_length}: '
      'shorten the rows or raise max_length of the model'
    )
