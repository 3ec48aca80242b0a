"""Does a score depend on padding, or on what else is in the batch?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

# Of tokens [B L] and mask [B L] to scores [B].
ScoreRows = Callable[[np.ndarray, np.ndarray], np.ndarray]


def table(
  score: ScoreRows,
  sequences: Sequence[Sequence[int]],
  *,
  pad_id: int,
  longest: int,
) -> dict[str, Any]:
  """Returns how far scores move when nothing that matters changes.

  Against the sequences padded on the right to the longest of them:
    longer: padded by half as much again, up to `longest`, which is all that
      the model reads. left: padded on the left.
    order: in reverse order. neighbours: each beside other sequences, the half
      of a batch at a time, the other half being the first sequence.

  Returns:
    {change: {largest, flipped}} and `spread`, the deviation of the scores:
    the largest difference, and the share of pairs of sequences that change
    their order.

  Raises:
    ValueError: for fewer than two sequences.
  """
  if len(sequences) < 2:
    raise ValueError('two sequences are the least that can change their order')
  length = max(map(len, sequences))
  rows = _padded(sequences, length, pad_id)
  plain = np.asarray(score(*rows), np.float64)
  more = _padded(sequences, min(length + (length + 1) // 2, longest), pad_id)
  left = _padded(sequences, length, pad_id, left=True)
  back = [x[::-1] for x in rows]
  changed = {
    'longer': score(*more),
    'left': score(*left),
    'order': np.asarray(score(*back))[::-1],
    'neighbours': _among_others(score, rows),
  }
  found: dict[str, Any] = {
    name: _differences(plain, np.asarray(scores, np.float64))
    for name, scores in changed.items()
  }
  return found | {'spread': float(plain.std())}


def _padded(
  sequences: Sequence[Sequence[int]],
  length: int,
  pad_id: int,
  *,
  left: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
  tokens = np.full((len(sequences), length), pad_id, np.int32)
  mask = np.zeros((len(sequences), length), bool)
  for row, ids in enumerate(sequences):
    at = slice(length - len(ids), None) if left else slice(len(ids))
    tokens[row, at], mask[row, at] = ids, True
  return tokens, mask


def _among_others(
  score: ScoreRows, rows: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
  """Returns the scores where half of the batch is another sequence."""
  number = len(rows[0])
  found = np.zeros(number)
  for part in (
    np.arange(number) < number // 2,
    np.arange(number) >= number // 2,
  ):
    tokens, mask = (np.where(part[:, None], x, x[:1]) for x in rows)
    found[part] = np.asarray(score(tokens, mask))[part]
  return found


def _differences(plain: np.ndarray, other: np.ndarray) -> dict[str, float]:
  first, second = np.triu_indices(len(plain), 1)
  order = np.sign(plain[first] - plain[second])
  flipped = order * np.sign(other[first] - other[second]) < 0
  return {
    'largest': float(np.abs(plain - other).max()),
    'flipped': float(flipped.mean()),
  }
