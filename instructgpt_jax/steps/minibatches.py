"""How the episodes of a rollout are dealt out: epochs, minibatches, slices."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import flax.struct
import jax

from instructgpt_jax.steps import state as state_lib
from instructgpt_jax.steps import windows as windows_lib
from instructgpt_jax.steps.experience import PpoSettings
from instructgpt_jax.types import Experience, TokenBatch


@flax.struct.dataclass
class Minibatch:
  """Experience of some rows, and the text that goes with it (or None)."""

  experience: Experience
  pretrain: TokenBatch | None


def shuffled(
  experience: Experience, key: jax.Array, settings: PpoSettings
) -> Experience:
  """Returns [epochs x minibatches, rows, ...], each epoch a permutation."""
  rows = experience.rewards.shape[0]
  if rows % settings.minibatches:
    raise ValueError(
      f'{rows} rollout rows do not divide into {settings.minibatches} '
      'minibatches: choose ppo.minibatch_size so that it divides batch_size'
    )
  keys = jax.random.split(key, settings.epochs)
  order = jax.vmap(lambda k: jax.random.permutation(k, rows))(keys)
  order = order.reshape(settings.epochs * settings.minibatches, -1)

  def take(x: jax.Array) -> jax.Array:
    names = (None, 'act_batch', *[None] * (x.ndim - 1))
    return nn.with_logical_constraint(x[order], names)

  return jax.tree.map(take, experience)


def stack(batch: TokenBatch | None, parts: int) -> TokenBatch | None:
  """Returns [parts, rows, ...] of `batch`, constrained like `shuffled`."""
  if batch is None:
    return None
  return jax.tree.map(
    lambda x: nn.with_logical_constraint(
      x, (None, 'act_batch', *[None] * (x.ndim - 2))
    ),
    state_lib.split(batch, parts),
  )


def within(
  fn: Callable[[Experience], Any], part: Experience, *, settings: PpoSettings
) -> Any:
  """Returns fn(part), as little padding in it as the windows allow."""
  rollout = part.rollout
  masks = rollout.mask, rollout.response_mask
  return windows_lib.within(fn, part, *masks, settings.windows)


def alike(experience: Experience, settings: PpoSettings) -> Experience:
  """Returns the rows such that microbatches are of like lengths."""
  if settings.windows is None:
    return experience
  rollout = experience.rollout
  masks = rollout.mask, rollout.response_mask
  rows = windows_lib.order(*masks, settings.windows, settings.microbatches)
  return state_lib.take(experience, rows)
