"""PPO-ptx: minibatch updates on the experience of one rollout, in one scan."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from instructgpt_jax.algos import kl as kl_lib
from instructgpt_jax.algos import ppo
from instructgpt_jax.steps import minibatches
from instructgpt_jax.steps import rollout as rollout_lib
from instructgpt_jax.steps import sft as sft_lib
from instructgpt_jax.steps import state as state_lib
from instructgpt_jax.steps.experience import PpoSettings, make_experience
from instructgpt_jax.steps.minibatches import Minibatch
from instructgpt_jax.types import (
  Experience,
  Frozen,
  Mean,
  Metrics,
  Params,
  PpoState,
  Rollout,
  TokenBatch,
  TrainState,
)


class Optimizers(NamedTuple):
  policy: optax.GradientTransformation
  value: optax.GradientTransformation


def policy_gradients(
  params: Params,
  batch: Minibatch,
  *,
  networks: rollout_lib.Networks,
  settings: PpoSettings,
  key: jax.Array,
  frozen: Params | None = None,
) -> tuple[Params, Metrics]:
  """Returns the gradient of PPO + ptx_coef x pre-training loss, as one sum.

  One gradient means one optimizer update: with two, Adam would divide the
  coefficient away (InstructGPT C.4).
  """
  weight = state_lib.mask_weight(batch.experience.rollout.response_mask)

  def loss_fn(params: Params, part: Experience, _: jax.Array):
    rollout = part.rollout
    logp, entropy = rollout_lib.analyze(
      params,
      rollout.tokens,
      rollout.mask,
      model=networks.policy,
      prompt_length=_prompt_length(rollout),
      temperature=settings.temperature,
      chunk=settings.chunk,
    )
    mask = rollout.response_mask
    loss, stats = ppo.policy_loss(
      logp, rollout.logp, part.advantages, mask, clip=settings.clip
    )
    metrics = {
      'ppo/loss/policy': loss,
      'ppo/policy/entropy': Mean.of(entropy, mask),
      'ppo/policy/logp_change': Mean.of(jnp.abs(logp - rollout.logp), mask),
    }
    metrics |= {f'ppo/policy/{name}': mean for name, mean in stats.items()}
    return loss.total / weight, metrics

  accumulate = functools.partial(
    state_lib.accumulate, params=params, key=key, frozen=frozen
  )
  grads, metrics = accumulate(
    loss_fn,
    batch=batch.experience,
    parts=settings.microbatches,
    within=functools.partial(minibatches.within, settings=settings),
  )
  if batch.pretrain is None:
    return grads, metrics
  text_loss = sft_lib.mean_loss(
    batch.pretrain,
    'ppo/loss/pretrain',
    model=networks.policy,
    chunk=settings.chunk,
    coef=settings.ptx_coef,
    dropout=False,  # as in the pass over the responses: one policy
  )
  grads, text_metrics = accumulate(
    text_loss,
    batch=batch.pretrain,
    parts=settings.ptx_microbatches,
    grads=grads,
  )
  return grads, metrics | text_metrics


def value_gradients(
  params: Params,
  batch: Experience,
  *,
  networks: rollout_lib.Networks,
  settings: PpoSettings,
  key: jax.Array,
  frozen: Params | None = None,
) -> tuple[Params, Metrics]:
  """Returns the gradient of the clipped value loss, and its metrics."""
  weight = state_lib.mask_weight(batch.rollout.response_mask)

  def loss_fn(params: Params, part: Experience, _: jax.Array):
    rollout = part.rollout
    values = rollout_lib.analyze_values(
      params,
      rollout.tokens,
      rollout.mask,
      model=networks.reward,
      prompt_length=_prompt_length(rollout),
    )
    loss, stats = ppo.value_loss(
      values,
      rollout.values,
      part.returns,
      rollout.response_mask,
      clip=settings.value_clip,
    )
    metrics = {'ppo/loss/value': loss}
    metrics |= {f'ppo/val/{name}': mean for name, mean in stats.items()}
    return loss.total / weight, metrics

  return state_lib.accumulate(
    loss_fn,
    params,
    batch,
    parts=settings.microbatches,
    key=key,
    frozen=frozen,
    within=functools.partial(minibatches.within, settings=settings),
  )


def _prompt_length(rollout: Rollout) -> int:
  return rollout.tokens.shape[1] - rollout.response_mask.shape[1]


def ppo_minibatch_step(
  state: PpoState,
  batch: Minibatch,
  frozen: Frozen | None = None,
  *,
  networks: rollout_lib.Networks,
  optimizers: Optimizers,
  settings: PpoSettings,
) -> tuple[PpoState, Metrics]:
  """Returns the state after one policy update and one value update.

  The policy stays as it is during critic warm-up, and where the mean ratio
  shows that the minibatch is too far from the policy that wrote it. Adapters
  stand beside what is `frozen`.
  """
  key = jax.random.key(0)  # no dropout in PPO: ratios must be reproducible
  alike = minibatches.alike(batch.experience, settings)
  batch = dataclasses.replace(batch, experience=alike)
  bound: dict[str, Any] = dict(networks=networks, settings=settings, key=key)
  base = critic = None
  if frozen is not None:
    base, critic = frozen.reference, frozen.critic
  grads, metrics = policy_gradients(
    state.policy.params, batch, **bound, frozen=base
  )
  value_grads, value_metrics = value_gradients(
    state.value.params, batch.experience, **bound, frozen=critic
  )
  ratio = metrics['ppo/policy/ratio'].value()
  too_far = ~(ratio <= settings.ratio_limit)  # NaN is too far as well
  skip = too_far | (state.iteration < settings.critic_warmup)
  policy = jax.lax.cond(
    skip,
    lambda policy, grads: policy,
    functools.partial(
      state_lib.apply_gradients,
      optimizer=optimizers.policy,
      ema_decay=settings.ema_decay,
    ),
    state.policy,
    grads,
  )
  value: TrainState = state_lib.apply_gradients(
    state.value, value_grads, optimizers.value
  )
  metrics |= value_metrics
  losses = ('ppo/loss/policy', 'ppo/loss/value')
  total = sum(metrics[name].value() for name in losses)
  if 'ppo/loss/pretrain' in metrics:
    total += settings.ptx_coef * metrics['ppo/loss/pretrain'].value()
  metrics['ppo/loss/total'] = Mean.of(total)
  metrics['ppo/policy/grad_norm'] = Mean.of(optax.tree.norm(grads))
  metrics['ppo/val/grad_norm'] = Mean.of(optax.tree.norm(value_grads))
  metrics['ppo/policy/skipped'] = Mean.of(too_far)
  return dataclasses.replace(state, policy=policy, value=value), metrics


def ppo_update(
  state: PpoState,
  rollout: Rollout,
  pretrain: TokenBatch | None,
  stop_ids: jax.Array,
  frozen: Frozen | None = None,
  *,
  networks: rollout_lib.Networks,
  optimizers: Optimizers,
  settings: PpoSettings,
) -> tuple[PpoState, Metrics]:
  """Returns the state after epochs x minibatches updates on one rollout.

  Rows are shuffled anew in every epoch; each minibatch comes with its own
  rows of `pretrain`, which is used once from first to last. Only networks
  with adapters read what is `frozen`.
  """
  experience, metrics = make_experience(
    rollout, stop_ids, state.kl_coef, settings=settings
  )
  key = jax.random.fold_in(jax.random.fold_in(state.rng, state.iteration), 1)
  batches = Minibatch(
    minibatches.shuffled(experience, key, settings),
    minibatches.stack(pretrain, settings.epochs * settings.minibatches),
  )
  step = functools.partial(
    ppo_minibatch_step,
    frozen=frozen,
    networks=networks,
    optimizers=optimizers,
    settings=settings,
  )
  state, update_metrics = jax.lax.scan(step, state, batches)
  metrics |= _explained(state_lib.sum_means(update_metrics))
  if not settings.recompute_logp:
    metrics |= _first_look(update_metrics)
  if settings.kl_target is not None:
    kl_coef = kl_lib.adaptive_kl(
      state.kl_coef,
      metrics['objective/kl'].value(),
      target=settings.kl_target,
      horizon=settings.kl_horizon,
      n=rollout.tokens.shape[0],
    )
    state = dataclasses.replace(state, kl_coef=kl_coef)
  episodes = (state.iteration + 1) * rollout.tokens.shape[0]
  metrics['episodes'] = Mean.of(episodes)
  return dataclasses.replace(state, iteration=state.iteration + 1), metrics


def _first_look(metrics: Metrics) -> Metrics:
  """Returns what `measure` left to the first minibatch, before any update."""
  first = jax.tree.map(lambda x: x[0], metrics)
  return {
    'rollout/logp_gap': first['ppo/policy/logp_change'],
    'objective/entropy_per_token': first['ppo/policy/entropy'],
  }


def _explained(metrics: Metrics) -> Metrics:
  """Returns the metrics with explained variance for the sums behind it."""
  names = ('error', 'returns', 'returns_sq')
  sums = {name: metrics[f'ppo/val/{name}'] for name in names}
  explained = Mean.of(ppo.explained_variance(sums))
  hidden = ('ppo/val/returns', 'ppo/val/returns_sq')
  kept = {name: mean for name, mean in metrics.items() if name not in hidden}
  kept['ppo/val/vpred'] = kept.pop('ppo/val/values')
  return kept | {'ppo/val/var_explained': explained}
