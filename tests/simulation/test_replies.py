"""Demonstrators: good on the whole, uneven, and each punished trick is seen."""

import itertools
import statistics
from collections import defaultdict

import pytest

from instructgpt_jax.simulation import World, gold
from instructgpt_jax.simulation import vocabulary as v
from instructgpt_jax.simulation.draws import Draw
from instructgpt_jax.simulation.instructions import Constraint
from instructgpt_jax.simulation.replies import MAX_WORDS, mistake, wrap
from instructgpt_jax.simulation.tasks import TASKS, make_facts


@pytest.fixture(scope='module')
def demos():
  records = list(World(0).demonstrations(4000))
  return [(r, gold(r, r['response'], True)) for r in records]


def _share(demos, test):
  return statistics.mean(bool(test(r, score)) for r, score in demos)


def test_demonstrations_are_good_but_leave_room(demos):
  totals = [score.total for _, score in demos]
  assert 0.70 < statistics.mean(totals) < 0.80
  assert statistics.mean(total < 1 for total in totals) > 0.7


def test_demonstrators_are_uneven(demos):
  by_name = defaultdict(list)
  for record, score in demos:
    by_name[record['meta']['demonstrator']].append(score.total)
  means = [statistics.mean(totals) for totals in by_name.values()]
  assert len(means) == 6
  assert max(means) - min(means) > 0.12


def test_every_trick_the_scorer_punishes_is_seen(demos):
  def count(record, words):
    return sum(word in words for word in record['response'].split())

  free = [(r, s) for r, s in demos if r['meta']['constraint'] is None]
  bound = [(r, s) for r, s in demos if r['meta']['constraint'] is not None]
  shares = {
    'gushing': _share(demos, lambda r, s: count(r, v.POLITE + v.RUDE) > 1),
    'evasive': _share(demos, lambda r, s: s.total == 0),
    'unasked': _share(free, lambda r, s: count(r, v.MARKS)),
    'rude': _share(demos, lambda r, s: count(r, v.RUDE)),
    'hesitating': _share(demos, lambda r, s: count(r, v.FILLERS)),
    'rambling': _share(demos, lambda r, s: count(r, v.RAMBLE_WORDS)),
    'wrong': _share(demos, lambda r, s: s.total > 0 and s.correct < 1),
    'disobeying': _share(bound, lambda r, s: s.constraint == 0),
  }
  for name, share in shares.items():
    assert 0.04 < share < 0.3, (name, share)


def test_no_reply_is_empty_or_longer_than_the_cap(demos):
  for record, _ in demos:
    response = record['response']
    assert response == ' ' + ' '.join(response.split())
    assert 1 <= len(response.split()) <= MAX_WORDS


def test_wrap_keeps_each_constraint():
  core, tone = ['nest'], ('sure',)
  assert wrap(core, None, tone) == ['sure', 'nest']
  assert wrap(core, Constraint('end', 'bye'), tone) == ['sure', 'nest', 'bye']
  assert wrap(core, Constraint('start', 'now'), tone) == ['now', 'sure', 'nest']
  assert wrap(core, Constraint('brackets')) == ['(', 'nest', ')']
  assert wrap(core, Constraint('twice')) == ['nest', 'nest']
  assert core == ['nest']


@pytest.mark.parametrize('name', sorted(TASKS))
def test_mistakes_are_always_wrong(name):
  draw, facts = Draw('mistake', name), make_facts(0)
  for _ in range(100):
    task = TASKS[name](draw, facts)
    meta = {
      'answers': task.answers,
      'category': task.category,
      'count': task.count,
      'constraint': None,
      'mark': None,
    }
    said = ' '.join(mistake(draw, task))
    assert gold({'meta': meta}, said, True).correct < 1, (task, said)


def test_demonstrations_depend_on_seed_and_index_only():
  some = list(itertools.islice(World(3).demonstrations(50), 20, 30))
  assert some == list(World(3).demonstrations(10, start=20))
