"""An application on an empty database, and people who use it."""

import pytest
from fastapi.testclient import TestClient

from configs import common
from instructgpt_jax.labeling import accounts, security, settings
from instructgpt_jax.labeling.storage.database import Database
from instructgpt_jax.labeling.storage.migrate import migrate
from instructgpt_jax.labeling.web.app import create_app
from tests.labeling import postgres

NOW = 1_800_000_000.0
PASSWORD = 'correct horse'


@pytest.fixture(scope='session')
def hashed():
  """The hash of PASSWORD: argon2 is slow on purpose, so once."""
  return security.hash_password(PASSWORD)


@pytest.fixture(scope='session')
def postgres_server():
  """The folder of the socket of a PostgreSQL server."""
  with postgres.server() as folder:
    yield folder


@pytest.fixture(params=['sqlite', 'postgresql'])
def url(request, tmp_path):
  """The URL of an empty database, one of each kind."""
  if request.param == 'sqlite':
    return f'sqlite:///{tmp_path}/url.db'
  return postgres.new_database(request.getfixturevalue('postgres_server'))


def pytest_generate_tests(metafunc):
  """Runs a module that says BOTH_DATABASES over each of them."""
  both = getattr(metafunc.module, 'BOTH_DATABASES', False)
  if both and 'backend' in metafunc.fixturenames:
    metafunc.parametrize('backend', ['sqlite', 'postgresql'], indirect=True)


@pytest.fixture
def backend(request):
  """config.label.url of the application under test; '' is SQLite."""
  if getattr(request, 'param', 'sqlite') == 'sqlite':
    return ''
  return postgres.new_database(request.getfixturevalue('postgres_server'))


@pytest.fixture
def make_settings(tmp_path, backend):
  def make(**changes):
    block = common.label()
    block.update({'url': backend, **changes})
    return settings.make(block, tmp_path)

  return make


@pytest.fixture
def database(make_settings):
  """A migrated database, with a folder of its own."""
  made = make_settings()
  made.folder.mkdir(parents=True)
  database = Database(made.database_url)
  migrate(database)
  yield database
  database.close()


@pytest.fixture
def app(make_settings, database):
  return create_app(make_settings())


@pytest.fixture
def enter(app, hashed):
  """Returns a function that makes an account, and a client logged in to it.

  `enter('ann')` is a labeler, `enter('root', role='admin')` an admin.
  """

  def enter(name, role='labeler', group='train', status='active'):
    def work(session):
      token = accounts.invite(
        session, NOW, role=role, group=group, days=1, by=None
      )
      labeler = accounts.join(session, token, name, hashed, NOW)
      labeler.status = status
      return labeler

    labeler = app.state.database.write(work)
    client = TestClient(app, follow_redirects=False)
    client.cookies.set(
      security.COOKIE, app.state.signer.sign(labeler.id, labeler.generation)
    )
    ticket = app.state.signer.read(client.cookies[security.COOKIE])
    client.headers['x-csrf-token'] = app.state.signer.csrf(ticket)
    return client

  return enter


@pytest.fixture(scope='module')
def chromium():
  from tests.labeling import browser  # noqa: PLC0415 - needs playwright

  with browser.chromium() as program:
    yield program


@pytest.fixture
def site(app, chromium, enter):
  """The application on a port, and a browser before it."""
  from tests.labeling import browser  # noqa: PLC0415

  with browser.serving(app) as address:
    site = browser.Site(app, address, chromium, enter)
    yield site
    site.close()
  assert not site.complaints


@pytest.fixture(params=['desktop', 'phone'])
def size(request):
  return request.param
