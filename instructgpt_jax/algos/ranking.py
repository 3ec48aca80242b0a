"""The reward model's loss over K ranked completions (InstructGPT eq. 1)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from instructgpt_jax.types import Mean, Metrics


def kwise_loss(
  scores: Float[Array, 'B K'],
  ranks: Int[Array, 'B K'],
  valid: Bool[Array, 'B K'],
) -> tuple[Mean, Metrics]:
  """Returns the K-wise ranking loss, a mean over prompts, and its metrics.

  Of one prompt: the mean over its ordered pairs (w ranked before l, both
  valid) of -log sigmoid(score_w - score_l). Ties make no pair and do not count
  in the divisor (the paper leaves that open); a prompt without a pair has
  weight 0. Source: InstructGPT eq. 1, sec 3.5, App. C.2.

  Metrics: accuracy and margin (over pairs), score_best and score_worst (over
  the completions of the first and last rank, of prompts with a pair).
  """
  scores = jnp.where(valid, scores.astype(jnp.float32), 0.0)
  pairs = ordered_pairs(ranks, valid)
  margin = _margins(scores)
  # log_sigmoid is a softplus, finite where log(sigmoid(x)) overflows.
  nll = jnp.where(pairs, -jax.nn.log_sigmoid(margin), 0.0)
  count = pairs.sum(axis=(1, 2))
  per_prompt = nll.sum(axis=(1, 2)) / jnp.maximum(count, 1)
  loss = Mean.of(per_prompt, count > 0)
  fixed = jax.lax.stop_gradient(scores)
  best, worst = _extremes(ranks, valid & (count > 0)[:, None])
  return loss, {
    'accuracy': pairwise_accuracy(fixed, ranks, valid),
    'margin': Mean.of(jax.lax.stop_gradient(margin), pairs),
    'score_best': Mean.of(fixed, best),
    'score_worst': Mean.of(fixed, worst),
  }


def pairwise_accuracy(
  scores: Float[Array, 'B K'],
  ranks: Int[Array, 'B K'],
  valid: Bool[Array, 'B K'],
) -> Mean:
  """Returns the share of ordered pairs whose winner has the higher score.

  Equal scores count one half, so a constant reward model scores 1/2.
  """
  scores = jnp.where(valid, scores, 0.0)
  right = 0.5 * (1.0 + jnp.sign(_margins(scores)))
  return Mean.of(right, ordered_pairs(ranks, valid))


def _margins(scores: Array) -> Array:
  """Returns score_i - score_j as [B, i, j]."""
  return scores[:, :, None] - scores[:, None, :]


def ordered_pairs(
  ranks: Int[Array, 'B K'], valid: Bool[Array, 'B K']
) -> Bool[Array, 'B K K']:
  """Returns True at [B, i, j] where i is ranked before j, both valid."""
  both = valid[:, :, None] & valid[:, None, :]
  return both & (ranks[:, :, None] < ranks[:, None, :])


def _extremes(ranks: Array, valid: Array) -> tuple[Array, Array]:
  """Returns masks [B K] of the completions of the first and last rank."""
  limit = jnp.iinfo(ranks.dtype).max
  first = jnp.where(valid, ranks, limit).min(axis=1, keepdims=True)
  last = jnp.where(valid, ranks, -limit).max(axis=1, keepdims=True)
  return valid & (ranks == first), valid & (ranks == last)
