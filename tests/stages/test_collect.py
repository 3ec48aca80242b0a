"""What becomes of completions: shown, ranked, written, or left out."""

import json

import jax
import numpy as np
import pytest

from instructgpt_jax import sharding, simulation
from instructgpt_jax.data import tokenizer
from instructgpt_jax.runtime import run
from instructgpt_jax.stages import (
  asking,
  collect,
  reading,
  responses,
  session,
)
from tests.stages import micro

VOCABULARY = tokenizer.train_bpe(['a b c'], 258)


def collected(folder, write, **settings):
  """Runs collect with `write(row, i) -> (text, ended)` for a policy."""
  config = micro.get_config()
  config.collect.update(settings)
  config.data.prompt_length = 400  # bytes: the vocabulary knows no words
  asked = []

  def answer(session, model, params, rows, **_):
    asked.extend(rows)
    nothing = np.zeros(0)
    return [
      responses.Response(row, *write(row, i), nothing, nothing, 1)
      for i, row in enumerate(rows)
    ]

  mesh = sharding.make_mesh(1, 1, 1, jax.devices()[:1])
  one = session.Session(config, run.Run(folder), mesh, VOCABULARY)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(responses, 'write', answer)
    patch.setattr(session.Session, 'load', lambda *_: None)
    counts = collect.run(one)
  path = folder / 'collect' / reading.COMPARISONS
  lines = path.read_text().splitlines() if path.exists() else []
  groups = [json.loads(line) for line in lines]
  return counts, groups, asked


def test_k_is_drawn_between_the_bounds_for_every_prompt(tmp_path):
  counts, groups, asked = collected(
    tmp_path, lambda row, i: (f' answer {i}', True), completions=(4, 6)
  )
  sizes = {len(group['responses']) for group in groups}
  assert sizes == {4, 5, 6}
  assert (
    counts['completions']
    == len(asked)
    == sum(len(group['responses']) for group in groups)
  )
  assert [group['id'] for group in groups] == list(
    dict.fromkeys(row['id'] for row in asked)
  )
  assert len(groups) == counts['prompts'] == 24


def test_the_same_seed_asks_the_same_as_often(tmp_path):
  def write(row, i):
    return f' {i % 3}', i % 2 == 0

  first = collected(tmp_path / 'a', write, completions=(3, 5))
  again = collected(tmp_path / 'b', write, completions=(3, 5))
  assert first[1] == again[1]


def test_empty_answers_are_not_shown_and_lone_ones_not_compared(tmp_path):
  texts = {}

  def write(row, i):
    k = texts.setdefault(row['id'], [])
    number = len(texts) - 1
    kept = {0: 0, 1: 1, 2: 2}.get(number, 3)  # answers that hold something
    k.append(f' yes {len(k)}' if len(k) < kept else ' \n' * (len(k) % 2))
    return k[-1], bool(k[-1].strip())

  counts, groups, _ = collected(tmp_path, write, completions=(4, 4))
  ids = list(texts)
  assert [group['id'] for group in groups] == ids[2:]
  assert counts['too_few_responses'] == 2
  assert counts['prompts'] == len(ids) - 2
  assert groups[0]['responses'] == [' yes 0', ' yes 1']
  assert groups[1]['responses'] == [' yes 0', ' yes 1', ' yes 2']
  assert all(all(group['ended']) for group in groups)


def test_ended_says_of_each_answer_whether_it_was_cut_off(tmp_path):
  counts, groups, _ = collected(
    tmp_path, lambda row, i: (f' {i}', i % 4 != 0), completions=(4, 4)
  )
  assert all(group['ended'] == [False, True, True, True] for group in groups)
  assert counts['ended'] == pytest.approx(0.75)


def test_ranks_are_a_labelers_dense_and_equal_for_equal_texts(tmp_path):
  words = [' please', ' please', ' x', ' thank you, it is so']
  _, groups, asked = collected(
    tmp_path, lambda row, i: (words[i % 4], True), completions=(4, 4)
  )
  rows = {row['id']: row for row in asked}
  for group in groups:
    ranks = group['ranks']
    assert ranks[0] == ranks[1]
    assert set(ranks) == set(range(1, max(ranks) + 1))
    wanted = simulation.rank(
      rows[group['id']], group['responses'], group['ended'], seed=0
    )
    assert (ranks, group['labeler']) == wanted
    assert group['prompt'] == rows[group['id']]['prompt']
  assert len({group['labeler'] for group in groups}) > 2


def test_groups_without_any_order_are_written_and_counted(tmp_path):
  counts, groups, _ = collected(
    tmp_path, lambda row, i: (' the same', True), completions=(3, 3)
  )
  assert counts['all_tied'] == counts['prompts'] == len(groups)
  assert all(group['ranks'] == [1, 1, 1] for group in groups)


def test_people_are_offered_what_a_page_can_show(tmp_path, monkeypatch):
  texts = [' yes', ' \0', ' \n', ' no']
  monkeypatch.setattr(asking, 'wait', lambda one: {'waited': True})
  counts, groups, asked = collected(
    *(tmp_path, lambda row, i: (texts[i % 4], i % 4 == 0)),
    **{'completions': (4, 4), 'labelers': 'web'},
  )
  assert counts == {'waited': True} and groups == []
  offered = tmp_path / 'collect' / asking.OFFERED
  found = [json.loads(line) for line in offered.read_bytes().splitlines()]
  assert [one['id'] for one in found] == [row['id'] for row in asked[::4]]
  for one in found:
    assert one['responses'] == [' yes', ' no'] and one['ended'] == [True, False]
    assert 'ranks' not in one and 'labeler' not in one
