"""JSON for programs: simulated labelers, and `collect`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field
from sqlalchemy import orm

from instructgpt_jax.labeling import (
  accounts,
  answers,
  assignment,
  exports,
  figures,
  imports,
  incoming,
  progress,
  security,
)
from instructgpt_jax.labeling.storage.models import Labeler
from instructgpt_jax.labeling.web import access
from instructgpt_jax.labeling.web.routes.public import authenticate

router = APIRouter(prefix='/api')
T = TypeVar('T')

REFUSED: dict[int | str, dict[str, Any]] = {
  code: {'description': text}
  for code, text in (
    (400, 'A body that cannot be read'),
    (401, 'Not logged in'),
    (403, 'Not for this account'),
    (413, 'Too large'),
  )
}
CONFLICT: dict[int | str, dict[str, Any]] = {
  404: {'description': 'No such task of yours'},
  409: {'description': 'The task is no longer yours'},
}
Kind = Literal['demonstration', 'rating', 'ranking', 'comparison']
LeaseNumber = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Login(BaseModel):
  name: str = Field(max_length=64)
  password: str = Field(max_length=security.MAX_PASSWORD)


class Token(BaseModel):
  """To be sent as `Authorization: Bearer TOKEN`; it lasts for `seconds`."""

  token: str
  seconds: int


class Work(BaseModel):
  """A task that is now the caller's, with the outputs in the order shown."""

  lease: int
  kind: str
  prompt: str
  outputs: list[str]
  expires: float = Field(description='Seconds since 1970')


class Next(BaseModel):
  """The caller's task, or the reason why there is none."""

  task: Work | None
  reason: str


class AnswerBody(BaseModel):
  """The payload by kind of task: {response}, {quality, flags} or {ranks}."""

  lease: LeaseNumber
  payload: dict[str, Any]
  client_key: str = Field(
    pattern='^[A-Za-z0-9_-]{8,64}$',
    description='Drawn for each answer; the same once more is the same answer',
  )
  seconds: float | None = Field(None, ge=0, le=1e6)


class Kept(BaseModel):
  """An answer that is on the disk. `new` is false where it was there before."""

  answer: int
  new: bool


class SkipBody(BaseModel):
  lease: LeaseNumber
  reason: str = Field(max_length=answers.NOTE)


class Imported(BaseModel):
  """How many are new; and how many tasks the records make in all."""

  prompts: int
  outputs: int
  tasks: int
  tasks_in_all: int


@router.post('/login', responses={401: {}, 429: {}})
async def login(request: Request, body: Login) -> Token:
  labeler = await authenticate(request, body.name, body.password)
  signer: security.Signer = request.app.state.signer
  return Token(
    token=signer.sign(labeler.id, labeler.generation), seconds=signer.seconds
  )


@router.get('/next', responses=REFUSED)
def next_task(request: Request, who: access.Who) -> Next:
  """Hands out a task; it is the same one until it is answered or skipped."""
  state = request.app.state

  def work(session: orm.Session, labeler: Labeler) -> Next:
    offer = assignment.next_task(
      session, labeler, state.clock(), state.settings
    )
    if offer.lease is None:
      return Next(task=None, reason=offer.reason)
    return Next(task=Work(**assignment.view(session, offer.lease)), reason='')

  return _written(request, who, work)


@router.post('/answer', responses=REFUSED | CONFLICT)
def answer(request: Request, who: access.Who, body: AnswerBody) -> Kept:
  """Keeps an answer: it is on the disk when this returns."""
  state = request.app.state

  def work(session: orm.Session, labeler: Labeler) -> Kept:
    found, new = answers.submit(
      session,
      labeler,
      body.lease,
      payload=body.payload,
      client_key=body.client_key,
      now=state.clock(),
      settings=state.settings,
      seconds=body.seconds,
    )
    return Kept(answer=found.id, new=new)

  return _written(request, who, work)


@router.post('/skip', status_code=204, responses=REFUSED | CONFLICT)
def skip(request: Request, who: access.Who, body: SkipBody) -> None:
  """Gives a task back for good."""
  now = request.app.state.clock()
  _written(
    request,
    who,
    lambda session, labeler: answers.skip(
      session, labeler, body.lease, body.reason, now
    ),
  )


@router.get('/progress', responses=REFUSED)
def progress_of_all(request: Request) -> progress.Progress:
  """Counts tasks and answers of each kind."""
  with request.app.state.database.reading() as session:
    return progress.progress(session)


@router.get('/standing', responses=REFUSED)
def standing(
  request: Request, batch: Annotated[str, Query(max_length=200)] = ''
) -> progress.Standing:
  """Says what is there of the rankings of a batch, and what may come."""
  state = request.app.state
  if '\0' in batch:
    raise HTTPException(422, 'batch: a NUL character, which is no text')
  with state.database.reading() as session:
    return progress.standing(session, state.settings, batch)


async def body_of(request: Request) -> bytes:
  return await request.body()


@router.post(
  '/import',
  responses=REFUSED,
  openapi_extra={
    'requestBody': {
      'required': True,
      'content': {'application/x-ndjson': {'schema': {'type': 'string'}}},
    }
  },
)
def import_records(
  request: Request,
  who: access.Who,
  *,
  body: Annotated[bytes, Depends(body_of)],
  use: Literal['work', 'screening', 'gold'] = 'work',
  batch: Annotated[str, Query(max_length=200)] = '',
  kinds: Annotated[tuple[Kind, ...], Query()] = (),
) -> Imported:
  """Makes tasks of JSON Lines (docs/labeling.md); the same twice is once."""
  state = request.app.state
  if '\0' in batch:
    raise HTTPException(422, 'batch: a NUL character, which is no text')
  try:
    found = imports.store(
      state.database,
      incoming.of_bytes(body, use, batch or 'upload'),
      state.settings,
      state.clock(),
      batch=batch,
      kinds=kinds,
      by=who.id,
    )
  except incoming.DataError as error:
    raise HTTPException(422, str(error)) from error
  return Imported(**found)


@router.get('/figures', responses=REFUSED)
def all_figures(request: Request, who: access.Who) -> dict[str, Any]:
  """Returns agreement, habits, win rates, Likert and flag tables."""
  _note_export(request, who, 'figures')
  state = request.app.state
  with state.database.reading() as session:
    return figures.tables(session, blocked=not state.settings.without_blocked)


@router.get(
  '/export/{kind}',
  response_class=PlainTextResponse,
  responses=REFUSED
  | {200: {'content': {'application/x-ndjson': {}}, 'description': 'Records'}},
)
def export(
  request: Request,
  who: access.Who,
  kind: Literal['comparisons', 'demonstrations', 'ratings', 'flags', 'skips'],
) -> Response:
  """Returns the answers of a kind as JSON Lines."""
  _note_export(request, who, kind)
  blocked = not request.app.state.settings.without_blocked
  with request.app.state.database.reading() as session:
    lines = [
      json.dumps(record, ensure_ascii=False, allow_nan=False) + '\n'
      for record in exports.KINDS[kind](session, blocked=blocked)
    ]
  return Response(
    ''.join(lines),
    media_type='application/x-ndjson',
    headers={'content-disposition': f'attachment; filename={kind}.jsonl'},
  )


def _note_export(request: Request, who: access.Who, kind: str) -> None:
  """Keeps in the audit log who took answers, and the users' ids, out."""
  state = request.app.state
  state.database.write(
    lambda session: accounts.record(
      session, state.clock(), who.id, 'export', kind=kind
    )
  )


def _written(
  request: Request,
  who: access.Who,
  work: Callable[[orm.Session, Labeler], T],
) -> T:
  """Returns what the work does for the caller, once it is on the disk.

  Raises:
    HTTPException: with what the caller may be told of why not.
  """
  try:
    return request.app.state.database.write(
      lambda session: work(session, session.get_one(Labeler, who.id))
    )
  except assignment.NoSuchLease as error:
    raise HTTPException(404, str(error)) from error
  except assignment.LeaseError as error:
    raise HTTPException(409, str(error)) from error
  except answers.AnswerError as error:
    raise HTTPException(422, str(error)) from error
