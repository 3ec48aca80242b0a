"""Ranked responses with their scores, and the pairs that they make."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from instructgpt_jax.data import schema

Record = Mapping[str, Any]
# Of records with `responses` (and `ended`) to the scores [K] of each.
Score = Callable[[Sequence[Record]], Sequence[np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Group:
  """K responses to one prompt, ranked by a labeler and scored by a model."""

  item: str  # what groups of the same prompt share
  ranks: np.ndarray  # [K] 1 best, equal = tie
  scores: np.ndarray  # [K]
  lengths: np.ndarray  # [K] of the responses, in one unit
  labeler: str = ''


@dataclasses.dataclass(frozen=True)
class Pairs:
  """Every two responses of a prompt of which one was ranked before the other.

  Arrays over the pairs, [n]; ties make none (InstructGPT C.2).
  """

  item: np.ndarray
  labeler: np.ndarray
  completions: np.ndarray  # K of the prompt
  margin: np.ndarray  # score of the better less that of the worse
  gap: np.ndarray  # by how many ranks they stand apart
  longer: np.ndarray  # length of the better less that of the worse

  @property
  def right(self) -> np.ndarray:
    """[n] 1 where the better one scores higher, 0.5 where both score alike."""
    return 0.5 + 0.5 * np.sign(self.margin)


def scored(records: Sequence[Record], score: Score) -> list[Group]:
  """Returns the groups of comparison records, all scored at one call."""
  return [
    Group(
      item=schema.question(dict(record)),
      ranks=np.asarray(record['ranks']),
      scores=np.asarray(scores, np.float64),
      lengths=np.array([len(text) for text in record['responses']]),
      labeler=record.get('labeler') or '',
    )
    for record, scores in zip(records, score(records), strict=True)
  ]


def pairs(groups: Iterable[Group]) -> Pairs:
  """Returns the ordered pairs of all groups.

  Raises:
    ValueError: where there is none.
  """
  columns: list[list[Any]] = [[] for _ in dataclasses.fields(Pairs)]
  for group in groups:
    better, worse = np.nonzero(group.ranks[:, None] < group.ranks)
    apart = lambda x: x[better] - x[worse]  # noqa: B023, E731
    found = (
      [group.item] * len(better),
      [group.labeler] * len(better),
      [len(group.ranks)] * len(better),
      apart(group.scores),
      -apart(group.ranks),
      apart(group.lengths),
    )
    for column, values in zip(columns, found, strict=True):
      column.extend(values)
  if not columns[0]:
    raise ValueError('no response is ranked before another: nothing to judge')
  return Pairs(*(np.array(column) for column in columns))
