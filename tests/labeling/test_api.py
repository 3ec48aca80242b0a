"""The JSON interface: a round from import to export, and what it refuses."""

import pytest
from fastapi.testclient import TestClient

from instructgpt_jax.labeling.payloads import FLAGS
from instructgpt_jax.labeling.web.app import create_app
from tests.labeling.conftest import PASSWORD
from tests.labeling.work import jsonl, ranked, say

BIG = 2**31 - 1


@pytest.fixture
def app(make_settings, database):
  return create_app(
    make_settings(screening_tasks=0, gold_share=0.0, overlap_share=0.0)
  )


@pytest.fixture
def admin(enter):
  return enter('root', role='admin')


@pytest.fixture
def ann(enter):
  return enter('ann')


def send(client, place, body):
  return client.post(f'/api/{place}', json=body)


def answer(client, task, **changes):
  body = {
    'lease': task['lease'],
    'payload': say(task),
    'client_key': f'key-of-{task["lease"]:04}',
  }
  return send(client, 'answer', body | changes)


def fill(admin, *records, **how):
  found = admin.post('/api/import', content=jsonl(*records), params=how)
  assert found.status_code == 200, found.text
  return found.json()


def test_from_import_to_export(admin, ann):
  record = ranked('a', 3, models=['secret-m', 'secret-n', 'secret-o'])
  found = fill(admin, record, kinds=['ranking', 'rating', 'demonstration'])
  assert found == {'prompts': 1, 'outputs': 3, 'tasks': 5, 'tasks_in_all': 5}
  kinds = []
  while (found := ann.get('/api/next')).json()['task']:
    assert 'secret' not in found.text
    task = found.json()['task']
    kinds.append(task['kind'])
    assert answer(ann, task).json()['new'] is True
  assert found.json() == {'task': None, 'reason': 'nothing'}
  assert sorted(kinds) == ['demonstration', *['ranking'], *['rating'] * 3]
  counts = admin.get('/api/progress').json()['kinds']
  assert [counts[k]['answers'] for k in ('ranking', 'rating')] == [1, 3]
  lines = {
    kind: admin.get(f'/api/export/{kind}').text.splitlines()
    for kind in ('comparisons', 'demonstrations', 'ratings')
  }
  assert [len(rows) for rows in lines.values()] == [1, 1, 3]
  assert 'secret-m' in lines['comparisons'][0]
  wins = admin.get('/api/figures').json()['win_rates']['all']
  assert len(wins) == 6


def test_a_double_submit_is_one_answer(admin, ann):
  fill(admin, ranked('a'), kinds='ranking')
  task = ann.get('/api/next').json()['task']
  first = answer(ann, task).json()
  for again in (answer(ann, task), answer(ann, task, client_key='another-key')):
    assert again.json() == first | {'new': False}
  other = {'ranks': [1, 1, 1]}
  for changes in ({}, {'client_key': 'another-key'}):
    refused = answer(ann, task, payload=other, **changes)
    assert refused.status_code == 409
    assert 'The first answer counts' in refused.json()['detail']
  (line,) = admin.get('/api/export/comparisons').text.splitlines()
  assert '[1, 1, 1]' not in line


def test_nobody_can_use_the_lease_of_another(admin, ann, enter):
  fill(admin, ranked('a'), ranked('b'), kinds='ranking')
  task, bob = ann.get('/api/next').json()['task'], enter('bob')
  assert bob.get('/api/next').json()['task']['lease'] != task['lease']
  assert answer(bob, task).status_code == 404
  body = {'lease': task['lease'], 'reason': 'Mine now'}
  assert send(bob, 'skip', body).status_code == 404
  assert answer(ann, task).json()['new'] is True


def test_what_was_skipped_is_over(admin, ann):
  fill(admin, ranked('a'), kinds='ranking')
  task = ann.get('/api/next').json()['task']
  body = {'lease': task['lease'], 'reason': 'Unclear'}
  assert send(ann, 'skip', body).status_code == 204
  assert send(ann, 'skip', body).status_code == 204
  assert answer(ann, task).status_code == 409
  assert ann.get('/api/next').json()['reason'] == 'nothing'


def test_a_token_does_without_cookies(app, admin, ann):
  fill(admin, ranked('a'), kinds='ranking')
  program = TestClient(app)
  login = {'name': 'ann', 'password': PASSWORD}
  token = program.post('/api/login', json=login).json()['token']
  program.headers['authorization'] = f'Bearer {token}'
  program.cookies.clear()
  task = program.get('/api/next').json()['task']
  assert answer(program, task).json()['new'] is True


@pytest.mark.parametrize(
  'changes',
  [
    {'payload': {'ranks': [1, 2]}},
    {'payload': {'ranks': [1, 2, 4]}},
    {'payload': {'quality': 3, 'flags': dict.fromkeys(FLAGS, False)}},
    {'payload': None},
    {'client_key': 'short'},
    {'client_key': 'a\0bcdefgh'},
    {'client_key': 'lines-of\n'},
    {'seconds': -1},
    {'seconds': 1e300},
    {'lease': 0},
    {'lease': 2**80},
    {'lease': 'one'},
  ],
)
def test_an_answer_that_does_not_fit_is_refused(admin, ann, changes):
  fill(admin, ranked('a'), kinds='ranking')
  task = ann.get('/api/next').json()['task']
  found = answer(ann, task, **changes)
  assert found.status_code in (404, 422), found.text
  assert admin.get('/api/export/comparisons').text == ''
  assert answer(ann, task).json()['new'] is True


def test_a_lease_that_never_was(ann):
  for lease in (1, BIG):
    task = {'lease': lease, 'kind': 'ranking', 'outputs': ['a', 'b']}
    assert answer(ann, task).status_code == 404


@pytest.mark.parametrize('name', [r'\ud800', r'\u0000', 'x' * 9999])
def test_names_of_fields_that_are_not_known(admin, ann, name):
  fill(admin, ranked('a'), kinds='ranking')
  task = ann.get('/api/next').json()['task']
  found = ann.post(
    '/api/answer',
    content=f'{{"lease": {task["lease"]}, "client_key": "key-of-this", '
    f'"payload": {{"ranks": [1, 2, 3], "{name}": 1}}}}',
    headers={'content-type': 'application/json'},
  )
  assert found.status_code == 422 and len(found.text) < 300


@pytest.mark.parametrize(
  ('body', 'params', 'said'),
  [
    (b'', {}, 'upload: no record'),
    (b'\xff\xfe', {}, 'not UTF-8'),
    (b'{"prompt": 3}', {}, "'prompt' must be a string"),
    (jsonl(ranked('a')), {'kinds': 'guess'}, "'rating'"),
    (jsonl(ranked('a')), {'use': 'x'}, 'use'),
    (jsonl(ranked('a')), {'use': 'gold'}, 'no right answer'),
    (jsonl(ranked('a')), {'batch': 'a\0'}, 'NUL'),
  ],
)
def test_an_import_that_cannot_be_used_says_why(admin, body, params, said):
  found = admin.post('/api/import', content=body, params=params)
  assert found.status_code == 422
  assert said in found.text
  assert admin.get('/api/progress').json()['prompts'] == 0


@pytest.mark.parametrize(
  'odd',
  ['NaN', 'Infinity', '1e999', r'"\ud800"', r'"\u0000"', '[[[]]]', '9' * 5000],
)
@pytest.mark.parametrize('field', ['lease', 'payload', 'client_key', 'seconds'])
def test_odd_values_of_json_are_refused(admin, ann, field, odd):
  fill(admin, ranked('a'), kinds='ranking')
  task = ann.get('/api/next').json()['task']
  body = {
    'lease': str(task['lease']),
    'payload': '{"ranks": [1, 2, 3]}',
    'client_key': '"key-of-this"',
    'seconds': '1',
    field: f'{{"ranks": [1, 2, {odd}]}}' if field == 'payload' else odd,
  }
  text = ', '.join(f'"{name}": {value}' for name, value in body.items())
  found = ann.post(
    '/api/answer',
    content=f'{{{text}}}',
    headers={'content-type': 'application/json'},
  )
  assert found.status_code in (400, 422), found.text
