"""Invitation, account, log-in: what works, and what is refused."""

import concurrent.futures
import json
import re
import threading
import time
import urllib.parse

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from sqlalchemy import exc

from instructgpt_jax.labeling import accounts, security
from instructgpt_jax.labeling.storage import models
from instructgpt_jax.labeling.storage.database import Database
from instructgpt_jax.labeling.web.app import create_app
from tests.labeling.conftest import NOW, PASSWORD

GONE = 'postgresql://nobody@127.0.0.1:1/none'


@pytest.fixture
def browser(app):
  """Somebody without an account."""
  app.state.clock = lambda: NOW
  return TestClient(app, follow_redirects=False)


@pytest.fixture
def invite(app):
  def invite(role='labeler', group='train', days=1.0):
    return app.state.database.write(
      lambda session: accounts.invite(
        session, NOW, role=role, group=group, days=days, by=None
      )
    )

  return invite


def csrf(page):
  return re.search(r'name="csrf" value="(\w+)"', page.text)[1]


def send(browser, path, **fields):
  return browser.post(path, data={'csrf': csrf(browser.get(path)), **fields})


def join(browser, token, name='ann', password=PASSWORD, again=PASSWORD):
  path = f'/join/{token}'
  return send(browser, path, name=name, password=password, again=again)


def labelers(app):
  with app.state.database.reading() as session:
    return list(session.scalars(sa.select(models.Labeler)))


@pytest.mark.parametrize(
  'kind, place',
  [
    (('admin', 'train', 'active'), '/admin'),
    (('labeler', 'train', 'screening'), '/work'),
    (('labeler', 'heldout', 'active'), '/work'),  # nobody is selected (3.4)
  ],
)
def test_an_invitation_makes_one_account(app, browser, invite, kind, place):
  role, group, _ = kind
  token = invite(role, group)
  assert join(browser, token).status_code == 303
  assert browser.get('/').headers['location'] == place
  (made,) = labelers(app)
  assert (made.role, made.group, made.status) == kind
  assert made.password.startswith('$argon2id$') and PASSWORD not in (
    made.password
  )
  other = TestClient(app)
  assert other.get(f'/join/{token}').status_code == 404


def test_the_token_of_an_invitation_is_kept_nowhere(app, invite):
  token = invite()
  with app.state.database.reading() as session:
    (kept,) = session.scalars(sa.select(models.Invitation.token_hash))
  assert token not in kept and len(token) >= 40


def test_an_invitation_ends(app, browser, invite):
  token = invite(days=0.5)
  page = browser.get(f'/join/{token}')
  app.state.clock = lambda: NOW + 86_400
  assert browser.get(f'/join/{token}').status_code == 404
  data = {'csrf': csrf(page), 'name': 'ann'}
  data |= {'password': PASSWORD, 'again': PASSWORD}
  assert browser.post(f'/join/{token}', data=data).status_code == 400
  assert labelers(app) == []


@pytest.mark.parametrize(
  'bad',
  [
    ({'name': 'a'}, 'A name has 2 to 64'),
    ({'name': '<b>x</b>'}, 'A name has 2 to 64'),
    ({'name': 'Root'}, 'taken'),
    ({'password': 'short', 'again': 'short'}, '10 to 1000 characters'),
    ({'again': PASSWORD + 'x'}, 'differ'),
  ],
)
def test_a_bad_choice_is_told_and_the_invitation_stays(
  app, browser, invite, enter, bad
):
  fields, said = bad
  enter('root', role='admin')
  token = invite()
  answer = join(browser, token, **fields)
  assert answer.status_code == 400 and said in answer.text
  assert '<b>' not in answer.text
  assert len(labelers(app)) == 1
  assert join(browser, token).status_code == 303


def test_logging_in_and_out(browser, enter, app):
  enter('ann')
  answer = send(browser, '/login', name='ANN', password=PASSWORD)
  cookie = answer.headers['set-cookie'].lower()
  assert answer.status_code == 303
  assert 'httponly' in cookie and 'samesite=lax' in cookie
  assert 'secure' not in cookie
  page = browser.get('/work')
  assert page.status_code == 200
  done = browser.post('/logout', data={'csrf': csrf(page)})
  assert done.headers['location'] == '/login'
  assert browser.get('/work').status_code == 401


def test_logging_out_ends_the_session_everywhere(enter, app):
  client = enter('ann')
  (cookie,) = client.cookies.values()
  elsewhere = TestClient(app, follow_redirects=False)
  elsewhere.headers['authorization'] = f'Bearer {cookie}'
  assert elsewhere.get('/work').status_code == 200
  assert client.post('/logout').status_code == 303
  client.cookies.set(security.COOKIE, cookie)
  assert client.get('/work').status_code == 401
  assert elsewhere.get('/work').status_code == 401


def test_a_session_is_of_nobody_who_gets_the_same_number_again(enter, app):
  (cookie,) = enter('ann').cookies.values()
  with app.state.database.engine.begin() as connection:
    # As a backup from before she joined would leave it.
    connection.execute(sa.update(models.Invitation).values(used_by=None))
    connection.execute(sa.delete(models.Audit))
    connection.execute(sa.delete(models.Labeler))
  enter('bob')
  (bob,) = labelers(app)
  client = TestClient(app, follow_redirects=False)
  client.cookies.set(security.COOKIE, cookie)
  assert bob.id == 1 and client.get('/work').status_code == 401


def test_a_session_is_another_after_the_log_in(browser, enter):
  enter('ann')
  browser.get('/login')
  before = browser.cookies[security.COOKIE]
  send(browser, '/login', name='ann', password=PASSWORD)
  assert browser.cookies[security.COOKIE] != before


def test_wrong_names_and_wrong_passwords_are_told_alike(browser, enter):
  enter('ann')
  enter('bob', status='blocked')
  pages = [
    send(browser, '/login', name=name, password=password)
    for name, password in [
      ('ann', 'wrong horse'),
      ('nobody', PASSWORD),
      ('bob', PASSWORD),
    ]
  ]
  assert [page.status_code for page in pages] == [401] * 3
  texts = {re.sub(r'value="\w*"', '', page.text) for page in pages}
  assert len(texts) == 1


def test_whoever_fails_too_often_waits(app, enter, monkeypatch):
  enter('ann')
  tried = []

  def verify(hashed, password):
    tried.append(password)
    return hashed is not None and password == PASSWORD

  monkeypatch.setattr(security, 'verify_password', verify)
  client, now = TestClient(app), [NOW]
  for limiter in (app.state.names, app.state.addresses):
    monkeypatch.setattr(limiter, '_clock', lambda: now[0])

  def attempt(password, name='ann'):
    body = {'name': name, 'password': password}
    return client.post('/api/login', json=body)

  assert [attempt('x').status_code for _ in range(10)] == [401] * 10
  late = attempt(PASSWORD)
  assert late.status_code == 429 and int(late.headers['retry-after']) <= 901
  assert len(tried) == 10  # not even looked at
  assert attempt(PASSWORD, 'bob').status_code == 401
  now[0] += 15 * 60 + 1
  assert attempt(PASSWORD).status_code == 200
  assert [attempt('x').status_code for _ in range(10)] == [401] * 10
  codes = [attempt('x', f'name{i}').status_code for i in range(200)]
  assert codes[0] == 401 and codes[-1] == 429


def test_who_was_locked_out_by_name_leaves_the_address_to_others(
  make_settings, enter, monkeypatch
):
  enter('bob')
  monkeypatch.setattr(
    security, 'verify_password', lambda hashed, word: word == PASSWORD
  )
  app = create_app(make_settings(login_attempts=2))  # 40 of an address
  client = TestClient(app)

  def attempt(name, password):
    body = {'name': name, 'password': password}
    return client.post('/api/login', json=body).status_code

  codes = [attempt('ann', 'x') for _ in range(50)]
  assert set(codes[:2]) == {401} and set(codes[2:]) == {429}
  # Nor do those who come in use it up.
  assert {attempt('bob', PASSWORD) for _ in range(50)} == {200}
  codes = [attempt(f'name{i}', 'x') for i in range(50)]
  assert codes.count(401) == 38
  # Of names that are refused with their address nothing is kept.
  assert len(app.state.names) == 39


def test_the_limiter_keeps_so_many_keys_and_no_more():
  now = [0.0]
  limiter = security.Limiter(2, 1.0, clock=lambda: now[0], most=3)
  assert [limiter.attempt(key) for key in 'aabbb'] == [0, 0, 0, 0, 60.0]
  for key in 'cde':
    limiter.attempt(key)
  assert len(limiter) == 3 and limiter.attempt('a') == 0  # the oldest went
  now[0] = 60.0
  assert limiter.attempt('e') == 0 and len(limiter) == 1


@pytest.mark.parametrize(
  'address, home',
  [
    ('192.0.2.7', '192.0.2.7'),
    ('2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'),
    ('::ffff:192.0.2.7', '192.0.2.7'),
    ('testclient', 'testclient'),
  ],
)
def test_an_address_of_ipv6_is_that_of_its_network(address, home):
  assert security.network(address) == home


def test_work_goes_on_while_many_log_in(app, enter, monkeypatch):
  (cookie,) = enter('ann').cookies.values()
  go, waiting = threading.Event(), threading.Semaphore(0)

  def verify(hashed, password):
    waiting.release()
    return go.wait(30) and False

  monkeypatch.setattr(security, 'verify_password', verify)
  with (
    TestClient(app) as server,  # one event loop for all
    concurrent.futures.ThreadPoolExecutor(61) as pool,
  ):
    asked = [
      pool.submit(
        server.post, '/api/login', json={'name': f'n{i}', 'password': 'x'}
      )
      for i in range(60)  # more than there are threads for requests
    ]
    assert waiting.acquire(timeout=30)
    time.sleep(0.5)  # all threads that may wait there do by now
    headers = {'cookie': f'{security.COOKIE}={cookie}'}
    work = pool.submit(server.get, '/work', headers=headers)
    try:
      assert work.result(timeout=15).status_code == 200
    finally:
      go.set()
    assert {one.result().status_code for one in asked} == {401}


def test_every_answer_forbids_scripts_of_others(browser):
  for path in ('/login', '/static/app.css', '/nowhere', '/openapi.json'):
    headers = browser.get(path).headers
    policy = headers['content-security-policy']
    assert "default-src 'none'" in policy and "script-src 'self'" in policy
    assert 'unsafe' not in policy and "frame-ancestors 'none'" in policy
    assert headers['x-content-type-options'] == 'nosniff'
    assert headers['referrer-policy'] == 'no-referrer'
  assert browser.get('/login').headers['cache-control'] == 'no-store'


def test_a_page_that_breaks_is_told_with_the_headers_of_safety(
  app, monkeypatch, caplog
):
  def fail(*_):
    raise ZeroDivisionError

  monkeypatch.setattr(accounts, 'has_admin', fail)
  client = TestClient(app, raise_server_exceptions=False)
  answer = client.get('/health')
  assert answer.status_code == 500 and 'nothing was saved' in answer.text
  assert "default-src 'none'" in answer.headers['content-security-policy']
  assert answer.headers['x-content-type-options'] == 'nosniff'


def test_behind_tls_cookies_are_for_tls_alone(make_settings, database):
  client = TestClient(create_app(make_settings(https=True)))
  answer = client.get('/login')
  assert 'secure' in answer.headers['set-cookie'].lower()
  assert 'max-age' in answer.headers['strict-transport-security']


@pytest.mark.parametrize('honest', [True, False])
def test_a_body_over_the_limit_is_not_read(browser, honest):
  def parts():
    for _ in range(300):
      yield b'x' * 1024

  content = b'x' * 300 * 1024 if honest else parts()
  answer = browser.post('/api/login', content=content)
  assert answer.status_code == 413
  small = browser.post('/api/login', content=b'x' * 1000)
  assert small.status_code == 422


def test_a_database_that_does_not_answer_is_told(app, browser, monkeypatch):
  def fail(*_):
    raise exc.OperationalError('SELECT', None, Exception('gone'))

  assert browser.get('/health').text == 'ok'
  monkeypatch.setattr(accounts, 'has_admin', fail)
  answer = browser.get('/health')
  assert answer.status_code == 503 and 'Nothing was saved' in answer.text


@pytest.mark.parametrize('url', ['sqlite:////no/where/a.db', GONE])
def test_a_database_that_is_not_there_is_no_fault_of_ours(app, url, browser):
  app.state.database = Database(url)
  answer = browser.get('/health')
  assert answer.status_code == 503 and answer.json()['detail']
  with pytest.raises(ConnectionError, match='Start it, or correct the URL'):
    app.state.database.write(lambda session: None)


@pytest.mark.parametrize(
  'text', ['\0', 'a\0b', '\ud800', '\U0001f40d' * 30, '']
)
def test_odd_names_and_passwords_are_wrong_ones(browser, text):
  body = json.dumps({'name': text, 'password': text})
  answer = browser.post('/api/login', content=body)
  assert answer.status_code in (401, 422)
  fields = {'name': text, 'password': text}
  data = urllib.parse.urlencode(
    {'csrf': csrf(browser.get('/login')), **fields}, errors='surrogatepass'
  )
  kind = {'content-type': 'application/x-www-form-urlencoded'}
  answer = browser.post('/login', content=data, headers=kind)
  assert answer.status_code in (401, 422)
