"""The tables. Times are seconds since 1970 (UTC), payloads are JSON.

A prompt has outputs; a task asks something about a prompt and some of its
outputs, of as many people as `copies` says. Who is handed a task holds a
lease; the row stays when the lease ends, so that the unique pair of task and
labeler keeps anybody from being handed the same task twice.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

ROLES = ('admin', 'labeler')
GROUPS = ('train', 'heldout')
# A labeler starts in 'screening' or, held out, as 'active'; `failed` is who did
# not reach the threshold, `blocked` whom an admin has shut out.
STATUSES = ('screening', 'active', 'failed', 'blocked')
# What work is asked for; a screening task is a test.
ASKED = ('demonstration', 'rating', 'ranking', 'comparison')
KINDS = (*ASKED, 'screening')
# What tasks are for: to be done; to admit people; to check those at work.
USES = ('work', 'screening', 'gold')
LEASE_STATES = ('held', 'answered', 'skipped', 'expired')


class Base(DeclarativeBase):
  metadata = sa.MetaData(
    naming_convention={
      'ix': 'ix_%(table_name)s_%(column_0_N_name)s',
      'uq': 'uq_%(table_name)s_%(column_0_N_name)s',
      'ck': 'ck_%(table_name)s_%(constraint_name)s',
      'fk': 'fk_%(table_name)s_%(column_0_N_name)s',
      'pk': 'pk_%(table_name)s',
    }
  )
  type_annotation_map = {  # noqa: RUF012 (SQLAlchemy reads it from the class)
    dict[str, Any]: sa.JSON(none_as_null=True),
    list[int]: sa.JSON,
    float: sa.Double,
    str: sa.Text,
  }


def one_of(column: str, values: tuple[str, ...]) -> sa.CheckConstraint:
  listed = ', '.join(f"'{value}'" for value in values)
  return sa.CheckConstraint(f'"{column}" IN ({listed})', name=column)


class Application(Base):
  """The one row says which application this is, among all there are."""

  __tablename__ = 'application'

  id: Mapped[int] = mapped_column(primary_key=True)
  code: Mapped[str]  # random; in the pseudonyms of its labelers


class Labeler(Base):
  """A person with an account, admins among them."""

  __tablename__ = 'labelers'
  __table_args__ = (
    one_of('role', ROLES),
    one_of('group', GROUPS),
    one_of('status', STATUSES),
  )

  id: Mapped[int] = mapped_column(primary_key=True)
  name: Mapped[str] = mapped_column(unique=True)  # to log in with
  password: Mapped[str]  # argon2
  role: Mapped[str]
  group: Mapped[str]
  status: Mapped[str]
  before: Mapped[str | None]  # status of a blocked one until then
  # Sessions that were signed under another number have ended.
  generation: Mapped[int] = mapped_column(default=0)
  created: Mapped[float]


class Invitation(Base):
  """A link that makes one account; its token is known by the hash alone."""

  __tablename__ = 'invitations'
  __table_args__ = (one_of('role', ROLES), one_of('group', GROUPS))

  id: Mapped[int] = mapped_column(primary_key=True)
  token_hash: Mapped[str] = mapped_column(unique=True)  # SHA-256, hex
  role: Mapped[str]
  group: Mapped[str]
  note: Mapped[str] = mapped_column(default='')  # for whom
  created: Mapped[float]
  expires: Mapped[float]
  created_by: Mapped[int | None] = mapped_column(sa.ForeignKey('labelers.id'))
  used: Mapped[float | None]
  used_by: Mapped[int | None] = mapped_column(sa.ForeignKey('labelers.id'))


class Prompt(Base):
  """What the outputs answer. `user` and `extra` are never shown."""

  __tablename__ = 'prompts'

  id: Mapped[int] = mapped_column(primary_key=True)
  key: Mapped[str] = mapped_column(unique=True)  # id of the imported record
  text: Mapped[str]
  user: Mapped[str | None]  # user_id of the record
  extra: Mapped[dict[str, Any]] = mapped_column(default=dict)  # other fields
  created: Mapped[float]


class Output(Base):
  """What one model, or person, wrote for a prompt."""

  __tablename__ = 'outputs'

  id: Mapped[int] = mapped_column(primary_key=True)
  prompt_id: Mapped[int] = mapped_column(
    sa.ForeignKey('prompts.id'), index=True
  )
  text: Mapped[str]
  model: Mapped[str] = mapped_column(default='')  # never shown to labelers
  extra: Mapped[dict[str, Any]] = mapped_column(default=dict)  # e.g. ended


class Task(Base):
  """One thing to be done, by `copies` people.

  `outputs` are ids in the order of the record: () of a demonstration, one of a
  rating, two of a comparison, K of a ranking. A screening task shows what a
  ranking does and has a `gold` answer; so has a gold question of any kind.
  """

  __tablename__ = 'tasks'
  __table_args__ = (
    one_of('kind', KINDS),
    sa.Index('ix_tasks_next', 'open', sa.text('priority DESC'), 'id'),
  )

  id: Mapped[int] = mapped_column(primary_key=True)
  key: Mapped[str] = mapped_column(unique=True)  # an import twice makes one
  kind: Mapped[str]
  batch: Mapped[str] = mapped_column(default='', index=True)  # of the import
  prompt_id: Mapped[int] = mapped_column(
    sa.ForeignKey('prompts.id'), index=True
  )
  outputs: Mapped[list[int]] = mapped_column(default=list)
  priority: Mapped[int] = mapped_column(default=0)  # the highest goes first
  copies: Mapped[int] = mapped_column(default=1)  # answers wanted
  group: Mapped[str | None]  # of the labelers who may have it; None: any
  answered: Mapped[int] = mapped_column(default=0)  # answers there
  open: Mapped[bool] = mapped_column(default=True)  # may still be handed out
  gold: Mapped[dict[str, Any] | None]  # the payload of the right answer
  created: Mapped[float]


class Lease(Base):
  """A task in somebody's hands until `expires`, or what became of it."""

  __tablename__ = 'leases'
  __table_args__ = (
    sa.UniqueConstraint('task_id', 'labeler_id'),
    one_of('state', LEASE_STATES),
    sa.Index('ix_leases_labeler_state', 'labeler_id', 'state'),
    sa.Index('ix_leases_state_expires', 'state', 'expires'),
  )

  id: Mapped[int] = mapped_column(primary_key=True)
  task_id: Mapped[int] = mapped_column(sa.ForeignKey('tasks.id'))
  labeler_id: Mapped[int] = mapped_column(sa.ForeignKey('labelers.id'))
  state: Mapped[str] = mapped_column(default='held')
  order: Mapped[list[int]] = mapped_column(default=list)  # output ids as shown
  created: Mapped[float]
  expires: Mapped[float]


class Answer(Base):
  """What a labeler said. The same `client_key` sent twice is one answer."""

  __tablename__ = 'answers'
  __table_args__ = (
    sa.UniqueConstraint('task_id', 'labeler_id'),
    sa.UniqueConstraint('labeler_id', 'client_key'),
  )

  id: Mapped[int] = mapped_column(primary_key=True)
  task_id: Mapped[int] = mapped_column(sa.ForeignKey('tasks.id'))
  labeler_id: Mapped[int] = mapped_column(sa.ForeignKey('labelers.id'))
  lease_id: Mapped[int] = mapped_column(sa.ForeignKey('leases.id'), unique=True)
  client_key: Mapped[str]
  payload: Mapped[dict[str, Any]]
  seconds: Mapped[float]  # from the first sight to the answer
  score: Mapped[float | None]  # agreement with the gold answer, 0 to 1
  created: Mapped[float]


class Skip(Base):
  """A task that a labeler found unclear, and why."""

  __tablename__ = 'skips'
  __table_args__ = (sa.UniqueConstraint('task_id', 'labeler_id'),)

  id: Mapped[int] = mapped_column(primary_key=True)
  task_id: Mapped[int] = mapped_column(sa.ForeignKey('tasks.id'))
  labeler_id: Mapped[int] = mapped_column(sa.ForeignKey('labelers.id'))
  reason: Mapped[str]
  created: Mapped[float]


class Flag(Base):
  """Sensitive content that a labeler points out; an output's, or a prompt's."""

  __tablename__ = 'flags'

  id: Mapped[int] = mapped_column(primary_key=True)
  task_id: Mapped[int] = mapped_column(sa.ForeignKey('tasks.id'), index=True)
  labeler_id: Mapped[int] = mapped_column(sa.ForeignKey('labelers.id'))
  output_id: Mapped[int | None] = mapped_column(sa.ForeignKey('outputs.id'))
  kind: Mapped[str]
  note: Mapped[str] = mapped_column(default='')
  created: Mapped[float]


class Audit(Base):
  """Who did what: rows are only ever added."""

  __tablename__ = 'audit'

  id: Mapped[int] = mapped_column(primary_key=True)
  at: Mapped[float] = mapped_column(index=True)
  labeler_id: Mapped[int | None] = mapped_column(sa.ForeignKey('labelers.id'))
  action: Mapped[str]
  detail: Mapped[dict[str, Any]] = mapped_column(default=dict)
