"""The K-wise reward model, centred on demonstrations before PPO reads it."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from instructgpt_jax import placement, sharding
from instructgpt_jax.data import pipeline
from instructgpt_jax.models import decoder, heads, lora
from instructgpt_jax.runtime import distributed
from instructgpt_jax.stages import (
  accuracy,
  adapters,
  inputs,
  labelers,
  sources,
  training,
)
from instructgpt_jax.stages.session import (
  Session,
  abstract_params,
  load_params,
  make_optimizer,
)
from instructgpt_jax.steps import reward as reward_lib
from instructgpt_jax.steps import slices
from instructgpt_jax.types import Comparisons, Params

# Of a session and a model: what says of params how good they are.
Judge = Callable[[Session, nn.Module], Callable[[Params], dict[str, float]]]


def run(session: Session) -> dict[str, Any]:
  """Returns accuracies and the bias; writes the centred reward model."""
  rows = inputs.comparisons(session, 'train')
  kept = {'validation': inputs.comparisons(session, 'validation')}
  if distributed.decide(
    lambda: labelers.some_held_out(session), seconds=distributed.LONG
  ):
    kept['heldout'] = inputs.comparisons(session, 'heldout')
  judges = {
    name: functools.partial(accuracy.validation, rows=part, name=name)
    for name, part in kept.items()
  }
  model, params = fit(session, 'reward', rows, judges['validation'])
  demo_score = demonstration_score(session, model, params)
  params = reward_lib.centre_reward(params, jnp.float32(demo_score))
  session.save('reward', params, model)
  found = {
    'params': inputs.count(params),
    'demonstration_score_before': demo_score,
    'demonstration_score': demonstration_score(session, model, params),
    # On at most a thousand prompts.
    'train_accuracy': accuracy.on(session, model, params, rows[:1000])[
      'accuracy'
    ],
  }
  for judge in judges.values():
    found |= judge(session, model)(params)
  return found


def fit(
  session: Session, stage: str, rows: Any, judge: Judge | None = None
) -> tuple[nn.Module, Params]:
  """Returns a reward model trained on some rows, not yet centred."""
  config, settings = session.config, session.config.reward
  steps = max(1, settings.epochs * len(rows) // settings.batch_size)
  model, optimizer, step = program(session, steps)
  evaluate = judge(session, model) if judge else None
  state, frozen = training.begin(
    session, model, initial_params(session, model), optimizer
  )
  state = training.train(
    session,
    stage,
    model,
    step=functools.partial(step, frozen=frozen),
    state=state,
    batches=pipeline.comparison_batches(
      rows,
      batch_size=settings.batch_size,
      seed=config.seed + 4,
      local=placement.local_rows(session.mesh, settings.batch_size),
    ),
    steps=steps,
    settings=settings,
    show=('loss', 'accuracy', 'lr'),
    samples_per_step=settings.batch_size,
    evaluate=evaluate
    and (lambda state: evaluate(lora.union(state.params, frozen))),
  )
  return model, lora.union(state.params, frozen)


def program(session: Session, steps: int) -> training.Program:
  """Returns the step of `run`, its learning rate spread over `steps`."""
  config, settings = session.config, session.config.reward
  model = adapters.beside(session, session.scalar_model(settings.dropout))
  optimizer, schedule = make_optimizer(settings.optimizer, steps)
  step = functools.partial(
    reward_lib.reward_step,
    model=model,
    optimizer=optimizer,
    settings=reward_lib.RewardSettings(
      microbatches=training.slices_of(
        session, settings.batch_size, settings.microbatch_rows
      ),
      slices=slices.count(
        settings.completions, 1, settings.completions_at_once
      ),
      seed=config.seed + 4,
    ),
  )
  compiled = training.jit_step(training.with_rate(step, schedule))
  return training.Program(model, optimizer, compiled)


def batch_shapes(session: Session) -> Comparisons:
  """Returns the shapes of a batch of comparisons, as `put_batch` lays it."""
  settings = session.config.reward
  groups = (settings.batch_size, settings.completions)
  of = functools.partial(training.rows_of, session)
  return Comparisons(
    tokens=of(jnp.int32, *groups, settings.sequence_length),
    mask=of(bool, *groups, settings.sequence_length),
    ranks=of(jnp.int32, *groups),
    valid=of(bool, *groups),
  )


def initial_params(session: Session, model: nn.Module) -> Params:
  """Returns the trunk of the SFT model (or config.init.reward_base).

  With a new head, unless that folder holds one, and with fresh adapters if
  `model` has any.
  """
  params = _base_params(session, lora.base(model))
  return adapters.start(session, model, params, session.config.seed + 11)


def _base_params(session: Session, model: nn.Module) -> Params:
  language = session.reward_language_model()
  given = session.config.init.reward_base
  if given:
    base = sources.params_folder(pathlib.Path(given))
    if sources.has_score(base):
      return load_params(session, base, model)
    trunk = load_params(session, base, language)
  else:
    trunk = session.load('sft', language)
  wanted = abstract_params(model, session.mesh, session.rules)
  return heads.scalar_from_language(
    trunk, {**wanted, 'head': _fresh_head(session, model)}
  )


def _fresh_head(session: Session, model: nn.Module) -> Params:
  """Returns a new head; the trunk that would come with it is never made."""

  def make(key: jax.Array) -> Params:
    return decoder.init_params(model, key, boxed=True)['head']

  key = jax.random.key(session.config.seed + 5)
  return sharding.create(make, session.mesh, session.rules, key)


def demonstration_score(
  session: Session, model: nn.Module, params: Params
) -> float:
  """Returns the mean score of (at most some thousand) demonstrations."""
  score = jax.jit(functools.partial(reward_lib.segment_scores, model=model))
  rows = inputs.demonstration_rows(session, 'train')[:2000]
  size = session.config.reward.batch_size
  batches = pipeline.token_batches_once(
    rows, batch_size=size, local=placement.local_rows(session.mesh, size)
  )
  means = training.merged(
    session, lambda batch: {'score': score(params, batch)}, batches
  )
  return means['score']
