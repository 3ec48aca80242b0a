"""Brings a database to the tables of this version, and no further."""

from __future__ import annotations

import pathlib
import secrets

import alembic.command
import alembic.config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import orm

from instructgpt_jax.labeling.storage.database import Database
from instructgpt_jax.labeling.storage.models import Application

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
  database.write(prepare)


def prepare(session: orm.Session) -> None:
  """Makes the tables those of this version, and gives the application a name.

  Raises:
    ValueError: if they were made by a newer version.
  """
  upgrade(session)
  if session.get(Application, 1) is None:
    session.add(Application(id=1, code=secrets.token_hex(4)))


def revision(session: orm.Session) -> str:
  """Returns the version of the tables, '' where there are none."""
  context = MigrationContext.configure(session.connection())
  return context.get_current_revision() or ''


def upgrade(session: orm.Session, target: str = 'head') -> None:
  """Runs the missing migrations within a transaction of the caller's."""
  config = settings()
  scripts = ScriptDirectory.from_config(config).walk_revisions()
  known = {script.revision for script in scripts} | {'', 'head'}
  for name in (revision(session), target):
    if name not in known:
      raise ValueError(
        f'Tables of version {name} were made by a newer program: install that '
        'one, or restore a backup of this one.'
      )
  config.attributes['connection'] = session.connection()
  alembic.command.upgrade(config, target)


def drop(session: orm.Session) -> None:
  """Removes all tables that the migrations made."""
  if revision(session):
    config = settings()
    config.attributes['connection'] = session.connection()
    alembic.command.downgrade(config, 'base')
