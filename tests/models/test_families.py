"""Every family: its formula, and what must not change what it gives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from instructgpt_jax.evals.flops import layer_weights
from instructgpt_jax.models import cache as kv_cache
from instructgpt_jax.models import decoder, presets

from . import families, oracle, toys

every = pytest.mark.parametrize('family', families.SETTINGS)
TOKENS = np.random.default_rng(0).integers(0, 29, (3, 11)).astype(np.int32)
ONES = np.ones_like(TOKENS)


def _params(cfg):
  return toys.params(decoder.LanguageModel(cfg))


def _stack(params, layers=2):
  trunk = dict(params['trunk'])
  rows = [trunk.pop(f'layer_{i}') for i in range(layers)]
  trunk['layers'] = jax.tree.map(lambda *x: np.stack(x), *rows)
  return {**params, 'trunk': trunk}


@functools.partial(jax.jit, static_argnames=('cfg',))
def _logits(params, tokens, segments, cache=None, *, cfg):
  hidden, cache = decoder.LanguageModel(cfg).apply(
    {'params': params}, tokens, segments=segments, cache=cache
  )
  return decoder.logits(hidden, decoder.unembedding(params, cfg)), cache


@every
def test_it_is_its_formula(family):
  cfg = families.config(family)
  params = _params(cfg)
  got, _ = _logits(params, TOKENS, ONES, cfg=cfg)
  double = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
  for row, tokens in enumerate(TOKENS):
    want = oracle.logits(cfg, double, tokens)
    np.testing.assert_allclose(got[row], want, rtol=1e-4, atol=1e-4)


@every
def test_rows_padded_packed_scanned_and_cached_are_rows_alone(family):
  """One scanned program a family: rows alone come from the one above."""
  cfg = families.config(family, scan_layers=True)
  params = _stack(_params(cfg_unrolled := families.config(family)))
  alone, _ = _logits(_params(cfg_unrolled), TOKENS, ONES, cfg=cfg_unrolled)
  # Row 0 padded on the left, row 1 on the right, row 2 after another row.
  tokens = np.full((3, 17), 99, np.int32)
  segments = np.zeros_like(tokens)
  tokens[0, 6:], segments[0, 6:] = TOKENS[0], 1
  tokens[1, :11], segments[1, :11] = TOKENS[1], 1
  tokens[2, :6], segments[2, :6] = TOKENS[0, :6], 1
  tokens[2, 6:], segments[2, 6:] = TOKENS[2], 2
  got, _ = _logits(params, tokens, segments, cfg=cfg)
  assert np.isfinite(got).all()
  close = functools.partial(np.testing.assert_allclose, atol=5e-5)
  close(got[0, 6:], alone[0])
  close(got[1, :11], alone[1])
  close(got[2, 6:], alone[2])
  close(got[2, :6], alone[0, :6])
  # The first two once more: a prefill of 8, the rest one by one.
  tokens, segments = tokens[:2], segments[:2]
  cache = kv_cache.init_cache(cfg, 2, 19)
  found = []
  for at in (slice(0, 8), *(slice(t, t + 1) for t in range(8, 17))):
    y, cache = _logits(params, tokens[:, at], segments[:, at], cache, cfg=cfg)
    found.append(y)
  cached = np.concatenate(found, axis=1)
  close(cached[0, 6:], alone[0])
  close(cached[1, :11], alone[1])


@every
def test_what_is_asked_for_from_a_token_on_is_as_if_all_were(family):
  cfg = families.config(family)
  model, params = decoder.LanguageModel(cfg), _params(cfg)

  @functools.partial(jax.jit, static_argnames=('first', 'cached'))
  def hidden(params, first=0, cached=False):
    cache = kv_cache.init_cache(cfg, len(TOKENS), 12) if cached else None
    given = {'params': params}, TOKENS, None, ONES, cache
    return model.apply(*given, first=first)

  whole, _ = hidden(params)
  close = functools.partial(np.testing.assert_allclose, atol=1e-5)
  close(hidden(params, first=7)[0], whole[:, 7:])
  got, cache = hidden(params, first=10, cached=True)
  close(got, whole[:, 10:])
  jax.tree.map(close, cache, hidden(params, cached=True)[1])
  flops = [
    hidden.lower(params, first=n).cost_analysis()['flops'] for n in (0, 10)
  ]
  assert flops[1] < flops[0] - 10 / 11 * _last_layer(cfg)


def _last_layer(cfg) -> float:
  """Returns FLOPs of the queries, the output and the MLP of a layer."""
  of = layer_weights(cfg)
  queries = cfg.width * cfg.heads * cfg.head_size
  return 2 * TOKENS.size * (queries + of['out'] + of['mlp'] + of['end'])


@every
def test_every_weight_learns_from_fresh_ones_also_with_remat(family):
  cfg = families.config(family, embed_init=0.1)
  params = decoder.init_params(decoder.LanguageModel(cfg), jax.random.key(0))

  def loss(params, cfg):
    y, _ = _logits(params, TOKENS, ONES, cfg=cfg)
    logp = jax.nn.log_softmax(y[:, :-1])
    return -jnp.take_along_axis(logp, TOKENS[:, 1:, None], -1).mean()

  grad = jax.jit(jax.grad(loss), static_argnums=1)
  found = grad(params, cfg)
  for path, leaf in jax.tree_util.tree_leaves_with_path(found):
    name = jax.tree_util.keystr(path)
    if "['k']['bias']" in name and cfg.positions == 'learned':
      assert np.abs(leaf).max() < 1e-6  # shifts all scores of a query alike
    else:
      assert np.abs(leaf).max() > 1e-6, name
  if family not in ('gemma3', 'neox'):  # a program more, so only for two
    return
  again = grad(params, families.config(family, embed_init=0.1, remat='full'))
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5),
    found,
    again,
  )


@pytest.mark.parametrize('family', ['gpt3', 'neox', 'qwen3', 'gemma3'])
def test_bfloat16_is_close(family):
  want, _ = _logits(
    _params(families.config(family)), TOKENS, ONES, cfg=families.config(family)
  )
  cfg = families.config(family, dtype='bfloat16')
  got, _ = _logits(_params(cfg), TOKENS, ONES, cfg=cfg)
  spread = np.abs(want).mean()
  assert 0 < np.abs(got - want).mean() < 0.04 * spread


def test_a_gpt3_preset_alternates_dense_and_banded_layers():
  """The first layer sees token 0 from everywhere, the second 256 back."""
  cfg = presets.gpt3(
    '125m',
    vocab_size=29,
    layers=2,
    width=16,
    heads=2,
    max_length=300,
    windows=(0, 256),
    dtype='float32',
    remat='none',
    scan_layers=False,
  )
  params = _params(cfg)
  # Without what layer 0 adds, only layer 1 can carry token 0 anywhere.
  still = params['trunk']['layer_0']['attention']['out']
  banded = jax.tree.map(np.zeros_like, still)
  muted = {**params, 'trunk': dict(params['trunk'])}
  muted['trunk']['layer_0'] = dict(params['trunk']['layer_0'])
  muted['trunk']['layer_0']['attention'] = {
    **params['trunk']['layer_0']['attention'],
    'out': banded,
  }
  tokens = np.random.default_rng(1).integers(0, 29, (1, 300)).astype(np.int32)
  other = tokens.copy()
  other[0, 0] = (other[0, 0] + 1) % 29

  def changed(params):
    a, _ = _logits(params, tokens, np.ones_like(tokens), cfg=cfg)
    b, _ = _logits(params, other, np.ones_like(tokens), cfg=cfg)
    return np.abs(a - b)[0].max(-1) > 0

  seen = changed(muted)
  assert seen[:256].all() and not seen[256:].any()
  assert changed(params)[256:].all()
