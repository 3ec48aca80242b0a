"""How often the reward model agrees with labelers, and of which pairs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import scipy.stats

from instructgpt_jax.evals.preference.win_rate import rate
from instructgpt_jax.evals.reward_model.groups import Group, Pairs, pairs

BINS = 10  # of equal numbers of pairs


def table(
  groups: Sequence[Group],
  *,
  train_labelers: Collection[str] = (),
  seed: int = 0,
) -> dict[str, Any]:
  """Returns what a reward model gets right, for JSON.

  A share is {mean, low, high, n} of n pairs, its 95% interval by a bootstrap
  over prompts; equal scores count one half.

  Args:
    groups: scored comparisons, held out.
    train_labelers: who ranked what the model was trained on.
    seed: of the bootstrap.

  Returns:
    accuracy: of all pairs.
    by_completions: {K: share}; by_rank_gap: {ranks apart: share}.
    by_labeler: {name: share}.
    by_labelers: {'seen' or 'held_out': share}, where `train_labelers` is given.
    by_margin: the calibration curve, see `calibration`.
    calibration_error: mean over pairs of |predicted - observed| of their bin.
    log_loss: nats per pair, log 2 for a model that knows nothing.
    length: see `length_bias`.

  Raises:
    ValueError: where no pair is ordered.
  """
  found = pairs(groups)
  curve = calibration(found, seed=seed)
  share = lambda by: _by(by, found, seed)  # noqa: E731
  seen = np.isin(found.labeler, list(train_labelers))
  named = found.labeler != ''
  return {
    'accuracy': rate(list(found.item), found.right, seed=seed),
    'by_completions': share(found.completions),
    'by_rank_gap': share(found.gap),
    'by_labeler': share(found.labeler) if named.any() else {},
    'by_labelers': share(np.where(seen, 'seen', 'held_out'))
    if len(train_labelers)
    else {},
    'by_margin': curve,
    'calibration_error': _error(curve),
    'log_loss': float(np.logaddexp(0, -found.margin).mean()),
    'length': length_bias(groups, seed=seed),
  }


def _by(by: np.ndarray, found: Pairs, seed: int) -> dict[str, Any]:
  return {
    str(value): rate(
      list(found.item[by == value]), found.right[by == value], seed=seed
    )
    for value in np.unique(by)
  }


def calibration(found: Pairs, *, seed: int = 0) -> list[dict[str, Any]]:
  """Returns of each tenth of the pairs, by margin, what was true of it.

  margin_low, margin_high: how far apart its two scores are.
  predicted: mean chance that the higher score is right, sigmoid of the margin
    (InstructGPT eq. 1 makes it one).
  observed: {mean, low, high, n}, how often it is.
  """
  size = np.abs(found.margin)
  order = np.argsort(size, kind='stable')
  curve = []
  for part in np.array_split(order, min(BINS, len(order))):
    chance = 1 / (1 + np.exp(-size[part]))
    curve.append(
      {
        'margin_low': float(size[part].min()),
        'margin_high': float(size[part].max()),
        'predicted': float(chance.mean()),
        'observed': rate(list(found.item[part]), found.right[part], seed=seed),
      }
    )
  return curve


def _error(curve: Sequence[dict[str, Any]]) -> float:
  apart = [abs(bin['predicted'] - bin['observed']['mean']) for bin in curve]
  return float(np.average(apart, weights=[b['observed']['n'] for b in curve]))


def length_bias(groups: Sequence[Group], *, seed: int = 0) -> dict[str, Any]:
  """Returns how scores, and labelers, go with the length of responses.

  scores_within, labelers_within: mean over prompts of Spearman's correlation
    of length with score, and with rank (best first), where both differ.
  scores_all: Spearman's correlation over all responses of all prompts.
  labelers_prefer_longer, scores_prefer_longer: share of the ordered pairs of
    unequal length whose longer response is ranked, is scored, higher.
  """
  found = pairs(groups)
  unequal = found.longer != 0
  higher = found.longer[unequal] > 0
  right = found.right[unequal]
  items = list(found.item[unequal])
  join = lambda name: np.concatenate([getattr(g, name) for g in groups])  # noqa: E731
  return {
    'scores_within': _within((g.scores, g.lengths) for g in groups),
    'labelers_within': _within((-g.ranks, g.lengths) for g in groups),
    'scores_all': _spearman(join('scores'), join('lengths')),
    'labelers_prefer_longer': rate(items, higher.astype(float), seed=seed),
    'scores_prefer_longer': rate(
      items, np.where(higher, right, 1 - right), seed=seed
    ),
  }


def _within(columns: Any) -> float | None:
  found = [_spearman(x, y) for x, y in columns]
  known = [value for value in found if value is not None]
  return float(np.mean(known)) if known else None


def _spearman(x: np.ndarray, y: np.ndarray) -> float | None:
  """Returns the correlation of ranks, None where one side is constant."""
  if len(np.unique(x)) < 2 or len(np.unique(y)) < 2:
    return None
  # As scipy.stats.spearmanr, which takes ten times as long for a few values.
  return float(np.corrcoef(*map(scipy.stats.rankdata, (x, y)))[0, 1])
