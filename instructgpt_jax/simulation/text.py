"""The pretraining text: documents with regularities of their own.

It holds what a model must know or be able to do (facts, copying, worksheets)
and threads in nearly the form of a prompt whose replies are casual: blunt,
hesitating, rambling, and followed by more of the same. A policy that is pushed
towards polite and short replies loses likelihood there, which is how the
alignment tax shows.
"""

from __future__ import annotations

import zlib

from instructgpt_jax.simulation import vocabulary as v
from instructgpt_jax.simulation.draws import Draw
from instructgpt_jax.simulation.instructions import (
  Instruction,
  draw_instruction,
  prompt_text,
)
from instructgpt_jax.simulation.replies import Habits, reply, wrap
from instructgpt_jax.simulation.tasks import Facts, sentences

HELD_OUT_SHARE = 16  # one document in sixteen is never trained on

# Shares of documents; forum and talk hold about 30% of all tokens.
KINDS = {
  'facts': 14,
  'story': 9,
  'list': 7,
  'run': 12,
  'worksheet': 30,
  'forum': 21,
  'talk': 11,
}
VOICES = (
  Habits('blunt', 0.12, 0.01, 0.80, 0.30, 0.60, 0.5, 0.06, 0.0, 0.03),
  Habits('chatty', 0.12, 0.06, 0.15, 0.75, 0.90, 0.5, 0.08, 0.02, 0.03),
  Habits('plain', 0.12, 0.03, 0.25, 0.45, 0.50, 0.5, 0.06, 0.0, 0.03),
)


def draw_document(draw: Draw, facts: Facts, *, held_out: bool) -> str:
  """Returns a document of the asked part of all texts."""
  while True:
    text = _WRITERS[draw.weighted(KINDS)](draw, facts)
    if (zlib.crc32(text.encode()) % HELD_OUT_SHARE == 0) == held_out:
      return text


def _facts(draw: Draw, facts: Facts) -> str:
  lines = []
  for animal in draw.several(v.ANIMALS, 2 + draw.below(2)):
    told = draw.several(sentences(facts, animal), 2 + draw.below(2))
    lines.append(' . '.join(told))
  return ' .\n'.join(lines) + ' .'


def _story(draw: Draw, facts: Facts) -> str:
  names, cities = draw.several(v.NAMES, 2), draw.several(v.CITIES, 2)
  fruits = draw.several(v.FRUITS, 2)
  scene = (
    f'{names[0]} is in {cities[0]} and {names[1]} is in {cities[1]}',
    f'{names[0]} likes {fruits[0]} and {names[1]} likes {fruits[1]}',
  )
  who = draw.below(2)
  echo = (
    f'{names[who]} is in {cities[who]}',
    f'{names[who]} likes {fruits[who]}',
    f'{names[1 - who]} is in {cities[1 - who]}',
  )
  event = (
    f'{draw.pick(names)} {draw.pick(v.VERBS)} the '
    f'{draw.pick(v.ADJECTIVES)} {draw.pick(v.THINGS)}'
  )
  said = [*scene, event, *draw.several(echo, 2)]
  return 'story : ' + ' . '.join(said) + ' .'


def _list(draw: Draw, facts: Facts) -> str:
  lines = []
  for category in draw.several(tuple(v.CATEGORIES), 3):
    members = v.CATEGORIES[category]
    some = draw.several(members, 3 + draw.below(4))
    lines.append(f'{category} : {" ".join(some)}')
  return '\n'.join(lines)


def _run(draw: Draw, facts: Facts) -> str:
  group = v.THINGS + v.COLOURS + v.NAMES + v.CITIES
  words = ' '.join(draw.several(group, 3 + draw.below(8)))
  return 'run : ' + ' again : '.join([words] * (2 + draw.below(2)))


def _worksheet(draw: Draw, facts: Facts) -> str:
  """Questions with bare right answers that keep their constraints."""
  lines = []
  for _ in range(2 + draw.below(2)):
    asked = draw_instruction(draw, facts, held_out=False)
    if asked.task.category is not None:
      members = v.CATEGORIES[asked.task.category]
      core = draw.several(members, asked.task.count)
    else:
      core = draw.pick(asked.task.answers).split()
    answer = ' '.join(wrap(core, asked.constraint))
    lines.append(f'task : {asked.question}\nanswer : {answer}')
  return '\n'.join(lines)


def _asked(draw: Draw, facts: Facts) -> Instruction:
  return draw_instruction(draw, facts, held_out=False, constrained=0.3)


def _forum(draw: Draw, facts: Facts) -> str:
  """The very form of a prompt under a heading, with several replies."""
  asked = _asked(draw, facts)
  text = f'forum\n{prompt_text(asked.question)} '
  voices = [draw.pick(VOICES) for _ in range(2 + draw.below(3))]
  return text + '\nreply : '.join(reply(draw, who, asked) for who in voices)


def _talk(draw: Draw, facts: Facts) -> str:
  """The same among people with names."""
  names = draw.several(v.NAMES, 3)
  asked = _asked(draw, facts)
  lines = [f'{names[0]} : {asked.question}']
  for name in names[1:]:
    lines.append(f'{name} : {reply(draw, draw.pick(VOICES), asked)}')
  return '\n'.join(lines)


_WRITERS = {
  'facts': _facts,
  'story': _story,
  'list': _list,
  'run': _run,
  'worksheet': _worksheet,
  'forum': _forum,
  'talk': _talk,
}
