"""Rows without their padding: slices of like lengths, cut to fixed widths.

A prompt is padded on its left and a response on its right, so the real tokens
of a rollout lie on both sides of one seam: a slice of rows needs no more
columns than its longest prompt before it and its longest response behind it.
A program has one shape, hence a few widths, of which each slice takes the
smallest that holds it; rows of like lengths are put together first.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Windows:
  """Columns before and behind the seam, rising to the whole P and R."""

  prompt: tuple[int, ...]
  response: tuple[int, ...]


def make(prompt: int, response: int, counts: tuple[int, int]) -> Windows | None:
  """Returns so many widths, evenly apart, for prompts and for responses.

  Wide ones are multiples of 8, which chips prefer. None for one of each:
  nothing is cut.
  """
  if counts == (1, 1):
    return None
  lengths = prompt, response
  return Windows(
    *(
      tuple(sorted({_width(length, i, n) for i in range(1, n + 1)}))
      for length, n in zip(lengths, counts, strict=True)
    )
  )


def _width(length: int, i: int, n: int) -> int:
  step = 8 if length >= 8 * n else 1
  return min(length, step * math.ceil(length * i / (n * step)))


def order(
  mask: jax.Array, response_mask: jax.Array, windows: Windows, parts: int
) -> jax.Array:
  """Returns the rows in the order in which `state.split` gives like slices.

  mask [B P+R], response_mask [B R]. By the width a prompt needs, then by the
  length of the response.
  """
  written = response_mask.sum(1)
  width = jnp.searchsorted(jnp.array(windows.prompt), mask.sum(1) - written)
  rank = jnp.argsort(width * (response_mask.shape[1] + 1) + written)
  return rank.reshape(parts, -1).T.reshape(-1)  # part i takes rows i, i + n


def within(
  fn: Callable[[Any], Any],
  rows: Any,
  mask: jax.Array,
  response_mask: jax.Array,
  windows: Windows | None,
) -> Any:
  """Returns fn(rows cut to the smallest window that holds all their tokens).

  Arrays [B P+R] and [B R] of `rows` are cut; what `fn` returns must have the
  same shape for every window.
  """
  if windows is None:
    return fn(rows)
  length, r = mask.shape[1], response_mask.shape[1]
  p = length - r

  def cut(x: Any, before: int, behind: int) -> Any:
    if x.ndim == 2 and x.shape[1] == length:
      return x[:, p - before : p + behind]
    return x[:, :behind] if x.ndim == 2 and x.shape[1] == r else x

  def branch(*width: int) -> Callable[[Any], Any]:
    return lambda rows: fn(jax.tree.map(lambda x: cut(x, *width), rows))

  branches = [branch(a, b) for a in windows.prompt for b in windows.response]
  written = response_mask.sum(1)
  index = _index(windows.prompt, mask.sum(1) - written) * len(windows.response)
  return jax.lax.switch(
    index + _index(windows.response, written), branches, rows
  )


def _index(widths: tuple[int, ...], lengths: jax.Array) -> jax.Array:
  return jnp.searchsorted(jnp.array(widths), lengths.max())
