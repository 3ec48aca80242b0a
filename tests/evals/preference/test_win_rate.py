"""Win rates by hand, and at equal length where length is all that counts."""

import numpy as np
import pytest
import scipy.optimize

from instructgpt_jax.evals import intervals
from instructgpt_jax.evals.preference import cases as cases_lib
from instructgpt_jax.evals.preference import length_control, win_rate
from instructgpt_jax.evals.preference.cases import Answer, Case


def case(prompt, lengths=(5, 5), **record):
  one, other = (Answer('x' * n, n) for n in lengths)
  return Case({'id': prompt, 'prompt': prompt, **record}, one, other)


def test_rates_by_hand():
  cases = [
    case('a', category='open_qa', user_id='u', lengths=(9, 3)),
    case('b', category='Open QA', user_id='v', lengths=(3, 9)),
    case('c', category='chat', user_id='w', lengths=(3, 1)),
    case('d', category='my own', lengths=(4, 4)),
    case('e', user_id='u', lengths=(1, 2)),
    case('f', category='chat'),
  ]
  said = np.array([1, 0, 0.5, 1, 1, np.nan])
  found = win_rate.table(cases, said, seen_users=['u', 'v'])
  assert found['all']['mean'] == pytest.approx(3.5 / 5)
  assert found['all']['n'] == 5 and found['no_verdict'] == 1
  assert found['ties'] == pytest.approx(1 / 5)
  use = {name: (r['mean'], r['n']) for name, r in found['by_use_case'].items()}
  assert use == {'Open QA': (0.5, 2), 'Chat': (0.5, 1), 'my own': (1.0, 1)}
  user = {name: (r['mean'], r['n']) for name, r in found['by_user'].items()}
  assert user == {'seen': (pytest.approx(2 / 3), 3), 'unseen': (0.75, 2)}
  assert found['length'] == {'candidate': 4.0, 'baseline': 19 / 5}
  # a: longer wins; b: the baseline is longer and wins; e: the shorter wins.
  assert found['longer_wins'] == pytest.approx(2 / 3)


def test_without_known_users_nothing_is_said_of_users():
  assert win_rate.table([case('a')], np.ones(1))['by_user'] == {}


def test_without_a_verdict_there_is_no_rate():
  found = win_rate.table([case('a')], np.array([np.nan]))
  assert found['all'] is None and found['length_controlled'] is None
  with pytest.raises(ValueError, match='1 cases, but 2 preferences'):
    win_rate.table([case('a')], np.ones(2))


def test_the_interval_is_over_prompts():
  rng = np.random.default_rng(0)
  said = rng.integers(0, 2, 60).astype(float)
  items = [str(i) for i in range(60)]
  once = win_rate.rate(items, said)
  often = win_rate.rate(items * 10, np.tile(said, 10))
  assert often['n'] == 600
  assert often['low'] == pytest.approx(once['low'], abs=0.02)
  half = intervals.mean_interval(said)  # the normal approximation agrees
  assert once['low'] == pytest.approx(half.low, abs=0.02)
  assert once['high'] == pytest.approx(half.high, abs=0.02)


def test_all_won_is_not_certain():
  found = win_rate.rate(['a', 'b', 'c'] * 2, np.ones(6))
  wilson = intervals.share(1.0, 3)
  assert (found['low'], found['high']) == pytest.approx(wilson[1:3])


def drawn(n, chance):
  """Lengths that differ, and preferences of that chance given the ratio."""
  rng = np.random.default_rng(1)
  cases = [
    case(str(i), lengths=tuple(rng.integers(5, 200, 2))) for i in range(n)
  ]
  ratio = length_control.log_ratio(cases)
  return cases, ratio, (rng.random(n) < chance(ratio)).astype(float)


def test_a_judge_of_length_alone_prefers_none_at_equal_length():
  cases, ratio, said = drawn(2000, lambda x: 1 / (1 + np.exp(-3 * x)))
  [kept] = np.nonzero(ratio > -0.2)
  found = win_rate.table([cases[i] for i in kept], said[kept])
  assert found['all']['mean'] > 0.7
  fair = found['length_controlled']
  assert fair['low'] < 0.5 < fair['high'] and fair['high'] - fair['low'] < 0.2
  assert fair['slope'] == pytest.approx(3, abs=0.6)


def test_a_judge_blind_to_length_says_the_same_at_equal_length():
  cases, _, said = drawn(2000, lambda x: 0.8 + 0 * x)
  found = win_rate.table(cases, said)
  fair = found['length_controlled']
  assert fair['mean'] == pytest.approx(found['all']['mean'], abs=0.01)
  assert fair['slope'] == pytest.approx(0, abs=0.15)


def test_the_regression_finds_the_best_of_the_likelihood():
  _, ratio, said = drawn(300, lambda x: 1 / (1 + np.exp(0.4 - x)))

  def cost(theta):
    z = theta[0] + theta[1] * ratio
    fits = np.logaddexp(0, z) - said * z
    return fits.sum() + length_control.RIDGE / 2 * (theta @ theta)

  best = scipy.optimize.minimize(cost, np.zeros(2), tol=1e-10).x
  found = length_control.rate(said, ratio, [str(i) for i in range(300)])
  assert found['slope'] == pytest.approx(best[1], abs=1e-4)
  assert found['mean'] == pytest.approx(1 / (1 + np.exp(-best[0])), abs=1e-5)


def test_all_won_at_all_lengths_stays_finite():
  cases, ratio, _ = drawn(50, lambda x: 0 * x)
  found = length_control.rate(np.ones(50), ratio, [c.item for c in cases])
  assert 0.99 < found['low'] <= found['mean'] <= found['high'] <= 1


def test_an_empty_answer_has_a_ratio():
  assert length_control.log_ratio([case('a', lengths=(0, 3))]) == [-np.log(4)]


def test_pairs_go_by_place():
  answers = [Answer('a', 1), Answer('b', 1)]
  rows = [{'id': '1', 'prompt': 'p'}, {'id': '2', 'prompt': 'q'}]
  made = cases_lib.paired(rows, answers, answers[::-1])
  assert [(c.item, c.candidate.text, c.baseline.text) for c in made] == [
    ('p', 'a', 'b'),
    ('q', 'b', 'a'),
  ]
  with pytest.raises(ValueError, match='2 prompts, but 2 and 1 answers'):
    cases_lib.paired(rows, answers, answers[:1])
