"""Meshes, layouts, and that a mesh changes no result."""

import contextlib
import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import AbstractMesh
from jax.sharding import PartitionSpec as P

from configs.common import RULES
from instructgpt_jax import optimizers, placement, sharding
from instructgpt_jax.models import cache as kv_cache
from instructgpt_jax.models import decoder, heads
from instructgpt_jax.models.config import ModelConfig
from instructgpt_jax.models.lora import LoraSettings
from tests.models import families, toys

SMALL = {'layers': 2, 'width': 16, 'heads': 4, 'max_length': 16}
TOKENS = np.random.default_rng(0).integers(0, 47, (8, 12)).astype(np.int32)


def test_the_rest_of_the_devices_goes_to_the_open_axis():
  mesh = sharding.make_mesh(fsdp=2, tensor=2)
  assert dict(mesh.shape) == {'replica': 1, 'data': 2, 'fsdp': 2, 'tensor': 2}
  one = sharding.make_mesh(devices=jax.devices()[:1])
  assert set(one.shape.values()) == {1}
  assert sharding.make_mesh(2, -1, 1).shape['fsdp'] == 4


@pytest.mark.parametrize('sizes', [(2, 2, 1), (16, 1, 1)])
def test_sizes_that_do_not_use_the_devices_are_refused(sizes):
  with pytest.raises(ValueError, match='8 devices exactly'):
    sharding.make_mesh(*sizes)


def test_a_size_that_does_not_divide_is_named_with_those_that_do():
  wanted = (
    '-1 x 3 x 1: 3 does not divide the 8 devices: the sizes but for -1 can '
    'make 1, 2, 4, 8'
  )
  with pytest.raises(ValueError, match=wanted):
    sharding.make_mesh(-1, 3, 1)
  with pytest.raises(ValueError, match='16 does not divide the 8 devices'):
    sharding.make_mesh(2, -1, 8)


@pytest.mark.parametrize('sizes', [(-1, -1, 1), (0, 8, 1), (-2, 4, 1)])
def test_sizes_that_mean_nothing_are_refused(sizes):
  with pytest.raises(ValueError, match='only one may be -1'):
    sharding.make_mesh(*sizes)


def _specs(cfg, mesh, model=decoder.LanguageModel):
  layout = sharding.shardings(toys.shapes(model(cfg), boxed=True), mesh, RULES)
  return jax.tree.map(lambda s: s.spec, layout)


def test_weights_lie_as_the_rules_say():
  mesh = sharding.make_mesh(2, 2, 2)
  cfg = ModelConfig(vocab_size=48, **SMALL, tied=False, scan_layers=True)
  specs = _specs(cfg, mesh)
  layer = specs['trunk']['layers']
  assert specs['trunk']['token_embedding'] == P('tensor', 'fsdp')
  assert specs['trunk']['position_embedding'] == P(None, 'fsdp')
  assert specs['unembed']['kernel'] == P('fsdp', 'tensor')
  assert layer['attention']['q']['kernel'] == P(None, 'fsdp', 'tensor')
  assert layer['attention']['q']['bias'] == P(None, 'tensor')
  assert layer['attention']['out']['kernel'] == P(None, 'tensor', None, 'fsdp')
  assert layer['mlp']['in']['kernel'] == P(None, 'fsdp', 'tensor')
  assert layer['mlp']['out']['kernel'] == P(None, 'tensor', 'fsdp')
  assert layer['mlp_norm']['scale'] == P()
  scalar = _specs(cfg, mesh, heads.ScalarModel)
  assert scalar['head'] == {'kernel': P(), 'bias': P()}


def test_an_axis_that_does_not_divide_stays_whole():
  cfg = ModelConfig(vocab_size=47, **SMALL)
  specs = _specs(cfg, sharding.make_mesh(2, 2, 2))
  assert specs['trunk']['token_embedding'] == P(None, 'fsdp')


@pytest.mark.parametrize('tied', [True, False])
def test_padding_lets_the_vocabulary_of_gpt2_divide(tied):
  cfg = ModelConfig(vocab_size=50257, **SMALL, tied=tied)
  ways = [2**n for n in range(1, 8)]  # 2 to 128 devices
  meshes = [AbstractMesh((1, 1, 1, n), sharding.AXES) for n in ways]
  for vocab_multiple, spec in ((1, P()), (128, P('tensor'))):
    padded = dataclasses.replace(cfg, vocab_multiple=vocab_multiple)
    for mesh in meshes:
      specs = _specs(padded, mesh)
      assert specs['trunk']['token_embedding'] == spec
      if not tied:
        assert specs['unembed']['kernel'] == P(*([None] * len(spec)), *spec)


def test_every_logical_name_of_a_model_has_a_rule():
  cfg = ModelConfig(vocab_size=48, **SMALL, tied=False, scan_layers=True)
  known = {name for name, _ in RULES}
  for model in (decoder.LanguageModel(cfg), heads.ScalarModel(cfg)):
    boxed = toys.shapes(model, boxed=True)
    is_box = lambda x: isinstance(x, nn.meta.AxisMetadata)  # noqa: E731
    for box in jax.tree.leaves(boxed, is_leaf=is_box):
      if is_box(box):
        assert len(box.names) == box.value.ndim
        assert set(box.names) <= known


def test_put_batch_splits_rows_over_data_and_fsdp():
  mesh = sharding.make_mesh(2, 2, 2)
  batch = placement.put_batch({'tokens': TOKENS, 'row': np.arange(8)}, mesh)
  np.testing.assert_array_equal(batch['tokens'], TOKENS)
  assert batch['row'].sharding == placement.batch_sharding(mesh)
  shards = {s.data.shape for s in batch['tokens'].addressable_shards}
  assert shards == {(2, 12)}


def test_a_batch_that_does_not_divide_is_refused():
  mesh = sharding.make_mesh(4, 2, 1)
  with pytest.raises(
    ValueError, match='batch 30 is not divisible by data x fsdp = 8'
  ):
    placement.put_batch(np.zeros((30, 4)), mesh)


def _train(mesh, cfg, steps=3):
  """Trains a little on `mesh`; returns the losses, params, cached hidden."""
  model = decoder.LanguageModel(cfg)
  optimizer = optimizers.make_optimizer(
    schedule=optimizers.schedule('constant', 1e-2, 10),
    b1=0.9,
    b2=0.95,
    eps=1e-3,  # a gradient that is 0 but for rounding must not decide
    weight_decay=0.1,
    clip_norm=1.0,
    moments_dtype='float32',
  )

  def init(key):
    params = decoder.init_params(model, key, boxed=True)
    return params, optimizer.init(params)

  def step(params, state, tokens, key):
    def loss(params):
      hidden, _ = model.apply(
        {'params': params},
        tokens,
        deterministic=False,
        rngs={'dropout': key},
      )
      y = decoder.logits(hidden, decoder.unembedding(params, cfg))
      logp = jax.nn.log_softmax(y[:, :-1])
      return -jnp.take_along_axis(logp, tokens[:, 1:, None], -1).mean()

    value, grads = jax.value_and_grad(loss)(params)
    updates, state = optimizer.update(grads, state, params)
    return optax.apply_updates(params, updates), state, value

  def prefill(params, tokens):
    cache = kv_cache.init_cache(cfg, *tokens.shape)
    return model.apply({'params': params}, tokens, cache=cache)

  losses = []
  with sharding.use(mesh, RULES):
    params, state = sharding.create(init, mesh, RULES, jax.random.key(0))
    made = [x.sharding for x in jax.tree.leaves((params, state))]
    tokens = placement.put_batch(TOKENS, mesh)
    train = jax.jit(step, donate_argnums=(0, 1))
    for i in range(steps):
      params, state, loss = train(params, state, tokens, jax.random.key(i))
      losses.append(float(loss))
    for old, new in zip(made, jax.tree.leaves((params, state)), strict=True):
      assert old == new.sharding
    assert train._cache_size() == 1  # later steps compile nothing new
    moments = optax.tree.get(state, 'mu')['trunk']['token_embedding']
    assert moments.sharding == params['trunk']['token_embedding'].sharding
    hidden, cache = jax.jit(prefill)(params, tokens)
  return losses, jax.device_get(params), np.asarray(hidden), cache


@contextlib.contextmanager
def _no_compilation_cache():
  """A program read back from the cache is not partitioned, so cannot warn."""
  jax.config.update('jax_enable_compilation_cache', False)
  compilation_cache.reset_cache()  # it has noted that it is in use
  jax.clear_caches()
  try:
    yield
  finally:
    jax.config.update('jax_enable_compilation_cache', True)
    compilation_cache.reset_cache()


@pytest.mark.parametrize(
  ('vocab', 'settings'),
  [
    (48, {'scan_layers': True, 'remat': 'full', 'tied': False}),
    (47, {'scan_layers': False, 'tied': True}),
    # A kv head less than the axis, and what stands beside it; a padded table.
    (
      47,
      families.SETTINGS['gemma3']
      | {'scan_layers': True, 'mlp_width': 24, 'vocab_multiple': 2},
    ),
  ],
)
def test_two_by_two_by_two_is_one_device(vocab, settings, capfd):
  cfg = ModelConfig(
    vocab_size=vocab, **SMALL, **settings, embed_init=0.2, dropout=0.1
  )
  one = _train(sharding.make_mesh(devices=jax.devices()[:1]), cfg)
  capfd.readouterr()
  with _no_compilation_cache():
    eight = _train(sharding.make_mesh(2, 2, 2), cfg)
  # XLA says so on stderr when it has to replicate a tensor to reshard it.
  assert 'rematerialization' not in capfd.readouterr().err
  np.testing.assert_allclose(one[0], eight[0], rtol=1e-5)
  for a, b in zip(
    jax.tree.leaves(one[1]), jax.tree.leaves(eight[1]), strict=True
  ):
    np.testing.assert_allclose(a, b, atol=1e-4)
  np.testing.assert_allclose(one[2], eight[2], atol=1e-3)
  layer, *_ = jax.tree.leaves(eight[3].k)
  spec = layer.sharding.spec[layer.ndim - 4 :]
  if cfg.kv_heads > 1:
    assert spec[:2] == (('data', 'fsdp'), 'tensor')
  else:  # left whole: every device of the tensor axis has the one kv head
    assert spec[0] == ('data', 'fsdp') and spec[1:2] in ((), (None,))


def test_the_warning_would_be_seen(capfd):
  """The same lookup with the table left sharded both ways does warn."""

  def lookup(table, tokens):
    x = jnp.take(table, tokens, axis=0)
    return jax.lax.with_sharding_constraint(x, P(('data', 'fsdp')))

  mesh = sharding.make_mesh(2, 2, 2)
  with _no_compilation_cache(), sharding.use(mesh, RULES):
    table = jax.device_put(
      np.zeros((48, 16), np.float32),
      jax.sharding.NamedSharding(mesh, P('tensor', 'fsdp')),
    )
    jax.jit(lookup).lower(table, placement.put_batch(TOKENS, mesh)).compile()
  assert 'rematerialization' in capfd.readouterr().err


@pytest.mark.parametrize('family', ['llama', 'gemma2'])
def test_kv_heads_fewer_than_the_tensor_axis(family):
  """Four query heads on four devices, two kv heads on all of them."""
  cfg = families.config(family, lora=LoraSettings(2, targets=('k', 'mlp_in')))
  model, tokens = decoder.LanguageModel(cfg), TOKENS % 29
  params = toys.params(model)
  run = jax.jit(lambda p, t: model.apply({'params': p}, t)[0])
  want = run(params, tokens)
  with sharding.use(sharding.make_mesh(2, 1, 4), RULES) as mesh:
    layout = sharding.shardings(toys.shapes(model, boxed=True), mesh, RULES)
    layer = layout['trunk']['layer_0']['attention']
    assert layer['q']['kernel'].spec == P(None, 'tensor')
    assert layer['k']['kernel'].spec == P()
    placed = jax.device_put(params, layout)
    got = run(placed, placement.put_batch(tokens, mesh))
  np.testing.assert_allclose(got, want, atol=2e-5)


def test_one_row_works_on_eight_devices():
  """What does not divide is left whole, in activations as in weights."""
  cfg = ModelConfig(vocab_size=47, **(SMALL | {'layers': 1}))
  model = decoder.LanguageModel(cfg)
  params = decoder.init_params(model, jax.random.key(0))
  want, _ = model.apply({'params': params}, TOKENS[:1])
  with sharding.use(sharding.make_mesh(2, 2, 2), RULES):
    got, _ = jax.jit(lambda p, t: model.apply({'params': p}, t))(
      params, TOKENS[:1]
    )
    again = decoder.init_params(model, jax.random.key(0))
  np.testing.assert_allclose(got, want, atol=2e-5)
  jax.tree.map(np.testing.assert_array_equal, params, again)
