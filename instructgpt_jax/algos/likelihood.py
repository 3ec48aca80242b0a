"""Log-probabilities of tokens, computed without keeping all logits.

With V = 50,257 the fp32 logits of a rollout are the largest array of the whole
program. Time is therefore cut into chunks: one chunk of logits exists at a
time, and the backward pass computes it again rather than storing it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, ScalarLike

from instructgpt_jax.types import Mean, Unembed


def scale_logits(
  logits: Float[Array, '*B V'], temperature: ScalarLike
) -> Float[Array, '*B V']:
  """Returns logits / temperature in fp32.

  The only place where a temperature is applied: sampler, old, new and
  reference log-probabilities all pass here, so they cannot disagree.

  Raises:
    ValueError: the temperature is a Python number and not above 0.
  """
  if isinstance(temperature, (int, float)) and not temperature > 0:
    raise ValueError(
      f'temperature must be above 0, got {temperature}; for the most likely '
      'token use greedy() instead.'
    )
  return logits.astype(jnp.float32) / temperature


def soft_cap(x: Float[Array, '*S'], cap: float | None) -> Float[Array, '*S']:
  """Returns cap tanh(x / cap), or x where `cap` is 0 or None (Gemma 2)."""
  return cap * jnp.tanh(x / cap) if cap else x


def logits(
  hidden: Float[Array, '*B D'], unembed: Unembed
) -> Float[Array, '*B V']:
  """Returns soft_cap(hidden . matrix) in fp32, -inf at ids that are no token.

  The only way to logits: sampler, losses, entropies and old, new and
  reference log-probabilities are of one distribution. The product is taken in
  the dtype of `hidden` and accumulated in fp32. Columns of the matrix that
  belong to no token get a gradient of exactly 0.
  """
  y = jnp.einsum(
    '...d,vd->...v' if unembed.table else '...d,dv->...v',
    hidden,
    unembed.matrix.astype(hidden.dtype),
    preferred_element_type=jnp.float32,
  )
  y = soft_cap(y, unembed.softcap)
  if unembed.known is None:
    return y
  return jnp.where(jnp.arange(y.shape[-1]) < unembed.known, y, -jnp.inf)


def token_logp(
  hidden: Float[Array, 'B T D'],
  unembed: Unembed,
  targets: Int[Array, 'B T'],
  *,
  temperature: ScalarLike = 1.0,
  chunk: int | None = None,
) -> Float[Array, 'B T']:
  """Returns log p(target) of every position in fp32.

  log softmax(logits / temperature)[target]; -inf for a target that is no
  token. With `chunk`, fp32 logits never exceed [B, chunk, V]; T need not be a
  multiple of it.
  """

  def logp(scaled: Array, target: Array) -> Array:
    return _pick(scaled, target) - jax.nn.logsumexp(scaled, axis=-1)

  return _over_time(
    logp, hidden, unembed, targets, temperature=temperature, chunk=chunk
  )


def token_logp_best(
  hidden: Float[Array, 'B T D'],
  unembed: Unembed,
  targets: Int[Array, 'B T'],
  *,
  chunk: int | None = None,
) -> tuple[Float[Array, 'B T'], Bool[Array, 'B T']]:
  """Returns `token_logp` and whether no token is likelier than the target."""

  def both(scaled: Array, target: Array) -> tuple[Array, Array]:
    picked = _pick(scaled, target)
    logp = picked - jax.nn.logsumexp(scaled, axis=-1)
    return logp, picked >= scaled.max(axis=-1)

  return _over_time(
    both, hidden, unembed, targets, temperature=1.0, chunk=chunk
  )


def token_logp_entropy(
  hidden: Float[Array, 'B T D'],
  unembed: Unembed,
  targets: Int[Array, 'B T'],
  *,
  temperature: ScalarLike = 1.0,
  chunk: int | None = None,
) -> tuple[Float[Array, 'B T'], Float[Array, 'B T']]:
  """Returns `token_logp` and the entropy in nats of the same distributions.

  The entropy -sum_v p_v log p_v is a metric: no gradient flows through it.
  """

  def both(scaled: Array, target: Array) -> tuple[Array, Array]:
    logp = _pick(scaled, target) - jax.nn.logsumexp(scaled, axis=-1)
    frozen = jax.nn.log_softmax(jax.lax.stop_gradient(scaled))
    p = jnp.exp(frozen)
    # 0 log 0 is 0, and not the NaN of 0 x -inf.
    return logp, -jnp.where(p > 0, p * frozen, 0.0).sum(axis=-1)

  return _over_time(
    both, hidden, unembed, targets, temperature=temperature, chunk=chunk
  )


def next_token_loss(
  hidden: Float[Array, 'B L D'],
  unembed: Unembed,
  tokens: Int[Array, 'B L'],
  loss_mask: Bool[Array, 'B L'],
  *,
  chunk: int | None = None,
) -> Mean:
  """Returns the mean of -log p(tokens[t + 1] | hidden[t]) over learned tokens.

  `loss_mask[t]` says that tokens[t] is a target. In packed rows the first
  token of a segment would be predicted from the end of the previous one: the
  data side sets its mask to False, nothing is checked here. The first token
  of a row has no predecessor and never counts.
  """
  # Targets move left instead of cutting `hidden`: L stays a multiple of chunk.
  targets = jnp.roll(tokens, -1, axis=1)
  learned = jnp.roll(loss_mask, -1, axis=1).at[:, -1].set(False)
  # Under 0 weight a NaN in hidden would still reach the gradient of unembed.
  hidden = jnp.where(learned[..., None], hidden, 0)
  logp = token_logp(hidden, unembed, targets, chunk=chunk)
  return Mean.of(-logp, learned)


def _pick(scaled: Array, targets: Array) -> Array:
  """Returns logits at the targets; a sum, so a sharded V needs no gather."""
  vocabulary = jnp.arange(scaled.shape[-1], dtype=targets.dtype)
  hit = vocabulary == targets[..., None]
  return jnp.where(hit, scaled, 0.0).sum(axis=-1)


def _over_time(
  fn: Callable[[Array, Array], Any],
  hidden: Array,
  unembed: Unembed,
  targets: Array,
  *,
  temperature: ScalarLike,
  chunk: int | None,
) -> Any:
  """Returns fn(logits, targets) computed for `chunk` positions at a time."""
  if chunk is not None and chunk < 1:
    raise ValueError(f'chunk must be at least 1 or None, got {chunk}.')
  # In fp32 outside the loop, so that its gradient is summed over chunks in
  # fp32 even when the product is taken in bf16.
  wide = unembed.matrix.astype(jnp.float32)
  unembed = dataclasses.replace(unembed, matrix=wide)

  def part(xs: tuple[Array, Array]) -> Any:
    h, target = xs
    return fn(scale_logits(logits(h, unembed), temperature), target)

  batch, length = targets.shape
  if chunk is None or chunk >= length:
    return part((hidden, targets))
  count = -(-length // chunk)

  def split(x: Array) -> Array:
    pads = [(0, 0), (0, count * chunk - length)] + [(0, 0)] * (x.ndim - 2)
    x = jnp.pad(x, pads).reshape(batch, count, chunk, *x.shape[2:])
    return x.swapaxes(0, 1)

  def join(x: Array) -> Array:
    return x.swapaxes(0, 1).reshape(batch, count * chunk)[:, :length]

  # A scan already keeps the two passes apart: no barrier against CSE needed.
  part = jax.checkpoint(part, prevent_cse=False)
  return jax.tree.map(join, jax.lax.map(part, (split(hidden), split(targets))))
