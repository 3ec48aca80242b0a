"""What Alembic runs: the steps, within the transaction that calls it."""

from alembic import context

from instructgpt_jax.labeling.storage.models import Base

context.configure(
  connection=context.config.attributes['connection'],
  target_metadata=Base.metadata,
  render_as_batch=True,
  compare_type=True,
)
context.run_migrations()
