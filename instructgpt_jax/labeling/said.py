"""What labelers have said so far, read out of the tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from instructgpt_jax.labeling.storage.models import (
  KINDS,
  Answer,
  Labeler,
  Lease,
  Output,
  Prompt,
  Task,
)

Ranked = ('ranking', 'comparison')


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
  """One output as a labeler saw it, and what they did not see of it."""

  id: int
  text: str
  model: str
  ended: bool | None


@dataclasses.dataclass(frozen=True, slots=True)
class Said:
  """One answer. `outputs`, and what it says of each, in the order shown."""

  task: Task
  prompt: Prompt
  outputs: tuple[Shown, ...]
  labeler: str  # a pseudonym
  group: str
  payload: dict[str, Any]
  seconds: float
  score: float | None
  at: float

  @property
  def ranks(self) -> list[int]:
    """1 best, equal is a tie; of a ranking, comparison or screening."""
    return self.payload['ranks']

  @property
  def is_work(self) -> bool:
    """Whether it was asked for its own sake, not to test the labeler."""
    return self.task.kind != 'screening' and self.task.gold is None


def pseudonym(labeler_id: int) -> str:
  """Returns the name under which a labeler's answers leave the application."""
  return f'labeler-{labeler_id}'


def read(
  session: orm.Session,
  kinds: Collection[str] = KINDS,
  *,
  labeler: int | None = None,
) -> Iterator[Said]:
  """Yields answers by prompt, task and labeler, whenever they came."""
  answers = (
    sa.select(Answer, Task, Prompt, Lease.order, Labeler.id, Labeler.group)
    .join(Task, Answer.task_id == Task.id)
    .join(Prompt, Task.prompt_id == Prompt.id)
    .join(Lease, Answer.lease_id == Lease.id)
    .join(Labeler, Answer.labeler_id == Labeler.id)
    .where(Task.kind.in_(kinds))
    .order_by(Prompt.id, Task.id, Labeler.id)
  )
  if labeler is not None:
    answers = answers.where(Answer.labeler_id == labeler)
  shown = _outputs(session)
  for answer, task, prompt, order, who, group in session.execute(answers):
    yield Said(
      task=task,
      prompt=prompt,
      outputs=tuple(shown[number] for number in order),
      labeler=pseudonym(who),
      group=group,
      payload=answer.payload,
      seconds=answer.seconds,
      score=answer.score,
      at=answer.created,
    )


def _outputs(session: orm.Session) -> dict[int, Shown]:
  """Returns the outputs of all prompts that somebody has answered to."""
  asked = sa.select(Task.prompt_id).where(Task.answered > 0)
  rows = session.execute(
    sa.select(Output.id, Output.text, Output.model, Output.extra).where(
      Output.prompt_id.in_(asked)
    )
  )
  return {
    row.id: Shown(row.id, row.text, row.model, row.extra.get('ended'))
    for row in rows
  }
