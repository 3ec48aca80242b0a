"""Two models' answers to one prompt, and judges of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from instructgpt_jax import simulation
from instructgpt_jax.data import schema

Record = Mapping[str, Any]


class Answer(NamedTuple):
  """What a model wrote to a prompt."""

  text: str
  length: float  # in tokens, or characters: the same for both of a case
  ended: bool = True  # False: cut off


@dataclasses.dataclass(frozen=True)
class Case:
  """One prompt and the answers to compare.

  Cases of one prompt (several samples, several labelers) belong together.
  """

  record: Record  # of the prompt: id, prompt or messages, user_id, category
  candidate: Answer
  baseline: Answer

  @property
  def item(self) -> str:
    """What cases of the same prompt share."""
    return schema.question(dict(self.record))


class Judge(Protocol):
  """Says which answer is better."""

  name: str

  def preferences(self, cases: Sequence[Case]) -> np.ndarray:
    """Returns [n]: 1 the candidate is better, 0 the baseline is, 0.5 a tie.

    NaN where there is no verdict.
    """


def paired(
  records: Sequence[Record],
  candidate: Sequence[Answer],
  baseline: Sequence[Answer],
) -> list[Case]:
  """Returns a case per record; answer i is the one to record i.

  Raises:
    ValueError: for lists of different lengths.
  """
  if not len(records) == len(candidate) == len(baseline):
    raise ValueError(
      f'{len(records)} prompts, but {len(candidate)} and {len(baseline)} '
      'answers: give one of each model to every prompt.'
    )
  return [
    Case(record, one, other)
    for record, one, other in zip(records, candidate, baseline, strict=True)
  ]


Scorer = Callable[[Sequence[tuple[Record, Answer]]], ArrayLike]


@dataclasses.dataclass(frozen=True)
class ScoreJudge:
  """Prefers the answer with the higher score, equal ones are a tie."""

  name: str
  score: Scorer  # of answers to prompts, all at once

  def preferences(self, cases: Sequence[Case]) -> np.ndarray:
    asked = [(case.record, case.candidate) for case in cases]
    asked += [(case.record, case.baseline) for case in cases]
    scores = np.asarray(self.score(asked), np.float64).reshape(2, len(cases))
    return 0.5 + 0.5 * np.sign(scores[0] - scores[1])


def reward_judge(
  score: Callable[[Sequence[Record]], Sequence[ArrayLike]],
) -> ScoreJudge:
  """Returns the judge that goes by a reward model, a reward_model.Scorer.

  A policy that was trained on this model is no stranger to it: the rate then
  says how far training got, not how good the answers are.
  """

  def of(asked: Sequence[tuple[Record, Answer]]) -> list[float]:
    rows = [
      {**record, 'responses': [answer.text], 'ended': [answer.ended]}
      for record, answer in asked
    ]
    return [float(np.asarray(scores)[0]) for scores in score(rows)]

  return ScoreJudge('reward model', of)


def gold_judge() -> ScoreJudge:
  """Returns the judge that goes by the gold score of the embedded world."""

  def score(asked: Sequence[tuple[Record, Answer]]) -> list[float]:
    return [
      simulation.gold(record, answer.text, answer.ended).total
      for record, answer in asked
    ]

  return ScoreJudge('gold', score)
