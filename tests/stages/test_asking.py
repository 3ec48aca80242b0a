"""What is offered to people, what of their answers counts, and when it is
enough."""

import json

import jax
import pytest

from instructgpt_jax import sharding
from instructgpt_jax.data import records, tokenizer
from instructgpt_jax.labeling.progress import Standing
from instructgpt_jax.runtime import run
from instructgpt_jax.stages import asking, people, reading, session
from tests.stages import micro


def offer(prompt, *responses, ended=None):
  ended = ended or [True] * len(responses)
  return {
    'id': prompt,
    'prompt': prompt,
    'responses': [*responses],
    'ended': ended,
  }


def ranking(prompt, labeler, *responses):
  ranks = [*range(1, len(responses) + 1)]
  return {
    **{'id': f'{prompt}/{labeler}', 'prompt': prompt, 'labeler': labeler},
    **{'responses': [*responses], 'ranks': ranks},
  }


def test_a_ranking_counts_if_it_is_of_an_offer_and_each_labeler_once():
  offered = [offer('a', 'x', 'y'), offer('b', 'x', 'y', 'z')]
  came = [
    ranking('a', 'ann', 'y', 'x'),
    ranking('a', 'ann', 'x', 'y'),  # again
    ranking('a', 'bob', 'x', 'y'),
    ranking('b', 'ann', 'x', 'y'),  # a part of them
    ranking('c', 'ann', 'x', 'y'),  # of an earlier round
  ]
  found = list(asking.matched(offered, came))
  assert [(r['prompt'], r['labeler']) for r in found] == [
    ('a', 'ann'),
    ('a', 'bob'),
  ]
  assert found[0]['responses'] == ['y', 'x'] and found[0]['ranks'] == [1, 2]
  assert {record['source'] for record in found} == {'collect'}


def test_what_ended_follows_its_response_wherever_it_stands():
  offered = [offer('a', 'x', 'y', 'x', ended=[True, False, False])]
  (found,) = asking.matched(offered, [ranking('a', 'ann', 'y', 'x', 'x')])
  assert found['ended'] == [False, True, False]


class People:
  """An application that has one ranking more at each look."""

  advice = 'look there'

  def __init__(self, answers):
    self.answers, self.offers, self.looks = answers, 0, 0
    self.exports, self.idle = 0, False

  def offer(self, path, batch):
    self.offers += 1
    return self.offers > 1  # at first nobody is there

  def standing(self, batch):
    self.looks += 1
    came = min(self.looks, len(self.answers))
    return Standing(came, len(self.answers) - came, self.idle)

  def comparisons(self):
    self.exports += 1
    return self.answers[: self.looks]


@pytest.fixture
def waiting(tmp_path, monkeypatch):
  config = micro.get_config()
  config.collect.update(dict(labelers='web', poll=0.001, enough=0.6))
  mesh = sharding.make_mesh(1, 1, 1, jax.devices()[:1])
  words = tokenizer.train_bpe(['a b c'], 258)
  one = session.Session(config, run.Run(tmp_path), mesh, words)
  found = People([ranking(f'{i}', 'ann', 'x', 'y') for i in range(5)])
  monkeypatch.setattr(people, 'application', lambda *_: found)
  return one, found


def test_it_goes_on_when_enough_came_and_takes_what_is_there(waiting, capsys):
  one, found = waiting
  asking.offer(one, lambda: [offer(f'{i}', 'x', 'y') for i in range(5)])
  assert asking.is_offered(one)
  counts = asking.wait(one)
  assert (found.offers, found.looks) == (2, 3)  # 0.6 of five
  path = one.run.path / 'collect' / reading.COMPARISONS
  kept = [json.loads(line) for line in path.read_text().splitlines()]
  assert [record['prompt'] for record in kept] == ['0', '1', '2']
  assert all(records.validate(r, 'comparisons', 'x') for r in kept)
  assert (counts['rankings'], counts['offered']) == (3, 5)
  assert capsys.readouterr().out.splitlines() == [
    'collect: 5 prompts wait; look there',
    'collect: 1 of 3 prompts have a training ranking; look there',
    'collect: 2 of 3 prompts have a training ranking; look there',
  ]


def offered(waiting, groups, **settings):
  """Returns the session, after one ranking of each prompt by these groups."""
  one, found = waiting
  one.config.collect.update(settings)
  found.answers = [
    ranking(f'{k}', 'ann', 'x', 'y') | {'labeler_group': group}
    for k, group in enumerate(groups)
  ]
  asking.offer(one, lambda: [offer(f'{k}', 'x', 'y') for k in range(5)])
  return one


def test_only_prompts_that_train_are_enough(waiting):
  groups = ['heldout', 'train', 'heldout', 'train', 'train']
  counts = asking.wait(offered(waiting, groups, enough=0.4))
  assert waiting[1].looks == 4 and counts['rankings'] == 4


def test_tasks_that_are_for_nobody_who_is_there_are_told(waiting, capsys):
  waiting[1].idle = True
  asking.wait(offered(waiting, ['train'] * 5))
  assert 'invite labelers, or lower --config.coll' in capsys.readouterr().out


def test_it_goes_on_when_nothing_is_left_to_rank(waiting, capsys):
  counts = asking.wait(offered(waiting, ['train', 'heldout'], enough=1.0))
  assert (counts['rankings'], counts['offered']) == (2, 5)
  assert 'and none is left to rank' in capsys.readouterr().out


def test_with_nothing_to_train_on_it_ends(waiting):
  with pytest.raises(records.DataError, match='nothing to train on'):
    asking.wait(offered(waiting, ['heldout'] * 5))
