"""The users who write prompts, and the untidiness of a real prompt log.

A few users write most prompts, some prompts repeat an earlier one but for the
ending, and some hold personal data (invented; example.com and 555-01xx are
reserved for fiction). Curation has to find these; what was planted is noted in
`meta['planted']`.
"""

from __future__ import annotations

import bisect
import itertools

from instructgpt_jax.simulation import vocabulary as v
from instructgpt_jax.simulation.draws import Draw
from instructgpt_jax.simulation.instructions import (
  CONSTRAINTS,
  Instruction,
  allowed,
)

NEAR_DUPLICATES = 0.04
PERSONAL_DATA = 0.013
RECENT = 200  # a near-duplicate repeats one of so many earlier records
MAX_QUESTION = 11  # words beside personal data, to stay within 24 tokens

_USERS = 400
_HELD_OUT_USERS = 100
_EXPONENT = 0.9  # of the power law of prompts per user


def _cumulative(n: int) -> list[float]:
  return list(itertools.accumulate(k**-_EXPONENT for k in range(1, n + 1)))


_TRAIN, _HELD_OUT = _cumulative(_USERS), _cumulative(_HELD_OUT_USERS)


def draw_user(draw: Draw, *, held_out: bool) -> str:
  """Returns a user id, low numbers most often.

  Users of the held-out part write nothing else.
  """
  table = _HELD_OUT if held_out else _TRAIN
  rank = bisect.bisect(table, draw.uniform() * table[-1])
  return f'user-{rank + (_USERS if held_out else 0):03d}'


def vary(draw: Draw, instruction: Instruction) -> Instruction:
  """Returns the same question under another constraint, or under none."""
  choices = [
    constraint
    for constraint in (None, *CONSTRAINTS)
    if constraint != instruction.constraint
    and allowed(instruction.task, constraint)
  ]
  for constraint in draw.several(choices, len(choices)):
    other = Instruction(
      instruction.family, instruction.name, instruction.task, constraint
    )
    if other.held_out == instruction.held_out:
      return other
  return instruction


def personal_data(draw: Draw) -> str:
  """Returns an invented e-mail address or telephone number, introduced."""
  if draw.chance(0.6):
    domain = draw.pick(('example.com', 'example.org'))
    return f'mail {draw.pick(v.NAMES)}{draw.below(10)}@{domain} .'
  return f'phone 555-01{draw.below(100):02d} .'
