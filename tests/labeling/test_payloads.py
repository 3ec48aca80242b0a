"""What is taken as an answer, and how it is scored against gold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructgpt_jax.labeling import payloads, scoring
from instructgpt_jax.labeling.payloads import FLAGS, AnswerError, validate

NO_FLAGS = dict.fromkeys(FLAGS, False)


def check(kind, payload, outputs=3):
  return validate(kind, payload, outputs, longest=10)


@pytest.mark.parametrize(
  ('kind', 'payload'),
  [
    ('demonstration', {'response': ' ten chars'}),
    ('rating', {'quality': 7, 'flags': NO_FLAGS}),
    ('rating', {'quality': 1, 'flags': {**NO_FLAGS, 'sexual': True}}),
    (
      'rating',
      {'quality': 1, 'flags': {**NO_FLAGS, 'satisfies_constraint': None}},
    ),
    ('ranking', {'ranks': [2, 1, 2]}),
    ('ranking', {'ranks': [1, 1, 1]}),
    ('screening', {'ranks': [3, 1, 2], 'sensitive': [True, False, False]}),
  ],
)
def test_what_fits_is_stored_as_it_came(kind, payload):
  assert check(kind, payload) == payload


def test_nothing_is_sensitive_unless_said():
  found = check('screening', {'ranks': [1, 2, 3]})
  assert found['sensitive'] == [False] * 3


@pytest.mark.parametrize(
  ('kind', 'payload', 'said'),
  [
    ('demonstration', {'response': '12345678901'}, '11 characters, 10'),
    ('demonstration', {'response': ' \n'}, 'response: is empty'),
    ('demonstration', {'response': 'a\0'}, 'NUL'),
    ('demonstration', {'response': 'a\ud800'}, 'response'),
    ('demonstration', {'response': 5}, 'response'),
    ('demonstration', {}, 'response'),
    ('rating', {'quality': 0, 'flags': NO_FLAGS}, 'quality'),
    ('rating', {'quality': 8, 'flags': NO_FLAGS}, 'quality'),
    ('rating', {'quality': True, 'flags': NO_FLAGS}, 'quality'),
    ('rating', {'quality': 4.5, 'flags': NO_FLAGS}, 'quality'),
    ('rating', {'quality': 4, 'flags': {}}, 'fails_task is missing'),
    ('rating', {'quality': 4, 'flags': {**NO_FLAGS, 'x': True}}, 'known'),
    ('rating', {'quality': 4, 'flags': {**NO_FLAGS, 'sexual': None}}, 'sexual'),
    ('ranking', {'ranks': [1, 3, 3]}, 'leave no rank out'),
    ('ranking', {'ranks': [0, 1, 2]}, 'ranks.0'),
    ('ranking', {'ranks': [2, 2, 3]}, 'leave no rank out'),
    ('ranking', {'ranks': [1, 2]}, '2 for 3 outputs'),
    ('ranking', {'ranks': [1, 2, '3']}, 'ranks.2'),
    ('ranking', {'ranks': [1, 2, True]}, 'ranks.2'),
    ('ranking', {'ranks': [1, 2, 3], 'more': 1}, 'more'),
    ('ranking', None, 'payload'),
    ('screening', {'ranks': [1, 2, 3], 'sensitive': [True]}, '1 for 3'),
  ],
)
def test_what_does_not_fit_says_why(kind, payload, said):
  with pytest.raises(AnswerError, match=said):
    check(kind, payload)


@given(st.lists(st.integers(1, 5), min_size=2, max_size=9))
def test_ranks_are_taken_when_they_are_dense_and_then_only(ranks):
  is_dense = set(ranks) == set(range(1, len(set(ranks)) + 1))
  try:
    assert validate('ranking', {'ranks': ranks}, len(ranks), longest=1)
    assert is_dense
  except AnswerError:
    assert not is_dense


@pytest.mark.parametrize(
  ('ranks', 'gold', 'score'),
  [
    ([1, 2, 3], [1, 2, 3], 1.0),
    ([3, 2, 1], [1, 2, 3], 0.0),
    ([1, 1, 1], [1, 2, 3], 0.5),
    ([1, 3, 2], [1, 2, 3], 2 / 3),
    ([1, 2, 3], [1, 2, 2], 1.0),  # gold has no opinion on the last two
    ([1, 1, 2], [1, 1, 1], 1 / 3),
  ],
)
def test_the_score_of_a_ranking_is_over_the_pairs_that_gold_orders(
  ranks, gold, score
):
  assert scoring.pairwise(ranks, gold) == pytest.approx(score)


def test_flags_of_the_screening_count_as_much_as_its_ranks():
  payload = {'ranks': [1, 2], 'sensitive': [True, False]}
  gold = {'ranks': [2, 1], 'sensitive': [True, False]}
  assert scoring.score('screening', payload, gold) == 0.5


def test_the_score_of_a_rating():
  gold = {'quality': 7, 'flags': NO_FLAGS}
  first = next(iter(FLAGS))
  payload = {'quality': 4, 'flags': {**NO_FLAGS, first: True}}
  expected = (0.5 + 1 - 1 / len(FLAGS)) / 2
  assert scoring.score('rating', payload, gold) == pytest.approx(expected)
  assert payloads.QUALITY == (1, 7)
