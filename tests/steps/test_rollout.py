"""Rollouts: what they measure, their noise, parts and meshes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.common import RULES
from instructgpt_jax import placement, sharding
from instructgpt_jax.steps import reward, rollout, windows
from instructgpt_jax.types import Frozen

from . import toys
from .toys import LM, NETWORKS, SCALAR, SMALL, STOP, P, R

NEVER = jnp.array([-1])


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


def _frozen(networks=NETWORKS) -> Frozen:
  return Frozen(
    toys.params(networks.policy, 5), toys.params(networks.reward, 6)
  )


@functools.cache
def _rollout(parts=1, networks=NETWORKS, cut=False):
  cuts = windows.make(P, R, (2, 3)) if cut else None
  return jax.jit(
    functools.partial(
      rollout.rollout,
      networks=networks,
      sampling_settings=rollout.Sampling(R, 0.7, halvings=int(cut)),
      parts=parts,
      reading=rollout.Reading(parts, 4, cuts),
    )
  )


def test_rollout_measures_what_was_written_under_one_temperature():
  state, frozen, prompts = (
    toys.ppo_state(networks=NETWORKS),
    _frozen(),
    toys.prompts(8),
  )
  made, metrics = _rollout()(state, frozen, prompts, STOP)
  mask = np.asarray(made.response_mask)
  for name, params in (
    ('logp', state.policy.params),
    ('ref_logp', frozen.reference),
  ):
    logp, entropy = _analyze(temperature=0.7)(params, made.tokens, made.mask)
    np.testing.assert_allclose(
      getattr(made, name), np.where(mask, logp, 0), atol=1e-5, err_msg=name
    )
    if name == 'logp':
      np.testing.assert_allclose(
        metrics['objective/entropy'].value(),
        np.where(mask, entropy, 0).sum(1).mean(),
        rtol=1e-4,
      )
  score = jax.jit(functools.partial(reward.score, model=SCALAR))
  np.testing.assert_allclose(
    made.score, score(frozen.reward, made.tokens, made.mask), atol=1e-5
  )
  assert (np.asarray(made.values)[~mask] == 0).all()
  assert metrics['rollout/logp_gap'].value() < 1e-5
  assert metrics['rollout/logp_gap'].weight == mask.sum()


def test_measuring_in_parts_changes_nothing():
  args = toys.ppo_state(), _frozen(SMALL), toys.prompts(8), STOP
  one, four = (_rollout(parts, SMALL)(*args) for parts in (1, 4))
  toys.assert_close(one, four, atol=1e-5)


@pytest.mark.parametrize('cut', [False, True])
def test_a_mesh_of_eight_devices_writes_and_measures_the_same(cut):
  mesh, state, frozen = (
    toys.mesh(),
    toys.ppo_state(networks=NETWORKS),
    _frozen(),
  )
  prompts = toys.prompts(8)
  one, _ = _rollout(2)(state, frozen, prompts, STOP)
  lay = functools.partial(toys.lay_out, mesh=mesh)
  optimizers = toys.OPTIMIZERS
  state = state.replace(
    policy=lay(state.policy, toys.boxed_state(LM, optimizers.policy, ema=True)),
    value=lay(state.value, toys.boxed_state(SCALAR, optimizers.value)),
  )
  frozen = Frozen(
    lay(frozen.reference, toys.boxed_params(LM)),
    lay(frozen.reward, toys.boxed_params(SCALAR)),
  )
  with sharding.use(mesh, RULES):
    prompts = placement.put_batch(prompts, mesh)
    many, _ = _rollout(2, cut=cut)(state, frozen, prompts, STOP)
  np.testing.assert_array_equal(one.tokens, many.tokens)
  np.testing.assert_array_equal(one.response_mask, many.response_mask)
  toys.assert_close(one, many, rtol=1e-4, atol=1e-5)
