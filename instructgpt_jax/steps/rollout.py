"""The two verbs of a policy, generate and analyze, and the rollout in them."""

import dataclasses
import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from instructgpt_jax.algos import likelihood
from instructgpt_jax.models import decoder, lora, memory
from instructgpt_jax.steps import decoding
from instructgpt_jax.steps import reward as reward_lib
from instructgpt_jax.steps import state as state_lib
from instructgpt_jax.steps import windows as windows_lib
from instructgpt_jax.steps.generation import Sampling, generate
from instructgpt_jax.steps.windows import Windows
from instructgpt_jax.types import (
  Frozen,
  Generation,
  Mean,
  Metrics,
  Params,
  PpoState,
  Prompts,
  Rollout,
)


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
  params = memory.fetch(params, stacked=False)
  hidden, _ = model.apply(
    {'params': params},
    tokens,
    positions=jnp.maximum(jnp.cumsum(mask, axis=-1) - 1, 0),
    segments=mask.astype(jnp.int32),
    first=prompt_length - 1,
  )
  return likelihood.token_logp_entropy(
    hidden[:, :-1],
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
  return reward_lib.scalars(
    params, tokens, mask, model=model, first=prompt_length - 1
  )[:, :-1]


def respond(
  params: Params,
  prompts: Prompts,
  stop_ids: jax.Array,
  key: jax.Array,
  *,
  model: nn.Module,
  sampling_settings: Sampling,
  parts: int = 1,
) -> Generation:
  """Returns `generate` of all rows, the params laid out for it once."""
  rules = sampling_settings.layout
  params, model = decoding.prepare(params, model, rules)

  def write_part(part: Prompts) -> Generation:
    return generate(
      params,
      part,
      stop_ids,
      key,
      model=model,
      sampling_settings=sampling_settings,
    )

  with decoding.ruled(rules):
    return state_lib.by_parts(write_part, prompts, parts)


@dataclasses.dataclass(frozen=True)
class Reading:
  """How the networks read what was written.

  In so many slices of rows, one at a time, each cut to a window if there are
  any; logits of so many positions at once.
  """

  parts: int = 1
  chunk: int | None = None
  windows: Windows | None = None
  # False: old log-probs are the sampler's own, a forward less.
  recompute_logp: bool = True


@dataclasses.dataclass(frozen=True)
class Networks:
  """The modules of a PPO run; policy and reference share one."""

  policy: nn.Module
  reward: nn.Module  # of the value net and, less adapters, the reward model


def rollout(
  state: PpoState,
  frozen: Frozen,
  prompts: Prompts,
  stop_ids: jax.Array,
  *,
  networks: Networks,
  sampling_settings: Sampling,
  parts: int = 1,
  reading: Reading = Reading(),
) -> tuple[Rollout, Metrics]:
  """Returns responses with all that PPO needs to know before its updates.

  `write`, of `parts` slices of the rows, one at a time, then `measure`.
  """
  generation = write(
    state,
    frozen,
    prompts,
    stop_ids,
    networks=networks,
    sampling_settings=sampling_settings,
    parts=parts,
  )
  return measure(
    state,
    frozen,
    generation,
    networks=networks,
    temperature=sampling_settings.temperature,
    reading=reading,
  )


def write(
  state: PpoState,
  frozen: Frozen,
  prompts: Prompts,
  stop_ids: jax.Array,
  *,
  networks: Networks,
  sampling_settings: Sampling,
  parts: int,
) -> Generation:
  """Returns what the policy writes after the prompts in this iteration."""
  key = jax.random.fold_in(state.rng, state.iteration)
  policy = lora.union(state.policy.params, frozen.reference)
  return respond(
    policy,
    prompts,
    stop_ids,
    jax.random.fold_in(key, 0),
    model=networks.policy,
    sampling_settings=sampling_settings,
    parts=parts,
  )


def measure(
  state: PpoState,
  frozen: Frozen,
  generation: Generation,
  *,
  networks: Networks,
  temperature: float,
  reading: Reading,
) -> tuple[Rollout, Metrics]:
  """Returns the generation as policy, reference, value net and reward see it.

  `logp` is recomputed by `analyze`, so that the first minibatch's ratio is 1
  by construction (in windows up to rounding: slices differ); how far the
  sampler's own log-probs lie from it is logged. Or it is the sampler's.
  """
  one = functools.partial(
    _measure,
    state=state,
    frozen=frozen,
    networks=networks,
    temperature=temperature,
    reading=reading,
  )
  if reading.windows is None:
    found = state_lib.by_parts(one, generation, reading.parts)
  else:
    masks = generation.mask, generation.response_mask
    rows = windows_lib.order(*masks, reading.windows, reading.parts)
    alike = state_lib.take(generation, rows)
    found = state_lib.by_parts(one, alike, reading.parts)
    found = state_lib.take(found, jnp.argsort(rows))
  rollout = Rollout(
    tokens=generation.tokens,
    mask=generation.mask,
    response_mask=generation.response_mask,
    logp=generation.logp if found.logp is None else found.logp,
    ref_logp=found.ref_logp,
    values=found.values,
    score=found.score,
  )
  if found.logp is None:
    return rollout, {}
  gap, mask = jnp.abs(found.logp - generation.logp), generation.response_mask
  return rollout, {
    'rollout/logp_gap': Mean.of(gap, mask),
    'objective/entropy': Mean.of(found.entropy.sum(1)),
    'objective/entropy_per_token': Mean.of(found.entropy, mask),
  }


class _Seen(NamedTuple):
  """What the networks say of some rows; [B R], pads set to 0."""

  logp: jax.Array | None
  entropy: jax.Array | None
  ref_logp: jax.Array
  values: jax.Array
  score: jax.Array  # [B]


def _measure(
  part: Generation,
  *,
  state: PpoState,
  frozen: Frozen,
  networks: Networks,
  temperature: float,
  reading: Reading,
) -> _Seen:
  """Returns what the networks see, their padding cut off meanwhile."""
  r = part.response_mask.shape[1]
  # Adapters stand beside the reference and the reward model: no second copy.
  policy = lora.union(state.policy.params, frozen.reference)
  value = lora.union(state.value.params, frozen.critic)

  def read(part: Generation) -> _Seen:
    written, mask = (part.tokens, part.mask), part.response_mask
    length = part.tokens.shape[1] - mask.shape[1]
    logps = functools.partial(
      analyze,
      prompt_length=length,
      temperature=temperature,
      chunk=reading.chunk,
    )

    def keep(x: jax.Array) -> jax.Array:
      room = ((0, 0), (0, r - mask.shape[1]))
      return jnp.pad(jnp.where(mask, x, 0.0), room)

    logp = entropy = None
    if reading.recompute_logp:
      found = logps(policy, *written, model=networks.policy)
      logp, entropy = map(keep, found)
    reference = lora.base(networks.policy)
    ref_logp, _ = logps(frozen.reference, *written, model=reference)
    values = analyze_values(
      value, *written, model=networks.reward, prompt_length=length
    )
    judge = lora.base(networks.reward)
    return _Seen(
      logp,
      entropy,
      keep(ref_logp),
      keep(values),
      reward_lib.score(frozen.reward, *written, model=judge, first=length - 1),
    )

  masks = part.mask, part.response_mask
  return windows_lib.within(read, part, *masks, reading.windows)
