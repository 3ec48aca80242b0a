"""The decoder: masks, packing, padding, and settings that change nothing."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from instructgpt_jax.models import decoder
from instructgpt_jax.models.config import ModelConfig
from instructgpt_jax.types import Unembed

from . import toys

CFG = ModelConfig(
  vocab_size=37,
  layers=2,
  width=16,
  heads=4,
  max_length=24,
  embed_init=0.5,
  position_init=0.5,
  tied=False,
)
TOKENS = np.random.default_rng(0).integers(0, 37, (3, 10)).astype(np.int32)


def _params(cfg=CFG):
  return toys.params(decoder.LanguageModel(cfg))


@functools.partial(jax.jit, static_argnames=('cfg',))
def _hidden(params, tokens, positions=None, segments=None, *, cfg=CFG):
  model = decoder.LanguageModel(cfg)
  return model.apply({'params': params}, tokens, positions, segments)[0]


def _stack(params, layers=CFG.layers):
  """The params of the unrolled model as those of the scanned one."""
  trunk = dict(params['trunk'])
  rows = [trunk.pop(f'layer_{i}') for i in range(layers)]
  trunk['layers'] = jax.tree.map(lambda *x: jnp.stack(x), *rows)
  return {**params, 'trunk': trunk}


def test_a_token_sees_only_what_came_before():
  params = _params()
  later = TOKENS.copy()
  later[:, 6:] = (later[:, 6:] + 1) % 37
  a, b = _hidden(params, TOKENS), _hidden(params, later)
  np.testing.assert_array_equal(a[:, :6], b[:, :6])
  assert np.abs(a[:, 6] - b[:, 6]).min(-1).max() > 0
  earlier = TOKENS.copy()
  earlier[:, 0] = (earlier[:, 0] + 1) % 37
  assert (np.abs(a - _hidden(params, earlier)).max(-1) > 1e-4).all()


def test_packed_segments_are_separate_sequences():
  params, lengths = _params(), (4, 1, 3)
  segments = np.array([[1, 1, 1, 1, 2, 3, 3, 3, 0, 0]], np.int32)
  positions = np.array([[0, 1, 2, 3, 0, 0, 1, 2, 0, 0]], np.int32)
  packed = _hidden(params, TOKENS[:1], positions, segments)
  start = 0
  for length in lengths:
    part = slice(start, start + length)
    alone = _hidden(params, TOKENS[:1, part])
    np.testing.assert_allclose(packed[:, part], alone, atol=2e-5)
    start += length
  assert np.isfinite(packed).all()


@pytest.mark.parametrize('side', ['left', 'right'])
def test_padding_changes_nothing(side):
  params = _params()
  widths = ((0, 0), (5, 0) if side == 'left' else (0, 5))
  segments = np.pad(np.ones_like(TOKENS), widths)
  real = slice(5, None) if side == 'left' else slice(0, 10)
  alone = _hidden(params, TOKENS)
  # The id 999 is in no vocabulary: what stands in a pad must not matter.
  for pad in (0, 36, 999):
    tokens = np.pad(TOKENS, widths, constant_values=pad)
    padded = _hidden(params, tokens, None, segments)
    np.testing.assert_allclose(padded[:, real], alone, atol=2e-5)
    assert np.isfinite(padded).all()


def test_a_row_does_not_depend_on_its_neighbours():
  params = _params()
  others = np.concatenate([TOKENS[:1], (TOKENS[1:] + 5) % 37])
  a, b = _hidden(params, TOKENS), _hidden(params, others)
  np.testing.assert_array_equal(a[0], b[0])


def test_default_positions_restart_in_every_segment():
  segments = jnp.array([[1, 1, 2, 2, 2, 3, 0, 0], [0, 0, 1, 1, 1, 1, 1, 1]])
  got = decoder.default_positions(segments)
  np.testing.assert_array_equal(got[0, :6], [0, 1, 0, 1, 2, 0])
  np.testing.assert_array_equal(got[1, 2:], range(6))
  assert (got >= 0).all() and (got < 8).all()


def test_positions_matter():
  params = _params()
  moved = _hidden(params, TOKENS, jnp.arange(10)[None] + jnp.full((3, 1), 3))
  assert np.abs(moved - _hidden(params, TOKENS)).max() > 0.1


def test_scanned_layers_equal_unrolled_ones():
  scanned = dataclasses.replace(CFG, scan_layers=True)
  a = _hidden(_params(), TOKENS)
  b = _hidden(_stack(_params()), TOKENS, cfg=scanned)
  np.testing.assert_allclose(a, b, atol=2e-5)
  fresh = decoder.init_params(decoder.LanguageModel(scanned), jax.random.key(0))
  kernel = fresh['trunk']['layers']['mlp']['in']['kernel']
  assert np.abs(kernel[0] - kernel[1]).max() > 0.01  # a key for each layer


@pytest.mark.parametrize('scan', [False, True])
@pytest.mark.parametrize('remat', ['full', 'dots'])
def test_rematerialisation_changes_no_gradient(remat, scan):
  cfg = dataclasses.replace(CFG, scan_layers=scan)
  params = _stack(_params()) if scan else _params()

  def grad(cfg):
    loss = lambda p: jnp.sum(_hidden(p, TOKENS, cfg=cfg) ** 3)  # noqa: E731
    return jax.jit(jax.grad(loss))(params)

  want, got = grad(cfg), grad(dataclasses.replace(cfg, remat=remat))
  for a, b in zip(jax.tree.leaves(want), jax.tree.leaves(got), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)


def test_remat_recomputes():
  """The setting reaches the program: a full remat runs more products."""

  def products(remat):
    cfg = dataclasses.replace(CFG, remat=remat)
    loss = lambda p: _hidden(p, TOKENS, cfg=cfg).sum()  # noqa: E731
    return str(jax.make_jaxpr(jax.grad(loss))(_params())).count('dot_general')

  assert products('full') > products('dots') > products('none')


def test_bfloat16_is_close_and_keeps_weights_in_float32():
  cfg = dataclasses.replace(CFG, dtype='bfloat16')
  shapes = toys.shapes(decoder.LanguageModel(cfg))
  assert {x.dtype for x in jax.tree.leaves(shapes)} == {np.dtype('float32')}
  got = _hidden(_params(), TOKENS, cfg=cfg)
  assert got.dtype == jnp.bfloat16
  want = _hidden(_params(), TOKENS)
  error = np.abs(np.asarray(got, np.float32) - want)
  assert 0 < error.mean() < 0.02 * np.abs(want).mean()


def test_softmax_and_norms_are_float32_in_bfloat16():
  cfg = dataclasses.replace(CFG, dtype='bfloat16')
  program = jax.make_jaxpr(functools.partial(_hidden, cfg=cfg))(
    _params(), TOKENS
  )
  found = {'exp': 0, 'rsqrt': 0}
  for eqn in _equations(program.jaxpr):
    if eqn.primitive.name in found:
      found[eqn.primitive.name] += 1
      assert eqn.invars[0].aval.dtype == jnp.float32
  assert found['exp'] == CFG.layers
  assert found['rsqrt'] == 2 * CFG.layers + 1


def _equations(jaxpr):
  for eqn in jaxpr.eqns:
    yield eqn
    for value in eqn.params.values():
      inner = getattr(value, 'jaxpr', value)
      if hasattr(inner, 'eqns'):
        yield from _equations(inner)


@pytest.mark.parametrize('scan', [False, True])
def test_dropout_acts_only_in_training(scan):
  cfg = dataclasses.replace(CFG, dropout=0.3, scan_layers=scan)
  params = _stack(_params()) if scan else _params()
  model = decoder.LanguageModel(cfg)

  @functools.partial(jax.jit, static_argnames=('deterministic',))
  def run(seed, deterministic=False):
    return model.apply(
      {'params': params},
      TOKENS,
      deterministic=deterministic,
      rngs={'dropout': jax.random.key(seed)},
    )[0]

  off = run(1, deterministic=True)
  without = _hidden(params, TOKENS, cfg=dataclasses.replace(cfg, dropout=0.0))
  np.testing.assert_array_equal(off, without)
  np.testing.assert_array_equal(run(1), run(1))
  assert np.abs(run(1) - run(2)).max() > 0.1
  assert np.abs(run(1) - off).max() > 0.1


@pytest.mark.parametrize(('tied', 'scan'), [(True, True), (False, False)])
def test_every_parameter_gets_a_gradient_from_fresh_weights(tied, scan):
  cfg = dataclasses.replace(CFG, tied=tied, scan_layers=scan)
  params = decoder.init_params(decoder.LanguageModel(cfg), jax.random.key(0))

  @jax.jit
  @jax.grad
  def grad(params):
    hidden = _hidden(params, TOKENS, cfg=cfg)
    y = decoder.logits(hidden[:, :-1], decoder.unembedding(params, cfg))
    logp = jax.nn.log_softmax(y)
    return -jnp.take_along_axis(logp, TOKENS[:, 1:, None], -1).mean()

  for path, leaf in jax.tree_util.tree_leaves_with_path(grad(params)):
    name = jax.tree_util.keystr(path)
    if "['k']['bias']" in name:  # shifts all scores of a query alike
      assert np.abs(leaf).max() < 1e-6
    else:
      assert np.abs(leaf).max() > 1e-6, name
      if leaf.ndim == 3 + scan and 'kernel' in name:
        assert (np.abs(leaf) > 0).mean() > 0.99, name


def test_tied_and_untied_unembedding():
  assert 'unembed' not in _params(dataclasses.replace(CFG, tied=True))
  tied = dataclasses.replace(CFG, tied=True, dtype='bfloat16')
  got = decoder.unembedding(_params(tied), tied)
  table = _params(tied)['trunk']['token_embedding']
  assert got.matrix.dtype == jnp.bfloat16 and got.table
  np.testing.assert_array_equal(got.matrix, table.astype(jnp.bfloat16))
  own = decoder.unembedding(_params(), CFG)
  kernel = _params()['unembed']['kernel']
  np.testing.assert_array_equal(own.matrix, kernel)
  hidden = jnp.asarray(np.random.default_rng(0).normal(size=(2, CFG.width)))
  np.testing.assert_allclose(
    decoder.logits(hidden, own),
    decoder.logits(hidden, Unembed(kernel.T, table=True)),
    rtol=1e-5,
    atol=1e-6,
  )


def test_logits_are_float32_products():
  hidden = jnp.asarray([[1.0, 1e-3, 2.0]], jnp.bfloat16)
  unembed = jnp.asarray([[256.0], [1.0], [-128.0]], jnp.bfloat16)
  got = decoder.logits(hidden, Unembed(unembed))
  assert got.dtype == jnp.float32
  # 256 - 256 + 0.001: a bfloat16 sum would have lost the last term.
  assert float(got[0, 0]) == pytest.approx(1e-3, rel=0.01)


def test_without_biases_there_is_none():
  cfg = dataclasses.replace(CFG, use_bias=False, norm_bias=False)
  paths = jax.tree_util.tree_leaves_with_path(_params(cfg))
  assert not [p for p, _ in paths if 'bias' in jax.tree_util.keystr(p)]
  assert np.isfinite(_hidden(_params(cfg), TOKENS, cfg=cfg)).all()


def test_an_id_outside_the_vocabulary_is_not_trained_on_silently():
  tokens = TOKENS.copy()
  tokens[1, 4] = 37
  got = _hidden(_params(), tokens)
  assert np.isnan(got[1, 4:]).all() and np.isfinite(got[0]).all()


def test_padding_of_the_vocabulary_is_zero_and_changes_no_other_weight():
  cfg = dataclasses.replace(CFG, tied=False, layers=1)
  wide = dataclasses.replace(cfg, vocab_multiple=16)
  assert (wide.vocab_rows, cfg.vocab_rows) == (48, 37)
  narrow, padded = (
    decoder.init_params(decoder.LanguageModel(c), jax.random.key(1))
    for c in (cfg, wide)
  )
  for root, name, axis in (
    ('trunk', 'token_embedding', 0),
    ('unembed', 'kernel', 1),
  ):
    table = np.asarray(padded[root].pop(name))
    real, rest = np.split(table, [37], axis)
    np.testing.assert_array_equal(real, narrow[root].pop(name))
    assert rest.shape[axis] == 11 and not rest.any()
  jax.tree.map(np.testing.assert_array_equal, padded, narrow)


def test_an_id_in_the_padding_is_outside_the_vocabulary():
  cfg = dataclasses.replace(CFG, vocab_multiple=16)
  tokens = TOKENS.copy()
  tokens[1, 4] = 37
  got = _hidden(_params(cfg), tokens, cfg=cfg)
  assert np.isnan(got[1, 4:]).all() and np.isfinite(got[0]).all()


def test_a_row_longer_than_the_positions_is_refused():
  with pytest.raises(ValueError, match=r'25 tokens exceeds max_length = 24'):
    _hidden(_params(), np.zeros((1, 25), np.int32))
