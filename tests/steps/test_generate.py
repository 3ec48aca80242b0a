"""The two verbs: exact sampling with a fake model, and generate = analyze."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from instructgpt_jax.models import decoder
from instructgpt_jax.steps import reward, rollout
from instructgpt_jax.types import Prompts

from . import toys
from .toys import CFG, LM, SCALAR, STOP, P, R, V

NEVER = jnp.array([-1])


@functools.cache
def _generate(model=LM, **changes):
  values = dict(max_new_tokens=R, pad_id=0)
  return jax.jit(
    functools.partial(
      rollout.generate,
      model=model,
      sampling_settings=rollout.Sampling(**(values | changes)),
    )
  )


@functools.cache
def _analyze(prompt_length=P, temperature=1.0):
  return jax.jit(
    functools.partial(
      rollout.analyze,
      model=LM,
      prompt_length=prompt_length,
      temperature=temperature,
      chunk=4,
    )
  )


def _prompts(*rows):
  """Returns left-padded prompts of length 3; pads are 9."""
  tokens = np.full((len(rows), 3), 9, np.int32)
  mask = np.zeros((len(rows), 3), bool)
  for i, row in enumerate(rows):
    if row:
      tokens[i, -len(row) :], mask[i, -len(row) :] = row, True
  return Prompts(tokens, mask, np.arange(len(rows), dtype=np.int32))


def test_fake_model_counts_up_to_its_stop_token():
  model, params = toys.fake(toys.successor)
  prompts = _prompts([7, 5, 10], [17], [], [19])
  made = _generate(model)(params, prompts, jnp.array([20]), jax.random.key(0))
  pad = 0
  np.testing.assert_array_equal(
    made.tokens,
    [
      [7, 5, 10, 11, 12, 13, 14, 15, 16],  # full length, never ends
      [9, 9, 17, 18, 19, 20, pad, pad, pad],  # EOS is kept
      [9, 9, 9, pad, pad, pad, pad, pad, pad],  # empty prompt: nothing
      [9, 9, 19, 20, pad, pad, pad, pad, pad],  # EOS first
    ],
  )
  lengths = np.array([6, 3, 0, 1])
  expected = np.arange(R) < lengths[:, None]
  np.testing.assert_array_equal(made.response_mask, expected)
  np.testing.assert_array_equal(
    made.mask, np.concatenate([prompts.mask, expected], axis=1)
  )
  np.testing.assert_allclose(made.logp, 0, atol=1e-6)
  assert made.logp.dtype == jnp.float32


def test_masks_come_from_lengths_where_pad_equals_eos():
  model, params = toys.fake(toys.successor)
  prompts = _prompts([20, 20, 17], [20, 18])  # the pad id inside prompts too
  made = _generate(model, pad_id=20)(
    params, prompts, jnp.array([20]), jax.random.key(0)
  )
  np.testing.assert_array_equal(
    made.tokens[:, 3:], [[18, 19, 20, 20, 20, 20], [19, 20, 20, 20, 20, 20]]
  )
  np.testing.assert_array_equal(made.response_mask.sum(1), [3, 2])
  np.testing.assert_array_equal(made.mask.sum(1), [6, 4])


def test_positions_go_on_where_the_prompt_ended():
  model, params = toys.fake(lambda tokens, positions, cache: positions + 10)
  made = _generate(model)(
    params, _prompts([1, 2, 3], [4]), NEVER, jax.random.key(0)
  )
  np.testing.assert_array_equal(
    made.tokens[:, 3:], [np.arange(12, 18), np.arange(10, 16)]
  )


def test_cache_holds_the_real_tokens_only():
  def real(tokens, positions, cache):
    count = tokens * 0 if cache is None else cache.mask.sum(1, keepdims=True)
    return jnp.broadcast_to(count, tokens.shape)

  model, params = toys.fake(real)
  made = _generate(model)(
    params, _prompts([8, 2, 8], [8], [8, 8]), jnp.array([5]), jax.random.key(0)
  )
  # What is visible grows by one with each token, and stops with the row.
  np.testing.assert_array_equal(
    made.tokens[:, 3:],
    [[3, 4, 5, 0, 0, 0], [1, 2, 3, 4, 5, 0], [2, 3, 4, 5, 0, 0]],
  )


@pytest.mark.parametrize('temperature', [1.0, 0.7])
def test_logp_of_the_sampler_is_that_of_its_temperature(temperature):
  strength = 2.0
  model, params = toys.fake(toys.successor, strength=strength)
  made = _generate(model, temperature=temperature)(
    params, toys.prompts(8), NEVER, jax.random.key(1)
  )
  before, written = made.tokens[:, P - 1 : -1], made.tokens[:, P:]
  hit = np.asarray(written == (before + 1) % V)
  z = np.log(np.exp(strength / temperature) + V - 1)
  assert 0 < hit.mean() < 1
  np.testing.assert_allclose(
    made.logp, np.where(hit, strength / temperature, 0) - z, rtol=1e-5
  )


def test_greedy_is_the_argmax_of_full_forwards():
  params, prompts = toys.params(LM), toys.prompts(5)
  made = _generate(temperature=0)(params, prompts, NEVER, jax.random.key(0))

  @jax.jit
  def following(tokens, mask):
    hidden, _ = LM.apply(
      {'params': params},
      tokens,
      positions=jnp.maximum(jnp.cumsum(mask, 1) - 1, 0),
      segments=mask.astype(jnp.int32),
    )
    unembed = decoder.unembedding(params, CFG)
    return decoder.logits(hidden, unembed).argmax(-1)

  best = following(made.tokens, made.mask)
  np.testing.assert_array_equal(made.tokens[:, P:], best[:, P - 1 : -1])


@pytest.mark.parametrize('temperature', [1.0, 0.7])
def test_logp_of_generate_is_that_of_analyze(temperature):
  params, prompts = toys.params(LM), toys.prompts(8)
  made = _generate(temperature=temperature)(
    params, prompts, STOP, jax.random.key(3)
  )
  logp, entropy = _analyze(temperature=temperature)(
    params, made.tokens, made.mask
  )
  mask = np.asarray(made.response_mask)
  assert mask.any(1).all() and not mask.all()
  np.testing.assert_allclose(logp[mask], made.logp[mask], atol=1e-5)
  assert (np.asarray(entropy)[mask] > 0).all()
  other, _ = _analyze(temperature=1.7 - temperature)(
    params, made.tokens, made.mask
  )
  assert np.abs(np.asarray(other - logp)[mask]).max() > 0.05


def _wider(prompts: Prompts, rows, pads: int) -> Prompts:
  """Returns some rows with more garbage on their left."""
  extra = ((0, 0), (pads, 0))
  return Prompts(
    np.pad(prompts.tokens[rows], extra, constant_values=11),
    np.pad(prompts.mask[rows], extra),
    prompts.row_id[rows],
  )


def test_writing_depends_on_neither_neighbours_nor_padding_nor_batch_size():
  params, prompts = toys.params(LM), toys.prompts(8)
  key = jax.random.key(3)
  made = _generate()(params, prompts, STOP, key)
  rows = np.array([6, 1, 3])
  wide = _wider(prompts, rows, 3)
  other = _generate()(params, wide, STOP, key)
  np.testing.assert_array_equal(other.tokens[:, P + 3 :], made.tokens[rows, P:])
  np.testing.assert_array_equal(other.response_mask, made.response_mask[rows])
  np.testing.assert_allclose(other.logp, made.logp[rows], atol=1e-5)
  for found, alone in zip(
    _analyze(P + 3)(params, other.tokens, other.mask),
    _analyze()(params, made.tokens, made.mask),
    strict=True,
  ):
    mask = np.asarray(other.response_mask)
    np.testing.assert_allclose(found[mask], alone[rows][mask], atol=1e-5)


def test_rows_that_have_ended_are_left_behind():
  made = toys.prompts(8)
  stop_ids = jnp.arange(3, 10)  # about every fourth token
  whole, fewer = (
    _generate(halvings=n)(toys.params(LM), made, stop_ids, jax.random.key(1))
    for n in (0, 2)
  )
  np.testing.assert_array_equal(fewer.tokens, whole.tokens)
  np.testing.assert_array_equal(fewer.mask, whole.mask)
  np.testing.assert_allclose(fewer.logp, whole.logp, atol=1e-5)

  seen = []

  class Seen(toys.Fake):
    @nn.compact
    def __call__(self, tokens, **kwargs):
      jax.debug.callback(lambda x: seen.append(x.shape), tokens)
      return super().__call__(tokens, **kwargs)

  plain, params = toys.fake(toys.successor)
  prompts = _prompts([17], [18], [19], [19], [11], [19], [19], [19])
  settings = rollout.Sampling(R, halvings=2)
  write = functools.partial(rollout.generate, sampling_settings=settings)
  given = params, prompts, jnp.array([20]), jax.random.key(0)
  found = write(*given, model=Seen(plain.cfg, plain.says))
  jax.block_until_ready(found)
  jax.effects_barrier()
  assert seen == [(8, 3), (4, 1), *[(2, 1)] * (R - 2)]
  lengths = [3, 2, 1, 1, R, 1, 1, 1]
  np.testing.assert_array_equal(found.response_mask.sum(1), lengths)


def test_values_are_of_the_state_before_each_token():
  params = toys.params(SCALAR)
  made = _generate()(toys.params(LM), toys.prompts(4), STOP, jax.random.key(3))
  values = jax.jit(
    functools.partial(rollout.analyze_values, model=SCALAR, prompt_length=P)
  )(params, made.tokens, made.mask)
  score = jax.jit(functools.partial(reward.score, model=SCALAR))
  for t in (0, 2):
    before = made.mask & (np.arange(P + R) < P + t)
    np.testing.assert_allclose(
      values[:, t][made.response_mask[:, t]],
      score(params, made.tokens, before)[made.response_mask[:, t]],
      rtol=1e-4,
      atol=1e-5,
    )


@pytest.mark.parametrize('temperature', [0.0, 1.0])
def test_ids_that_stand_for_no_token_are_never_written(temperature):
  model, params = toys.fake(toys.successor)  # after 19 it says 20
  model = model.clone(cfg=dataclasses.replace(model.cfg, known_ids=20))
  prompts = _prompts([17], [19], [3])
  write = _generate(model, temperature=temperature)
  made = write(params, prompts, NEVER, jax.random.key(0))
  written = np.asarray(made.tokens)[:, 3:]
  assert written.max() < 20
  assert written[0, :2].tolist() == [18, 19]  # the others as before
  assert np.isfinite(made.logp).all()
