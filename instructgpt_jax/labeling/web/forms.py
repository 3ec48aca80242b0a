"""What the forms of tasks send, as the payload of an answer."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import FormData

from instructgpt_jax.labeling import payloads
from instructgpt_jax.labeling.payloads import AnswerError

# Of the two outputs of a comparison.
BETTER = {'0': [1, 2], 'tie': [1, 1], '1': [2, 1]}
LARGEST = 2**31 - 1  # of an INTEGER of PostgreSQL
CONSTRAINT = {'none': None, 'true': True, 'false': False}


def text(fields: FormData, name: str) -> str:
  """Returns a field as it was typed: browsers send CR LF for a new line."""
  value = fields.get(name, '')
  return value.replace('\r\n', '\n') if isinstance(value, str) else ''


def number(fields: FormData, name: str) -> int | None:
  """Returns a whole number that a database takes, None for anything else."""
  return whole(text(fields, name).strip())


def whole(value: str) -> int | None:
  """Returns the number that a text is, None where it is none or too large."""
  if not (value.isascii() and value.isdigit() and len(value) <= 10):
    return None
  found = int(value)
  return found if found <= LARGEST else None


def line(value: str) -> str:
  """Returns what a database takes of a line that somebody typed."""
  clean = value.encode(errors='replace').decode().replace('\0', '')
  return clean.strip()[:200]


def seconds(fields: FormData) -> float | None:
  """Returns how long a page was in sight, None where its script did not run."""
  try:
    value = float(text(fields, 'seconds'))
  except ValueError:
    return None
  return value if 0 <= value < 1e6 else None


def payload(kind: str, fields: FormData, outputs: int) -> dict[str, Any]:
  """Returns the answer to a task of this kind that showed so many outputs.

  Raises:
    AnswerError: naming what is missing; `payloads` checks the rest.
  """
  if kind == 'demonstration':
    return {'response': text(fields, 'response')}
  if kind == 'rating':
    return _rating(fields)
  if kind == 'comparison':
    ranks = BETTER.get(text(fields, 'better'))
    if ranks is None:
      raise AnswerError('Say which output is better, or that neither is.')
    return {'ranks': ranks}
  answer: dict[str, Any] = {'ranks': _ranks(fields, outputs)}
  if kind == 'screening':
    marked = fields.getlist('sensitive')
    answer['sensitive'] = [str(n) in marked for n in range(outputs)]
  return answer


def _rating(fields: FormData) -> dict[str, Any]:
  quality = number(fields, 'quality')
  constraint = text(fields, 'satisfies_constraint')
  if quality is None:
    raise AnswerError('Give the output an overall quality from 1 to 7.')
  if constraint not in CONSTRAINT:
    raise AnswerError('Say whether a stated constraint is satisfied.')
  ticked = fields.getlist('flag')
  flags: dict[str, bool | None] = {
    name: name in ticked for name in payloads.FLAGS
  }
  return {
    'quality': quality,
    'flags': flags | {'satisfies_constraint': CONSTRAINT[constraint]},
  }


def _ranks(fields: FormData, outputs: int) -> list[int]:
  ranks = [number(fields, f'rank-{n}') for n in range(outputs)]
  given = [rank for rank in ranks if rank is not None]
  if len(given) < outputs:
    raise AnswerError('Give each output a rank.')
  return payloads.dense(given)
