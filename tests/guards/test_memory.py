"""Defects of memory: full-vocabulary logits of a batch, kept in fp32."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import pytest

from instructgpt_jax.steps import ppo, rollout
from instructgpt_jax.types import Frozen, Prompts, Rollout, TokenBatch
from tests.steps import toys

VOCABULARY = 50257
B, P, R = 16, 8, 128
LOGITS = 4 * B * R * VOCABULARY  # bytes: 412 MB
CFG = dataclasses.replace(
  toys.CFG, vocab_size=VOCABULARY, max_length=P + R, tied=False
)
NETWORKS = rollout.Networks(toys.Bigram(CFG), toys.Bag(CFG))
STOP = jax.ShapeDtypeStruct((1,), jnp.int32)


def _array(dtype, *shape):
  return jax.ShapeDtypeStruct(shape, dtype)


def _state():
  return jax.eval_shape(lambda: toys.ppo_state(networks=NETWORKS))


def _rollout(chunk):
  """Returns the compiled program that writes and measures B responses."""
  roll = functools.partial(
    rollout.rollout,
    networks=NETWORKS,
    sampling_settings=rollout.Sampling(R),
    reading=rollout.Reading(chunk=chunk),
  )
  state = _state()
  frozen = Frozen(state.policy.params, state.value.params)
  prompts = Prompts(
    _array(jnp.int32, B, P), _array(jnp.bool_, B, P), _array(jnp.int32, B)
  )
  return jax.jit(roll).lower(state, frozen, prompts, STOP).compile()


def _update(chunk):
  """Returns the compiled program that learns from them, in one minibatch."""
  learn = functools.partial(
    ppo.ppo_update,
    networks=NETWORKS,
    optimizers=toys.OPTIMIZERS,
    settings=toys.settings(minibatches=1, chunk=chunk),
  )
  length = P + R
  tokens, real = _array(jnp.int32, B, length), _array(jnp.bool_, B, length)
  floats = _array(jnp.float32, B, R)
  rolled = Rollout(
    tokens,
    real,
    _array(jnp.bool_, B, R),
    logp=floats,
    ref_logp=floats,
    values=floats,
    score=_array(jnp.float32, B),
  )
  text = TokenBatch(tokens, real, tokens, tokens)
  compiled = jax.jit(learn, donate_argnums=0)
  return compiled.lower(_state(), rolled, text, STOP).compile()


@pytest.mark.parametrize('program', [_rollout, _update])
def test_full_vocabulary_logits_are_never_kept(program):
  """fp32 logits of the whole rollout in memory (trl#3678, slime#2253)."""
  whole, cut = (
    program(chunk).memory_analysis().temp_size_in_bytes for chunk in (R, 4)
  )
  assert whole > LOGITS  # the measure sees them where they exist
  assert cut < LOGITS / 4
