"""Scores of texts: those of training, whatever batch, padding and mesh."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import common
from instructgpt_jax import placement, sharding
from instructgpt_jax.data import builders, pipeline
from instructgpt_jax.evals.passes import Devices
from instructgpt_jax.evals.reward_model import invariance
from instructgpt_jax.evals.reward_model.scorer import Scorer
from instructgpt_jax.models import decoder, heads
from instructgpt_jax.models.config import ModelConfig
from instructgpt_jax.steps import reward as reward_lib
from tests.data.toy_records import byte_tokenizer, located

CFG = ModelConfig(
  vocab_size=258,
  layers=1,
  width=16,
  heads=2,
  max_length=64,
  embed_init=0.7,
  position_init=0.3,
)
MODEL = heads.ScalarModel(CFG)
RECORDS = [
  {
    'id': str(i),
    'prompt': 'ask ' * (i % 4 + 1),
    'responses': [f' {"no " * (i % 3)}yes', ' maybe so', f' {i}'],
    'ranks': [1, 2, 3],
    'ended': [True, i % 2 == 0, True],
  }
  for i in range(7)
]


@functools.cache
def scorer(tokens=256, data=1, fsdp=1):
  mesh = sharding.make_mesh(
    data=data, fsdp=fsdp, devices=jax.devices()[: data * fsdp]
  )
  params = sharding.create(
    functools.partial(decoder.init_params, MODEL, boxed=True),
    mesh,
    common.RULES,
    jax.random.key(0),
  )
  devices = Devices(mesh, common.RULES)
  return Scorer(MODEL, params, devices, byte_tokenizer(), tokens=tokens)


def test_texts_score_as_in_training(tmp_path):
  rows = builders.prepare_comparisons(
    located(RECORDS),
    tokenizer=byte_tokenizer(),
    folder=tmp_path,
    name='comparisons',
    length=64,
    max_completions=3,
  )
  own = scorer()
  [batch] = pipeline.comparison_batches_once(
    rows, batch_size=7, local=placement.local_rows(own._devices.mesh, 7)
  )
  trained = reward_lib.score_comparisons(
    own._params, jax.tree.map(jnp.asarray, batch), model=MODEL
  )
  np.testing.assert_allclose(np.stack(own(RECORDS)), trained, atol=1e-5)


@pytest.mark.parametrize('kind', [{'tokens': 32}, {'data': 2, 'fsdp': 2}])
def test_batches_and_meshes_change_nothing(kind):
  found = scorer(**kind)(RECORDS)
  np.testing.assert_allclose(found, scorer()(RECORDS), atol=1e-5)


def test_the_end_of_a_text_counts():
  [one], [other] = (
    scorer()([RECORDS[0] | {'ended': [end] * 3}]) for end in (True, False)
  )
  assert (np.abs(one - other) > 1e-3).all()


def test_of_what_is_too_long_the_beginning_is_left_out():
  long = {'id': '1', 'prompt': 'z' * 100 + 'ask ', 'responses': [' yes', '']}
  ids = scorer().sequences([long])
  assert [len(i) for i in ids] == [64, 64]
  plain = scorer().sequences([{**long, 'prompt': 'ask '}])
  assert ids[0][-len(plain[0]) :] == plain[0]
  assert plain[1] == [*plain[0][:4], 1]  # nothing was said, and that it ended
  very = scorer().sequences([{**long, 'responses': ['y' * 99]}])
  assert len(very[0]) == 64 and very[0][-1] == 1


def test_the_model_does_not_see_padding_or_neighbours():
  own = scorer()
  found = invariance.table(
    own.score_rows, own.sequences(RECORDS), pad_id=0, longest=64
  )
  assert found.pop('spread') > 0.1
  assert set(found) == {'longer', 'left', 'order', 'neighbours'}
  for change in found.values():
    assert change['largest'] < 1e-5 and change['flipped'] == 0


@pytest.mark.parametrize(
  ('change', 'broken'),
  [
    ('longer', lambda tokens, mask: tokens.sum(1) / tokens.shape[1] ** 2),
    ('left', lambda tokens, mask: (tokens * np.arange(tokens.shape[1])).sum(1)),
    ('order', lambda tokens, mask: tokens.sum(1) * np.arange(len(tokens))),
    ('neighbours', lambda tokens, mask: tokens.sum(1) - tokens.sum()),
  ],
)
def test_a_model_that_does_is_found_out(change, broken):
  own = scorer()
  found = invariance.table(broken, own.sequences(RECORDS), pad_id=0, longest=64)
  assert found[change]['largest'] > 0.1
  if change in ('left', 'order'):
    assert found[change]['flipped'] > 0


def test_no_row_is_longer_than_the_model_reads():
  widths = set()

  def score(tokens, mask):
    widths.add(tokens.shape[1])
    return np.zeros(len(tokens))

  invariance.table(score, [[1] * 60, [2] * 5], pad_id=0, longest=64)
  assert widths == {60, 64}


def test_two_sequences_are_the_least():
  with pytest.raises(ValueError, match='two sequences'):
    invariance.table(scorer().score_rows, [[1, 2]], pad_id=0, longest=64)
