"""The published rules of SQuAD, DROP and QuAC, restated as cases."""

import pytest

from instructgpt_jax.evals.metrics import answers


@pytest.mark.parametrize(
  ('text', 'normal'),
  [
    ('The Normans', 'normans'),
    ('an apple, a day', 'apple day'),
    ('Athens', 'athens'),  # holds 'the' and begins with 'a'
    ("Northern Seven Years' War", 'northern seven years war'),
    ('U.S.A.', 'usa'),
    ('well-known', 'wellknown'),
    ('  two \t words\n', 'two words'),
    ('«été»', '«été»'),  # punctuation is that of ASCII
    ('The', ''),
  ],
)
def test_the_normal_form_of_squad(text, normal):
  assert answers.normal(text) == normal


@pytest.mark.parametrize(
  ('said', 'answer', 'f1', 'exact'),
  [
    ('The Normans', 'normans!', 1, 1),
    ('in the north', 'north', 2 * (1 / 2) * 1 / (1 / 2 + 1), 0),
    ('Saxons', 'Normans', 0, 0),
    # Words count as often as they stand in both: 'to' twice, 'be' twice.
    ('to be or not to be', 'to be to be', 2 * (4 / 6) * 1 / (4 / 6 + 1), 0),
    ('to to to', 'to be', 2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2), 0),
    # No answer: right or wrong as a whole.
    ('', '', 1, 1),
    ('the', '', 1, 1),
    ('Normans', '', 0, 0),
    ('', 'Normans', 0, 0),
  ],
)
def test_f1_and_exact_match_of_squad(said, answer, f1, exact):
  assert answers.f1(said, answer) == pytest.approx(f1)
  assert answers.exact(said, answer) == exact


def test_the_best_answer_counts():
  golds = ['the north', 'northern France', 'France']
  assert answers.best(answers.f1, 'northern france', golds) == 1
  assert answers.best(answers.exact, 'France.', golds) == 1
  assert answers.best(answers.f1, 'France today', golds) == pytest.approx(2 / 3)


def test_quac_leaves_each_answer_out_once():
  golds = ['red car', 'red', 'boat']
  scores = [1.0, 2 / 3, 0.0]  # of 'red car' with each
  found = [
    max(s for j, s in enumerate(scores) if j != left_out)
    for left_out in range(3)
  ]
  expected = sum(found) / 3  # (2/3 + 1 + 1) / 3
  found = answers.without_one(answers.f1, 'red car', golds)
  assert found == pytest.approx(expected)
  assert answers.without_one(answers.f1, 'red', ['red car']) == pytest.approx(
    2 / 3
  )
  same = answers.without_one(answers.f1, 'red', ['red', 'red'])
  assert same == 1


@pytest.mark.parametrize(
  ('said', 'answer', 'f1', 'exact'),
  [
    ('5', '5.0', 1, 1),
    ('5.00 yards', '5 yards', 1, 1),
    ('6 yards', '5 yards', 0, 0),  # the number is wrong, 'yards' is no help
    ('5', '5 yards', 2 / 3, 0),
    ('yards', '5 yards', 0, 0),
    ('56-yard', '56', 2 / 3, 0),  # hyphens part words
    ('the Dutch-Reformed church', 'Dutch Reformed Church', 1, 1),
    ('$3,400', '3400', 1, 1),
    ('23.2%', '23.2', 0, 0),  # no number with its sign: points are taken out
    ('Texas Texas', 'Texas', 1, 0),  # sets of words, not bags
    ('Steelers', 'Pittsburgh', 0, 0),
    ('', 'Pittsburgh', 0, 0),
    ('and Hypertension heart disease', 'heart disease and hypertension', 1, 0),
  ],
)
def test_f1_and_exact_match_of_drop(said, answer, f1, exact):
  assert answers.drop_f1(said, answer) == pytest.approx(f1)
  assert answers.drop_exact(said, answer) == exact
