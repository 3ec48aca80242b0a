"""New passwords: by who knows the old one, or by a link of an admin's."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool

from instructgpt_jax.labeling import accounts, security
from instructgpt_jax.labeling.storage.models import Labeler
from instructgpt_jax.labeling.web import access
from instructgpt_jax.labeling.web.routes import public

router = APIRouter(include_in_schema=False)
OLD_LINK = 'This link was used, or is too old. Ask for another.'


@router.get('/password')
def password_page(request: Request) -> Response:
  return public.form(request, 'password.html')


@router.post('/password')
async def change(
  request: Request,
  who: access.Who,
  old: public.Text,
  password: public.Text,
  again: public.Text,
) -> Response:
  """Changes the caller's own; all other sessions of theirs end."""
  try:
    await public.authenticate(request, who.name, old)
    hashed = await public.chosen(password, again)
  except HTTPException as error:
    said = 'This is not your old password.'
    said = error.detail if error.status_code == 429 else said
    return public.form(request, 'password.html', error.status_code, error=said)
  except ValueError as error:
    return public.form(request, 'password.html', 400, error=str(error))
  return await _set(request, who.id or 0, hashed, 'change password')


@router.get('/reset/{token}')
def reset_page(request: Request, token: str) -> Response:
  found = _account(request, token)
  return public.form(request, 'reset.html', name=found.name)


@router.post('/reset/{token}')
async def reset(
  request: Request, token: str, password: public.Text, again: public.Text
) -> Response:
  """Sets the password of whom the link was made for; it then is of no use."""
  found = await run_in_threadpool(_account, request, token)
  try:
    hashed = await public.chosen(password, again)
  except ValueError as error:
    return public.form(
      request, 'reset.html', 400, error=str(error), name=found.name
    )
  return await _set(request, found.id, hashed, 'reset password')


def _account(request: Request, token: str) -> Labeler:
  """Returns whom a link is for; raises 404 where it is of no use."""
  signed = request.app.state.signer.read_reset(token)
  if signed is None:
    raise HTTPException(404, OLD_LINK)
  with request.app.state.database.reading() as session:
    found = session.get(Labeler, signed[0])
  if found is None or security.hash_token(found.password) != signed[1]:
    raise HTTPException(404, OLD_LINK)
  return found


async def _set(
  request: Request, number: int, hashed: str, action: str
) -> Response:
  state = request.app.state
  labeler = await run_in_threadpool(
    state.database.write,
    lambda session: accounts.set_password(
      session, number, hashed, state.clock(), action
    ),
  )
  return public.signed_in(request, labeler)
