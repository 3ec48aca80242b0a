"""The K-wise reward model: one forward per completion, all pairs at once."""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from instructgpt_jax.algos import masked, ranking
from instructgpt_jax.models import heads, lora, memory
from instructgpt_jax.steps import state as state_lib
from instructgpt_jax.types import (
  Comparisons,
  Mean,
  Metrics,
  Params,
  TokenBatch,
  TrainState,
)


@dataclasses.dataclass(frozen=True)
class RewardSettings:
  """What is static in `reward_step`."""

  microbatches: int
  slices: int  # of the completions of a prompt
  seed: int  # of dropout


def scalars(
  params: Params,
  tokens: jax.Array,
  mask: jax.Array,
  *,
  model: nn.Module,
  dropout: jax.Array | None = None,
  first: int = 0,
) -> jax.Array:
  """Returns [B L-first] scalars, from slot `first` on; pads on either side."""
  params = memory.fetch(params, stacked=False)
  values: Any = model.apply(
    {'params': params},
    tokens,
    positions=jnp.maximum(jnp.cumsum(mask, axis=-1) - 1, 0),
    segments=mask.astype(jnp.int32),
    deterministic=dropout is None,
    rngs=None if dropout is None else {'dropout': dropout},
    first=first,
  )
  return values


def score(
  params: Params,
  tokens: jax.Array,
  mask: jax.Array,
  *,
  model: nn.Module,
  dropout: jax.Array | None = None,
  first: int = 0,
) -> jax.Array:
  """Returns [B] the scalar at the last real token: the reward.

  No row with tokens may end before slot `first`.
  """
  values = scalars(
    params, tokens, mask, model=model, dropout=dropout, first=first
  )
  last = jnp.maximum(masked.last_index(mask) - first, 0)
  return jnp.take_along_axis(values, last[:, None], axis=1)[:, 0]


def score_comparisons(
  params: Params,
  batch: Comparisons,
  *,
  model: nn.Module,
  dropout: jax.Array | None = None,
) -> jax.Array:
  """Returns [B K] the rewards of K completions, each in one forward."""
  flat = score(params, *_rows(batch), model=model, dropout=dropout)
  return flat.reshape(batch.ranks.shape)


def _rows(batch: Comparisons) -> tuple[jax.Array, jax.Array]:
  """Returns tokens and mask [B*K L] of all completions."""
  length = batch.tokens.shape[-1]
  return batch.tokens.reshape(-1, length), batch.mask.reshape(-1, length)


def reward_step(
  state: TrainState,
  batch: Comparisons,
  frozen: Params | None = None,
  *,
  model: nn.Module,
  optimizer: optax.GradientTransformation,
  settings: RewardSettings,
) -> tuple[TrainState, Metrics]:
  """Returns the state after one K-wise update (InstructGPT eq. 1).

  All pairs of a prompt lie in one batch element, so no completion is learned
  from twice in different updates. `frozen` is what adapters stand beside.
  """
  key = jax.random.fold_in(jax.random.key(settings.seed), state.step)
  bound = functools.partial(
    _gradient if settings.slices == 1 else _gradient_in_slices,
    frozen=frozen,
    model=model,
    settings=settings,
  )
  grads, metrics = bound(state.params, batch, key)
  metrics['grad_norm'] = Mean.of(optax.tree.norm(grads))
  return state_lib.apply_gradients(state, grads, optimizer), metrics


def _gradient(
  params: Params,
  batch: Comparisons,
  key: jax.Array,
  *,
  frozen: Params | None,
  model: nn.Module,
  settings: RewardSettings,
) -> tuple[Params, Metrics]:
  """Returns gradient and metrics, all completions of a prompt read at once."""
  weight = _weight(batch)

  def loss_fn(params: Params, part: Comparisons, key: jax.Array):
    dropout = key if model.cfg.dropout > 0 else None
    scores = score_comparisons(params, part, model=model, dropout=dropout)
    return _loss(scores, part, weight)

  return state_lib.accumulate(
    loss_fn,
    params,
    batch,
    parts=settings.microbatches,
    key=key,
    frozen=frozen,
  )


def _gradient_in_slices(
  params: Params,
  batch: Comparisons,
  key: jax.Array,
  *,
  frozen: Params | None,
  model: nn.Module,
  settings: RewardSettings,
) -> tuple[Params, Metrics]:
  """Returns the same, fewer completions read at once than a prompt has.

  What a slice is to change hangs on the scores of all: they are found first,
  and then each slice is read once more, for the gradient of its own.
  """
  parts = settings.microbatches * settings.slices

  def read(params: Params, rows: Any, key: jax.Array) -> jax.Array:
    dropout = key if model.cfg.dropout > 0 else None
    return score(params, *rows, model=model, dropout=dropout)

  def read_again(params: Params, part: Any, key: jax.Array):
    rows, pull = part
    return (pull * read(params, rows, key)).sum(), {}

  whole, rows = lora.union(params, frozen), _rows(batch)
  scores = jax.lax.map(  # dropout draws as in the second reading
    lambda part: read(whole, part[1], jax.random.fold_in(key, part[0])),
    (jnp.arange(parts), state_lib.split(rows, parts)),
  )
  scores = state_lib.join(scores).reshape(batch.ranks.shape)
  pull, metrics = jax.grad(_loss, has_aux=True)(scores, batch, _weight(batch))
  grads, _ = state_lib.accumulate(
    read_again,
    params,
    (rows, pull.reshape(-1)),
    parts=parts,
    key=key,
    frozen=frozen,
  )
  return grads, metrics


def _weight(batch: Comparisons) -> jax.Array:
  """Returns the number of prompts that have something to teach."""
  ordered = ranking.ordered_pairs(batch.ranks, batch.valid)
  return state_lib.mask_weight(ordered.any((-2, -1)))


def _loss(
  scores: jax.Array, batch: Comparisons, weight: jax.Array
) -> tuple[jax.Array, Metrics]:
  loss, metrics = ranking.kwise_loss(scores, batch.ranks, batch.valid)
  return loss.total / weight, {'loss': loss, **metrics}


def reward_eval(
  params: Params, batch: Comparisons, *, model: nn.Module
) -> tuple[Metrics, jax.Array]:
  """Returns the metrics of a batch and the scores [B K] behind them."""
  scores = score_comparisons(params, batch, model=model)
  loss, metrics = ranking.kwise_loss(scores, batch.ranks, batch.valid)
  return {'loss': loss, **metrics}, scores


def segment_scores(
  params: Params, batch: TokenBatch, *, model: nn.Module
) -> Mean:
  """Returns the mean score of the packed sequences of a batch.

  Each is read at the last token of its segment, as `score` reads it.
  """
  values: Any = model.apply(
    {'params': params},
    batch.tokens,
    positions=batch.positions,
    segments=batch.segments,
  )
  after = jnp.pad(batch.segments[:, 1:], ((0, 0), (0, 1)))
  return Mean.of(values, (batch.segments > 0) & (batch.segments != after))


def centre_reward(params: Params, mean_demo_score: jax.Array) -> Params:
  """Returns params whose scores are lower by `mean_demo_score`.

  The ranking loss does not see a shift; PPO does. Demonstrations then score
  0 on average (InstructGPT section 3.5).
  """
  return heads.shift_bias(params, -mean_demo_score)
