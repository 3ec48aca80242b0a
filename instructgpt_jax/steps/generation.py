"""The first verb of a policy: generate, by a prefill and a decoding loop."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from instructgpt_jax.algos import sampling
from instructgpt_jax.models import cache as cache_lib
from instructgpt_jax.models import decoder
from instructgpt_jax.models.axes import Rules
from instructgpt_jax.steps import state as state_lib
from instructgpt_jax.types import Generation, KVCache, Params, Prompts


@dataclasses.dataclass(frozen=True)
class Sampling:
  """How a policy writes."""

  max_new_tokens: int  # R
  temperature: float = 1.0  # 0 is greedy
  top_k: int | None = None
  top_p: float | None = None
  pad_id: int = 0  # what stands after the end; masks, not ids, mark it
  layout: Rules | None = None  # of params meanwhile; None: as they lie
  # How often it goes on with half of the rows, when all others have ended.
  halvings: int = 0


class _Decoding(NamedTuple):
  """The state of the decoding loop; `step` response tokens are written."""

  step: jax.Array
  tokens: jax.Array  # [B L]
  mask: jax.Array  # [B L]
  logp: jax.Array  # [B R]
  done: jax.Array  # [B]
  keys: jax.Array  # [B]
  cache: KVCache


def generate(
  params: Params,
  prompts: Prompts,
  stop_ids: jax.Array,
  key: jax.Array,
  *,
  model: nn.Module,
  sampling_settings: Sampling,
) -> Generation:
  """Returns responses of at most R tokens, the stop token included.

  R tokens cost one prefill and at most R - 1 decode steps; the loop ends as
  soon as every row has stopped. Noise depends on (key, row_id, step) alone:
  not on neighbours, padding or mesh. Rows whose prompt is empty (padding of
  the last batch) write nothing.
  """
  p, r = prompts.tokens.shape[1], sampling_settings.max_new_tokens
  unembed = decoder.unembedding(params, model.cfg)

  def forward(
    state: _Decoding, tokens: jax.Array, positions: jax.Array, real: jax.Array
  ) -> _Decoding:
    read: Any = model.apply(
      {'params': params},
      tokens,
      positions=jnp.maximum(positions, 0),
      segments=real.astype(jnp.int32),
      cache=state.cache,
      first=tokens.shape[1] - 1,
    )
    hidden, cache = read
    logits = decoder.logits(hidden[:, -1], unembed)
    token, logp = _choose(state.keys, state.step, logits, sampling_settings)
    return _write(
      state._replace(cache=cache), token, logp, stop_ids, sampling_settings
    )

  def decode(state: _Decoding) -> _Decoding:
    at = p + state.step - 1  # the token written last, not yet in the cache
    token = jax.lax.dynamic_slice_in_dim(state.tokens, at, 1, 1)
    live = jax.lax.dynamic_slice_in_dim(state.mask, at, 1, 1)
    return forward(state, token, state.mask.sum(1, keepdims=True) - 1, live)

  state = forward(
    _start(prompts, key, model, sampling_settings),
    prompts.tokens,
    jnp.cumsum(prompts.mask, axis=-1) - 1,
    prompts.mask,
  )
  state = _finish(state, decode, r, sampling_settings.halvings)
  return Generation(state.tokens, state.mask, state.mask[:, p:], state.logp)


def _finish(
  state: _Decoding,
  decode: Callable[[_Decoding], _Decoding],
  length: int,
  halvings: int,
) -> _Decoding:
  """Returns the state in which every row has stopped or has all its tokens.

  Once no more than half of the rows are left, these go on by themselves.
  """
  half = len(state.done) // 2 if halvings else 0

  def more(s: _Decoding) -> jax.Array:
    return (s.step < length) & (jnp.sum(~s.done) > half)

  state = jax.lax.while_loop(more, decode, state)
  if not half:
    return state
  rows = jnp.argsort(state.done)[:half]  # all that have not ended come first
  few = state._replace(
    **state_lib.take(_per_row(state), rows),
    cache=cache_lib.take(state.cache, rows),
  )
  few = _finish(few, decode, length, halvings - 1)
  put = jax.tree.map(
    lambda whole, part: whole.at[rows].set(part), _per_row(state), _per_row(few)
  )
  return state._replace(step=few.step, **put)


def _per_row(state: _Decoding) -> dict[str, jax.Array]:
  names = 'tokens', 'mask', 'logp', 'done', 'keys'
  return {name: getattr(state, name) for name in names}


def _start(
  prompts: Prompts, key: jax.Array, model: nn.Module, settings: Sampling
) -> _Decoding:
  """Returns the state before the prefill: room for R tokens after prompts."""
  (b, p), r = prompts.tokens.shape, settings.max_new_tokens
  room = ((0, 0), (0, r))
  return _Decoding(
    step=jnp.zeros((), jnp.int32),
    tokens=jnp.pad(prompts.tokens, room, constant_values=settings.pad_id),
    mask=jnp.pad(prompts.mask, room),
    logp=jnp.zeros((b, r), jnp.float32),
    done=~prompts.mask.any(1),
    keys=jax.vmap(jax.random.fold_in, (None, 0))(key, prompts.row_id),
    cache=cache_lib.init_cache(model.cfg, b, p + r),
  )


def _write(
  state: _Decoding,
  token: jax.Array,
  logp: jax.Array,
  stop_ids: jax.Array,
  settings: Sampling,
) -> _Decoding:
  """Returns the state with one more token in every row that has not ended."""
  live = ~state.done
  token = jnp.where(live, token, settings.pad_id).astype(jnp.int32)
  logp = jnp.where(live, logp, 0.0)
  at = state.tokens.shape[1] - settings.max_new_tokens + state.step
  put = jax.lax.dynamic_update_index_in_dim
  return state._replace(
    step=state.step + 1,
    tokens=put(state.tokens, token, at, 1),
    mask=put(state.mask, live, at, 1),
    logp=put(state.logp, logp, state.step, 1),
    done=state.done | jnp.isin(token, stop_ids),
  )


def _choose(
  keys: jax.Array, step: jax.Array, logits: jax.Array, settings: Sampling
) -> tuple[jax.Array, jax.Array]:
  """Returns the token of each row and its log-probability."""
  if settings.temperature == 0:
    return sampling.greedy(logits)
  warped = sampling.warp_logits(
    logits,
    temperature=settings.temperature,
    top_k=settings.top_k,
    top_p=settings.top_p,
  )
  step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, step)
  return sampling.sample(step_keys, warped)
