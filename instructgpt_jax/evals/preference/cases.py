"""Two models' answers to one prompt."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

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
