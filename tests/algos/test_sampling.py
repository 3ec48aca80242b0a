"""Warping and drawing: exact sets, chi-square, zero probability, keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from instructgpt_jax.algos import sampling

PROBS = np.array([0.4, 0.05, 0.3, 0.0, 0.15, 0.1])
LOGITS = jnp.log(jnp.asarray(PROBS, jnp.float32))[None] + 3.0
draw = jax.jit(sampling.sample)


def _kept(**settings_):
  warped = sampling.warp_logits(LOGITS, temperature=1.0, **settings_)
  return set(np.flatnonzero(np.isfinite(warped[0])))


def _many(logits, n, seed=0):
  keys = jax.random.split(jax.random.key(seed), n)
  return draw(keys, jnp.broadcast_to(logits, (n, logits.shape[-1])))


def test_temperature_divides_and_one_is_the_identity():
  logits = jnp.array([[1.0, -2.0, 0.5]])
  np.testing.assert_array_equal(
    sampling.warp_logits(logits, temperature=1), logits
  )
  np.testing.assert_allclose(
    sampling.warp_logits(logits, temperature=0.5), logits * 2
  )


@pytest.mark.parametrize(
  'top_k, kept',
  [(1, {0}), (2, {0, 2}), (4, {0, 2, 4, 5}), (99, {0, 1, 2, 4, 5})],
)
def test_top_k_keeps_the_k_largest(top_k, kept):
  assert _kept(top_k=top_k) == kept


@pytest.mark.parametrize(
  'top_p, kept',
  [
    (1e-9, {0}),
    (0.39, {0}),
    (0.41, {0, 2}),
    (0.69, {0, 2}),
    (0.71, {0, 2, 4}),
    (0.96, {0, 1, 2, 4, 5}),
    (1.0, {0, 1, 2, 4, 5}),
  ],
)
def test_top_p_keeps_the_fewest_that_reach_p(top_p, kept):
  assert _kept(top_p=top_p) == kept


def test_top_p_counts_the_mass_left_by_top_k():
  # Of {0.4, 0.3}, 0.4 / 0.7 = 0.571: enough for p = 0.5.
  assert _kept(top_k=2, top_p=0.5) == {0}
  assert _kept(top_p=0.5) == {0, 2}


def test_tokens_equal_to_the_last_one_kept_stay():
  logits = jnp.zeros((1, 4))
  for options in ({'top_k': 2}, {'top_p': 0.3}):
    warped = sampling.warp_logits(logits, temperature=1.0, **options)
    np.testing.assert_array_equal(warped, logits)


@pytest.mark.parametrize(
  'options, message',
  [
    ({'temperature': 0.0}, 'temperature must be above 0'),
    ({'temperature': -1.0}, 'temperature must be above 0'),
    ({'temperature': 1.0, 'top_k': 0}, 'top_k must be at least 1'),
    ({'temperature': 1.0, 'top_p': 0.0}, r'top_p must be in \(0, 1\]'),
    ({'temperature': 1.0, 'top_p': 1.5}, r'top_p must be in \(0, 1\]'),
  ],
)
def test_impossible_settings_are_refused(options, message):
  with pytest.raises(ValueError, match=message):
    sampling.warp_logits(LOGITS, **options)


@pytest.mark.parametrize('temperature', [1.0, 0.5])
def test_draws_follow_the_distribution(temperature):
  n = 20_000
  warped = sampling.warp_logits(LOGITS, temperature=temperature)
  tokens, _ = _many(warped, n)
  counts = np.bincount(tokens, minlength=6)
  p = PROBS ** (1 / temperature)
  p /= p.sum()
  assert counts[3] == 0
  real = p > 0
  assert scipy.stats.chisquare(counts[real], n * p[real]).pvalue > 1e-3


def test_draws_from_a_large_vocabulary_follow_the_distribution():
  """Bins of a cumulative sum over 50,257 tokens, as in GPT-2."""
  rng = np.random.default_rng(0)
  logits = jnp.asarray(rng.normal(size=(1, 50_257)) * 2, jnp.float32)
  n, bins = 300, 10
  tokens, logp = _many(logits, n)
  p = np.asarray(jax.nn.softmax(logits[0]), np.float64)
  p /= p.sum()
  edge = np.minimum((np.cumsum(p) * bins).astype(int), bins - 1)
  expected = n * np.bincount(edge, p, minlength=bins)
  counts = np.bincount(edge[np.asarray(tokens)], minlength=bins)
  assert scipy.stats.chisquare(counts, expected).pvalue > 1e-3
  np.testing.assert_allclose(logp, np.log(p[tokens]), rtol=1e-4)


@pytest.mark.parametrize('size', [5, 128, 129, 301, 700])
def test_a_draw_is_the_inverse_of_the_cumulative_distribution(size):
  """Held against float64; blocks of the sum that are empty are stepped over."""
  rng = np.random.default_rng(size)
  logits = rng.normal(0, 2, size).astype(np.float32)
  logits[128:256] = -np.inf
  keys = jax.random.split(jax.random.key(size), 2_000)
  tokens, logp = draw(keys, jnp.broadcast_to(logits, (2_000, size)))
  p = np.exp(logits.astype(np.float64))
  cdf = np.cumsum(p / p.sum())
  u = np.asarray(jax.vmap(jax.random.uniform)(keys), np.float64)
  want = np.searchsorted(cdf, u, side='right')
  near = np.abs(cdf[:, None] - u).min(0) < 1e-6  # rounding may decide these
  np.testing.assert_array_equal(tokens[~near], want[~near])
  assert near.mean() < 0.01
  want = np.log(p[np.asarray(tokens)] / p.sum())
  np.testing.assert_allclose(logp, want, atol=1e-5)


def test_logp_is_that_of_the_warped_distribution():
  warped = sampling.warp_logits(LOGITS, temperature=0.7, top_k=3)
  tokens, logp = _many(warped, 200)
  table = np.asarray(jax.nn.log_softmax(warped[0]))
  assert logp.dtype == jnp.float32
  assert tokens.dtype == jnp.int32
  np.testing.assert_allclose(logp, table[tokens], rtol=1e-6)
  assert set(np.asarray(tokens)) == {0, 2, 4}


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), share=st.floats(0.0, 0.999))
def test_impossible_tokens_are_never_drawn(seed, share):
  """Also where a parallel cumulative sum is not monotone to the last bit."""
  rng = np.random.default_rng(seed)
  logits = rng.normal(size=(64, 301)) * 5
  logits[rng.random(logits.shape) < share] = -np.inf
  logits[np.arange(64), rng.integers(301, size=64)] = 0.0
  keys = jax.random.split(jax.random.key(seed), 64)
  tokens, logp = draw(keys, jnp.asarray(logits, jnp.float32))
  assert np.isfinite(logits[np.arange(64), tokens]).all()
  assert np.isfinite(logp).all()


def test_rounding_of_the_cumulative_sum_draws_no_impossible_token(monkeypatch):
  """A parallel sum may rise at token 1, whose probability is 0."""

  def cumsum(weights, axis):
    if weights.shape[-1] == 1:  # the one block there is
      return weights
    rising = jnp.array([0.98, 1.02, 1.02, 2.0])
    return jnp.pad(rising, (0, weights.shape[-1] - 4), mode='edge')[None]

  monkeypatch.setattr(jnp, 'cumsum', cumsum)
  monkeypatch.setattr(jax.random, 'uniform', _EdgeUniform(0.5))
  logits = jnp.log(jnp.array([[0.5, 0.0, 0.0, 0.5]]))
  tokens, _ = sampling.sample(jax.random.split(jax.random.key(0), 1), logits)
  assert tokens[0] == 3


class _EdgeUniform:
  """Stands in for jax.random.uniform with a chosen number."""

  def __init__(self, value):
    self.value = value

  def __call__(self, *_):
    return jnp.float32(self.value)


@pytest.mark.parametrize('u, token', [(0.0, 1), (1 - 2**-24, 3)])
def test_ends_of_the_unit_interval(monkeypatch, u, token):
  monkeypatch.setattr(jax.random, 'uniform', _EdgeUniform(u))
  logits = jnp.log(jnp.array([[0.0, 0.2, 0.3, 0.5, 0.0, 0.0]]))
  tokens, _ = sampling.sample(jax.random.split(jax.random.key(0), 1), logits)
  assert tokens[0] == token


def test_a_draw_that_reaches_no_token_takes_the_most_likely(monkeypatch):
  monkeypatch.setattr(jax.random, 'uniform', _EdgeUniform(1.5))
  tokens, logp = sampling.sample(jax.random.split(jax.random.key(0), 1), LOGITS)
  assert tokens[0] == 0
  np.testing.assert_allclose(logp, np.log(0.4), rtol=1e-5)


def test_extreme_logits():
  logits = jnp.array([[1e4, -1e4, 0.0], [-1e4, -jnp.inf, -2e4]])
  tokens, logp = draw(jax.random.split(jax.random.key(0), 2), logits)
  np.testing.assert_array_equal(tokens, [0, 0])
  np.testing.assert_array_equal(logp, [0.0, 0.0])


def test_a_draw_depends_on_its_own_key_and_row_only():
  rng = np.random.default_rng(0)
  logits = jnp.asarray(rng.normal(size=(8, 50)), jnp.float32)
  keys = jax.random.split(jax.random.key(1), 8)
  tokens, logp = draw(keys, logits)
  order = rng.permutation(8)[:5]
  some, some_logp = draw(keys[order], logits[order])
  np.testing.assert_array_equal(some, tokens[order])
  np.testing.assert_allclose(some_logp, logp[order], rtol=1e-6)


def test_rows_and_steps_do_not_share_noise():
  logits = jnp.zeros((1, 1000))
  first, _ = _many(logits, 200, seed=0)
  second, _ = _many(logits, 200, seed=1)
  assert len(set(np.asarray(first))) > 150
  assert (np.asarray(first) == np.asarray(second)).mean() < 0.05


def test_adding_a_constant_to_the_logits_changes_no_draw():
  tokens, logp = _many(LOGITS, 100)
  moved, moved_logp = _many(LOGITS + 8.0, 100)
  np.testing.assert_array_equal(tokens, moved)
  np.testing.assert_allclose(logp, moved_logp, atol=1e-5)


def test_jit_equals_no_jit():
  keys = jax.random.split(jax.random.key(2), 1)
  a, b = sampling.sample(keys, LOGITS), draw(keys, LOGITS)
  assert a[0] == b[0]
  np.testing.assert_allclose(a[1], b[1], rtol=1e-6)


def test_greedy_takes_the_first_of_the_largest():
  logits = jnp.array([[0.0, 2.0, 2.0], [5.0, 1.0, -1.0]], jnp.bfloat16)
  tokens, logp = sampling.greedy(logits)
  np.testing.assert_array_equal(tokens, [1, 0])
  assert (tokens.dtype, logp.dtype) == (jnp.int32, jnp.float32)
  table = jax.nn.log_softmax(logits.astype(jnp.float32))
  np.testing.assert_allclose(logp, [table[0, 1], table[1, 0]])


def test_low_temperature_approaches_greedy():
  rng = np.random.default_rng(3)
  logits = jnp.asarray(rng.normal(size=(32, 20)), jnp.float32)
  warped = sampling.warp_logits(logits, temperature=1e-4)
  tokens, _ = draw(jax.random.split(jax.random.key(0), 32), warped)
  np.testing.assert_array_equal(tokens, sampling.greedy(logits)[0])
