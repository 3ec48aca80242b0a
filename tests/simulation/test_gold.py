"""Gold scores by value: what each word in a reply is worth."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instructgpt_jax.simulation import World, gold, perfect_reply
from instructgpt_jax.simulation import vocabulary as v
from instructgpt_jax.simulation.gold import WEIGHTS, _common


def record(answers='nest', constraint=None, mark=None, category=None, count=0):
  answers = answers if isinstance(answers, list) else [answers]
  return {
    'id': 'x',
    'meta': {
      'answers': answers,
      'constraint': constraint,
      'mark': mark,
      'category': category,
      'count': count,
    },
  }


PLAIN = record()
END = record(constraint='end', mark='done')
START = record(constraint='start', mark='note')
BRACKETS = record('the red fig', constraint='brackets')
TWICE = record(constraint='twice')
LIST = record('cat dog', category='animals', count=2)
FACT = record(['the cat is red', 'the cat eats corn'])


def test_the_weights_add_to_one():
  assert sum(WEIGHTS) == pytest.approx(1.0)


def test_a_perfect_reply_scores_exactly_one_and_less_when_cut_off():
  for rec in World(4).prompts(400):
    best = perfect_reply(rec['meta'])
    assert best.startswith(' ') and '  ' not in best
    assert gold(rec, best, True).total == 1.0
    assert gold(rec, best, False).total == pytest.approx(1 - WEIGHTS[2])


# (record, response, correct, constraint, brevity, politeness)
CASES = [
  (PLAIN, ' nest', 1, 1, 1, 0.3),
  (PLAIN, ' sure nest', 1, 1, 1, 1),
  (PLAIN, ' nest sure', 1, 1, 1, 1),
  (PLAIN, ' duh nest', 1, 1, 1, 0),
  (PLAIN, ' sure gladly nest', 1, 1, 0.8, 0.3),
  (PLAIN, ' sure sure nest', 1, 1, 0.8, 0.3),
  (PLAIN, ' sure fool nest', 1, 1, 0.8, 0),
  (PLAIN, ' hm nest', 1, 1, 0.6, 0.3),
  (PLAIN, ' hm um er nest', 1, 1, 0, 0.3),
  (PLAIN, ' nest blah blah blah', 1, 1, 0.4, 0.3),
  (PLAIN, ' nest or whatever i guess', 1, 1, 0.2, 0.3),
  (PLAIN, ' barn', 0, 1, 1, 0.3),
  (PLAIN, ' the nest', 0.6 * 2 / 3, 1, 0.8, 0.3),
  (PLAIN, ' nest done', 1, 0, 1, 0.3),
  (PLAIN, ' ( nest )', 1, 0, 1, 0.3),
  (PLAIN, ' nest\nreply : nest', 0.6 * 2 / 5, 1, 0.4, 0.3),
  (END, ' nest done', 1, 1, 1, 0.3),
  (END, ' nest', 1, 0, 1, 0.3),
  (END, ' nest bye', 1, 0, 1, 0.3),
  (END, ' done nest', 1, 0, 1, 0.3),
  (END, ' nest done done', 1, 0, 1, 0.3),
  (END, ' nest blah blah blah done', 1, 1, 0.4, 0.3),
  (END, ' nest done blah blah blah', 1, 0, 0.4, 0.3),
  (START, ' note gladly nest', 1, 1, 1, 1),
  (START, ' gladly note nest', 1, 0, 1, 1),
  (START, ' note nest done', 1, 0, 1, 0.3),
  (BRACKETS, ' sure ( the red fig )', 1, 1, 1, 1),
  (BRACKETS, ' ( sure the red fig )', 1, 1, 1, 1),
  (BRACKETS, ' ( the red fig', 1, 0, 1, 0.3),
  (BRACKETS, ' ) the red fig (', 1, 0, 1, 0.3),
  (BRACKETS, ' the ( red fig )', 1, 0, 1, 0.3),
  (TWICE, ' kindly nest nest', 1, 1, 1, 1),
  (TWICE, ' nest', 1, 0, 1, 0.3),
  (TWICE, ' barn barn', 0, 1, 1, 0.3),
  (TWICE, ' nest nest nest', 0.6 * 2 / 4, 0, 0.6, 0.3),
  (LIST, ' owl bee', 1, 1, 1, 0.3),
  (LIST, ' owl owl', 0.5, 1, 1, 0.3),
  (LIST, ' owl', 0.5, 1, 1, 0.3),
  (LIST, ' owl saw', 0.5, 1, 1, 0.3),
  (LIST, ' owl bee cat', 2 / 3, 1, 0.8, 0.3),
  (FACT, ' the cat eats corn', 1, 1, 1, 0.3),
  (FACT, ' the cat eats nuts', 0.6 * 3 / 4, 1, 1, 0.3),
]


@pytest.mark.parametrize('case', CASES, ids=lambda case: case[1].strip())
def test_parts_by_value(case):
  rec, response, *parts = case
  score = gold(rec, response, True)
  assert score[1:] == pytest.approx(parts)
  total = sum(w * part for w, part in zip(WEIGHTS, parts, strict=True))
  assert score.total == pytest.approx(total)


@pytest.mark.parametrize('response', ['', ' ', ' sure', ' done', ' ( )', ' hm'])
def test_a_reply_that_answers_nothing_is_worth_nothing(response):
  for rec in (PLAIN, END, TWICE, LIST):
    assert gold(rec, response, True) == (0, 0, 0, 0, 0)


def test_personal_data_in_the_prompt_changes_no_score():
  clean, noisy = World(2, log_noise=False), World(2)
  planted = 0
  for one, two in zip(clean.prompts(800), noisy.prompts(800), strict=True):
    if two['meta']['planted'] == 'personal_data':
      planted += 1
      reply = perfect_reply(one['meta'])
      assert gold(one, reply, True) == gold(two, reply, True)
  assert planted > 0


def _longest_common(a, b):
  if not a or not b:
    return 0
  if a[-1] == b[-1]:
    return 1 + _longest_common(a[:-1], b[:-1])
  return max(_longest_common(a[:-1], b), _longest_common(a, b[:-1]))


words = st.lists(st.sampled_from('abc'), max_size=6)


@given(words, words)
@settings(deadline=None)
def test_the_common_subsequence_equals_its_definition(a, b):
  assert _common(a, b) == _longest_common(tuple(a), tuple(b))


anything = st.lists(
  st.sampled_from([*v.STYLE, *v.MARKS, 'nest', 'the', 'owl', ':', '\ufffd']),
  max_size=15,
).map(' '.join)


@given(anything, st.sampled_from([PLAIN, END, START, BRACKETS, TWICE, LIST]))
@settings(deadline=None)
def test_scores_stay_in_range_and_rudeness_or_a_cut_never_pays(response, rec):
  score = gold(rec, response, True)
  assert all(0 <= part <= 1 for part in score)
  assert gold(rec, response, False).total <= score.total
  # Inside, so that no first or last word moves.
  first, *rest = response.split() or ['nest']
  if rest:
    rude = ' '.join([first, 'fool', *rest])
    assert gold(rec, rude, True).total <= score.total + 1e-9
