"""How far the work is, and how fast it goes: counts of the tables."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import statistics

import sqlalchemy as sa
from sqlalchemy import orm

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
  """Returns the pace of the last days, of real tasks and tests alike."""
  rows = session.execute(
    sa.select(Task.kind, Answer.created, Answer.seconds).join(
      Task, Answer.task_id == Task.id
    )
  ).all()
  by_day: dict[str, collections.Counter[str]] = {}
  times = collections.defaultdict(list)
  for kind, created, seconds in rows:
    times[kind].append(seconds)
    if created > now - days * DAY:
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
