"""PPO-ptx updates: ratios, counts, one combined gradient, guards, meshes."""

import dataclasses
import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from instructgpt_jax import sharding
from instructgpt_jax.models import decoder
from instructgpt_jax.steps import ppo, rollout, sft
from instructgpt_jax.types import Experience, Rollout, TokenBatch

from . import toys
from .toys import LM, NETWORKS, SCALAR, SMALL, STOP, R

ROWS = 8
SGD = ppo.Optimizers(optax.sgd(1.0), optax.sgd(1.0))
STILL = ppo.Optimizers(optax.sgd(0.0), optax.sgd(0.0))


@functools.cache
def made(networks=SMALL) -> Rollout:
  """Returns a rollout of the first policy; the reference is another one."""
  state = toys.ppo_state(networks=networks)
  frozen = rollout.Frozen(toys.params(networks.policy, 5), state.value.params)
  roll = functools.partial(
    rollout.rollout,
    networks=networks,
    sampling_settings=rollout.Sampling(R),
    chunk=4,
  )
  return jax.jit(roll)(state, frozen, toys.prompts(ROWS), STOP)[0]


@functools.cache
def update(optimizers=toys.OPTIMIZERS, networks=SMALL, donate=False, **changes):
  return jax.jit(
    functools.partial(
      ppo.ppo_update,
      networks=networks,
      optimizers=optimizers,
      settings=toys.settings(**changes),
    ),
    donate_argnums=0 if donate else (),
  )


@functools.cache
def minibatch_step(optimizers=toys.OPTIMIZERS, **changes):
  return jax.jit(
    functools.partial(
      ppo.ppo_minibatch_step,
      networks=SMALL,
      optimizers=optimizers,
      settings=toys.settings(**changes),
    )
  )


@functools.cache
def gradients(networks=SMALL, **changes):
  return jax.jit(
    functools.partial(
      ppo.policy_gradients,
      networks=networks,
      settings=toys.settings(**changes),
      key=jax.random.key(0),
    )
  )


@functools.cache
def experience(networks=SMALL) -> Experience:
  make = functools.partial(ppo.make_experience, settings=toys.settings())
  return jax.jit(make)(made(networks), STOP, jnp.float32(0.1))[0]


def batch(pretrain=True, networks=SMALL) -> ppo.Minibatch:
  text = toys.text(ROWS) if pretrain else None
  return ppo.Minibatch(experience(networks), text)


FIRST = {'ratio': 1, 'approxkl': 0, 'clipfrac': 0, 'ratio_var': 0}


def test_first_minibatch_of_a_decoder_has_ratio_one():
  params = toys.params(LM)
  _, metrics = gradients(NETWORKS)(params, batch(False, NETWORKS))
  for name, expected in FIRST.items():
    found = metrics[f'ppo/policy/{name}'].value()
    np.testing.assert_allclose(found, expected, atol=1e-6, err_msg=name)


def test_first_minibatch_has_ratio_exactly_one_and_later_ones_do_not():
  state, metrics = minibatch_step()(toys.ppo_state(), batch())
  for name, expected in FIRST.items():
    assert metrics[f'ppo/policy/{name}'].value() == expected, name
  _, metrics = minibatch_step()(state, batch())
  assert metrics['ppo/policy/approxkl'].value() > 1e-5
  assert metrics['ppo/policy/ratio_var'].value() > 1e-5


@pytest.mark.parametrize('minibatches, epochs', [(2, 2), (4, 1)])
def test_updates_are_epochs_times_minibatches(minibatches, epochs):
  n = minibatches * epochs
  pretrain = toys.text(ROWS * epochs)
  state, metrics = update(minibatches=minibatches, epochs=epochs)(
    toys.ppo_state(), made(), pretrain, STOP
  )
  for network in (state.policy, state.value):
    assert int(network.step) == n
    assert int(optax.tree.get(network.opt_state, 'count')) == n
  assert int(state.iteration) == 1
  # Every row is learned from once an epoch, every row of text once.
  tokens = int(made().response_mask.sum())
  assert metrics['ppo/policy/ratio'].weight == epochs * tokens
  assert metrics['ppo/loss/value'].weight == epochs * tokens
  assert metrics['ppo/loss/pretrain'].weight == pretrain.loss_mask.sum()


def test_each_epoch_sees_every_row_once_in_a_new_order():
  settings = dict(minibatches=4, epochs=2, gamma=0.9, whiten=False)
  rows = []

  class Seen(toys.Bag):
    @nn.compact
    def __call__(self, tokens, **kwargs):
      jax.debug.callback(rows.append, tokens)
      return super().__call__(tokens, **kwargs)

  networks = rollout.Networks(SMALL.policy, Seen(toys.CFG))
  args = made(), None, STOP
  state = toys.ppo_state(STILL)
  jax.block_until_ready(
    update(STILL, networks=networks, **settings)(state, *args)
  )
  jax.effects_barrier()
  row = lambda tokens: tokens.tobytes()  # noqa: E731
  expected = sorted(map(row, np.asarray(made().tokens)))
  seen = [list(map(row, np.asarray(part))) for part in rows]
  assert [len(part) for part in seen] == [2] * 8
  first, second = (
    list(itertools.chain(*part)) for part in (seen[:4], seen[4:])
  )
  assert sorted(first) == sorted(second) == expected
  assert first != second


def test_ptx_is_one_gradient_and_one_update():
  state = toys.ppo_state()
  coef, params = 0.5, state.policy.params
  both, metrics = gradients(ptx_coef=coef)(params, batch())
  alone, _ = gradients()(params, batch(False))

  def loss(params, text):
    mean = sft.token_loss(params, text, model=SMALL.policy, chunk=4)
    return mean.value()

  learned = jax.jit(jax.grad(loss))(params, toys.text(ROWS))
  expected = jax.tree.map(lambda a, b: a + coef * b, alone, learned)
  toys.assert_close(both, expected)
  assert 'ppo/loss/pretrain' in metrics
  optimizer = toys.OPTIMIZERS.policy
  step = jax.jit(lambda g: optimizer.update(g, state.policy.opt_state)[0])
  moved = optax.apply_updates(state.policy.params, step(expected))
  after, _ = minibatch_step()(state, batch())
  toys.assert_close(after.policy.params, moved, atol=1e-5)
  assert int(after.policy.step) == 1
  assert int(optax.tree.get(after.policy.opt_state, 'count')) == 1


def test_ptx_coefficient_turns_the_direction_under_adam():
  state = toys.ppo_state()

  def direction(coef, pretrain=True):
    after, _ = minibatch_step(ptx_coef=coef)(state, batch(pretrain))
    delta = jax.tree.map(jnp.subtract, after.policy.params, state.policy.params)
    flat = np.concatenate([np.ravel(x) for x in jax.tree.leaves(delta)])
    return flat / np.linalg.norm(flat)

  assert direction(0.5) @ direction(5.0) < 0.99
  np.testing.assert_array_equal(direction(0.0), direction(0.0, False))


def test_microbatches_change_nothing():
  lengths = made().response_mask.sum(1).tolist()
  assert len(set(lengths)) > 1
  one, four = (
    minibatch_step(SGD, microbatches=m)(toys.ppo_state(SGD), batch())
    for m in (1, 4)
  )
  toys.assert_close(one, four, rtol=1e-4, atol=1e-5)


def test_policy_average_follows_every_update():
  state = toys.ppo_state()
  after, _ = minibatch_step()(state, batch())
  expected = jax.tree.map(
    lambda old, new: 0.9 * old + 0.1 * new,
    state.policy.ema,
    after.policy.params,
  )
  toys.assert_close(after.policy.ema, expected)
  assert after.value.ema is None


@pytest.mark.parametrize('limit', [0.5, float('nan')])
def test_a_minibatch_too_far_from_its_policy_moves_no_policy(limit):
  state, rows = toys.ppo_state(), batch()
  if np.isnan(limit):
    broken = experience().rollout.logp.at[0, 0].set(jnp.nan)
    rows = rows.replace(
      experience=experience().replace(
        rollout=experience().rollout.replace(logp=broken)
      )
    )
    limit = 10.0
  after, metrics = minibatch_step(ratio_limit=limit)(state, rows)
  toys.assert_same(after.policy, state.policy)
  assert metrics['ppo/policy/skipped'].value() == 1
  assert int(after.value.step) == 1
  assert toys.differ(after.value.params, state.value.params)
  fine, metrics = minibatch_step()(state, batch())
  assert metrics['ppo/policy/skipped'].value() == 0
  assert toys.differ(fine.policy.params, state.policy.params)


def test_critic_warmup_moves_the_value_net_only():
  state = toys.ppo_state()
  step = update(minibatches=1, critic_warmup=1)
  warm, metrics = step(state, made(), toys.text(ROWS), STOP)
  toys.assert_same(warm.policy, state.policy)
  assert toys.differ(warm.value.params, state.value.params)
  assert metrics['ppo/policy/skipped'].value() == 0
  after, _ = step(warm, made(), toys.text(ROWS), STOP)
  assert toys.differ(after.policy.params, state.policy.params)
  assert (int(after.policy.step), int(after.value.step)) == (1, 2)


def test_no_dropout_so_that_ratios_can_be_repeated():
  model = decoder.LanguageModel(dataclasses.replace(toys.CFG, dropout=0.5))
  networks = rollout.Networks(model, SCALAR)
  args = toys.params(LM), batch(False, NETWORKS)
  one = gradients(networks)(*args)
  toys.assert_close(one, gradients(NETWORKS)(*args))
  assert one[1]['ppo/policy/approxkl'].value() < 1e-9


def test_same_key_same_update_and_another_key_another_order():
  step = update(minibatches=4, epochs=1)
  args = made(), toys.text(ROWS), STOP
  one = step(toys.ppo_state(), *args)
  toys.assert_same(one, step(toys.ppo_state(), *args))
  other = toys.ppo_state().replace(rng=jax.random.key(8))
  assert toys.differ(one[0].policy.params, step(other, *args)[0].policy.params)


def test_donated_state_and_state_through_the_host_go_on_bit_for_bit():
  step = update(minibatches=2, epochs=2, donate=True)
  args = made(), toys.text(2 * ROWS), STOP
  state, _ = step(toys.ppo_state(), *args)
  # What a checkpoint does: every leaf to host memory and back.
  key = np.asarray(jax.random.key_data(state.rng))
  host = jax.tree.map(
    lambda x: np.array(jax.device_get(x)), state.replace(rng=key)
  )
  again = jax.tree.map(jnp.asarray, host)
  again = again.replace(rng=jax.random.wrap_key_data(again.rng))
  before = state
  state, metrics = step(state, *args)
  for leaf in jax.tree.leaves((before.policy, before.value)):
    assert leaf.is_deleted()
  toys.assert_same((state, metrics), step(again, *args))
  assert int(state.iteration) == 2


def test_nan_in_pads_is_harmless():
  mask = np.asarray(made().response_mask)
  assert not mask.all()
  dirty = made().replace(
    **{
      name: jnp.where(mask, getattr(made(), name), jnp.nan)
      for name in ('logp', 'ref_logp', 'values')
    }
  )
  step = update(minibatches=1, kl_target=1.0)
  one, two = (
    step(toys.ppo_state(), rows, toys.text(ROWS), STOP)
    for rows in (made(), dirty)
  )
  toys.assert_same(one, two)


def test_a_mesh_of_eight_devices_equals_one():
  mesh, state = toys.mesh(), toys.ppo_state(networks=NETWORKS)
  step = update(networks=NETWORKS, minibatches=2, microbatches=2, kl_target=1.0)
  # 16 rows: a minibatch and a microbatch of it still divide over 4 devices.
  rows = jax.tree.map(lambda x: np.concatenate([x, x]), made(NETWORKS))
  text = toys.text(2 * ROWS)
  one = step(state, rows, text, STOP)
  sharded = state.replace(
    policy=toys.lay_out(
      state.policy,
      toys.boxed_state(LM, toys.OPTIMIZERS.policy, ema=True),
      mesh,
    ),
    value=toys.lay_out(
      state.value, toys.boxed_state(SCALAR, toys.OPTIMIZERS.value), mesh
    ),
  )
  with sharding.use(mesh):
    rows, text = sharding.put_batch((rows, text), mesh)
    many = step(sharded, rows, text, STOP)
  toys.assert_close(one, many, rtol=1e-3, atol=2e-5)


def test_rows_that_do_not_divide_say_what_to_change():
  with pytest.raises(ValueError, match=r'8 rollout rows.*3.*minibatch_size'):
    update(minibatches=3)(toys.ppo_state(), made(), None, STOP)


def test_logits_of_the_whole_batch_never_exist():
  cfg = dataclasses.replace(toys.CFG, vocab_size=4096, max_length=128)
  model = decoder.LanguageModel(cfg)
  rows, length = 8, 96
  params = jax.eval_shape(
    functools.partial(decoder.init_params, model), jax.random.key(0)
  )
  flat = jnp.zeros((rows, length))
  on = jnp.ones((rows, length), bool)
  tokens = jnp.ones((rows, length + 4), jnp.int32)
  data = Rollout(tokens, tokens > 0, on, flat, flat, flat, flat[:, 0])
  data = ppo.Minibatch(
    Experience(data, flat, flat, flat),
    TokenBatch(tokens, tokens > 0, tokens, tokens),
  )

  def peak(chunk):
    fn = gradients(rollout.Networks(model, SCALAR), chunk=chunk)
    compiled = fn.lower(params, data).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  logits = rows * length * cfg.vocab_size * 4
  whole, parts = peak(200), peak(8)
  assert whole > logits > parts
  assert parts < whole / 4
