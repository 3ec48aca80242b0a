"""Padding cut off changes no number and cuts no token."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.common import RULES
from instructgpt_jax import placement, sharding
from instructgpt_jax.steps import ppo, rollout, windows
from instructgpt_jax.steps import state as state_lib
from instructgpt_jax.types import Frozen

from . import toy_updates, toys
from .toys import NETWORKS, STOP, P, R

ROWS = 8
WINDOWS = windows.make(P, R, (2, 3))


def _masks(prompts, responses):
  """Returns [B P+R] and [B R]: left-padded prompts, then responses."""
  prompts, responses = np.asarray(prompts), np.asarray(responses)
  before = np.arange(P) >= P - prompts[:, None]
  behind = np.arange(R) < responses[:, None]
  return jnp.array(np.concatenate([before, behind], 1)), jnp.array(behind)


LENGTHS = st.lists(
  st.tuples(st.integers(0, P), st.integers(0, R)), min_size=8, max_size=8
)


def test_widths_rise_to_the_whole():
  assert windows.make(32, 10, (1, 4)) == windows.Windows((32,), (3, 5, 8, 10))
  assert windows.make(2, 3, (4, 4)) == windows.Windows((1, 2), (1, 2, 3))
  assert windows.make(32, 10, (1, 1)) is None
  # Where there is room, multiples of 8.
  assert windows.make(100, 10, (3, 1)).prompt == (40, 72, 100)


@given(LENGTHS)
def test_a_slice_keeps_every_real_token_in_the_smallest_window(lengths):
  mask, behind = _masks(*zip(*lengths, strict=True))
  tokens = jnp.where(mask, jnp.arange(mask.size).reshape(mask.shape) + 1, 0)
  values = jnp.where(behind, 1.0 + jnp.arange(R), 0.0)

  def read(rows):
    assert rows['tokens'].shape[1] > rows['values'].shape[1]
    width = jnp.int32(rows['tokens'].shape[1])
    return rows['tokens'].sum(1), rows['values'].sum(1), rows['one'], width

  rows = {'tokens': tokens, 'values': values, 'one': jnp.arange(8)}
  total, value, one, width = windows.within(read, rows, mask, behind, WINDOWS)
  np.testing.assert_array_equal(total, tokens.sum(1))
  np.testing.assert_array_equal(value, values.sum(1))
  np.testing.assert_array_equal(one, np.arange(8))
  prompts, responses = map(np.array, zip(*lengths, strict=True))
  before = min(w for w in WINDOWS.prompt if w >= prompts.max())
  after = min(w for w in WINDOWS.response if w >= responses.max())
  assert width == before + after


@given(LENGTHS)
def test_slices_hold_rows_of_like_lengths(lengths):
  mask, behind = _masks(*zip(*lengths, strict=True))
  rows = windows.order(mask, behind, WINDOWS, 4)
  assert sorted(rows.tolist()) == list(range(8))
  widths = np.searchsorted(WINDOWS.prompt, [p for p, _ in lengths])
  keys = [(widths[i], lengths[i][1]) for i in range(8)]
  slices = state_lib.split(rows, 4)
  assert [keys[i] for i in slices.reshape(-1).tolist()] == sorted(keys)


@functools.cache
def _roll(**changes):
  return jax.jit(
    functools.partial(
      rollout.rollout,
      networks=NETWORKS,
      sampling_settings=rollout.Sampling(R),
      reading=rollout.Reading(chunk=4, **changes),
    )
  )


def _frozen() -> Frozen:
  return Frozen(
    toys.params(NETWORKS.policy, 5), toys.params(NETWORKS.reward, 6)
  )


@functools.cache
def _rolled(**changes):
  state = toys.ppo_state(networks=NETWORKS)
  return _roll(**changes)(state, _frozen(), toys.prompts(ROWS), STOP)


@pytest.mark.parametrize('parts', [1, 4])
def test_a_rollout_in_windows_is_the_rollout(parts):
  cut = _rolled(windows=WINDOWS, parts=parts)
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, atol=2e-5), cut, _rolled()
  )


def test_log_probs_of_the_sampler_stand_in_for_those_of_the_policy():
  (own, metrics), (whole, _) = _rolled(recompute_logp=False), _rolled()
  np.testing.assert_array_equal(own.logp[~np.asarray(own.response_mask)], 0)
  np.testing.assert_allclose(own.logp, whole.logp, atol=1e-5)
  np.testing.assert_array_equal(own.ref_logp, whole.ref_logp)
  assert metrics == {}


def test_the_first_minibatch_says_what_measuring_left_out():
  rolled, measured = _rolled()
  own, _ = _rolled(recompute_logp=False)
  _, metrics = _learn(own, recompute_logp=False, minibatches=1, epochs=2)
  for name in ('rollout/logp_gap', 'objective/entropy_per_token'):
    np.testing.assert_allclose(
      metrics[name].value(), measured[name].value(), rtol=1e-5, atol=1e-6
    )
  # It is not what all updates saw on average.
  assert metrics['ppo/policy/logp_change'].value() > 1e-4
  assert 'rollout/logp_gap' not in _learn(rolled, minibatches=1)[1]


def _learn(rolled, **settings):
  learn = functools.partial(
    ppo.ppo_update,
    networks=NETWORKS,
    optimizers=toys.OPTIMIZERS,
    settings=toys.settings(**settings),
  )
  state = toys.ppo_state(networks=NETWORKS)
  return jax.jit(learn)(state, rolled, toys.text(ROWS), STOP)


def test_an_update_in_windows_is_the_update():
  cut = {'windows': WINDOWS, 'microbatches': 2}
  found = [_learn(_rolled()[0], **settings) for settings in ({}, cut)]
  (whole, metrics), (cut, cut_metrics) = found
  for name in ('policy', 'value'):
    a, b = getattr(whole, name), getattr(cut, name)
    jax.tree.map(
      functools.partial(np.testing.assert_allclose, atol=2e-4, err_msg=name),
      a.params,
      b.params,
    )
  for name, mean in metrics.items():
    np.testing.assert_allclose(
      cut_metrics[name].value(), mean.value(), rtol=2e-3, atol=1e-4
    )


def test_windows_on_a_mesh_give_what_one_device_gives():
  networks = toys.SMALL
  changes = {'windows': WINDOWS, 'microbatches': 2}
  alone, _ = toy_updates.update(**changes)(
    toys.ppo_state(), toy_updates.made(), None, STOP
  )
  with sharding.use(toys.mesh(), RULES):
    rolled = placement.put_batch(
      jax.device_get(toy_updates.made()), toys.mesh()
    )
    state = toys.ppo_state()
    meshed, _ = jax.jit(
      functools.partial(
        ppo.ppo_update,
        networks=networks,
        optimizers=toys.OPTIMIZERS,
        settings=toys.settings(**changes),
      )
    )(state, rolled, None, STOP)
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, atol=2e-4),
    jax.device_get(alone.policy.params),
    jax.device_get(meshed.policy.params),
  )
