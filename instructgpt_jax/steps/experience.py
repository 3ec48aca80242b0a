"""What PPO learns from: a rollout with rewards, advantages and returns."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from instructgpt_jax.algos import advantages as advantages_lib
from instructgpt_jax.algos import kl as kl_lib
from instructgpt_jax.algos import masked, repetition
from instructgpt_jax.steps.windows import Windows
from instructgpt_jax.types import Experience, Mean, Metrics, Rollout


@dataclasses.dataclass(frozen=True)
class PpoSettings:
  """What is static in a PPO iteration."""

  minibatches: int
  epochs: int
  gamma: float
  lam: float
  clip: float
  value_clip: float | None
  ptx_coef: float  # weight of the mean-per-token pre-training loss
  temperature: float
  missing_eos_rule: Literal['replace', 'subtract', 'none']
  missing_eos_value: float
  whiten: bool
  kl_target: float | None  # nats per response; None keeps the coefficient
  kl_horizon: float
  ema_decay: float
  ratio_limit: float  # a minibatch of a larger mean ratio moves no policy
  critic_warmup: int  # iterations in which only the value net learns
  ngram: int  # length of the n-grams whose repetition is watched
  microbatches: int  # slices of a minibatch's episodes, one at a time
  ptx_microbatches: int  # the same of its rows of text
  chunk: int
  windows: Windows | None = None  # what slices of episodes are cut to
  recompute_logp: bool = True  # False: old log-probs are the sampler's


def make_experience(
  rollout: Rollout,
  stop_ids: jax.Array,
  kl_coef: jax.Array,
  *,
  settings: PpoSettings,
) -> tuple[Experience, Metrics]:
  """Returns rewards, whitened advantages and returns; metrics of all.

  The reward is the score at the last response token minus the per-token KL
  penalty; returns are advantages before whitening plus values, so that value
  targets keep their unit. Whitening is over the whole rollout, all devices.
  """
  mask = rollout.response_mask
  last = masked.last_index(rollout.mask)
  last_token = jnp.take_along_axis(rollout.tokens, last[:, None], axis=1)[:, 0]
  ended = jnp.isin(last_token, stop_ids) & mask.any(1)
  score = advantages_lib.missing_eos(
    advantages_lib.bounded(rollout.score),
    ended,
    rule=settings.missing_eos_rule,
    value=settings.missing_eos_value,
  )
  rewards = advantages_lib.shaped_rewards(
    score, rollout.logp, rollout.ref_logp, mask, kl_coef=kl_coef
  )
  advantages, returns = advantages_lib.gae(
    rewards, rollout.values, mask, gamma=settings.gamma, lam=settings.lam
  )
  metrics = _objective_metrics(rollout, score, rewards, ended, kl_coef)
  metrics |= _collapse_metrics(rollout, ngram=settings.ngram)
  metrics |= _moments('ppo/returns', returns, mask)
  metrics |= _moments('ppo/val', rollout.values, mask)
  if settings.whiten:
    advantages = masked.whiten(advantages, mask)
  return Experience(rollout, rewards, advantages, returns), metrics


def _objective_metrics(
  rollout: Rollout,
  score: jax.Array,
  rewards: jax.Array,
  ended: jax.Array,
  kl_coef: jax.Array,
) -> Metrics:
  """Returns the curves that lm-human-preferences logs, by its names."""
  mask = rollout.response_mask
  k1 = kl_lib.kl_estimate(rollout.logp, rollout.ref_logp, kind='k1')
  k3 = kl_lib.kl_estimate(rollout.logp, rollout.ref_logp, kind='k3')

  def per_response(x: jax.Array) -> Mean:
    return Mean.of(jnp.where(mask, x, 0.0).sum(1))

  return {
    'objective/kl': per_response(k1),
    'objective/kl_k3': per_response(k3),
    'objective/kl_coef': Mean.of(kl_coef),
    'objective/score': Mean.of(rollout.score),
    'objective/score_after_eos_rule': Mean.of(score),
    'objective/score_clamped': Mean.of(
      jnp.isfinite(rollout.score)
      & (jnp.abs(rollout.score) > advantages_lib.MAX_SCORE)
    ),
    'objective/non_score_reward': per_response(-kl_coef * k1),
    'objective/score_total': Mean.of(rewards.sum(1)),
    'objective/num_eos_tokens': Mean.of(ended.sum()),
    'objective/ended': Mean.of(ended),
    'objective/length': Mean.of(mask.sum(1)),
    'objective/perplexity': _perplexity(rollout.logp, mask),
  }


def _collapse_metrics(rollout: Rollout, *, ngram: int) -> Metrics:
  """Returns what shows first that a policy falls apart, per token.

  With the entropy, which `steps.rollout` measures, these are what the limits
  of `stages.ppo` are held against. The perplexity is the reference's: of what
  the policy wrote, in the eyes of the model it came from.
  """
  mask = rollout.response_mask
  k1 = kl_lib.kl_estimate(rollout.logp, rollout.ref_logp, kind='k1')
  k3 = kl_lib.kl_estimate(rollout.logp, rollout.ref_logp, kind='k3')
  written = rollout.tokens[:, -mask.shape[1] :]
  return {
    'objective/kl_per_token': Mean.of(k1, mask),
    'objective/kl_k3_per_token': Mean.of(k3, mask),
    'objective/perplexity_reference': _perplexity(rollout.ref_logp, mask),
    'objective/repeated_ngrams': repetition.repeated_ngrams(
      written, mask, n=ngram
    ),
  }


def _perplexity(logp: jax.Array, mask: jax.Array) -> Mean:
  """Returns exp of the mean loss per token, finite for any loss."""
  loss = -masked.masked_mean(logp, mask)
  return Mean.of(jnp.exp(jnp.minimum(loss, kl_lib.MAX_EXPONENT)))


def _moments(name: str, x: jax.Array, mask: jax.Array) -> Metrics:
  """Returns mean and variance over the mask under `name`."""
  mean = masked.masked_mean(x, mask)
  variance = masked.masked_mean((x - mean) ** 2, mask)
  return {f'{name}/mean': Mean.of(mean), f'{name}/var': Mean.of(variance)}
