"""Overall quality (1-7) and the flags of Table 3, by model: Figs. 3 to 5."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from instructgpt_jax.data import schema
from instructgpt_jax.data.agreement import ratio_interval
from instructgpt_jax.evals.preference.people import QUALITY
from instructgpt_jax.evals.preference.win_rate import rate

Rating = Mapping[str, Any]


def table(ratings: Iterable[Rating], *, seed: int = 0) -> dict[str, Any]:
  """Returns what people said of each model, for JSON.

  Returns:
    {model: {quality, distribution, flags, prompts, labelers}} of
      quality: {mean, low, high, n}, the interval by a bootstrap over prompts.
      distribution: share of each answer, 1 first.
      flags: {flag: {mean, low, high, n}}, n without those who saw nothing to
        say (no constraint was stated): Table 3, each a share.
  """
  of: dict[str, list[Rating]] = {}
  for rating in ratings:
    of.setdefault(rating['model'], []).append(rating)
  return {model: _of_one(own, seed) for model, own in sorted(of.items())}


def _of_one(ratings: list[Rating], seed: int) -> dict[str, Any]:
  quality = np.array([r['quality'] for r in ratings])
  items = [schema.question({'id': '', **r}) for r in ratings]
  labelers = {r['labeler'] for r in ratings if r.get('labeler')}
  return {
    'quality': ratio_interval(
      ((item, float(q), 1.0) for item, q in zip(items, quality, strict=True)),
      seed=seed,
      bounds=(QUALITY[0], QUALITY[-1]),
    ),
    'distribution': [float((quality == answer).mean()) for answer in QUALITY],
    'flags': _flags(ratings, seed),
    'prompts': len(set(items)),
    'labelers': len(labelers),
  }


def _flags(ratings: list[Rating], seed: int) -> dict[str, Any]:
  names = dict.fromkeys(name for r in ratings for name in r['flags'])
  found = {}
  for name in names:
    said = [
      (schema.question({'id': '', **r}), float(r['flags'][name]))
      for r in ratings
      if r['flags'].get(name) is not None
    ]
    found[name] = rate(
      [i for i, _ in said], np.array([v for _, v in said]), seed=seed
    )
  return found
