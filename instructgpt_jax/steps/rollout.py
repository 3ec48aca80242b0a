"""The two verbs of a policy, generate and analyze, and the rollout in them."""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from instructgpt_jax.algos import likelihood, sampling
from instructgpt_jax.models import cache as cache_lib
from instructgpt_jax.models import decoder
from instructgpt_jax.steps import reward as reward_lib
from instructgpt_jax.steps import state as state_lib
from instructgpt_jax.types import (
  Frozen,
  Generation,
  KVCache,
  Mean,
  Metrics,
  Params,
  PpoState,
  Prompts,
  Rollout,
)


@dataclasses.dataclass(frozen=True)
class Sampling:
  """How a policy writes."""

  max_new_tokens: int  # R
  temperature: float = 1.0  # 0 is greedy
  top_k: int | None = None
  top_p: float | None = None
  pad_id: int = 0  # what stands after the end; masks, not ids, mark it


class _Decoding(NamedTuple):
  """The state of the decoding loop; `step` response tokens are written."""

  step: jax.Array
  tokens: jax.Array  # [B L]
  mask: jax.Array  # [B L]
  logp: jax.Array  # [B R]
  done: jax.Array  # [B]
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
  b, p = prompts.tokens.shape
  r = sampling_settings.max_new_tokens
  keys = jax.vmap(jax.random.fold_in, (None, 0))(key, prompts.row_id)
  unembed = decoder.unembedding(params, model.cfg)

  def write(state: _Decoding, hidden: jax.Array, cache: KVCache) -> _Decoding:
    logits = decoder.logits(hidden[:, -1], unembed)
    token, logp = _choose(keys, state.step, logits, sampling_settings)
    live = ~state.done
    token = jnp.where(live, token, sampling_settings.pad_id)
    at = p + state.step
    return _Decoding(
      step=state.step + 1,
      tokens=jax.lax.dynamic_update_index_in_dim(
        state.tokens, token.astype(jnp.int32), at, 1
      ),
      mask=jax.lax.dynamic_update_index_in_dim(state.mask, live, at, 1),
      logp=jax.lax.dynamic_update_index_in_dim(
        state.logp, jnp.where(live, logp, 0.0), state.step, 1
      ),
      done=state.done | jnp.isin(token, stop_ids),
      cache=cache,
    )

  def decode(state: _Decoding) -> _Decoding:
    at = p + state.step - 1  # the token written last, not yet in the cache
    token = jax.lax.dynamic_slice_in_dim(state.tokens, at, 1, 1)
    live = jax.lax.dynamic_slice_in_dim(state.mask, at, 1, 1)
    position = state.mask.sum(1, keepdims=True) - 1
    read: Any = model.apply(
      {'params': params},
      token,
      positions=jnp.maximum(position, 0),
      segments=live.astype(jnp.int32),
      cache=state.cache,
    )
    return write(state, *read)

  prefill: Any = model.apply(
    {'params': params},
    prompts.tokens,
    positions=jnp.maximum(jnp.cumsum(prompts.mask, axis=-1) - 1, 0),
    segments=prompts.mask.astype(jnp.int32),
    cache=cache_lib.init_cache(model.cfg, b, p + r),
  )
  hidden, cache = prefill
  first = _Decoding(
    step=jnp.zeros((), jnp.int32),
    tokens=jnp.pad(
      prompts.tokens, ((0, 0), (0, r)), constant_values=sampling_settings.pad_id
    ),
    mask=jnp.pad(prompts.mask, ((0, 0), (0, r))),
    logp=jnp.zeros((b, r), jnp.float32),
    done=~prompts.mask.any(1),
    cache=cache,
  )
  last = jax.lax.while_loop(
    lambda s: (s.step < r) & ~s.done.all(), decode, write(first, hidden, cache)
  )
  return Generation(last.tokens, last.mask, last.mask[:, p:], last.logp)


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


def analyze(
  params: Params,
  tokens: jax.Array,
  mask: jax.Array,
  *,
  model: nn.Module,
  prompt_length: int,
  temperature: float = 1.0,
  chunk: int | None = None,
) -> tuple[jax.Array, jax.Array]:
  """Returns [B R] log-probabilities of the response tokens, and entropies.

  One full forward, the same numerics in rollout and update. `temperature`
  must be the sampler's: old, new and reference log-probs share one policy.
  """
  hidden, _ = model.apply(
    {'params': params},
    tokens,
    positions=jnp.maximum(jnp.cumsum(mask, axis=-1) - 1, 0),
    segments=mask.astype(jnp.int32),
  )
  return likelihood.token_logp_entropy(
    hidden[:, prompt_length - 1 : -1],
    decoder.unembedding(params, model.cfg),
    tokens[:, prompt_length:],
    temperature=temperature,
    chunk=chunk,
  )


def analyze_values(
  params: Params,
  tokens: jax.Array,
  mask: jax.Array,
  *,
  model: nn.Module,
  prompt_length: int,
) -> jax.Array:
  """Returns [B R] the value of the state before each response token."""
  values = reward_lib.scalars(params, tokens, mask, model=model)
  return values[:, prompt_length - 1 : -1]


@dataclasses.dataclass(frozen=True)
class Networks:
  """The modules of a PPO run; policy and reference share one."""

  policy: nn.Module
  reward: nn.Module  # of the reward model and of the value net


def rollout(
  state: PpoState,
  frozen: Frozen,
  prompts: Prompts,
  stop_ids: jax.Array,
  *,
  networks: Networks,
  sampling_settings: Sampling,
  parts: int = 1,
  chunk: int | None = None,
) -> tuple[Rollout, Metrics]:
  """Returns responses with all that PPO needs to know before its updates.

  `logp` is recomputed by `analyze`, so that the first minibatch's ratio is 1
  by construction; how far the sampler's own log-probs lie from it is logged.
  """
  length = prompts.tokens.shape[1]
  key = jax.random.fold_in(state.rng, state.iteration)
  generation = generate(
    state.policy.params,
    prompts,
    stop_ids,
    jax.random.fold_in(key, 0),
    model=networks.policy,
    sampling_settings=sampling_settings,
  )

  def measure(part: Generation):
    def logp_of(params: Params):
      return analyze(
        params,
        part.tokens,
        part.mask,
        model=networks.policy,
        prompt_length=length,
        temperature=sampling_settings.temperature,
        chunk=chunk,
      )

    logp, entropy = logp_of(state.policy.params)
    return (
      logp,
      entropy,
      logp_of(frozen.reference)[0],
      analyze_values(
        state.value.params,
        part.tokens,
        part.mask,
        model=networks.reward,
        prompt_length=length,
      ),
      reward_lib.score(
        frozen.reward, part.tokens, part.mask, model=networks.reward
      ),
    )

  logp, entropy, ref_logp, values, score = state_lib.by_parts(
    measure, generation, parts
  )
  mask = generation.response_mask

  def keep(x: jax.Array) -> jax.Array:
    return jnp.where(mask, x, 0.0)

  metrics = {
    'rollout/logp_gap': Mean.of(jnp.abs(logp - generation.logp), mask),
    'objective/entropy': Mean.of(keep(entropy).sum(1)),
  }
  return (
    Rollout(
      tokens=generation.tokens,
      mask=generation.mask,
      response_mask=mask,
      logp=keep(logp),
      ref_logp=keep(ref_logp),
      values=keep(values),
      score=score,
    ),
    metrics,
  )
