"""Choosing the next token."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, ScalarLike

from instructgpt_jax.algos.likelihood import scale_logits

BLOCK = 128  # tokens


def warp_logits(
  logits: Float[Array, 'B V'],
  *,
  temperature: ScalarLike,
  top_k: int | None = None,
  top_p: float | None = None,
) -> Float[Array, 'B V']:
  """Returns logits / temperature in fp32, -inf at tokens that are cut.

  top_k keeps the k largest; then top_p keeps the fewest most likely tokens
  whose mass reaches p, one at least. Tokens equal to the last one kept stay
  as well, so the choice does not depend on the order of the vocabulary.

  Raises:
    ValueError: temperature not above 0 (greedy() is the limit), top_k below
      1, or top_p outside (0, 1].
  """
  logits = scale_logits(logits, temperature)
  if top_k is not None:
    if top_k < 1:
      raise ValueError(f'top_k must be at least 1 or None, got {top_k}.')
    top_k = min(top_k, logits.shape[-1])
    least = jax.lax.top_k(logits, top_k)[0][:, -1:]
    logits = jnp.where(logits >= least, logits, -jnp.inf)
  if top_p is not None:
    if not 0 < top_p <= 1:
      raise ValueError(f'top_p must be in (0, 1] or None, got {top_p}.')
    logits = jnp.where(logits >= _nucleus(logits, top_p), logits, -jnp.inf)
  return logits


def sample(
  keys: Key[Array, ' B'], logits: Float[Array, 'B V']
) -> tuple[Int[Array, ' B'], Float[Array, ' B']]:
  """Returns one token per row, drawn from softmax(logits), and its log p.

  Inverse CDF: the first token whose cumulative probability exceeds a uniform
  draw. One draw per row, from that row's key, so that a row's noise does not
  depend on the batch. The sum runs over blocks first and then within one: of
  a vocabulary of 50,257 only two short rows are summed up step by step. A
  token of probability 0 is never returned.
  """
  logits = logits.astype(jnp.float32)
  largest = logits.max(axis=-1, keepdims=True)
  p = jnp.exp(logits - largest)
  u = jax.vmap(lambda key: jax.random.uniform(key, (), jnp.float32))(keys)
  blocks = jnp.pad(p, ((0, 0), (0, -p.shape[-1] % BLOCK)))
  blocks = blocks.reshape(len(p), -1, BLOCK)
  sums = blocks.sum(axis=-1)
  whole = sums.sum(axis=-1)
  block, before = _reached(sums, u * whole)
  inside = jnp.take_along_axis(blocks, block[:, None, None], axis=1)[:, 0]
  within, _ = _reached(inside, u * whole - before)
  tokens = (block * BLOCK + within).astype(jnp.int32)
  return tokens, _at(logits, tokens) - largest[:, 0] - jnp.log(whole)


def _reached(weights: Array, target: Array) -> tuple[Array, Array]:
  """Returns the first entry whose running sum exceeds the target [B].

  With the sum before it. Only an entry above 0 is returned: where rounding
  leaves none, the largest.
  """
  running = jnp.cumsum(weights, axis=-1)
  # A parallel sum may step up by rounding at a weight of 0.
  over = (running > target[:, None]) & (weights > 0)
  found = jnp.where(
    over.any(axis=-1), jnp.argmax(over, axis=-1), jnp.argmax(weights, axis=-1)
  )
  return found, _at(running - weights, found)


def greedy(
  logits: Float[Array, 'B V'],
) -> tuple[Int[Array, ' B'], Float[Array, ' B']]:
  """Returns the most likely token per row (lowest id of equals), its log p."""
  tokens = jnp.argmax(logits, axis=-1).astype(jnp.int32)
  return tokens, _at(jax.nn.log_softmax(logits.astype(jnp.float32)), tokens)


def _nucleus(logits: Array, top_p: float) -> Array:
  """Returns [B 1], the smallest logit of the top-p nucleus of every row."""
  ordered = -jnp.sort(-logits, axis=-1)
  p = jax.nn.softmax(ordered)
  # The mass before a token decides: the token that crosses p is kept.
  before = jnp.cumsum(p, axis=-1) - p
  kept = (before < top_p) & (p > 0)
  # At least the first: `before` of it may be rounded to above 0.
  kept = kept.at[:, 0].set(True)
  return jnp.where(kept, ordered, jnp.inf).min(axis=-1, keepdims=True)


def _at(logp: Array, tokens: Array) -> Array:
  return jnp.take_along_axis(logp, tokens[:, None], axis=-1)[:, 0]
