"""The test before the first real task (InstructGPT B.1).

The paper asked for 75% agreement on sensitive content and on rankings: each
part by itself has to reach `screening_agreement`.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from instructgpt_jax.labeling import accounts, scoring
from instructgpt_jax.labeling.settings import Settings
from instructgpt_jax.labeling.storage.models import (
  Answer,
  Labeler,
  Lease,
  Task,
)


def done(session: orm.Session, labeler: Labeler) -> int:
  """Returns how many tasks of the test a labeler has answered."""
  query = (
    sa.select(sa.func.count())
    .select_from(Answer)
    .join(Task, Answer.task_id == Task.id)
    .where(Answer.labeler_id == labeler.id, Task.kind == 'screening')
  )
  return session.scalars(query).one()


def missing(session: orm.Session, settings: Settings) -> int:
  """Returns how many tasks the test lacks: nobody is admitted by fewer."""
  query = sa.select(sa.func.count()).where(Task.kind == 'screening')
  return max(0, settings.screening_tasks - session.scalars(query).one())


def judge(
  session: orm.Session, labeler: Labeler, now: float, settings: Settings
) -> None:
  """Admits who has passed the whole test, and ends it for who has failed."""
  if (
    labeler.status != 'screening'
    or done(session, labeler) < settings.screening_tasks
  ):
    return
  rows = session.execute(
    sa.select(Answer.payload, Task, Lease)
    .join(Task, Answer.task_id == Task.id)
    .join(Lease, Answer.lease_id == Lease.id)
    .where(Answer.labeler_id == labeler.id, Task.kind == 'screening')
  )
  found = scoring.parts(
    'screening', [(said, as_shown(task, lease)) for said, task, lease in rows]
  )
  passed = all(part >= settings.screening_agreement for part in found.values())
  labeler.status = 'active' if passed else 'failed'
  accounts.record(
    session, now, labeler.id, 'screened', status=labeler.status, **found
  )


def as_shown(task: Task, lease: Lease) -> dict[str, Any]:
  """Returns the right answer, of the outputs in the order of the lease."""
  gold = dict(task.gold or {})
  for part in ('ranks', 'sensitive'):  # stored in the order of the task
    if part in gold:
      by_output = dict(zip(task.outputs, gold[part], strict=True))
      gold[part] = [by_output[output] for output in lease.order]
  return gold
