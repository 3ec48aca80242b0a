"""How far the work is, and how fast it goes: counts of the tables."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import statistics
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import orm

from instructgpt_jax.labeling import assignment, said
from instructgpt_jax.labeling.settings import Settings
from instructgpt_jax.labeling.storage.models import (
  KINDS,
  STATUSES,
  Answer,
  Flag,
  Labeler,
  Lease,
  Output,
  Prompt,
  Skip,
  Task,
)

HOUR, DAY = 3600, 86_400


@dataclasses.dataclass
class Kind:
  """Tasks of one kind. Of screening and gold tasks any number is `wanted`."""

  tasks: int = 0
  open: int = 0  # may be handed out
  wanted: int = 0  # answers, over all copies
  answers: int = 0
  held: int = 0  # in somebody's hands now
  skips: int = 0


@dataclasses.dataclass
class Progress:
  """What is there, by kind of task; labelers by status."""

  kinds: dict[str, Kind]
  labelers: dict[str, int]
  prompts: int
  outputs: int
  flags: int


@dataclasses.dataclass
class Throughput:
  """How fast answers come. Times are seconds; days are of UTC."""

  days: list[tuple[str, dict[str, int]]]  # day, answers by kind; newest first
  last_hour: int
  last_day: int
  median_seconds: dict[str, float]  # of an answer, by kind
  work_left: float  # at that pace, for one person


@dataclasses.dataclass
class Standing:
  """What is there of the rankings that an import asked for."""

  answers: int
  left: int  # answers that may still come; 0: none ever will
  idle: bool  # some may, but of nobody who is there now


def standing(
  session: orm.Session, settings: Settings, batch: str = ''
) -> Standing:
  """Returns the counts of real tasks, of one batch or of all."""
  of_batch = Task.batch == batch if batch else sa.true()
  plain = [Task.kind.in_(said.Ranked), Task.gold.is_(None), of_batch]
  wanted = sa.case((Task.open, Task.copies - Task.answered), else_=0)
  answers, left = session.execute(
    sa.select(sa.func.sum(Task.answered), sa.func.sum(wanted)).where(*plain)
  ).one()
  held = session.scalars(
    sa.select(sa.func.count())
    .select_from(Lease)
    .join(Task, Lease.task_id == Task.id)
    .where(Lease.state == 'held', *plain)
  ).one()
  # A closed task that is in somebody's hands wants their answer, too.
  left = max(int(left or 0), held)
  spent = session.scalars(assignment.TAKEN).one()
  if settings.total_budget and spent >= settings.total_budget:
    left = held
  idle = left > 0 and not held and not _somebody(session, plain)
  return Standing(int(answers or 0), left, idle)


def _somebody(
  session: orm.Session, which: Sequence[sa.ColumnElement[bool]]
) -> bool:
  """Returns whether there is a labeler for one of these tasks."""
  had = sa.exists().where(
    Lease.task_id == Task.id,
    Lease.labeler_id == Labeler.id,
    Lease.state != 'expired',
  )
  theirs = sa.or_(Task.group.is_(None), Task.group == Labeler.group)
  found = sa.select(Task.id).join(Labeler, theirs)
  there = Labeler.status.in_(('active', 'screening'))
  query = found.where(Task.open, *which, Labeler.role == 'labeler', there, ~had)
  return session.scalar(query.limit(1)) is not None


def progress(session: orm.Session) -> Progress:
  """Returns the counts of now, of real tasks and tests alike."""
  kinds = {kind: Kind() for kind in KINDS}
  plain = sa.and_(Task.kind != 'screening', Task.gold.is_(None))
  for kind, tasks, opened, wanted, answers in session.execute(
    sa.select(
      Task.kind,
      sa.func.count(),
      sa.func.sum(sa.case((Task.open, 1), else_=0)),
      sa.func.sum(sa.case((plain, Task.copies), else_=0)),
      sa.func.sum(Task.answered),
    ).group_by(Task.kind)
  ):
    kinds[kind] = Kind(tasks, int(opened), int(wanted), int(answers))
  held = _by_kind(Lease).where(Lease.state == 'held')
  for kind, number in session.execute(held):
    kinds[kind].held = number
  for kind, number in session.execute(_by_kind(Skip)):
    kinds[kind].skips = number
  people = sa.select(Labeler.status, sa.func.count()).where(
    Labeler.role == 'labeler'
  )
  return Progress(
    kinds=kinds,
    labelers=dict.fromkeys(STATUSES, 0)
    | {
      status: number
      for status, number in session.execute(people.group_by(Labeler.status))
    },
    prompts=_rows(session, Prompt),
    outputs=_rows(session, Output),
    flags=_rows(session, Flag),
  )


def throughput(session: orm.Session, now: float, days: int = 14) -> Throughput:
  """Returns the pace of real tasks and tests alike; of as many whole days."""
  rows = session.execute(
    sa.select(Task.kind, Answer.created, Answer.seconds).join(
      Task, Answer.task_id == Task.id
    )
  ).all()
  by_day: dict[str, collections.Counter[str]] = {}
  times = collections.defaultdict(list)
  first = (now // DAY - days + 1) * DAY
  for kind, created, seconds in rows:
    times[kind].append(seconds)
    if created >= first:
      day = datetime.datetime.fromtimestamp(created, datetime.UTC)
      by_day.setdefault(f'{day:%Y-%m-%d}', collections.Counter())[kind] += 1
  medians = {kind: statistics.median(found) for kind, found in times.items()}
  left = session.execute(
    sa.select(Task.kind, sa.func.sum(Task.copies - Task.answered))
    .where(Task.open, Task.kind != 'screening', Task.gold.is_(None))
    .group_by(Task.kind)
  )
  return Throughput(
    days=[(day, dict(by_day[day])) for day in sorted(by_day, reverse=True)],
    last_hour=sum(created > now - HOUR for _, created, _ in rows),
    last_day=sum(created > now - DAY for _, created, _ in rows),
    median_seconds=medians,
    work_left=sum(medians.get(kind, 0.0) * int(n) for kind, n in left),
  )


def _by_kind(table: type[Lease] | type[Skip]) -> sa.Select[str, int]:
  return (
    sa.select(Task.kind, sa.func.count())
    .join(table, table.task_id == Task.id)
    .group_by(Task.kind)
  )


def _rows(
  session: orm.Session,
  table: type[Prompt] | type[Output] | type[Flag],
) -> int:
  return session.scalars(sa.select(sa.func.count()).select_from(table)).one()
