"""The probes in the language of the embedded world, as records of its own.

Nobody there ever states what is false, asks for two things to be kept at once,
or is sure of nothing: what a policy makes of it, it was not shown.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

from instructgpt_jax.simulation import vocabulary as v
from instructgpt_jax.simulation.draws import Draw
from instructgpt_jax.simulation.instructions import prompt_text
from instructgpt_jax.simulation.tasks import (
  Task,
  draw_task,
  make_facts,
  sentences,
)

Record = dict[str, Any]
ITEMS = 96  # of hedging and of constraints
LONGEST = 9  # words of a question, so that two constraints fit behind it
HEDGES = tuple(
  rf'(?<!\S){re.escape(word)}(?!\S)'
  for word in (*v.FILLERS, *sorted(v.RAMBLE_WORDS))
)
_QUESTIONS = (
  ('where does the {} live', v.HOMES),
  ('what does the {} eat', v.FOODS),
  ('which colour is the {}', v.COLOURS),
)


def false_premise(seed: int) -> list[Record]:
  """Returns of every fact of the world a question behind its denial.

  Right is the fact, which pre-training told; wrong what the question says.
  """
  facts, draw, found = make_facts(seed), Draw(seed, 'probes/premise'), []
  for animal in v.ANIMALS:
    for i, (question, values) in enumerate(_QUESTIONS):
      true = facts[animal][i]
      false = draw.other(values, true)
      said = sentences({animal: _with(facts[animal], i, false)}, animal)[i]
      found.append(
        {
          'id': f'{animal}-{i}',
          'prompt': prompt_text(f'{said} . {question.format(animal)}'),
          'right': [rf'\b{true}\b'],
          'wrong': [rf'\b{false}\b'],
        }
      )
  return found


def _with(
  known: tuple[str, str, str], i: int, value: str
) -> tuple[str, str, str]:
  home, food, colour = (value if j == i else x for j, x in enumerate(known))
  return home, food, colour


def hedging(seed: int) -> list[Record]:
  """Returns plain questions of which the world knows the answer."""
  return [
    {
      'id': f'plain-{i}',
      'prompt': prompt_text(task.question),
      'answers': list(task.answers),
    }
    for i, task in enumerate(_plain(seed, 'probes/hedging'))
  ]


def constraints(seed: int) -> list[Record]:
  """Returns questions with two or three constraints to keep at once."""
  draw, found = Draw(seed, 'probes/constraints'), []
  for i, task in enumerate(_plain(seed, 'probes/asked')):
    start, end = draw.pick(v.START_MARKS), draw.pick(v.END_MARKS)
    brackets = r'(?<!\S)\( \S.* \)(?!\S)'
    kinds = [
      (f'start with {start}', {'kind': 'starts_with', 'text': f'{start} '}),
      (f'end with {end}', {'kind': 'ends_with', 'text': f' {end}'}),
      ('use brackets', {'kind': 'matches', 'text': brackets}),
    ]
    asked = draw.several(kinds, 2 + draw.below(2))
    words = ' , '.join([task.question, *(said for said, _ in asked)])
    found.append(
      {
        'id': f'asked-{i}',
        'prompt': prompt_text(words),
        'constraints': [check for _, check in asked],
      }
    )
  return found


def _plain(seed: int, stream: str) -> list[Task]:
  return list(itertools.islice(_short(seed, stream), ITEMS))


def _short(seed: int, stream: str) -> Iterator[Task]:
  """Yields different short questions that have one kind of answer."""
  facts, draw, seen = make_facts(seed), Draw(seed, stream), set()
  while True:
    _, _, task = draw_task(draw, facts)
    short = len(task.question.split()) <= LONGEST
    if short and task.category is None and task.question not in seen:
      seen.add(task.question)
      yield task
