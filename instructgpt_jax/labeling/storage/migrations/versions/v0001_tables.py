"""The tables of the first version."""

import sqlalchemy as sa
from alembic import op

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None


TABLES = (
  'labelers',
  'prompts',
  'audit',
  'invitations',
  'outputs',
  'tasks',
  'flags',
  'leases',
  'skips',
  'answers',
)


def upgrade() -> None:
  _labelers()
  _prompts()
  _audit()
  _invitations()
  _outputs()
  _tasks()
  _flags()
  _leases()
  _skips()
  _answers()


def downgrade() -> None:
  for table in reversed(TABLES):
    op.drop_table(table)


def _labelers() -> None:
  op.create_table(
    'labelers',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('password', sa.Text(), nullable=False),
    sa.Column('role', sa.Text(), nullable=False),
    sa.Column('group', sa.Text(), nullable=False),
    sa.Column('status', sa.Text(), nullable=False),
    sa.Column('generation', sa.Integer(), nullable=False),
    sa.Column('created', sa.Double(), nullable=False),
    sa.CheckConstraint(
      "\"group\" IN ('train', 'heldout')", name=op.f('ck_labelers_group')
    ),
    sa.CheckConstraint(
      "\"role\" IN ('admin', 'labeler')", name=op.f('ck_labelers_role')
    ),
    sa.CheckConstraint(
      "\"status\" IN ('screening', 'active', 'failed', 'blocked')",
      name=op.f('ck_labelers_status'),
    ),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_labelers')),
    sa.UniqueConstraint('name', name=op.f('uq_labelers_name')),
  )


def _prompts() -> None:
  op.create_table(
    'prompts',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('key', sa.Text(), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('user', sa.Text(), nullable=True),
    sa.Column('extra', sa.JSON(), nullable=False),
    sa.Column('created', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_prompts')),
    sa.UniqueConstraint('key', name=op.f('uq_prompts_key')),
  )


def _audit() -> None:
  op.create_table(
    'audit',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('at', sa.Double(), nullable=False),
    sa.Column('labeler_id', sa.Integer(), nullable=True),
    sa.Column('action', sa.Text(), nullable=False),
    sa.Column('detail', sa.JSON(), nullable=False),
    sa.ForeignKeyConstraint(
      ['labeler_id'], ['labelers.id'], name=op.f('fk_audit_labeler_id')
    ),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_audit')),
  )
  op.create_index('ix_audit_at', 'audit', ['at'])


def _invitations() -> None:
  op.create_table(
    'invitations',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('token_hash', sa.Text(), nullable=False),
    sa.Column('role', sa.Text(), nullable=False),
    sa.Column('group', sa.Text(), nullable=False),
    sa.Column('note', sa.Text(), nullable=False),
    sa.Column('created', sa.Double(), nullable=False),
    sa.Column('expires', sa.Double(), nullable=False),
    sa.Column('created_by', sa.Integer(), nullable=True),
    sa.Column('used', sa.Double(), nullable=True),
    sa.Column('used_by', sa.Integer(), nullable=True),
    sa.CheckConstraint(
      "\"group\" IN ('train', 'heldout')", name=op.f('ck_invitations_group')
    ),
    sa.CheckConstraint(
      "\"role\" IN ('admin', 'labeler')", name=op.f('ck_invitations_role')
    ),
    sa.ForeignKeyConstraint(
      ['created_by'], ['labelers.id'], name=op.f('fk_invitations_created_by')
    ),
    sa.ForeignKeyConstraint(
      ['used_by'], ['labelers.id'], name=op.f('fk_invitations_used_by')
    ),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_invitations')),
    sa.UniqueConstraint('token_hash', name=op.f('uq_invitations_token_hash')),
  )


def _outputs() -> None:
  op.create_table(
    'outputs',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('prompt_id', sa.Integer(), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('model', sa.Text(), nullable=False),
    sa.Column('extra', sa.JSON(), nullable=False),
    sa.ForeignKeyConstraint(
      ['prompt_id'], ['prompts.id'], name=op.f('fk_outputs_prompt_id')
    ),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_outputs')),
  )
  op.create_index('ix_outputs_prompt_id', 'outputs', ['prompt_id'])


def _tasks() -> None:
  op.create_table(
    'tasks',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('key', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('batch', sa.Text(), nullable=False),
    sa.Column('prompt_id', sa.Integer(), nullable=False),
    sa.Column('outputs', sa.JSON(), nullable=False),
    sa.Column('priority', sa.Integer(), nullable=False),
    sa.Column('copies', sa.Integer(), nullable=False),
    sa.Column('answered', sa.Integer(), nullable=False),
    sa.Column('open', sa.Boolean(), nullable=False),
    sa.Column('gold', sa.JSON(), nullable=True),
    sa.Column('created', sa.Double(), nullable=False),
    sa.CheckConstraint(
      "\"kind\" IN ('demonstration', 'rating', 'ranking', 'comparison', "
      "'screening')",
      name=op.f('ck_tasks_kind'),
    ),
    sa.ForeignKeyConstraint(
      ['prompt_id'], ['prompts.id'], name=op.f('fk_tasks_prompt_id')
    ),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_tasks')),
    sa.UniqueConstraint('key', name=op.f('uq_tasks_key')),
  )
  op.create_index('ix_tasks_batch', 'tasks', ['batch'])
  op.create_index(
    'ix_tasks_next', 'tasks', ['open', sa.text('priority DESC'), 'id']
  )
  op.create_index('ix_tasks_prompt_id', 'tasks', ['prompt_id'])


def _flags() -> None:
  op.create_table(
    'flags',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('task_id', sa.Integer(), nullable=False),
    sa.Column('labeler_id', sa.Integer(), nullable=False),
    sa.Column('output_id', sa.Integer(), nullable=True),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('note', sa.Text(), nullable=False),
    sa.Column('created', sa.Double(), nullable=False),
    sa.ForeignKeyConstraint(
      ['labeler_id'], ['labelers.id'], name=op.f('fk_flags_labeler_id')
    ),
    sa.ForeignKeyConstraint(
      ['output_id'], ['outputs.id'], name=op.f('fk_flags_output_id')
    ),
    sa.ForeignKeyConstraint(
      ['task_id'], ['tasks.id'], name=op.f('fk_flags_task_id')
    ),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_flags')),
  )
  op.create_index('ix_flags_task_id', 'flags', ['task_id'])


def _leases() -> None:
  op.create_table(
    'leases',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('task_id', sa.Integer(), nullable=False),
    sa.Column('labeler_id', sa.Integer(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('order', sa.JSON(), nullable=False),
    sa.Column('created', sa.Double(), nullable=False),
    sa.Column('expires', sa.Double(), nullable=False),
    sa.CheckConstraint(
      "\"state\" IN ('held', 'answered', 'skipped', 'expired')",
      name=op.f('ck_leases_state'),
    ),
    sa.ForeignKeyConstraint(
      ['labeler_id'], ['labelers.id'], name=op.f('fk_leases_labeler_id')
    ),
    sa.ForeignKeyConstraint(
      ['task_id'], ['tasks.id'], name=op.f('fk_leases_task_id')
    ),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_leases')),
    sa.UniqueConstraint(
      'task_id', 'labeler_id', name=op.f('uq_leases_task_id_labeler_id')
    ),
  )
  op.create_index('ix_leases_labeler_state', 'leases', ['labeler_id', 'state'])
  op.create_index('ix_leases_state_expires', 'leases', ['state', 'expires'])


def _skips() -> None:
  op.create_table(
    'skips',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('task_id', sa.Integer(), nullable=False),
    sa.Column('labeler_id', sa.Integer(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('created', sa.Double(), nullable=False),
    sa.ForeignKeyConstraint(
      ['labeler_id'], ['labelers.id'], name=op.f('fk_skips_labeler_id')
    ),
    sa.ForeignKeyConstraint(
      ['task_id'], ['tasks.id'], name=op.f('fk_skips_task_id')
    ),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_skips')),
    sa.UniqueConstraint(
      'task_id', 'labeler_id', name=op.f('uq_skips_task_id_labeler_id')
    ),
  )


def _answers() -> None:
  op.create_table(
    'answers',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('task_id', sa.Integer(), nullable=False),
    sa.Column('labeler_id', sa.Integer(), nullable=False),
    sa.Column('lease_id', sa.Integer(), nullable=False),
    sa.Column('client_key', sa.Text(), nullable=False),
    sa.Column('payload', sa.JSON(), nullable=False),
    sa.Column('seconds', sa.Double(), nullable=False),
    sa.Column('score', sa.Double(), nullable=True),
    sa.Column('created', sa.Double(), nullable=False),
    sa.ForeignKeyConstraint(
      ['labeler_id'], ['labelers.id'], name=op.f('fk_answers_labeler_id')
    ),
    sa.ForeignKeyConstraint(
      ['lease_id'], ['leases.id'], name=op.f('fk_answers_lease_id')
    ),
    sa.ForeignKeyConstraint(
      ['task_id'], ['tasks.id'], name=op.f('fk_answers_task_id')
    ),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_answers')),
    sa.UniqueConstraint(
      'labeler_id', 'client_key', name=op.f('uq_answers_labeler_id_client_key')
    ),
    sa.UniqueConstraint('lease_id', name=op.f('uq_answers_lease_id')),
    sa.UniqueConstraint(
      'task_id', 'labeler_id', name=op.f('uq_answers_task_id_labeler_id')
    ),
  )
