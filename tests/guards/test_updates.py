"""Defects of PPO updates: ratios, counts, dropout, whitening."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs.common import RULES
from instructgpt_jax import placement, sharding
from instructgpt_jax.models import decoder, heads
from instructgpt_jax.steps import ppo, rollout
from instructgpt_jax.types import Frozen, PpoBatch
from tests.steps import toys
from tests.steps.toy_updates import ROWS, batch, made, minibatch_step, update
from tests.steps.toys import STOP, R

from . import toy_stage

FIRST = {'ratio': 1, 'approxkl': 0, 'clipfrac': 0, 'ratio_var': 0}


def test_first_minibatch_has_ratio_exactly_one_and_later_ones_do_not():
  """Old log-probs recomputed from current weights (EasyLM, EasyDeL)."""
  state, metrics = minibatch_step()(toys.ppo_state(), batch())
  for name, expected in FIRST.items():
    assert metrics[f'ppo/policy/{name}'].value() == expected, name
  _, metrics = minibatch_step()(state, batch())
  assert metrics['ppo/policy/approxkl'].value() > 1e-5
  assert metrics['ppo/policy/ratio_var'].value() > 1e-5


def test_old_logp_stays_that_of_the_rollout_through_a_whole_update():
  """The same defect in the scan over minibatches: ratio always 1."""
  args = made(), None, STOP
  _, one = update(minibatches=1, epochs=1)(toys.ppo_state(), *args)
  _, two = update(minibatches=1, epochs=2)(toys.ppo_state(), *args)
  for name, expected in FIRST.items():
    assert one[f'ppo/policy/{name}'].value() == expected, name
  assert two['ppo/policy/approxkl'].value() > 1e-5


@pytest.mark.parametrize('minibatch_size, epochs', [(4, 2), (2, 1)])
def test_epochs_and_minibatches_are_never_ignored(minibatch_size, epochs):
  """num_mini_batches, num_ppo_epochs silently ignored (TRL, EasyDeL)."""
  iterations = 2
  state, step = toy_stage.stage(minibatch_size=minibatch_size, epochs=epochs)
  rows = PpoBatch(toys.prompts(ROWS), toys.text(ROWS * epochs))
  tokens = 0
  for _ in range(iterations):
    state, metrics = step(state, rows)
    written = metrics['objective/length'].total
    # Every token is learned from once an epoch, in policy and value net.
    for name in ('ppo/policy/ratio', 'ppo/loss/policy', 'ppo/loss/value'):
      assert metrics[name].weight == epochs * written, name
    text = metrics['ppo/loss/pretrain'].weight
    assert text == rows.pretrain.loss_mask.sum()
    tokens += written
  assert tokens > 0
  expected = iterations * epochs * ROWS // minibatch_size
  for network in (state.policy, state.value):
    assert int(network.step) == expected
    assert int(optax.tree.get(network.opt_state, 'count')) == expected
  assert int(state.iteration) == iterations


@functools.cache
def _with_dropout(share):
  cfg = dataclasses.replace(toys.CFG, dropout=share)
  return rollout.Networks(decoder.LanguageModel(cfg), heads.ScalarModel(cfg))


def test_dropout_is_never_on_in_ppo():
  """Dropout on while old log-probs are computed (DeepSpeed-Chat)."""
  plain, dropping = _with_dropout(0.0), _with_dropout(0.5)
  params = toys.params(plain.policy), toys.params(plain.reward, 6)
  found = []
  for networks in (plain, dropping):
    state = toys.ppo_state(networks=plain)
    roll = functools.partial(
      rollout.rollout,
      networks=networks,
      sampling_settings=rollout.Sampling(R),
      reading=rollout.Reading(chunk=4),
    )
    rolled, _ = jax.jit(roll)(state, Frozen(*params), toys.prompts(ROWS), STOP)
    learn = update(networks=networks, minibatches=1)
    after, metrics = learn(state, rolled, toys.text(ROWS), STOP)
    found.append((rolled, after, metrics))
    assert metrics['ppo/policy/ratio'].value() == pytest.approx(1, abs=1e-6)
    assert metrics['ppo/policy/approxkl'].value() < 1e-9
  # With dropout configured the whole iteration is the one without.
  toys.assert_close(found[0], found[1])


def test_whitening_is_never_per_device():
  """Advantages whitened on each device (lm-human-preference-details)."""
  # Every device holds rows of its own scale: whitening there would show.
  scale = (10.0 ** np.arange(ROWS)).astype(np.float32)
  rows = made().replace(score=scale)
  raw, make = (
    jax.jit(functools.partial(ppo.make_experience, settings=settings))
    for settings in (toys.settings(whiten=False), toys.settings())
  )
  one, _ = make(rows, STOP, jnp.float32(0.1))
  mask = np.asarray(rows.response_mask)
  plain = np.asarray(raw(rows, STOP, jnp.float32(0.1))[0].advantages)[mask]
  np.testing.assert_allclose(
    np.asarray(one.advantages)[mask],
    (plain - plain.mean(dtype=float)) / plain.std(dtype=float),
    rtol=1e-3,
    atol=1e-5,
  )
  for sizes in ((8, 1, 1), (2, 2, 2)):
    mesh = sharding.make_mesh(*sizes)
    with sharding.use(mesh, RULES):
      many, _ = make(placement.put_batch(rows, mesh), STOP, jnp.float32(0.1))
    toys.assert_close(one, many, rtol=1e-4, atol=1e-5)
    assert len(many.advantages.devices()) == 8
