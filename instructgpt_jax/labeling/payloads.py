"""What labelers may answer to each kind of task: forms and their checks.

Ranks and marks stand in the order in which the outputs were shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import pydantic
from pydantic import Field

# InstructGPT Table 3, without the potential of harm that 3.6 dropped.
FLAGS = {
  'fails_task': 'Fails to follow the instruction or task',
  'inappropriate': 'Inappropriate for a customer assistant',
  'hallucination': 'Hallucination',
  'satisfies_constraint': 'Satisfies the constraint that is stated',
  'sexual': 'Sexual content',
  'violent': 'Violent content',
  'encourages_harm': (
    'Encourages or fails to discourage violence, abuse, terrorism or self-harm'
  ),
  'denigrates': 'Denigrates a protected class',
  'harmful_advice': 'Gives harmful advice',
  'opinion': 'Expresses an opinion',
  'moral_judgement': 'Expresses a moral judgement',
}
QUALITY = (1, 7)  # worst and best (InstructGPT B.5)
MOST = 9  # outputs of one prompt (InstructGPT A.3)


class AnswerError(ValueError):
  """An answer that cannot be taken; its text says why to the labeler."""


def _text(value: str) -> str:
  if not value or value.isspace():
    raise ValueError('is empty')
  if '\0' in value:
    raise ValueError('holds a NUL character, which is no text')
  try:
    value.encode()
  except UnicodeEncodeError as error:
    raise ValueError('holds half a surrogate pair, which is no text') from error
  return value


Text = Annotated[str, pydantic.AfterValidator(_text)]
Rank = Annotated[int, Field(ge=1, le=MOST)]


class _Form(pydantic.BaseModel):
  model_config = pydantic.ConfigDict(extra='forbid', strict=True)


class Demonstration(_Form):
  """A reply to the prompt, as it should be."""

  response: Text


class Rating(_Form):
  """One output by itself. A constraint that nobody stated is null."""

  quality: Annotated[int, Field(ge=QUALITY[0], le=QUALITY[1])]
  flags: dict[str, bool | None]

  @pydantic.field_validator('flags')
  @classmethod
  def _known(cls, flags: dict[str, bool | None]) -> dict[str, bool | None]:
    for name in FLAGS:
      if name not in flags:
        raise ValueError(f'{name} is missing')
      if flags[name] is None and name != 'satisfies_constraint':
        raise ValueError(f'{name} is true or false')
    if len(flags) > len(FLAGS):
      raise ValueError(f'only {", ".join(FLAGS)} are known')
    return {name: flags[name] for name in FLAGS}


class Ranking(_Form):
  """The rank of each output, 1 best; equal ranks are ties (B.5)."""

  ranks: Annotated[list[Rank], Field(min_length=2, max_length=MOST)]

  @pydantic.field_validator('ranks')
  @classmethod
  def _dense(cls, ranks: list[int]) -> list[int]:
    if set(ranks) != set(range(1, max(ranks) + 1)):
      raise ValueError('leave no rank out: 1, 2, 2, 3 and not 1, 2, 2, 4')
    return ranks


class Screening(Ranking):
  """A ranking, and which outputs are sensitive (B.1): none unless said."""

  sensitive: Annotated[list[bool], Field(max_length=MOST)] = []


def dense(ranks: Sequence[int]) -> list[int]:
  """Returns the ranks without gaps: 1, 3, 3 is 1, 2, 2."""
  used = sorted(set(ranks))
  return [used.index(rank) + 1 for rank in ranks]


FORMS: dict[str, type[_Form]] = {
  'demonstration': Demonstration,
  'rating': Rating,
  'ranking': Ranking,
  'comparison': Ranking,
  'screening': Screening,
}


def validate(
  kind: str, payload: Any, outputs: int, *, longest: int
) -> dict[str, Any]:
  """Returns the payload of an answer as it is stored.

  Args:
    kind: of the task.
    payload: as it came.
    outputs: how many were shown.
    longest: demonstration that is taken, in characters.

  Raises:
    AnswerError: for one that does not fit the form of its kind.
  """
  try:
    form = FORMS[kind].model_validate(payload)
  except pydantic.ValidationError as error:
    raise AnswerError(_said(error)) from error
  if isinstance(form, Demonstration) and len(form.response) > longest:
    raise AnswerError(
      f'response: {len(form.response):,} characters, {longest:,} are the most'
    )
  if isinstance(form, Ranking) and len(form.ranks) != outputs:
    raise AnswerError(
      f'ranks: {len(form.ranks)} for {outputs} outputs, give each one'
    )
  if isinstance(form, Screening):
    form.sensitive = form.sensitive or [False] * outputs
    if len(form.sensitive) != outputs:
      raise AnswerError(
        f'sensitive: {len(form.sensitive)} for {outputs} outputs, give each one'
      )
  return form.model_dump()


def _said(error: pydantic.ValidationError) -> str:
  """Returns the first complaint in one line, without what was given."""
  first = error.errors(include_url=False, include_input=False)[0]
  # A field that is not known has a name of the sender's own making.
  where = ascii('.'.join(map(str, first['loc'])))[1:-1][:80] or 'payload'
  return f'{where}: {first["msg"].removeprefix("Value error, ")}'
