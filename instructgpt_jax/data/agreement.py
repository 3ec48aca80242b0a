"""How far labelers agree who ranked the same responses (InstructGPT 3.4).

Every two responses of an item, and every two labelers who ranked them, make
one case: agreed or not. The paper reports 72.6 +- 1.5% among labelers who made
the training data and 77.3 +- 1.3% among held-out ones, and trains on ordered
pairs alone (ties are dropped, C.2).
"""

from __future__ import annotations

import collections
import functools
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from instructgpt_jax.data import libraries
from instructgpt_jax.data.curation.step import stable_hash

# What a tie counts: left out, as in the paper's training; half, where one
# labeler ties and the other does not; an answer of its own.
FEW = 20  # items, of which a bootstrap alone is not believed (ours)
_Z = 1.959963984540054
TIES = ('skip', 'half', 'strict')


class Ranking(NamedTuple):
  """One labeler's ranks of the K responses of one item, 1 best."""

  item: str
  labeler: str
  ranks: Sequence[int]


class _Case(NamedTuple):
  """Two labelers on one item: how much they agreed, of how many pairs."""

  item: str
  labelers: tuple[str, str]
  agreed: float
  pairs: int


def ranking(record: dict[str, Any]) -> Ranking | None:
  """Returns the ranking that a record of comparisons holds, if one does.

  The item is the prompt with its responses, whatever order they stand in. None
  without `labeler`, `responses` or `ranks`, and where two responses are equal.
  """
  responses, ranks = record.get('responses'), record.get('ranks')
  labeler = record.get('labeler')
  if labeler is None or not responses or not ranks:
    return None
  if len(set(responses)) < len(responses):
    return None
  prompt = record.get('prompt')
  if prompt is None:
    prompt = repr(
      [(turn['role'], turn['content']) for turn in record['messages']]
    )
  order = sorted(range(len(responses)), key=responses.__getitem__)
  item = stable_hash(prompt, *(responses[k] for k in order))
  return Ranking(f'{item:016x}', str(labeler), [ranks[k] for k in order])


def agreement(
  rankings: Iterable[Ranking],
  *,
  ties: str = 'skip',
  seed: int = 0,
  resamples: int = 2000,
) -> dict[str, Any]:
  """Returns how far the labelers agree, ready for JSON.

  Args:
    rankings: items that one labeler alone has ranked say nothing and are left
      out. Of several of one labeler on one item the one that sorts first
      counts, whatever their order.
    ties: 'skip' counts the pairs that both labelers order; 'half' all pairs,
      a tie against an order as one half; 'strict' the same as a disagreement.
    seed: of the bootstrap.
    resamples: of the bootstrap.

  Returns:
    labelers, items: how many took part, and of how many shared items.
    pairwise: mean, low, high (95%, bootstrap over items) and n, the pairs of
      responses times pairs of labelers; None where no pair counts.
    alpha: Krippendorff's, see `alpha`; None where it is undefined.
    tie_rate: share of ties in all that these labelers said of pairs.
    per_labeler: by name, mean agreement with the others, and n.
    ties: the rule.

  Raises:
    ValueError: for an unknown rule, or rankings of an item that differ in
      length.
  """
  if ties not in TIES:
    raise ValueError(f'ties is one of {TIES}, not {ties!r}.')
  items = _shared(rankings)
  cases = [
    case for item, said in items.items() for case in _cases(item, said, ties)
  ]
  said = [prefers for item in items.values() for prefers in item.values()]
  return {
    'labelers': len({name for item in items.values() for name in item}),
    'items': len(items),
    'pairwise': ratio_interval(
      ((case.item, case.agreed, case.pairs) for case in cases),
      seed=seed,
      resamples=resamples,
    ),
    'alpha': alpha(items.values()),
    'tie_rate': (float((np.concatenate(said) == 0).mean()) if said else None),
    'per_labeler': _per_labeler(cases),
    'ties': ties,
  }


def alpha(items: Iterable[dict[str, np.ndarray]]) -> float | None:
  """Returns Krippendorff's alpha of preferences, 1 perfect and 0 chance.

  A unit is a pair of responses, its values are -1 (the first is better), 0
  (tie) and 1, of ordinal level: a tie is half way. Ranks themselves would not
  do, since those of one item hang on each other. Each pair counts in both
  directions, so that the order of the responses does not matter. None where
  all say the same value, or nothing.

  Args:
    items: of each item, what every labeler says of its pairs of responses.
  """
  library = libraries.load('krippendorff', 'agreement of labelers')
  counts = [
    np.stack([(np.stack([*said.values()]) == v).sum(0) for v in (-1, 0, 1)], 1)
    for said in items
  ]
  table = np.concatenate([np.zeros((0, 3), np.int64), *counts])
  table = np.concatenate([table, table[:, ::-1]])
  if (table.sum(0) > 0).sum() < 2:
    return None
  return float(
    library.alpha(value_counts=table, level_of_measurement='ordinal')
  )


def _shared(
  rankings: Iterable[Ranking],
) -> dict[str, dict[str, np.ndarray]]:
  """Returns {item: {labeler: preferences [pairs]}} of items of several."""
  items: dict[str, dict[str, np.ndarray]] = collections.defaultdict(dict)
  for item, labeler, ranks in sorted(
    (item, labeler, tuple(ranks)) for item, labeler, ranks in rankings
  ):
    if labeler in items[item]:
      continue
    rank = np.asarray(ranks)
    first, second = _pairs(len(rank))
    items[item][labeler] = np.sign(rank[first] - rank[second])
    others = next(iter(items[item].values()))
    if len(others) != len(first):
      raise ValueError(
        f'item {item} has rankings of different lengths: give every one the '
        'same responses.'
      )
  return {item: said for item, said in items.items() if len(said) > 1}


@functools.cache
def _pairs(k: int) -> tuple[np.ndarray, np.ndarray]:
  return np.triu_indices(k, 1)


def _cases(
  item: str, said: dict[str, np.ndarray], ties: str
) -> Iterable[_Case]:
  for one, other in itertools.combinations(sorted(said), 2):
    a, b = said[one], said[other]
    same = (a == b).astype(np.float64)
    if ties == 'half':
      same[(a != b) & ((a == 0) | (b == 0))] = 0.5
    counted = (a != 0) & (b != 0) if ties == 'skip' else np.full(len(a), True)
    yield _Case(item, (one, other), same[counted].sum(), int(counted.sum()))


def ratio_interval(
  cases: Iterable[tuple[str, float, float]],
  *,
  seed: int = 0,
  resamples: int = 2000,
  bounds: tuple[float, float] = (0.0, 1.0),
) -> dict[str, float | int] | None:
  """Returns sum(parts) / sum(wholes) with its 95% interval over items.

  The cases of an item are not independent, so whole items are drawn. Items of
  equal sums are one kind: drawing kinds by their number is the same, and costs
  nothing for many items. Of few items, or where all say the same, a bootstrap
  claims to know too much: there the interval is Wilson's for so many items,
  which is that of the widest spread between the bounds. None where the wholes
  sum to nothing.

  Args:
    cases: item, part and whole, many of an item if need be.
    seed: of the bootstrap.
    resamples: of the bootstrap.
    bounds: between which every ratio lies.
  """
  sums: dict[str, np.ndarray] = collections.defaultdict(lambda: np.zeros(2))
  for item, part, whole in cases:
    sums[item] += (part, whole)
  kept = [pair for pair in sums.values() if pair[1]]
  if not kept:
    return None
  kinds, number = np.unique(np.stack(kept), axis=0, return_counts=True)
  rng = np.random.default_rng(seed)
  drawn = rng.multinomial(len(kept), number / len(kept), size=resamples)
  parts, wholes = (drawn @ kinds).T
  low, high = np.quantile(parts / wholes, (0.025, 0.975))
  total = number @ kinds
  mean = float(total[0] / total[1])
  if len(kept) < FEW or low == high:
    low, high = wilson(mean, len(kept), bounds)
  return {
    'mean': mean,
    'low': float(low),
    'high': float(high),
    'n': int(total[1]),
  }


def wilson(
  mean: float, n: float, bounds: tuple[float, float] = (0.0, 1.0)
) -> tuple[float, float]:
  """Returns Wilson's 95% interval of the mean of n values within bounds."""
  lowest, width = bounds[0], bounds[1] - bounds[0]
  p, square = (mean - lowest) / width, _Z * _Z / n
  centre = p + square / 2
  half = _Z * math.sqrt(max(0.0, p * (1 - p) / n + square / (4 * n)))
  return (
    lowest + width * max(0.0, (centre - half) / (1 + square)),
    lowest + width * min(1.0, (centre + half) / (1 + square)),
  )


def _per_labeler(cases: list[_Case]) -> dict[str, dict[str, float | int]]:
  sums: dict[str, np.ndarray] = collections.defaultdict(lambda: np.zeros(2))
  for case in cases:
    for name in case.labelers:
      sums[name] += (case.agreed, case.pairs)
  return {
    name: {'mean': float(agreed / pairs), 'n': int(pairs)}
    for name, (agreed, pairs) in sorted(sums.items())
    if pairs
  }
