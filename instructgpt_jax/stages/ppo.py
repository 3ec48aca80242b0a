"""PPO-ptx: two device programs per iteration, rollout and update."""

from __future__ import annotations

import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from instructgpt_jax import placement
from instructgpt_jax.data import pipeline
from instructgpt_jax.models import lora
from instructgpt_jax.runtime import loop
from instructgpt_jax.stages import (
  adapters,
  collapse,
  inputs,
  ppo_settings,
  sources,
  training,
)
from instructgpt_jax.stages import probe as probe_lib
from instructgpt_jax.stages.session import (
  Session,
  load_params,
  make_optimizer,
)
from instructgpt_jax.stages.states import train_state
from instructgpt_jax.steps import ppo as ppo_lib
from instructgpt_jax.steps import rollout as rollout_lib
from instructgpt_jax.types import (
  Frozen,
  Mean,
  Metrics,
  Params,
  PpoBatch,
  PpoState,
  Prompts,
)

SHOWN = ('objective/score', 'objective/kl', 'objective/length')


def run(session: Session) -> dict[str, Any]:
  """Returns the last metrics; writes policy, its EMA and the value net."""
  config = session.config
  networks = make_networks(session)
  frozen = frozen_networks(session, networks)
  optimizers, schedule = make_optimizers(session)
  probe = probe_lib.Probe(session, networks, frozen)
  state = training.train(
    session,
    'ppo',
    networks.policy,
    step=iteration(session, networks, frozen, optimizers, schedule),
    state=initial_state(session, networks, frozen, optimizers),
    batches=batches(session),
    steps=config.ppo.iterations,
    settings=config.ppo,
    show=SHOWN,
    samples_per_step=config.ppo.batch_size,
    watch=collapse.watch(config.ppo),
    evaluate=probe.metrics if config.ppo.probe_prompts else None,
    evaluate_first=True,
    samples=probe.samples if config.ppo.probe_prompts else None,
  )
  policy = lora.union(state.policy.params, frozen.reference)
  value = lora.union(state.value.params, frozen.critic)
  session.save('ppo', policy, networks.policy)
  if state.policy.ema is not None:
    ema = lora.union(state.policy.ema, frozen.reference)
    session.save('ppo', ema, networks.policy, 'ema')
  session.save('ppo', value, networks.reward, 'value')
  return {
    'params': inputs.count(policy),
    'value_params': inputs.count(value),
    'updates': int(state.policy.step),
  }


def make_networks(session: Session) -> rollout_lib.Networks:
  """Returns the modules of policy and value net, with adapters if asked."""
  return rollout_lib.Networks(
    adapters.beside(session, session.language_model()),
    adapters.beside(session, session.scalar_model()),
  )


def frozen_networks(session: Session, networks: rollout_lib.Networks) -> Frozen:
  """Returns reference and reward model, which adapters stand beside.

  Those of a value net that starts from init.value have weights of their own.
  """
  adapted = networks.reward.cfg.lora is not None
  load = functools.partial(session.load, on_host=session.config.offload.frozen)
  return Frozen(
    reference=load('sft', lora.base(networks.policy)),
    reward=load('reward', lora.base(networks.reward)),
    value=_given_value(session, networks) if adapted else None,
  )


def _given_value(
  session: Session, networks: rollout_lib.Networks
) -> Params | None:
  """Returns the params of init.value, None where nothing is named."""
  given = session.config.init.value
  if not given:
    return None
  folder = sources.start_folder('value', pathlib.Path(given))
  return load_params(session, folder, lora.base(networks.reward))


def updates_per_iteration(settings: Any) -> int:
  """Returns how many optimizer updates one rollout gives."""
  return settings.epochs * (settings.batch_size // settings.minibatch_size)


def make_optimizers(session: Session) -> tuple[ppo_lib.Optimizers, Any]:
  """Returns the optimizers, and the policy's learning rate."""
  settings = session.config.ppo
  steps = settings.iterations * updates_per_iteration(settings)
  policy, schedule = make_optimizer(settings.optimizer, steps)
  value, _ = make_optimizer(settings.value_optimizer, steps)
  return ppo_lib.Optimizers(policy, value), schedule


def initial_state(
  session: Session,
  networks: rollout_lib.Networks,
  frozen: Frozen,
  optimizers: ppo_lib.Optimizers,
) -> PpoState:
  """Returns the state before the first iteration (InstructGPT C.4).

  The policy starts from the SFT model, the value net from the reward model or
  from init.value.
  """
  settings = session.config.ppo
  value = None
  if networks.reward.cfg.lora is None:
    value = _given_value(session, networks)
  if value is None:
    value = frozen.critic
  seed = session.config.seed + 12
  start = adapters.start(session, networks.policy, frozen.reference, seed)
  value = adapters.start(session, networks.reward, value, seed + 1)
  return PpoState(
    policy=train_state(
      networks.policy,
      start,
      optimizers.policy,
      session,
      ema=settings.ema_decay > 0,
    ),
    value=train_state(networks.reward, value, optimizers.value, session),
    kl_coef=session.everywhere(lambda: jnp.float32(settings.kl_coef)),
    iteration=session.everywhere(lambda: jnp.int32(0)),
    rng=session.everywhere(lambda: jax.random.key(session.config.seed + 6)),
  )


class Programs(NamedTuple):
  """The device programs of an iteration, jitted; then the halves of the first.

  Only metrics come back to the host in between. A run compiles two; `fit`
  looks at the halves of the rollout one by one.
  """

  rollout: Any  # (state, frozen, prompts, stop_ids) -> (Rollout, metrics)
  # (state, rollout, text, stop_ids, frozen) -> (state, metrics); donates
  update: Any
  write: Any  # (state, frozen, prompts, stop_ids) -> Generation
  measure: Any  # (state, frozen, generation) -> (Rollout, metrics)


def programs(
  session: Session,
  networks: rollout_lib.Networks,
  optimizers: ppo_lib.Optimizers,
  schedule: Any,
) -> Programs:
  """Returns what an iteration runs; there need be no weights yet."""
  settings = session.config.ppo
  parts = training.slices_of(
    session, settings.batch_size, settings.rollout_rows
  )
  writing: dict[str, Any] = dict(
    networks=networks,
    sampling_settings=ppo_settings.sampling(session),
    parts=parts,
  )
  reading = ppo_settings.reading(session)
  bind = functools.partial
  rollout = bind(rollout_lib.rollout, **writing, reading=reading)
  write = bind(rollout_lib.write, **writing)
  measure = bind(
    rollout_lib.measure,
    networks=networks,
    temperature=settings.temperature,
    reading=reading,
  )

  def update(state: PpoState, *args: Any) -> tuple[PpoState, Metrics]:
    rate = schedule(state.policy.step)
    state, metrics = ppo_lib.ppo_update(
      state,
      *args,
      networks=networks,
      optimizers=optimizers,
      settings=ppo_settings.static(session),
    )
    return state, metrics | {'lr': Mean.of(rate)}

  return Programs(
    jax.jit(rollout),
    jax.jit(update, donate_argnums=0),
    jax.jit(write),
    jax.jit(measure),
  )


def iteration(
  session: Session,
  networks: rollout_lib.Networks,
  frozen: Frozen,
  optimizers: ppo_lib.Optimizers,
  schedule: Any,
) -> loop.Step:
  """Returns (state, PpoBatch) -> (state, metrics): the programs in order."""
  roll, update, *_ = programs(session, networks, optimizers, schedule)

  def step(state: PpoState, batch: PpoBatch) -> tuple[PpoState, Metrics]:
    rollout, measured = roll(state, frozen, batch.prompts, session.stop_ids)
    state, metrics = update(
      state, rollout, batch.pretrain, session.stop_ids, frozen
    )
    return state, measured | metrics

  return step


def batches(session: Session) -> Any:
  """Returns an iterator of PpoBatch: prompts, and text where ptx is on."""
  config, settings = session.config, session.config.ppo
  prompts = pipeline.prompt_batches(
    inputs.prompts(session, 'ppo'),
    batch_size=settings.batch_size,
    length=config.data.prompt_length,
    seed=config.seed + 7,
    local=placement.local_rows(session.mesh, settings.batch_size),
  )
  if not settings.ptx_rows:
    return pipeline.Map(prompts, lambda batch: PpoBatch(batch, None))
  count = settings.batch_size * settings.ptx_rows * settings.epochs
  text = pipeline.token_batches(
    inputs.text_rows(session, 'train'),
    batch_size=count,
    seed=config.seed + 8,
    local=placement.local_rows(session.mesh, count),
  )
  return pipeline.Map(pipeline.Zip(prompts, text), lambda pair: PpoBatch(*pair))


def batch_shapes(session: Session) -> PpoBatch:
  """Returns the shapes of what `batches` yields."""
  config, settings = session.config, session.config.ppo
  rows = (settings.batch_size, config.data.prompt_length)
  of = functools.partial(training.rows_of, session)
  prompts = Prompts(
    of(jnp.int32, *rows), of(bool, *rows), of(jnp.int32, rows[0])
  )
  if not settings.ptx_rows:
    return PpoBatch(prompts, None)
  text = settings.batch_size * settings.ptx_rows * settings.epochs
  return PpoBatch(prompts, training.token_shapes(session, text))
