"""Everything in one file, and back; the same for SQLite and PostgreSQL.

JSON Lines, gzip'd: first the version of the tables, then every row, last the
number of rows of each table, so that a file that was cut off is known.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc, orm

from instructgpt_jax import files
from instructgpt_jax.labeling.storage import migrate
from instructgpt_jax.labeling.storage.database import Database
from instructgpt_jax.labeling.storage.models import Application, Base

FORMAT = 1
ROWS = 1000  # written at a time
Line = dict[str, Any]


def backup(database: Database, path: str | os.PathLike[str]) -> dict[str, int]:
  """Returns the rows per table; labelers may go on working meanwhile.

  Equal contents make equal bytes. The file holds hashes of passwords: keep it
  as you keep them. Raises OSError.
  """
  counts: dict[str, int] = {}
  with database.reading() as session, files.replacing(path) as raw:
    os.chmod(raw.fileno(), 0o600)
    with gzip.GzipFile('', 'wb', 6, raw, mtime=0) as file:
      _write(file, format=FORMAT, revision=migrate.revision(session))
      for table in Base.metadata.sorted_tables:
        counts[table.name] = 0
        rows = sa.select(table).order_by(table.c.id)
        for row in session.execute(rows, execution_options={'yield_per': ROWS}):
          _write(file, table=table.name, row=dict(row._mapping))
          counts[table.name] += 1
      _write(file, rows=counts)
  return counts


def restore(database: Database, path: str | os.PathLike[str]) -> dict[str, int]:
  """Returns the rows per table of a backup, which an empty database takes.

  All of it is taken or none, and brought to the tables of this version.

  Raises:
    ValueError: if the file is no whole backup, or the database not empty.
    OSError: if the file cannot be read.
  """
  path = pathlib.Path(path)

  def work(session: orm.Session) -> dict[str, int]:
    _require_empty(session, path)
    with gzip.GzipFile(path) as file:
      lines = _lines(file, path)
      head = next(lines, {})
      if head.get('format') != FORMAT:
        raise ValueError(f'{path}:1: no backup of this program. Give one.')
      migrate.upgrade(session, head.get('revision', ''))
      try:
        counts = _fill(session, lines, path)
      except (KeyError, TypeError, exc.IntegrityError) as error:
        reason, *_ = str(getattr(error, 'orig', error)).splitlines()
        raise ValueError(
          f'{path}: rows that no table takes ({reason}). Take another backup.'
        ) from error
    if not database.sqlite:
      _set_sequences(session, counts)
    migrate.prepare(session)
    return counts

  return database.write(work)


def _fill(
  session: orm.Session, lines: Iterator[Line], path: pathlib.Path
) -> dict[str, int]:
  """Returns the rows per table, written as of the revision that is there."""
  tables = sa.MetaData()
  tables.reflect(session.connection())
  counts: dict[str, int] = {}
  for name, group in itertools.groupby(lines, key=lambda x: x.get('table')):
    if name is None:
      promised = next(group).get('rows', {})
      if {table: rows for table, rows in promised.items() if rows} != counts:
        break
      return counts
    counts[name] = 0
    while rows := [line['row'] for line in itertools.islice(group, ROWS)]:
      session.execute(sa.insert(tables.tables[name]), rows)
      counts[name] += len(rows)
  raise ValueError(f'{path}: rows are missing. Take another backup.')


def _require_empty(session: orm.Session, path: pathlib.Path) -> None:
  present = set(sa.inspect(session.connection()).get_table_names())
  for table in Base.metadata.sorted_tables:
    if (
      table is not Application.__table__
      and table.name in present
      and session.execute(sa.select(table.c.id).limit(1)).first()
    ):
      raise ValueError(
        f'{path} is not restored: the database holds {table.name} already. '
        'Give another --workdir or --config.label.url, or move its file away.'
      )
  # Of tables without a row there is nothing to lose: the backup makes its own,
  # and brings the code of its application.
  migrate.drop(session)


def _lines(file: gzip.GzipFile, path: pathlib.Path) -> Iterator[Line]:
  try:
    for number, line in enumerate(file, 1):
      value = json.loads(line)
      if not isinstance(value, dict):
        raise ValueError(f'line {number} is no object')
      yield value
  except (EOFError, gzip.BadGzipFile, ValueError) as error:
    raise ValueError(
      f'{path}: no whole backup ({error}). Take another one.'
    ) from error


def _write(file: gzip.GzipFile, **line: Any) -> None:
  file.write(f'{json.dumps(line, ensure_ascii=False)}\n'.encode())


def _set_sequences(session: orm.Session, counts: dict[str, int]) -> None:
  """Lets new rows of PostgreSQL be numbered after those that came with ids."""
  for name in counts:
    session.execute(
      sa.text(
        f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), "
        f'(SELECT max(id) FROM {name}))'
      )
    )
