"""What the forms of a task send, and what is said of what is wrong."""

import re

import pytest

from instructgpt_jax.labeling import imports, incoming, payloads
from instructgpt_jax.labeling.storage.models import Answer, Lease

BOTH_DATABASES = True
RECORD = {'prompt': 'Name a river.', 'responses': ['Rhine.', 'Po.', 'Ebro.']}


def held(client):
  """Returns the fields that the server has put into the form of a task."""
  page = client.get('/work').text
  names = ('lease', 'client_key')
  return {n: re.search(f'name="{n}" value="([^"]+)"', page)[1] for n in names}


@pytest.fixture
def add(app):
  def add(kind, **changes):
    record = RECORD | {'kind': kind, **changes}
    imports.store(
      app.state.database,
      [incoming.item(record, 'test:1')],
      app.state.settings,
      app.state.clock(),
    )

  return add


def rows(app, table):
  with app.state.database.reading() as session:
    return session.query(table).order_by(table.id).all()


def test_gaps_between_ranks_are_closed():
  assert payloads.dense([4, 1, 4, 9]) == [2, 1, 2, 3]


@pytest.mark.parametrize(
  'task, fields, message',
  [
    (('ranking', {}), {'rank-0': '1'}, 'Give each output a rank'),
    (('ranking', {}), {f'rank-{n}': 'x' for n in range(3)}, 'a rank'),
    (('comparison', {'responses': ['a', 'b']}), {'better': '7'}, 'better'),
    (('rating', {'responses': ['a']}), {'flag': 'opinion'}, 'overall quality'),
    (('rating', {'responses': ['a']}), {'quality': '3'}, 'constraint'),
    (
      ('rating', {'responses': ['a']}),
      {'quality': '8', 'satisfies_constraint': 'none'},
      'less than or equal to 7',
    ),
    (('demonstration', {}), {'response': ' \r\n'}, 'is empty'),
  ],
)
def test_what_is_wrong_is_said_and_nothing_kept(
  enter, add, task, fields, message
):
  kind, change = task
  add(kind, **change)
  client = enter('ann')
  reply = client.post('/work/answer', data=held(client) | fields)
  assert reply.status_code == 400 and message in reply.text
  assert rows(client.app, Answer) == []


def test_a_demonstration_that_is_too_long_stands_in_the_form_again(
  app, enter, add
):
  add('demonstration')
  client = enter('ann')
  text = 'Rhine <b> ' * (1 + app.state.settings.text_limit // 10)
  reply = client.post('/work/answer', data=held(client) | {'response': text})
  assert reply.status_code == 400
  assert text.replace('<', '&lt;').replace('>', '&gt;') in reply.text


def test_nobody_answers_skips_flags_or_renews_for_another(app, enter, add):
  add('ranking')
  fields = held(enter('ann')) | {'rank-0': '1', 'rank-1': '1', 'rank-2': '1'}
  fields |= {'reason': 'unclear', 'kind': 'other'}
  other = enter('bob')
  for what in ('answer', 'skip', 'flag', 'renew'):
    assert other.post(f'/work/{what}', data=fields).status_code == 409
  assert [lease.state for lease in rows(app, Lease)] == ['held']
  assert rows(app, Answer) == []


def test_a_task_is_renewed_for_all_its_time(app, enter, add):
  add('ranking')
  client, clock = enter('ann'), app.state.clock
  fields = held(client)
  app.state.clock = lambda: clock() + 600
  before = rows(app, Lease)[0].expires
  reply = client.post('/work/renew', data=fields)
  minutes = app.state.settings.lease_minutes
  assert reply.json()['seconds_left'] == pytest.approx(60 * minutes)
  assert rows(app, Lease)[0].expires == pytest.approx(before + 600, abs=30)


def test_guidelines_of_a_file_are_shown_as_text(app, enter, tmp_path):
  file = tmp_path / 'guidelines.txt'
  file.write_text('Be <b>kind</b>.')
  settings = app.state.settings
  object.__setattr__(settings, 'guidelines', str(file))
  page = enter('ann').get('/guidelines').text
  assert 'Be &lt;b&gt;kind&lt;/b&gt;.' in page
  assert 'What a good output is' not in page
