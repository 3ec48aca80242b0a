"""Whatever is sent to a page is answered, never a 500, on both databases."""

import re
import urllib.parse

import argon2
import hypothesis
import pytest
from fastapi.testclient import TestClient
from hypothesis import strategies as st

from instructgpt_jax.labeling import security
from instructgpt_jax.labeling.web import access
from instructgpt_jax.labeling.web.app import create_app
from tests.labeling.test_access import CHANGING, ROUTES
from tests.labeling.work import jsonl, ranked

BOTH_DATABASES = True
EXAMPLES = 15  # requests to a route
# Logging out would end the walk.
CHANGED = [
  key for key, _ in CHANGING if '/api/' not in key and 'logout' not in key
]
READ = [key for key, _ in ROUTES if key.startswith('GET')]
NAMES = (
  *('lease', 'client_key', 'seconds', 'response', 'quality', 'better', 'flag'),
  *('satisfies_constraint', 'rank-0', 'rank-1', 'rank-2', 'sensitive', 'use'),
  *('reason', 'note', 'kind', 'output', 'name', 'password', 'again', 'old'),
  *('role', 'group', 'status', 'batch', 'kinds', 'file', 'page', 'words'),
  *('before', 'did'),
)
ODD = (
  *(b'', b'0', b'1', b'2', b'-1', b'2147483647', b'2147483648', b'9' * 15),
  *(b'9' * 5000, b'1e999', b'nan', b'\0', b'a\0b', b'\xff', b'\xed\xa0\x80'),
  *(b'x' * 3000, '🐍\u202e'.encode(), b'%', b"' OR 1=1 --", b'true', b'none'),
  *(b'ranking', b'work', b'gold', b'admin', b'train', b'blocked', b'auto'),
  *(b'a good password', b'{"prompt": "x", "responses": ["a", "b"]}'),
)
# By the title of a task: what a right answer has in its form.
RIGHT = {
  'Write a reply': {'response': 'Rhine'},
  'Rate this output': {'quality': '3', 'satisfies_constraint': 'none'},
  'Compare two outputs': {'better': 'tie'},
  'Rank the outputs': {f'rank-{n}': '1' for n in range(3)},
}
VALUES = st.sampled_from(ODD) | st.binary(max_size=12)
FIELDS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6)
PLACES = st.sampled_from([*ODD[:9], b'x', b'%00', b'%ff', b'..%2f'])


def encoded(fields):
  return urllib.parse.urlencode(fields, quote_via=urllib.parse.quote)


def path_of(key, place):
  return re.sub(r'\{\w+\}', urllib.parse.quote(place or b'x'), key.split()[1])


@pytest.fixture
def app(make_settings, database, monkeypatch):
  """An application with tasks of each kind, and nothing that is slow."""
  quick = argon2.PasswordHasher(1, 8, 1)
  monkeypatch.setattr(security, '_HASHER', quick)
  return create_app(
    make_settings(
      screening_tasks=0, gold_share=0.0, login_attempts=1_000_000_000
    )
  )


@pytest.fixture
def fill(enter):
  """Returns a function that imports so many records of each kind."""

  def fill(count):
    records = [
      ranked(f'{kind}-{i}', k, kind=kind)
      for i in range(count)
      for kind, k in (
        ('rating', 1),
        ('comparison', 2),
        ('ranking', 3),
        ('demonstration', 0),
      )
    ]
    admin = enter('filler', role='admin')
    done = admin.post('/api/import', content=jsonl(*records))
    assert done.status_code == 200, done.text

  return fill


def client_of(app, enter, role):
  if role is not None:
    return enter('ann', role=role)
  client = TestClient(app, follow_redirects=False)
  client.get('/login')
  ticket = app.state.signer.read(client.cookies[security.COOKIE])
  client.headers['x-csrf-token'] = app.state.signer.csrf(ticket)
  return client


def statuses(ask, *strategies):
  """Returns the statuses of answers to all kinds of requests."""
  found = set()
  for value in (b'\0', b'2147483648', b'9' * 15):  # in every field at once
    fields = dict.fromkeys(NAMES, value)
    assert ask(fields, value, *[True] * (len(strategies) - 2)).status_code < 500

  @hypothesis.settings(
    max_examples=EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
  )
  @hypothesis.given(st.tuples(*strategies))
  def run(drawn):
    answer = ask(*drawn)
    assert answer.status_code < 500, (drawn, answer.text)
    found.add(answer.status_code)

  run()
  return found


def held(client):
  """Returns the fields of a right answer to the task in hand, {} for none."""
  page = client.get('/work').text
  title = re.search('<h1>(.*)</h1>', page)
  if title is None or title[1] not in RIGHT:
    return {}
  names = ('lease', 'client_key')
  known = {n: re.search(f'name="{n}" value="([^"]+)"', page)[1] for n in names}
  return RIGHT[title[1]] | known


def post(client, key):
  """Returns a function that posts a form, with what its page would hold."""

  def ask(fields, place, whole):
    path = path_of(key, place)
    known = held(client) if whole and '/work/' in key else {}
    if 'import' in key:
      name = fields.pop('file', b'').decode('latin-1')
      file = (name, fields.pop('response', b'{"prompt": "x"}'))
      data = {k: v.decode('latin-1') for k, v in fields.items()}
      return client.post(path, data=data, files={'file': file})
    return client.post(
      path,
      content=encoded(known | fields),
      headers={'content-type': 'application/x-www-form-urlencoded'},
    )

  return ask


@pytest.mark.parametrize('role', [None, 'labeler', 'admin'])
def test_no_form_breaks_the_server(app, enter, fill, role):
  fill(10)
  client = client_of(app, enter, role)
  seen = {
    key: statuses(post(client, key), FIELDS, PLACES, st.booleans())
    for key in CHANGED
  }
  # What is refused by role is refused, all else was looked at.
  wanted = 'anyone' if role is None else role
  for key, found in seen.items():
    theirs = access.ROUTES[key] in (wanted, 'anyone', 'member')
    if key != 'POST /password' and role is not None:
      assert found - {401, 403, 404} or not theirs, (key, found)
    if role is None and access.ROUTES[key] != 'anyone':
      assert found == {401}, key
  if role == 'labeler':
    assert {303, 400, 409} <= seen['POST /work/answer']


@pytest.mark.parametrize('role', [None, 'labeler', 'admin'])
def test_no_address_breaks_the_server(app, enter, fill, role):
  fill(1)
  client = client_of(app, enter, role)

  def get(key):
    return lambda fields, place: client.get(
      f'{path_of(key, place)}?{encoded(fields)}'
    )

  for key in READ:
    statuses(get(key), FIELDS, PLACES)
