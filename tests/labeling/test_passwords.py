"""A new password, by the old one or by a link; what the audit log says."""

import re
import urllib.parse

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from instructgpt_jax.labeling import security
from instructgpt_jax.labeling.storage import models
from tests.labeling.conftest import PASSWORD

NEW = 'another long one'


def log_in(app, name, password):
  body = {'name': name, 'password': password}
  return TestClient(app).post('/api/login', json=body).status_code


def change(client, **fields):
  given = {'old': PASSWORD, 'password': NEW, 'again': NEW, **fields}
  return client.post('/password', data=given)


def link(page):
  """Returns the path of the link that a page shows."""
  return urllib.parse.urlsplit(
    re.search(r'value="(http\S+)"', page.text)[1]
  ).path


def follow(app, path, **fields):
  client = TestClient(app, follow_redirects=False)
  page = client.get(path)
  if page.status_code != 200:
    return page
  given = {'password': NEW, 'again': NEW, **fields}
  csrf = re.search(r'name="csrf" value="(\w+)"', page.text)[1]
  return client.post(path, data=given | {'csrf': csrf})


def actions(app):
  query = sa.select(models.Audit).order_by(models.Audit.id)
  with app.state.database.reading() as session:
    return [
      (row.action, row.labeler_id, row.detail)
      for row in session.scalars(query)
      if row.action not in ('invite', 'join')
    ]


def test_who_knows_the_old_password_chooses_another(app, enter):
  client = enter('ann')
  (old,) = client.cookies.values()
  assert change(client).status_code == 303
  assert client.get('/work').status_code == 200
  client.cookies.clear()
  client.cookies.set(security.COOKIE, old)
  assert client.get('/work').status_code == 401
  assert log_in(app, 'ann', PASSWORD) == 401
  assert log_in(app, 'ann', NEW) == 200


@pytest.mark.parametrize(
  'fields, status, said',
  [
    ({'old': 'wrong horse'}, 401, 'not your old password'),
    ({'again': 'else'}, 400, 'The two passwords differ'),
    ({'password': 'short', 'again': 'short'}, 400, '10 to 1000 characters'),
  ],
)
def test_a_bad_choice_changes_nothing(app, enter, fields, status, said):
  reply = change(enter('ann'), **fields)
  assert reply.status_code == status and said in reply.text
  assert log_in(app, 'ann', PASSWORD) == 200


def test_the_old_password_is_not_to_be_guessed(enter, monkeypatch):
  client = enter('ann')
  monkeypatch.setattr(security, 'verify_password', lambda *_: False)
  codes = [change(client, old='x').status_code for _ in range(11)]
  assert codes == [401] * 10 + [429]


def test_a_link_of_an_admin_sets_a_password_once(app, enter):
  root = enter('root', role='admin')
  session = enter('ann')
  path = link(root.post('/admin/labelers/2/reset'))
  other = link(root.post('/admin/labelers/2/reset'))
  assert follow(app, path, again='else').status_code == 400
  assert follow(app, path).status_code == 303
  assert session.get('/work').status_code == 401
  assert log_in(app, 'ann', PASSWORD) == 401
  assert log_in(app, 'ann', NEW) == 200
  assert [follow(app, used).status_code for used in (path, other)] == [404] * 2


@pytest.mark.parametrize('token', ['x', 'WzEsInh4Il0.aaaa.bbbb'])
def test_a_forged_link_is_none(app, enter, token):
  enter('ann')
  assert follow(app, f'/reset/{token}').status_code == 404
  # Nor does a session do as one.
  signed = app.state.signer.sign(1)
  assert follow(app, f'/reset/{signed}').status_code == 404


def test_a_link_ends(app, enter, monkeypatch):
  path = link(enter('root', role='admin').post('/admin/labelers/1/reset'))
  monkeypatch.setattr(security, 'RESET_SECONDS', -1)
  assert follow(app, path).status_code == 404
  assert log_in(app, 'root', PASSWORD) == 200


def test_an_invitation_is_revoked(app, enter):
  root = enter('root', role='admin')
  form = {'role': 'labeler', 'group': 'train', 'note': 'for dee'}
  path = link(root.post('/admin/invite', data=form))
  assert TestClient(app).get(path).status_code == 200
  number = re.search(
    r'invitations/(\d+)/revoke', root.get('/admin/labelers').text
  )
  place = f'/admin/invitations/{number[1]}/revoke'
  assert root.post(place).status_code == 303
  assert TestClient(app).get(path).status_code == 404
  assert 'for dee' not in root.get('/admin/labelers').text
  assert root.post(place).status_code == 400


def test_the_audit_log_says_who_came_went_and_took_what(app, enter):
  root = enter('root', role='admin')
  log_in(app, 'root', PASSWORD)
  log_in(app, 'root', 'wrong horse')
  log_in(app, 'my secret', 'typed into the wrong field')
  root.get('/api/export/comparisons')
  root.get('/api/figures')
  root.post('/admin/labelers/1/reset')
  where = {'address': 'testclient'}
  page = root.get('/admin/audit').text
  assert 'no account' in page and 'my secret' not in page
  root.post('/logout')
  assert actions(app) == [
    ('log in', 1, where),
    ('log in failed', 1, where),
    ('log in failed', None, where),
    ('export', 1, {'kind': 'comparisons'}),
    ('export', 1, {'kind': 'figures'}),
    ('reset link', 1, {'labeler': 1}),
    ('log out', 1, {}),
  ]
