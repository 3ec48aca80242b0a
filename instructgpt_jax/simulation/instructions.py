"""Prompts: a task, perhaps a constraint, and the form both are written in.

`prompt + response` is the full text. Words stand one blank apart, so that a
small trained BPE spends about one token on each:

  ask : list two animals , end with done
  reply : gladly dog cat done
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

from instructgpt_jax.simulation import vocabulary as v
from instructgpt_jax.simulation.draws import Draw
from instructgpt_jax.simulation.tasks import Facts, Task, draw_task

HELD_OUT_SHARE = 8  # one text in eight is kept from everything that trains


@dataclass(frozen=True, slots=True)
class Constraint:
  """What a reply must do beside answering: a kind and, for two, a mark."""

  kind: str  # 'end', 'start', 'brackets' or 'twice'
  mark: str | None = None

  def __str__(self) -> str:
    return {
      'end': f'end with {self.mark}',
      'start': f'start with {self.mark}',
      'brackets': 'use brackets',
      'twice': 'say it twice',
    }[self.kind]


CONSTRAINTS = {
  **{Constraint('end', mark): 13.0 for mark in v.END_MARKS},
  **{Constraint('start', mark): 13.0 for mark in v.START_MARKS},
  Constraint('brackets'): 15.0,
  Constraint('twice'): 7.0,
}


@dataclass(frozen=True, slots=True)
class Instruction:
  """One thing somebody asks for."""

  family: str
  name: str
  task: Task
  constraint: Constraint | None

  @property
  def question(self) -> str:
    if self.constraint is None:
      return self.task.question
    return f'{self.task.question} , {self.constraint}'

  @property
  def held_out(self) -> bool:
    """Whether the text belongs to the held-out part, in every world."""
    return zlib.crc32(self.question.encode()) % HELD_OUT_SHARE == 0

  def meta(self) -> dict[str, Any]:
    """Returns all that judging a reply takes, ready for JSON."""
    constraint = self.constraint
    return {
      'task': self.name,
      'answers': list(self.task.answers),
      'category': self.task.category,
      'count': self.task.count,
      'constraint': constraint and constraint.kind,
      'mark': constraint and constraint.mark,
    }


def prompt_text(question: str) -> str:
  """Returns the prompt; a response goes on with a blank and its words."""
  return f'ask : {question}\nreply :'


def allowed(task: Task, constraint: Constraint | None) -> bool:
  """Whether the constraint suits the task: only one word is said twice."""
  if constraint is None or constraint.kind != 'twice':
    return True
  return task.category is None and ' ' not in task.answers[0]


def draw_constraint(draw: Draw, task: Task, share: float) -> Constraint | None:
  """Returns a constraint that suits the task, or None in 1 - share of cases."""
  if not draw.chance(share):
    return None
  constraint = draw.weighted(CONSTRAINTS)
  while not allowed(task, constraint):
    constraint = draw.weighted(CONSTRAINTS)
  return constraint


def draw_instruction(
  draw: Draw, facts: Facts, *, held_out: bool, constrained: float = 0.5
) -> Instruction:
  """Returns an instruction of the asked part of all texts."""
  while True:
    family, name, task = draw_task(draw, facts)
    constraint = draw_constraint(draw, task, constrained)
    instruction = Instruction(family, name, task, constraint)
    if instruction.held_out == held_out:
      return instruction
