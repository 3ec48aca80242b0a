"""How far answers agree with the gold answers to the same tasks, 0 to 1."""

from __future__ import annotations

import collections
import itertools
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from instructgpt_jax.labeling import payloads

# An answer and the right one, of the same outputs in the same order.
Pair = tuple[dict[str, Any], dict[str, Any]]


def parts(kind: str, pairs: Iterable[Pair]) -> dict[str, float]:
  """Returns the agreement by part, of those that gold has an opinion on.

  ranks: mean of `pairwise`. sensitive: see `marks`. quality: 1 less the mean
  distance, of the largest there is. flags: share of equal ones. Of what is
  written there is no part.
  """
  if kind == 'demonstration':
    return {}
  found: dict[str, list[tuple[Any, Any]]] = collections.defaultdict(list)
  for said, gold in pairs:
    for part, right in gold.items():
      found[part].append((said[part], right))
  measures = {
    'ranks': lambda both: statistics.fmean(pairwise(*pair) for pair in both),
    'sensitive': marks,
    'quality': lambda both: statistics.fmean(_near(*pair) for pair in both),
    'flags': lambda both: statistics.fmean(_same(*pair) for pair in both),
  }
  return {part: measures[part](both) for part, both in found.items()}


def score(
  kind: str, payload: dict[str, Any], gold: dict[str, Any]
) -> float | None:
  """Returns the mean of the parts of one answer; None where there is none."""
  found = parts(kind, [(payload, gold)])
  return statistics.fmean(found.values()) if found else None


def pairwise(ranks: Sequence[int], gold: Sequence[int]) -> float:
  """Returns the share of gold's ordered pairs that stand in the same order.

  A tie counts one half. Where gold ties all, the share of ties.
  """
  pairs = list(itertools.combinations(range(len(gold)), 2))
  ordered = [(i, j) for i, j in pairs if gold[i] != gold[j]]
  if not ordered:
    return statistics.fmean(ranks[i] == ranks[j] for i, j in pairs)
  return statistics.fmean(
    0.5
    if ranks[i] == ranks[j]
    else float((ranks[i] < ranks[j]) == (gold[i] < gold[j]))
    for i, j in ordered
  )


def marks(both: Iterable[tuple[Sequence[bool], Sequence[bool]]]) -> float:
  """Returns how often marks are right, the mean over outputs with and without.

  Most outputs have no mark. As a plain share, who marks nothing would agree
  with almost all; balanced, they get one half, as who marks everything does.
  """
  of: dict[bool, list[bool]] = collections.defaultdict(list)
  for said, gold in both:
    for one, right in zip(said, gold, strict=True):
      of[right].append(one == right)
  return statistics.fmean(statistics.fmean(same) for same in of.values())


def _near(quality: int, gold: int) -> float:
  worst, best = payloads.QUALITY
  return 1 - abs(quality - gold) / (best - worst)


def _same(flags: dict[str, Any], gold: dict[str, Any]) -> float:
  return statistics.fmean(flags[name] == right for name, right in gold.items())
