"""What the answers say: of labelers, and of the models they did not see.

Intervals are of 95%. What is said of one task or prompt hangs together: habits
are drawn anew by whole tasks, and what is said of models by whole prompts.
"""

from __future__ import annotations

import collections
import itertools
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import orm

from instructgpt_jax.data import agreement
from instructgpt_jax.labeling import payloads, said
from instructgpt_jax.labeling.said import Said, Shown
from instructgpt_jax.labeling.storage.models import GROUPS

Interval = dict[str, float | int] | None  # mean, low, high, n


def tables(session: orm.Session, *, blocked: bool = True) -> dict[str, Any]:
  """Returns all that this module knows of, ready for JSON.

  Without the answers of labelers who were blocked unless `blocked`.
  """
  rows = list(said.read(session, blocked=blocked))
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
    rates = []
    for (model, other), own in cases.items():
      rate = agreement.ratio_interval(own) or {}
      rates.append({'model': model, 'over': other, **rate})
      rates.append({'model': other, 'over': model, **_mirrored(rate)})
    found[name] = sorted(rates, key=lambda r: (r['model'], r['over']))
  return found


def _mirrored(rate: dict[str, float | int]) -> dict[str, float | int]:
  """Returns the same rate from the other's side."""
  return {
    'mean': 1 - rate['mean'],
    'low': 1 - rate['high'],
    'high': 1 - rate['low'],
    'n': rate['n'],
  }


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
    ratio = agreement.ratio_interval(cases, bounds=payloads.QUALITY)
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
        name: agreement.ratio_interval(
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
  pairs: list[Pair] = [
    (row.task, *pair)
    for row in own
    if row.kind in (*said.Ranked, 'screening')
    for pair in _pairs(row)
  ]
  ordered = [pair for pair in pairs if pair[1][1] != pair[2][1]]
  unequal = [
    (task, a, b) for task, a, b in ordered if len(a[0].text) != len(b[0].text)
  ]
  return {
    'position': _share(ordered, lambda a, b: a[1] < b[1]),
    'length': _share(
      unequal,
      lambda a, b: (a[1] < b[1]) == (len(a[0].text) > len(b[0].text)),
    ),
    'tie_rate': _share(pairs, lambda a, b: a[1] == b[1]),
  }


Placed = tuple[Shown, int]  # an output and its rank
Pair = tuple[str, Placed, Placed]  # of a task, the one shown earlier first


def _pairs(row: Said) -> Iterator[tuple[Placed, Placed]]:
  """Yields each two outputs with their ranks, the one shown earlier first."""
  return itertools.combinations(zip(row.outputs, row.ranks, strict=True), 2)


def _wins(row: Said) -> Iterator[tuple[tuple[str, str], float]]:
  """Yields ((model, other), share of the win), names in their order."""
  for (one, rank), (other, rank_of_other) in _pairs(row):
    if one.model and other.model and one.model != other.model:
      won = 0.5 if rank == rank_of_other else float(rank < rank_of_other)
      if one.model > other.model:
        yield (other.model, one.model), 1 - won
      else:
        yield (one.model, other.model), won


def _share(
  pairs: Sequence[Pair], holds: Callable[[Placed, Placed], bool]
) -> Interval:
  """Returns the share of pairs of which it holds, drawn anew by whole tasks."""
  return agreement.ratio_interval(
    (task, float(holds(one, other)), 1.0) for task, one, other in pairs
  )


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
