"""Which application this is; whose a task is; what a blocked labeler was."""

import sqlalchemy as sa
from alembic import op

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
  op.create_table(
    'application',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('code', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_application')),
  )
  op.add_column('labelers', sa.Column('before', sa.Text(), nullable=True))
  op.add_column('tasks', sa.Column('group', sa.Text(), nullable=True))


def downgrade() -> None:
  op.drop_column('tasks', 'group')
  op.drop_column('labelers', 'before')
  op.drop_table('application')
