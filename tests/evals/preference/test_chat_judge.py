"""The judge behind an address, against servers that judge by known rules."""

import re

import numpy as np
import pytest

from instructgpt_jax.evals import remote
from instructgpt_jax.evals.preference.cases import Answer, Case
from instructgpt_jax.evals.preference.chat_judge import ChatJudge
from tests.evals.fake_server import serving

ANSWERS = re.compile(
  r'<answer_A>\n(.*)\n</answer_A>\n<answer_B>\n(.*)\n</answer_B>', re.DOTALL
)


def cases(*pairs):
  return [
    Case(
      {'id': str(i), 'prompt': f'question {i}\n'},
      *(Answer(text, len(text)) for text in pair),
    )
    for i, pair in enumerate(pairs)
  ]


def completion(text):
  return 200, {}, {'choices': [{'message': {'content': text}}]}


def longer(body):
  """A fair judge: the longer answer is better."""
  [(a, b)] = ANSWERS.findall(body['messages'][1]['content'])
  verdict = 'tie' if len(a) == len(b) else 'A' if len(a) > len(b) else 'B'
  return completion(f'I weighed [[B]] and [[A]].\n[[{verdict}]]')


def test_a_fair_judge_says_the_same_in_both_orders():
  with serving(longer) as (url, fake):
    judge = ChatJudge(remote.Remote(url, workers=4), 'judge-1')
    said = judge.preferences(cases(('long', 'x'), ('x', 'long'), ('a', 'b')))
  assert said.tolist() == [1.0, 0.0, 0.5]
  assert judge.counts['both_orders_agree'] == 1.0
  assert judge.counts['first_wins'] == 0.5
  assert judge.name == 'judge-1' and len(fake.bodies) == 6
  body = fake.bodies[0]
  assert body['model'] == 'judge-1' and body['temperature'] == 0
  assert 'question' in body['messages'][1]['content']


def test_a_judge_that_takes_the_first_decides_nothing():
  with serving(lambda body: completion('[[a]]')) as (url, _):
    judge = ChatJudge(remote.Remote(url), 'judge')
    said = judge.preferences(cases(('long', 'x'), ('x', 'long')))
  assert said.tolist() == [0.5, 0.5]
  assert judge.counts['both_orders_agree'] == 0.0
  assert judge.counts['first_wins'] == 1.0


def test_a_case_without_a_verdict_is_left_open():
  def reply(body):
    odd = 'question 1' in body['messages'][1]['content']
    return completion(None) if odd else longer(body)

  with serving(reply) as (url, _):
    judge = ChatJudge(remote.Remote(url), 'judge')
    said = judge.preferences(cases(('long', 'x'), ('x', 'long')))
  np.testing.assert_array_equal(said, [1.0, np.nan])
  assert judge.counts['no_verdict'] == 1


def test_nothing_is_asked_twice(tmp_path):
  answers = remote.Answers(tmp_path / 'answers.db')
  with serving(longer) as (url, fake):
    for _ in range(2):
      judge = ChatJudge(remote.Remote(url, answers=answers), 'judge')
      judge.preferences(cases(('long', 'x')))
    assert len(fake.bodies) == 2
    other = ChatJudge(
      remote.Remote(url, answers=answers), 'judge', options={'max_tokens': 9}
    )
    other.preferences(cases(('long', 'x')))
    assert [b.get('max_tokens') for b in fake.bodies] == [None, None, 9, 9]


def test_an_address_of_something_else_is_told():
  with serving(lambda body: (200, {}, {'data': []})) as (url, _):
    judge = ChatJudge(remote.Remote(url), 'judge')
    with pytest.raises(remote.RemoteError, match='no chat completion'):
      judge.preferences(cases(('long', 'x')))
