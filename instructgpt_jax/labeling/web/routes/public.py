"""What needs no account: logging in, and joining with an invitation."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse

from instructgpt_jax.labeling import accounts, security
from instructgpt_jax.labeling.storage.models import Labeler
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


@router.get('/login')
def login_page(request: Request) -> Response:
  return _form(request, 'login.html')


@router.post('/login')
def login(request: Request, name: Text, password: Text) -> Response:
  try:
    labeler = authenticate(request, name, password)
  except HTTPException as error:
    return _form(
      request, 'login.html', error.status_code, error=error.detail, name=name
    )
  return _signed_in(request, labeler)


@router.post('/logout')
def logout(request: Request) -> Response:
  response = RedirectResponse('/login', 303)
  response.delete_cookie(security.COOKIE)
  return response


@router.get('/join/{token}')
def join_page(request: Request, token: str) -> Response:
  with request.app.state.database.reading() as session:
    found = accounts.invitation(session, token, request.app.state.clock())
  if found is None:
    raise HTTPException(
      404, 'This invitation was used, or is too old. Ask for another.'
    )
  return _form(request, 'join.html', role=found.role)


@router.post('/join/{token}')
def join(
  request: Request, token: str, name: Text, password: Text, again: Text
) -> Response:
  state = request.app.state
  with state.database.reading() as session:
    found = accounts.invitation(session, token, state.clock())
  try:
    if found is None:
      raise ValueError('This invitation was used, or is too old.')
    if password != again:
      raise ValueError('The two passwords differ.')
    hashed = security.hash_password(password)
    labeler = state.database.write(
      lambda session: accounts.join(
        session, token, name.strip(), hashed, state.clock()
      )
    )
  except ValueError as error:
    role = found.role if found else ''
    return _form(
      request, 'join.html', 400, error=str(error), name=name, role=role
    )
  return _signed_in(request, labeler)


def authenticate(request: Request, name: str, password: str) -> Labeler:
  """Returns the account, for pages and API alike.

  Raises:
    HTTPException: 429 after too many failures, 401 for what is wrong.
  """
  state = request.app.state
  address = request.client.host if request.client else ''
  # Whoever tries many names is slowed down by address, but not as soon: a
  # whole office may share one. A name is locked for that address alone, or
  # anybody could lock out anybody.
  key = f'{name.lower()[:64]} {address}'
  wait = max(state.names.attempt(key), state.addresses.attempt(address))
  if wait > 0:
    raise HTTPException(
      429,
      TOO_OFTEN.format(wait // 60 + 1),
      headers={'retry-after': str(int(wait) + 1)},
    )
  with state.database.reading() as session:
    labeler = accounts.find(session, name)
  hashed = labeler.password if labeler else None
  right = security.verify_password(hashed, password)
  if not right or labeler is None or labeler.status == 'blocked':
    raise HTTPException(401, WRONG)
  state.names.succeed(key)
  return labeler


def _signed_in(request: Request, labeler: Labeler) -> Response:
  response = RedirectResponse('/', 303)
  _set_cookie(
    request,
    response,
    request.app.state.signer.sign(labeler.id, labeler.generation),
  )
  return response


def _form(
  request: Request, template: str, status: int = 200, **values: str
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
