"""Transactions do the same on SQLite and on a real PostgreSQL server."""

import multiprocessing
import pathlib
import sqlite3
import threading
import time

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import exc

from instructgpt_jax.labeling import accounts
from instructgpt_jax.labeling.storage import database as storage
from instructgpt_jax.labeling.storage import migrate, models
from instructgpt_jax.labeling.storage.database import Database


@pytest.fixture
def opened(url):
  database = Database(url)
  migrate.migrate(database)
  yield database
  database.close()


def prompt(key, text='x'):
  return models.Prompt(key=key, text=text, created=1.0)


def count(session):
  return session.scalar(sa.select(sa.func.count(models.Prompt.id)))


def add_next(session):
  """Adds a prompt whose key is the number of those there are."""
  number = count(session)
  time.sleep(0.001)  # time for another to read the same number
  session.add(prompt(str(number)))


def test_migrations_make_the_tables_of_the_models_and_can_be_repeated(opened):
  migrate.migrate(opened)
  with opened.engine.connect() as connection:
    context = MigrationContext.configure(
      connection, opts={'compare_type': True}
    )
    changes = compare_metadata(context, models.Base.metadata)
  # SQLite does not tell that an index descends.
  descends = 'ix_tasks_next' if opened.sqlite else ''
  assert [c for c in changes if c[1].name != descends] == []


def test_tables_of_the_first_version_keep_their_rows(url):
  database = Database(url)

  def first(session):
    migrate.upgrade(session, '0001')
    for text in (
      'INSERT INTO labelers (id, name, password, role, "group", status, '
      "generation, created) VALUES (4, 'ann', 'x', 'labeler', 'train', "
      "'blocked', 0, 1.0)",
      "INSERT INTO prompts VALUES (2, 'p', 'Ask', NULL, '{}', 1.0)",
      'INSERT INTO tasks (id, key, kind, batch, prompt_id, outputs, priority, '
      "copies, answered, open, created) VALUES (3, 't', 'ranking', '', 2, "
      "'[]', 0, 1, 0, true, 1.0)",
    ):
      session.execute(sa.text(text))

  database.write(first)
  migrate.migrate(database)
  with database.reading() as session:
    person = session.get_one(models.Labeler, 4)
    task = session.get_one(models.Task, 3)
    code = session.get_one(models.Application, 1).code
  assert (person.name, person.before, task.key, task.group) == (
    *('ann', None),
    *('t', None),
  )
  assert len(code) == 8
  database.write(migrate.drop)
  assert sa.inspect(database.engine).get_table_names() == ['alembic_version']
  database.close()


def test_tables_of_a_newer_program_are_left_alone(opened):
  def newer(session):
    session.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))

  opened.write(newer)
  with pytest.raises(ValueError, match=r'9999 were made by a newer program'):
    migrate.migrate(opened)


def test_a_migration_that_fails_leaves_nothing(url, monkeypatch):
  database = Database(url)

  def fail(session, target='head'):
    migrate_before(session, target)
    raise ValueError('power')

  migrate_before = migrate.upgrade
  monkeypatch.setattr(migrate, 'upgrade', fail)
  with pytest.raises(ValueError, match='power'):
    migrate.migrate(database)
  assert sa.inspect(database.engine).get_table_names() == []
  database.close()


def test_texts_come_back_as_they_were(opened):
  text = 'naïve 🐍\n\t<b>"\'%s:x{{ 7 }}\\' + '字' * 70_000
  opened.write(lambda session: session.add(prompt('a', text)))
  with opened.reading() as session:
    found = session.scalars(sa.select(models.Prompt)).one()
  assert (found.text, found.extra) == (text, {})


def test_what_raises_is_undone(opened):
  def work(session):
    session.add(prompt('a'))
    session.flush()
    raise KeyError('no')

  with pytest.raises(KeyError):
    opened.write(work)
  with opened.reading() as session:
    assert count(session) == 0


def test_a_value_that_no_column_may_hold_is_refused(opened):
  def work(session):
    token = accounts.invite(
      session, 1.0, role='admin', group='train', days=1, by=None
    )
    labeler = accounts.join(session, token, 'ann', 'x', 2.0)
    labeler.status = 'king'

  with pytest.raises(exc.IntegrityError):
    opened.write(work)


def test_a_reader_sees_one_state_and_waits_for_nobody(opened):
  opened.write(lambda session: session.add(prompt('a')))
  with opened.reading() as session:
    assert count(session) == 1
    opened.write(lambda session: session.add(prompt('b')))
    assert count(session) == 1
  with opened.reading() as session:
    assert count(session) == 2


def test_threads_that_read_and_then_write_take_turns(opened):
  threads = [
    threading.Thread(target=lambda: [opened.write(add_next) for _ in range(10)])
    for _ in range(8)
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  with opened.reading() as session:
    assert count(session) == 80


def write_some(url):
  database = Database(url)
  for _ in range(20):
    database.write(add_next)
  database.close()


def test_processes_take_turns_too(opened, url):
  spawn = multiprocessing.get_context('spawn')
  others = [spawn.Process(target=write_some, args=(url,)) for _ in range(2)]
  for process in others:
    process.start()
  for _ in range(20):
    opened.write(add_next)
  for process in others:
    process.join()
    assert process.exitcode == 0
  with opened.reading() as session:
    assert count(session) == 60


def test_a_busy_database_is_tried_again(opened):
  tries = []

  def work(session):
    tries.append(session)
    add_next(session)
    if len(tries) < 3:
      busy = sqlite3.OperationalError('database is locked')
      raise exc.OperationalError('INSERT', None, busy)

  opened.write(work)
  with opened.reading() as session:
    assert (len(tries), count(session)) == (3, 1)


def test_an_error_that_stays_is_raised_at_once(opened):
  tries = []

  def work(session):
    tries.append(1)
    session.execute(sa.text('SELECT * FROM nowhere'))

  with pytest.raises(exc.DBAPIError, match='nowhere'):
    opened.write(work)
  assert len(tries) == 1


def test_postgres_begins_again_when_the_connection_was_cut(postgres_server):
  from tests.labeling import postgres  # noqa: PLC0415

  database = Database(postgres.new_database(postgres_server))
  migrate.migrate(database)
  cut = []

  def work(session):
    add_next(session)
    session.flush()
    if not cut:
      cut.append(1)
      pid = session.scalar(sa.text('SELECT pg_backend_pid()'))
      with database.engine.connect() as other:
        other.execute(sa.text(f'SELECT pg_terminate_backend({pid})'))

  database.write(work)
  with database.reading() as session:
    assert count(session) == 1
  database.close()


@pytest.mark.parametrize('url', ['mysql://x/y', 'nonsense', ''])
def test_another_database_is_refused(url):
  with pytest.raises(ValueError, match='PostgreSQL'):
    Database(url)


def test_sqlite_writes_ahead_and_waits_for_the_disk(tmp_path):
  database = Database(f'sqlite:///{tmp_path}/a.db')
  with database.engine.connect() as connection:
    found = [
      connection.execute(sa.text(f'PRAGMA {name}')).scalar()
      for name in ('journal_mode', 'synchronous', 'foreign_keys')
    ]
  assert found == ['wal', 2, 1]
  database.close()
  assert storage.BUSY_SECONDS >= 10
  assert pathlib.Path(tmp_path / 'a.db').exists()


def test_a_name_that_no_account_can_have_is_not_looked_for(opened):
  with opened.reading() as session:
    assert accounts.find(session, 'a\0b') is None
