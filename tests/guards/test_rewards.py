"""Defects between a score and its token: EOS, pads, integers."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from instructgpt_jax.data import builders, tokenizer
from instructgpt_jax.steps import ppo, rollout
from instructgpt_jax.types import Frozen, Prompts
from tests.data.toy_records import byte_tokenizer, demonstrations
from tests.steps import toys
from tests.steps.toys import R, V

P, EOS, COEF = 3, 20, 0.1
# The policy counts up: no EOS, EOS third, empty, EOS first, EOS at the end.
PROMPTS = [[7, EOS, 10], [17], [], [19], [14]]
LENGTHS = np.array([6, 3, 0, 1, 6])
ENDED = np.array([False, True, False, True, True])
SURE, UNSURE = 12.0, 2.0  # strength of the policy and of its reference
LOGP = -np.log1p((V - 1) * np.exp(-SURE))
REF_LOGP = -np.log1p((V - 1) * np.exp(-UNSURE))
either = pytest.mark.parametrize('pad', [0, EOS], ids=['pad', 'pad is EOS'])


class Place(nn.Module):
  """The scalar of each token is 0.9 for EOS, 0.05 else, + 0.001 x index.

  So a score tells at which index it was read.
  """

  cfg: object

  @nn.compact
  def __call__(
    self, tokens, positions=None, segments=None, deterministic=True, first=0
  ):
    scale = self.param('scale', nn.initializers.ones, ())
    here = jnp.where(tokens == EOS, 0.9, 0.05)
    return (scale * (here + 0.001 * jnp.arange(tokens.shape[1])))[:, first:]


def _scalar(token, index):
  return (0.9 if token == EOS else 0.05) + 0.001 * index


def _prompts(pad) -> Prompts:
  tokens = np.full((5, P), pad, np.int32)
  mask = np.zeros((5, P), bool)
  for i, row in enumerate(PROMPTS):
    if row:
      tokens[i, -len(row) :], mask[i, -len(row) :] = row, True
  return Prompts(tokens, mask, np.arange(5, dtype=np.int32))


@functools.cache
def _networks():
  policy, params = toys.fake(toys.successor, strength=SURE)
  reference = {'unembed': {'kernel': UNSURE * jnp.eye(V)}}
  value = Place(toys.CFG)
  return rollout.Networks(policy, value), params, reference


@functools.cache
def _rolled(pad):
  """Returns the rollout of the five prompts, as PPO makes it."""
  networks, params, reference = _networks()
  scalar = {'scale': jnp.float32(1)}
  state = toys.ppo_state()
  state = state.replace(
    policy=state.policy.replace(params=params),
    value=state.value.replace(params=scalar),
  )
  roll = functools.partial(
    rollout.rollout,
    networks=networks,
    sampling_settings=rollout.Sampling(R, pad_id=pad),
    reading=rollout.Reading(chunk=4),
  )
  stop = jnp.array([EOS])
  frozen = Frozen(reference, scalar)
  made, _ = jax.jit(roll)(state, frozen, _prompts(pad), stop)
  np.testing.assert_array_equal(made.response_mask.sum(1), LENGTHS)
  return jax.tree.map(np.asarray, made)


@functools.cache
def _experience(pad, coef=COEF, **changes):
  changes = dict(whiten=False, lam=1.0) | changes
  make = functools.partial(
    ppo.make_experience, settings=toys.settings(**changes)
  )
  return jax.jit(make)(_rolled(pad), jnp.array([EOS]), jnp.float32(coef))


@either
def test_reward_never_lands_on_a_pad_after_eos(pad):
  """Reward on the PAD after EOS, off by one at the end (trl, DSChat)."""
  made, metrics = _experience(pad)
  expected = np.zeros((5, R))
  for row, length in enumerate(LENGTHS):
    expected[row, :length] = -COEF * (LOGP - REF_LOGP)
    if length:
      last = EOS if ENDED[row] else 16
      expected[row, length - 1] += _scalar(last, P + length - 1)
  np.testing.assert_allclose(made.rewards, expected, rtol=1e-5, atol=1e-6)
  assert metrics['objective/num_eos_tokens'].value() == ENDED.sum()


@either
def test_float_scores_never_pass_through_integers(pad):
  """Float scores scattered into an int32 buffer: 0.9 becomes 0 (Tunix)."""
  made, _ = _experience(pad, coef=0.0)
  # All scores lie between 0 and 1, so an integer anywhere would leave 0.
  expected = [0.058, 0.905, 0.0, 0.903, 0.908]
  np.testing.assert_allclose(made.rewards.sum(1), expected, rtol=1e-5)
  # With gamma = lam = 1 and no penalty the first return is the score.
  np.testing.assert_allclose(made.returns[:, 0], expected, rtol=1e-5)
  floats = (made.rollout.score, made.rewards, made.advantages, made.returns)
  assert {x.dtype for x in floats} == {jnp.dtype('float32')}
  ruled, _ = _experience(
    pad, coef=0.0, missing_eos_rule='subtract', missing_eos_value=0.25
  )
  assert ruled.rewards[0].sum() == pytest.approx(0.058 - 0.25, rel=1e-5)


@either
def test_eos_is_a_step_of_its_own_with_logp_value_and_reward(pad):
  """EOS cut from the stored response, never trained on (Tunix 0.1.7)."""
  rolled, (made, _) = _rolled(pad), _experience(pad)
  for row in np.flatnonzero(ENDED):
    at = LENGTHS[row] - 1
    assert rolled.tokens[row, P + at] == EOS
    assert rolled.response_mask[row, at]
    before = EOS - 1, P + at - 1  # the state before EOS was written
    assert rolled.logp[row, at] == pytest.approx(LOGP, rel=1e-2)
    assert rolled.ref_logp[row, at] == pytest.approx(REF_LOGP, rel=1e-5)
    assert rolled.values[row, at] == pytest.approx(_scalar(*before), rel=1e-5)
    assert made.rewards[row, at] > 0.5
    advantage = float(made.rewards[row, at] - rolled.values[row, at])
    assert made.advantages[row, at] == pytest.approx(advantage, rel=1e-4)


@either
def test_the_policy_learns_when_to_write_eos(pad):
  """The same defect, where it hurts: no gradient ever reaches EOS."""
  networks, params, _ = _networks()
  gradients = functools.partial(
    ppo.policy_gradients,
    networks=networks,
    settings=toys.settings(),
    key=jax.random.key(0),
  )
  made, _ = _experience(pad)
  batch = ppo.Minibatch(made, None)
  grads, metrics = jax.jit(gradients)(params, batch)
  # The hidden state that foretells EOS is one-hot there: this is its entry.
  assert grads['unembed']['kernel'][EOS, EOS] != 0
  assert metrics['ppo/policy/ratio'].weight == LENGTHS.sum()


def test_masks_are_never_made_by_comparing_with_pad():
  """`token != pad` as mask drops the EOS where pad is EOS (Tunix, trl)."""
  with_pad, without = _rolled(0), _rolled(EOS)
  real = without.mask.any(1)  # the empty row has no place for a score
  for name in ('mask', 'response_mask', 'logp', 'ref_logp', 'values', 'score'):
    np.testing.assert_array_equal(
      getattr(with_pad, name)[real], getattr(without, name)[real], name
    )
  np.testing.assert_array_equal(without.mask[1], [0, 0, 1, 1, 1, 1, 0, 0, 0])
  assert (without.tokens[1, 5:] == EOS).all()  # one EOS, three pads
  one, two = (_experience(pad)[0] for pad in (0, EOS))
  np.testing.assert_array_equal(one.advantages, two.advantages)


def test_demonstrations_learn_eos_where_pad_is_eos(tmp_path):
  """The same defect in the data: an SFT model that never learns to stop."""
  inner = byte_tokenizer()._inner
  inner.pad_token = None
  words = tokenizer.Tokenizer(inner)
  assert words.pad_id == words.eos_id
  (row,) = builders.prepare_demonstrations(
    demonstrations(('ab', 'cd')),
    length=8,
    tokenizer=words,
    folder=tmp_path,
    name='toy',
  )
  assert row['tokens'][4:].tolist() == [words.eos_id] * 4
  assert row['loss_mask'].tolist() == [0, 0, 1, 1, 1, 0, 0, 0]
  assert row['segments'].tolist() == [1, 1, 1, 1, 1, 0, 0, 0]
