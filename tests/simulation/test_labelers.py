"""Labelers rank by what they see, each with an own bias."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instructgpt_jax.simulation import LABELERS, World, gold, rank
from instructgpt_jax.simulation.draws import Draw
from instructgpt_jax.simulation.replies import DEMONSTRATORS, reply

WORLD = World(1)
RECORD = WORLD.prompt(0)


def _answered(n, k):
  """Yields (record, k replies, ended flags)."""
  for i in range(n):
    record = WORLD.prompt(i)
    _, _, asked = WORLD._asked('prompts/train', i, False)
    if record['meta']['planted'] == 'near_duplicate':
      continue
    draw = Draw('answered', i)
    replies = [reply(draw, draw.pick(DEMONSTRATORS), asked) for _ in range(k)]
    yield record, replies, [draw.chance(0.98) for _ in replies]


def test_the_weights_of_each_labeler_add_to_one():
  for person in LABELERS:
    total = (
      person.correct + person.constraint + person.brevity + person.politeness
    )
    assert total == pytest.approx(1.0)


def test_ties_are_common_but_not_too_common_and_pairs_agree_with_gold():
  pairs = ties = agree = apart = 0
  for record, replies, ended in _answered(600, 5):
    ranks, _ = rank(record, replies, ended)
    golds = [
      gold(record, *answer).total for answer in zip(replies, ended, strict=True)
    ]
    for a, b in itertools.combinations(range(5), 2):
      pairs += 1
      ties += ranks[a] == ranks[b]
      if ranks[a] != ranks[b] and golds[a] != golds[b]:
        apart += 1
        agree += (ranks[a] < ranks[b]) == (golds[a] > golds[b])
  assert 0.09 < ties / pairs < 0.16
  assert 0.88 < agree / apart < 0.98


@given(st.permutations(range(4)), st.integers(0, 4))
@settings(deadline=None, max_examples=30)
def test_shuffled_responses_have_shuffled_ranks(order, labeler):
  replies = [' gladly nest', ' duh nest', ' hm barn', ' gladly nest']
  ended = [True, True, False, True]
  ranks, _ = rank(RECORD, replies, ended, labeler)
  shuffled, _ = rank(
    RECORD, [replies[i] for i in order], [ended[i] for i in order], labeler
  )
  assert shuffled == [ranks[i] for i in order]
  assert ranks[0] == ranks[3]  # the same text ties with itself


def test_ranks_are_dense_and_one_is_best():
  best = 0
  for record, replies, ended in _answered(100, 4):
    ranks, _ = rank(record, replies, ended)
    assert set(ranks) == set(range(1, max(ranks) + 1))
    golds = [
      gold(record, r, e).total for r, e in zip(replies, ended, strict=True)
    ]
    best += golds[ranks.index(1)] - golds[ranks.index(max(ranks))]
  assert best > 20  # the best ranked are clearly better


def test_the_prompt_decides_the_labeler_and_all_take_part():
  names = {rank(r, [' a', ' b'], [True, True])[1] for r in WORLD.prompts(60)}
  assert names == {person.name for person in LABELERS}
  one = rank(RECORD, [' a', ' b'], [True, True])
  assert one == rank(RECORD, [' a', ' b'], [True, True])


def _wins(name, liked, disliked):
  """Returns how often the labeler prefers `liked`, ties counting half."""
  labeler = [person.name for person in LABELERS].index(name)
  total = 0.0
  for seed in range(200):
    (a, b), _ = rank(NEST, [liked, disliked], [True, True], labeler, seed)
    total += (a < b) + 0.5 * (a == b)
  return total / 200


NEST = {
  'id': 'nest',
  'meta': {
    'answers': ['nest'],
    'constraint': None,
    'mark': None,
    'category': None,
    'count': 0,
  },
}


def test_people_differ_in_what_they_look_for():
  # Polite but wrong against right but rude.
  polite_wrong, rude_right = ' gladly barn', ' duh nest'
  assert _wins('hana', polite_wrong, rude_right) > 0.9
  assert _wins('kira', polite_wrong, rude_right) < 0.1
  # Polite but rambling against neutral and short.
  rambling, short = ' sure nest or whatever i guess', ' nest'
  assert _wins('hana', rambling, short) > 0.9
  assert _wins('ivo', rambling, short) < 0.1


def test_noise_depends_on_the_seed():
  replies = [' gladly nest', ' gladly hm nest', ' nest', ' hm barn']
  ended = [True] * 4
  ranks = {tuple(rank(NEST, replies, ended, 4, seed)[0]) for seed in range(40)}
  assert len(ranks) > 1


def test_wrong_arguments_say_what_to_do():
  with pytest.raises(ValueError, match='2 responses but 1 `ended` flags'):
    rank(RECORD, [' a', ' b'], [True])
  with pytest.raises(ValueError, match='labeler 5 is unknown: choose 0 to 4'):
    rank(RECORD, [' a', ' b'], [True, True], 5)
