"""Records in and out: import, then export of what people said of it."""

import gzip
import json
import re

import pytest
import sqlalchemy as sa

from instructgpt_jax.data import records
from instructgpt_jax.labeling import answers, exports, imports, incoming, said
from instructgpt_jax.labeling.incoming import DataError
from instructgpt_jax.labeling.storage.database import Database
from instructgpt_jax.labeling.storage.migrate import migrate
from instructgpt_jax.labeling.storage.models import (
  Application,
  Labeler,
  Output,
  Prompt,
  Task,
)
from tests.labeling.work import NOW, do, hire, jsonl, load, ranked, take

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


def exported(database, kind, **how):
  with database.reading() as session:
    return list(exports.KINDS[kind](session, **how))


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


@pytest.mark.parametrize('first', ['work', 'gold'])
def test_what_is_work_cannot_be_gold_as_well(database, make_settings, first):
  settings = make_settings(kinds=('ranking',), **EASY)
  record = ranked('a', ranks=[1, 2, 3])
  load(database, settings, record, use=first)
  other = 'gold' if first == 'work' else 'work'
  for records_ in ([record], [ranked('new', ranks=[1, 1, 2]), record]):
    with pytest.raises(DataError, match='this task is there with another'):
      load(database, settings, *records_, use=other)
  assert load(database, settings, record, use=first)['tasks'] == 0
  assert tasks(database) == [('ranking', 3)]


def test_two_imports_at_once_hang_nothing_on_another_prompt(
  database, all_kinds, monkeypatch
):
  check, calls = imports._check, []

  def check_and_be_overtaken(session, planned):
    check(session, planned)
    calls.append(1)
    if len(calls) == 1:
      load(database, all_kinds, {**ranked('a'), 'prompt': 'Another'})

  monkeypatch.setattr(imports, '_check', check_and_be_overtaken)
  with pytest.raises(DataError, match='is that of another prompt'):
    load(database, all_kinds, ranked('a'))
  with database.reading() as session:
    assert session.scalars(sa.select(Prompt.text)).all() == ['Another']


def test_flags_and_skips_are_exported_without_names(database, all_kinds):
  load(database, all_kinds, ranked('a', 2), kinds=('ranking',))
  load(database, all_kinds, ranked('b', 2), kinds=('ranking',))
  ann = hire(database, 'ann')
  shown = take(database, all_kinds, ann)

  def work(session):
    who = session.get(Labeler, ann)
    lease = shown['lease']
    answers.flag(session, who, lease, 'hate', NOW, output=1, note='rude')
    answers.flag(session, who, lease, 'other', NOW)
    answers.skip(session, who, lease, 'Unclear', NOW)

  database.write(work)
  one, other = exported(database, 'flags')
  assert (one['flag'], one['note']) == ('hate', 'rude')
  assert one['response'] == shown['outputs'][1] and other['response'] is None
  (skip,) = exported(database, 'skips')
  assert (skip['prompt_id'], skip['reason']) == ('a', 'Unclear')
  assert one['labeler_id'] == skip['labeler_id'] != 'ann'
  block(database, ann)
  for kind in ('flags', 'skips'):
    assert exported(database, kind, blocked=False) == []


def block(database, person):
  database.write(
    lambda session: setattr(session.get(Labeler, person), 'status', 'blocked')
  )


def test_what_the_blocked_said_can_be_left_out(database, all_kinds, tmp_path):
  load(database, all_kinds, ranked('a', 2, copies=2, models=['m', 'n']))
  people = [hire(database, name) for name in ('ann', 'bob')]
  finish(database, all_kinds, *people)
  block(database, people[0])
  for kind in ('comparisons', 'ratings', 'demonstrations'):
    whole = exported(database, kind)
    kept = exported(database, kind, blocked=False)
    assert kept == [r for r in whole if r['labeler'].endswith('-2')] != whole
  with database.reading() as session:
    counts = exports.write(session, tmp_path, blocked=False)
  assert counts['comparisons'] == 2
  figures = json.loads((tmp_path / 'figures.json').read_text())
  assert len(figures['labelers']) == 1


def test_demonstrations_of_labelers_held_out_are_no_training_data(
  database, all_kinds
):
  load(database, all_kinds, ranked('a'), kinds=('demonstration',))
  ann = hire(database, 'ann')
  finish(database, all_kinds, ann)
  assert len(exported(database, 'demonstrations')) == 1
  database.write(  # as an older version let them
    lambda session: setattr(session.get(Labeler, ann), 'group', 'heldout')
  )
  assert exported(database, 'demonstrations') == []


def test_labelers_of_two_applications_are_never_one(make_settings, tmp_path):
  names = []
  for k in range(2):
    database = Database(f'sqlite:///{tmp_path}/{k}.db')
    for _ in range(2):  # a second start changes nothing
      migrate(database)
      with database.reading() as session:
        code = session.get_one(Application, 1).code
    hire(database, 'ann')
    with database.reading() as session:
      names.append(said.pseudonyms(session))
    assert names[-1] == {1: f'labeler-{code}-1'}
    database.close()
  assert names[0] != names[1]


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
