"""Agreement, habits, win rates and tables, against numbers by hand."""

import dataclasses

import pytest

from instructgpt_jax.labeling import figures, progress, said
from instructgpt_jax.labeling.payloads import FLAGS
from instructgpt_jax.labeling.said import Said, Shown
from tests.labeling.work import NOW, do, give, hire, load, ranked, say, take

NO_FLAGS = dict.fromkeys(FLAGS, False)


def row(labeler, payload, texts=('a', 'b'), models=('', ''), **changes):
  """Returns an answer to outputs 0, 1, ... in the order shown."""
  outputs = tuple(
    Shown(i, text, model, None)
    for i, (text, model) in enumerate(zip(texts, models, strict=True))
  )
  values = {
    'kind': 'ranking',
    'task': 't',
    'is_work': True,
    'prompt': 'p',
    'text': 'Ask',
    'user': None,
    'extra': {},
    'outputs': outputs,
    'imported': tuple(range(len(outputs))),
    'labeler': f'labeler-{labeler}',
    'group': 'train',
    'payload': payload,
    'seconds': 10.0,
    'score': None,
    'at': NOW,
  }
  return Said(**values | changes)


def ranks(labeler, *values, **changes):
  return row(labeler, {'ranks': list(values)}, **changes)


def rating(model, quality, **changes):
  payload = {'quality': quality, 'flags': changes.pop('flags', NO_FLAGS)}
  return row(1, payload, ('x',), (model,), kind='rating', **changes)


def test_agreement_is_between_people_who_saw_other_orders():
  one = ranks(1, 1, 2, 3, texts='abc', models=['', '', ''])
  # The second saw c, b, a: b is the best to them, then a, then c.
  other = ranks(
    2, 3, 1, 2, texts='cba', models=['', '', ''], imported=(2, 1, 0)
  )
  found = figures.agreements([one, other])['all']
  assert found['pairwise']['n'] == 3
  assert found['pairwise']['mean'] == pytest.approx(2 / 3)


def test_agreement_within_groups_and_of_work_alone():
  rows = [
    ranks(1, 1, 2),
    ranks(2, 1, 2),
    ranks(3, 2, 1, group='heldout'),
    ranks(4, 2, 1, group='heldout'),
    ranks(5, 2, 1, is_work=False),
  ]
  found = figures.agreements(rows)
  assert found['train']['pairwise']['mean'] == 1
  assert found['heldout']['pairwise']['mean'] == 1
  assert found['all']['pairwise']['mean'] == pytest.approx(2 / 6)
  assert found['all']['labelers'] == 4


def test_habits_of_a_labeler():
  # Of three pairs one is tied; of the other two the earlier won once, and the
  # longer ('cc') never.
  own = ranks(7, 2, 1, 2, texts=('a', 'b', 'cc'), models=[''] * 3, score=0.5)
  (found,) = figures.labelers([own])
  assert found['labeler'] == 'labeler-7'
  assert found['tie_rate']['mean'] == pytest.approx(1 / 3)
  assert found['position']['mean'] == 0.5 and found['position']['n'] == 2
  assert found['length']['mean'] == 0 and found['length']['n'] == 1
  assert 0 < found['length']['high'] < 1
  assert found['gold'] == {'mean': 0.5, 'n': 1}
  assert found['agreement'] is None and found['quality'] is None


def test_a_labeler_who_takes_the_first_is_seen():
  rows = [ranks(1, 1, 2, task=str(i)) for i in range(40)]
  (found,) = figures.labelers(rows)
  assert found['position']['low'] > 0.9


def test_win_rates_count_a_tie_as_half_and_leave_out_unnamed_models():
  rows = [
    ranks(1, 1, 2, models=('m', 'n'), prompt='p1'),
    ranks(1, 1, 1, models=('m', 'n'), prompt='p2'),
    ranks(2, 2, 1, models=('n', 'm'), prompt='p3', kind='comparison'),
    ranks(2, 1, 2, models=('n', 'm'), prompt='p4', group='heldout'),
    ranks(2, 1, 2, models=('', 'm'), prompt='p5'),
    ranks(2, 1, 2, models=('n', 'm'), prompt='p6', is_work=False),
  ]
  found = figures.win_rates(rows)
  assert [(r['model'], r['over'], r['mean']) for r in found['all']] == [
    ('m', 'n', 2.5 / 4),
    ('n', 'm', 1.5 / 4),
  ]
  assert found['all'][0]['n'] == 4
  assert found['all'][0]['low'] < 2.5 / 4 < found['all'][0]['high']
  assert found['heldout'][0]['mean'] == 0
  assert found['train'][0]['mean'] == pytest.approx(2.5 / 3)


def test_nobody_is_sure_of_a_model_that_won_all_of_a_few_prompts():
  rows = [ranks(1, 1, 2, models=('m', 'n'), prompt=f'{i}') for i in range(3)]
  won = figures.win_rates(rows)['all'][0]
  assert (won['mean'], won['high']) == (1, pytest.approx(1))
  assert won['low'] == pytest.approx(0.4385, abs=1e-3)  # Wilson, 3 of 3


def test_one_prompt_says_little_whatever_was_said_of_it():
  tie = ranks(1, 1, 1, models=('m', 'n'))
  won = figures.win_rates([tie])['all'][0]
  assert (won['low'], won['mean'], won['high']) == (
    pytest.approx(0.0546, abs=1e-3),  # Wilson: half of one
    0.5,
    pytest.approx(0.9454, abs=1e-3),
  )
  (quality,) = figures.likert([rating('m', 5)])
  assert quality['low'] < 2.5 and 6.5 < quality['high'] <= 7
  shared = [ranks(k, 1, 2) for k in (1, 2)]
  found = figures.agreements(shared)['all']['pairwise']
  assert (found['mean'], found['high']) == (1, 1) and found['low'] < 0.25


def test_a_long_ranking_is_one_case_of_a_habit():
  own = ranks(1, *range(1, 10), texts='abcdefghi', models=[''] * 9)
  (found,) = figures.labelers([own])
  assert (found['position']['mean'], found['position']['n']) == (1, 36)
  assert found['position']['low'] < 0.25


def test_a_model_and_its_opposite_have_one_interval():
  rows = [
    ranks(
      1, 1 + (k % 3 == 0), 1 + (k % 3 > 0), models=('n', 'm'), prompt=f'{k}'
    )
    for k in range(40)
  ]
  one, other = figures.win_rates(rows)['all']
  assert one['low'] == pytest.approx(1 - other['high'])
  assert one['high'] == pytest.approx(1 - other['low'])
  assert one['low'] < one['mean'] < one['high']


def test_quality_and_flags_by_model():
  stated = NO_FLAGS | {'hallucination': True}
  unstated = NO_FLAGS | {'satisfies_constraint': None}
  rows = [
    rating('m', 7, prompt='p1', flags=stated),
    rating('m', 4, prompt='p2', flags=unstated),
    rating('n', 1),
    rating('m', 1, is_work=False),
  ]
  (m, n) = figures.likert(rows)
  assert (m['model'], m['mean'], m['n']) == ('m', 5.5, 2)
  assert m['counts'] == [0, 0, 0, 1, 0, 0, 1] and n['counts'][0] == 1
  (m, n) = figures.flags(rows)
  assert m['hallucination']['mean'] == 0.5
  assert m['satisfies_constraint']['n'] == 1  # the other stated none
  assert n['hallucination']['mean'] == 0 < n['hallucination']['high']


def test_tables_of_nothing_are_empty(database):
  with database.reading() as session:
    found = figures.tables(session)
  assert found['likert'] == found['flags'] == found['labelers'] == []
  assert found['agreement']['all']['pairwise'] is None
  assert found['win_rates'] == {'all': [], 'train': [], 'heldout': []}


def test_figures_of_the_tables_outlive_their_session(database, make_settings):
  settings = make_settings(
    kinds=('ranking', 'rating'),
    screening_tasks=0,
    gold_share=0.0,
    overlap_share=1.0,
    overlap_copies=2,
  )
  load(database, settings, ranked('a', 3, models=['m', 'n', 'o']))
  for name in ('ann', 'bob'):
    person = hire(database, name)
    while isinstance(do(database, settings, person), dict):
      pass
  with database.reading() as session:
    rows = list(said.read(session))
  assert figures.agreements(rows)['all']['pairwise']['mean'] == 1
  wins = {(r['model'], r['over']): r for r in figures.win_rates(rows)['all']}
  assert wins['m', 'o']['mean'] == 1 and wins['o', 'm']['mean'] == 0
  assert [r['n'] for r in figures.likert(rows)] == [2, 2, 2]


def test_the_days_shown_are_whole_and_today_is_among_them(
  database, make_settings
):
  settings = make_settings(kinds=('ranking',), **{'heldout_share': 0.0})
  load(database, settings, *(ranked(f'{i}') for i in range(20)))
  ann, day = hire(database, 'ann'), 86_400
  for k in range(20):
    do(database, settings, ann, NOW + k * day)
  with database.reading() as session:
    pace = progress.throughput(session, NOW + 19 * day + 100)
  assert len(pace.days) == 14
  assert pace.days[0][0] == '2027-02-03'  # of NOW and 19 days


def test_what_may_still_come_of_a_batch(database, make_settings):
  settings = make_settings(
    kinds=('ranking',), screening_tasks=0, gold_share=0.0, overlap_share=0.0
  )

  def standing(**changes):
    with database.reading() as session:
      return progress.standing(
        session, dataclasses.replace(settings, **changes), 'b'
      )

  load(database, settings, ranked('a'), ranked('b', copies=2), batch='b')
  load(database, settings, ranked('c'), batch='other')
  load(database, settings, ranked('g', ranks=[1, 2, 3]), use='gold', batch='b')
  assert standing() == progress.Standing(answers=0, left=3, idle=True)
  ann = hire(database, 'ann')
  assert standing() == progress.Standing(0, 3, False)
  do(database, settings, ann)
  take(database, settings, ann)
  assert standing() == progress.Standing(1, 2, False)
  assert standing(total_budget=2) == progress.Standing(1, 1, False)
  do(database, settings, ann)
  # Of the second of two copies: nobody is there who may have it.
  assert standing() == progress.Standing(2, 1, True)
  do(database, settings, hire(database, 'bob'))
  assert standing() == progress.Standing(3, 0, False)


def test_progress_and_pace(database, make_settings):
  settings = make_settings(
    kinds=('ranking',), screening_tasks=0, gold_share=0.0, overlap_share=0.0
  )
  load(database, settings, *(ranked(f'{i}', copies=2) for i in range(3)))
  ann, bob = hire(database, 'ann'), hire(database, 'bob', status='blocked')
  assert bob != ann
  shown = take(database, settings, ann)
  give(
    database,
    settings,
    ann,
    shown['lease'],
    say(shown),
    now=NOW + 20,
    key='k' * 8,
  )
  take(database, settings, ann, NOW + 20)
  with database.reading() as session:
    found = progress.progress(session)
    pace = progress.throughput(session, NOW + 30)
    later = progress.throughput(session, NOW + 3 * 86_400)
  kind = found.kinds['ranking']
  assert (kind.tasks, kind.wanted, kind.answers, kind.held) == (3, 6, 1, 1)
  assert found.labelers == {
    'screening': 0,
    'active': 1,
    'failed': 0,
    'blocked': 1,
  }
  assert (found.prompts, found.outputs) == (3, 9)
  assert pace.median_seconds == {'ranking': 20.0}
  assert pace.work_left == 5 * 20.0
  assert (pace.last_hour, later.last_hour, later.last_day) == (1, 0, 0)
  assert pace.days == [('2027-01-15', {'ranking': 1})]
