"""The labelling application to be measured: accounts, tasks, a process."""

from __future__ import annotations

import contextlib
import functools
import json
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

import httpx

from configs import common
from instructgpt_jax.labeling import accounts, imports, incoming, security
from instructgpt_jax.labeling.settings import Settings, make
from instructgpt_jax.labeling.storage.database import Database
from instructgpt_jax.labeling.storage.migrate import migrate

PASSWORD = 'correct horse battery staple'
PATIENCE = 300.0  # seconds for the server to be back


class Server:
  """The application in a process of its own, on a port of its own."""

  def __init__(self, folder: pathlib.Path, *overrides: str):
    with socket.socket() as listener:
      listener.bind(('127.0.0.1', 0))
      self.port = listener.getsockname()[1]
    self.url = f'http://127.0.0.1:{self.port}'
    self._command = [
      *(sys.executable, '-m', 'instructgpt_jax.main'),
      *('--config=configs/label.py', f'--workdir={folder}'),
      f'--config.label.port={self.port}',
      *(f'--config.label.{override}' for override in overrides),
    ]
    self._log = folder / 'server.log'
    self._process: subprocess.Popen[bytes] | None = None

  def start(self) -> None:
    """Returns when it answers; raises RuntimeError if it does not."""
    with self._log.open('ab') as log:
      self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and self._process.poll() is None:
      with contextlib.suppress(httpx.HTTPError):
        httpx.get(f'{self.url}/health').raise_for_status()
        return
      time.sleep(0.05)
    self.stop()
    raise RuntimeError(f'no server: {self._log.read_text()[-2000:]}')

  def stop(self, number: int = signal.SIGTERM) -> None:
    if self._process is not None:
      self._process.send_signal(number)
      self._process.wait()


def settle(
  folder: pathlib.Path,
  names: Sequence[str],
  tasks: int,
  heldout: Sequence[str] = (),
) -> Settings:
  """Returns the settings of a new application with accounts and rankings."""
  config = common.label().to_dict() | {
    **{'screening_tasks': 0, 'gold_share': 0.0, 'kinds': ('ranking',)},
    'overlap_share': 0.5,
  }
  settings = make(config, folder)
  settings.folder.mkdir(parents=True)
  database, now = Database(settings.database_url), time.time()
  migrate(database)
  hashed = security.hash_password(PASSWORD)
  roles = dict.fromkeys(names, 'labeler') | {'admin': 'admin'}
  for name, role in roles.items():
    group = 'heldout' if name in heldout else 'train'
    invite = functools.partial(
      accounts.invite, now=now, role=role, group=group, days=1.0, by=None
    )
    join = functools.partial(
      accounts.join,
      token=database.write(invite),
      name=name,
      hashed=hashed,
      now=now,
    )
    database.write(join)
  records = (
    {
      'id': f'prompt-{i}',
      'prompt': f'Question {i}?',
      'responses': [f'Answer {k} to {i}.' for k in range(4)],
    }
    for i in range(tasks)
  )
  body = '\n'.join(map(json.dumps, records)).encode()
  if body:
    imports.store(database, incoming.of_bytes(body), settings, now)
  database.close()
  return settings
