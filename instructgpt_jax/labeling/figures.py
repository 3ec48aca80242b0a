"""What the answers say: of labelers, and of the models they did not see.

Intervals are of 95%. Answers of one prompt hang together, so what is said of
models is drawn anew by whole prompts.
"""

from __future__ import annotations

import collections
import itertools
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from scipy import stats
from sqlalchemy import orm

from instructgpt_jax.data import agreement
from instructgpt_jax.labeling import payloads, said
from instructgpt_jax.labeling.said import Said, Shown
from instructgpt_jax.labeling.storage.models import GROUPS

Interval = dict[str, float | int] | None  # mean, low, high, n


def tables(session: orm.Session) -> dict[str, Any]:
  """Returns all that this module knows of, ready for JSON."""
  rows = list(said.read(session))
  return {
    'agreement': agreements(rows),
    'labelers': labelers(rows),
    'win_rates': win_rates(rows),
    'likert': likert(rows),
    'flags': flags(rows),
  }


def agreements(
  rows: Sequence[Said], ties: str = 'skip'
) -> dict[str, dict[str, Any]]:
  """Returns the agreement of all, and within each group (InstructGPT 3.4).

  As `data.agreement.agreement` counts it: pairwise, and Krippendorff's alpha.
  """
  return {
    name: agreement.agreement(
      [_ranking(row) for row in part if row.is_work], ties=ties
    )
    for name, part in _groups(_of(rows, said.Ranked))
  }


def labelers(rows: Sequence[Said]) -> list[dict[str, Any]]:
  """Returns what is to be seen of each labeler's habits, by pseudonym.

  position: how often the one shown earlier won, of two that are not tied.
  length: how often the longer one did. Both are 0.5 without a bias.
  tie_rate: of all pairs. gold: mean agreement with the right answers.
  agreement: with others on the same task.
  """
  with_others = agreements(rows)['all']['per_labeler']
  by_name: dict[str, list[Said]] = collections.defaultdict(list)
  for row in rows:
    by_name[row.labeler].append(row)
  return [
    {
      'labeler': name,
      'group': own[0].group,
      'answers': dict(collections.Counter(row.kind for row in own)),
      'median_seconds': statistics.median(row.seconds for row in own),
      **_habits(own),
      'quality': _mean(row.payload['quality'] for row in _of(own, ('rating',))),
      'gold': _mean(row.score for row in own if row.score is not None),
      'agreement': with_others.get(name),
    }
    for name, own in sorted(by_name.items(), key=lambda item: _number(item[0]))
  ]


def win_rates(rows: Sequence[Said]) -> dict[str, list[dict[str, Any]]]:
  """Returns how often each model was preferred to each other, by group.

  A tie is half a win (Figs. 1 and 3). Only outputs whose model is named count.
  """
  found = {}
  for name, part in _groups(_of(rows, said.Ranked)):
    cases = collections.defaultdict(list)
    for row in part:
      if row.is_work:
        for key, won in _wins(row):
          cases[key].append((row.prompt, won, 1.0))
    found[name] = [
      {'model': model, 'over': other, **(_ratio(cases[model, other]) or {})}
      for model, other in sorted(cases)
    ]
  return found


def likert(rows: Sequence[Said]) -> list[dict[str, Any]]:
  """Returns the mean quality of each model, and how often each value (Fig. 5).

  'counts' is of the values from 1 to 7.
  """
  worst, best = payloads.QUALITY
  found = []
  for model, part in _models(rows):
    values = [row.payload['quality'] for row in part]
    cases = [
      (row.prompt, value, 1.0) for row, value in zip(part, values, strict=True)
    ]
    counts = [values.count(value) for value in range(worst, best + 1)]
    ratio = agreement.ratio_interval(cases)
    found.append({'model': model, 'counts': counts, **(ratio or {})})
  return found


def flags(rows: Sequence[Said]) -> list[dict[str, Any]]:
  """Returns how often each flag of Table 3 was set, by model (Fig. 4).

  A constraint counts where one was stated.
  """
  return [
    {
      'model': model,
      **{
        name: _ratio(
          [
            (row.prompt, float(row.payload['flags'][name]), 1.0)
            for row in part
            if row.payload['flags'][name] is not None
          ]
        )
        for name in payloads.FLAGS
      },
    }
    for model, part in _models(rows)
  ]


def _ranking(row: Said) -> agreement.Ranking:
  ranks = dict(
    zip((output.id for output in row.outputs), row.ranks, strict=True)
  )
  ordered = [ranks[output] for output in row.imported]
  return agreement.Ranking(row.task, row.labeler, ordered)


def _habits(own: Sequence[Said]) -> dict[str, Interval]:
  pairs = [
    pair
    for row in own
    if row.kind in (*said.Ranked, 'screening')
    for pair in _pairs(row)
  ]
  ordered = [(a, b) for a, b in pairs if a[1] != b[1]]
  unequal = [(a, b) for a, b in ordered if len(a[0].text) != len(b[0].text)]
  return {
    'position': _share(ordered, lambda a, b: a[1] < b[1]),
    'length': _share(
      unequal,
      lambda a, b: (a[1] < b[1]) == (len(a[0].text) > len(b[0].text)),
    ),
    'tie_rate': _share(pairs, lambda a, b: a[1] == b[1]),
  }


Placed = tuple[Shown, int]  # an output and its rank


def _pairs(row: Said) -> Iterator[tuple[Placed, Placed]]:
  """Yields each two outputs with their ranks, the one shown earlier first."""
  return itertools.combinations(zip(row.outputs, row.ranks, strict=True), 2)


def _wins(row: Said) -> Iterator[tuple[tuple[str, str], float]]:
  """Yields ((model, other), share of the win), in both directions."""
  for (one, rank), (other, rank_of_other) in _pairs(row):
    if one.model and other.model and one.model != other.model:
      won = 0.5 if rank == rank_of_other else float(rank < rank_of_other)
      yield (one.model, other.model), won
      yield (other.model, one.model), 1 - won


def _share(
  pairs: Sequence[tuple[Placed, Placed]], holds: Callable[..., bool]
) -> Interval:
  """Returns the share of pairs of which it holds, with Wilson's interval."""
  if not pairs:
    return None
  return _wilson(sum(holds(*pair) for pair in pairs), len(pairs))


def _wilson(count: int, n: int) -> dict[str, float | int]:
  interval = stats.binomtest(count, n).proportion_ci(method='wilson')
  return {
    'mean': count / n,
    'low': float(interval.low),
    'high': float(interval.high),
    'n': n,
  }


def _ratio(cases: Sequence[tuple[str, float, float]]) -> Interval:
  """Returns the interval of a share; where all are alike, that of prompts.

  Drawing anew from what is all alike would claim to know for sure.
  """
  found = agreement.ratio_interval(cases)
  if found is None or found['mean'] not in (0.0, 1.0):
    return found
  prompts = len({prompt for prompt, _, _ in cases})
  sure = _wilson(round(found['mean'] * prompts), prompts)
  return sure | {'n': found['n']}


def _groups(rows: Iterable[Said]) -> Iterator[tuple[str, list[Said]]]:
  rows = list(rows)
  yield 'all', rows
  for group in GROUPS:
    yield group, [row for row in rows if row.group == group]


def _of(rows: Iterable[Said], kinds: Sequence[str]) -> list[Said]:
  return [row for row in rows if row.kind in kinds]


def _models(rows: Sequence[Said]) -> Iterator[tuple[str, list[Said]]]:
  """Yields the ratings of each model."""
  by_model: dict[str, list[Said]] = collections.defaultdict(list)
  for row in _of(rows, ('rating',)):
    if row.is_work:
      by_model[row.outputs[0].model].append(row)
  yield from sorted(by_model.items())


def _mean(values: Iterable[float]) -> dict[str, float | int] | None:
  found = list(values)
  return {'mean': statistics.fmean(found), 'n': len(found)} if found else None


def _number(pseudonym: str) -> int:
  return int(pseudonym.rpartition('-')[2])
