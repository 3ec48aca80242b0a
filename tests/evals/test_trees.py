"""Rows hold every text whole, what is shared once, and little else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructgpt_jax.evals import trees
from instructgpt_jax.evals.trees import Asked

LENGTHS = (16, 32)
TEXTS = st.lists(
  st.tuples(
    st.integers(0, 2),  # which beginning
    st.lists(st.integers(0, 3), min_size=1, max_size=14),
    st.integers(1, 4),
  ),
  min_size=1,
  max_size=20,
)
BEGINNINGS = [(), (9,) * 10, (9,) * 10 + (8,) * 6]


def asked(texts):
  found = []
  for beginning, rest, scored in texts:
    ids = (7, *BEGINNINGS[beginning], *rest)
    found.append(Asked(ids, min(scored, len(ids) - 1)))
  return found


def seen_by(row, slot):
  """Returns the tokens that a slot sees, in order."""
  return tuple(
    token
    for s, token in enumerate(row.tokens[: slot + 1])
    if slot < row.last[s]
  )


@given(TEXTS, st.booleans())
def test_each_token_is_read_once_after_all_before_it(texts, share):
  requests = asked(texts)
  found = {i: [] for i in range(len(requests))}
  for length, rows in trees.packed(requests, LENGTHS, share=share).items():
    for row in rows:
      assert len(row.tokens) <= length
      for slot, target, i in row.reads:
        before = seen_by(row, slot)
        assert row.positions[slot] == len(before) - 1
        found[i].append((*before, target))
  for i, request in enumerate(requests):
    ends = range(len(request.ids) - request.scored, len(request.ids))
    assert found[i] == [request.ids[: end + 1] for end in ends]


@given(TEXTS)
def test_without_sharing_what_is_seen_is_the_segment(texts):
  for rows in trees.packed(asked(texts), LENGTHS, share=False).values():
    for row in rows:
      for slot, segment in enumerate(row.segments):
        same = [
          token
          for token, other in zip(row.tokens, row.segments, strict=True)
          if other == segment
        ]
        assert same[: row.positions[slot] + 1] == list(seen_by(row, slot))


def test_choices_after_one_question_hold_it_once():
  question = tuple(range(20, 32))
  requests = [Asked((*question, 1, k, 2), 3) for k in range(3)]
  (rows,) = trees.packed(requests, (64,), share=True).values()
  assert [len(row.tokens) for row in rows] == [12 + 1 + 3]
  (apart,) = trees.packed(requests, (64,), share=False).values()
  assert [len(row.tokens) for row in apart] == [3 * 14]


def test_one_token_choices_cost_no_token_more():
  requests = [Asked((*range(20, 32), k), 1) for k in range(5)]
  (rows,) = trees.packed(requests, (64,), share=True).values()
  assert [len(row.tokens) for row in rows] == [12]
  assert {slot for slot, _, _ in rows[0].reads} == {11}


def test_short_texts_leave_hardly_a_pad():
  rng = np.random.default_rng(0)
  requests = [
    Asked(tuple(rng.integers(0, 99, size)), 1)
    for size in rng.integers(5, 33, 300)
  ]
  rows = trees.packed(requests, (64,), share=True)[64]
  held = sum(len(row.tokens) for row in rows)
  assert held > 0.97 * 64 * (len(rows) - 1)


def test_what_fits_no_row_is_refused():
  with pytest.raises(ValueError, match='40 tokens in a row of 32'):
    trees.packed([Asked(tuple(range(41)), 1)], LENGTHS, share=True)


@pytest.mark.parametrize(
  'count, most, ways, size',
  [
    (100, 32, 1, 32),
    (32, 32, 1, 32),
    (9, 32, 1, 16),
    (8, 32, 1, 8),
    (1, 32, 1, 1),
    (20, 24, 8, 24),
    (9, 40, 8, 16),
    (1, 40, 8, 8),
    (5, 3, 8, 8),
  ],
)
def test_of_few_rows_no_large_batch_is_made(count, most, ways, size):
  assert trees.size(count, most, ways) == size


def test_a_batch_is_padded_to_its_shape():
  (rows,) = trees.packed([Asked((5, 6, 7), 2)], (16,), share=True).values()
  found, reads = trees.batch(rows, 2, 16)
  assert found.tokens.shape == (2, 16) and reads.slots.shape == (2, 8)
  assert found.tokens[0, :3].tolist() == [5, 6, 0]
  assert found.segments[0, :3].tolist() == [1, 1, 0]
  assert found.last[0, :3].tolist() == [2, 2, 0]
  assert reads.targets[0, :3].tolist() == [6, 7, 0]
  assert not found.segments[1].any()
