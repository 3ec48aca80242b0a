"""Who is handed what: rules one by one, and any history of several people."""

import collections
import tempfile

import pytest
import sqlalchemy as sa
from hypothesis import settings as profile
from hypothesis import strategies as st
from hypothesis.stateful import (
  RuleBasedStateMachine,
  initialize,
  invariant,
  rule,
)

from configs import common
from instructgpt_jax.labeling import answers, assignment
from instructgpt_jax.labeling import settings as settings_module
from instructgpt_jax.labeling.assignment import LeaseError, NoSuchLease
from instructgpt_jax.labeling.payloads import AnswerError
from instructgpt_jax.labeling.storage.database import Database
from instructgpt_jax.labeling.storage.models import (
  Answer,
  Base,
  Labeler,
  Lease,
  Task,
)
from tests.labeling.work import (
  NOW,
  do,
  give,
  hire,
  load,
  ranked,
  say,
  take,
)

HOUR = 3600
PLAIN = {'kinds': ('ranking',), 'screening_tasks': 0, 'gold_share': 0.0}


@pytest.fixture
def plain(make_settings):
  return make_settings(**PLAIN, overlap_share=0.0)


def test_the_highest_priority_goes_first_then_the_oldest(database, plain):
  load(database, plain, ranked('a'), ranked('b', priority=5), ranked('c'))
  ann = hire(database, 'ann')
  prompts = [do(database, plain, ann)['prompt'] for _ in range(3)]
  assert prompts == ['Ask b', 'Ask a', 'Ask c']
  assert take(database, plain, ann) == 'nothing'


def test_a_task_stays_until_it_is_answered(database, plain):
  load(database, plain, ranked('a'), ranked('b'))
  ann, bob = hire(database, 'ann'), hire(database, 'bob')
  shown = take(database, plain, ann)
  assert take(database, plain, ann, NOW + 60) == shown
  assert take(database, plain, bob)['prompt'] == 'Ask b'


def test_outputs_stand_in_an_order_of_each_labeler(database, plain):
  load(database, plain, *(ranked(f'{i}', 6, copies=2) for i in range(8)))
  people = [hire(database, name) for name in ('ann', 'bob')]
  seen = collections.defaultdict(list)
  for person in people:
    for _ in range(8):
      shown = do(database, plain, person)
      seen[shown['prompt']].append(shown['outputs'])
  assert all(sorted(a) == sorted(b) for a, b in seen.values())
  assert sum(a != b for a, b in seen.values()) >= 7


def test_a_shared_task_goes_to_as_many_people_as_it_has_copies(
  database, make_settings
):
  settings = make_settings(**PLAIN, overlap_share=1.0, overlap_copies=2)
  load(database, settings, ranked('a'))
  people = [hire(database, name) for name in ('ann', 'bob', 'cid')]
  found = [do(database, settings, person) for person in people]
  assert [isinstance(shown, dict) for shown in found] == [True, True, False]


def test_the_share_of_prompts_that_several_get(database, make_settings):
  settings = make_settings(**PLAIN, overlap_share=0.2, overlap_copies=3)
  load(database, settings, *(ranked(f'{i}') for i in range(200)))
  with database.reading() as session:
    copies = session.scalars(sa.select(Task.copies)).all()
  assert set(copies) == {1, 3}
  assert 0.12 < copies.count(3) / 200 < 0.28


def test_a_lease_that_ran_out_goes_to_others(database, plain):
  load(database, plain, ranked('a'))
  ann, bob = hire(database, 'ann'), hire(database, 'bob')
  shown = take(database, plain, ann)
  assert take(database, plain, bob, NOW + HOUR - 1) == 'nothing'
  other = take(database, plain, bob, NOW + HOUR)
  assert other['prompt'] == shown['prompt']
  with pytest.raises(LeaseError, match='others have taken'):
    give(database, plain, ann, shown['lease'], say(shown), now=NOW + HOUR)


def test_a_late_answer_counts_while_nobody_else_has_the_task(database, plain):
  load(database, plain, ranked('a'))
  ann = hire(database, 'ann')
  shown, late = take(database, plain, ann), NOW + 3 * HOUR
  bob = hire(database, 'bob', status='blocked')
  assert take(database, plain, bob, late) == 'blocked'
  _, new = give(database, plain, ann, shown['lease'], say(shown), now=late)
  assert new


def test_what_ran_out_comes_back_when_nothing_else_is_left(database, plain):
  load(database, plain, ranked('a'), ranked('b'))
  ann = hire(database, 'ann')
  first = take(database, plain, ann)
  later = NOW + 2 * HOUR
  assert do(database, plain, ann, later)['prompt'] == 'Ask b'
  again = take(database, plain, ann, later)
  assert (again['lease'], again['outputs']) == (
    first['lease'],
    first['outputs'],
  )


def test_a_task_held_longer_is_not_handed_on(database, plain):
  load(database, plain, ranked('a'))
  ann, bob = hire(database, 'ann'), hire(database, 'bob')
  shown = take(database, plain, ann)

  def hold(session):
    labeler = session.get(Labeler, ann)
    lease = assignment.own(session, labeler, shown['lease'])
    return assignment.hold(session, lease, NOW + 3000, plain).expires

  assert database.write(hold) == NOW + 3000 + HOUR
  assert take(database, plain, bob, NOW + HOUR + 10) == 'nothing'


def test_what_three_people_skip_is_given_to_nobody(database, plain):
  load(database, plain, ranked('a'))
  for name in ('ann', 'bob', 'cid'):
    person = hire(database, name)
    lease = take(database, plain, person)['lease']
    for _ in range(2):  # twice is once
      database.write(
        lambda session, person=person, lease=lease: answers.skip(
          session, session.get(Labeler, person), lease, 'Unclear', NOW
        )
      )
    assert take(database, plain, person) == 'nothing'
  assert take(database, plain, hire(database, 'dee')) == 'nothing'


def test_gold_questions_come_as_often_as_the_settings_say(
  database, make_settings
):
  settings = make_settings(**PLAIN | {'gold_share': 0.25})
  load(database, settings, *(ranked(f'{i}', copies=9) for i in range(60)))
  gold = [ranked(f'g{i}', ranks=[1, 2, 3]) for i in range(30)]
  load(database, settings, *gold, use='gold')
  ann, bob = hire(database, 'ann'), hire(database, 'bob')
  shown = [do(database, settings, ann)['prompt'] for _ in range(40)]
  assert 4 <= sum('g' in prompt for prompt in shown) <= 18
  other = [do(database, settings, bob)['prompt'] for _ in range(20)]
  assert set(shown) & {p for p in other if 'g' in p}  # the same for all
  with database.reading() as session:
    scores = session.scalars(sa.select(Answer.score)).all()
  assert sum(score is not None for score in scores) == sum(
    'g' in prompt for prompt in shown + other
  )


def screen(database, settings, name, best):
  person = hire(database, name, status='screening')
  shown = [do(database, settings, person, best=best) for _ in range(3)]
  assert all(task['kind'] == 'screening' for task in shown)
  return person


def test_screening_comes_before_the_first_task_and_decides(
  database, make_settings
):
  settings = make_settings(
    kinds=('ranking',), screening_tasks=3, gold_share=0.0
  )
  load(database, settings, ranked('real'))
  early = hire(database, 'early', status='screening')
  assert take(database, settings, early) == 'untested'
  tests = [ranked(f't{i}', ranks=[1, 2, 3]) for i in range(3)]
  load(database, settings, *tests, use='screening')
  bad = screen(database, settings, 'bad', lambda text: -int(text[-1]))
  assert take(database, settings, bad) == 'failed'
  good = screen(database, settings, 'good', lambda text: int(text[-1]))
  assert take(database, settings, good)['prompt'] == 'Ask real'


def test_a_screening_task_cannot_be_skipped(database, make_settings):
  settings = make_settings(screening_tasks=1)
  load(database, settings, ranked('t', ranks=[1, 2, 3]), use='screening')
  ann = hire(database, 'ann', status='screening')
  lease = take(database, settings, ann)['lease']
  with pytest.raises(AnswerError, match='screening'):
    database.write(
      lambda session: answers.skip(
        session, session.get(Labeler, ann), lease, 'Hard', NOW
      )
    )


def test_labelers_held_out_write_no_demonstrations(database, make_settings):
  settings = make_settings(**PLAIN | {'kinds': ('demonstration', 'ranking')})
  load(database, settings, *(ranked(f'{i}', copies=2) for i in range(9)))
  eve = hire(database, 'eve', group='heldout')
  kinds = set()
  while not isinstance(shown := do(database, settings, eve), str):
    kinds.add(shown['kind'])
  assert kinds == {'ranking'}
  # Nor one that ran out while they were not yet held out.
  bob = hire(database, 'bob')
  assert take(database, settings, bob)['kind'] == 'demonstration'
  database.write(
    lambda session: setattr(session.get(Labeler, bob), 'group', 'heldout')
  )
  later = take(database, settings, bob, NOW + 2 * HOUR)
  assert isinstance(later, str) or later['kind'] == 'ranking'


def test_two_of_one_group_meet_on_all_that_several_get(database, make_settings):
  settings = make_settings(
    **PLAIN, overlap_share=0.5, overlap_copies=2, heldout_share=0.3
  )
  load(database, settings, *(ranked(f'{i}') for i in range(60)))
  groups = {'ann': 'train', 'bob': 'train', 'eve': 'heldout', 'fay': 'heldout'}
  people = {n: hire(database, n, group=g) for n, g in groups.items()}
  who = collections.defaultdict(list)
  busy = dict(people)
  while busy:
    for name, person in list(busy.items()):
      shown = do(database, settings, person)
      if isinstance(shown, str):
        del busy[name]
      else:
        who[shown['prompt']].append(groups[name])
  kinds = collections.Counter(tuple(found) for found in who.values())
  assert kinds.keys() == {('train',), ('train',) * 2, ('heldout',) * 2}
  assert len(who) == 60 and 3 <= kinds['heldout', 'heldout'] <= 16


def test_who_is_shut_out_cannot_keep_a_task(database, plain):
  load(database, plain, ranked('a'))
  ann = hire(database, 'ann')
  lease = take(database, plain, ann)['lease']

  def hold(session):
    labeler = session.get(Labeler, ann)
    labeler.status = 'blocked'
    one = assignment.own(session, labeler, lease)
    return assignment.hold(session, one, NOW + 60, plain)

  with pytest.raises(LeaseError, match='may not label'):
    database.write(hold)


@pytest.mark.parametrize(
  ('budget', 'reason', 'counts'),
  [('labeler_budget', 'budget', [2, 2]), ('total_budget', 'total', [2, 0])],
)
def test_budgets(database, make_settings, budget, reason, counts):
  settings = make_settings(**PLAIN, **{budget: 2})
  load(database, settings, *(ranked(f'{i}') for i in range(9)))
  for name, count in zip(('ann', 'bob'), counts, strict=True):
    person = hire(database, name)
    for _ in range(count):
      assert isinstance(do(database, settings, person), dict)
    assert take(database, settings, person) == reason


def test_a_late_answer_is_not_one_more_than_the_budget(database, make_settings):
  settings = make_settings(**PLAIN, labeler_budget=1)
  load(database, settings, ranked('a'), ranked('b'))
  ann, later = hire(database, 'ann'), NOW + 2 * HOUR
  first = take(database, settings, ann)
  assert do(database, settings, ann, later)['prompt'] == 'Ask b'
  with pytest.raises(LeaseError, match='No more answers'):
    give(database, settings, ann, first['lease'], say(first), now=later)


class Histories(RuleBasedStateMachine):
  """Any order of people's steps, of time that runs out, and of late answers."""

  @initialize(
    copies=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    own=st.sampled_from((0, 2)),
    total=st.sampled_from((0, 3)),
  )
  def start(self, copies, own, total):
    block = common.label()
    block.update(PLAIN | {'labeler_budget': own, 'total_budget': total})
    self.settings = settings_module.make(block, '/nowhere')
    self.folder = tempfile.TemporaryDirectory()
    self.database = Database(f'sqlite:///{self.folder.name}/a.db')
    Base.metadata.create_all(self.database.engine)
    tasks = [ranked(f'{i}', 2, copies=n) for i, n in enumerate(copies)]
    load(self.database, self.settings, *tasks)
    self.people = [hire(self.database, f'p{i}') for i in range(3)]
    self.now = NOW
    self.leases = {}  # lease: (person, task shown)
    self.kept = {}  # lease: (answer, payload)
    self.skipped = set()

  def teardown(self):
    if hasattr(self, 'database'):
      self.database.close()
      self.folder.cleanup()

  @rule(person=st.integers(0, 2))
  def next_task(self, person):
    who = self.people[person]
    shown = take(self.database, self.settings, who, self.now)
    if isinstance(shown, str):
      return
    lease = shown['lease']
    assert self.leases.setdefault(lease, (who, shown))[0] == who
    assert lease not in self.kept and lease not in self.skipped
    same = [
      other
      for other, (owner, task) in self.leases.items()
      if owner == who and task['prompt'] == shown['prompt']
    ]
    assert same == [lease]

  @rule(data=st.data(), person=st.integers(0, 2), flip=st.booleans())
  def answer(self, data, person, flip):
    if not self.leases:
      return
    lease = data.draw(st.sampled_from(sorted(self.leases)))
    owner, _ = self.leases[lease]
    who = self.people[person]
    payload = {'ranks': [2, 1] if flip else [1, 2]}
    try:
      found, new = give(
        self.database, self.settings, who, lease, payload, now=self.now
      )
    except NoSuchLease:
      assert owner != who
      return
    except LeaseError:
      # A second answer that says something else is not taken in silence.
      assert self.kept.get(lease, (0, 0))[1] != payload
      return
    assert owner == who and new == (lease not in self.kept)
    self.kept.setdefault(lease, (found, payload))
    assert self.kept[lease][0] == found

  @rule(data=st.data())
  def skip(self, data):
    open_leases = sorted(self.leases.keys() - self.kept.keys())
    if not open_leases:
      return
    lease = data.draw(st.sampled_from(open_leases))
    owner, _ = self.leases[lease]
    self.database.write(
      lambda session: answers.skip(
        session, session.get(Labeler, owner), lease, 'Unclear', self.now
      )
    )
    self.skipped.add(lease)

  @rule(minutes=st.sampled_from((1, 30, 61)))
  def wait(self, minutes):
    self.now += 60 * minutes

  @invariant()
  def every_answer_is_there_once_and_nothing_is_handed_out_too_often(self):
    if not hasattr(self, 'database'):
      return
    with self.database.reading() as session:
      rows = session.execute(sa.select(Answer.lease_id, Answer.payload)).all()
      tasks = session.scalars(sa.select(Task)).all()
      leases = session.scalars(sa.select(Lease)).all()
      assert dict(map(tuple, rows)) == {
        lease: payload for lease, (_, payload) in self.kept.items()
      }
      taken = [one for one in leases if one.state in ('held', 'answered')]
      for task in tasks:
        assert sum(one.task_id == task.id for one in taken) <= task.copies
        assert task.answered == sum(
          one.task_id == task.id and one.state == 'answered' for one in taken
        )
      by_person = collections.Counter(one.labeler_id for one in taken)
      if self.settings.labeler_budget:
        assert max(by_person.values(), default=0) <= 2
      if self.settings.total_budget:
        assert len(taken) <= 3


TestHistories = Histories.TestCase
TestHistories.settings = profile(max_examples=25, stateful_step_count=25)
