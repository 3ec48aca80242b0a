"""Transactions on SQLite or PostgreSQL, which behave alike.

One writer at a time: SQLite by BEGIN IMMEDIATE, PostgreSQL by a lock that ends
with the transaction. What a writer has read still holds when it writes, so no
task can be handed out once too often; a transaction takes milliseconds.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy import event, exc, orm

T = TypeVar('T')

ATTEMPTS = 8
BUSY_SECONDS = 30.0
# Any number will do, as long as every process takes the same.
POSTGRES_LOCK = 7_231_964_582


class Unreachable(ConnectionError):
  """The database cannot be had now; nothing was done."""


class Database:
  """Reads and writes; made once per process, shared by all threads."""

  def __init__(self, url: str):
    """Connects lazily. Raises ValueError for a URL of another database."""
    problem = url_problem(url)
    if problem:
      raise ValueError(f'config.label.{problem}')
    parsed = sa.make_url(url)
    self.sqlite = parsed.get_backend_name() == 'sqlite'
    if not self.sqlite:
      parsed = parsed.set(drivername='postgresql+psycopg')
    self.engine = sa.create_engine(
      parsed, pool_size=10, max_overflow=40, pool_pre_ping=not self.sqlite
    )
    if self.sqlite:
      event.listen(self.engine, 'connect', _prepare_sqlite)
    self._sessions = orm.sessionmaker(self.engine, expire_on_commit=False)
    # Threads that wait here go in turn; in SQLite they would sleep and race.
    self._turn = threading.Lock()

  @contextlib.contextmanager
  def reading(self) -> Iterator[orm.Session]:
    """Yields a session that sees one state of the data and changes nothing."""
    with self._connected() as session:
      session.execute(
        sa.text(
          'BEGIN'
          if self.sqlite
          else 'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY'
        )
      )
      yield session

  def write(self, work: Callable[[orm.Session], T]) -> T:
    """Returns work(session) once what it has written is on the disk.

    `work` is called again where the database was busy, so it must have no
    effect but on the session. What it raises undoes all of it.
    """
    for attempt in range(1, ATTEMPTS + 1):
      try:
        with self._turn, self._connected() as session:
          self._begin(session)
          result = work(session)
          session.commit()
          return result
      except exc.OperationalError as error:
        if attempt == ATTEMPTS or not _transient(error):
          raise
      # Not all at the same moment again.
      time.sleep(random.uniform(0.5, 1.5) * 0.01 * 2**attempt)
    raise AssertionError('unreachable')

  @contextlib.contextmanager
  def _connected(self) -> Iterator[orm.Session]:
    """Yields a session with a connection.

    Raises:
      Unreachable: where none is to be had.
    """
    with self._sessions() as session:
      try:
        session.connection()
      except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as e:
        if isinstance(e, exc.OperationalError) and _transient(e):
          raise
        reason = str(getattr(e, 'orig', e)).strip()
        raise Unreachable(
          f'config.label.url: no database answers ({reason}). Start it, or '
          'correct the URL.'
        ) from e
      yield session

  def _begin(self, session: orm.Session) -> None:
    if self.sqlite:
      session.execute(sa.text('BEGIN IMMEDIATE'))
    else:
      session.execute(
        sa.text('SELECT pg_advisory_xact_lock(:key)'), {'key': POSTGRES_LOCK}
      )

  def close(self) -> None:
    self.engine.dispose()


def url_problem(url: str) -> str:
  """Returns why no database can be had at a URL, '' where one may be."""
  try:
    parsed = sa.make_url(url)
  except exc.ArgumentError:
    return (
      'url cannot be read: give postgresql://USER@HOST/NAME of PostgreSQL, or '
      'nothing for a file in the run folder.'
    )
  if parsed.get_backend_name() not in ('sqlite', 'postgresql'):
    return (
      'url is of another database: give postgresql://USER@HOST/NAME of '
      'PostgreSQL, or nothing for a file in the run folder.'
    )
  asked = any('password' in name.lower() for name in parsed.query)
  if parsed.password is not None or asked:
    return 'url holds a password: give it in PGPASSWORD, or in ~/.pgpass.'
  return ''


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
  connection.isolation_level = None  # BEGIN is said where one begins
  for pragma in (
    f'busy_timeout={int(BUSY_SECONDS * 1000)}',
    'journal_mode=WAL',
    'synchronous=FULL',  # an answer that was acknowledged outlives the power
    'foreign_keys=ON',
  ):
    connection.execute(f'PRAGMA {pragma}')


def _transient(error: exc.OperationalError) -> bool:
  """Returns whether the same transaction may well succeed at the next try."""
  if error.connection_invalidated:
    return True
  state = getattr(error.orig, 'sqlstate', None)
  if state is not None:
    return state in ('40001', '40P01', '55P03', '57P01')
  said = str(error.orig)
  return 'locked' in said or 'busy' in said
