"""Whatever the description of the interface allows is answered, never a 500."""

import json

import hypothesis
import pytest
import schemathesis

from instructgpt_jax.labeling.web.app import create_app

ROLES = (None, 'labeler', 'admin')
RECORDS = '\n'.join(
  json.dumps({'prompt': f'Why {i}?', 'responses': [' x', ' y', ' z']})
  for i in range(50)
)


@schemathesis.serializer('application/x-ndjson')
def as_it_is(_, value):
  """The body of an import: any text, and now and then a record."""
  return str(value).encode(errors='surrogatepass')


@pytest.fixture
def app(make_settings, database):
  """An application that nobody guesses passwords of too often."""
  return create_app(make_settings(login_attempts=1_000_000))


def statuses(operation, headers):
  """Returns the statuses of answers to all kinds of requests."""
  found = set()

  @hypothesis.settings(
    max_examples=15,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
  )
  @hypothesis.given(case=operation.as_strategy())
  def ask(case):
    found.add(case.call(headers=headers).status_code)

  ask()
  return found


@pytest.mark.parametrize('role', ROLES)
def test_no_request_breaks_the_server(app, enter, role):
  admin = enter('root', role='admin')
  assert admin.post('/api/import', content=RECORDS).status_code == 200
  headers = {}
  if role is not None:
    (token,) = enter('ann', role=role).cookies.values()
    headers = {'authorization': f'Bearer {token}'}
  schema = schemathesis.openapi.from_asgi('/openapi.json', app)
  operations = [found.ok() for found in schema.get_all_operations()]
  seen = {one.label: statuses(one, headers) for one in operations}
  assert not {k: v for k, v in seen.items() if max(v) >= 500}
  assert {'GET /api/next', 'POST /api/answer', 'POST /api/import'} <= {*seen}
  if role is None:
    seen.pop('POST /api/login')
    assert all(v <= {401, 403, 405, 422} for v in seen.values()), seen
  else:
    assert seen['GET /api/next'] == ({200} if role == 'labeler' else {403})
