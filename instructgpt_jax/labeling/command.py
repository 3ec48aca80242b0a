"""What `--config=configs/label.py` does."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import Any

import uvicorn

from instructgpt_jax.labeling import accounts
from instructgpt_jax.labeling.settings import Settings, keep, make
from instructgpt_jax.labeling.storage.database import Database
from instructgpt_jax.labeling.storage.migrate import migrate
from instructgpt_jax.labeling.web.app import create_app


def run(config: Any, workdir: str) -> None:
  """Serves until it is stopped, or does what stands behind the colon.

  Raises:
    ValueError, OSError: what a user can put right.
  """
  settings = make(config.label, workdir, config.seed)
  settings.folder.mkdir(parents=True, exist_ok=True)
  {'': serve, 'invite': invite}[config.preset](settings)


def serve(settings: Settings) -> None:
  """Serves until SIGTERM or Ctrl-C, which let begun requests end."""
  with opened(settings) as database, database.reading() as session:
    first = not accounts.has_admin(session)
  keep(settings)
  listener = _listen(settings)
  address = _address(settings, listener)
  if first:
    invite(settings, address)
  print(f'Serving {address}, until Ctrl-C.', flush=True)
  uvicorn.Server(
    uvicorn.Config(
      create_app(settings),
      log_level='warning',
      server_header=False,
      # Of a proxy on this machine alone: uvicorn's default.
      proxy_headers=True,
    )
  ).run(sockets=[listener])


def invite(settings: Settings, address: str = '') -> None:
  """Prints a link that makes an admin."""
  with opened(settings) as database:
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
  address = address or f'http://{settings.host}:{settings.port}'
  print(
    'Whoever opens this link first becomes an admin:\n'
    f'  {address}/join/{token}',
    flush=True,
  )


@contextlib.contextmanager
def opened(settings: Settings):
  """Yields the database, with the tables of this version."""
  # Nobody else on this machine reads what people wrote.
  os.chmod(settings.folder, 0o700)
  database = Database(settings.database_url)
  try:
    migrate(database)
    yield database
  finally:
    database.close()


def _listen(settings: Settings) -> socket.socket:
  """Returns a socket; raises OSError with what to do where it is taken."""
  listener = socket.socket()
  listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  try:
    listener.bind((settings.host, settings.port))
  except OSError as error:
    listener.close()
    raise OSError(
      f'{settings.host}:{settings.port} cannot be had ({error.strerror}): give '
      'another --config.label.port.'
    ) from error
  return listener


def _address(settings: Settings, listener: socket.socket) -> str:
  return f'http://{settings.host}:{listener.getsockname()[1]}'
