"""The best of n against all choices of n that there are."""

import itertools
import math

import numpy as np
import pytest

from instructgpt_jax.evals.reward_model import best_of_n

PROXY = np.array([[0.3, -1.0, 2.0, 2.0, 0.3, 5.0], [1.0, 2, 3, 4, 5, 6]])
WORTH = np.array([[1.0, 2.0, 3.0, 5.0, 7.0, -4.0], [0.5, 1, 4, 9, 2, 3]])


def by_choices(proxy, worth, n):
  """The mean over all choices of what the best is worth, ties shared."""
  values = []
  for chosen in itertools.combinations(range(len(proxy)), n):
    top = max(proxy[list(chosen)])
    values.append(np.mean([worth[i] for i in chosen if proxy[i] == top]))
  return np.mean(values)


def test_the_best_of_n_is_that_of_all_choices():
  sizes = [1, 2, 3, 4, 6]
  found = best_of_n.curve(PROXY, WORTH, sizes)
  for row in found:
    expected = [
      by_choices(p, w, row['n']) for p, w in zip(PROXY, WORTH, strict=True)
    ]
    assert row['worth']['mean'] == pytest.approx(np.mean(expected))
    best = [by_choices(p, p, row['n']) for p in PROXY]
    assert row['proxy']['mean'] == pytest.approx(np.mean(best))
    half = 1.959964 * abs(expected[0] - expected[1]) / 2
    assert row['worth']['high'] - row['worth']['mean'] == pytest.approx(half)


def test_the_distance_from_the_policy():
  found = best_of_n.curve(np.zeros((1, 1000)), np.zeros((1, 1000)), [1, 1000])
  assert found[0]['kl'] == 0.0
  assert found[1]['kl'] == pytest.approx(5.91, abs=0.005)  # as Gao et al. say
  assert found[1]['kl'] == pytest.approx(math.log(1000) - 0.999)


def test_powers_of_two_unless_asked_otherwise():
  assert [row['n'] for row in best_of_n.curve(PROXY, WORTH)] == [1, 2, 4]


def test_scores_without_a_meaning_gain_nothing():
  rng = np.random.default_rng(0)
  proxy, worth = rng.normal(size=(2, 500, 64))
  found = best_of_n.curve(proxy, worth)
  assert found[-1]['worth']['low'] < 0 < found[-1]['worth']['high']
  assert found[-1]['proxy']['mean'] == pytest.approx(2.36, abs=0.05)


@pytest.mark.parametrize(
  ('proxy', 'worth', 'sizes', 'complaint'),
  [
    (PROXY, WORTH[:1], (), r'proxy \(2, 6\) and worth \(1, 6\)'),
    (PROXY, WORTH, [7], 'there are 6 samples'),
    (PROXY, WORTH, [0], 'there are 6 samples'),
    (np.zeros((0, 4)), np.zeros((0, 4)), (), 'must be'),
  ],
)
def test_what_cannot_be_is_refused(proxy, worth, sizes, complaint):
  with pytest.raises(ValueError, match=complaint):
    best_of_n.curve(proxy, worth, sizes)
