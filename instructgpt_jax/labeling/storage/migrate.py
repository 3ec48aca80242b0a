"""Brings a database to the tables of this version, and no further."""

from __future__ import annotations

import pathlib

import alembic.command
import alembic.config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from instructgpt_jax.labeling.storage.database import Database

FOLDER = pathlib.Path(__file__).parent / 'migrations'


def settings() -> alembic.config.Config:
  """Returns what Alembic needs to find the migrations."""
  config = alembic.config.Config()
  config.set_main_option('script_location', str(FOLDER).replace('%', '%%'))
  return config


def migrate(database: Database) -> None:
  """Runs the migrations that are missing, all or none; none twice at once.

  Raises:
    ValueError: if the database was made by a newer version.
  """
  config = settings()
  known = {
    s.revision for s in ScriptDirectory.from_config(config).walk_revisions()
  }

  def work(session) -> None:
    connection = session.connection()
    heads = MigrationContext.configure(connection).get_current_heads()
    if set(heads) - known:
      raise ValueError(
        f'The database is of a newer version ({", ".join(heads)}): install '
        'the version that made it, or restore a backup of this one.'
      )
    config.attributes['connection'] = connection
    alembic.command.upgrade(config, 'head')

  database.write(work)
