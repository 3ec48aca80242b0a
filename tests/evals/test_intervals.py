"""Intervals against formulas, and against repeated experiments."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from instructgpt_jax.evals import intervals

finite = st.floats(-1e3, 1e3)


def test_mean_interval_by_hand():
  x = intervals.mean_interval([1.0, 2.0, 3.0, 6.0])
  half = 1.959963984540054 * np.sqrt(14 / 3) / 2  # s^2 = 14/3, n = 4
  assert x == pytest.approx((3.0, 3.0 - half, 3.0 + half, 4))
  assert x.as_dict() == {
    'mean': x.mean,
    'low': x.low,
    'high': x.high,
    'n': 4,
  }


def test_z_is_the_normal_quantile():
  assert pytest.approx(scipy.stats.norm.ppf(0.975)) == intervals.Z95


def test_one_value_has_no_width():
  assert intervals.mean_interval([2.5]) == (2.5, 2.5, 2.5, 1)


def test_mean_interval_covers_95_in_100():
  rng = np.random.default_rng(0)
  covered = 0
  for _ in range(2000):
    x = intervals.mean_interval(rng.exponential(size=200))
    covered += x.low <= 1.0 <= x.high
  assert 0.92 < covered / 2000 < 0.97


def test_pairing_removes_the_spread_between_items():
  rng = np.random.default_rng(1)
  item = rng.normal(size=400) * 10
  a, b = item + 0.5 + 0.1 * rng.normal(size=400), item
  x = intervals.paired_interval(a, b)
  apart = intervals.mean_interval(a)
  assert x.mean == pytest.approx(np.mean(a - b))
  assert x.low > 0.45
  assert x.high - x.low < 0.05 * (apart.high - apart.low)


def test_the_interval_of_shares_is_wilson_whatever_its_name():
  x = intervals.bounded_interval([1] * 37 + [0] * 13)
  assert x == pytest.approx(intervals.share(37 / 50, 50))
  # Of figures that spread less, as so many more of yes and no.
  x = intervals.bounded_interval([0.5, 0.7] * 20)
  assert x.mean == pytest.approx(0.6) and x.n == 40
  assert 0.6 - x.low == pytest.approx(1.96 * 0.1 / np.sqrt(40), rel=0.02)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_bounded_figures_have_intervals_within_their_bounds(figures):
  x = intervals.bounded_interval(figures)
  assert 0 <= x.low <= x.mean <= x.high <= 1
  assert x.low < x.high  # never certain
  d = intervals.paired_bounded(figures, figures[::-1])
  assert -1 <= d.low <= d.mean <= d.high <= 1 and d.low < d.high


def test_a_bounded_mean_covers_95_in_100():
  rng = np.random.default_rng(3)
  covered = gained = 0
  for _ in range(2000):
    a, b = rng.beta(0.3, 1.2, size=(2, 60))  # a mean of 0.2, skewed
    x = intervals.bounded_interval(a)
    covered += x.low <= 0.2 <= x.high
    d = intervals.paired_bounded(a, b)
    gained += d.low <= 0 <= d.high
  assert 0.92 < covered / 2000 < 0.98
  assert 0.92 < gained / 2000 < 0.985


def test_few_pairs_have_students_interval():
  x = intervals.paired_interval([2.0, 4.0], [1.0, 1.0])
  half = scipy.stats.t.ppf(0.975, 1) * np.std([1, 3], ddof=1) / np.sqrt(2)
  assert x == pytest.approx((2.0, 2 - half, 2 + half, 2))
  assert intervals.paired_interval([2.0], [1.0])[1:3] == (-np.inf, np.inf)


def test_ties_count_one_half():
  x = intervals.win_rate([1, 1, 2, 0], [0, 1, 2, 1])
  assert x.mean == pytest.approx((1 + 0.5 + 0.5 + 0) / 4)
  assert x.n == 4


def test_win_rate_is_wilson():
  a = np.arange(50)
  b = np.where(np.arange(50) < 37, a - 1, a + 1)
  x = intervals.win_rate(a, b)
  wilson = scipy.stats.binomtest(37, 50).proportion_ci(method='wilson')
  assert x.low == pytest.approx(wilson.low)
  assert x.high == pytest.approx(wilson.high)


def test_winning_all_is_not_certainty():
  x = intervals.win_rate(np.ones(20), np.zeros(20))
  assert x.mean == x.high == 1.0
  assert 0.8 < x.low < 0.9


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=30))
def test_win_rates_of_both_sides_add_to_one(pairs):
  a, b = np.asarray(pairs).T
  ours, theirs = intervals.win_rate(a, b), intervals.win_rate(b, a)
  assert ours.mean + theirs.mean == pytest.approx(1.0)
  assert ours.low == pytest.approx(1 - theirs.high)
  assert 0 <= ours.low <= ours.mean <= ours.high <= 1


def test_loss_difference_is_per_token():
  x = intervals.loss_difference([20.0, 9.0], [10.0, 4.0], [10, 5])
  assert x.mean == pytest.approx((10 + 5) / 15)
  assert x.high == pytest.approx(x.low)  # both differ by 1 nat per token
  assert x.n == 2


def test_loss_difference_covers_95_in_100():
  rng = np.random.default_rng(2)
  covered = 0
  for _ in range(1000):
    tokens = rng.integers(5, 100, size=150)
    shift = 0.1 + 0.2 * rng.normal(size=150)  # per document, per token
    b = rng.normal(3, 1, size=150) * tokens
    x = intervals.loss_difference(b + shift * tokens, b, tokens)
    covered += x.low <= 0.1 <= x.high
  assert 0.92 < covered / 1000 < 0.975


@pytest.mark.parametrize(
  ('call', 'message'),
  [
    (lambda: intervals.mean_interval([]), 'no values'),
    (lambda: intervals.mean_interval([1, np.nan]), '1 values not finite'),
    (lambda: intervals.win_rate([1], [1, 2]), '1 values against 2'),
    (lambda: intervals.bounded_interval([0.5, 2]), r'not in \[0, 1\]'),
    (lambda: intervals.loss_difference([1], [1], [1, 2]), '2 token counts'),
    (lambda: intervals.loss_difference([1], [1], [0]), 'must be positive'),
  ],
)
def test_bad_input_is_named(call, message):
  with pytest.raises(ValueError, match=message):
    call()
