"""Scalar models: the head, its start, and what it takes from a policy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from instructgpt_jax.models import decoder, heads
from instructgpt_jax.models.config import ModelConfig

from . import toys

CFG = ModelConfig(vocab_size=23, layers=2, width=16, heads=2, max_length=16)
TOKENS = np.random.default_rng(0).integers(0, 23, (3, 8)).astype(np.int32)


@functools.partial(jax.jit, static_argnames=('model',))
def _score(model, params, tokens, segments=None):
  return model.apply({'params': params}, tokens, segments=segments)


def _models(cfg=CFG):
  policy, scalar = decoder.LanguageModel(cfg), heads.ScalarModel(cfg)
  return (
    policy,
    toys.params(policy, 1),
    scalar,
    toys.params(scalar, 2),
  )


def test_the_score_is_a_projection_of_the_policys_hidden_state():
  policy, lm_params, scalar, fresh = _models()
  params = heads.scalar_from_language(lm_params, fresh)
  params = heads.shift_bias(params, 0.75)
  got = _score(scalar, params, TOKENS)
  hidden, _ = _score(policy, lm_params, TOKENS)
  kernel = np.asarray(fresh['head']['kernel'], np.float64)
  bias = fresh['head']['bias'] + 0.75
  want = np.asarray(hidden, np.float64) @ kernel + bias
  assert got.shape == TOKENS.shape and got.dtype == jnp.float32
  np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_params_have_the_agreed_form_and_start():
  cfg = ModelConfig(vocab_size=23, layers=1, width=1024, heads=2, mlp_width=8)
  params = decoder.init_params(heads.ScalarModel(cfg), jax.random.key(0))
  assert set(params) == {'trunk', 'head'}
  assert params['head']['kernel'].shape == (1024,)
  assert params['head']['bias'].shape == () and params['head']['bias'] == 0
  spread = np.std(params['head']['kernel']) * np.sqrt(1025)
  assert spread == pytest.approx(1, rel=0.08)


def test_shift_bias_moves_every_score_and_nothing_else():
  _, _, scalar, params = _models()
  moved = heads.shift_bias(heads.shift_bias(params, -1.5), 0.25)
  before = _score(scalar, params, TOKENS)
  after = _score(scalar, moved, TOKENS)
  np.testing.assert_allclose(after - before, -1.25, atol=1e-5)
  again = _score(scalar, params, TOKENS)
  np.testing.assert_array_equal(before, again)  # the argument is as it was


def test_bfloat16_model_scores_in_float32():
  cfg = ModelConfig(
    vocab_size=23, layers=2, width=16, heads=2, max_length=16, dtype='bfloat16'
  )
  _, _, scalar, params = _models(cfg)
  params = heads.shift_bias(params, 1000.0)
  got = _score(scalar, params, TOKENS)
  assert got.dtype == jnp.float32
  # bfloat16 cannot hold 1000.3: the fraction survives only in float32.
  assert np.unique(np.asarray(got) % 1).size > 8


def test_a_score_ignores_padding_and_neighbours():
  _, _, scalar, params = _models()
  alone = _score(scalar, params, TOKENS[:1])
  wide = np.pad(TOKENS, ((0, 0), (4, 2)), constant_values=5)
  real = np.pad(np.ones_like(TOKENS), ((0, 0), (4, 2)))
  padded = _score(scalar, params, wide, real)
  np.testing.assert_allclose(padded[:1, 4:12], alone, atol=1e-5)


def test_trunks_of_different_models_are_refused_by_name():
  _, _, _, scalar_params = _models()
  other = ModelConfig(vocab_size=24, layers=2, width=16, heads=2, max_length=16)
  _, lm_params, _, _ = _models(other)
  with pytest.raises(ValueError, match=r'token_embedding.*\(24, 16\).*\(23'):
    heads.scalar_from_language(lm_params, scalar_params)
