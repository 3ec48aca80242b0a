"""PPO steps compiled once, and a rollout for them to learn from."""

import functools

import jax
import jax.numpy as jnp

from instructgpt_jax.steps import ppo, rollout
from instructgpt_jax.types import Experience, Prompts, Rollout

from . import toys
from .toys import SMALL, STOP, R

ROWS = 8


@functools.cache
def _roll(networks):
  return jax.jit(
    functools.partial(
      rollout.rollout,
      networks=networks,
      sampling_settings=rollout.Sampling(R),
      reading=rollout.Reading(chunk=4),
    )
  )


def rolled(prompts: Prompts, networks=SMALL) -> Rollout:
  """Returns a rollout of the first policy; the reference is another one."""
  state = toys.ppo_state(networks=networks)
  frozen = rollout.Frozen(toys.params(networks.policy, 5), state.value.params)
  return _roll(networks)(state, frozen, prompts, STOP)[0]


@functools.cache
def made(networks=SMALL) -> Rollout:
  """Returns what follows the prompts that all tests share."""
  return rolled(toys.prompts(ROWS), networks)


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
