"""The tables of the first version."""

import sqlalchemy as sa
from alembic import op

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None

ROLES = ('admin', 'labeler')
GROUPS = ('train', 'heldout')
STATUSES = ('screening', 'active', 'failed', 'blocked')
KINDS = ('demonstration', 'rating', 'ranking', 'comparison', 'screening')
LEASE_STATES = ('held', 'answered', 'skipped', 'expired')


def upgrade() -> None:
  _people()
  _tasks()
  _remarks()
  _answers()


def downgrade() -> None:
  for table in (
    *('answers', 'skips', 'leases', 'flags', 'tasks', 'outputs'),
    *('invitations', 'audit', 'prompts', 'labelers'),
  ):
    op.drop_table(table)


def _people() -> None:
  _table(
    'labelers',
    *_texts('name', 'password', 'role', 'group', 'status'),
    _column('generation', sa.Integer),
    _column('created', sa.Double),
    _one_of('labelers', 'role', ROLES),
    _one_of('labelers', 'group', GROUPS),
    _one_of('labelers', 'status', STATUSES),
    _unique('labelers', 'name'),
  )
  _table(
    'audit',
    _column('at', sa.Double),
    *_link('audit', 'labeler_id', 'labelers', optional=True),
    *_texts('action'),
    _column('detail', sa.JSON),
  )
  op.create_index('ix_audit_at', 'audit', ['at'])
  _table(
    'invitations',
    *_texts('token_hash', 'role', 'group', 'note'),
    _column('created', sa.Double),
    _column('expires', sa.Double),
    *_link('invitations', 'created_by', 'labelers', optional=True),
    _column('used', sa.Double, optional=True),
    *_link('invitations', 'used_by', 'labelers', optional=True),
    _one_of('invitations', 'role', ROLES),
    _one_of('invitations', 'group', GROUPS),
    _unique('invitations', 'token_hash'),
  )


def _tasks() -> None:
  _table(
    'prompts',
    *_texts('key', 'text'),
    _column('user', sa.Text, optional=True),
    _column('extra', sa.JSON),
    _column('created', sa.Double),
    _unique('prompts', 'key'),
  )
  _table(
    'outputs',
    *_link('outputs', 'prompt_id', 'prompts'),
    *_texts('text', 'model'),
    _column('extra', sa.JSON),
  )
  op.create_index('ix_outputs_prompt_id', 'outputs', ['prompt_id'])
  _table(
    'tasks',
    *_texts('key', 'kind', 'batch'),
    *_link('tasks', 'prompt_id', 'prompts'),
    _column('outputs', sa.JSON),
    *(_column(name, sa.Integer) for name in ('priority', 'copies', 'answered')),
    _column('open', sa.Boolean),
    _column('gold', sa.JSON, optional=True),
    _column('created', sa.Double),
    _one_of('tasks', 'kind', KINDS),
    _unique('tasks', 'key'),
  )
  op.create_index('ix_tasks_batch', 'tasks', ['batch'])
  op.create_index(
    'ix_tasks_next', 'tasks', ['open', sa.text('priority DESC'), 'id']
  )
  op.create_index('ix_tasks_prompt_id', 'tasks', ['prompt_id'])


def _remarks() -> None:
  _table(
    'flags',
    *_pair('flags'),
    *_link('flags', 'output_id', 'outputs', optional=True),
    *_texts('kind', 'note'),
    _column('created', sa.Double),
  )
  op.create_index('ix_flags_task_id', 'flags', ['task_id'])
  _table(
    'skips',
    *_pair('skips'),
    *_texts('reason'),
    _column('created', sa.Double),
    _unique('skips', 'task_id', 'labeler_id'),
  )


def _answers() -> None:
  _table(
    'leases',
    *_pair('leases'),
    *_texts('state'),
    _column('order', sa.JSON),
    _column('created', sa.Double),
    _column('expires', sa.Double),
    _one_of('leases', 'state', LEASE_STATES),
    _unique('leases', 'task_id', 'labeler_id'),
  )
  op.create_index('ix_leases_labeler_state', 'leases', ['labeler_id', 'state'])
  op.create_index('ix_leases_state_expires', 'leases', ['state', 'expires'])
  _table(
    'answers',
    *_pair('answers'),
    *_link('answers', 'lease_id', 'leases'),
    *_texts('client_key'),
    _column('payload', sa.JSON),
    _column('seconds', sa.Double),
    _column('score', sa.Double, optional=True),
    _column('created', sa.Double),
    _unique('answers', 'labeler_id', 'client_key'),
    _unique('answers', 'lease_id'),
    _unique('answers', 'task_id', 'labeler_id'),
  )


def _table(name: str, *parts: sa.schema.SchemaItem) -> None:
  key = sa.PrimaryKeyConstraint('id', name=op.f(f'pk_{name}'))
  op.create_table(name, _column('id', sa.Integer), *parts, key)


def _column(
  name: str, kind: type[sa.types.TypeEngine], *, optional: bool = False
) -> sa.Column:
  return sa.Column(name, kind(), nullable=optional)


def _texts(*names: str) -> list[sa.Column]:
  return [_column(name, sa.Text) for name in names]


def _link(
  table: str, column: str, to: str, *, optional: bool = False
) -> tuple[sa.Column, sa.ForeignKeyConstraint]:
  name = op.f(f'fk_{table}_{column}')
  key = sa.ForeignKeyConstraint([column], [f'{to}.id'], name=name)
  return _column(column, sa.Integer, optional=optional), key


def _pair(table: str) -> list[sa.schema.SchemaItem]:
  """Returns whose it is, and of which task."""
  return [
    *_link(table, 'task_id', 'tasks'),
    *_link(table, 'labeler_id', 'labelers'),
  ]


def _one_of(
  table: str, column: str, values: tuple[str, ...]
) -> sa.CheckConstraint:
  listed = ', '.join(f"'{value}'" for value in values)
  name = op.f(f'ck_{table}_{column}')
  return sa.CheckConstraint(f'"{column}" IN ({listed})', name=name)


def _unique(table: str, *columns: str) -> sa.UniqueConstraint:
  name = op.f(f'uq_{table}_{"_".join(columns)}')
  return sa.UniqueConstraint(*columns, name=name)
