"""The instructions: the ten use cases of InstructGPT table 1, made small.

A task is a question with the answers that count as right. `TASKS` names every
kind of question, `FAMILIES` how often each use case is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from instructgpt_jax.simulation import vocabulary as v
from instructgpt_jax.simulation.draws import Draw

# animal -> (home, food, colour); said in the pretraining text only.
Facts = dict[str, tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Task:
  """A question and its accepted answers.

  Where `category` is set, any `count` distinct members of it are right and
  `answers` holds one example.
  """

  question: str
  answers: tuple[str, ...]
  category: str | None = None
  count: int = 0


def make_facts(seed: int) -> Facts:
  """Returns home, food and colour of every animal in the world of `seed`."""
  draw = Draw(seed, 'facts')
  columns = [
    draw.several(2 * group, len(v.ANIMALS))
    for group in (v.HOMES, v.FOODS, v.COLOURS)
  ]
  return dict(zip(v.ANIMALS, zip(*columns, strict=True), strict=True))


def _noun(draw: Draw, word: str) -> str:
  """Returns the word, at times behind an adjective that changes nothing."""
  return f'{draw.pick(v.ADJECTIVES)} {word}' if draw.chance(0.5) else word


def sentences(facts: Facts, animal: str) -> tuple[str, str, str]:
  """Returns the three true sentences about an animal."""
  home, food, colour = facts[animal]
  return (
    f'the {animal} lives in the {home}',
    f'the {animal} eats {food}',
    f'the {animal} is {colour}',
  )


def _generation(draw: Draw, facts: Facts) -> Task:
  animal = draw.pick(v.ANIMALS)
  ask = draw.pick(('say one fact on', 'tell me about', 'write a line on'))
  return Task(f'{ask} the {_noun(draw, animal)}', sentences(facts, animal))


def _open_qa(draw: Draw, facts: Facts) -> Task:
  animal = draw.pick(v.ANIMALS)
  which = draw.below(3)
  noun = _noun(draw, animal)
  question = (
    f'where does the {noun} live',
    f'what does the {noun} eat',
    f'which colour is the {noun}',
  )[which]
  return Task(question, (facts[animal][which],))


def _brainstorm(draw: Draw, facts: Facts) -> Task:
  category = draw.pick(tuple(v.CATEGORIES))
  count = 2 + draw.below(3)
  ask = draw.pick(('list', 'name', 'give me'))
  for_whom = f' for {draw.pick(v.NAMES)}' if draw.chance(0.5) else ''
  members = draw.several(v.CATEGORIES[category], count)
  question = f'{ask} {v.NUMBERS[count - 1]} {category}{for_whom}'
  return Task(question, (' '.join(members),), category, count)


def _chat(draw: Draw, facts: Facts) -> Task:
  name, fruit = draw.pick(v.NAMES), draw.pick(v.FRUITS)
  parts = [f'i am {name}', f'i like {fruit}']
  if draw.chance(0.5):
    parts.reverse()
  ask, answer = draw.pick((('who am i', name), ('what do i like', fruit)))
  return Task(f'{parts[0]} and {parts[1]} . {ask}', (answer,))


def _rewrite(draw: Draw, facts: Facts) -> Task:
  old, new = draw.several(v.COLOURS, 2)
  rest = draw.pick(v.THINGS)
  if draw.chance(0.5):
    rest = f'{draw.pick(v.ANIMALS)} {draw.pick(v.VERBS)} {draw.pick(v.NAMES)}'
  return Task(f'make it {new} : the {old} {rest}', (f'the {new} {rest}',))


def _summary(draw: Draw, facts: Facts) -> Task:
  who, verb = draw.pick(v.ANIMALS), draw.pick(v.VERBS)
  what = draw.pick(v.THINGS)
  question = f'shorten : the {_noun(draw, who)} {verb} the {_noun(draw, what)}'
  return Task(question, (f'{who} {verb} {what}',))


def _classify(draw: Draw, facts: Facts) -> Task:
  right, wrong = draw.several(tuple(v.CLASSES), 2)
  first, second = (right, wrong) if draw.chance(0.5) else (wrong, right)
  item = draw.pick(v.CLASSES[right])
  form = draw.pick(('is {} a {} or a {}', 'what is {} , {} or {}'))
  return Task(form.format(item, first, second), (right,))


def _closed_qa(draw: Draw, facts: Facts) -> Task:
  names, cities = draw.several(v.NAMES, 2), draw.several(v.CITIES, 2)
  which = draw.below(2)
  story = ' and '.join(
    f'{name} is in {city}' for name, city in zip(names, cities, strict=True)
  )
  return Task(f'{story} . where is {names[which]}', (cities[which],))


def _extract(draw: Draw, facts: Facts) -> Task:
  kinds = draw.several(tuple(v.CLASSES), 3)
  items = [draw.pick(v.CLASSES[kind]) for kind in kinds]
  which = draw.below(3)
  ask = draw.pick(('find the', 'take the'))
  return Task(f'{ask} {kinds[which]} : {" ".join(items)}', (items[which],))


def _copy(draw: Draw, facts: Facts) -> Task:
  words = ' '.join(draw.several(v.THINGS, 2 + draw.below(2)))
  return Task(f'copy : {words}', (words,))


def _reverse(draw: Draw, facts: Facts) -> Task:
  words = draw.several(v.THINGS, 2)
  return Task(f'reverse : {" ".join(words)}', (' '.join(words[::-1]),))


def _sort(draw: Draw, facts: Facts) -> Task:
  places = draw.several(range(6), 2 + draw.below(2))
  words = [v.NUMBERS[place] for place in places]
  ordered = ' '.join(v.NUMBERS[place] for place in sorted(places))
  return Task(f'sort : {" ".join(words)}', (ordered,))


def _count(draw: Draw, facts: Facts) -> Task:
  count = 1 + draw.below(4)
  words = ' '.join([draw.pick(v.THINGS)] * count)
  return Task(f'count : {words}', (v.NUMBERS[count - 1],))


def _pattern(draw: Draw, facts: Facts) -> Task:
  first, second = draw.several(v.THINGS + v.COLOURS, 2)
  return Task(f'go on : {first} {second} {first} {second} {first}', (second,))


_OTHER = {'copy': 32, 'pattern': 24, 'count': 20, 'reverse': 12, 'sort': 12}

FAMILIES = {
  'generation': 14,
  'open_qa': 12,
  'brainstorm': 14,
  'chat': 10,
  'rewrite': 9,
  'summary': 8,
  'classify': 9,
  'other': 10,
  'closed_qa': 7,
  'extract': 7,
}
TASKS: dict[str, Callable[[Draw, Facts], Task]] = {
  'generation': _generation,
  'open_qa': _open_qa,
  'brainstorm': _brainstorm,
  'chat': _chat,
  'rewrite': _rewrite,
  'summary': _summary,
  'classify': _classify,
  'closed_qa': _closed_qa,
  'extract': _extract,
  'copy': _copy,
  'reverse': _reverse,
  'sort': _sort,
  'count': _count,
  'pattern': _pattern,
}


def draw_task(draw: Draw, facts: Facts) -> tuple[str, str, Task]:
  """Returns (use case, name of the kind of question, the task)."""
  family = draw.weighted(FAMILIES)
  name = draw.weighted(_OTHER) if family == 'other' else family
  return family, name, TASKS[name](draw, facts)
