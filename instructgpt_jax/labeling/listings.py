"""What admins look through: prompts, people, invitations, the audit log."""

from __future__ import annotations

import collections
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from instructgpt_jax.labeling import accounts
from instructgpt_jax.labeling.storage.models import (
  Answer,
  Audit,
  Flag,
  Invitation,
  Labeler,
  Lease,
  Output,
  Prompt,
  Skip,
  Task,
)

PAGE = 50  # rows of a page
EXCERPT = 160  # characters of a prompt in a table


def prompts(
  session: orm.Session, page: int = 1, words: str = ''
) -> tuple[list[dict[str, Any]], int]:
  """Returns the prompts of a page, newest first, and how many there are.

  Each has id, key, text (cut), and the numbers of its outputs, tasks, answers
  wanted and there, skips and flags. `words` must stand in the key or text.
  """
  found = sa.or_(
    Prompt.text.icontains(words, autoescape=True),
    Prompt.key.icontains(words, autoescape=True),
  )
  chosen = sa.select(Prompt).where(found) if words else sa.select(Prompt)
  count = sa.select(sa.func.count()).select_from(chosen.subquery())
  rows = session.scalars(
    chosen.order_by(Prompt.id.desc()).limit(PAGE).offset((page - 1) * PAGE)
  ).all()
  numbers = _numbers(session, [row.id for row in rows])
  return [
    {
      'id': row.id,
      'key': row.key,
      'text': row.text.strip()[:EXCERPT],
      **numbers[row.id],
    }
    for row in rows
  ], session.scalars(count).one()


def _numbers(session: orm.Session, ids: list[int]) -> dict[int, dict[str, int]]:
  """Returns how many outputs, tasks and so on each of the prompts has."""
  found: dict[int, dict[str, int]] = collections.defaultdict(
    lambda: dict.fromkeys(
      ('outputs', 'tasks', 'wanted', 'answered', 'skips', 'flags'), 0
    )
  )
  total = sa.func.count()
  outputs = sa.select(Output.prompt_id, total).group_by(Output.prompt_id)
  for prompt, n in session.execute(outputs.where(Output.prompt_id.in_(ids))):
    found[prompt]['outputs'] = n
  tasks = sa.select(
    Task.prompt_id, total, sa.func.sum(Task.copies), sa.func.sum(Task.answered)
  ).group_by(Task.prompt_id)
  for prompt, n, wanted, answered in session.execute(
    tasks.where(Task.prompt_id.in_(ids))
  ):
    found[prompt].update(tasks=n, wanted=wanted, answered=answered)
  for name, table in (('skips', Skip), ('flags', Flag)):
    rows = sa.select(Task.prompt_id, total).join(
      table, table.task_id == Task.id
    )
    rows = rows.where(Task.prompt_id.in_(ids)).group_by(Task.prompt_id)
    for prompt, n in session.execute(rows):
      found[prompt][name] = n
  return found


def prompt(session: orm.Session, number: int) -> dict[str, Any] | None:
  """Returns a prompt with its outputs, tasks, answers, skips and flags."""
  row = session.get(Prompt, number)
  if row is None:
    return None
  names = dict(session.execute(sa.select(Labeler.id, Labeler.name)).all())
  outputs = list(
    session.scalars(
      sa.select(Output).where(Output.prompt_id == number).order_by(Output.id)
    )
  )
  tasks = list(
    session.scalars(
      sa.select(Task).where(Task.prompt_id == number).order_by(Task.id)
    )
  )
  of_tasks = [task.id for task in tasks]

  def rows(table: Any) -> list[Any]:
    query = sa.select(table).where(table.task_id.in_(of_tasks))
    return list(session.scalars(query.order_by(table.id)))

  answers = session.execute(
    sa.select(Answer, Lease.order)
    .join(Lease, Answer.lease_id == Lease.id)
    .where(Answer.task_id.in_(of_tasks))
    .order_by(Answer.id)
  )

  return {
    'prompt': row,
    'outputs': outputs,
    'tasks': tasks,
    'answers': [tuple(row) for row in answers],  # with the outputs as shown
    'skips': rows(Skip),
    'flags': rows(Flag),
    'names': names,
  }


def labelers(session: orm.Session) -> list[dict[str, Any]]:
  """Returns every account with its answers, their mean time, and skips."""
  answered = {
    row[0]: row[1:]
    for row in session.execute(
      sa.select(
        Answer.labeler_id,
        sa.func.count(),
        sa.func.avg(Answer.seconds),
        sa.func.max(Answer.created),
        sa.func.avg(Answer.score),
      ).group_by(Answer.labeler_id)
    )
  }
  skipped = dict(
    session.execute(
      sa.select(Skip.labeler_id, sa.func.count()).group_by(Skip.labeler_id)
    ).all()
  )
  found = []
  for row in session.scalars(sa.select(Labeler).order_by(Labeler.id)):
    count, seconds, last, gold = answered.get(row.id, (0, None, None, None))
    found.append(
      {
        'id': row.id,
        'name': row.name,
        'role': row.role,
        'group': row.group,
        'status': row.status,
        'created': row.created,
        'answers': count,
        'seconds': seconds,
        'last': last,
        'gold': gold,
        'skips': skipped.get(row.id, 0),
      }
    )
  return found


def invitations(session: orm.Session, now: float) -> list[Invitation]:
  """Returns those that can still be used, newest first."""
  query = sa.select(Invitation).where(
    Invitation.used.is_(None), Invitation.expires > now
  )
  return list(session.scalars(query.order_by(Invitation.id.desc())))


def audit(
  session: orm.Session, before: int | None = None
) -> list[tuple[Audit, str]]:
  """Returns the rows of the log before one, newest first, with names."""
  query = sa.select(Audit, Labeler.name).outerjoin(
    Labeler, Audit.labeler_id == Labeler.id
  )
  if before is not None:
    query = query.where(Audit.id < before)
  rows = session.execute(query.order_by(Audit.id.desc()).limit(PAGE))
  return [(row, name or _nobody(row)) for row, name in rows]


def _nobody(row: Audit) -> str:
  """Returns who did what nobody's account did."""
  return 'no account' if row.action == accounts.FAILED else 'command line'
