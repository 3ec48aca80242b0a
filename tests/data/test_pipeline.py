"""Pipeline: every row as often as promised, every place found again."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instructgpt_jax.data import builders, iterators, pipeline, records
from instructgpt_jax.data import tokenizer as tokenizer_lib
from instructgpt_jax.types import Comparisons, Prompts, TokenBatch
from tests.data.toy_records import byte_tokenizer, prompts


def token_rows(count, length=4):
  """Returns rows that hold their own number, plus one, in every token."""
  return [
    {
      'tokens': np.full(length, i + 1, np.int32),
      'loss_mask': np.arange(length) > 0,
      'segments': np.ones(length, np.int32),
      'positions': np.arange(length, dtype=np.int32),
    }
    for i in range(count)
  ]


def prompt_rows(*sizes):
  return [
    {'tokens': np.full(size, i + 1, np.int32), 'id': str(i)}
    for i, size in enumerate(sizes)
  ]


def numbers(batch):
  """Returns the row numbers of a token batch, -1 for an added row."""
  return (batch.tokens[:, 0] - 1).tolist()


def flat(lists):
  return list(itertools.chain.from_iterable(lists))


def same(a, b):
  return all(
    np.array_equal(getattr(a, f), getattr(b, f)) and type(a) is type(b)
    for f in a.__dataclass_fields__
  )


def test_each_epoch_has_every_row_once_in_an_order_of_its_own():
  batches = pipeline.token_batches(
    token_rows(12), batch_size=4, seed=1, epochs=3
  )
  found = [n for batch in batches for n in numbers(batch)]
  epochs = [found[i : i + 12] for i in (0, 12, 24)]
  assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
  assert len({tuple(epoch) for epoch in epochs}) == 3
  assert epochs[0] != list(range(12))
  assert batches.steps == 9


def test_a_batch_may_reach_over_an_epoch_and_only_the_end_is_dropped():
  batches = pipeline.token_batches(
    token_rows(5), batch_size=3, seed=0, epochs=2
  )
  found = [numbers(batch) for batch in batches]
  assert len(found) == batches.steps == 3
  assert max(np.bincount(flat(found))) <= 2


def test_without_epochs_it_never_ends():
  batches = pipeline.token_batches(token_rows(3), batch_size=2, seed=0)
  assert batches.steps is None
  found = list(itertools.islice(batches, 30))
  assert np.bincount(flat(map(numbers, found))).tolist() == [20] * 3


def test_the_seed_alone_decides_the_order():
  def first(seed):
    rows = token_rows(50)
    return numbers(next(pipeline.token_batches(rows, batch_size=50, seed=seed)))

  assert first(3) == first(3)
  assert first(3) != first(4)


def test_a_batch_holds_the_rows_as_they_are():
  (batch,) = pipeline.token_batches(
    token_rows(3), batch_size=3, seed=0, epochs=1
  )
  assert isinstance(batch, TokenBatch)
  assert batch.tokens.dtype == batch.segments.dtype == np.int32
  assert batch.loss_mask.dtype == bool
  for i, row in enumerate(pipeline.rows_of(token_rows(3), numbers(batch))):
    for field, value in row.items():
      assert np.array_equal(getattr(batch, field)[i], value)


@pytest.mark.parametrize('count', [1, 3, 4, 5, 8])
def test_once_gives_every_row_in_order_and_fills_with_pads(count):
  batches = pipeline.token_batches_once(token_rows(count), batch_size=4)
  found = list(batches)
  assert len(found) == batches.steps == -(-count // 4)
  shown = flat(map(numbers, found))
  added = -count % 4
  assert shown == [*range(count), *[-1] * added]
  if added:
    last = found[-1]
    assert not last.segments[-added:].any()
    assert not last.loss_mask[-added:].any()


def comparison(k):
  return {
    'tokens': np.full((3, 2), k, np.int32),
    'mask': np.ones((3, 2), bool),
    'ranks': np.array([1, 2, k], np.int32),
    'valid': np.ones(3, bool),
    'labeler': 'ann',
  }


def test_comparisons_keep_their_ranks_and_added_ones_are_not_valid():
  rows = [comparison(k) for k in (5, 6, 7)]
  first, last = pipeline.comparison_batches_once(rows, batch_size=2)
  assert isinstance(first, Comparisons)
  assert first.ranks.tolist() == [[1, 2, 5], [1, 2, 6]]
  assert last.ranks[0].tolist() == [1, 2, 7]
  assert last.valid.tolist() == [[True] * 3, [False] * 3]
  assert not last.mask[1].any()
  (shuffled,) = pipeline.comparison_batches(
    rows, batch_size=3, seed=0, epochs=1
  )
  assert sorted(shuffled.ranks[:, 2]) == [5, 6, 7]


def test_prompts_are_padded_on_the_left():
  batch = next(
    pipeline.prompt_batches_once(
      prompt_rows(2, 3), batch_size=3, length=4, pad_id=9
    )
  )
  assert isinstance(batch, Prompts)
  assert batch.tokens.tolist() == [[9, 9, 1, 1], [9, 2, 2, 2], [9] * 4]
  assert batch.mask.tolist() == [
    [False, False, True, True],
    [False, True, True, True],
    [False] * 4,
  ]
  assert batch.row_id.tolist() == [0, 1, -1]
  assert batch.row_id.dtype == np.int32


def test_no_two_visits_share_a_row_id_and_all_lead_back():
  rows = prompt_rows(*[1] * 7)
  batches = pipeline.prompt_batches(
    rows, batch_size=7, length=1, seed=0, epochs=3
  )
  found = list(batches)
  seen = np.concatenate([batch.row_id for batch in found])
  assert sorted(seen) == list(range(21))
  for batch in found:
    named = pipeline.rows_of(rows, batch.row_id)
    assert [row['tokens'][0] for row in named] == batch.tokens[:, 0].tolist()
  assert pipeline.rows_of(rows, [8, -1])[0]['id'] == '1'


def test_the_bucket_is_the_smallest_that_holds_the_global_batch():
  rows = prompt_rows(1, 2, 3, 7, 2, 2)
  options = {'batch_size': 2, 'length': (8, 2, 4)}
  widths = [
    batch.tokens.shape[1]
    for batch in pipeline.prompt_batches_once(rows, **options)
  ]
  assert widths == [2, 8, 2]
  parts = [  # the long prompt is in the other process's part
    batch.tokens.shape
    for batch in pipeline.prompt_batches_once(
      rows, process_index=0, process_count=2, **options
    )
  ]
  assert parts == [(1, 2), (1, 8), (1, 2)]


def test_a_prompt_longer_than_the_context_is_an_error_at_once():
  with pytest.raises(ValueError, match='Prompt 1 has 5 tokens, more than'):
    pipeline.prompt_batches(
      prompt_rows(1, 5, 2), batch_size=1, length=(2, 4), seed=0
    )


def makers():
  tokens, asked = token_rows(10), prompt_rows(*range(1, 11))
  ranked = [comparison(k) for k in range(1, 11)]
  return {
    'tokens': lambda **kw: pipeline.token_batches(
      tokens, batch_size=4, seed=5, epochs=3, **kw
    ),
    'tokens_once': lambda **kw: pipeline.token_batches_once(
      tokens, batch_size=4, **kw
    ),
    'comparisons': lambda **kw: pipeline.comparison_batches(
      ranked, batch_size=4, seed=5, epochs=2, **kw
    ),
    'comparisons_once': lambda **kw: pipeline.comparison_batches_once(
      ranked, batch_size=4, **kw
    ),
    'prompts': lambda **kw: pipeline.prompt_batches(
      asked, batch_size=4, length=(4, 10), seed=5, epochs=3, **kw
    ),
    'prompts_once': lambda **kw: pipeline.prompt_batches_once(
      asked, batch_size=4, length=10, **kw
    ),
  }


@pytest.mark.parametrize('name', makers())
def test_the_parts_of_two_processes_are_the_batch_of_one(name):
  make = makers()[name]
  parts = [make(process_index=i, process_count=2) for i in range(2)]
  for whole, *both in zip(make(), *parts, strict=True):
    for field in whole.__dataclass_fields__:
      joined = np.concatenate([getattr(part, field) for part in both])
      assert np.array_equal(joined, getattr(whole, field))


@pytest.mark.parametrize('name', makers())
def test_a_saved_place_is_found_again_exactly(name):
  make = makers()[name]
  for place in range(4):
    batches = make()
    for _ in range(place):
      next(batches, None)
    state = json.loads(json.dumps(batches.get_state()))
    resumed = make()
    next(resumed)  # a place of its own, that must not matter
    resumed.set_state(state)
    rest = list(batches)
    again = list(resumed)
    assert len(rest) == len(again)
    assert all(map(same, rest, again))


def test_asking_for_the_place_changes_nothing_and_ignores_read_ahead():
  make = makers()['tokens']
  batches = make()
  next(batches)
  assert batches.get_state() == batches.get_state()
  assert batches.get_state()['next_index'] == 1
  batches.set_state(batches.get_state() | {'next_index': 0})
  assert same(next(batches), next(make()))


def test_the_place_of_other_batches_is_refused_by_name():
  state = makers()['tokens']().get_state()
  other = pipeline.token_batches(token_rows(11), batch_size=4, seed=6)
  with pytest.raises(ValueError, match=r'rows: 10 -> 11, seed: 5 -> 6'):
    other.set_state(state)


def test_zip_and_map_keep_one_place_for_all():
  def make():
    both = pipeline.Zip(makers()['tokens'](), makers()['prompts']())
    return pipeline.Map(both, lambda pair: (*pair, 'mapped'))

  batches, resumed = make(), make()
  for _ in range(2):
    next(batches)
  resumed.set_state(json.loads(json.dumps(batches.get_state())))
  rest, again = list(batches), list(resumed)
  assert len(rest) == len(again) == 5
  for (a, b, mark), (c, d, _) in zip(rest, again, strict=True):
    assert same(a, c) and same(b, d)
    assert mark == 'mapped'
  with pytest.raises(ValueError, match='of 1 iterators, not of 2'):
    pipeline.Zip(1, 2).set_state({'0': {}})


def test_batches_that_cannot_be_are_errors():
  rows = token_rows(3)
  with pytest.raises(ValueError, match='3 rows x 1 epochs do not fill'):
    pipeline.token_batches(rows, batch_size=4, seed=0, epochs=1)
  with pytest.raises(ValueError, match='shared by 2 processes'):
    pipeline.token_batches(rows, batch_size=3, seed=0, process_count=2)
  with pytest.raises(ValueError, match='has no rows'):
    pipeline.token_batches([], batch_size=3, seed=0)


@settings(deadline=None, max_examples=30)
@given(
  rows=st.integers(1, 30),
  batch_size=st.integers(1, 12),
  seed=st.integers(0, 2**32 - 1),
  epochs=st.integers(1, 4),
)
def test_a_plan_visits_every_row_as_often_as_promised(
  rows, batch_size, seed, epochs
):
  once = iterators.Plan(rows, batch_size)
  ids = np.concatenate([once.batch(i) for i in range(once.steps)])
  assert ids[ids >= 0].tolist() == list(range(rows))
  assert 0 <= len(ids) - rows < batch_size
  if rows * epochs < batch_size:
    return
  plan = iterators.Plan(rows, batch_size, seed=seed, epochs=epochs)
  ids = np.concatenate([plan.batch(i) for i in range(plan.steps)])
  assert len(set(ids.tolist())) == len(ids) > rows * epochs - batch_size
  assert ids.min() >= 0 and ids.max() < rows * epochs


def test_prepared_rows_go_through(tmp_path):
  rows = builders.prepare_prompts(
    prompts(*['x' * n for n in range(1, 8)]),
    tokenizer=byte_tokenizer(),
    folder=tmp_path,
    name='toy',
    length=9,
  )
  view = rows[2:5]
  first, last = pipeline.prompt_batches_once(view, batch_size=2, length=9)
  assert first.mask.sum(1).tolist() == [3, 4]
  assert last.mask.sum(1).tolist() == [5, 0]
  assert pipeline.rows_of(view, last.row_id)[0]['prompt'] == 'xxxxx'


@pytest.mark.data
def test_real_data_flows_from_file_to_batch(real_data, tmp_path):
  bpe = real_data / 'bpe'
  tokenizer = tokenizer_lib.gpt2(bpe / 'encoder.json', bpe / 'vocab.bpe')
  place = {'tokenizer': tokenizer, 'folder': tmp_path, 'length': 256}

  def read(kind, *names):
    paths = [real_data / kind / f'{name}.jsonl.gz' for name in names]
    return records.read_records(paths, kind)

  demos = builders.prepare_demonstrations(
    read('demonstrations', 'seed_tasks', 'oasst'), name='demos', **place
  )
  stats = demos.stats
  assert stats['read'] == 135 + 186
  assert stats['kept'] + stats['dropped_long'] == stats['read']
  assert stats['kept'] == 183  # many answers of oasst are longer
  filled = sum(
    int((batch.segments > 0).sum())
    for batch in pipeline.token_batches_once(demos, batch_size=8)
  )
  assert filled == stats['tokens']

  ranked = builders.prepare_comparisons(
    read('comparisons', 'oasst', 'fg_longform_qa'),
    name='ranked',
    over_length='truncate_left',
    **place,
  )
  stats = ranked.stats
  assert stats['read'] == 164 + 378 and stats['all_tied'] == 11
  parts = ('kept', 'dropped_long', 'all_tied')
  assert sum(stats[part] for part in parts) == stats['read']
  pairs = 0
  for batch in pipeline.comparison_batches_once(ranked, batch_size=64):
    ends = batch.mask.sum(-1)[batch.valid]
    assert ends.min() > 1 and ends.max() <= 256
    last = np.take_along_axis(
      batch.tokens[batch.valid], ends[:, None] - 1, axis=1
    )
    assert (last == tokenizer.eos_id).all()
    better = batch.ranks[:, :, None] < batch.ranks[:, None, :]
    pairs += int(
      (better & batch.valid[:, :, None] & batch.valid[:, None, :]).sum()
    )
  assert pairs == stats['pairs']
