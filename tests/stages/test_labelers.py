"""Who trains the reward model, and who only tests it."""

import itertools
import json

import numpy as np
import pytest

from instructgpt_jax.data import records
from instructgpt_jax.runtime import run
from instructgpt_jax.stages import labeler_cv, labelers, session
from tests.stages import micro


def made(tmp_path, rows, **settings):
  """A session whose comparisons are `(prompt, labeler, group)`."""
  path = tmp_path / 'comparisons.jsonl'
  lines = [
    {
      **{'id': f'{i}', 'prompt': prompt, 'labeler': labeler},
      **{'labeler_group': group, 'responses': ['x', 'y'], 'ranks': [1, 2]},
    }
    for i, (prompt, labeler, group) in enumerate(rows)
  ]
  path.write_text('\n'.join(map(json.dumps, lines)))
  config = micro.get_config()
  config.stages = ('reward',)
  config.data.files.comparisons = (str(path),)
  config.reward.update(settings)
  return session.Session(config, run.Run(tmp_path / 'run'), None, None)


def pairs(one, split):
  found, _ = labelers.comparisons(one, split)
  return [(record['prompt'], record['labeler']) for record, _ in found]


ROWS = [
  (f'{prompt}', labeler, 'heldout' if labeler == 'eve' else 'train')
  for prompt in range(40)
  for labeler in ('ann', 'bob', 'eve')
  if labeler == 'eve' or prompt % 2
]


@pytest.mark.parametrize('named', [(), ('bob',)])
def test_labelers_held_out_train_nothing_and_are_tested_on_new_prompts(
  tmp_path, named
):
  one = made(tmp_path, ROWS, heldout_labelers=named)
  train, validation = pairs(one, 'train'), pairs(one, 'validation')
  heldout = pairs(one, 'heldout')
  aside = {'eve', *named}
  seen = {'ann', 'bob'} - aside
  assert {who for _, who in train} == {who for _, who in validation} == seen
  assert {who for _, who in heldout} == aside
  trained = {prompt for prompt, _ in train}
  # All that they ranked and nobody else did for training.
  assert {prompt for prompt, who in heldout if who == 'eve'} == {
    prompt for prompt, who, _ in ROWS if who == 'eve'
  } - trained
  assert not trained & {prompt for prompt, _ in validation}
  assert labelers.some_held_out(one)


def test_where_nobody_is_held_out_all_is_read(tmp_path):
  rows = [(prompt, who, 'train') for prompt, who, _ in ROWS]
  one = made(tmp_path, rows)
  assert not labelers.some_held_out(one)
  found = pairs(one, 'train') + pairs(one, 'validation')
  assert sorted(found) == sorted((p, who) for p, who, _ in rows)


def test_a_labeler_that_is_not_there_is_named(tmp_path):
  one = made(tmp_path, ROWS, heldout_labelers=('zoe',))
  with pytest.raises(records.DataError, match=r"of \['zoe'\]\. Name some of"):
    labelers.some_held_out(one)


def test_another_labeler_held_out_makes_other_data(tmp_path):
  known = [
    labelers.comparisons(made(tmp_path, ROWS, heldout_labelers=who), split)[1]
    for who in ((), ('bob',))
    for split in ('train', 'validation', 'heldout')
  ]
  assert len({json.dumps(one) for one in known}) == len(known)


def test_groups_of_labelers_hold_each_once_and_about_as_much():
  names = [f'{i}' for i in range(11)]
  labeler = np.repeat([*names, ''], [50, *[10] * 10, 30])
  for seed in range(3):
    dealt = labeler_cv.deal(labeler, 5, seed)
    assert sorted(itertools.chain(*dealt)) == sorted(names)
    sizes = [sum(50 if n == '0' else 10 for n in group) for group in dealt]
    assert max(sizes) == 50 and min(sizes) >= 20
  assert labeler_cv.deal(labeler, 5, 0) == labeler_cv.deal(labeler, 5, 0)
  assert labeler_cv.deal(labeler, 5, 0) != labeler_cv.deal(labeler, 5, 1)


def test_more_groups_than_labelers_are_refused():
  with pytest.raises(records.DataError, match='are of 2 labelers'):
    labeler_cv.deal(np.array(['ann', 'bob', '']), 3, 0)
