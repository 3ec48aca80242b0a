"""Defects of sampling: temperature, noise, stop ids, wasted forwards."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.common import RULES
from instructgpt_jax import placement, sharding
from instructgpt_jax.steps import rollout
from instructgpt_jax.types import Frozen, PpoBatch, Prompts
from tests.steps import toys
from tests.steps.toys import P, R

from . import toy_stage

NEVER = jnp.array([-1])


@functools.cache
def _generate(model, **changes):
  values = dict(max_new_tokens=R, pad_id=0)
  return jax.jit(
    functools.partial(
      rollout.generate,
      model=model,
      sampling_settings=rollout.Sampling(**(values | changes)),
    )
  )


def _prompts(*rows) -> Prompts:
  """Returns left-padded prompts of length 3; pads are 9."""
  tokens = np.full((len(rows), 3), 9, np.int32)
  mask = np.zeros((len(rows), 3), bool)
  for i, row in enumerate(rows):
    tokens[i, -len(row) :], mask[i, -len(row) :] = row, True
  return Prompts(tokens, mask, np.arange(len(rows), dtype=np.int32))


@functools.cache
def _first_iteration(temperature):
  """Returns the metrics of the stage's first iteration, at its temperature."""
  state, step = toy_stage.stage(temperature=temperature)
  _, metrics = step(state, PpoBatch(toys.prompts(toy_stage.ROWS), None))
  return toy_stage.values(metrics)


@pytest.mark.parametrize('temperature', [1.0, 0.7])
def test_one_temperature_for_sampler_old_new_and_reference(temperature):
  """Rollout at T = 0.9 or 0.7, log-probs at T = 1 (Tunix, EasyLM)."""
  found = _first_iteration(temperature)
  # The policy is its reference, and one minibatch moves nothing before it is
  # measured: each of these is 0 or 1 only where both sides share one T.
  assert found['rollout/logp_gap'] < 1e-5  # sampler and old
  assert found['ppo/policy/ratio'] == 1  # old and new
  assert found['ppo/policy/ratio_var'] == 0
  assert found['objective/kl'] == 0  # old and reference
  assert found['objective/kl_k3'] == 0


def test_the_temperature_is_the_configs():
  """The same defect: all share one temperature, but not the one asked for."""
  model, params = toys.fake(toys.successor, strength=2.0)
  temperature = 0.7
  state = toys.ppo_state()
  state = state.replace(policy=state.policy.replace(params=params))
  networks = rollout.Networks(model, toys.SMALL.reward)
  roll = functools.partial(
    rollout.rollout,
    networks=networks,
    sampling_settings=rollout.Sampling(R, temperature=temperature),
    reading=rollout.Reading(chunk=4),
  )
  frozen = Frozen(params, state.value.params)
  made, _ = jax.jit(roll)(state, frozen, toys.prompts(8), NEVER)
  before, written = made.tokens[:, P - 1 : -1], made.tokens[:, P:]
  hit = np.asarray(written == (before + 1) % toys.V)
  z = np.log(np.exp(2 / temperature) + toys.V - 1)
  # So many hits are drawn at T = 0.7 (0.43); at T = 1 it would be 0.24.
  assert 0.3 < hit.mean() < 0.6
  expected = np.where(hit, 2 / temperature, 0) - z
  for name in ('logp', 'ref_logp'):
    np.testing.assert_allclose(getattr(made, name), expected, rtol=1e-5)
  cool, warm = (
    _first_iteration(t)['objective/entropy'] for t in (temperature, 1.0)
  )
  assert cool < 0.9 * warm


@functools.cache
def _uniform():
  """Returns (roll, state, frozen) of a policy that draws from 1009 ids."""
  model, params = toys.fake(toys.successor, strength=0.0, vocab=1009)
  networks = rollout.Networks(model, toys.Bag(model.cfg))
  state = toys.ppo_state()
  scalar = toys.params(networks.reward, 1)
  state = state.replace(
    policy=state.policy.replace(params=params),
    value=state.value.replace(params=scalar),
  )
  roll = functools.partial(
    rollout.rollout,
    networks=networks,
    sampling_settings=rollout.Sampling(R),
    reading=rollout.Reading(chunk=4),
  )
  return jax.jit(roll), state, Frozen(params, scalar)


def _written(made):
  return np.asarray(made.tokens)[:, P:]


def test_two_updates_and_two_rows_never_share_noise():
  """One sampling key for every update, on every device (Tunix, LMHPD)."""
  roll, state, frozen = _uniform()
  prompts = toys.prompts(16)
  later = state.replace(iteration=state.iteration + 1)
  runs = [roll(s, frozen, prompts, NEVER)[0] for s in (state, later)]
  written = np.concatenate([_written(made) for made in runs])
  # 192 uniform draws of 1009 ids; equal noise is equal tokens.
  assert len({tuple(row) for row in written.tolist()}) == 32
  assert len(set(written.ravel().tolist())) > 160
  assert not (written[:16] == written[16:]).all(axis=1).any()
  # Noise is the row id's: one id in all rows writes one answer in all.
  twins = prompts.replace(row_id=np.full(16, 105, np.int32))
  same = _written(roll(state, frozen, twins, NEVER)[0])
  np.testing.assert_array_equal(same, np.tile(written[5], (16, 1)))
  # And the iteration's: the same one again writes the same.
  again = _written(roll(state, frozen, prompts, NEVER)[0])
  np.testing.assert_array_equal(again, written[:16])


def test_noise_of_a_row_is_the_same_on_every_mesh():
  """One sampling key for every device (lm-human-preference-details)."""
  roll, state, frozen = _uniform()
  prompts = toys.prompts(16)
  alone = _written(roll(state, frozen, prompts, NEVER)[0])
  for sizes in ((8, 1, 1), (2, 2, 2)):
    mesh = sharding.make_mesh(*sizes)
    with sharding.use(mesh, RULES):
      spread = placement.put_batch(prompts, mesh)
      many = roll(state, frozen, spread, NEVER)[0]
    np.testing.assert_array_equal(_written(many), alone, err_msg=str(sizes))
  assert len({tuple(row) for row in alone.tolist()}) == 16


@pytest.mark.parametrize(
  'last, decodes', [(1, R - 1), (17, 2), (19, 0)], ids=['full', '3', 'first']
)
def test_no_decode_forward_too_many_per_rollout(last, decodes):
  """One decode forward too many per rollout (Tunix 0.1.7)."""
  calls = []

  def counted(tokens, positions, cache):
    jax.debug.callback(lambda _: calls.append(tokens.shape[1]), tokens[0, 0])
    return tokens + 1

  model, params = toys.fake(counted)
  made = _generate(model)(
    params, _prompts([5, last], [19]), jnp.array([20]), jax.random.key(0)
  )
  jax.block_until_ready(made)
  jax.effects_barrier()
  assert sorted(calls) == [1] * decodes + [3]  # and one prefill of length 3
  assert made.response_mask.sum(1).tolist() == [decodes + 1, 1]


def test_stop_ids_are_never_frozen_at_the_first_trace():
  """Stop ids kept from the first trace of the compiled loop (Tunix 0.1.7)."""
  traces = []

  def traced(tokens, positions, cache):
    traces.append(tokens.shape)
    return tokens + 1

  model, params = toys.fake(traced)
  generate = _generate(model)
  lengths, counts = [], []
  for stop in ([12, 99], [14, 11], [99, 13]):
    made = generate(params, _prompts([10]), jnp.array(stop), jax.random.key(0))
    lengths.append(int(made.response_mask.sum()))
    counts.append(len(traces))
  assert lengths == [2, 1, 3]
  assert counts[0] == counts[-1]
