"""Small networks, batches and states that the tests of steps share."""

import dataclasses
import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from configs.common import RULES
from instructgpt_jax import sharding
from instructgpt_jax.models import cache as kv_cache
from instructgpt_jax.models import decoder, heads
from instructgpt_jax.models.config import ModelConfig
from instructgpt_jax.steps import ppo, rollout
from instructgpt_jax.steps import state as state_lib
from instructgpt_jax.types import Comparisons, PpoState, Prompts, TokenBatch

V, P, R = 24, 5, 6
EOS = 3
STOP = jnp.arange(EOS + 1)  # no prompt holds one of these

# Large tables, so that distributions are far from uniform.
CFG = ModelConfig(
  vocab_size=V,
  layers=1,
  width=8,
  heads=2,
  max_length=32,
  embed_init=0.7,
  position_init=0.3,
)
LM = decoder.LanguageModel(CFG)
SCALAR = heads.ScalarModel(CFG)
NETWORKS = rollout.Networks(LM, SCALAR)


@functools.cache
def params(model: nn.Module, seed: int = 0):
  # Kept for all tests: real arrays even where a test asks in a trace.
  with jax.ensure_compile_time_eval():
    return decoder.init_params(model, jax.random.key(seed))


def adam(rate: float = 0.01) -> optax.GradientTransformation:
  # A large eps: the update is then a smooth function of the gradient, and
  # rounding does not flip the sign of a step.
  return optax.adam(rate, eps=1e-3)


class Fake(nn.Module):
  """A language model whose next token is `says(tokens, positions, cache)`.

  Hidden states are one-hot, the unembedding is `strength` times identity.
  """

  cfg: ModelConfig
  says: Callable

  def __call__(
    self,
    tokens,
    positions=None,
    segments=None,
    cache=None,
    deterministic=True,
    first=0,
  ):
    if cache is not None:
      cache, _ = kv_cache.advance(cache, segments > 0)
    following = self.says(tokens, positions, cache) % self.cfg.vocab_size
    return jax.nn.one_hot(following[:, first:], self.cfg.vocab_size), cache


def fake(says: Callable, *, strength: float = 100.0, vocab: int = V):
  """Returns (model, params) of a fake."""
  cfg = ModelConfig(
    vocab_size=vocab,
    layers=1,
    width=vocab,
    heads=1,
    max_length=64,
    tied=False,
  )
  return Fake(cfg, says), {'unembed': {'kernel': strength * jnp.eye(vocab)}}


def successor(tokens, positions, cache):
  return tokens + 1


class Bigram(nn.Module):
  """The smallest policy: what follows depends on the last token only."""

  cfg: ModelConfig

  @nn.compact
  def __call__(
    self,
    tokens,
    positions=None,
    segments=None,
    cache=None,
    deterministic=True,
    first=0,
  ):
    decoder.Unembedding(self.cfg, name='unembed')()
    shape = (self.cfg.vocab_size, self.cfg.width)
    table = self.param('table', nn.initializers.normal(1.0), shape)
    if cache is not None:
      cache, _ = kv_cache.advance(cache, segments > 0)
    return table[tokens[:, first:]], cache


class Bag(nn.Module):
  """The smallest scalar model: weights of the tokens so far, and a bias."""

  cfg: ModelConfig

  @nn.compact
  def __call__(
    self, tokens, positions=None, segments=None, deterministic=True, first=0
  ):
    init = nn.initializers.normal(0.3)
    weights = self.param('weights', init, (self.cfg.vocab_size,))
    bias = self.param('bias', nn.initializers.zeros, ())
    real = True if segments is None else segments > 0
    return (bias + jnp.where(real, weights[tokens], 0).cumsum(-1))[:, first:]


SMALL = rollout.Networks(Bigram(dataclasses.replace(CFG, tied=False)), Bag(CFG))


def prompts(rows: int = 4, seed: int = 0, length: int = P) -> Prompts:
  """Returns left-padded prompts of 1 to `length` tokens; pads are garbage."""
  rng = np.random.default_rng(seed)
  count = 1 + np.arange(rows) % length
  mask = np.arange(length) >= length - count[:, None]
  tokens = rng.integers(4, V, (rows, length)).astype(np.int32)
  return Prompts(tokens, mask, np.arange(rows, dtype=np.int32) + 100)


def text(rows: int = 4, seed: int = 0, length: int = 10) -> TokenBatch:
  """Returns rows of two packed segments and pads, of unequal lengths."""
  rng = np.random.default_rng(seed)
  first = 2 + np.arange(rows)[:, None] % 3
  end = first + 2 + np.arange(rows)[:, None] % (length - 6)
  at = np.arange(length)[None]
  segments = np.where(at < first, 1, np.where(at < end, 2, 0))
  positions = np.where(at < first, at, np.where(at < end, at - first, 0))
  learned = (segments > 0) & (positions > 0)
  tokens = rng.integers(0, V, (rows, length))
  return TokenBatch(
    tokens.astype(np.int32),
    learned,
    segments.astype(np.int32),
    positions.astype(np.int32),
  )


def comparisons(rows: int = 4, seed: int = 0, k: int = 4, length: int = 8):
  """Returns comparisons with ties, missing completions, unequal lengths."""
  rng = np.random.default_rng(seed)
  ends = rng.integers(2, length + 1, (rows, k))
  valid = np.arange(k)[None] < 2 + np.arange(rows)[:, None] % (k - 1)
  ranks = rng.integers(1, 4, (rows, k))
  ranks[:, :2] = [1, 2]  # one ordered pair at least
  return Comparisons(
    rng.integers(0, V, (rows, k, length)).astype(np.int32),
    np.arange(length) < ends[..., None],
    ranks.astype(np.int32),
    valid,
  )


def settings(**changes) -> ppo.PpoSettings:
  values = dict(
    minibatches=2,
    epochs=1,
    gamma=1.0,
    lam=0.95,
    clip=0.2,
    value_clip=0.2,
    ptx_coef=0.5,
    temperature=1.0,
    missing_eos_rule='none',
    missing_eos_value=-1.0,
    whiten=True,
    kl_target=None,
    kl_horizon=100.0,
    ema_decay=0.9,
    ratio_limit=10.0,
    critic_warmup=0,
    ngram=3,
    microbatches=1,
    ptx_microbatches=1,
    chunk=4,
  )
  return ppo.PpoSettings(**(values | changes))


OPTIMIZERS = ppo.Optimizers(adam(), adam(0.02))


def ppo_state(optimizers=OPTIMIZERS, networks=SMALL) -> PpoState:
  """Returns a state whose arrays nobody else holds: safe to donate."""
  lm, scalar = jax.tree.map(
    jnp.copy, (params(networks.policy), params(networks.reward, 1))
  )
  return PpoState(
    policy=state_lib.create(lm, optimizers.policy, ema=True),
    value=state_lib.create(scalar, optimizers.value),
    kl_coef=jnp.float32(0.1),
    iteration=jnp.int32(0),
    rng=jax.random.key(7),
  )


def mesh():
  """Eight emulated devices, every axis in use."""
  return sharding.make_mesh(2, 2, 2)


def lay_out(tree, boxed_fn: Callable, mesh):
  """Returns `tree` on the mesh, as `boxed_fn(key)` names its axes."""
  boxed = jax.eval_shape(boxed_fn, jax.random.key(0))
  return jax.device_put(tree, sharding.shardings(boxed, mesh, RULES))


def boxed_state(model, optimizer, ema=False) -> Callable:
  def make(key):
    boxed = decoder.init_params(model, key, boxed=True)
    return state_lib.create(boxed, optimizer, ema=ema)

  return make


def boxed_params(model) -> Callable:
  return lambda key: decoder.init_params(model, key, boxed=True)


def assert_close(a, b, *, rtol=1e-5, atol=1e-6):
  """Asserts two pytrees equal to rounding, naming the leaf that is not."""
  compare = functools.partial(np.testing.assert_allclose, rtol=rtol, atol=atol)
  _compare(compare, a, b)


def assert_same(a, b):
  """Asserts two pytrees equal bit for bit, naming the leaf that is not."""
  _compare(np.testing.assert_array_equal, a, b)


def _compare(compare: Callable, a, b):
  left, right = (jax.tree_util.tree_flatten_with_path(x) for x in (a, b))
  assert left[1] == right[1]
  for (path, x), (_, y) in zip(left[0], right[0], strict=True):
    compare(_host(x), _host(y), err_msg=jax.tree_util.keystr(path))


def _host(x) -> np.ndarray:
  is_key = jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
  return np.asarray(jax.random.key_data(x) if is_key else x)


def differ(a, b) -> bool:
  """Returns whether any leaf of two like trees differs."""
  return any(
    not np.array_equal(x, y)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  )
