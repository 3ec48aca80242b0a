"""A PostgreSQL server for the tests, on a unix socket, gone with them."""

import contextlib
import itertools
import os
import pathlib
import shutil
import subprocess
import tempfile

import psycopg

from tests.services import lacking

ACCOUNT = 'postgres'  # the server refuses to run as root
_numbers = itertools.count()


def programs() -> pathlib.Path:
  """Returns the folder of initdb and pg_ctl; skips where there is none."""
  found = sorted(pathlib.Path('/usr/lib/postgresql').glob('*/bin/initdb'))
  on_path = shutil.which('initdb')
  if on_path:
    found.append(pathlib.Path(on_path))
  if not found:
    lacking('PostgreSQL', 'postgresql')
  return found[-1].parent


@contextlib.contextmanager
def server():
  """Yields the folder of the socket of a server that runs meanwhile."""
  commands = programs()
  # Of a short name: the path of a socket has at most 107 bytes.
  folder = tempfile.mkdtemp(prefix='label_pg_')
  account = {}
  if os.getuid() == 0:
    shutil.chown(folder, ACCOUNT)
    account = {'user': ACCOUNT, 'extra_groups': ()}

  def run(name, *arguments):
    done = subprocess.run(
      [commands / name, '-D', f'{folder}/data', *arguments],
      cwd=folder,
      stdin=subprocess.DEVNULL,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
      check=False,
      **account,
    )
    assert done.returncode == 0, done.stdout

  try:
    run('initdb', '-A', 'trust', '-U', ACCOUNT, '-N', '-E', 'UTF8')
    # What the machine's failure would lose is of a test.
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    run('pg_ctl', '-w', '-o', options, '-l', f'{folder}/log', 'start')
    try:
      yield folder
    finally:
      run('pg_ctl', '-m', 'immediate', 'stop')
  finally:
    shutil.rmtree(folder)


def new_database(folder) -> str:
  """Returns the URL of an empty database on the server."""
  name = f'test_{next(_numbers)}'
  with psycopg.connect(
    host=folder, user=ACCOUNT, dbname='postgres', autocommit=True
  ) as connection:
    connection.execute(f'CREATE DATABASE {name}')
  return f'postgresql://{ACCOUNT}@/{name}?host={folder}'
