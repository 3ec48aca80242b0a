"""How far an answer agrees with the gold answer to the same task, 0 to 1."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from instructgpt_jax.labeling import payloads


def score(
  kind: str, payload: dict[str, Any], gold: dict[str, Any]
) -> float | None:
  """Returns the mean agreement of the parts that gold has an opinion on.

  Both speak of the outputs in the same order. None where gold has no part that
  can be compared: what is written cannot.
  """
  parts: list[float] = []
  if kind == 'rating':
    parts += _rating(payload, gold)
  elif 'ranks' in gold:
    parts.append(pairwise(payload['ranks'], gold['ranks']))
    if 'sensitive' in gold and 'sensitive' in payload:
      parts.append(
        _same(zip(payload['sensitive'], gold['sensitive'], strict=True))
      )
  return sum(parts) / len(parts) if parts else None


def pairwise(ranks: Sequence[int], gold: Sequence[int]) -> float:
  """Returns the share of gold's ordered pairs that stand in the same order.

  A tie counts one half. Where gold ties all, the share of ties.
  """
  pairs = list(itertools.combinations(range(len(gold)), 2))
  ordered = [(i, j) for i, j in pairs if gold[i] != gold[j]]
  if not ordered:
    return _same((ranks[i] == ranks[j], True) for i, j in pairs)
  points = [
    0.5
    if ranks[i] == ranks[j]
    else float((ranks[i] < ranks[j]) == (gold[i] < gold[j]))
    for i, j in ordered
  ]
  return sum(points) / len(points)


def _rating(payload: dict[str, Any], gold: dict[str, Any]) -> list[float]:
  worst, best = payloads.QUALITY
  parts = []
  if 'quality' in gold:
    apart = abs(payload['quality'] - gold['quality'])
    parts.append(1 - apart / (best - worst))
  if gold.get('flags'):
    said = payload['flags']
    parts.append(
      _same((said[name], right) for name, right in gold['flags'].items())
    )
  return parts


def _same(pairs: Iterable[tuple[object, object]]) -> float:
  same = [one == other for one, other in pairs]
  return sum(same) / len(same)
