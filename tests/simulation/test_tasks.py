"""Every kind of question has the answer its words call for."""

import re

import pytest

from instructgpt_jax.simulation import vocabulary as v
from instructgpt_jax.simulation.draws import Draw
from instructgpt_jax.simulation.tasks import (
  FAMILIES,
  TASKS,
  draw_task,
  make_facts,
)

FACTS = make_facts(0)


def _match(pattern, text):
  found = re.fullmatch(pattern, text)
  assert found, f'{text!r} is not of the form {pattern!r}'
  return found.groups()


def _generation(question):
  (animal,) = _match(r'.*the (?:\w+ )?(\w+)', question)
  home, food, colour = FACTS[animal]
  return {
    f'the {animal} lives in the {home}',
    f'the {animal} eats {food}',
    f'the {animal} is {colour}',
  }


def _open_qa(question):
  animal = next(word for word in question.split() if word in v.ANIMALS)
  start = question.split()[0]
  return FACTS[animal][{'where': 0, 'what': 1, 'which': 2}[start]]


def _chat(question):
  me, fruit = (
    re.search(p, question)[1] for p in (r'i am (\w+)', r'i like (\w+)')
  )
  return me if question.endswith('who am i') else fruit


def _rewrite(question):
  new, old, rest = _match(r'make it (\w+) : the (\w+) (.*)', question)
  assert old in v.COLOURS and old != new
  return f'the {new} {rest}'


def _summary(question):
  words = question.removeprefix('shorten : ').split()
  return ' '.join(w for w in words if w not in ('the', *v.ADJECTIVES))


def _classify(question):
  words = question.replace('what is', 'is').split()
  named = [word for word in words[2:] if word in v.CLASSES]
  assert len(named) == 2
  (right,) = (name for name in named if words[1] in v.CLASSES[name])
  return right


def _closed_qa(question):
  story, who = _match(r'(.*) \. where is (\w+)', question)
  return re.search(rf'{who} is in (\w+)', story)[1]


def _extract(question):
  kind, items = _match(r'(?:find|take) the (\w+) : (.*)', question)
  (right,) = (item for item in items.split() if item in v.CLASSES[kind])
  return right


def _pattern(question):
  first, second, third, *_ = question.removeprefix('go on : ').split()
  assert first == third
  return second


def _items(question):
  return question.split(' : ')[1].split()


ORACLES = {
  'open_qa': _open_qa,
  'chat': _chat,
  'rewrite': _rewrite,
  'summary': _summary,
  'classify': _classify,
  'closed_qa': _closed_qa,
  'extract': _extract,
  'pattern': _pattern,
  'copy': lambda q: ' '.join(_items(q)),
  'reverse': lambda q: ' '.join(reversed(_items(q))),
  'sort': lambda q: ' '.join(sorted(_items(q), key=v.NUMBERS.index)),
  'count': lambda q: v.NUMBERS[len(_items(q)) - 1],
}


@pytest.mark.parametrize('name', sorted(ORACLES))
def test_the_answer_is_what_the_question_calls_for(name):
  draw = Draw('oracle', name)
  for _ in range(200):
    task = TASKS[name](draw, FACTS)
    assert task.answers == (ORACLES[name](task.question),)


def test_generation_accepts_exactly_the_three_true_sentences():
  draw = Draw('generation')
  for _ in range(100):
    task = TASKS['generation'](draw, FACTS)
    assert set(task.answers) == _generation(task.question)


def test_brainstorm_gives_an_example_of_the_category_and_count_asked():
  draw = Draw('brainstorm')
  for _ in range(200):
    task = TASKS['brainstorm'](draw, FACTS)
    example = task.answers[0].split()
    assert v.NUMBERS[task.count - 1] in task.question
    assert task.category in task.question
    assert len(set(example)) == len(example) == task.count
    assert set(example) <= set(v.CATEGORIES[task.category])


def test_every_kind_and_every_use_case_is_drawn():
  draw = Draw('all')
  drawn = [draw_task(draw, FACTS)[:2] for _ in range(3000)]
  assert {family for family, _ in drawn} == set(FAMILIES)
  assert {name for _, name in drawn} == set(TASKS)
  assert len(FAMILIES) == 10


def test_facts_differ_between_seeds_and_give_each_home_twice():
  assert make_facts(0) == FACTS
  assert make_facts(1) != FACTS
  homes = [home for home, _, _ in FACTS.values()]
  assert sorted(homes) == sorted(2 * v.HOMES)


def test_words_with_a_purpose_have_no_other():
  content = {word for task in (*v.PEERS, *v.ADJECTIVES) for word in (task,)}
  tones = [set(v.POLITE), set(v.RUDE), set(v.FILLERS), set(v.RAMBLE_WORDS)]
  groups = [content, set(v.MARKS), *tones]
  assert sum(map(len, groups)) == len(set.union(*groups))
