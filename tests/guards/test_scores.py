"""Defects of reward scores: neighbours and padding, overflow."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from instructgpt_jax.algos import ranking
from instructgpt_jax.steps import reward, rollout
from instructgpt_jax.steps import state as state_lib
from instructgpt_jax.types import Frozen
from tests.steps import toys
from tests.steps.toys import NETWORKS, SCALAR, STOP, R

LENGTHS = (1, 8, 3, 5, 2, 7)
score = jax.jit(functools.partial(reward.score, model=SCALAR))


def _padded(left: int, right: int, pad: int, rows=range(6)):
  """Returns (tokens, mask) of some sequences, `left` and `right` pads more."""
  rng = np.random.default_rng(3)
  sequences = [rng.integers(0, toys.V, n) for n in LENGTHS]
  width = max(LENGTHS)
  tokens, mask = [], []
  for row in rows:
    ids = sequences[row]
    rest = width - len(ids)
    before = left + (rest if left else 0)
    after = right + (0 if left else rest)
    tokens.append(np.pad(ids, (before, after), constant_values=pad))
    mask.append(np.pad(np.ones(len(ids), bool), (before, after)))
  return np.stack(tokens).astype(np.int32), np.stack(mask)


@pytest.mark.parametrize(
  'left, right, pad, size',
  [
    (0, 0, 9, 6),
    (0, 5, 0, 6),
    (4, 0, 7, 6),
    (3, 2, 999, 6),
    (0, 0, 0, 1),
    (0, 0, 0, 2),
    (4, 1, 0, 3),
  ],
)
def test_a_score_depends_on_neither_neighbours_nor_padding_nor_batch_size(
  left, right, pad, size
):
  """A score that changes with batch size or side of padding (reward-bench)."""
  params = toys.params(SCALAR)
  whole = score(params, *_padded(0, 0, 0))
  order = np.random.default_rng(size).permutation(6)  # other neighbours
  found = np.zeros(6)
  for start in range(0, 6, size):
    rows = order[start : start + size]
    found[rows] = score(params, *_padded(left, right, pad, rows))
  np.testing.assert_allclose(found, whole, rtol=1e-4, atol=1e-5)


def test_the_score_of_a_rollout_is_that_of_its_text_alone():
  """The same defect in PPO: left-padded prompts, ragged answers."""
  state = toys.ppo_state(networks=NETWORKS)
  params = toys.params(SCALAR, 6)
  roll = functools.partial(
    rollout.rollout,
    networks=NETWORKS,
    sampling_settings=rollout.Sampling(R),
    reading=rollout.Reading(chunk=4),
  )
  frozen = Frozen(toys.params(NETWORKS.policy), params)
  made, _ = jax.jit(roll)(state, frozen, toys.prompts(8), STOP)
  width = made.tokens.shape[1]
  for row in range(8):
    real = np.asarray(made.tokens[row])[np.asarray(made.mask[row])]
    rest = width - len(real)
    tokens = np.pad(real, (0, rest), constant_values=21)[None]
    mask = np.pad(np.ones(len(real), bool), (0, rest))[None]
    alone = score(params, tokens, mask)[0]
    np.testing.assert_allclose(made.score[row], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('margin', [1e4, -1e4])
def test_log_of_sigmoid_never_overflows(margin):
  """-log(sigmoid(x)) is infinite at large margins (DeepSpeedExamples#423)."""
  ranks, valid = jnp.array([[1, 2]]), jnp.ones((1, 2), bool)
  scores = jnp.array([[margin, 0.0]])

  def loss(scores):
    return ranking.kwise_loss(scores, ranks, valid)[0].value()

  value, grad = jax.jit(jax.value_and_grad(loss))(scores)
  assert value == max(-margin, 0.0)
  slope = -1.0 if margin < 0 else 0.0
  np.testing.assert_array_equal(grad, [[slope, -slope]])


def test_an_extreme_reward_model_still_gets_a_finite_update():
  """The same defect in a step: one such pair used to end the training."""
  model = toys.SMALL.reward
  params = toys.params(model)
  params = params | {'weights': 1e4 * params['weights']}
  batch = toys.comparisons()
  step = functools.partial(
    reward.reward_step,
    model=model,
    optimizer=optax.sgd(1.0),
    settings=reward.RewardSettings(microbatches=1, slices=1, seed=0),
  )
  state = state_lib.create(params, optax.sgd(1.0))
  after, metrics = jax.jit(step)(state, batch)
  assert metrics['loss'].value() > 1e3
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(after.params))
  assert metrics['grad_norm'].value() > 0
