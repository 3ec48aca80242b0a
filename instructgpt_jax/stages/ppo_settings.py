"""The static part of config.ppo, as the steps take it."""

from __future__ import annotations

import dataclasses

from ml_collections import ConfigDict

from instructgpt_jax.stages import training
from instructgpt_jax.stages.session import Session
from instructgpt_jax.steps import windows as windows_lib
from instructgpt_jax.steps.experience import PpoSettings
from instructgpt_jax.steps.generation import Sampling
from instructgpt_jax.steps.rollout import Reading
from instructgpt_jax.steps.windows import Windows


def static(session: Session) -> PpoSettings:
  """Returns the settings of an update, its slices counted on the mesh."""
  ppo = session.config.ppo
  text = ppo.minibatch_size * ppo.ptx_rows
  count = training.slices_of
  return PpoSettings(
    minibatches=ppo.batch_size // ppo.minibatch_size,
    epochs=ppo.epochs,
    gamma=ppo.gamma,
    lam=ppo.lam,
    clip=ppo.clip,
    value_clip=ppo.value_clip or None,
    ptx_coef=ppo.ptx_coef,
    temperature=ppo.temperature,
    missing_eos_rule=ppo.missing_eos_rule,
    missing_eos_value=ppo.missing_eos_value,
    whiten=ppo.whiten,
    kl_target=ppo.kl_target or None,
    kl_horizon=ppo.kl_horizon,
    ema_decay=ppo.ema_decay,
    ratio_limit=ppo.ratio_limit,
    critic_warmup=ppo.critic_warmup,
    ngram=ppo.ngram,
    microbatches=count(session, ppo.minibatch_size, ppo.microbatch_rows),
    ptx_microbatches=count(session, text, ppo.ptx_microbatch_rows),
    chunk=ppo.chunk,
    windows=windows(session.config),
    recompute_logp=ppo.recompute_logp,
  )


def windows(config: ConfigDict) -> Windows | None:
  """Returns what slices of episodes are cut to, None: they are not."""
  counts, data = config.ppo.windows, config.data
  return windows_lib.make(
    data.prompt_length,
    data.response_length,
    (counts.prompt, counts.response),
  )


def reading(session: Session) -> Reading:
  """Returns how a rollout is read before the updates."""
  ppo = session.config.ppo
  return Reading(
    score_parts(session), ppo.chunk, windows(session.config), ppo.recompute_logp
  )


def sampling(session: Session) -> Sampling:
  """Returns how the policy writes a rollout."""
  ppo = session.config.ppo
  return dataclasses.replace(
    session.sampling(ppo.temperature), halvings=ppo.halvings
  )


def score_parts(session: Session) -> int:
  """Returns into how many slices the rows of a rollout are scored.

  Where windows cut padding off, in slices as small as those of an update: of
  all rows at once the longest would decide.
  """
  ppo, count = session.config.ppo, training.slices_of
  at_once = [ppo.rollout_rows]
  if windows(session.config) is not None:
    at_once.append(ppo.microbatch_rows)
  return max(count(session, ppo.batch_size, rows) for rows in at_once)
