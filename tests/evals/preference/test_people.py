"""What the labelling application exports, read and counted by hand."""

import json

import numpy as np
import pytest

from instructgpt_jax.data.schema import DataError
from instructgpt_jax.evals import intervals
from instructgpt_jax.evals.preference import likert, people, win_rate


def written(path, rows):
  path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  return path


def ranking(name, ranks, models, **more):
  responses = [f' {m} {k}' for k, m in enumerate(models)]
  return {
    'id': name,
    'prompt': f'prompt {name}',
    'responses': responses,
    'ranks': ranks,
    'models': models,
    **more,
  }


def test_people_prefer_whom_they_rank_first(tmp_path):
  path = written(
    tmp_path / 'comparisons.jsonl',
    [
      ranking('1', [2, 1, 3], ['sft', 'ppo', 'base'], labeler='ada'),
      ranking('2', [1, 1], ['ppo', 'sft'], labeler='ben', category='chat'),
      ranking('3', [1, 2], ['base', 'sft']),  # one of the two alone
      ranking('4', [3, 1, 2], ['ppo', 'sft', 'ppo']),
    ],
  )
  read = people.read(path)
  cases, said = people.comparisons(read, 'ppo', 'sft')
  assert said.tolist() == [1.0, 0.5, 0.0, 0.0]
  assert [c.candidate.text for c in cases] == [
    ' ppo 1',
    ' ppo 0',
    ' ppo 0',
    ' ppo 2',
  ]
  assert cases[0].baseline == (' sft 0', 6, True)
  table = win_rate.table(cases, said)
  assert table['all']['mean'] == pytest.approx(1.5 / 4)
  assert table['by_use_case']['Chat']['mean'] == 0.5
  other = people.comparisons(read, 'sft', 'ppo')[1]
  np.testing.assert_allclose(np.sort(other), np.sort(1 - said))


@pytest.mark.parametrize(
  ('change', 'complaint'),
  [
    ({'models': 'ppo'}, "jsonl:1: 'models' must be a list of names"),
    ({'models': ['sft', 3]}, "jsonl:1: 'models' must be a list of names"),
    ({'models': ['sft']}, 'jsonl:1: 2 responses, but 1 models'),
    ({'ranks': [1]}, 'jsonl:1: 2 responses but 1 ranks'),
  ],
)
def test_files_of_wrong_models_say_so(tmp_path, change, complaint):
  row = ranking('1', [1, 2], ['ppo', 'sft']) | change
  path = written(tmp_path / 'comparisons.jsonl', [row])
  with pytest.raises(DataError, match=complaint):
    people.read(path)


def test_rankings_of_no_models_are_counted_and_models_without_pairs_skipped(
  tmp_path,
):
  said = [{'role': 'user', 'content': 'hello'}]
  chat = ranking('3', [1, 2], ['ppo', 'sft'], messages=said)
  del chat['prompt']
  unnamed = ranking('1', [1, 2], ['', ''])
  none = ranking('2', [1, 2], ['ppo', 'sft'])
  del none['models']
  path = written(tmp_path / 'comparisons.jsonl', [unnamed, none, chat])
  read = people.read(path)
  assert (len(read.records), read.without_models) == (1, 2)
  cases, verdicts = people.comparisons(read, 'ppo', 'sft')
  assert verdicts.tolist() == [1.0] and 'hello' in cases[0].item
  cases, verdicts = people.comparisons(read, 'base', 'sft')
  assert cases == [] and verdicts.tolist() == []


def rating(prompt, model, quality, labeler='ada', **flags):
  return {
    'prompt': prompt,
    'model': model,
    'quality': quality,
    'flags': flags,
    'labeler': labeler,
  }


ROWS = [
  rating('p', 'sft', 4, hallucination=True, satisfies_constraint=None),
  rating('p', 'sft', 6, 'ben', hallucination=False, satisfies_constraint=True),
  rating('q', 'sft', 1, hallucination=False, satisfies_constraint=None),
  rating('p', 'ppo', 7, hallucination=False, satisfies_constraint=True),
]


def test_likert_and_flags_by_hand(tmp_path):
  path = written(tmp_path / 'ratings.jsonl', ROWS)
  found = likert.table(people.ratings(path))
  assert list(found) == ['ppo', 'sft']
  sft = found['sft']
  assert sft['quality']['mean'] == pytest.approx(11 / 3)
  # Of two prompts a bootstrap knows nothing: Wilson's, on the scale of 1 to 7.
  wilson = intervals.share((11 / 3 - 1) / 6, 2)
  assert sft['quality']['low'] == pytest.approx(1 + 6 * wilson.low)
  assert sft['quality']['high'] == pytest.approx(1 + 6 * wilson.high)
  assert sft['distribution'] == pytest.approx([1 / 3, 0, 0, 1 / 3, 0, 1 / 3, 0])
  assert sft['flags']['hallucination']['mean'] == pytest.approx(1 / 3)
  assert sft['flags']['satisfies_constraint']['n'] == 1  # one had one to keep
  assert (sft['prompts'], sft['labelers']) == (2, 2)


def test_ratings_of_conversations_are_counted_by_what_was_asked(tmp_path):
  def of(text, quality):
    row = rating('', 'sft', quality)
    del row['prompt']
    said = [{'role': 'user', 'content': text}]
    return row | {'messages': said, 'response': 'yes'}

  rows = [of('a', 1), of('a', 3), of('b', 5)]
  path = written(tmp_path / 'ratings.jsonl', rows)
  found = likert.table(people.ratings(path))
  assert found['sft']['quality']['mean'] == pytest.approx(3)
  assert found['sft']['prompts'] == 2


@pytest.mark.parametrize(
  ('change', 'complaint'),
  [
    ({'quality': 8}, ":1: 'quality' must be a whole number from 1 to 7"),
    ({'quality': True}, "'quality' must be"),
    ({'model': None}, "'model' must be a string"),
    ({'flags': {'opinion': 'yes'}}, "'flags' must be"),
  ],
)
def test_ratings_are_checked(tmp_path, change, complaint):
  path = written(tmp_path / 'ratings.jsonl', [ROWS[0] | change])
  with pytest.raises(DataError, match=complaint):
    list(people.ratings([path]))
  path.write_text('[1]\n')
  with pytest.raises(DataError, match=':1: expected a JSON object'):
    list(people.ratings(path))
