"""The command as people type it, in a process of its own."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys

import httpx
import pytest
import sqlalchemy as sa

from configs import common
from instructgpt_jax.labeling import client, command, settings
from instructgpt_jax.labeling.storage.models import Audit
from tests.config_files import ROOT, load
from tests.labeling import postgres

RECORD = {'id': 'a', 'prompt': 'Say hi', 'responses': ['hi', 'ho', 'hum']}
# main, and then whether jax was imported.
PROGRAM = (
  'import sys; from absl import app; from instructgpt_jax import main\n'
  'try: app.run(main.main, flags_parser=main.parse)\n'
  "finally: print('jax' in sys.modules)"
)


@pytest.fixture(autouse=True)
def _mask():
  """Restores the mask of new files, which the command narrows."""
  before = os.umask(0o022)
  yield
  os.umask(before)


def words(workdir, action='', *arguments):
  place = f'configs/label.py:{action}' if action else 'configs/label.py'
  given = [f'--config={place}', f'--workdir={workdir}', *arguments]
  return [sys.executable, '-c', PROGRAM, *given]


def run(workdir, action, *arguments):
  return subprocess.run(
    words(workdir, action, *arguments),
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )


class Served:
  """A server at a free port; `lines` is what it says at its start."""

  def __init__(self, workdir, *arguments):
    self.process = subprocess.Popen(
      words(workdir, '', '--config.label.port=0', *arguments),
      cwd=ROOT,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )

  def __enter__(self):
    self.lines = []
    while not self.lines or 'Serving' not in self.lines[-1]:
      self.lines.append(self.process.stdout.readline())
      assert self.lines[-1], self.process.stderr.read()
    self.url = re.search(r'http://[\d.:]+', self.lines[-1])[0]
    transport = httpx.HTTPTransport(retries=8)  # 0.5 s, 1 s, ... apart
    with httpx.Client(transport=transport, timeout=60) as client:
      assert client.get(f'{self.url}/health').text == 'ok'
    return self

  def __exit__(self, *_):
    self.process.kill()
    self.process.communicate()

  def stop(self, number):
    """Returns exit code and what was written since, stdout and stderr."""
    self.process.send_signal(number)
    said = self.process.communicate(timeout=60)
    return self.process.returncode, *said


def join(served):
  """Makes an admin by the link that the first start has printed."""
  link = re.search(r'http://\S+/join/\S+', ''.join(served.lines))[0]
  with httpx.Client(follow_redirects=True) as client:
    page = client.get(link)
    data = {'csrf': re.search(r'name="csrf" value="(\w+)"', page.text)[1]}
    data |= {'name': 'root', 'password': 'correct horse'}
    done = client.post(link, data=data | {'again': 'correct horse'})
  assert done.status_code == 200 and done.url.path == '/admin'


def test_the_first_start_invites_an_admin_and_the_next_does_not(tmp_path):
  with Served(tmp_path) as served:
    join(served)
    code, out, err = served.stop(signal.SIGTERM)
  assert (code, out, err) == (0, 'False\n', '')  # without jax
  secret = tmp_path / 'labeling' / 'secret'
  for path in (tmp_path / 'labeling').iterdir():
    assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
  kept = secret.read_text()
  with Served(tmp_path) as served:
    missing, address = served.lines
    assert missing.startswith('Of 10 screening tasks 10 are missing: ')
    assert address.startswith('Serving http://')
    code, _, err = served.stop(signal.SIGINT)
  assert (code, err) == (130, '')
  assert secret.read_text() == kept


def test_a_begun_request_is_answered_before_the_end(tmp_path):
  body = b'{"name": "ann", "password": "x"}'
  head = (
    'POST /api/login HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n'
    'content-type: application/json\r\nconnection: close\r\n'
    f'content-length: {len(body)}\r\n\r\n'
  )
  with Served(tmp_path) as served:
    port = int(served.url.rpartition(':')[2])
    with socket.create_connection(('127.0.0.1', port), timeout=60) as link:
      link.sendall(head.encode())
      assert b'100 Continue' in link.recv(1000)  # it is being read
      served.process.send_signal(signal.SIGTERM)
      with pytest.raises(subprocess.TimeoutExpired):
        served.process.wait(0.5)
      link.sendall(body)
      assert link.recv(1000).startswith(b'HTTP/1.1 401 ')
    assert served.process.wait(60) == 0


def test_a_port_that_is_taken_is_told(tmp_path):
  with Served(tmp_path) as served:
    port = served.url.rpartition(':')[2]
    done = run(tmp_path, '', f'--config.label.port={port}')
  assert done.returncode == 1
  assert 'give another --config.label.port' in done.stderr
  assert 'Traceback' not in done.stderr


def test_import_export_backup_and_restore(tmp_path, postgres_server, capsys):
  def told(action, *arguments):
    command.run(load('label', action, *arguments), str(tmp_path))
    return capsys.readouterr().out

  source, archive = tmp_path / 'in.jsonl', tmp_path / 'backup.gz'
  source.write_text(json.dumps(RECORD))
  files = f"--config.label.files=('{source}',)"
  assert 'prompts 1' in told('import', files)
  assert 'prompts 0' in told('import', files)
  to = f'--config.label.archive={archive}'
  assert 'backup.gz: ' in told('backup', to)
  with pytest.raises(ValueError, match='holds prompts already'):
    told('restore', to)
  # From SQLite to a server, and back out of it.
  url = f'--config.label.url={postgres.new_database(postgres_server)}'
  assert 'are back' in told('restore', to, url)
  other = tmp_path / 'other.gz'
  told('backup', f'--config.label.archive={other}', url)
  assert other.read_bytes() == archive.read_bytes()
  assert '0 comparisons' in told('export', url)
  assert '/join/' in told('invite', url)


def test_what_is_wrong_is_told_in_one_message(tmp_path):
  done = run(tmp_path, 'backup')
  assert done.returncode == 1 and 'Traceback' not in done.stderr
  assert done.stderr == 'error: name the file: --config.label.archive=FILE\n'


@pytest.mark.parametrize(
  'action, arguments, said',
  [
    ('import', [], 'name them: --config.label.files'),
    ('restore', [], 'name the file: --config.label.archive'),
    ('invite', ['--config.label.url=mysql://x/y'], 'postgresql://USER'),
  ],
)
def test_what_is_lacking_is_named(tmp_path, action, arguments, said):
  with pytest.raises(ValueError, match=said):
    command.run(load('label', action, *arguments), str(tmp_path))


def test_an_unknown_action_says_which_there_are():
  with pytest.raises(Exception, match='import, export, backup, restore, inv'):
    load('label', 'dance')


# --- settings


def make(tmp_path, **changes):
  block = common.label()
  block.update(changes)
  return settings.make(block, tmp_path)


def test_every_key_of_the_config_is_a_setting_that_is_read():
  names = set(load('label').label)
  fields = set(settings.Settings.__dataclass_fields__)
  assert names == fields - {'folder', 'seed'}
  room = ROOT / 'instructgpt_jax' / 'labeling'
  code = '\n'.join(
    path.read_text()
    for path in room.rglob('*.py')
    if path.name not in ('settings.py', 'models.py')
  )
  read = set(re.findall(r'settings\.(\w+)', code))
  # Read as a whole where it is checked: the URL of the database.
  assert fields - read - {'url'} == set()


@pytest.mark.parametrize(
  'changes, said',
  [
    ({'gold_share': 1.5}, 'gold_share is 1.5: give a share'),
    ({'lease_minutes': 0.0}, 'lease_minutes is 0.0: give a number above 0'),
    ({'total_budget': -1}, 'total_budget is -1: give 0 or more'),
    ({'kinds': ('dance',)}, r"kinds is \('dance',\): choose"),
    ({'completions': (1, 9)}, 'completions is'),
    ({'completions': (4, 3)}, 'completions is'),
    ({'completions': (4, 10)}, 'completions is'),
    ({'port': 70_000}, 'port is 70000'),
    ({'guidelines': 'nowhere.txt'}, 'no file nowhere.txt'),
    ({'use': 'fun'}, "use is 'fun'"),
    ({'url': 'postgresql://a:b@c/d'}, 'holds a password: give it in PGPASSW'),
    ({'url': 'postgresql://a@c/d?password=b'}, 'holds a password'),
    ({'url': 'postgresql://a@c/d?sslpassword=b'}, 'holds a password'),
    ({'url': 'what'}, 'url cannot be read'),
  ],
)
def test_wrong_settings_are_told_at_the_start(tmp_path, changes, said):
  with pytest.raises(ValueError, match=said):
    make(tmp_path, **changes)


def test_the_secret_is_that_of_the_environment(tmp_path, monkeypatch):
  folder = tmp_path / 'labeling'
  monkeypatch.setenv(settings.SECRET, 'x' * 32)
  assert settings.secret(folder) == 'x' * 32 and not folder.exists()
  monkeypatch.setenv(settings.SECRET, 'x' * 31)
  with pytest.raises(ValueError, match='31 characters'):
    settings.secret(folder)
  monkeypatch.delenv(settings.SECRET)
  made = settings.secret(folder)
  assert settings.secret(folder) == made and len(made) == 64
  assert stat.S_IMODE((folder / 'secret').stat().st_mode) == 0o600
  (folder / 'secret').write_text('')
  with pytest.raises(ValueError, match='Remove the file'):
    settings.secret(folder)


def test_two_first_starts_have_one_secret(tmp_path):
  folder = tmp_path / 'labeling'
  folder.mkdir()
  (folder / 'secret').write_text('x' * 64)
  settings._make_secret(folder / 'secret')  # the other was faster
  assert settings.secret(folder) == 'x' * 64
  assert [path.name for path in folder.iterdir()] == ['secret']


def test_a_folder_that_others_read_is_closed_to_them(tmp_path, capsys):
  folder = tmp_path / 'labeling'
  folder.mkdir(mode=0o755)
  command.run(load('label', 'invite', '--config.label.https=True'), tmp_path)
  assert stat.S_IMODE(folder.stat().st_mode) == 0o700
  # Nobody reaches the port itself: the link is that of the proxy.
  assert 'https://YOUR-SERVER/join/' in capsys.readouterr().out


def test_a_database_that_does_not_answer_is_told(tmp_path):
  url = '--config.label.url=postgresql://a@127.0.0.1:1/b'
  with pytest.raises(ConnectionError, match='no database answers'):
    command.run(load('label', 'invite', url), tmp_path)


def test_settings_that_have_changed_are_in_the_audit_log(tmp_path):
  made = make(tmp_path)

  def start(**changes):
    now = make(tmp_path, **changes)
    command._note_settings(database, now)
    settings.keep(now)

  with command.opened(made) as database:
    start()
    start()
    start(lease_minutes=5.0)
    with database.reading() as session:
      first, second = session.scalars(sa.select(Audit).order_by(Audit.id))
  assert first.detail['port'] == made.port
  assert (second.action, second.detail) == ('settings', {'lease_minutes': 5.0})


@pytest.mark.parametrize(
  'url, warned',
  [('http://label.example.org', True), ('http://127.0.0.1:1', False)],
)
def test_a_password_that_others_may_read_is_warned_of(
  url, warned, caplog, monkeypatch
):
  def answer(*_, **__):
    return httpx.Response(200, json={'token': 'x'})

  monkeypatch.setattr(httpx.Client, 'request', answer)
  found = client.Client(url)
  found.login('root', 'correct horse')
  found.close()
  assert ('the password is sent as it is' in caplog.text) == warned
