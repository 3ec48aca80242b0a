"""Keys and values of past tokens, for decoding one token at a time.

A cache is an array per role and layer; where layers are scanned, one per role
with all layers stacked in front. It is carried through the layers, never
scanned over, so that XLA updates it in place.
Slots fill from the left: `length` is how many are used, and `mask` says which
of them hold a real token, so a left-padded prompt needs nothing special.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from instructgpt_jax.models.axes import constrain
from instructgpt_jax.models.config import ModelConfig
from instructgpt_jax.types import KVCache


def init_cache(cfg: ModelConfig, batch: int, length: int) -> KVCache:
  """Returns an empty cache of `length` slots for `batch` rows.

  Raises ValueError when `length` exceeds the positions the model knows.
  """
  if length > cfg.max_length:
    raise ValueError(
      f'a cache of {length} slots exceeds max_length = {cfg.max_length}: '
      'shorten prompt + response or raise max_length of the model'
    )
  shape = (batch, cfg.kv_heads, length, cfg.head_size)

  def empty() -> Any:
    if cfg.scan_layers:
      return jnp.zeros((cfg.layers, *shape), cfg.dtype)
    return tuple(jnp.zeros(shape, cfg.dtype) for _ in range(cfg.layers))

  return KVCache(
    # Two arrays, not one used twice: a donated buffer may appear only once.
    k=empty(),
    v=empty(),
    mask=jnp.zeros((batch, length), bool),
    length=0,  # no array: who traces a prefill sees that it is empty
  )


def is_empty(cache: KVCache) -> bool:
  """Returns whether it is known, while tracing, that no slot is in use."""
  return isinstance(cache.length, int) and cache.length == 0


def advance(cache: KVCache, real: jax.Array) -> tuple[KVCache, jax.Array]:
  """Returns the cache with T more slots in use, and who may see what.

  real [B T] is True for tokens that count. The second result [B 1 T S] is
  True where query t may attend to slot s: the slot holds a real token and is
  not later than the query's own. k and v are not touched here; `write` does
  it layer by layer. Raises ValueError when T alone exceeds S; filling a cache
  beyond its end step by step cannot be seen at trace time and is the caller's
  to avoid.
  """
  steps, slots = real.shape[1], cache.mask.shape[1]
  if steps > slots:
    raise ValueError(
      f'{steps} tokens do not fit a cache of {slots} slots: '
      'make it as long as prompt + response'
    )
  mask = lax.dynamic_update_slice(cache.mask, real, (0, cache.length))
  last = cache.length + jnp.arange(steps)
  causal = jnp.arange(slots)[None, :] <= last[:, None]
  attend = mask[:, None, None, :] & causal[None, None]
  length = jnp.int32(cache.length + steps)
  return dataclasses.replace(cache, mask=mask, length=length), attend


def take(cache: KVCache, rows: jax.Array) -> KVCache:
  """Returns the cache of these rows."""
  names = 'act_rows', 'act_heads', None, None

  def of(kept: jax.Array) -> jax.Array:
    stacked = (None,) * (kept.ndim - len(names))
    return constrain(jnp.take(kept, rows, axis=-4), *stacked, *names)

  k, v = jax.tree.map(of, (cache.k, cache.v))
  return dataclasses.replace(cache, k=k, v=v, mask=cache.mask[rows])


def write(
  kept: Any,
  new: jax.Array,
  layer: Any,
  start: jax.typing.ArrayLike,
) -> tuple[Any, jax.Array]:
  """Returns k or v of a cache with `new` [B G T H] put in, and that layer."""
  names = 'act_rows', 'act_heads', None, None
  if isinstance(kept, tuple):
    new = new.astype(kept[layer].dtype)
    own = lax.dynamic_update_slice(kept[layer], new, (0, 0, start, 0))
    own = constrain(own, *names)
    return (*kept[:layer], own, *kept[layer + 1 :]), own
  kept = lax.dynamic_update_slice(
    kept, new.astype(kept.dtype)[None], (layer, 0, 0, start, 0)
  )
  kept = constrain(kept, None, *names)
  return kept, lax.dynamic_index_in_dim(kept, layer, 0, keepdims=False)
