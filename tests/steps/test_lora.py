"""Training of adapters: they alone move, beside one frozen base."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from instructgpt_jax.models import decoder, heads, lora
from instructgpt_jax.steps import ppo, reward, rollout, sft
from instructgpt_jax.steps import state as state_lib
from instructgpt_jax.types import Frozen, SftBatch

from . import toys
from .toys import CFG, STOP, R

SETTINGS = lora.LoraSettings(2, alpha=4.0, targets=('q', 'v', 'mlp_in'))
CFG_LORA = dataclasses.replace(CFG, layers=2, lora=SETTINGS)
LM, SCALAR = decoder.LanguageModel(CFG_LORA), heads.ScalarModel(CFG_LORA)
NETWORKS = rollout.Networks(LM, SCALAR)
ADAM = toys.adam(0.02)


def _begun(model):
  """The state of fresh adapters, and the frozen params beside them."""
  params = jax.tree.map(jnp.copy, toys.params(model))
  return state_lib.create(params, ADAM), lora.partition(params)[1]


def _drawn(model, seed=0):
  """Params with adapters that do something."""
  rng = np.random.default_rng(seed)

  def draw(path, leaf):
    random = 0.3 * rng.normal(size=leaf.shape).astype(np.float32)
    return random if path[-1].key == 'lora_b' else leaf

  return jax.tree_util.tree_map_with_path(draw, toys.params(model, seed))


@functools.cache
def _sft():
  settings = sft.SftSettings(0.0, microbatches=2, chunk=4, seed=0)
  return jax.jit(
    functools.partial(
      sft.sft_step, model=LM, optimizer=ADAM, settings=settings
    ),
    donate_argnums=0,
  )


def test_sft_moves_adapters_only_and_learns():
  (state, frozen), batch = _begun(LM), SftBatch(toys.text(8), None)
  before = jax.tree.map(jnp.copy, (state, frozen))
  losses = []
  for _ in range(30):
    state, metrics = _sft()(state, batch, frozen)
    losses.append(float(metrics['loss'].value()))
  toys.assert_same(frozen, before[1])  # and still there: it is not donated
  for path, leaf in jax.tree_util.tree_leaves_with_path(state.params):
    assert path[-1].key in ('lora_a', 'lora_b')
    assert leaf.dtype == jnp.float32
  assert toys.differ(state.params, before[0].params)
  assert losses[-1] < losses[0] - 0.1


def test_only_what_is_trained_is_in_a_state():
  params = toys.params(LM)
  state, trained = (
    state_lib.create(params, ADAM, ema=True),
    jax.tree.structure(lora.partition(params)[0]),
  )
  assert trained != jax.tree.structure(params)
  for part in (state.params, state.ema, state.opt_state[0].mu):
    assert jax.tree.structure(part) == trained
  plain = toys.params(toys.LM)
  assert state_lib.create(plain, ADAM).params is plain


def test_the_gradient_is_that_of_the_merged_kernel_by_the_chain_rule():
  params, batch = _drawn(LM), jax.tree.map(jnp.array, toys.text(4))

  def loss(params, model):
    return sft.token_loss(params, batch, model=model, chunk=4).value()

  merged = lora.merge(params, SETTINGS)
  whole = jax.jit(jax.grad(functools.partial(loss, model=lora.base(LM))))(
    merged
  )
  grads, _ = jax.jit(
    functools.partial(
      state_lib.accumulate,
      lambda p, _, key: (loss(p, LM), {}),
      parts=1,
      key=jax.random.key(0),
    )
  )(*lora.partition(params)[:1], None, frozen=lora.partition(params)[1])
  for where, kernel in (('q', 'dnh'), ('v', 'dnh')):
    layer = params['trunk']['layer_1']['attention'][where]
    full = whole['trunk']['layer_1']['attention'][where]['kernel']
    got = grads['trunk']['layer_1']['attention'][where]
    scale = SETTINGS.alpha / SETTINGS.rank
    a, b = layer['lora_a'], layer['lora_b']
    want = scale * np.einsum(f'{kernel},rnh->dr', full, b)
    np.testing.assert_allclose(got['lora_a'], want, rtol=1e-4, atol=1e-6)
    want = scale * np.einsum(f'{kernel},dr->rnh', full, a)
    np.testing.assert_allclose(got['lora_b'], want, rtol=1e-4, atol=1e-6)


def test_a_reward_model_trains_its_head_as_well():
  (state, frozen), before = _begun(SCALAR), toys.params(SCALAR)
  step = functools.partial(
    reward.reward_step,
    model=SCALAR,
    optimizer=ADAM,
    settings=reward.RewardSettings(microbatches=1, slices=1, seed=0),
  )
  step = jax.jit(step)
  batch = toys.comparisons(4)
  first = None
  for _ in range(10):
    state, metrics = step(state, batch, frozen)
    first = first or float(metrics['loss'].value())
  assert float(metrics['loss'].value()) < first
  assert state.params.keys() == {'trunk', 'head'}
  assert toys.differ(state.params['head'], before['head'])
  assert 'head' not in frozen


# --- PPO


def _ppo_state():
  state = toys.ppo_state(ppo.Optimizers(ADAM, ADAM), NETWORKS)
  policy = state_lib.create(jax.tree.map(jnp.array, _drawn(LM)), ADAM, ema=True)
  return dataclasses.replace(state, policy=policy)


@functools.cache
def _programs():
  roll = functools.partial(
    rollout.rollout,
    networks=NETWORKS,
    sampling_settings=rollout.Sampling(R),
    reading=rollout.Reading(chunk=4),
  )
  learn = functools.partial(
    ppo.ppo_update,
    networks=NETWORKS,
    optimizers=ppo.Optimizers(ADAM, ADAM),
    settings=toys.settings(minibatches=1),
  )
  return jax.jit(roll), jax.jit(learn, donate_argnums=0)


def _frozen(**parts):
  """Reference and reward model: other weights than any toy state has."""
  language, scalar = lora.base(LM), lora.base(SCALAR)
  return Frozen(toys.params(language, 2), toys.params(scalar, 3), **parts)


@pytest.mark.parametrize('given', [False, True])
def test_adapters_stand_beside_the_frozen_networks(given):
  roll, _ = _programs()
  state, prompts = _ppo_state(), toys.prompts(4)
  value = toys.params(lora.base(SCALAR), 9) if given else None
  frozen = _frozen(value=value)
  got, metrics = roll(state, frozen, prompts, STOP)
  mask = np.asarray(got.response_mask)
  analyze = jax.jit(
    functools.partial(
      rollout.analyze, model=lora.base(LM), prompt_length=toys.P
    )
  )
  want, _ = analyze(frozen.reference, got.tokens, got.mask)
  np.testing.assert_allclose(got.ref_logp[mask], want[mask], atol=1e-5)
  policy = lora.union(state.policy.params, frozen.reference)
  want, _ = analyze(lora.merge(policy, SETTINGS), got.tokens, got.mask)
  np.testing.assert_allclose(got.logp[mask], want[mask], atol=1e-4)
  assert np.abs(got.logp - got.ref_logp)[mask].max() > 0.05
  assert float(metrics['rollout/logp_gap'].value()) < 1e-5
  scalars = jax.jit(functools.partial(reward.scalars, model=lora.base(SCALAR)))
  # The trunk is a frozen one, the head the value net's own.
  critic = lora.union(state.value.params, value if given else frozen.reward)
  assert toys.differ(critic['head'], frozen.reward['head'])
  want = scalars(lora.merge(critic, SETTINGS), got.tokens, got.mask)
  want = want[:, toys.P - 1 : -1][mask]
  np.testing.assert_allclose(got.values[mask], want, atol=1e-4)
  want = reward.score(
    frozen.reward, got.tokens, got.mask, model=lora.base(SCALAR)
  )
  np.testing.assert_allclose(got.score, want, atol=1e-5)


def test_the_first_ratio_of_an_update_is_one_and_adapters_move():
  roll, learn = _programs()
  state, frozen = _ppo_state(), _frozen()
  before = jax.tree.map(jnp.copy, (state, frozen))
  made, _ = roll(state, frozen, toys.prompts(4), STOP)
  state, metrics = learn(state, made, toys.text(4), STOP, frozen)
  toys.assert_same(frozen, before[1])
  for new, old in (
    (state.policy, before[0].policy),
    (state.value, before[0].value),
  ):
    assert toys.differ(new.params, old.params)
  # Update and rollout read the same networks.
  assert float(metrics['ppo/policy/ratio'].value()) == pytest.approx(1)
  assert float(metrics['ppo/val/clipfrac'].value()) == 0


@pytest.mark.parametrize('scan', [False, True])
def test_an_update_has_no_room_for_a_second_base(scan):
  """Temporaries of the compiled update are smaller than the frozen params."""
  cfg = dataclasses.replace(
    CFG_LORA, width=256, heads=4, mlp_width=1024, scan_layers=scan
  )
  networks = rollout.Networks(
    decoder.LanguageModel(cfg), heads.ScalarModel(CFG_LORA)
  )
  optimizers = ppo.Optimizers(ADAM, ADAM)
  state, frozen = _shapes(networks, optimizers)
  made, _ = jax.eval_shape(_programs()[0], *_arguments())
  learn = functools.partial(
    ppo.ppo_update,
    networks=networks,
    optimizers=optimizers,
    settings=toys.settings(),
  )
  compiled = (
    jax.jit(learn, donate_argnums=0)
    .lower(state, made, None, STOP, frozen)
    .compile()
  )
  memory = compiled.memory_analysis()
  base, trained = (_size(x) for x in (frozen.reference, state))
  trunk = _size(frozen.reward['trunk'])
  assert base > 4 * trained
  assert memory.temp_size_in_bytes < base
  # In go the state and one base of each network; out comes the state alone.
  small = _size(made) + STOP.nbytes
  both = trained + base + trunk + small
  assert abs(memory.argument_size_in_bytes - both) < 4096
  assert memory.output_size_in_bytes < trained + 4096


def _size(tree):
  return sum(x.size * 4 for x in jax.tree.leaves(tree))


def _shapes(networks, optimizers):
  """The shapes of a PPO state of these networks, and of what is frozen."""

  def create(model, optimizer, ema=False):
    params = decoder.init_params(model, jax.random.key(0))
    return state_lib.create(params, optimizer, ema=ema)

  def frozen(model):
    return decoder.init_params(lora.base(model), jax.random.key(0))

  rest = toys.ppo_state()  # outside of what is traced: it keeps its params
  return jax.eval_shape(
    lambda rest: (
      dataclasses.replace(
        rest,
        policy=create(networks.policy, optimizers.policy, ema=True),
        value=create(networks.reward, optimizers.value),
      ),
      Frozen(frozen(networks.policy), frozen(networks.reward)),
    ),
    rest,
  )


def _arguments():
  return _ppo_state(), _frozen(), toys.prompts(4), STOP
