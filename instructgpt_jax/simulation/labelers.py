"""Simulated labelers: five people who rank replies, each in their own way.

A labeler weighs the parts of the gold score differently, adds noise, and sees
no difference smaller than a fourteenth: equal impressions are a tie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from instructgpt_jax.simulation.draws import Draw
from instructgpt_jax.simulation.gold import Gold, gold

STEPS = 14  # impressions a labeler can tell apart between 0 and 1


@dataclass(frozen=True, slots=True)
class Labeler:
  """What one person looks for; the weights add to 1."""

  name: str
  correct: float
  constraint: float
  brevity: float
  politeness: float
  noise: float  # standard deviation of an impression

  def impression(self, score: Gold) -> float:
    return (
      self.correct * score.correct
      + self.constraint * score.constraint
      + self.brevity * score.brevity
      + self.politeness * score.politeness
    )


LABELERS = (
  Labeler('gus', 0.30, 0.22, 0.22, 0.26, 0.030),
  Labeler('hana', 0.22, 0.18, 0.20, 0.40, 0.042),  # manners first
  Labeler('ivo', 0.26, 0.18, 0.34, 0.22, 0.042),  # in a hurry
  Labeler('jun', 0.26, 0.34, 0.18, 0.22, 0.054),  # to the letter
  Labeler('kira', 0.44, 0.18, 0.18, 0.20, 0.066),  # right or wrong
)


def rank(
  record: Mapping[str, Any],
  responses: Sequence[str],
  ended: Sequence[bool],
  labeler: int | None = None,
  seed: int = 0,
) -> tuple[list[int], str]:
  """Returns dense ranks (1 = best, equal = tie) and the labeler's name.

  Without `labeler`, the prompt decides who labels it. The ranks are a function
  of seed, prompt, person and texts: shuffling the responses shuffles the ranks,
  and the same text is always a tie with itself.

  Raises:
    ValueError: if responses and ended differ in length, or labeler is unknown.
  """
  if len(responses) != len(ended):
    raise ValueError(
      f'{len(responses)} responses but {len(ended)} `ended` flags for '
      f'{record["id"]}: give one flag per response.'
    )
  if labeler is None:
    labeler = Draw(seed, 'labeler', record['id']).below(len(LABELERS))
  if not 0 <= labeler < len(LABELERS):
    raise ValueError(
      f'labeler {labeler} is unknown: choose 0 to {len(LABELERS) - 1}.'
    )
  person = LABELERS[labeler]
  steps = [
    _steps(person, record, response, end, seed)
    for response, end in zip(responses, ended, strict=True)
  ]
  order = sorted(set(steps), reverse=True)
  return [order.index(step) + 1 for step in steps], person.name


def _steps(
  person: Labeler,
  record: Mapping[str, Any],
  response: str,
  ended: bool,
  seed: int,
) -> int:
  impression = person.impression(gold(record, response, ended))
  key = (seed, person.name, record['id'], bool(ended), response)
  noise = person.noise * Draw(*key).normal()
  return round((impression + noise) * STEPS)
