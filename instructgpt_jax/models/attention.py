"""Attention: who sees whom, from where, and how far back."""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from instructgpt_jax.algos.likelihood import soft_cap
from instructgpt_jax.models import cache as kv_cache
from instructgpt_jax.models import kernels, rotary
from instructgpt_jax.models.config import ModelConfig
from instructgpt_jax.models.layers import (
  Linear,
  Norm,
  constrain,
  residual_gain,
)

MASKED = -1e30  # finite: a row that may see nothing stays free of NaN


class Place(NamedTuple):
  """Where the T tokens of a call stand: the same for every layer."""

  # [B 1 T S], True where query t may see slot s; None: a kernel attends, for
  # which `segments` say enough
  attend: jax.Array | None
  start: jax.typing.ArrayLike = 0  # the slot of the first of them
  turns: jax.Array | None = None  # as `rotary.turns` returns them
  segments: jax.Array | None = None  # [B T], None: one segment without pads


class Attention(nn.Module):
  """softmax(q k^T scale, masked) v, with heads before time throughout."""

  cfg: ModelConfig
  first: int = 0

  @nn.compact
  def __call__(self, x, place, kv, layer):
    """Returns what tokens from `first` on see, and the kept keys and values.

    x [B T D] gives [B T-first D]; kv is the pair k and v of a cache, or None.
    `layer` counts from 0 and is traced where layers are scanned.
    """
    cfg = self.cfg
    window = _window(cfg, layer)
    # A kernel attends from all tokens to all; what is not asked for goes after.
    first = 0 if place.attend is None else self.first
    q = self._heads('q', x[:, first:], cfg.heads)
    k, v = (self._heads(name, x, cfg.kv_heads) for name in ('k', 'v'))
    if cfg.qk_norm:
      q = Norm(cfg, 'rms', name='q_norm')(q)
      k = Norm(cfg, 'rms', name='k_norm')(k)
    if place.turns is not None:
      turns = rotary.of_layer(place.turns, window)
      q, k = rotary.turn(q, turns[:, :, first:]), rotary.turn(k, turns)
    q, k, v = (checkpoint_name(x, 'qkv') for x in (q, k, v))
    if place.attend is None:
      kernel = kernels.choose(cfg, kernels.platform(), x.shape[1])
      given = kernels.Operands(q, k, v, place.segments)
      y = kernels.mix(cfg, kernel, given, layer)[:, :, self.first :]
    if kv is not None:
      kept_k, k = kv_cache.write(kv[0], k, layer, place.start)
      kept_v, v = kv_cache.write(kv[1], v, layer, place.start)
      kv = (kept_k, kept_v)
    if place.attend is not None:
      attend = place.attend[:, :, first:]
      attend = _banded(attend, place.start + first, window)
      y = _mix(cfg, q, k, v, attend)
      y = checkpoint_name(y, 'attention')
    # Said of what is mixed too, or a stream split over its length moves T in
    # here, and heads from chip to chip.
    y = constrain(y, 'act_rows', 'act_heads', 'act_length', None)
    y = Linear(
      cfg,
      (cfg.heads, cfg.head_size),
      (cfg.width,),
      ('heads', 'kv', 'embed'),
      cfg.has_bias('out'),
      gain=residual_gain(cfg),
      target='out',
      name='out',
    )(y.swapaxes(1, 2))
    return y, kv

  def _heads(self, name: str, x: jax.Array, count: int) -> jax.Array:
    cfg = self.cfg
    y = Linear(
      cfg,
      (cfg.width,),
      (count, cfg.head_size),
      ('embed', 'heads', 'kv'),
      cfg.has_bias('qkv'),
      target=name,
      name=name,
    )(x)
    # [B N T H]: both products then read memory in order.
    return constrain(
      y.swapaxes(1, 2), 'act_rows', 'act_heads', 'act_length', None
    )


def _mix(
  cfg: ModelConfig,
  q: jax.Array,
  k: jax.Array,
  v: jax.Array,
  attend: jax.Array,
) -> jax.Array:
  """Returns [B N T H]: the values v [B G S H] as q [B N T H] weighs them.

  N / G query heads share a kv head. They stand next to each other, so that
  [B N T H] is also [B G (N/G T) H]: keys and values are never repeated.
  """
  grouped = (*k.shape[:2], -1, cfg.head_size)
  # The scale goes on q, the smaller operand; float16 needs it there anyway.
  scaled = q * jnp.asarray(cfg.score_scale, q.dtype)
  scores = jnp.einsum(
    'bgth,bgsh->bgts',
    scaled.reshape(grouped),
    k,
    preferred_element_type=jnp.float32,
  )
  together = scores.shape
  scores = soft_cap(scores, cfg.attention_softcap).reshape(*q.shape[:3], -1)
  weights = jax.nn.softmax(jnp.where(attend, scores, MASKED), axis=-1)
  weights = weights.astype(cfg.dtype).reshape(together)
  return jnp.einsum('bgts,bgsh->bgth', weights, v).reshape(q.shape)


def _window(cfg: ModelConfig, layer: int | jax.Array) -> int | jax.Array:
  """Returns how many slots back a layer sees, 0 for all of them."""
  if not any(cfg.windows):
    return 0
  at = layer % len(cfg.windows)
  if isinstance(at, int):
    return cfg.windows[at]
  return jnp.asarray(cfg.windows)[at]


def _banded(
  attend: jax.Array, start: jax.typing.ArrayLike, window: int | jax.Array
) -> jax.Array:
  """Returns [B 1 T S]: who may see whom in a layer with this window.

  Slots count, not positions: between two real tokens of a segment they are
  the same, however a row is padded or packed.
  """
  if isinstance(window, int) and not window:
    return attend
  steps, slots = attend.shape[-2:]
  query = start + jnp.arange(steps)
  back = query[:, None] - jnp.arange(slots)
  return attend & ((window == 0) | (back < window))
