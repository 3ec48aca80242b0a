"""What is asked of servers: again where it helps, never twice where known."""

import time

import pytest

from instructgpt_jax.evals import remote
from tests.evals.fake_server import serving


def echo(body):
  return 200, {}, {'said': body['x']}


def test_answers_come_in_order_and_are_asked_once(tmp_path):
  with serving(echo) as (url, fake):
    for _ in range(2):  # the second time from the file, by another client
      answers = remote.Answers(tmp_path / 'new' / 'answers.db')
      client = remote.Remote(url, answers=answers, workers=4)
      found = list(client.post_all([{'x': i} for i in range(20)]))
      assert found == [{'said': i} for i in range(20)]
      answers.close()
    assert sorted(body['x'] for body in fake.bodies) == list(range(20))


def test_another_address_is_another_question(tmp_path):
  answers = remote.Answers(tmp_path / 'answers.db')
  with serving(echo) as (url, fake):
    remote.Remote(f'{url}/a', answers=answers).post({'x': 1})
    remote.Remote(f'{url}/b', answers=answers).post({'x': 1})
    assert len(fake.bodies) == 2


@pytest.mark.parametrize('status', [429, 503])
def test_a_server_that_is_busy_is_asked_again_when_it_says(status):
  left = [2]

  def reply(body):
    left[0] -= 1
    if left[0] >= 0:
      return status, {'Retry-After': '1'}, 'busy'
    return echo(body)

  with serving(reply) as (url, fake):
    start = time.monotonic()
    assert remote.Remote(url, backoff=0.0).post({'x': 7}) == {'said': 7}
    assert len(fake.bodies) == 3
    assert time.monotonic() - start >= 2.0


def test_what_is_wrong_is_told_with_the_address(tmp_path):
  answers = remote.Answers(tmp_path / 'answers.db')
  with serving(lambda body: (401, {}, 'no such key')) as (url, fake):
    client = remote.Remote(url, answers=answers)
    for _ in range(2):  # a refusal is not kept
      with pytest.raises(remote.RemoteError, match="401, 'no such key'"):
        client.post({'x': 1})
    assert len(fake.bodies) == 2
  with (
    serving(lambda body: (200, {}, '<html>')) as (url, _),
    pytest.raises(remote.RemoteError, match=f'{url}: the answer is no JSO'),
  ):
    remote.Remote(url).post({'x': 1})
  with pytest.raises(remote.RemoteError, match='no answer'):  # nobody there now
    remote.Remote(url, attempts=2, backoff=0.0).post({'x': 1})


def test_after_some_attempts_the_last_refusal_is_told():
  with serving(lambda body: (503, {}, 'still busy')) as (url, fake):
    with pytest.raises(remote.RemoteError, match="503, 'still busy'"):
      remote.Remote(url, attempts=3, backoff=0.0).post({'x': 1})
    assert len(fake.bodies) == 3


def test_what_was_answered_before_a_failure_is_kept(tmp_path):
  answers = remote.Answers(tmp_path / 'answers.db')
  broken = [True]

  def reply(body):
    if body['x'] == 3 and broken[0]:
      return 400, {}, 'no'
    return echo(body)

  bodies = [{'x': i} for i in range(5)]
  with serving(reply) as (url, fake):
    client = remote.Remote(url, answers=answers)
    with pytest.raises(remote.RemoteError):
      list(client.post_all(bodies))
    broken[0] = False
    asked = len(fake.bodies)
    assert [a['said'] for a in client.post_all(bodies)] == list(range(5))
    again = [body['x'] for body in fake.bodies[asked:]]
    assert 3 in again and not {0, 1, 2} & set(again)


def test_requests_keep_to_the_rate():
  with serving(echo) as (url, _):
    client = remote.Remote(url, per_second=20, workers=8)
    start = time.monotonic()
    list(client.post_all([{'x': i} for i in range(9)]))
    assert time.monotonic() - start >= 8 / 20


def test_the_key_is_sent_and_never_kept(tmp_path, monkeypatch):
  monkeypatch.delenv('A_KEY', raising=False)
  assert remote.bearer('A_KEY') == {}
  monkeypatch.setenv('A_KEY', 'very-secret')
  answers = remote.Answers(tmp_path / 'answers.db')
  with serving(echo) as (url, fake):
    headers = remote.bearer('A_KEY')
    remote.Remote(url, headers=headers, answers=answers).post({'x': 1})
    assert fake.headers[0]['Authorization'] == 'Bearer very-secret'
  answers.close()
  for file in tmp_path.iterdir():
    assert b'very-secret' not in file.read_bytes()
