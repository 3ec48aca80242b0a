"""Records in and out: import, then export of what people said of it."""

import gzip
import json
import re

import pytest
import sqlalchemy as sa

from instructgpt_jax.data import records
from instructgpt_jax.labeling import exports, imports, incoming
from instructgpt_jax.labeling.incoming import DataError
from instructgpt_jax.labeling.storage.models import Output, Prompt, Task
from tests.labeling.work import NOW, do, hire, jsonl, load, ranked

EVERY = ('demonstration', 'rating', 'ranking', 'comparison')
EASY = {'screening_tasks': 0, 'gold_share': 0.0, 'overlap_share': 0.0}
COLLECTED = {  # as the stage `collect` writes it
  'id': 'w7',
  'source': 'collect',
  'user_id': 'u3',
  'prompt': 'Name a colour.\n',
  'responses': ['red', 'blue', 'red'],
  'ranks': [2, 1, 2],
  'ended': [True, False, True],
  'labeler': 'gus',
  'gold': [0.1, 0.9, 0.1],
}


@pytest.fixture
def all_kinds(make_settings):
  return make_settings(kinds=EVERY, **EASY)


def tasks(database):
  with database.reading() as session:
    rows = session.scalars(sa.select(Task).order_by(Task.id)).all()
    return [(task.kind, len(task.outputs)) for task in rows]


def finish(database, settings, *people, best=None):
  for person in people:
    while isinstance(do(database, settings, person, best=best), dict):
      pass


def exported(database, kind):
  with database.reading() as session:
    return list(exports.KINDS[kind](session))


def test_each_kind_of_task_is_made_of_a_record(database, all_kinds):
  record = ranked('a', 3, models=['m', 'n', 'm'])
  counts = load(database, all_kinds, record)
  assert counts == {
    'prompts': 1,
    'outputs': 3,
    'tasks': 7,
    'tasks_in_all': 7,
  }
  assert tasks(database) == [
    ('demonstration', 0),
    *[('rating', 1)] * 3,
    ('ranking', 3),
    *[('comparison', 2)] * 2,  # m-n and n-m, not m-m
  ]


def test_an_import_twice_is_once_and_other_kinds_share_its_outputs(
  database, all_kinds
):
  load(database, all_kinds, COLLECTED, kinds=('ranking',))
  again = load(database, all_kinds, COLLECTED, kinds=('ranking',))
  assert again == {'prompts': 0, 'outputs': 0, 'tasks': 0, 'tasks_in_all': 1}
  more = load(database, all_kinds, COLLECTED, kinds=('ranking', 'rating'))
  assert (more['outputs'], more['tasks']) == (0, 2)  # red stands there twice
  assert tasks(database) == [('ranking', 3), ('rating', 1), ('rating', 1)]


def test_a_prompt_of_a_later_round_has_outputs_of_both(database, all_kinds):
  load(database, all_kinds, ranked('a', 2), kinds=('ranking',))
  later = {**ranked('a', 2), 'responses': ['new', 'newer']}
  counts = load(database, all_kinds, later, kinds=('ranking',))
  assert counts['prompts'] == 0 and counts['outputs'] == counts['tasks'] + 1
  assert tasks(database) == [('ranking', 2)] * 2


def test_what_collect_wrote_comes_back_as_reward_reads_it(
  database, all_kinds, tmp_path
):
  load(database, all_kinds, COLLECTED, kinds=('ranking',))
  person = hire(database, 'ann', group='heldout')
  finish(database, all_kinds, person)
  with database.reading() as session:
    counts = exports.write(session, tmp_path / 'out')
  assert counts == {
    **{'comparisons': 1, 'demonstrations': 0, 'ratings': 0},
    **{'flags': 0, 'skips': 0},
  }
  assert {f.name for f in (tmp_path / 'out').iterdir()} == {
    'comparisons.jsonl',
    'figures.json',
  }
  path = tmp_path / 'out' / 'comparisons.jsonl'
  ((record, _),) = records.read_records(path, 'comparisons')
  # Ranked by the text, ties included: the first 'red' and the second are one.
  assert record['responses'] == COLLECTED['responses']
  assert record['ranks'] in ([2, 1, 2], [2, 1, 3], [3, 1, 2])
  for field in ('prompt', 'ended', 'user_id', 'source'):
    assert record[field] == COLLECTED[field]
  assert record['prompt_id'] == 'w7'
  assert record['labeler'] == record['labeler_id']
  assert re.fullmatch(rf'labeler-[0-9a-f]{{8}}-{person}', record['labeler'])
  assert record['labeler_group'] == 'heldout'
  assert 'ann' not in json.dumps(record)


def test_ranks_stand_with_their_responses_whatever_order_was_shown(
  database, all_kinds
):
  several = [ranked(f'p{i}', 5, copies=2) for i in range(6)]
  load(database, all_kinds, *several, kinds=('ranking',))
  people = [hire(database, name) for name in ('ann', 'bob')]
  finish(database, all_kinds, *people, best=lambda text: -int(text[-1]))
  found = exported(database, 'comparisons')
  assert len(found) == 12
  for record in found:
    assert [int(text[-1]) for text in record['responses']] == [0, 1, 2, 3, 4]
    assert record['ranks'] == [5, 4, 3, 2, 1]


def test_the_order_in_which_answers_came_does_not_matter(
  make_settings, tmp_path, database
):
  settings = make_settings(kinds=EVERY, **EASY | {'overlap_share': 1.0})
  some = [ranked(f'p{i}', 2, models=['m', 'n']) for i in range(2)]
  load(database, settings, *some)
  people = [hire(database, f'person {i}') for i in range(3)]
  texts = []
  for i, order in enumerate((people, people[::-1])):
    if i:
      with database.engine.begin() as connection:
        for table in ('answers', 'leases'):
          connection.execute(sa.text(f'DELETE FROM {table}'))
        connection.execute(sa.text('UPDATE tasks SET open = 1, answered = 0'))
    finish(database, settings, *order)
    with database.reading() as session:
      exports.write(session, tmp_path / str(i))
    texts.append(
      {f.name: f.read_bytes() for f in (tmp_path / str(i)).iterdir()}
    )
  assert len(texts[0]) == 4
  answers = texts[0]['comparisons.jsonl'].count(b'\n')
  assert answers == 2 * 2 * 3
  # A demonstration has one copy: whoever comes first writes it.
  for found in texts:
    del found['demonstrations.jsonl'], found['figures.json']
  assert texts[0] == texts[1]


def test_conversations_come_back_as_messages(database, all_kinds, tmp_path):
  messages = [{'role': 'user', 'content': 'Hi'}]
  load(
    database,
    all_kinds,
    {'id': 'c', 'messages': messages, 'responses': ['a', 'b']},
    {'id': 's', 'system': 'Be brief.', 'prompt': 'Hi', 'responses': ['a', 'b']},
    kinds=('demonstration', 'ranking'),
  )
  person = hire(database, 'ann')
  shown = [do(database, all_kinds, person)['prompt'] for _ in range(4)]
  assert set(shown) == {'user: Hi', 'Be brief.\n\nHi'}
  with database.reading() as session:
    exports.write(session, tmp_path)
  (c, _), (s, _) = records.read_records(
    tmp_path / 'comparisons.jsonl', 'comparisons'
  )
  assert c['messages'] == messages and 'prompt' not in c
  assert (s['system'], s['prompt']) == ('Be brief.', 'Hi')
  (d, _), _ = records.read_records(
    tmp_path / 'demonstrations.jsonl', 'demonstrations'
  )
  assert [m['role'] for m in d['messages']] == ['user', 'assistant']


def test_tests_of_labelers_are_not_exported(database, make_settings):
  settings = make_settings(kinds=('ranking',), **EASY | {'gold_share': 1.0})
  load(database, settings, ranked('real'))
  load(database, settings, ranked('gold', ranks=[1, 2, 2]), use='gold')
  finish(database, settings, hire(database, 'ann'))
  assert [r['prompt_id'] for r in exported(database, 'comparisons')] == ['real']


def test_ratings_have_quality_and_all_flags(database, all_kinds):
  load(database, all_kinds, ranked('a', 1, model='m'), kinds=('rating',))
  finish(database, all_kinds, hire(database, 'ann'))
  (record,) = exported(database, 'ratings')
  assert (record['model'], record['quality']) == ('m', 5)
  assert len(record['flags']) == 11


def test_ranks_of_a_file_may_leave_numbers_out_to_be_gold():
  (item,) = incoming.of_bytes(jsonl(ranked('a', ranks=[7, 3, 7])), 'gold')
  assert item.answer == {'ranks': [2, 1, 2]}


BAD = {
  b'{"prompt": "a"': 'upload:1: not valid JSON',
  b'\n\n': 'upload: no record',
  b'{"id": "x"}': "upload:1: field 'prompt' is missing",
  b'{"prompt": " "}': "'prompt' holds only white space",
  b'{"prompt": "a\\u0000"}': 'upload:1: a NUL character',
  b'{"prompt": "a\\ud800"}': 'half a surrogate',
  b'[1]': 'expected a JSON object',
  jsonl(ranked('a', 10)): '10 responses, 9 are the most',
  jsonl(ranked('a', 2, response='x')): "'response' stands beside 'responses'",
  jsonl(ranked('a', 2, models=['m'])): '1 models for 2 responses',
  jsonl(ranked('a', 2, ended=[True])): '1 ended for 2 responses',
  jsonl(ranked('a', 2, ended=[1, 0])): "'ended' must be",
  jsonl(ranked('a', 2, copies=0)): "'copies' must be a whole number from 1",
  jsonl(ranked('a', 2, priority=2**40)): "'priority' must be",
  jsonl(ranked('a', 2, kind='guess')): "'kind' must be one of",
  jsonl(ranked('a', 2, kind='screening')): 'no right answer',
  jsonl(ranked('a', 2, answer={'ranks': [1, 2]})): "needs the 'kind'",
  jsonl(
    ranked('a', 2, kind='ranking', answer={'ranks': [1, 3]})
  ): 'answer: ranks: leave no rank out',
}


@pytest.mark.parametrize('body', BAD)
def test_a_record_that_cannot_be_used_is_named(body):
  with pytest.raises(DataError, match=BAD[body]):
    incoming.of_bytes(body)


@pytest.mark.parametrize(
  ('given', 'said'),
  [
    ([ranked('a'), {'id': 'a', 'prompt': 'Other'}], 'upload:2: id "a" is that'),
    ([{'id': 'a', 'prompt': 'Alone'}], 'no task of the kinds ranking'),
    ([ranked('a', 1, kind='comparison')], '1 responses for a task of kind'),
    ([ranked('ok'), ranked('a', 9)], 'upload:2: 9 responses, config.label'),
  ],
)
def test_nothing_of_a_file_with_a_fault_is_stored(
  database, make_settings, given, said
):
  settings = make_settings(kinds=('ranking',), completions=(2, 4))
  with pytest.raises(DataError, match=said):
    load(database, settings, *given)
  with database.reading() as session:
    for table in (Prompt, Output, Task):
      assert not session.scalars(sa.select(table)).all()


def test_files_are_read_packed_or_not(database, all_kinds, tmp_path):
  path = tmp_path / 'a.jsonl.gz'
  path.write_bytes(gzip.compress(jsonl(ranked('a'), ranked('b'))))
  items = incoming.of_files([path])
  assert [item.where for item in items] == [f'{path}:1', f'{path}:2']
  assert imports.store(database, items, all_kinds, NOW)['prompts'] == 2
  with pytest.raises(DataError, match='no such file'):
    incoming.of_files([tmp_path / 'absent.jsonl'])
