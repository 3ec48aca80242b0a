"""The gold scorer: what a reply is truly worth, judged by its words.

  total = 0.30 correct + 0.22 constraint + 0.22 brevity + 0.26 politeness

Deterministic, and a function of the record's `meta` alone. A perfect reply has
1.0; a reply that answers nothing has 0, however it is dressed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from instructgpt_jax.simulation import vocabulary as v

WEIGHTS = (0.30, 0.22, 0.22, 0.26)
NEUTRAL = 0.3  # politeness of a reply that is neither polite nor rude

_POLITE, _RUDE = frozenset(v.POLITE), frozenset(v.RUDE)
_FILLERS = frozenset(v.FILLERS)
_BARE = v.STYLE | v.MARKS


class Gold(NamedTuple):
  """Score of a reply and its parts, each 0 to 1."""

  total: float
  correct: float
  constraint: float
  brevity: float
  politeness: float


NOTHING = Gold(0.0, 0.0, 0.0, 0.0, 0.0)


def gold(record: Mapping[str, Any], response: str, ended: bool) -> Gold:
  """Returns the score of a response to the record's prompt.

  `ended` says that the reply ended by itself (its EOS is there); one that was
  cut off has no brevity.
  """
  meta = record['meta']
  words = response.split()
  core = [word for word in words if word not in _BARE]
  if not core:
    return NOTHING
  constraint = _constraint(meta, words, core)
  if meta['constraint'] == 'twice' and constraint:
    core = core[: len(core) // 2]
  correct, length = _correct(meta, core)
  parts = (
    correct,
    constraint,
    _brevity(words, len(core) - length) if ended else 0.0,
    _politeness(words),
  )
  return Gold(_dot(WEIGHTS, parts), *parts)


def _dot(weights: Sequence[float], parts: Sequence[float]) -> float:
  # Rounded so that a perfect reply is exactly 1.
  return round(sum(w * part for w, part in zip(weights, parts, strict=True)), 9)


def _constraint(
  meta: Mapping[str, Any], words: list[str], core: list[str]
) -> float:
  """1 if the marks are those asked for, no more and no less, in place."""
  kind, mark = meta['constraint'], meta['mark']
  marks = [word for word in words if word in v.MARKS]
  if kind == 'end':
    kept = marks == [mark] and words[-1] == mark
  elif kind == 'start':
    kept = marks == [mark] and words[0] == mark
  elif kind == 'brackets':
    said = [word for word in words if word not in v.STYLE]
    kept = tuple(marks) == v.BRACKETS == (said[0], said[-1])
  elif kind == 'twice':
    half = len(core) // 2
    kept = not marks and core[:half] == core[half:]
  else:
    kept = not marks
  return float(kept)


def _correct(meta: Mapping[str, Any], core: list[str]) -> tuple[float, int]:
  """Returns the share that is right and the length of the answer meant."""
  if meta['category'] is not None:
    members = v.CATEGORIES[meta['category']]
    hits = sum(word in members for word in set(core))
    count = meta['count']
    return min(hits, count) / max(count, len(core)), count
  answers = [answer.split() for answer in meta['answers']]
  if core in answers:
    return 1.0, len(core)
  f1, length = max(
    (2 * _common(core, answer) / (len(core) + len(answer)), len(answer))
    for answer in answers
  )
  return 0.6 * f1, length


def _common(a: Sequence[str], b: Sequence[str]) -> int:
  """Returns the length of the longest common subsequence."""
  row = [0] * (len(b) + 1)
  for x in a:
    before = 0
    for j, y in enumerate(b):
      before, row[j + 1] = (
        row[j + 1],
        before + 1 if x == y else max(row[j], row[j + 1]),
      )
  return row[-1]


def _brevity(words: list[str], surplus: int) -> float:
  """1 less 0.4 a hesitation and 0.2 a word too many."""
  hesitations = sum(word in _FILLERS for word in words)
  rambling = sum(word in v.RAMBLE_WORDS for word in words)
  openers = sum(word in _POLITE or word in _RUDE for word in words)
  excess = rambling + max(0, surplus) + max(0, openers - 1)
  return max(0.0, 1.0 - 0.4 * hesitations - 0.2 * excess)


def _politeness(words: list[str]) -> float:
  """1 for one polite word, 0 for any rude one, `NEUTRAL` else."""
  if any(word in _RUDE for word in words):
    return 0.0
  polite = sum(word in _POLITE for word in words)
  return 1.0 if polite == 1 else NEUTRAL
