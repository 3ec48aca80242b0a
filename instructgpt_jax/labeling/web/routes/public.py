"""What needs no account: logging in, and joining with an invitation."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Form, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import (
  HTMLResponse,
  JSONResponse,
  PlainTextResponse,
  RedirectResponse,
)

from instructgpt_jax.labeling import accounts, security
from instructgpt_jax.labeling.storage.models import Invitation, Labeler
from instructgpt_jax.labeling.web import access, pages

router = APIRouter(include_in_schema=False)
TOO_OFTEN = 'Too many attempts. Wait for {:.0f} minutes.'
WRONG = 'This name and password do not belong together.'
Text = Annotated[str, Form(max_length=security.MAX_PASSWORD)]


@router.get('/health')
def health(request: Request) -> Response:
  """Says that the database answers."""
  with request.app.state.database.reading() as session:
    accounts.has_admin(session)
  return PlainTextResponse('ok')


@router.get('/')
def home(who: access.Who) -> Response:
  place = {'admin': '/admin', 'labeler': '/work'}.get(who.role, '/login')
  return RedirectResponse(place, 303)


@router.get('/openapi.json')
def openapi(request: Request) -> Response:
  return JSONResponse(request.app.openapi())


@router.get('/login')
def login_page(request: Request) -> Response:
  return form(request, 'login.html')


@router.post('/login')
async def login(request: Request, name: Text, password: Text) -> Response:
  try:
    labeler = await authenticate(request, name, password)
  except HTTPException as error:
    return form(
      request, 'login.html', error.status_code, error=error.detail, name=name
    )
  return signed_in(request, labeler)


@router.post('/logout')
def logout(request: Request, who: access.Who) -> Response:
  """Ends all sessions of the caller, those of programs too."""
  state = request.app.state
  state.database.write(
    lambda session: accounts.log_out(session, who.id or 0, state.clock())
  )
  response = RedirectResponse('/login', 303)
  response.delete_cookie(security.COOKIE)
  return response


@router.get('/join/{token}')
def join_page(request: Request, token: str) -> Response:
  found = _invitation(request, token)
  if found is None:
    raise HTTPException(
      404, 'This invitation was used, or is too old. Ask for another.'
    )
  return form(request, 'join.html', role=found.role)


@router.post('/join/{token}')
async def join(
  request: Request, token: str, name: Text, password: Text, again: Text
) -> Response:
  state = request.app.state
  found = await run_in_threadpool(_invitation, request, token)
  try:
    if found is None:
      raise ValueError('This invitation was used, or is too old.')
    hashed = await chosen(password, again)
    labeler = await run_in_threadpool(
      state.database.write,
      lambda session: accounts.join(
        session, token, name.strip(), hashed, state.clock()
      ),
    )
  except ValueError as error:
    role = found.role if found else ''
    return form(
      request, 'join.html', 400, error=str(error), name=name, role=role
    )
  return signed_in(request, labeler)


def _invitation(request: Request, token: str) -> Invitation | None:
  state = request.app.state
  with state.database.reading() as session:
    return accounts.invitation(session, token, state.clock())


async def chosen(password: str, again: str) -> str:
  """Returns the hash of a new password; raises ValueError for a bad choice."""
  if password != again:
    raise ValueError('The two passwords differ.')
  return await security.aside(security.hash_password, password)


async def authenticate(request: Request, name: str, password: str) -> Labeler:
  """Returns the account, for pages and API alike.

  Raises:
    HTTPException: 429 after too many failures, 401 for what is wrong.
  """
  state = request.app.state
  address = request.client.host if request.client else ''
  home = security.network(address)
  # A name is locked for that address alone, or anybody could lock out anybody.
  key = f'{name.lower()[:64]} {home}'
  _count(request, key, home)
  labeler = await run_in_threadpool(_account, request, name)
  hashed = labeler.password if labeler else None
  right = await security.aside(security.verify_password, hashed, password)
  known = right and labeler is not None and labeler.status != 'blocked'
  await run_in_threadpool(
    state.database.write,
    partial(
      accounts.record,
      now=state.clock(),
      by=labeler.id if labeler else None,
      action='log in' if known else accounts.FAILED,
      address=address,
    ),
  )
  if labeler is None or not known:
    raise HTTPException(401, WRONG)
  state.names.forget(key)
  state.addresses.give_back(home)
  return labeler


def _count(request: Request, key: str, home: str) -> None:
  """Counts an attempt; raises 429 where there were too many.

  Whoever tries many names is slowed down by address, but not as soon: a whole
  office may share one. What is refused for its name is not counted there.
  """
  state = request.app.state
  wait = state.addresses.attempt(home)
  if not wait:
    wait = state.names.attempt(key)
    if wait:
      state.addresses.give_back(home)
  if wait:
    raise HTTPException(
      429,
      TOO_OFTEN.format(wait // 60 + 1),
      headers={'retry-after': str(int(wait) + 1)},
    )


def _account(request: Request, name: str) -> Labeler | None:
  with request.app.state.database.reading() as session:
    return accounts.find(session, name)


def signed_in(
  request: Request, labeler: Labeler, place: str = '/'
) -> RedirectResponse:
  """Returns a redirection that begins a session."""
  response = RedirectResponse(place, 303)
  _set_cookie(
    request,
    response,
    request.app.state.signer.sign(labeler.id, labeler.generation),
  )
  return response


def form(
  request: Request, template: str, status: int = 200, **values: Any
) -> HTMLResponse:
  """Returns a page with a form, and a session where there is none yet."""
  signer: security.Signer = request.app.state.signer
  caller, fresh = request.state.caller, ''
  if not caller.csrf:
    fresh = signer.sign(None)
    ticket = signer.read(fresh)
    assert ticket is not None
    caller = access.Caller(csrf=signer.csrf(ticket))
  values = {'error': '', 'name': '', **values}
  response = pages.page(request, template, status, caller=caller, **values)
  if fresh:
    _set_cookie(request, response, fresh)
  return response


def _set_cookie(request: Request, response: Response, value: str) -> None:
  response.set_cookie(
    security.COOKIE,
    value,
    max_age=request.app.state.signer.seconds,
    httponly=True,
    samesite='lax',
    secure=request.app.state.settings.https,
  )
