"""Next-token learning: value, mixing, microbatches, dropout, mesh, memory."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from configs.common import RULES
from instructgpt_jax import placement, sharding
from instructgpt_jax.models import decoder
from instructgpt_jax.steps import sft
from instructgpt_jax.steps import state as state_lib
from instructgpt_jax.types import SftBatch, TokenBatch

from . import toys

SGD = optax.sgd(1.0)  # params before - params after = the gradient
ADAM = toys.adam(0.03)
BIGRAM = toys.SMALL.policy  # where attention plays no part


@functools.cache
def _step(model=toys.LM, optimizer=SGD, **changes):
  values = dict(pretrain_coef=0.7, microbatches=1, chunk=4, seed=5)
  return jax.jit(
    functools.partial(
      sft.sft_step,
      model=model,
      optimizer=optimizer,
      settings=sft.SftSettings(**(values | changes)),
    )
  )


def _state(model=toys.LM, optimizer=SGD):
  return state_lib.create(toys.params(model), optimizer)


def _gradient(state, after):
  return jax.tree.map(jnp.subtract, state.params, after.params)


@functools.cache
def _token_loss(model=toys.LM):
  return jax.jit(functools.partial(sft.token_loss, model=model, chunk=4))


@functools.cache
def _eval(model):
  return jax.jit(functools.partial(sft.sft_eval, model=model, chunk=4))


def test_loss_is_the_mean_of_minus_log_p_over_learned_tokens():
  batch, params = toys.text(), toys.params(toys.LM)
  loss = _token_loss()(params, batch)
  hidden, _ = toys.LM.apply(
    {'params': params},
    batch.tokens,
    positions=batch.positions,
    segments=batch.segments,
  )
  logits = np.asarray(hidden, np.float64) @ np.asarray(
    decoder.unembedding(params, toys.CFG).matrix.T, np.float64
  )
  logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  picked = np.take_along_axis(logp[:, :-1], batch.tokens[:, 1:, None], axis=-1)[
    ..., 0
  ]
  learned = batch.loss_mask[:, 1:]
  np.testing.assert_allclose(loss.value(), -picked[learned].mean(), rtol=1e-5)
  assert loss.weight == learned.sum()


def test_packed_segments_cost_what_they_cost_alone():
  batch, params = toys.text(), toys.params(toys.LM)
  total = 0.0
  for row in range(4):
    for segment in (1, 2):
      here = batch.segments[row] == segment
      count = here.sum()
      tokens = np.zeros((1, 10), np.int32)
      tokens[0, :count] = batch.tokens[row][here]
      at = np.arange(10)[None]
      alone = TokenBatch(
        tokens,
        (at > 0) & (at < count),
        (at < count).astype(np.int32),
        at.astype(np.int32) * (at < count),
      )
      total += _token_loss()(params, alone).total
  packed = _token_loss()(params, batch)
  np.testing.assert_allclose(packed.total, total, rtol=1e-5)


def test_rows_of_nothing_fill_a_batch_up_and_count_for_nothing():
  rows = toys.text()
  filled = jax.tree.map(
    lambda x: np.pad(x, [(0, 4)] + [(0, 0)] * (x.ndim - 1)), rows
  )
  state = _state()
  alone, few = _step()(state, SftBatch(rows, None))
  more, many = _step()(state, SftBatch(filled, None))
  cut, _ = _step(microbatches=4)(state, SftBatch(filled, None))
  for after in (more, cut):
    toys.assert_close(_gradient(state, after), _gradient(state, alone))
  assert many['tokens'].value() == few['tokens'].value()
  np.testing.assert_allclose(many['loss'].value(), few['loss'].value(), 1e-6)


def test_mixed_gradient_is_the_sum_and_makes_one_update():
  rows, text = toys.text(seed=1), toys.text(seed=2)
  state = _state(BIGRAM)
  both, metrics = _step(BIGRAM)(state, SftBatch(rows, text))
  alone, _ = _step(BIGRAM)(state, SftBatch(rows, None))
  other, _ = _step(BIGRAM)(state, SftBatch(text, None))
  expected = jax.tree.map(
    lambda a, b: a + 0.7 * b, _gradient(state, alone), _gradient(state, other)
  )
  toys.assert_close(_gradient(state, both), expected)
  assert int(both.step) == 1
  np.testing.assert_allclose(
    metrics['grad_norm'].value(), optax.tree.norm(expected), rtol=1e-4
  )
  for name, batch in (('loss', rows), ('pretrain_loss', text)):
    np.testing.assert_allclose(
      metrics[name].value(),
      _token_loss(BIGRAM)(state.params, batch).value(),
      rtol=1e-5,
    )


def test_microbatches_of_unequal_masks_change_nothing():
  batch = SftBatch(toys.text(seed=1), toys.text(seed=2))
  counts = batch.rows.loss_mask.sum(1)
  assert len(set(counts.tolist())) > 1
  one, *others = (
    _step(BIGRAM, microbatches=m, text_microbatches=t)(_state(BIGRAM), batch)
    for m, t in ((1, 1), (2, 4), (4, 1))
  )
  for other in others:
    toys.assert_close(one, other)


def test_dropout_is_drawn_from_seed_and_step_only():
  model = decoder.LanguageModel(dataclasses.replace(toys.CFG, dropout=0.5))
  step, state = _step(model), _state(model)
  batch = SftBatch(toys.text(), None)
  first, again = step(state, batch)[1], step(state, batch)[1]
  later = step(state.replace(step=state.step + 1), batch)[1]
  assert first['loss'].total == again['loss'].total
  off = _eval(toys.LM)(state.params, batch.rows)
  losses = [m['loss'].total for m in (first, later, off)]
  assert len({float(x) for x in losses}) == 3
  toys.assert_close(off['loss'], _token_loss()(state.params, batch.rows))


def test_token_losses_stand_at_their_tokens_and_sum_to_the_loss():
  batch, params = toys.text(), toys.params(toys.LM)
  nll = jax.jit(functools.partial(sft.token_nll, model=toys.LM, chunk=4))(
    params, batch
  )
  learned = np.asarray(batch.loss_mask)
  assert (np.asarray(nll)[~learned] == 0).all()
  assert (np.asarray(nll)[learned] > 0).all()
  loss = _eval(toys.LM)(params, batch)['loss']
  np.testing.assert_allclose(nll.sum(), loss.total, rtol=1e-5)


def test_learning_by_heart():
  step, state = (
    _step(BIGRAM, optimizer=ADAM, microbatches=2),
    _state(BIGRAM, optimizer=ADAM),
  )
  batch = SftBatch(toys.text(8, seed=1), toys.text(8, seed=1))
  losses = []
  for _ in range(80):
    state, metrics = step(state, batch)
    losses.append(float(metrics['loss'].value()))
  assert int(state.step) == 80
  assert losses[-1] < 0.2 * losses[0]


def test_a_mesh_of_eight_devices_equals_one():
  mesh, state = toys.mesh(), _state(optimizer=ADAM)
  batch = SftBatch(toys.text(8, seed=1), toys.text(8, seed=2))
  step = _step(optimizer=ADAM, microbatches=2)
  one = step(state, batch)
  sharded = toys.lay_out(state, toys.boxed_state(toys.LM, ADAM), mesh)
  with sharding.use(mesh, RULES):
    many = step(sharded, placement.put_batch(batch, mesh))
  assert len(many[0].params['trunk']['token_embedding'].devices()) == 8
  toys.assert_close(one, many, rtol=1e-4, atol=1e-5)


def test_logits_of_the_whole_batch_never_exist():
  cfg = dataclasses.replace(toys.CFG, vocab_size=4096, max_length=128)
  model = decoder.LanguageModel(cfg)
  abstract = jax.eval_shape(
    lambda key: state_lib.create(decoder.init_params(model, key), SGD),
    jax.random.key(0),
  )
  batch = SftBatch(toys.text(8, length=128), None)

  def peak(chunk):
    lowered = _step(model, chunk=chunk).lower(abstract, batch)
    return lowered.compile().memory_analysis().temp_size_in_bytes

  logits = 8 * 128 * 4096 * 4
  assert peak(128) > logits
  assert peak(8) < logits / 2
