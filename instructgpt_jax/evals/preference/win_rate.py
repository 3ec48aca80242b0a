"""How often one model's answers are preferred, by prompts of all kinds."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np

from instructgpt_jax.data.agreement import ratio_interval
from instructgpt_jax.data.curation import categories
from instructgpt_jax.evals.preference import length_control
from instructgpt_jax.evals.preference.cases import Case

Rate = dict[str, float | int]


def table(
  cases: Sequence[Case],
  preferences: np.ndarray,
  *,
  seen_users: Collection[str] = (),
  seed: int = 0,
) -> dict[str, Any]:
  """Returns how often the candidate is preferred, a tie counting one half.

  Args:
    cases: what was judged.
    preferences: [n] of a judge; NaN is left out.
    seen_users: ids of users whose prompts were trained on.
    seed: of the bootstrap.

  Returns:
    For JSON. A rate is {mean, low, high, n}, its 95% interval by a bootstrap
    over prompts.
      all: rate of all cases; None, as each of these, without a verdict.
      length_controlled: rate at equal length, and `slope`.
      ties: share of ties. no_verdict: number of cases left out.
      by_use_case: {use case: rate}, as far as records name one.
      by_user: {'seen' or 'unseen': rate}, where `seen_users` is given.
      length: mean lengths {candidate, baseline}; longer_wins: share of the
        decided cases of unequal length that the longer answer wins.

  Raises:
    ValueError: for numbers of cases and preferences that differ.
  """
  verdicts = np.asarray(preferences, np.float64)
  if len(cases) != len(verdicts):
    raise ValueError(f'{len(cases)} cases, but {len(verdicts)} preferences.')
  known = ~np.isnan(verdicts)
  judged = list(itertools.compress(cases, known))
  verdicts = verdicts[known]
  items = [case.item for case in judged]
  ratio = length_control.log_ratio(judged)
  found: dict[str, Any] = {
    'all': rate(items, verdicts, seed=seed),
    'length_controlled': length_control.rate(verdicts, ratio, items, seed=seed)
    if judged
    else None,
    'ties': float((verdicts == 0.5).mean()) if judged else None,
    'no_verdict': int((~known).sum()),
    'by_use_case': _by(map(_use_case, judged), items, verdicts, seed),
    'by_user': {},
    **_lengths(judged, verdicts, ratio),
  }
  if seen_users:
    seen = frozenset(seen_users)
    users = (_user(case, seen) for case in judged)
    found['by_user'] = _by(users, items, verdicts, seed)
  return found


def rate(
  items: Sequence[str], verdicts: np.ndarray, *, seed: int = 0
) -> Rate | None:
  """Returns the mean with its interval by a bootstrap over items.

  Of few items it is Wilson's, see `ratio_interval`. None for no items.
  """
  cases = (
    (item, float(v), 1.0) for item, v in zip(items, verdicts, strict=True)
  )
  return ratio_interval(cases, seed=seed)


def _by(
  names: Iterable[str | None],
  items: Sequence[str],
  verdicts: np.ndarray,
  seed: int,
) -> dict[str, Rate]:
  """Returns the rate of each name; None is no name."""
  places: dict[str, list[int]] = {}
  for place, name in enumerate(names):
    if name is not None:
      places.setdefault(name, []).append(place)
  found = {}
  for name, own in sorted(places.items()):
    of = rate([items[i] for i in own], verdicts[own], seed=seed)
    if of:
      found[name] = of
  return found


def _use_case(case: Case) -> str | None:
  given = categories.given_name(dict(case.record))
  return categories.canonical(given) or given


def _user(case: Case, seen: frozenset[str]) -> str:
  # Without a user a prompt is that of one who wrote nothing else.
  return 'seen' if case.record.get('user_id') in seen else 'unseen'


def _lengths(
  cases: Sequence[Case], verdicts: np.ndarray, ratio: np.ndarray
) -> dict[str, Any]:
  decided = (verdicts != 0.5) & (ratio != 0)
  longer = (verdicts > 0.5) == (ratio > 0)
  mean = lambda x: float(np.mean(x)) if cases else None  # noqa: E731
  return {
    'length': {
      'candidate': mean([c.candidate.length for c in cases]),
      'baseline': mean([c.baseline.length for c in cases]),
    },
    'longer_wins': float(longer[decided].mean()) if decided.any() else None,
  }
