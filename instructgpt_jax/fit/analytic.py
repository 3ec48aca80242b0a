"""What a phase computes and moves, by arithmetic: no compiler asked.

Useful FLOPs count causal attention at half and nothing twice; done FLOPs add
what this program really does: attention to what is masked, and what `remat`
computes again. Bytes of memory traffic and temporaries are estimates of the
large terms, good to perhaps a third.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax

from instructgpt_jax import offload
from instructgpt_jax.fit.chips import Slice
from instructgpt_jax.fit.passes import Batch, Passes, Work
from instructgpt_jax.stages import (
  adapters,
  layouts,
  ppo_settings,
  sft,
  training,
)
from instructgpt_jax.stages.session import Session, abstract_params
from instructgpt_jax.steps import slices


def work(session: Session, phase: str, target: Slice) -> Work:
  """Returns the work of one chip in one run of a phase's program."""
  config = session.config
  if phase == 'sft':
    return _sft(session, target)
  if phase == 'reward':
    return _reward(session, target)
  if phase == 'update':
    return _update(session, target)
  p, r = config.data.prompt_length, config.data.response_length
  rows = config.ppo.batch_size
  if phase == 'score':
    parts = ppo_settings.score_parts(session)
    said, seen = Batch(rows, p + r, r, p - 1), Batch(rows, p + r, 0, p - 1)
    policy = _policy(session, target).forward(said, parts)
    other = _scalar(session, target).forward(seen, parts)
    return policy.times(1 + config.ppo.recompute_logp) + other.times(2)
  parts = training.slices_of(session, rows, config.ppo.rollout_rows)
  writer = _writer(session, target)
  stored = abstract_params(
    session.language_model(), session.mesh, session.rules
  )
  lay_out = writer.lay_out(shard_bytes(stored))
  if phase == 'layout':
    return lay_out
  return writer.generate(rows, p, r, parts) + lay_out


def _sft(session: Session, target: Slice) -> Work:
  settings, length = session.config.sft, session.config.data.row_length
  policy, at_once = _policy(session, target), settings.microbatch_rows
  found = policy.adam(1, _moments(settings.optimizer))
  for rows in filter(None, (settings.batch_size, settings.pretrain_rows)):
    whole = sft.filled(session, rows)
    parts = training.slices_of(session, whole, at_once)
    work = policy.gradients(Batch(whole, length, length), parts, 1)
    # What fills a batch up is done like the rest and of no use.
    found += dataclasses.replace(work, flops=work.flops * rows / whole)
  return found


def _reward(session: Session, target: Slice) -> Work:
  settings, scalar = session.config.reward, _scalar(session, target)
  rows = settings.batch_size * settings.completions
  parts = training.slices_of(
    session, settings.batch_size, settings.microbatch_rows
  )
  batch = Batch(rows, settings.sequence_length, 0)
  moments = _moments(settings.optimizer)
  cut = slices.count(settings.completions, 1, settings.completions_at_once)
  found = scalar.gradients(batch, parts * cut, 1)
  if cut > 1:  # each slice is read twice, to the same use
    again = scalar.forward(batch, parts * cut)
    found += dataclasses.replace(again, flops=0.0)
  return found + scalar.adam(1, moments)


def _update(session: Session, target: Slice) -> Work:
  settings, data = session.config.ppo, session.config.data
  p, r = data.prompt_length, data.response_length
  updates = settings.epochs * (settings.batch_size // settings.minibatch_size)
  rows = settings.batch_size * settings.epochs
  parts = training.slices_of(
    session, settings.minibatch_size, settings.microbatch_rows
  )
  policy, scalar = _policy(session, target), _scalar(session, target)
  moments = _moments(settings.optimizer)
  found = policy.gradients(Batch(rows, p + r, r, p - 1), parts, updates)
  found += policy.adam(updates, moments, ema=settings.ema_decay > 0)
  found += scalar.gradients(Batch(rows, p + r, 0, p - 1), parts, updates)
  found += scalar.adam(updates, _moments(settings.value_optimizer))
  if not settings.ptx_rows:
    return found
  text = settings.minibatch_size * settings.ptx_rows
  parts = training.slices_of(session, text, settings.ptx_microbatch_rows)
  length = data.row_length
  batch = Batch(rows * settings.ptx_rows, length, length)
  return found + policy.gradients(batch, parts, updates)


def _policy(session: Session, target: Slice) -> Passes:
  model = adapters.beside(session, session.language_model())
  return Passes(model, session.mesh, session.rules, target.platform)


def _scalar(session: Session, target: Slice) -> Passes:
  model = adapters.beside(session, session.scalar_model())
  return Passes(model, session.mesh, session.rules, target.platform)


def _writer(session: Session, target: Slice) -> Passes:
  """The policy as it lies while it writes, adapters merged."""
  rules = layouts.decode_rules(session.config)
  return Passes(session.language_model(), session.mesh, rules, target.platform)


def _moments(settings: Any) -> int:
  """Returns the bytes of one number of Adam's moments."""
  return 2 if settings.moments_dtype == 'bfloat16' else 4


def from_host(session: Session, phase: str, memory: dict[str, Any]) -> float:
  """Returns the bytes between a chip and its host in one run of a phase.

  Moments come and go once per update, frozen weights come once per slice of a
  rollout. `memory` is what the stage holds, by name.
  """
  sizes = {part: shard_bytes(tree, host=True) for part, tree in memory.items()}
  moments = sum(n for part, n in sizes.items() if part.endswith('optimizer'))
  settings = session.config.ppo
  if phase in ('layout', 'generate'):
    return 0.0
  if phase == 'score':
    parts = ppo_settings.score_parts(session)
    return parts * (sum(sizes.values()) - moments)
  updates = 1
  if phase == 'update':
    updates = settings.epochs * (settings.batch_size // settings.minibatch_size)
  return 2 * moments * updates


def shard_bytes(tree: Any, *, host: bool = False) -> float:
  """Returns the bytes of a tree of shapes that one chip, or its host, holds."""
  total = 0.0
  for leaf in jax.tree.leaves(tree):
    if (leaf.sharding.memory_kind == offload.KIND) != host:
      continue
    shape = leaf.sharding.shard_shape(leaf.shape)
    size = (
      8
      if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
      else (leaf.dtype.itemsize)
    )
    total += math.prod(shape) * size
  return total
