"""What `--config=configs/label.py` does."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from instructgpt_jax.labeling import (
  accounts,
  exports,
  imports,
  incoming,
  screening,
)
from instructgpt_jax.labeling.settings import Settings, keep, kept, make, shown
from instructgpt_jax.labeling.storage import backup
from instructgpt_jax.labeling.storage.database import Database
from instructgpt_jax.labeling.storage.migrate import migrate
from instructgpt_jax.labeling.web.app import create_app


def run(config: Any, workdir: str) -> None:
  """Serves until it is stopped, or does what stands behind the colon.

  Raises:
    ValueError, OSError: what a user can put right.
  """
  os.umask(0o077)  # nobody else on this machine reads what people wrote
  settings = make(config.label, workdir, config.seed)
  actions: dict[str, Callable[[Settings], None]] = {
    '': serve,
    'backup': save,
    'export': export,
    'import': take_in,
    'invite': invite,
    'restore': restore,
  }
  actions[config.preset](settings)


def serve(settings: Settings) -> None:
  """Serves until SIGTERM or Ctrl-C, which let begun requests end."""
  with _listening(settings) as listener:
    address = f'http://{settings.host}:{listener.getsockname()[1]}'
    with opened(settings) as database:
      if settings.files:
        _store(database, settings)
      with database.reading() as session:
        first = not accounts.has_admin(session)
        lacks = screening.missing(session, settings)
      if first:
        _invite(database, settings, _public(settings, address))
      _note_settings(database, settings)
    if lacks:
      print(
        f'Of {settings.screening_tasks} screening tasks {lacks} are missing: '
        'nobody is admitted before they are imported (use=screening).',
        flush=True,
      )
    keep(settings)
    # What an admin looks at may take seconds: threads of labelers come sooner.
    sys.setswitchinterval(0.001)
    # To which uvicorn hands the signal on, when it has ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f'Serving {address}, until Ctrl-C.', flush=True)
    uvicorn.Server(
      uvicorn.Config(
        create_app(settings),
        log_level='warning',
        server_header=False,
        # What a proxy says of addresses counts on this machine alone.
        forwarded_allow_ips='127.0.0.1,::1',
      )
    ).run(sockets=[listener])


def invite(settings: Settings) -> None:
  """Prints a link that makes an admin."""
  with opened(settings) as database:
    address = f'http://{settings.host}:{settings.port}'
    _invite(database, settings, _public(settings, address))


def take_in(settings: Settings) -> None:
  """Imports config.label.files; of what is there already, nothing."""
  if not settings.files:
    raise ValueError('name them: --config.label.files="(\'FILE.jsonl\',)"')
  with opened(settings) as database:
    _store(database, settings)


def export(settings: Settings) -> None:
  """Writes all that people said into a folder, with the figures of it."""
  folder = pathlib.Path(settings.archive or settings.folder / 'export')
  with opened(settings) as database:
    _note(database, 'export', kind='all')
    with database.reading() as session:
      counts = exports.write(
        session, folder, blocked=not settings.without_blocked
      )
  told = ', '.join(f'{number} {name}' for name, number in counts.items())
  print(f'{folder}: {told}')


def save(settings: Settings) -> None:
  """Writes a backup; the server may run meanwhile."""
  with opened(settings) as database:
    counts = backup.backup(database, _archive(settings))
    _note(database, 'backup')
  print(f'{settings.archive}: {sum(counts.values())} rows')


def restore(settings: Settings) -> None:
  """Reads a backup into an empty database."""
  path = _archive(settings)
  with _connected(settings) as database:
    counts = backup.restore(database, path)
  print(f'{sum(counts.values())} rows of {path} are back')


@contextlib.contextmanager
def opened(settings: Settings) -> Iterator[Database]:
  """Yields the database, with the tables of this version."""
  with _connected(settings) as database:
    migrate(database)
    yield database


@contextlib.contextmanager
def _connected(settings: Settings) -> Iterator[Database]:
  settings.folder.mkdir(parents=True, exist_ok=True)
  settings.folder.chmod(0o700)  # one that was there may let others in
  database = Database(settings.database_url)
  try:
    yield database
  finally:
    database.close()


def _invite(database: Database, settings: Settings, address: str) -> None:
  token = database.write(
    lambda session: accounts.invite(
      session,
      time.time(),
      role='admin',
      group='train',
      days=settings.invitation_days,
      by=None,
    )
  )
  print(
    'Whoever opens this link first becomes an admin:\n'
    f'  {address}/join/{token}',
    flush=True,
  )


def _public(settings: Settings, address: str) -> str:
  """Returns where people reach the application, as far as it knows."""
  return 'https://YOUR-SERVER' if settings.https else address


def _note(database: Database, action: str, **detail: Any) -> None:
  """Keeps in the audit log what the command line did."""
  database.write(
    lambda session: accounts.record(
      session, time.time(), None, action, **detail
    )
  )


def _note_settings(database: Database, settings: Settings) -> None:
  """Keeps in the audit log which settings are others than at the last start."""
  now, before = shown(settings), None
  with contextlib.suppress(ValueError):  # of another version
    before = kept(settings.folder.parent)
  old = {} if before is None else shown(before)
  changed = {
    name: value for name, value in now.items() if old.get(name) != value
  }
  if changed:
    _note(database, 'settings', **changed)


def _store(database: Database, settings: Settings) -> None:
  items = incoming.of_files(settings.files, settings.use)
  counts = imports.store(database, items, settings, time.time())
  told = ', '.join(f'{name} {number}' for name, number in counts.items())
  print(f'Imported: {told}.', flush=True)


def _archive(settings: Settings) -> str:
  if not settings.archive:
    raise ValueError('name the file: --config.label.archive=FILE')
  return settings.archive


@contextlib.contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
  """Yields a socket; raises OSError with what to do where none is had."""
  where = (settings.host, settings.port)
  family = socket.AF_INET6 if ':' in settings.host else socket.AF_INET
  with socket.socket(family) as listener:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
      listener.bind(where)
    except OSError as error:
      raise OSError(
        f'{settings.host}:{settings.port} cannot be had ({error.strerror}): '
        'give another --config.label.port or --config.label.host.'
      ) from error
    yield listener
