"""The test before the first real task lets in whom it should, and no others."""

import random

import pytest
import sqlalchemy as sa

from instructgpt_jax.labeling import accounts, payloads, scoring, screening
from instructgpt_jax.labeling.storage.models import Audit, Labeler
from tests.labeling.work import NOW, give, hire, load, ranked, take

TESTS = 10
RIGHT = [1, 2, 3, 4]
# Of few outputs the content is sensitive.
MARKS = [[n == k for n in range(4)] for k in (0, 1, 2)] + [[False] * 4] * 7


def gold(k, *, marks=True):
  answer = {'ranks': RIGHT} | ({'sensitive': MARKS[k]} if marks else {})
  return ranked(f't{k}', 4, answer=answer)


@pytest.fixture
def ready(database, make_settings):
  """Returns settings under which a test of ten tasks awaits labelers."""
  settings = make_settings(kinds=('ranking',), screening_tasks=TESTS)
  load(database, settings, ranked('real'))
  tests = [gold(k) for k in range(TESTS)]
  load(database, settings, *tests, use='screening')
  return settings


def screened(database, settings, say):
  """Returns the status of who answers each test as `say(places, marks)`.

  `places` are those of the outputs shown in the right order.
  """
  person = hire(database, f'p{random.random()}', status='screening')
  for _ in range(TESTS):
    shown = take(database, settings, person)
    assert shown['kind'] == 'screening'
    places = [int(text[-1]) for text in shown['outputs']]
    marks = MARKS[int(shown['prompt'].rpartition('t')[2])]
    payload = say(places, [marks[place] for place in places])
    give(database, settings, person, shown['lease'], payload)
  with database.reading() as session:
    return session.get_one(Labeler, person).status


def rightly(places):
  return [place + 1 for place in places]


WAYS = {
  'all right': (lambda p, m: dict(ranks=rightly(p), sensitive=m), 'active'),
  'all tied': (lambda p, m: dict(ranks=[1] * 4, sensitive=m), 'failed'),
  'marks nothing': (lambda p, m: dict(ranks=rightly(p)), 'failed'),
  'marks all': (
    lambda p, m: dict(ranks=rightly(p), sensitive=[True] * 4),
    'failed',
  ),
  'reversed': (
    lambda p, m: dict(ranks=[4 - place for place in p], sensitive=m),
    'failed',
  ),
  'as shown': (lambda p, m: dict(ranks=RIGHT, sensitive=m), 'failed'),
}


@pytest.mark.parametrize('way', WAYS)
def test_both_parts_have_to_be_right(database, ready, way):
  say, status = WAYS[way]
  assert screened(database, ready, say) == status
  with database.reading() as session:
    rows = session.scalars(sa.select(Audit).where(Audit.action == 'screened'))
    (log,) = (row.detail for row in rows)
  assert log.keys() == {'status', 'ranks', 'sensitive'}


def test_who_clicks_at_random_does_not_pass():
  draw, passed = random.Random(0), 0
  for _ in range(1000):
    pairs = []
    for marks in MARKS:
      ranks = payloads.dense([draw.randint(1, 4) for _ in RIGHT])
      said = {'ranks': ranks, 'sensitive': [draw.random() < 0.5] * 4}
      pairs.append((said, {'ranks': RIGHT, 'sensitive': marks}))
    found = scoring.parts('screening', pairs)
    passed += found['ranks'] >= 0.75  # though it is the easier half
  assert passed < 10


def test_a_file_without_marks_asks_for_ranks_alone(database, make_settings):
  settings = make_settings(kinds=('ranking',), screening_tasks=TESTS)
  tests = [gold(k, marks=False) for k in range(TESTS)]
  load(database, settings, *tests, use='screening')
  assert screened(database, settings, WAYS['marks all'][0]) == 'active'
  assert screened(database, settings, WAYS['all tied'][0]) == 'failed'


def test_a_test_that_is_not_whole_admits_nobody(database, make_settings):
  settings = make_settings(kinds=('ranking',), screening_tasks=2)
  load(database, settings, ranked('real'))
  ann = hire(database, 'ann', status='screening')
  for k in range(2):
    load(database, settings, gold(k), use='screening')
    with database.reading() as session:
      assert screening.missing(session, settings) == 1 - k
    shown = take(database, settings, ann)
    places = [int(text[-1]) for text in shown['outputs']]
    marks = [MARKS[k][place] for place in places]
    payload = {'ranks': rightly(places), 'sensitive': marks}
    give(database, settings, ann, shown['lease'], payload)
    after = take(database, settings, ann)
    assert after == 'untested' if k == 0 else after['prompt'] == 'Ask real'


def test_who_is_blocked_in_the_test_has_still_to_pass_it(database, ready):
  people = {
    status: hire(database, status, status=status)
    for status in ('screening', 'active')
  }
  boss = hire(database, 'boss')
  for status, person in people.items():
    for change in ('blocked', 'blocked', 'active'):
      database.write(
        lambda session, person=person, change=change: accounts.set_status(
          session, person, change, NOW, boss
        )
      )
    with database.reading() as session:
      assert session.get_one(Labeler, person).status == status
