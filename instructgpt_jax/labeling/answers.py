"""Answers, skips and flags of labelers; all of it inside `Database.write`."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from instructgpt_jax.labeling import accounts, assignment, payloads, scoring
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

  An answer that comes again is the one that is there, whatever it says now.
  One that comes late counts as long as nobody else has the task.

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
    LeaseError: if there is no such lease, or it is over.
    AnswerError: if the payload does not fit.
  """
  lease = assignment.own(session, labeler, lease_id)
  there = session.scalar(sa.select(Answer).where(Answer.lease_id == lease.id))
  if there is not None:
    return there, False
  _check_key(session, labeler, client_key)
  _may_work(labeler)
  assignment.hold(session, lease, now, settings)
  task = session.get_one(Task, lease.task_id)
  checked = payloads.validate(
    task.kind, payload, len(lease.order), longest=settings.text_limit
  )
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
  if task.kind == 'screening':
    _judge(session, labeler, now, settings)
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
  _may_work(labeler)
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
  _may_work(labeler)
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


def _may_work(labeler: Labeler) -> None:
  if labeler.status in ('blocked', 'failed'):
    raise assignment.LeaseError('This account may not label any more.')


def _note(text: str) -> str:
  """Returns a remark as it is stored: cut, and nothing no database takes."""
  return text.encode(errors='replace').decode().replace('\0', '').strip()[:NOTE]


def _score(task: Task, lease: Lease, payload: dict[str, Any]) -> float | None:
  if task.gold is None:
    return None
  gold = dict(task.gold)
  for part in ('ranks', 'sensitive'):  # gold has the order of the task
    if part in gold:
      by_output = dict(zip(task.outputs, gold[part], strict=True))
      gold[part] = [by_output[output] for output in lease.order]
  return scoring.score(task.kind, payload, gold)


def _judge(
  session: orm.Session, labeler: Labeler, now: float, settings: Settings
) -> None:
  """Ends the screening of a labeler who has answered all of it."""
  if labeler.status != 'screening':
    return
  scores = session.scalars(
    sa.select(Answer.score)
    .join(Task, Answer.task_id == Task.id)
    .where(Answer.labeler_id == labeler.id, Task.kind == 'screening')
  ).all()
  there = session.scalars(
    sa.select(sa.func.count())
    .select_from(Task)
    .where(Task.kind == 'screening', Task.open)
  ).one()
  if len(scores) < min(settings.screening_tasks, max(there, 1)):
    return
  known = [score for score in scores if score is not None]
  mean = sum(known) / len(known) if known else 1.0
  passed = mean >= settings.screening_agreement
  labeler.status = 'active' if passed else 'failed'
  accounts.record(
    session, now, labeler.id, 'screened', agreement=mean, status=labeler.status
  )
