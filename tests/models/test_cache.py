"""Decoding with a cache gives what one full forward gives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from instructgpt_jax.models import cache as kv_cache
from instructgpt_jax.models import decoder
from instructgpt_jax.models.config import ModelConfig

from . import families, toys

TOKENS = np.random.default_rng(0).integers(0, 29, (3, 11)).astype(np.int32)
PREFILL, SLOTS = 6, 13


def _config(scan=False, dtype='float32', **settings):
  return ModelConfig(
    vocab_size=29,
    layers=3,
    width=16,
    heads=4,
    max_length=64,
    embed_init=0.5,
    position_init=0.5,
    scan_layers=scan,
    dtype=dtype,
    **settings,
  )


def _params(cfg):
  return toys.params(decoder.LanguageModel(cfg))


def _run(tokens, segments, cache=None, *, cfg):
  return _apply(_params(cfg), tokens, segments, cache, cfg=cfg)


@functools.partial(jax.jit, static_argnames=('cfg',))
def _apply(params, tokens, segments, cache, *, cfg):
  model = decoder.LanguageModel(cfg)
  return model.apply({'params': params}, tokens, segments=segments, cache=cache)


def _decode(cfg, tokens, segments):
  """Prefill, then one token at a time."""
  cache = kv_cache.init_cache(cfg, len(tokens), SLOTS)
  hidden, cache = _run(
    tokens[:, :PREFILL], segments[:, :PREFILL], cache, cfg=cfg
  )
  parts = [hidden]
  for t in range(PREFILL, tokens.shape[1]):
    at = slice(t, t + 1)
    hidden, cache = _run(tokens[:, at], segments[:, at], cache, cfg=cfg)
    parts.append(hidden)
  return jnp.concatenate(parts, axis=1), cache


@pytest.mark.parametrize('scan', [False, True])
def test_cached_is_full(scan):
  cfg, segments = _config(scan), np.ones_like(TOKENS)
  full, none = _run(TOKENS, segments, cfg=cfg)
  cached, cache = _decode(cfg, TOKENS, segments)
  assert none is None
  np.testing.assert_allclose(cached, full, atol=2e-5)
  assert int(cache.length) == 11
  np.testing.assert_array_equal(cache.mask, np.arange(SLOTS)[None] < [[11]] * 3)


@pytest.mark.parametrize('scan', [False, True])
def test_left_padded_prompts_decode_as_if_alone(scan):
  cfg, pads = _config(scan), (0, 3, 5)
  segments = np.ones_like(TOKENS)
  for row, pad in enumerate(pads):
    segments[row, :pad] = 0
  cached, cache = _decode(cfg, TOKENS, segments)
  assert np.isfinite(cached).all()
  for row, pad in enumerate(pads):
    alone, _ = _run(
      TOKENS[row : row + 1, pad:], segments[row : row + 1, pad:], cfg=cfg
    )
    np.testing.assert_allclose(cached[row, pad:], alone[0], atol=2e-5)
    np.testing.assert_array_equal(cache.mask[row, :pad], False)


def test_a_finished_row_leaves_others_and_its_own_past_alone():
  """After EOS a row goes on with segment 0; nothing may see those slots."""
  cfg, segments = _config(), np.ones_like(TOKENS)
  want, _ = _decode(cfg, TOKENS, segments)
  segments[1, 7:9] = 0
  got, cache = _decode(cfg, TOKENS, segments)
  np.testing.assert_allclose(got[::2], want[::2], atol=2e-5)
  np.testing.assert_allclose(got[1, :7], want[1, :7], atol=2e-5)
  np.testing.assert_array_equal(
    cache.mask[1], [1] * 7 + [0] * 2 + [1] * 2 + [0] * 2
  )


def test_prefill_in_two_parts_is_prefill_in_one():
  cfg, segments = _config(), np.ones_like(TOKENS)
  empty = kv_cache.init_cache(cfg, 3, SLOTS)
  whole, a = _run(TOKENS, segments, empty, cfg=cfg)
  _, b = _run(TOKENS[:, :4], segments[:, :4], empty, cfg=cfg)
  second, b = _run(TOKENS[:, 4:], segments[:, 4:], b, cfg=cfg)
  np.testing.assert_allclose(whole[:, 4:], second, atol=2e-5)
  np.testing.assert_allclose(a.k, b.k, atol=2e-5)
  np.testing.assert_allclose(a.v, b.v, atol=2e-5)


def test_bfloat16_cache_is_close():
  cfg = _config(dtype='bfloat16')
  cached, cache = _decode(cfg, TOKENS, np.ones_like(TOKENS))
  assert {x.dtype.name for x in (*cache.k, *cache.v)} == {'bfloat16'}
  full, _ = _run(TOKENS, np.ones_like(TOKENS), cfg=cfg)
  error = jnp.abs(cached.astype(jnp.float32) - full.astype(jnp.float32))
  assert error.mean() < 0.01


@pytest.mark.parametrize('family', ['gpt2', 'gemma3'])
@pytest.mark.parametrize('scan', [False, True])
def test_a_decode_step_updates_a_donated_cache_in_place(scan, family):
  """No second copy: temporaries stay below one role's array, or, of layers
  that are not scanned, below that of one layer, which is not even sliced.
  (With one kv head XLA for CPUs drops that axis, and copies to do so.)
  """
  settings = families.SETTINGS.get(family, {}) | {'kv_heads': 2}
  cfg = ModelConfig(
    vocab_size=29,
    layers=8,
    width=64,
    heads=4,
    max_length=512,
    scan_layers=scan,
    **settings,
  )
  model = decoder.LanguageModel(cfg)
  cache = kv_cache.init_cache(cfg, 4, 512)

  def steps(params, token, cache):
    def body(_, carry):
      token, cache = carry
      hidden, cache = model.apply({'params': params}, token, cache=cache)
      y = decoder.logits(hidden[:, 0], decoder.unembedding(params, cfg))
      return jnp.argmax(y, -1)[:, None], cache

    return jax.lax.fori_loop(0, 5, body, (token, cache))

  params = _params(cfg)
  token = jnp.zeros((4, 1), jnp.int32)
  compiled = jax.jit(steps, donate_argnums=2).lower(params, token, cache)
  memory = compiled.compile().memory_analysis()
  role = sum(x.nbytes for x in jax.tree.leaves(cache.k))
  allowed = role if scan else role / cfg.layers
  assert memory.temp_size_in_bytes < allowed
  assert memory.alias_size_in_bytes >= 2 * role


def test_sizes_that_do_not_fit_are_refused():
  cfg = _config()
  with pytest.raises(ValueError, match=r'65 slots exceeds max_length = 64'):
    kv_cache.init_cache(cfg, 1, 65)
  cache = kv_cache.init_cache(cfg, 3, 8)
  with pytest.raises(ValueError, match=r'11 tokens do not fit.* 8 slots'):
    _run(TOKENS, np.ones_like(TOKENS), cache, cfg=cfg)
