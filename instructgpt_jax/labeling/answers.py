"""Answers, skips and flags of labelers; all of it inside `Database.write`."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from instructgpt_jax.labeling import assignment, payloads, scoring, screening
from instructgpt_jax.labeling.settings import Settings
from instructgpt_jax.labeling.storage.models import (
  Answer,
  Flag,
  Labeler,
  Lease,
  Skip,
  Task,
)

AnswerError = payloads.AnswerError

REASONS = (
  'I do not understand the prompt',
  'I lack the knowledge to judge',
  'The text is broken or cut off',
  'I would rather not read this',
  'Something else',
)
FLAG_KINDS = {
  'sexual': 'Sexual content',
  'violence': 'Violence or self-harm',
  'hate': 'Hate against a group',
  'personal': 'Names or data of a real person',
  'illegal': 'Help with a crime',
  'other': 'Something else',
}
NOTE = 500  # characters
CLIENT_KEY = re.compile(r'[A-Za-z0-9_-]{8,64}')


def submit(
  session: orm.Session,
  labeler: Labeler,
  lease_id: int,
  *,
  payload: Any,
  client_key: str,
  now: float,
  settings: Settings,
  seconds: float | None = None,
) -> tuple[Answer, bool]:
  """Returns the answer to a lease, and whether it is new.

  An answer that comes again is the one that is there. One that comes late
  counts as long as nobody else has the task.

  Args:
    session: that writes.
    labeler: who answers.
    lease_id: of the task, in this labeler's hands.
    payload: ranks and the like in the order shown; see `payloads`.
    client_key: drawn by the page, the same when it sends once more.
    now: seconds since 1970.
    settings: of the application.
    seconds: of work as the page measured them; at most those of the clock.

  Raises:
    LeaseError: if there is no such lease, it is over, or was answered
      otherwise.
    AnswerError: if the payload does not fit.
  """
  lease = assignment.own(session, labeler, lease_id)
  task = session.get_one(Task, lease.task_id)
  there = session.scalar(sa.select(Answer).where(Answer.lease_id == lease.id))
  if there is not None:
    _check_same(there, task, lease, payload, settings)
    return there, False
  _check_key(session, labeler, client_key)
  assignment.hold(session, lease, now, settings)
  checked = _checked(task, lease, payload, settings)
  wall = max(0.0, now - lease.created)
  answer = Answer(
    task_id=task.id,
    labeler_id=labeler.id,
    lease_id=lease.id,
    client_key=client_key,
    payload=checked,
    seconds=wall if seconds is None else min(seconds, wall),
    score=_score(task, lease, checked),
    created=now,
  )
  session.add(answer)
  lease.state = 'answered'
  session.flush()
  assignment.refresh(session, task.id)
  screening.judge(session, labeler, now, settings)
  return answer, True


def skip(
  session: orm.Session,
  labeler: Labeler,
  lease_id: int,
  reason: str,
  now: float,
) -> None:
  """Gives a task back for good, with the reason; twice is once.

  Raises:
    LeaseError: if there is no such lease, or it was answered.
    AnswerError: without a reason, or for a screening task.
  """
  lease = assignment.own(session, labeler, lease_id)
  if lease.state == 'skipped':
    return
  if lease.state == 'answered':
    raise assignment.LeaseError('This task was answered already.')
  assignment.check_may_work(labeler)
  task = session.get_one(Task, lease.task_id)
  if task.kind == 'screening':
    raise AnswerError('Tasks of the screening test cannot be skipped.')
  text = _note(reason)
  if not text:
    raise AnswerError('reason: say in a few words why')
  lease.state = 'skipped'
  session.add(
    Skip(task_id=task.id, labeler_id=labeler.id, reason=text, created=now)
  )
  session.flush()
  assignment.refresh(session, task.id)


def flag(
  session: orm.Session,
  labeler: Labeler,
  lease_id: int,
  kind: str,
  now: float,
  *,
  output: int | None = None,
  note: str = '',
) -> None:
  """Points out sensitive content of a prompt, or of its output shown as n-th.

  Raises:
    LeaseError: if there is no such lease.
    AnswerError: for a kind or an output that there is not.
  """
  lease = assignment.own(session, labeler, lease_id)
  assignment.check_may_work(labeler)
  if kind not in FLAG_KINDS:
    raise AnswerError(f'kind: one of {", ".join(FLAG_KINDS)}')
  if output is not None and not 0 <= output < len(lease.order):
    raise AnswerError(f'output: 0 to {len(lease.order) - 1}')
  where = None if output is None else lease.order[output]
  known = sa.select(Flag.id).filter_by(
    task_id=lease.task_id, labeler_id=labeler.id, output_id=where, kind=kind
  )
  if session.scalar(known) is not None:
    return
  session.add(
    Flag(
      task_id=lease.task_id,
      labeler_id=labeler.id,
      output_id=where,
      kind=kind,
      note=_note(note),
      created=now,
    )
  )


def _check_key(session: orm.Session, labeler: Labeler, client_key: str) -> None:
  if not CLIENT_KEY.fullmatch(client_key):
    raise AnswerError('client_key: 8 to 64 letters, digits, _ or -')
  used = sa.select(Answer.id).filter_by(
    labeler_id=labeler.id, client_key=client_key
  )
  if session.scalar(used) is not None:
    raise AnswerError('client_key: it was sent with the answer to another task')


def _note(text: str) -> str:
  """Returns a remark as it is stored: cut, and nothing no database takes."""
  return text.encode(errors='replace').decode().replace('\0', '').strip()[:NOTE]


def _score(task: Task, lease: Lease, payload: dict[str, Any]) -> float | None:
  if task.gold is None:
    return None
  return scoring.score(task.kind, payload, screening.as_shown(task, lease))


def _check_same(
  there: Answer, task: Task, lease: Lease, payload: Any, settings: Settings
) -> None:
  """Raises LeaseError where an answer is not the one that is there."""
  try:
    same = there.payload == _checked(task, lease, payload, settings)
  except AnswerError:
    same = False
  if not same:
    raise assignment.LeaseError(
      'You answered this task before, otherwise. The first answer counts; this '
      'one is not saved.'
    )


def _checked(
  task: Task, lease: Lease, payload: Any, settings: Settings
) -> dict[str, Any]:
  return payloads.validate(
    task.kind, payload, len(lease.order), longest=settings.text_limit
  )
