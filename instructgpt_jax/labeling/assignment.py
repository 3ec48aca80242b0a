"""Who is handed which task, and for how long.

All of it runs inside `Database.write`, where one writer works at a time. A
task is open as long as the answers it has and the leases that are held on it
are fewer than its copies; screening and gold tasks are open to everybody. Who
is held out is handed no demonstration, which would be training data.
Nobody is handed a task twice, but for their own that has run out: it is the
same lease, and comes back when nothing else is left.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import orm

from instructgpt_jax.data.curation.step import stable_hash
from instructgpt_jax.labeling import screening
from instructgpt_jax.labeling.settings import Settings
from instructgpt_jax.labeling.storage.models import (
  Answer,
  Labeler,
  Lease,
  Output,
  Prompt,
  Skip,
  Task,
)

SHUT_OUT = ('blocked', 'failed')
UNCLEAR = 3  # people who skip a task until nobody is handed it (ours)


# How many answers to real tasks are there or on their way.
TAKEN = (
  sa.select(sa.func.count())
  .select_from(Lease)
  .join(Task, Lease.task_id == Task.id)
  .where(Task.kind != 'screening', Lease.state.in_(['held', 'answered']))
)


class LeaseError(ValueError):
  """A lease that cannot be used; its text says why to the labeler."""


class NoSuchLease(LeaseError):
  """There is none of this number, or it is another's."""


class Offer(NamedTuple):
  """A lease, or why there is none.

  The reasons: `blocked`, `failed` (the screening), `untested` (the screening
  tasks are not all there yet), `budget` (of the labeler), `total` (of all),
  `nothing` (is left, or everything is in others' hands).
  """

  lease: Lease | None
  reason: str = ''


def next_task(
  session: orm.Session, labeler: Labeler, now: float, settings: Settings
) -> Offer:
  """Returns what the labeler holds already, or the next task that suits.

  Screening comes first, then what has the highest priority and is oldest; a
  gold question takes the place of a task as often as `gold_share` says.
  """
  expire(session, now)
  screening.judge(session, labeler, now, settings)
  if labeler.status in SHUT_OUT:
    return Offer(None, labeler.status)
  held = session.scalar(_leases(labeler, 'held'))
  if held is not None:
    return Offer(held)
  reason = _spent(session, labeler, settings)
  if reason:
    return Offer(None, reason)
  task = _pick(session, labeler, settings)
  if task is not None:
    return Offer(_hand(session, task, labeler, now, settings))
  lapsed = session.scalar(
    _leases(labeler, 'expired')
    .join(Task, Lease.task_id == Task.id)
    .where(Task.open, *_suits(labeler))
  )
  if lapsed is not None:
    return Offer(_revive(session, lapsed, now, settings))
  return Offer(None, 'untested' if labeler.status == 'screening' else 'nothing')


def expire(session: orm.Session, now: float) -> None:
  """Ends the leases whose time is over; their tasks open again."""
  over = session.scalars(
    sa.select(Lease).where(Lease.state == 'held', Lease.expires <= now)
  ).all()
  for lease in over:
    lease.state = 'expired'
    refresh(session, lease.task_id)


def own(session: orm.Session, labeler: Labeler, lease_id: int) -> Lease:
  """Returns a lease of this labeler's; raises NoSuchLease for any other."""
  lease = session.get(Lease, lease_id)
  if lease is None or lease.labeler_id != labeler.id:
    raise NoSuchLease('You have no such task. Ask for the next one.')
  return lease


def hold(
  session: orm.Session, lease: Lease, now: float, settings: Settings
) -> Lease:
  """Returns the lease with all its time before it again.

  One that has run out is taken up again as long as nobody else has the task.

  Raises:
    LeaseError: if it was answered or skipped, others have the task, a budget
      is spent, or its labeler is shut out.
  """
  owner = session.get_one(Labeler, lease.labeler_id)
  check_may_work(owner)
  if lease.state == 'held':
    lease.expires = now + 60 * settings.lease_minutes
    return lease
  if lease.state != 'expired':
    raise LeaseError(f'This task was {lease.state}. Ask for the next one.')
  if _spent(session, owner, settings):
    raise LeaseError('No more answers are wanted. Thank you.')
  if not session.get_one(Task, lease.task_id).open:
    raise LeaseError(
      'Your time for this task ran out, and others have taken it. Ask for the '
      'next one.'
    )
  return _revive(session, lease, now, settings)


def check_may_work(labeler: Labeler) -> None:
  """Raises LeaseError for an account that is shut out."""
  if labeler.status in SHUT_OUT:
    raise LeaseError('This account may not label any more.')


def refresh(session: orm.Session, task_id: int) -> None:
  """Counts the answers to a task, and opens or closes it."""
  task = session.get_one(Task, task_id)
  leases = _count(session, Lease, Lease.state == 'held', task_id=task_id)
  task.answered = _count(session, Answer, task_id=task_id)
  wanted = everybody(task) or task.answered + leases < task.copies
  skips = _count(session, Skip, task_id=task_id)
  task.open = wanted and skips < UNCLEAR


def everybody(task: Task) -> bool:
  """Returns whether a task is there to test people: each may have it."""
  return task.kind == 'screening' or task.gold is not None


def view(session: orm.Session, lease: Lease) -> dict[str, Any]:
  """Returns what a labeler sees of a task: texts, and no names."""
  task = session.get_one(Task, lease.task_id)
  rows = session.execute(
    sa.select(Output.id, Output.text).where(Output.id.in_(lease.order))
  )
  texts = {row.id: row.text for row in rows}
  return {
    'lease': lease.id,
    'kind': task.kind,
    'prompt': session.get_one(Prompt, task.prompt_id).text,
    'outputs': [texts[number] for number in lease.order],
    'expires': lease.expires,
  }


def _spent(session: orm.Session, labeler: Labeler, settings: Settings) -> str:
  """Returns 'budget' or 'total' where no answer more is wanted, else ''."""
  if labeler.status == 'screening':
    return ''
  own_taken = TAKEN.where(Lease.labeler_id == labeler.id)
  budgets = (
    ('budget', settings.labeler_budget, own_taken),
    ('total', settings.total_budget, TAKEN),
  )
  for name, most, query in budgets:
    if most and session.scalars(query).one() >= most:
      return name
  return ''


def _pick(
  session: orm.Session, labeler: Labeler, settings: Settings
) -> Task | None:
  if labeler.status == 'screening':
    return _candidate(session, labeler)
  gold, task = Task.gold.is_not(None), None
  if _gold_turn(session, labeler, settings):
    task = _candidate(session, labeler, gold)
  return task or _candidate(session, labeler, ~gold)


def _candidate(
  session: orm.Session, labeler: Labeler, *which: sa.ColumnElement[bool]
) -> Task | None:
  had = sa.exists().where(
    Lease.task_id == Task.id, Lease.labeler_id == labeler.id
  )
  return session.scalar(
    sa.select(Task)
    .where(Task.open, *_suits(labeler), *which, ~had)
    .order_by(Task.priority.desc(), Task.id)
    .limit(1)
  )


def _gold_turn(
  session: orm.Session, labeler: Labeler, settings: Settings
) -> bool:
  if not settings.gold_share:
    return False
  number = _count(session, Lease, labeler_id=labeler.id)
  drawn = stable_hash(str(settings.seed), 'gold', str(labeler.id), str(number))
  return drawn < settings.gold_share * 2**64


def _hand(
  session: orm.Session,
  task: Task,
  labeler: Labeler,
  now: float,
  settings: Settings,
) -> Lease:
  lease = Lease(
    task_id=task.id,
    labeler_id=labeler.id,
    state='held',
    order=_shuffled(task, labeler, settings.seed),
    created=now,
    expires=now + 60 * settings.lease_minutes,
  )
  session.add(lease)
  session.flush()
  refresh(session, task.id)
  return lease


def _revive(
  session: orm.Session, lease: Lease, now: float, settings: Settings
) -> Lease:
  lease.state = 'held'
  lease.expires = now + 60 * settings.lease_minutes
  refresh(session, lease.task_id)
  return lease


def _shuffled(task: Task, labeler: Labeler, seed: int) -> list[int]:
  """Returns the outputs in an order of this labeler and task alone."""
  return sorted(
    task.outputs,
    key=lambda output: stable_hash(
      str(seed), str(labeler.id), task.key, str(output)
    ),
  )


def _leases(labeler: Labeler, state: str) -> sa.Select[Lease]:
  return (
    sa.select(Lease)
    .where(Lease.labeler_id == labeler.id, Lease.state == state)
    .order_by(Lease.id)
    .limit(1)
  )


def _suits(labeler: Labeler) -> list[sa.ColumnElement[bool]]:
  """Returns what a task has to be for this labeler."""
  if labeler.status == 'screening':
    return [Task.kind == 'screening']
  found = [
    Task.kind != 'screening',
    sa.or_(Task.group.is_(None), Task.group == labeler.group),
  ]
  if labeler.group == 'heldout':
    found.append(Task.kind != 'demonstration')
  return found


def _count(
  session: orm.Session,
  table: type[Lease] | type[Answer] | type[Skip],
  *conditions: sa.ColumnElement[bool],
  **equal: int,
) -> int:
  query = sa.select(sa.func.count()).select_from(table)
  return session.scalars(query.where(*conditions).filter_by(**equal)).one()
