"""Every route is open to the roles of the table, and to nobody else."""

import asyncio
import re

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import Mount

from instructgpt_jax.labeling import accounts, security
from instructgpt_jax.labeling.web import access
from instructgpt_jax.labeling.web.app import IMPORTS, ROUTERS, create_app
from tests.labeling.conftest import PASSWORD

ROUTES = sorted(access.ROUTES.items())
CHANGING = [(key, role) for key, role in ROUTES if not key.startswith('GET')]
FORGED = ('', 'x', '0' * 64)


def ask(client, key, **options):
  method, path = key.split()
  return client.request(method, re.sub(r'\{[^}]*\}', '1', path), **options)


@pytest.fixture
def clients(app, enter):
  return {
    'anyone': TestClient(app, follow_redirects=False),
    'labeler': enter('ann'),
    'admin': enter('root', role='admin'),
  }


def allowed(role, wanted):
  return wanted in ('anyone', role) or (wanted == 'member' and role != 'anyone')


def test_the_table_has_every_route_that_is_served(app):
  served = {
    f'{method} {route.path}'
    for router in ROUTERS
    for route in router.routes
    for method in route.methods
  }
  assert served == set(access.ROUTES)
  assert len(served) > 15
  # Beside them there are but our own files.
  others = [route for route in app.routes if getattr(route, 'path', None)]
  found = [r for r in others if not isinstance(r, APIRoute)]
  assert [(type(r), r.path) for r in found] == [(Mount, '/static')]


def test_a_route_without_a_role_keeps_the_server_from_starting(
  make_settings, database, monkeypatch
):
  router = APIRouter()
  router.get('/admin/secret')(lambda: 1)
  monkeypatch.setattr(
    'instructgpt_jax.labeling.web.app.ROUTERS', (*ROUTERS, router)
  )
  with pytest.raises(ValueError, match=r'GET /admin/secret is served but not'):
    create_app(make_settings())


def is_open(client, key):
  """Returns whether a route is not refused, whatever else it says."""
  answer = ask(client, key, headers={'accept': 'application/json'})
  assert answer.status_code < 500, key
  return answer.status_code not in (401, 403)


def walk(client, role):
  """Asks for every route; logging out, which ends the session, comes last."""
  for key, wanted in sorted(ROUTES, key=lambda route: 'logout' in route[0]):
    if wanted.startswith('anyone') and not key.startswith('GET'):
      continue  # logging in: a wrong password, refused below
    assert is_open(client, key) == allowed(role, wanted), key


@pytest.mark.parametrize('role', ['anyone', 'labeler', 'admin'])
def test_every_route_is_open_to_its_roles_alone(clients, role):
  walk(clients[role], role)


@pytest.mark.parametrize('status', ['screening', 'failed', 'active'])
def test_a_labeler_of_any_status_has_the_routes_of_labelers(enter, status):
  walk(enter('ann', status=status), 'labeler')


@pytest.mark.parametrize('role', ['labeler', 'admin'])
def test_a_token_in_a_header_opens_what_a_session_does(app, enter, role):
  (token,) = enter('ann', role=role).cookies.values()
  client = TestClient(app, follow_redirects=False)
  client.headers['authorization'] = f'Bearer {token}'
  walk(client, role)


def test_a_form_of_the_log_in_opens_nothing_else(app, clients):
  client = clients['anyone']
  client.get('/login')
  ticket = app.state.signer.read(client.cookies[security.COOKIE])
  client.headers['x-csrf-token'] = app.state.signer.csrf(ticket)
  walk(client, 'anyone')
  for key, wanted in CHANGING:
    if wanted in ('member', 'labeler', 'admin'):
      assert ask(client, key).status_code == 401, key


def unread(app, path, **headers):
  """Returns the answer to an upload, of which nothing may be read."""
  said = []

  async def receive():
    raise AssertionError('it was read')

  async def send(message):
    said.append(message)

  size = app.state.settings.import_mb * 2**20 - 1
  sent = {
    'content-type': 'multipart/form-data; boundary=x',
    'content-length': str(size),
    **headers,
  }
  scope = {
    **{'type': 'http', 'method': 'POST', 'path': path, 'query_string': b''},
    **{'http_version': '1.1', 'scheme': 'http', 'server': ('testserver', 80)},
    **{'root_path': '', 'raw_path': path.encode(), 'client': ('host', 1)},
    'headers': [(k.encode(), v.encode()) for k, v in sent.items()],
  }
  asyncio.run(app(scope, receive, send))
  return said[0]['status'], dict(said[0]['headers']).get(b'connection')


@pytest.mark.parametrize('path', IMPORTS)
def test_an_upload_of_who_may_not_is_not_read(app, enter, path):
  (token,) = enter('ann').cookies.values()
  cookie = {'cookie': f'{security.COOKIE}={token}'}
  bearer = {'authorization': f'Bearer {token}'}
  assert unread(app, path) == (401, b'close')
  assert unread(app, path, **cookie) == (403, b'close')
  assert unread(app, path, **bearer) == (403, b'close')
  (token,) = enter('root', role='admin').cookies.values()
  with pytest.raises(AssertionError, match='it was read'):
    unread(app, path, authorization=f'Bearer {token}')


@pytest.mark.parametrize('status', ['blocked', 'generation', 'gone'])
def test_who_was_shut_out_is_nobody_from_that_moment_on(app, enter, status):
  client = enter('root', role='admin')
  assert client.get('/admin').status_code == 200

  def shut_out(session):
    labeler = accounts.find(session, 'root')
    if status == 'blocked':
      labeler.status = 'blocked'
    elif status == 'generation':
      labeler.generation += 1
    else:
      labeler.id = 77

  if status == 'gone':
    client.cookies.set(security.COOKIE, app.state.signer.sign(77))
  else:
    app.state.database.write(shut_out)
  for key, wanted in ROUTES:
    if not wanted.startswith('anyone'):
      assert ask(client, key).status_code in (401, 403), key


@pytest.mark.parametrize('token', FORGED)
def test_nothing_is_changed_without_the_token_of_the_session(clients, token):
  for key, wanted in CHANGING:
    if wanted.endswith('!'):
      continue
    role = 'labeler' if wanted in ('member', 'anyone') else wanted
    headers = {'x-csrf-token': token}
    assert ask(clients[role], key, headers=headers).status_code == 403, key
    form = {'data': {'csrf': token}, 'headers': {'x-csrf-token': ''}}
    assert ask(clients[role], key, **form).status_code == 403, key


def test_the_token_of_somebody_else_is_none(clients):
  headers = {'x-csrf-token': clients['admin'].headers['x-csrf-token']}
  answer = ask(clients['labeler'], 'POST /logout', headers=headers)
  assert answer.status_code == 403
  assert ask(clients['labeler'], 'POST /logout').status_code == 303


def test_a_forged_or_old_session_is_nobody(app, clients):
  client, signer = clients['admin'], app.state.signer
  good = client.cookies[security.COOKIE]
  other = security.Signer('another secret' * 4, 12.0).sign(1)
  for cookie in ('', 'x', good[:-2], 'A' + good, other):
    client.cookies.clear()
    client.cookies.set(security.COOKIE, cookie)
    assert client.get('/admin').status_code == 401
  client.cookies.clear()
  client.cookies.set(security.COOKIE, good)
  assert client.get('/admin').status_code == 200
  signer.seconds = -1
  assert client.get('/admin').status_code == 401


def test_a_program_shows_its_token_in_a_header_and_needs_no_other(app, enter):
  enter('ann')
  client = TestClient(app)
  body = {'name': 'Ann', 'password': PASSWORD}
  token = client.post('/api/login', json=body).json()['token']
  assert not client.cookies
  headers = {'authorization': f'Bearer {token}'}
  assert client.get('/work', headers=headers).status_code == 200
  assert client.get('/admin', headers=headers).status_code == 403
  assert client.get('/work').status_code == 401
  assert client.post('/logout', headers=headers).status_code == 200


def test_a_browser_without_a_session_is_sent_to_log_in(app):
  client = TestClient(app, follow_redirects=False)
  answer = client.get('/work', headers={'accept': 'text/html'})
  assert (answer.status_code, answer.headers['location']) == (303, '/login')
