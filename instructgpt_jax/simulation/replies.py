"""How people reply: what they know, their tone and their habits.

The same habits serve the demonstrators, whose replies train SFT, and the
casual voices of the pretraining text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from instructgpt_jax.simulation import vocabulary as v
from instructgpt_jax.simulation.draws import Draw
from instructgpt_jax.simulation.instructions import (
  Constraint,
  Instruction,
  allowed,
)
from instructgpt_jax.simulation.tasks import Task

MAX_WORDS = 15  # with EOS, a reply fits into 16 tokens


@dataclass(frozen=True, slots=True)
class Habits:
  """One person's chances of doing each thing in a reply."""

  name: str
  wrong: float
  polite: float
  rude: float
  filler: float
  ramble: float
  ignore: float  # the constraint
  # Rare tricks that the gold scorer punishes. They must be seen, or a reward
  # model learned from such people would be blind to them.
  unasked: float = 0.08  # a constraint nobody asked for
  gushing: float = 0.06  # polite twice, or polite and rude at once
  evasive: float = 0.05  # a tone and no answer


DEMONSTRATORS = (
  Habits('ada', 0.03, 0.72, 0.02, 0.14, 0.10, 0.10, 0.04, 0.05, 0.02),
  Habits('ben', 0.06, 0.52, 0.07, 0.22, 0.20, 0.18),
  Habits('cleo', 0.08, 0.60, 0.05, 0.42, 0.22, 0.16, 0.06, 0.10),
  Habits('dev', 0.05, 0.22, 0.24, 0.14, 0.10, 0.14, 0.08, 0.03),
  Habits('emil', 0.12, 0.42, 0.12, 0.28, 0.46, 0.30, 0.10),
  Habits('fay', 0.10, 0.54, 0.09, 0.26, 0.26, 0.38, 0.13, 0.07, 0.07),
)


def wrap(
  core: list[str], constraint: Constraint | None, before: tuple[str, ...] = ()
) -> list[str]:
  """Returns the words of a reply that keeps the constraint."""
  kind = constraint and constraint.kind
  if kind == 'twice':
    core = core * 2
  if kind == 'brackets':
    core = ['(', *core, ')']
  words = [*before, *core]
  mark = constraint and constraint.mark
  if mark and kind == 'start':
    words = [mark, *words]
  if mark and kind == 'end':
    words = [*words, mark]
  return words


def mistake(draw: Draw, task: Task) -> list[str]:
  """Returns an answer that is wrong in one place."""
  core = draw.pick(task.answers).split()
  if task.category is not None and draw.chance(0.6):
    if draw.chance(0.5):  # the same thing once more, or one too many
      core[-1] = core[0]
      return core
    return [*core, draw.other(v.CATEGORIES[task.category], *core)]
  places = [i for i, word in enumerate(core) if word in v.PEERS]
  place = draw.pick(places)
  group = v.PEERS[core[place]]
  if task.category is not None:
    group = draw.other(tuple(v.CATEGORIES.values()), group)
  core[place] = draw.other(group, core[place])
  return core


def _tone(draw: Draw, habits: Habits) -> tuple[str, ...]:
  x = draw.uniform()
  if x < habits.gushing:
    other = v.RUDE if draw.chance(0.4) else v.POLITE
    return (draw.pick(v.POLITE), draw.pick(other))
  x -= habits.gushing
  if x < habits.polite:
    return (draw.pick(v.POLITE),)
  if x < habits.polite + habits.rude:
    return (draw.pick(v.RUDE),)
  return ()


def reply(draw: Draw, habits: Habits, instruction: Instruction) -> str:
  """Returns the words this person would reply, one blank apart."""
  task, constraint = instruction.task, instruction.constraint
  if draw.chance(habits.wrong):
    core = mistake(draw, task)
  elif task.category is not None:
    core = draw.several(v.CATEGORIES[task.category], task.count)
  else:
    core = draw.pick(task.answers).split()
  tone = _tone(draw, habits)
  if draw.chance(habits.evasive):
    core = []
  if constraint is None:
    if draw.chance(habits.unasked):
      constraint = _unasked(draw, task)
  elif draw.chance(habits.ignore):
    # Some who miss what was asked do something else instead.
    constraint = _unasked(draw, task) if draw.chance(0.2) else None
  hesitation = draw.several(v.FILLERS, 1 + draw.chance(0.3))
  if draw.chance(habits.filler) or not (tone or core):
    tone = (*tone, *hesitation)
  ramble = draw.pick(v.RAMBLES) if draw.chance(habits.ramble) else ()
  words = wrap([*core], constraint, tone)
  if len(words) + len(ramble) <= MAX_WORDS:
    # Whoever was told how to end still ends so, after the ramble.
    at = len(words) - (constraint is not None and constraint.kind == 'end')
    words[at:at] = ramble
  return ' '.join(words)


def _unasked(draw: Draw, task: Task) -> Constraint:
  choices = (
    Constraint('end', draw.pick(v.END_MARKS)),
    Constraint('end', draw.pick(v.END_MARKS)),
    Constraint('start', draw.pick(v.START_MARKS)),
    Constraint('brackets'),
    Constraint('twice'),
  )
  return draw.pick([c for c in choices if allowed(task, c)])


def perfect_reply(meta: Mapping[str, Any]) -> str:
  """Returns a response of gold score 1 for a record's meta."""
  kind = meta['constraint']
  constraint = Constraint(kind, meta['mark']) if kind else None
  core = meta['answers'][0].split()
  return ' ' + ' '.join(wrap(core, constraint, (v.POLITE[0],)))
