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
  Application,
  Labeler,
  Lease,
  Output,
  Prompt,
  Task,
)

KEPT = Labeler.status != 'blocked'
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

  kind: str
  task: str  # its key
  is_work: bool  # asked for its own sake, not to test the labeler
  prompt: str  # its key
  text: str  # of the prompt, as it was shown
  user: str | None
  extra: dict[str, Any]  # of the prompt's record
  outputs: tuple[Shown, ...]
  imported: tuple[int, ...]  # the outputs in the order of their record
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


def pseudonyms(session: orm.Session) -> dict[int, str]:
  """Returns by id the names under which answers leave the application.

  No other application has the same, so that files of several can be joined.
  """
  code = session.get_one(Application, 1).code
  numbers = session.scalars(sa.select(Labeler.id))
  return {number: f'labeler-{code}-{number}' for number in numbers}


def read(
  session: orm.Session,
  kinds: Collection[str] = KINDS,
  *,
  blocked: bool = True,
) -> Iterator[Said]:
  """Yields answers by prompt, task and labeler, whenever they came.

  Those of labelers who were blocked are left out unless `blocked`.
  """
  columns = (
    *(Task.kind, Task.key.label('task'), Task.outputs.label('imported')),
    *(Task.gold, Prompt.key.label('prompt'), Prompt.text, Prompt.user),
    *(Prompt.extra, Lease.order.label('shown'), Labeler.id.label('who')),
    *(Labeler.group, Answer.payload, Answer.seconds, Answer.score),
    Answer.created.label('at'),
  )
  answers = (
    sa.select(*columns)
    .select_from(Answer)
    .join(Task, Answer.task_id == Task.id)
    .join(Prompt, Task.prompt_id == Prompt.id)
    .join(Lease, Answer.lease_id == Lease.id)
    .join(Labeler, Answer.labeler_id == Labeler.id)
    .where(Task.kind.in_(kinds), *([] if blocked else [KEPT]))
    .order_by(Prompt.id, Task.id, Labeler.id)
  )
  outputs, names = _outputs(session), pseudonyms(session)
  for row in session.execute(answers):
    found = dict(row._mapping)
    gold, who, shown = (found.pop(name) for name in ('gold', 'who', 'shown'))
    imported = tuple(found.pop('imported'))
    yield Said(
      **found,
      is_work=gold is None and row.kind != 'screening',
      outputs=tuple(outputs[number] for number in shown),
      imported=imported,
      labeler=names[who],
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
