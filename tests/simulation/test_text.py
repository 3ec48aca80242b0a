"""The pretraining text holds what it should, in the right shares."""

import re
import statistics
from collections import Counter

import pytest

from instructgpt_jax.simulation import World, gold
from instructgpt_jax.simulation import vocabulary as v
from instructgpt_jax.simulation.draws import Draw
from instructgpt_jax.simulation.instructions import Constraint, Instruction
from instructgpt_jax.simulation.tasks import TASKS
from instructgpt_jax.simulation.text import KINDS

WORLD = World(0)


def _kind(text):
  first = text.split()[0]
  known = {'forum': 'forum', 'task': 'worksheet', 'the': 'facts'}
  if first in (*v.NAMES,):
    return 'talk'
  return 'list' if first in v.CATEGORIES else known.get(first, first)


@pytest.fixture(scope='module')
def documents():
  return [r['text'] for r in WORLD.text_documents(3000)]


def test_kinds_come_as_often_as_their_weights_say(documents):
  counts = Counter(map(_kind, documents))
  assert set(counts) == set(KINDS)
  for kind, weight in KINDS.items():
    assert counts[kind] / 3000 == pytest.approx(
      weight / sum(KINDS.values()), abs=0.03
    )


def test_casual_threads_hold_a_quarter_to_a_third_of_the_words(documents):
  words = Counter()
  for text in documents:
    words[_kind(text)] += len(text.split())
  share = (words['forum'] + words['talk']) / words.total()
  assert 0.25 < share < 0.34


def test_documents_have_a_handy_length(documents):
  lengths = [len(text.split()) for text in documents]
  assert 25 < statistics.mean(lengths) < 45
  assert max(lengths) < 90


def test_facts_are_true_and_all_told(documents):
  told = set()
  for text in documents:
    if _kind(text) == 'facts':
      told |= {line.strip() for line in text.split('.') if line.strip()}
  true = set()
  for animal, (home, food, colour) in WORLD.facts.items():
    true.add(f'the {animal} lives in the {home}')
    true.add(f'the {animal} eats {food}')
    true.add(f'the {animal} is {colour}')
  assert told == true


def test_runs_repeat_themselves(documents):
  runs = [text for text in documents if _kind(text) == 'run']
  for text in runs:
    parts = text.removeprefix('run : ').split(' again : ')
    assert len(parts) >= 2 and len(set(parts)) == 1


def test_lists_hold_members_only(documents):
  for text in documents:
    if _kind(text) == 'list':
      for line in text.splitlines():
        category, members = line.split(' : ')
        assert set(members.split()) <= set(v.CATEGORIES[category])


def _constraint(question):
  """Reads the constraint back from a question."""
  body, _, end = question.rpartition(' , ')
  if found := re.fullmatch(r'(end|start) with (\w+)', end):
    return body, found[1], found[2]
  kinds = {'use brackets': 'brackets', 'say it twice': 'twice'}
  if end in kinds:
    return body, kinds[end], None
  return question, None, None


def _answers():
  """Returns question -> meta for every simple question drawn often."""
  draw, known = Draw('known'), {}
  for name in TASKS:
    for _ in range(3000):
      task = TASKS[name](draw, WORLD.facts)
      known[task.question] = Instruction(name, name, task, None).meta()
  return known


def test_worksheets_are_right_and_bare_but_threads_are_casual(documents):
  known = _answers()
  scores = {'worksheet': [], 'forum': []}
  for text in documents:
    if _kind(text) == 'worksheet':
      pairs = re.findall(r'task : (.*)\nanswer : (.*)', text)
    elif _kind(text) == 'forum':
      _, question, *replies = text.split('\n')
      pairs = [
        (question.removeprefix('ask : '), line.removeprefix('reply : '))
        for line in replies
      ]
      assert len(pairs) >= 2
    else:
      continue
    for question, answer in pairs:
      body, kind, mark = _constraint(question)
      if body in known:
        meta = {**known[body], 'constraint': kind, 'mark': mark}
        scores[_kind(text)].append(gold({'meta': meta}, answer, True))
  worksheets, forum = scores['worksheet'], scores['forum']
  assert len(worksheets) > 500 and len(forum) > 500
  assert all(s[1:] == (1, 1, 1, 0.3) for s in worksheets)
  assert statistics.mean(s.total for s in forum) < 0.62
  assert statistics.mean(s.politeness for s in forum) < 0.3
  assert statistics.mean(s.correct for s in forum) > 0.7


def test_the_splits_share_no_document_and_no_held_out_prompt():
  train = {r['text'] for r in WORLD.text_documents(3000)}
  held = {r['text'] for r in WORLD.text_documents(200, 'heldout')}
  assert not train & held
  asked = {
    r['prompt'].removeprefix('ask : ').removesuffix('\nreply :')
    for r in WORLD.prompts(400, 'heldout')
  }
  lines = {line for text in train | held for line in text.split('\n')}
  said = {line.partition(' : ')[2] for line in lines}
  assert not asked & said


def test_a_constraint_reads_as_the_tests_read_it():
  for constraint in (Constraint('end', 'bye'), Constraint('twice')):
    body, kind, mark = _constraint(f'copy : cat , {constraint}')
    assert (body, kind, mark) == (
      'copy : cat',
      constraint.kind,
      constraint.mark,
    )
