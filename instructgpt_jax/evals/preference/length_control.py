"""The win rate that two models would have at equal length.

As Stiennon et al. (2020) control for length: a logistic regression of the
preference on the log of the ratio of lengths; what it says where that is 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from instructgpt_jax.evals.preference.cases import Case

RIDGE = 1e-2  # ours: keeps weights finite where all cases are won
STEPS = 30  # of Newton's method, which needs about six
_ROWS = 2**22  # resamples x cases that are computed at a time


def log_ratio(cases: Sequence[Case]) -> np.ndarray:
  """Returns [n] log(length of the candidate / of the baseline).

  Each length with one added, so that empty answers have one.
  """
  length = np.array([(c.candidate.length, c.baseline.length) for c in cases])
  return np.subtract(*np.log1p(length.reshape(-1, 2)).T)


def rate(
  preferences: np.ndarray,
  ratio: np.ndarray,
  items: Sequence[str],
  *,
  seed: int = 0,
  resamples: int = 1000,
) -> dict[str, float | int]:
  """Returns the rate at ratio 0 with its 95% bootstrap interval over items.

  And `slope`, by which a preference for length shows: the change of the
  log-odds where the candidate is e times as long.

  Args:
    preferences: [n] in [0, 1], ties 0.5.
    ratio: [n], see `log_ratio`.
    items: [n], the prompts: whole ones are drawn.
    seed: of the bootstrap.
    resamples: of the bootstrap.
  """
  names, place = np.unique(
    np.asarray(items, object).astype(str), return_inverse=True
  )
  whole = _fit(preferences, ratio, np.ones((1, len(place))))[0]
  rng = np.random.default_rng(seed)
  even = np.full(len(names), 1 / len(names))
  found, left = [], resamples
  while left:
    part = min(left, max(1, _ROWS // len(place)))
    drawn = rng.multinomial(len(names), even, size=part)
    found.append(_fit(preferences, ratio, drawn[:, place])[:, 0])
    left -= part
  low, high = np.quantile(_chance(np.concatenate(found)), (0.025, 0.975))
  return {
    'mean': float(_chance(whole[0])),
    'low': float(low),
    'high': float(high),
    'n': len(place),
    'slope': float(whole[1]),
  }


def _fit(y: np.ndarray, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
  """Returns [S 2] intercept and slope of each of the weightings [S n]."""
  design, squares = np.stack([x**0, x], 1), np.stack([x**0, x, x, x**2], 1)
  theta, ridge = np.zeros((len(weight), 2)), RIDGE * np.eye(2)
  for _ in range(STEPS):
    p = _chance(theta @ design.T)
    gradient = (weight * (y - p)) @ design - RIDGE * theta
    curvature = ((weight * p * (1 - p)) @ squares).reshape(-1, 2, 2) + ridge
    step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
    theta += np.clip(step, -1, 1)  # far off, full steps would overshoot
    if np.abs(step).max() < 1e-8:
      break
  return theta


def _chance(log_odds: np.ndarray) -> np.ndarray:
  return 1 / (1 + np.exp(-log_odds))
